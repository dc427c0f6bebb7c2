package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/token/keyfile"
)

func TestWrongUsageIsStatusTwoAndOneSentence(t *testing.T) {
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"mnit"}, "mnit"},
		{[]string{"up", "--partitions", "x"}, "--partitions"},
		{[]string{"up", "--partitions", "-3"}, "--partitions"},
		{[]string{"up", "--log-format", "xml"}, "--log-format"},
		{[]string{"up", "--no-such-flag"}, "--no-such-flag"},
		{[]string{"up", "--addr", "8080"}, "--addr"},
		{[]string{"up", "--public-url", "example.com"}, "--public-url"},
		{[]string{"up", "--public-url", "https://example.com/huoma"}, "--public-url"},
		{[]string{"demo", "--trusted-proxies", "the proxy"}, "--trusted-proxies"},
		{[]string{"demo", "--rate", "0"}, "--rate"},
		{[]string{"mint"}, "say where the code leads"},
		{[]string{"mint", "https://example.com", "--rule", "limit=5"}, "window"},
		{[]string{"mint", "https://example.com", "--rule", "limit=0,window=3s"}, "limit"},
		{[]string{"mint", "https://example.com", "--rule", "speed=5"}, "speed"},
		{[]string{"mint", "https://example.com", "--capacity", "1,2"}, "2 capacities for 1 targets"},
		{[]string{"mint", "https://example.com", "--out", "codes.svg"}, ".svg"},
		{[]string{"mint", "--picture", "/no/such/picture.png"}, "cannot be read"},
		{[]string{"mint", "https://example.com", "--gateway", "localhost:8080"}, "--gateway"},
		{[]string{"scan"}, "<code>"},
		{[]string{"scan", "x", "--count", "0"}, "--count"},
		{[]string{"codes", "change", "0123456789ab"}, "say what to change"},
		{[]string{"codes", "change", "0123456789ab", "--fields", "{"}, "--fields"},
		{[]string{"alerts", "--since", "yesterday"}, "--since"},
		{[]string{"query", ""}, "empty"},
		{[]string{"query", "SELECT 1", "--json", "--format", "CSV"}, "--format CSV"},
		{[]string{"query", "SELECT 1", "--clickhouse-http", "127.0.0.1"}, "--clickhouse-http"},
		{[]string{"simulate", "--events", "0"}, "--events"},
		{[]string{"simulate", "--hours", "30"}, "--hours"},
		{[]string{"simulate", "--direct", "2"}, "--direct"},
		{[]string{"simulate", "--rate", "-1"}, "--rate"},
		{[]string{"import", "x.log"}, "--format"},
		{[]string{"import", "--format", "xml", "x.log"}, "--format"},
		{[]string{"import", "--format", "csv"}, "<file>"},
		{[]string{"import", "--format", "csv", "--rate", "-1", "x.csv"}, "--rate"},
		{[]string{"replay"}, "--dlq"},
		{[]string{"replay", "--dlq"}, "say what to do"},
		{[]string{"replay", "--dlq", "--list", "--retry", "too_old"}, "--list"},
		{[]string{"migrate", "--clickhouse-url", "http://x"}, "--clickhouse-url"},
		{[]string{"migrate", "--retention-days", "-1"}, "--retention-days"},
		{[]string{"verify", "--clickhouse-url", "http://x"}, "--clickhouse-url"},
		{[]string{"verify", "--wait", "soon"}, "--wait"},
		{[]string{"verify", "--wait", "-1s"}, "--wait"},
		{[]string{"verify", "everything"}, "everything"},
		{[]string{"keys"}, "new"},
		{[]string{"keys", "new"}, "--keyring"},
		{[]string{"keys", "retire"}, "<id>"},
		{[]string{"keys", "retire", "oldest"}, "oldest"},
		{[]string{"keys", "retire", "0", "--in", "soon"}, "--in"},
		{[]string{"keys", "rotate", "--in", "-5m"}, "--in"},
		{[]string{"up", "--public-url", "https://a-host-that-is-rather-long.example.com"}, "--qr-free wechat-group,wechat-static"},
		{[]string{"up", "--qr-free", "wechat", "--public-url", "https://qr.example.com"}, "no profile"},
		{[]string{"clickhouse", "--port", "9000"}, "--port"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			r := run(t, row.args...)
			if r.code != exitUsage {
				t.Errorf("exit status %d, want %d: %s", r.code, exitUsage, r.stderr)
			}
			if !strings.HasPrefix(r.stderr, "huoma: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, row.want) {
				t.Errorf("standard error %q, want one line with %q", r.stderr, row.want)
			}
			if r.out != "" {
				t.Errorf("standard output %q, want none", r.out)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	ring := filepath.Join(dir, "ring.json")
	if _, err := keyfile.Create(ring); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	away := []string{"--gateway", "http://127.0.0.1:1", "--data", dir}
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"no gateway", append([]string{"codes"}, away...), "huoma up"},
		{"no gateway, scan", append([]string{"scan", "0123456789ab"}, away...), "huoma up"},
		{"no gateway, simulate", append([]string{"simulate"}, away...), "huoma up"},
		{"no gateway, import", append([]string{"import", "--format", "csv", "cli_test.go"}, away...), "huoma up"},
		{"no gateway, follow", append([]string{"alerts", "--follow"}, away...), "huoma up"},
		{"no clickhouse", []string{"query", "SELECT 1", "--clickhouse-http", "http://127.0.0.1:1"}, "--clickhouse-http"},
		{"no clickhouse, migrate", []string{"migrate", "--clickhouse-url", "clickhouse://127.0.0.1:1/huoma"}, "--clickhouse-url"},
		{"no nats", []string{"replay", "--dlq", "--list", "--nats-url", "nats://user:secret@127.0.0.1:1"}, "--nats-url"},
		{"no keyring", append([]string{"verify"}, away...), "--keyring"},
		{"no keyring, list", []string{"keys", "list", "--data", filepath.Join(dir, "none")}, "--keyring"},
		{"no keyring, rotate", []string{"keys", "rotate", "--data", filepath.Join(dir, "none")}, "--keyring"},
		{"no keyring, retire", []string{"keys", "retire", "0", "--data", filepath.Join(dir, "none")}, "--keyring"},
		{"an empty keyring", []string{"keys", "rotate", "--keyring", empty}, "it is empty"},
		{"a folder for a keyring", []string{"keys", "list", "--keyring", dir}, "not a regular file"},
		{"no nats, verify", append([]string{"verify", "--keyring", ring, "--nats-url", "nats://user:secret@127.0.0.1:1"}, away...), "--nats-url"},
		{"no csv", append([]string{"mint", "--from", filepath.Join(dir, "none.csv")}, away...), "--from"},
		{"data is a file", []string{"up", "--data", file}, "--data"},
		{"a keyring is there", []string{"keys", "new", "--keyring", file}, "use it as it is"},
		{"no folder for a keyring", []string{"keys", "new", "--keyring", filepath.Join(dir, "none", "keyring.json")}, "make it"},
		{"a file for a keyring's folder", []string{"keys", "new", "--keyring", filepath.Join(file, "keyring.json")}, "--keyring"},
		{"out is a file", append([]string{"mint", "https://example.com", "--out", file}, away...), "--out"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := run(t, row.args...)
			if r.code != exitError {
				t.Errorf("exit status %d, want %d: %s", r.code, exitError, r.stderr)
			}
			if !strings.HasPrefix(r.stderr, "huoma: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, row.want) {
				t.Errorf("standard error %q, want one line with %q", r.stderr, row.want)
			}
			if strings.Contains(r.stderr, "secret") {
				t.Errorf("standard error %q has a password", r.stderr)
			}
		})
	}
}

