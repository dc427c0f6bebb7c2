package allinone_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// documented is the block of accounts in docs/production.md.
func documented(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```\n(accounts \\{.*?)```").FindSubmatch(b)
	if m == nil {
		t.Fatal("docs/production.md has no block of accounts")
	}
	return string(m[1])
}

// The roles run with the permissions that the documentation gives them, and
// none of them may write what is another's.
func TestDocumentedPermissions(t *testing.T) {
	users := []string{"gateway", "scan-worker", "analytics-worker", "producer"}
	for _, u := range users {
		t.Setenv(strings.ToUpper(strings.ReplaceAll(u, "-", "_"))+"_PASSWORD", "secret-of-"+u)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	conf := fmt.Sprintf("listen: \"127.0.0.1:-1\"\nmax_payload: 8MB\njetstream { store_dir: %q }\n%s", t.TempDir(), documented(t))
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(within) {
		t.Fatal("NATS does not start")
	}
	as := func(user string) string { return "nats://" + user + ":secret-of-" + user + "@" + ns.Addr().String() }

	ch, err := chembed.New(chembed.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close(t.Context()) })
	keys := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyfile.Create(keys); err != nil {
		t.Fatal(err)
	}
	env := func(user string) []string {
		return []string{"HUOMA_SPOOL_DIR=" + filepath.Join(filepath.Dir(keys), "spool"), "HUOMA_NATS_URL=" + as(user), "HUOMA_KEYRING=" + keys, "HUOMA_PARTITIONS=2", "HUOMA_API_KEY=" + apiKey, "HUOMA_CLICKHOUSE_URL=clickhouse://" + ch.Addr() + "/huoma"}
	}
	addr := freePort(t)
	roles := []*process{
		run(t, env("gateway"), "gateway", "--addr", addr),
		run(t, env("scan-worker"), "scan-worker", "--addr", "127.0.0.1:0"),
		run(t, env("analytics-worker"), "analytics-worker", "--addr", "127.0.0.1:0"),
	}
	migrate := exec.Command(filepath.Join(filepath.Dir(roles[0].args[0]), "huoma"), "migrate")
	migrate.Env = append(os.Environ(), env("gateway")...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	in := &installation{t: t, Addresses: allinone.Addresses{Gateway: "http://" + addr, NATS: as("producer"), ClickHouseHTTP: "http://" + ch.HTTPAddr()}}
	until(t, "readiness", http.StatusOK, func() int {
		resp, err := http.Get(in.Gateway + "/readyz")
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	})

	// Everything that a role publishes: definitions, scans, decisions, alerts, timers, dead letters, manifests.
	code := in.mint(map[string]any{"profile": "wecom-group", "validity": "7d", "targets": []any{map[string]any{"url": "https://example.com/", "capacity": 10}}})
	nc, alerts := in.listen("huoma.alert.>")
	visitor := in.person()
	for range 5 {
		visitor.scan(code.ScanURL)
	}
	until(t, "the sixth scan", http.StatusTooManyRequests, func() int { return visitor.scan(code.ScanURL).StatusCode })
	for i := range 8 {
		if err := nc.Publish("huoma.in.member."+code.ID, []byte(cloudEvent(events.TypeMemberJoined, fmt.Sprint("join-", i), code.ID, `{"target":0}`))); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Publish("huoma.in.scan."+code.ID, []byte("not json")); err != nil {
		t.Fatal(err)
	}
	until(t, "alerts", 2, func() int { return len(alerts()) })
	until(t, "rows", "8\t2\t1", func() string {
		return in.query("SELECT (SELECT count() FROM members), (SELECT count() FROM alerts), (SELECT sum(step_dead) FROM commits)")
	})
	in.agree()
	for _, p := range roles { // a last snapshot is written when a scan worker stops
		_ = p.cmd.Process.Signal(os.Interrupt)
		<-p.done
		if log := p.log.String(); strings.Contains(strings.ToLower(log), "violation") || strings.Contains(log, "level=ERROR") {
			t.Errorf("%s:\n%s", filepath.Base(p.args[0]), log)
		}
	}

	for _, row := range []struct {
		user, subject string
		may           bool
	}{
		{"gateway", "huoma.ev.0.gw", true},
		{"gateway", "huoma.commit.0", false},
		{"gateway", "huoma.alert.risk.x", false},
		{"gateway", "$KV.HUOMA_TRACES.x", true},
		{"scan-worker", "$KV.HUOMA_TRACES.x", false},
		{"scan-worker", "huoma.commit.0", true},
		{"scan-worker", "huoma.ev.0.gw", false},
		{"scan-worker", "$KV.HUOMA_CODES.x", false},
		{"analytics-worker", "huoma.commit.0", false},
		{"analytics-worker", "huoma.in.scan.x", false},
		{"producer", "huoma.in.scan.x", true},
		{"producer", "huoma.ev.0.gw", false},
		{"producer", "huoma.commit.0", false},
		{"producer", "$JS.API.STREAM.DELETE.HUOMA_EVENTS", false},
	} {
		nc, err := nats.Connect(as(row.user), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // LastError has it too
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Publish(row.subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		// The server answers in order: what it had to say of the message has come before this.
		if err := nc.FlushTimeout(10 * time.Second); err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
			t.Fatal(err)
		}
		if got := nc.LastError() == nil; got != row.may {
			t.Errorf("%s publishes to %s: %v, want %v (%v)", row.user, row.subject, got, row.may, nc.LastError())
		}
		nc.Close()
	}
}
