package natsdev

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func TestServesJetStreamAndKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "nats")
	var addr string
	for round := range 2 {
		o := Options{Addr: "127.0.0.1:0", StoreDir: dir}
		if round > 0 {
			o.Addr = addr
		}
		s := start(t, o)
		addr = s.Addr()
		if want := "nats://" + addr; s.URL() != want || strings.HasSuffix(addr, ":0") {
			t.Errorf("url %s, want %s with the port it got", s.URL(), want)
		}
		nc, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		if nc.MaxPayload() != DefaultMaxPayload {
			t.Errorf("takes %d bytes", nc.MaxPayload())
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		st, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.CachedInfo().State.Msgs; got != uint64(round) {
			t.Errorf("round %d has %d messages", round, got)
		}
		if _, err := js.Publish(t.Context(), "s", []byte("x")); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		s.Shutdown()
		s.Shutdown() // does nothing
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory is %v, %v", info.Mode(), err)
	}
}

func TestSyncsEveryWriteUnlessTold(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		s := start(t, Options{Addr: "127.0.0.1:0", StoreDir: t.TempDir(), RelaxedSync: relaxed})
		if got := s.ns.JetStreamConfig().SyncAlways; got == relaxed {
			t.Errorf("relaxed %t: sync always is %t", relaxed, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	locked := t.TempDir()
	start(t, Options{Addr: "127.0.0.1:0", StoreDir: locked})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		o    Options
		want []string // in the error
	}{
		{"port in use", Options{Addr: taken.Addr().String(), StoreDir: t.TempDir()}, []string{"in use", "--nats-addr"}},
		{"directory in use", Options{Addr: "127.0.0.1:0", StoreDir: locked}, []string{locked, "in use by another process", "--data"}},
		{"not a directory", Options{Addr: "127.0.0.1:0", StoreDir: filepath.Join(file, "x")}, []string{"cannot be written to", "--data"}},
		{"no right to write", Options{Addr: "127.0.0.1:0", StoreDir: "/proc/huoma"}, []string{"cannot be written to", "--data"}},
		{"no directory", Options{Addr: "127.0.0.1:0"}, []string{"--data"}},
		{"not loopback", Options{Addr: "0.0.0.0:0", StoreDir: t.TempDir()}, []string{"loopback", "--nats-url"}},
		{"a name", Options{Addr: "example.org:0", StoreDir: t.TempDir()}, []string{"loopback"}},
		{"every address", Options{Addr: ":4222", StoreDir: t.TempDir()}, []string{"loopback"}},
		{"no port", Options{Addr: "127.0.0.1", StoreDir: t.TempDir()}, []string{"host:port"}},
		{"bad port", Options{Addr: "127.0.0.1:70000", StoreDir: t.TempDir()}, []string{"65535"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := Start(row.o)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			for _, w := range row.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a sentence", err)
			}
		})
	}
}

// A start that failed leaves nothing behind that the next would trip over.
func TestStartsAfterAFailure(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), taken.Addr().String()
	if _, err := Start(Options{Addr: addr, StoreDir: dir}); err == nil {
		t.Fatal("it started on a port in use")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Addr: addr, StoreDir: dir})
}

func TestLogGoesToSlog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Start(Options{Addr: "127.0.0.1:0", StoreDir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	if !strings.Contains(b.String(), "Server is ready") || !strings.HasPrefix(b.String(), "{") {
		t.Errorf("log is %s", b.String())
	}
}

func TestStartsQuickly(t *testing.T) {
	began := time.Now()
	start(t, Options{Addr: "127.0.0.1:0", StoreDir: t.TempDir()})
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}