func TestHelpListsFlagsWithDefaultsAndEnvironment(t *testing.T) {
	out := run(t, "up", "--help").ok(t)
	flat := strings.Join(strings.Fields(out), " ")
	for _, flag := range []string{
		"--addr", "--public-url", "--data", "--nats-addr", "--nats-url", "--clickhouse-addr", "--clickhouse-http-addr", "--clickhouse-url", "--partitions",
		"--api-key", "--trusted-proxies", "--log-format", "--ready-file", "--allow-private-targets", "--registered-domains", "--keyring",
	} {
		env := "$HUOMA_" + strings.ToUpper(strings.ReplaceAll(flag[2:], "-", "_")) + "]"
		if !strings.Contains(flat, flag) || !strings.Contains(flat, env) {
			t.Errorf("the help misses %s or %s", flag, env)
		}
	}
	for _, value := range []string{"127.0.0.1:8080", "127.0.0.1:4222", "127.0.0.1:9000", "127.0.0.1:8123", "./data", "text"} {
		if !strings.Contains(flat, "(default "+value+")") {
			t.Errorf("the help misses the default %s", value)
		}
	}
	// Every command has a help of its own, and says what it is.
	for _, name := range []string{"up", "demo", "mint", "scan", "codes list", "codes change", "alerts", "query", "simulate", "import", "replay", "keys new", "migrate", "doctor", "clickhouse"} {
		if out := run(t, append(strings.Fields(name), "--help")...).ok(t); !strings.Contains(out, "Usage: huoma "+name) {
			t.Errorf("huoma %s --help says %q", name, out)
		}
	}
	if r := run(t); r.code != exitUsage || !strings.Contains(r.out, "Usage: huoma") {
		t.Errorf("without a command: status %d, %q", r.code, r.out)
	}
	if out := run(t, "--version").ok(t); !strings.HasPrefix(out, "huoma ") {
		t.Errorf("version %q", out)
	}
}

