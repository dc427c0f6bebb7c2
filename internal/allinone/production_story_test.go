package allinone_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/role"
)

const partitions = 8

// walk goes through the whole product with clients that are not ours: minted
// at one gateway, printed, read from the picture, scanned at the other, and
// each of it a row that every client of ClickHouse sees.
func (p *production) walk() {
	t := p.t
	a, b := p.at(0), p.at(1)
	code := a.mint(map[string]any{"name": "poster", "campaign": "spring", "profile": "wecom-group", "targets": []any{
		map[string]any{"url": "https://example.com/first", "capacity": 10}, map[string]any{"url": "https://example.com/second", "capacity": 10},
	}})
	printed := a.picture(path(t, code.QRPNG))
	if want := "HTTPS://GO.EXAMPLE.COM/S/" + code.Token; printed != want {
		t.Fatalf("zbarimg reads %q, want %q", printed, want)
	}
	resp := b.person().scan(printed)
	if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "https://example.com/first" || resp.Header.Get("Huoma-Verdict") != "accepted" {
		t.Fatalf("the other gateway answers %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	id := resp.Header.Get("Huoma-Event")
	want := code.ID + "\taccepted\tspring"
	sql := "SELECT code_id, verdict, utm_campaign FROM scans WHERE event_id = '" + id + "'"
	until(t, "the row by HTTP", want, func() string { return p.query(sql) })

	if got := tool(t, "curl", "-sS", "--noproxy", "*", p.ClickHouseHTTP+"/?database=huoma", "--data-binary", sql); got != want {
		t.Errorf("curl reads %q, want %q", got, want)
	}
	host, port, err := net.SplitHostPort(p.ClickHouse)
	if err != nil {
		t.Fatal(err)
	}
	if got := tool(t, "clickhouse-client", "--host", host, "--port", port, "--database", "huoma", "--query", sql); got != want {
		t.Errorf("clickhouse-client reads %q, want %q", got, want)
	}
	db, err := clickhouse.Open(&clickhouse.Options{Addr: []string{p.ClickHouse}, Auth: clickhouse.Auth{Database: "huoma"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var row [3]string
	if err := db.QueryRow(t.Context(), sql).Scan(&row[0], &row[1], &row[2]); err != nil || strings.Join(row[:], "\t") != want {
		t.Errorf("clickhouse-go reads %q, %v, want %q", row, err, want)
	}

	// A producer with a NATS client and no code of ours.
	nc, alerts := p.listen("huoma.alert.>")
	publish := func(kind, typ, id, data string) {
		t.Helper()
		if err := nc.Publish("huoma.in."+kind+"."+code.ID, []byte(cloudEvent(typ, id, code.ID, data))); err != nil {
			t.Fatal(err)
		}
	}
	publish("scan", events.TypeScan, "poster-scan", `{"visitor":"somebody"}`)
	publish("conversion", events.TypeConversion, "poster-sale", `{"click_id":"`+id+`","name":"sale","value":12.5,"currency":"CNY"}`)
	for i := range 10 {
		publish("member", events.TypeMemberJoined, fmt.Sprintf("poster-join-%d", i), `{"target":0}`)
	}
	until(t, "the producer's rows", "2\t1\t10", func() string {
		return p.query("SELECT (SELECT count() FROM scans WHERE code_id = c), (SELECT count() FROM conversions WHERE code_id = c), (SELECT count() FROM members WHERE code_id = c) FROM (SELECT '" + code.ID + "' AS c)")
	})
	until(t, "alerts", 1, func() int { return len(alerts()) })
	for n := range p.gateways {
		until(t, "where a full group's scans lead", "https://example.com/second", func() string { return p.at(n).person().scan(printed).Header.Get("Location") })
	}
}

// The production shape, driven by the script that the documentation gives:
// used by clients that are not ours, and with its workers pulled out.
func TestProduction(t *testing.T) {
	p := produce(t, t.TempDir(), "--public-url", "https://go.example.com")
	if len(p.gateways) != 2 || strings.Count(p.sh("status"), "ready") != 9 {
		t.Fatalf("status:\n%s", p.sh("status"))
	}
	p.walk()

	codes := p.everywhere(partitions)
	crowd := p.crowd(codes)
	worker := busiest(p.owners())
	t.Logf("%s is stopped", worker)
	p.sh("stop", worker)
	p.takenOver(worker, partitions)
	p.decided(codes)
	p.sh("restart", worker)

	worker = busiest(p.owners())
	t.Logf("%s is killed", worker)
	p.kill(worker)
	p.takenOver(worker, partitions)
	p.decided(codes)
	p.sh("restart", worker)

	// Each alone has all partitions, whichever had them before.
	p.sh("stop", "analytics-worker-1")
	p.decided(codes)
	p.sh("restart", "analytics-worker-1")
	p.kill("analytics-worker-2")
	p.decided(codes)
	p.sh("restart", "analytics-worker-2")

	// One more worker, then every role anew, one after the other.
	p.sh("restart", "scan-worker-4")
	p.sh("restart")
	crowd.goesOn()
	crowd.home()
	p.agree()
	if got := strings.Count(p.sh("status"), "ready"); got != 10 {
		t.Errorf("%d are ready:\n%s", got, p.sh("status"))
	}
	p.stop()
	for _, c := range p.complaints("level=ERROR", "[ERR]", "[FTL]", "panic:") {
		t.Errorf("in a log: %s", c)
	}
}

// The same on three NATS servers with three copies of everything, of which
// the one that leads the events is killed.
func TestProductionOnACluster(t *testing.T) {
	p := produce(t, t.TempDir(), "--cluster", "--public-url", "https://go.example.com")
	nc, err := nats.Connect(p.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	streams := 0
	for list := js.ListStreams(t.Context()); ; {
		info, more := <-list.Info()
		if !more {
			break
		}
		streams++
		if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas in %+v", info.Config.Name, info.Config.Replicas, info.Cluster)
		}
	}
	if streams != 8 {
		t.Errorf("%d streams", streams)
	}
	leader := func() string {
		s, err := js.Stream(t.Context(), events.StreamEvents)
		if err != nil {
			return ""
		}
		return s.CachedInfo().Cluster.Leader
	}
	p.walk()

	codes := p.everywhere(partitions)
	crowd := p.crowd(codes)
	crowd.goesOn()
	killed := leader()
	t.Logf("%s leads %s and is killed", killed, events.StreamEvents)
	p.kill(killed)
	until(t, "another leader", true, func() bool { l := leader(); return l != "" && l != killed })
	crowd.goesOn()
	p.decided(codes)
	p.sh("restart", killed)
	crowd.goesOn()

	// One server of three stores nothing: scans go into the spools.
	p.kill("nats-2")
	p.kill("nats-3")
	for n := range p.gateways {
		until(t, "the state of a gateway without a quorum", "degraded", func() string { return p.at(n).state() })
	}
	crowd.goesOn()
	p.sh("restart", "nats-2")
	p.sh("restart", "nats-3")
	for n := range p.gateways {
		until(t, "the state of a gateway with one", "ready", func() string { return p.at(n).state() })
	}
	crowd.goesOn()
	crowd.home()
	p.agree()
	p.stop()
	for _, c := range p.complaints("level=ERROR", "[FTL]", "panic:") {
		// What waited for the dead leader may not have been stored, and its senders were told so.
		if !strings.Contains(c, `msg="events not stored"`) {
			t.Errorf("in a log: %s", c)
		}
	}
}

// A folder of `huoma up` becomes the production shape, and back: only the
// addresses of the servers change.
func TestFromOneProcessToProduction(t *testing.T) {
	dir := t.TempDir()
	in := start(t, dir)
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	visitor := in.person()
	for range 5 {
		visitor.scan(code.ScanURL)
	}
	until(t, "rows", "5", func() string { return in.query("SELECT count() FROM scans") })
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("../../deploy/local/production.sh", "start", "--data", dir, "--bin", bin, "--port", "0").CombinedOutput(); err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("beside one process: %v, %s", err, out)
	}
	in.stop()

	p := produce(t, dir)
	beside := allinone.Options{DataDir: dir, APIKey: apiKey, Addr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", ClickHouseAddr: "127.0.0.1:0", ClickHouseHTTPAddr: "127.0.0.1:0"}
	if err := allinone.Run(t.Context(), beside, func(allinone.Addresses) {}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("one process beside production: %v", err)
	}
	visitor.in = p.at(1)
	if got := visitor.scan(code.ScanURL).StatusCode; got != http.StatusTooManyRequests {
		t.Errorf("the locked visitor is answered %d", got)
	}
	if got := p.at(1).person().scan(code.ScanURL).StatusCode; got != http.StatusFound {
		t.Errorf("another visitor is answered %d", got)
	}
	until(t, "rows", "7", func() string { return p.query("SELECT count() FROM scans") })

	// One process with servers that are not its own joins in by their addresses.
	joined := start(t, t.TempDir(), func(o *allinone.Options) {
		o.NATSURL, o.ClickHouseURL, o.Keyring = p.NATS, "clickhouse://"+p.ClickHouse+"/huoma", dir+"/keyring.json"
	})
	if got := joined.person().scan(code.ScanURL).StatusCode; got != http.StatusFound {
		t.Errorf("a visitor of the gateway that joined is answered %d", got)
	}
	until(t, "rows", "8", func() string { return p.query("SELECT count() FROM scans") })
	p.agree()
	joined.stop()

	// An empty ClickHouse is filled again from the log, once it is forgotten what was written to the one before.
	p.sh("stop", "clickhouse", "analytics-worker-1", "analytics-worker-2")
	if err := os.RemoveAll(filepath.Join(dir, "clickhouse")); err != nil {
		t.Fatal(err)
	}
	p.sh("restart", "clickhouse")
	if out, err := exec.Command(filepath.Join(bin, "huoma"), "migrate", "--clickhouse-url", "clickhouse://"+p.ClickHouse+"/huoma").CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	if err := newStage(t, p.NATS).js.DeleteKeyValue(t.Context(), natsjs.BucketAnalytics); err != nil {
		t.Fatal(err)
	}
	p.sh("restart", "analytics-worker-1", "analytics-worker-2", "scan-worker-1", "scan-worker-2", "scan-worker-3")
	until(t, "rows", "8", func() string { return p.query("SELECT count() FROM scans") })
	p.agree()
	p.stop()
	for _, c := range p.complaints("level=ERROR", "level=WARN", "[ERR]", "[FTL]", "panic:") {
		t.Errorf("in a log: %s", c)
	}

	back := start(t, dir, func(o *allinone.Options) { o.Streams = role.Streams{Partitions: 1} })
	if got := back.person().scan(code.ScanURL).StatusCode; got != http.StatusFound {
		t.Errorf("back in one process a visitor is answered %d", got)
	}
	until(t, "rows", "9", func() string { return back.query("SELECT count() FROM scans") })
	back.agree()
}

// What the script cannot do it says in one line, and leaves nothing behind.
func TestProductionRefuses(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	single := t.TempDir()
	if err := os.Mkdir(filepath.Join(single, "nats"), 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	for _, row := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"an unknown option", []string{"--shards", "3"}, 2, "--shards"},
		{"no value", []string{"start", "--data"}, 2, "--data"},
		{"two servers", []string{"--nats", "2"}, 2, "1 or 3"},
		{"too many of a role", []string{"--scan-workers", "10"}, 2, "--scan-workers"},
		{"no number", []string{"--partitions", "many"}, 2, "--partitions"},
		{"none of a role", []string{"--gateways", "0"}, 2, "--gateways"},
		{"a name where none belongs", []string{"status", "gateway-1"}, 2, "status"},
		{"an option where none belongs", []string{"stop", "--nats", "3"}, 2, "--nats"},
		{"both kinds of NATS", []string{"--nats", "3", "--nats-url", "nats://127.0.0.1:1"}, 2, "--nats-url"},
		{"nothing to stop", []string{"stop"}, 1, "--data"},
		{"no programs", []string{"--bin", t.TempDir()}, 1, "make setup"},
		{"a cluster of a single server's log", []string{"--cluster", "--data", single, "--bin", bin}, 1, "docs/production.md"},
		{"a port in use", []string{"--port", port, "--bin", bin}, 1, "--port 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			args := row.args
			if !slices.Contains(args, "--data") {
				args = append(args, "--data", dir)
			}
			cmd := exec.Command("../../deploy/local/production.sh", args...)
			var complaint bytes.Buffer
			cmd.Stderr = &complaint
			err := cmd.Run()
			if status := cmd.ProcessState.ExitCode(); status != row.status {
				t.Errorf("exit status %d (%v), want %d", status, err, row.status)
			}
			if text := complaint.String(); !strings.HasPrefix(text, "production: ") || strings.Count(text, "\n") != 1 || !strings.Contains(text, row.want) {
				t.Errorf("says %q, want one line with %q", text, row.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "run", "*.pid")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
