package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

func TestMigrateAndQuery(t *testing.T) {
	ch := chtest.Start(t)
	url, web := "clickhouse://"+ch.Addr()+"/huoma", "http://"+ch.HTTPAddr()
	if sql := run(t, "migrate", "--print", "--clickhouse-url", "clickhouse://127.0.0.1:1/shop").ok(t); !strings.Contains(sql, "CREATE DATABASE IF NOT EXISTS shop") {
		t.Errorf("--print: %.200q", sql)
	}
	out := lines[struct{ From, To int }](t, run(t, "migrate", "--clickhouse-url", url, "--json").ok(t))[0]
	if out.From != 0 || out.To < 1 {
		t.Errorf("migrated %+v", out)
	}
	if text := run(t, "migrate", "--clickhouse-url", url).ok(t); !strings.Contains(text, "up to date") {
		t.Errorf("migrated again: %q", text)
	}
	query := func(args ...string) result {
		return run(t, append([]string{"query", "--clickhouse-http", web}, args...)...)
	}
	if text := query("SELECT count() FROM scans").ok(t); text != "0\n" {
		t.Errorf("in a pipe: %q", text)
	}
	if rows := lines[object](t, query("SELECT number AS n FROM numbers(3)", "--json").ok(t)); len(rows) != 3 || rows[2]["n"] != 2.0 && rows[2]["n"] != "2" {
		t.Errorf("--json: %v", rows)
	}
	if text := query("SELECT 1 AS x", "--format", "PrettyCompact").ok(t); !strings.Contains(text, "│ 1 │") {
		t.Errorf("--format: %q", text)
	}
	if r := runApp(t, &App{}, "SELECT 'from standard input'", "query", "--clickhouse-http", web, "-"); r.ok(t) != "from standard input\n" {
		t.Errorf("standard input: %q", r.out)
	}
	if text := query("SELECT currentDatabase()", "--database", "default").ok(t); text != "default\n" {
		t.Errorf("--database: %q", text)
	}
	r := query("SELECT nothing FROM scans")
	if r.code != exitError || !strings.Contains(r.stderr, "nothing") || !strings.Contains(r.stderr, "Code: 47") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("the server's words: %d %q", r.code, r.stderr)
	}
}