func TestFlagElseEnvironmentElseDefault(t *testing.T) {
	var got UpOptions
	app := func() *App {
		return &App{Up: func(_ context.Context, o UpOptions, _ func(Addresses)) error { got = o; return nil }}
	}
	data := t.TempDir()
	runApp(t, app(), "", "up", "--data", data).ok(t)
	if got.Addr != "127.0.0.1:8080" || got.NATSAddr != "127.0.0.1:4222" || got.ClickHouseHTTPAddr != "127.0.0.1:8123" || got.LogFormat != "text" || got.Partitions != 0 {
		t.Errorf("defaults: %+v", got)
	}
	if !strings.HasPrefix(got.APIKey, "hk_") || len(got.APIKey) < 30 {
		t.Error("no key was drawn")
	}
	t.Setenv("HUOMA_ADDR", "127.0.0.1:1000")
	t.Setenv("HUOMA_DATA", data)
	t.Setenv("HUOMA_CLICKHOUSE_HTTP_ADDR", "127.0.0.1:2000")
	t.Setenv("HUOMA_API_KEY", "from-the-environment")
	t.Setenv("HUOMA_REGISTERED_DOMAINS", "example.com,example.org")
	t.Setenv("HUOMA_ALLOW_PRIVATE_TARGETS", "true")
	runApp(t, app(), "", "up", "--addr", "127.0.0.1:3000").ok(t)
	if got.Addr != "127.0.0.1:3000" || got.ClickHouseHTTPAddr != "127.0.0.1:2000" || got.APIKey != "from-the-environment" || got.Data != data ||
		len(got.RegisteredDomains) != 2 || !got.AllowPrivateTargets {
		t.Errorf("flag, then environment: %+v", got)
	}
}

func TestProblemsAreToldInTheGatewaysWords(t *testing.T) {
	answer := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, row := range []struct {
		name, gateway, want string
	}{
		{"field", answer(400, `{"status":400,"code":"missing_field","field":"targets","detail":"give at least one"}`), "huoma: targets: give at least one\n"},
		{"wrong key", answer(401, `{"status":401,"code":"unauthorized","detail":"no"}`), "--api-key"},
		{"not ours", answer(500, `<html>`), "500"},
		{"not JSON", answer(200, `<html>`), "does not answer like a gateway"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := run(t, "codes", "--gateway", row.gateway, "--data", t.TempDir())
			if r.code != exitError || !strings.Contains(r.stderr, row.want) {
				t.Errorf("status %d, %q, want %q", r.code, r.stderr, row.want)
			}
		})
	}
}

// The list and the stream overlap, and streams end: each alert is shown once all the same.
func TestFollowingShowsEachAlertOnce(t *testing.T) {
	alert := func(id string) string {
		return `{"id":"` + id + `","type":"huoma.alert.risk.v1","subject":"c","time":"2026-03-02T02:00:00Z","data":{"kind":"risk","reason":"lock"}}`
	}
	var mu sync.Mutex
	streams := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/v1/alerts" && streams == 1:
			_, _ = w.Write([]byte(`{"alerts":[` + alert("b") + "," + alert("a") + `]}`)) // the newest first
		case r.URL.Path == "/v1/alerts":
			_, _ = w.Write([]byte(`{"alerts":[` + alert("d") + "," + alert("c") + "," + alert("b") + "," + alert("a") + `]}`))
		default:
			streams++
			_, _ = w.Write([]byte("retry: 2000\n: open\n\nid: b\nevent: risk\ndata: " + alert("b") + "\n\nid: c\ndata: " + alert("c") + "\n\n"))
		}
	}))
	defer s.Close()
	var out, stderr lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	a := &App{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &stderr}
	go func() {
		done <- a.Main(ctx, []string{"alerts", "--follow", "--json", "--since", "1h", "--gateway", s.URL, "--api-key", testKey})
	}()
	eventually(t, "the fourth alert", func() bool { return strings.Contains(out.String(), `"d"`) })
	cancel()
	if code := <-done; code != exitOK || stderr.String() != "" {
		t.Errorf("status %d: %s", code, stderr.String())
	}
	ids := ""
	for _, al := range lines[object](t, out.String()) {
		ids += al["id"].(string)
	}
	if ids != "abcd" {
		t.Errorf("shown %s, want abcd", ids)
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	var quiet lockedBuffer
	p := newProgress(&quiet, "events")
	p.update(1, 2)
	p.done()
	if quiet.String() != "" {
		t.Errorf("progress in a pipe: %q", quiet.String())
	}
	if got, want := progressLine("events", 2500, 10_000, 2*time.Second), "events [######..................] 2500/10000  1250/s  6s left"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTableAlignsWideCharacters(t *testing.T) {
	var out lockedBuffer
	if err := table(&out, [][]string{{"NAME", "N"}, {"活码", "1"}, {"long name", "2"}}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME       N\n活码       1\nlong name  2\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if got := plain("a\x1b[2Jb\u009bc"); got != "a [2Jb c" {
		t.Errorf("control characters reach the terminal: %q", got)
	}
}
