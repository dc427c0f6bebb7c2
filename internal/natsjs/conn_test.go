package natsjs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/huoma/huoma/internal/natsdev/natstest"
)

func TestConnectErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil { // nobody listens there now
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		o    Options
		is   error
		says []string
	}{
		{"nobody there", Options{URL: "nats://user:pa55word@" + addr}, ErrUnreachable, []string{addr, "--nats-url"}},
		{"several", Options{URL: "nats://user:pa55word@" + addr + ",tls://:pa55word@127.0.0.1:1"}, ErrUnreachable, []string{addr, "127.0.0.1:1"}},
		{"not a URL", Options{URL: "nats://user:pa55word%zz@" + addr}, nil, []string{"nats://host:port"}},
		{"no host", Options{URL: "nats://"}, nil, []string{"nats://host:port"}},
		{"no nkey file", Options{URL: "nats://" + addr, NkeyFile: "/nowhere/pa55word"}, nil, []string{"nkey file"}},
		{"two kinds of credentials", Options{URL: "nats://" + addr, NkeyFile: "a", CredentialsFile: "b"}, nil, []string{"keep one"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := Connect(t.Context(), row.o)
			if err == nil {
				_ = c.Close()
				t.Fatal("connected")
			}
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%v is no %v", err, row.is)
			}
			for _, s := range row.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if row.o.NkeyFile == "" && strings.Contains(err.Error(), "pa55") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Connect(ended, Options{URL: "nats://" + addr})
	wantErr(t, err, context.Canceled)
}

// secured runs a plain server with a user, a password and an nkey.
func secured(t testing.TB) (addr, seedFile string) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	seedFile = filepath.Join(t.TempDir(), "role.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "huoma", Password: "pa55word"}}, Nkeys: []*server.NkeyUser{{Nkey: pub}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return ns.Addr().String(), seedFile
}

// syncBuffer is a buffer for a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestCredentials(t *testing.T) {
	addr, seed := secured(t)
	var log syncBuffer
	l := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, o := range []Options{{URL: "nats://huoma:pa55word@" + addr, Log: l}, {URL: addr, NkeyFile: seed, Log: l}} {
		c, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ensure(testContext(t), Config{}); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"nats://huoma:wr0ng@" + addr, addr} {
		_, err := Connect(t.Context(), Options{URL: url, Log: l})
		wantErr(t, err, ErrRefused)
		if strings.Contains(err.Error(), "wr0ng") {
			t.Error(err)
		}
	}
	if s := log.String(); strings.Contains(s, "pa55word") || strings.Contains(s, "wr0ng") || !strings.Contains(s, addr) {
		t.Errorf("log: %s", s)
	}
}

func TestReconnects(t *testing.T) {
	s := natstest.New(t)
	var log syncBuffer
	c, err := Connect(t.Context(), Options{URL: s.URL(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.Connected() || c.MaxPayload() != 8<<20 {
		t.Errorf("connected %t, payload %d", c.Connected(), c.MaxPayload())
	}
	s.Stop()
	eventually(t, 5*time.Second, "disconnected", func() bool { return !c.Connected() })
	s.Start()
	eventually(t, 5*time.Second, "connected again", c.Connected)
	eventually(t, 5*time.Second, "logged", func() bool {
		return strings.Contains(log.String(), "disconnected, trying to reconnect") && strings.Contains(log.String(), "msg=reconnected")
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	_, c := install(t, 1)
	cl := claim(t, c, ClaimOptions{})
	errs := make(chan error, 2)
	go func() { _, err := cl.Next(t.Context()); errs <- err }()
	go func() { errs <- c.Commits(t.Context(), 0, 0, func([]byte, uint64) error { return nil }) }()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantErr(t, <-errs, ErrClosed)
	}
	wantErr(t, c.Wake(t.Context(), 0), ErrClosed)
	_, _, err := c.LastCommit(t.Context(), 0)
	wantErr(t, err, ErrClosed)
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, row := range []struct {
		have string
		want bool
	}{
		{"2.14.0", true}, {"2.14.0-RC.1", true}, {"2.15.2", true}, {"3.0.0", true}, {"v2.14.3", true},
		{"2.13.9", false}, {"2.9.25", false}, {"1.14.0", false}, {"", false}, {"nonsense", false},
	} {
		if got := atLeast(row.have, MinServerVersion); got != row.want {
			t.Errorf("%q: got %t", row.have, got)
		}
	}
}

// A server without JetStream is said to be one, and is waited for no longer
// than the caller likes.
func TestWithoutJetStream(t *testing.T) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	c := connect(t, "nats://"+ns.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.Installation(ctx)
	wantErr(t, err, context.DeadlineExceeded)
	if !strings.Contains(err.Error(), "nats-server -js") {
		t.Errorf("says not what to do: %v", err)
	}
}
