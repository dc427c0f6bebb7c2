package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/internal/token/keyfile"
)

func TestMain(m *testing.M) {
	chtest.Child()
	child := os.Getenv("HUOMA_TEST_CHILD") != ""
	for _, e := range os.Environ() { // the tests are about flags; whoever runs them may have their own settings
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "HUOMA_") && name != "HUOMA_CHDB_LIB" {
			_ = os.Unsetenv(name)
		}
	}
	if child { // this is the program itself, for tests that kill it
		os.Exit((&App{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}).Main(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

const testKey = "hk_test-key-of-an-installation"

// installation is a gateway and a scan worker on a real NATS server.
type installation struct {
	gateway, nats string
	keyring       string // its file
	conn          *natsjs.Conn
}

// install starts an installation that ends with the test.
func install(t testing.TB) installation {
	t.Helper()
	in := installation{nats: natstest.Start(t)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	connect := func(name string) *natsjs.Conn {
		conn, err := natsjs.Connect(ctx, natsjs.Options{URL: in.nats, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	in.conn = connect("setup")
	inst, err := in.conn.Ensure(ctx, natsjs.Config{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	in.keyring = t.TempDir() + "/keyring.json"
	keys, err := keyfile.LoadOrCreate(in.keyring)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := role.ScanWorker{Conn: connect("scan-worker"), Partitions: inst.Partitions, Keyring: keys, Log: log, Registry: prometheus.NewRegistry()}.New()
	if err != nil {
		t.Fatal(err)
	}
	gate, err := role.Gateway{
		Conn: connect("gateway"), Partitions: inst.Partitions, Keyring: keys, Addr: "127.0.0.1:0", APIKey: testKey,
		TrustedProxies: "127.0.0.0/8", Log: log, Registry: prometheus.NewRegistry(),
	}.New()
	if err != nil {
		t.Fatal(err)
	}
	// The gateway stops first: what it has taken is decided yet.
	gctx, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	for _, actor := range []func() error{func() error { return gate.Run(gctx) }, func() error { return worker.Run(ctx) }} {
		wg.Go(func() {
			if err := actor(); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the installation: %v", err)
			}
		})
	}
	in.gateway = "http://" + gate.Addr()
	cl, err := client.New(in.gateway, testKey)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway is ready", func() bool { return cl.Ready(ctx) == nil })
	return in
}

// totals is what all partitions have decided.
func (in installation) totals(t testing.TB) (sum events.Totals) {
	t.Helper()
	for p := range 2 {
		b, _, err := in.conn.LastCommit(t.Context(), p)
		if errors.Is(err, events.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.ParseCommit(b)
		if err != nil {
			t.Fatal(err)
		}
		sum.Scans += c.Totals.Scans
		sum.Members += c.Totals.Members
		sum.Conversions += c.Totals.Conversions
		sum.Repeated += c.Totals.Repeated
		sum.Dead += c.Totals.Dead
		sum.Alerts += c.Totals.Alerts
	}
	return sum
}

// eventually waits for a condition, at most half a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// result is what a command left behind.
type result struct {
	code        int
	out, stderr string
}

// run runs a command line as the program would.
func run(t testing.TB, args ...string) result { return runApp(t, &App{}, "", args...) }

func runApp(t testing.TB, a *App, stdin string, args ...string) result {
	t.Helper()
	var out, stderr lockedBuffer
	a.Stdin, a.Stdout, a.Stderr = strings.NewReader(stdin), &out, &stderr
	code := a.Main(t.Context(), args)
	return result{code, out.String(), stderr.String()}
}

// on runs a client command against the installation.
func (in installation) on(t testing.TB, args ...string) result {
	t.Helper()
	return run(t, append(args, "--gateway", in.gateway, "--api-key", testKey)...)
}

// ok fails the test unless the command succeeded, and returns its output.
func (r result) ok(t testing.TB) string {
	t.Helper()
	if r.code != exitOK {
		t.Fatalf("exit status %d: %s", r.code, r.stderr)
	}
	return r.out
}

// lockedBuffer may be read while a command writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