func TestDoctor(t *testing.T) {
	type line struct{ Grade, Check, Text, Do string }
	grades := func(out string) map[string]line {
		m := map[string]line{}
		for _, l := range lines[line](t, out) {
			m[l.Check] = l
		}
		return m
	}
	dir := t.TempDir()
	nowhere := []string{
		"doctor", "--json", "--data", filepath.Join(dir, "none"), "--gateway", "http://127.0.0.1:1", "--nats-url", "nats://127.0.0.1:1",
		"--clickhouse-url", "clickhouse://127.0.0.1:1/huoma", "--clickhouse-http", "http://127.0.0.1:1",
	}
	r := run(t, nowhere...)
	got := grades(r.out)
	if r.code != exitError || !strings.Contains(r.stderr, "checks failed") {
		t.Errorf("status %d, %q", r.code, r.stderr)
	}
	for check, grade := range map[string]string{
		"data folder": gradeOK, "disk space": gradeOK, "ports": gradeOK, "gateway": gradeFail, "api key": gradeWarn, "nats": gradeFail, "streams": gradeFail,
		"clickhouse": gradeFail, "schema": gradeFail, "clickhouse http": gradeFail, "reconcile": gradeFail,
	} {
		if l := got[check]; l.Grade != grade || (l.Grade != gradeOK && l.Do == "") {
			t.Errorf("%s: %+v, want %s", check, l, grade)
		}
	}

	in, ch := install(t), chtest.Start(t)
	url := "clickhouse://" + ch.Addr() + "/huoma"
	here := []string{
		"doctor", "--json", "--data", dir, "--gateway", in.gateway, "--nats-url", in.nats, "--clickhouse-url", url, "--clickhouse-http", "http://" + ch.HTTPAddr(),
	}
	if r = run(t, here...); r.code != exitError || grades(r.out)["schema"].Grade != gradeFail {
		t.Errorf("without a schema: %d %+v", r.code, grades(r.out)["schema"])
	}
	run(t, "migrate", "--clickhouse-url", url).ok(t)
	app := &App{EngineLibrary: func() (string, error) { return "/lib/libchdb.so", nil }}
	r = runApp(t, app, "", append(here, "--api-key", testKey)...)
	for check, l := range grades(r.ok(t)) {
		if want := map[bool]string{true: gradeWarn, false: gradeOK}[check == "ports"]; l.Grade != want { // there is no huoma up behind them
			t.Errorf("%s: %+v", check, l)
		}
	}
	if r = run(t, append(here, "--api-key", "another-key-of-somebody")...); r.code != exitError || grades(r.out)["api key"].Grade != gradeFail {
		t.Errorf("wrong key: %d %+v", r.code, grades(r.out)["api key"])
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r = run(t, append(here, "--data", filepath.Join(dir, "plain"), "--api-key", testKey)...); grades(r.out)["data folder"].Grade != gradeFail {
		t.Errorf("a file for a folder: %+v", grades(r.out)["data folder"])
	}
}

// up runs `huoma up` on an installation that a test has started, until stop.
func up(t *testing.T, in installation, args ...string) (out *lockedBuffer, stop func() int) {
	t.Helper()
	var stdout, stderr lockedBuffer
	a := &App{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Up: func(ctx context.Context, o UpOptions, ready func(Addresses)) error {
		ready(Addresses{Gateway: in.gateway, NATS: in.nats, ClickHouse: "127.0.0.1:9000", ClickHouseHTTP: "http://127.0.0.1:8123", APIKey: o.APIKey})
		<-ctx.Done()
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- a.Main(ctx, append([]string{"up"}, args...)) }()
	return &stdout, func() int {
		cancel()
		code := <-done
		if stderr.String() != "" {
			t.Errorf("standard error: %s", stderr.String())
		}
		return code
	}
}

func TestUpTellsWhatToDoNext(t *testing.T) {
	in := install(t)
	data := t.TempDir()
	ready := filepath.Join(data, "ready.json")
	out, stop := up(t, in, "--data", data, "--api-key", testKey, "--ready-file", ready)
	eventually(t, "the ready file", func() bool { _, err := os.Stat(ready); return err == nil })
	banner := out.String()
	for _, want := range []string{in.gateway, in.nats, "127.0.0.1:9000", "http://127.0.0.1:8123", testKey, "/s/", "█", `"Welcome"`, "huoma scan ", "huoma query"} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner misses %q:\n%s", want, banner)
		}
	}
	b, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	var at map[string]string
	if err := json.Unmarshal(b, &at); err != nil || len(at) != 5 || at["gateway"] != in.gateway || at["nats"] != in.nats ||
		at["clickhouse"] != "127.0.0.1:9000" || at["clickhouse_http"] != "http://127.0.0.1:8123" || at["api_key"] != testKey {
		t.Errorf("ready file %s", b)
	}
	for _, path := range []string{ready, keyFile(data)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: others can read the key", path)
		}
	}
	if code := stop(); code != exitOK {
		t.Errorf("exit status %d, want a clean end", code)
	}
	// Client commands find the key where up left it.
	if list := lines[object](t, run(t, "codes", "--json", "--gateway", in.gateway, "--data", data).ok(t)); len(list) != 1 || list[0]["name"] != "Welcome" || list[0]["profile"] != "wecom-group" {
		t.Errorf("codes %v", list)
	}
	// A second start takes the key that is kept, and mints nothing more.
	if err := os.Remove(ready); err != nil {
		t.Fatal(err)
	}
	out, stop = up(t, in, "--data", data, "--ready-file", ready)
	eventually(t, "the ready file", func() bool { _, err := os.Stat(ready); return err == nil })
	if banner := out.String(); !strings.Contains(banner, "has 1 code") || strings.Contains(banner, "█") || !strings.Contains(banner, testKey) {
		t.Errorf("the second banner:\n%s", banner)
	}
	stop()
	out, stop = up(t, in, "--data", data, "--json")
	eventually(t, "one JSON object", func() bool { return strings.Contains(out.String(), "\n") })
	if o := lines[object](t, out.String()); len(o) != 1 || o[0]["codes"] != 1.0 || o[0]["gateway"] != in.gateway {
		t.Errorf("--json: %v", o)
	}
	stop()
	a := &App{}
	a.Up = func(ctx context.Context, o UpOptions, ready func(Addresses)) error {
		ready(Addresses{Gateway: in.gateway, APIKey: o.APIKey})
		<-ctx.Done()
		return nil
	}
	if r := runApp(t, a, "", "up", "--data", data, "--ready-file", filepath.Join(data, "no", "folder", "ready.json")); r.code != exitError || !strings.Contains(r.stderr, "--ready-file") {
		t.Errorf("a ready file that cannot be written: %d %q", r.code, r.stderr)
	}
}

func TestDemoPublishesTraffic(t *testing.T) {
	in := install(t)
	var stdout, stderr lockedBuffer
	a := &App{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Up: func(ctx context.Context, o UpOptions, ready func(Addresses)) error {
		if o.TrustedProxies == "" {
			t.Error("the simulated visitors' networks would not be believed")
		}
		ready(Addresses{Gateway: in.gateway, NATS: in.nats, APIKey: o.APIKey})
		<-ctx.Done()
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- a.Main(ctx, []string{"demo", "--events", "300", "--rate", "3000", "--data", t.TempDir(), "--api-key", testKey})
	}()
	eventually(t, "the summary", func() bool { return strings.Contains(stdout.String(), "events stored") })
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	eventually(t, "all of it is decided", func() bool {
		got := in.totals(t)
		return got.Scans+got.Members+got.Conversions == 300
	})
}
