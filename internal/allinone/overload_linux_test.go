package allinone_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/token/keyfile"
)

var overloadFull = flag.Bool("overload.full", false, "flood for a minute instead of a few seconds")

// linkSpeed is what the gateway's link to NATS carries, in bytes a second. It makes the capacity small, the same on every machine, and
// far below what the load generator needs: some hundred scans a second.
const linkSpeed = 100_000

// percentile is the nearest-rank p-th percentile of list.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[(len(list)*p+99)/100-1]
}

// slowLink passes connections on to a server, what goes there at linkSpeed.
func slowLink(t *testing.T, to string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); _ = ln.Close(); open.Wait() })
	pass := func(in net.Conn) {
		defer in.Close()
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		stop := context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
		defer stop()
		_ = in.(*net.TCPConn).SetReadBuffer(16 << 10) // a queue here would be one more
		open.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		piece := make([]byte, 2<<10)
		free := time.Now() // when the link is free again
		for {
			n, err := in.Read(piece)
			if err != nil {
				return
			}
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(n) * time.Second / linkSpeed)
			select {
			case <-time.After(time.Until(free)):
			case <-ctx.Done():
				return
			}
			if _, err := out.Write(piece[:n]); err != nil {
				return
			}
		}
	}
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() { pass(c) })
		}
	})
	return ln.Addr().String()
}

// tally is what became of many scans.
type tally struct {
	mu                sync.Mutex
	ids               []string // events of the accepted
	accepted, refused []time.Duration
	odd               map[string]int
	sent              int
}

// scanner is one connection that scans.
type scanner struct {
	addr, request string
	conn          net.Conn
	in            *bufio.Reader
}

func (s *scanner) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// scan sends one and notes what it got.
func (s *scanner) scan(all *tally) {
	note := func(what string) { all.mu.Lock(); all.odd[what]++; all.mu.Unlock() }
	if s.conn == nil {
		c, err := net.DialTimeout("tcp", s.addr, within)
		if err != nil {
			note("not connected: " + err.Error())
			return
		}
		s.conn, s.in = c, bufio.NewReaderSize(c, 2048)
	}
	sent := time.Now()
	_ = s.conn.SetDeadline(sent.Add(within))
	if _, err := io.WriteString(s.conn, s.request); err != nil {
		note("not sent")
		s.close()
		return
	}
	resp, err := http.ReadResponse(s.in, nil)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
	}
	took := time.Since(sent)
	if err != nil {
		note("no answer")
		s.close()
		return
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.sent++
	switch resp.StatusCode {
	case http.StatusFound:
		all.accepted = append(all.accepted, took)
		all.ids = append(all.ids, resp.Header.Get("Huoma-Event"))
	case http.StatusServiceUnavailable:
		var p struct{ Code string }
		_ = json.Unmarshal(body, &p) // what is none has no code
		if p.Code != "overloaded" || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Set-Cookie") != "" {
			all.odd[fmt.Sprintf("503 %s, Retry-After %q, cookie %q", p.Code, resp.Header.Get("Retry-After"), resp.Header.Get("Set-Cookie"))]++
		}
		all.refused = append(all.refused, took)
	default:
		all.odd[resp.Status]++
	}
	if resp.Close {
		s.close()
	}
}

// flooded is a gateway process with a slow link to a real NATS.
type flooded struct {
	t       *testing.T
	gateway *process
	addr    string
	request string
}

func newFlooded(t *testing.T) (*flooded, *natsjs.Conn) {
	t.Helper()
	broker := natstest.New(t, natstest.WithSync())
	u := strings.TrimPrefix(broker.URL(), "nats://")
	keys := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyfile.LoadOrCreate(keys); err != nil {
		t.Fatal(err)
	}
	f := &flooded{t: t, addr: freePort(t)}
	f.gateway = run(t, []string{"HUOMA_NATS_URL=nats://" + slowLink(t, u), "HUOMA_KEYRING=" + keys, "HUOMA_API_KEY=" + apiKey}, "gateway", "--addr", f.addr, "--spool-dir=")
	until(t, "readiness", http.StatusOK, func() int { return f.get("/readyz") })
	in := &installation{t: t}
	in.Gateway = "http://" + f.addr
	c := in.mint(map[string]any{"profile": "wecom-group", "targets": []map[string]any{{"url": "https://example.com/a", "capacity": 1_000_000}}})
	f.request = fmt.Sprintf("GET /s/%s HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nAccept: application/json\r\n\r\n", c.Token, phone)
	conn, err := natsjs.Connect(t.Context(), natsjs.Options{URL: broker.URL(), Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return f, conn
}

func (f *flooded) get(path string) int {
	resp, err := http.Get("http://" + f.addr + path)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// rss is the gateway's memory in bytes.
func (f *flooded) rss() int64 {
	f.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.gateway.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return kb << 10
}

// load scans from so many connections for so long: at a rate, whether answers come or not, or each as soon as it has its answer when rate
// is 0.
func (f *flooded) load(connections int, rate float64, long time.Duration) *tally {
	all := &tally{odd: map[string]int{}}
	begun := time.Now()
	var next atomic.Int64
	var lanes sync.WaitGroup
	for range connections {
		lanes.Go(func() {
			s := &scanner{addr: f.addr, request: f.request}
			defer s.close()
			for time.Since(begun) < long {
				if rate > 0 {
					due := begun.Add(time.Duration(float64(next.Add(1)) / rate * float64(time.Second)))
					if due.Sub(begun) >= long {
						return
					}
					if wait := time.Until(due); wait > 0 {
						<-time.After(wait)
					}
				}
				s.scan(all)
			}
		})
	}
	lanes.Wait()
	for what, n := range all.odd {
		f.t.Errorf("%d scans: %s", n, what)
	}
	return all
}

// Ten times what the gateway can store: who is let in is answered soon, the others at once; memory stays; whoever watches is answered;
// it is over when it is over; and the log has exactly those who were let in.
func TestOverload(t *testing.T) {
	measure, flood := 3*time.Second, 8*time.Second
	if *overloadFull {
		measure, flood = 10*time.Second, time.Minute
	}
	f, conn := newFlooded(t)
	alone := f.load(1, 0, time.Second)
	busy := f.load(48, 0, measure)
	capacity := float64(len(busy.accepted)) / measure.Seconds()
	before := f.rss()
	t.Logf("capacity %.0f scans/s with 48 connections, p50 %s, p99 %s; alone p50 %s; %d MiB", capacity, percentile(busy.accepted, 50), percentile(busy.accepted, 99),
		percentile(alone.accepted, 50), before>>20)

	var most atomic.Int64
	watching, stop := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	var asked, unanswered int
	watcher.Go(func() {
		for tick := time.NewTicker(250 * time.Millisecond); ; {
			select {
			case <-watching.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			most.Store(max(most.Load(), f.rss()))
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
				asked++
				if f.get(path) != http.StatusOK {
					unanswered++
				}
			}
		}
	})
	all := f.load(800, 10*capacity, flood)
	ended := time.Now()
	again := &tally{odd: map[string]int{}}
	s := &scanner{addr: f.addr, request: f.request}
	defer s.close()
	// Recovered: five in a row that are let in, none slower than what a busy gateway needs.
	usual := 4*percentile(busy.accepted, 99) + time.Second
	for row := 0; row < 5; {
		n := len(again.accepted)
		if s.scan(again); len(again.accepted) > n && again.accepted[n] < usual {
			row++
		} else {
			row = 0
		}
		if time.Since(ended) > within {
			t.Fatal("it does not recover")
		}
	}
	recovered := time.Since(ended)
	stop()
	watcher.Wait()

	t.Logf("flood of %.0f/s for %s, of which %.0f/s were sent: %d let in (%.0f/s; p50 %s, p99 %s, most %s), %d refused (p50 %s, p99 %s); %d MiB at most; recovered after %s", 10*capacity, flood, float64(all.sent)/flood.Seconds(),
		len(all.accepted), float64(len(all.accepted))/flood.Seconds(), percentile(all.accepted, 50), percentile(all.accepted, 99), percentile(all.accepted, 100),
		len(all.refused), percentile(all.refused, 50), percentile(all.refused, 99), most.Load()>>20, recovered.Round(time.Millisecond))
	if len(all.accepted)+len(all.refused) != all.sent || all.sent == 0 {
		t.Errorf("%d were let in and %d refused, of %d sent", len(all.accepted), len(all.refused), all.sent)
	}
	if len(all.refused) < all.sent/2 {
		t.Errorf("%d of %d were refused: that was no overload", len(all.refused), all.sent)
	}
	if got, least := len(all.accepted), int(capacity*flood.Seconds()/20); got < least {
		t.Errorf("%d were let in, of %d that there was room for", got, 20*least)
	}
	if got, bound := percentile(all.accepted, 99), 10*percentile(busy.accepted, 50)+3*time.Second; got > bound {
		t.Errorf("p99 of those let in is %s, want at most %s", got, bound)
	}
	if grew := most.Load() - before; grew > 200<<20 {
		t.Errorf("memory grew by %d MiB", grew>>20)
	}
	if unanswered > 0 || asked == 0 {
		t.Errorf("%d of %d health checks were not answered", unanswered, asked)
	}
	if *overloadFull && recovered > 5*time.Second {
		t.Errorf("it recovered after %s, want 5 s", recovered)
	}

	// The log has each that was let in once, and none that was refused.
	want := map[string]bool{}
	for _, list := range []*tally{alone, busy, all, again} {
		for _, id := range list.ids {
			want[id] = true
		}
	}
	stored := map[string]int{}
	err := conn.Replay(t.Context(), 0, 1, 1<<40, func(m events.Message) error {
		if _, kind, _ := events.StoredKind(m.Subject); kind != events.KindGateway {
			return nil
		}
		list, err := events.ParseBatch(m.Data)
		for _, e := range list {
			if e.Type == events.TypeScan {
				stored[e.ID]++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range stored {
		if n != 1 || !want[id] {
			t.Fatalf("scan %s is %d times in the log; let in: %t", id, n, want[id])
		}
	}
	if len(stored) != len(want) {
		t.Errorf("%d scans are in the log, %d were let in", len(stored), len(want))
	}
}

// Ten thousand connections that do nothing cost little, and keep nobody out.
func TestIdleConnections(t *testing.T) {
	f, _ := newFlooded(t)
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	n := min(10_000, int(min(r.Cur, 1<<20))/4*3-256) // fewer where the system allows no process that many files
	f.load(1, 0, 100*time.Millisecond)
	before := f.rss()
	for range n {
		c, err := net.DialTimeout("tcp", f.addr, within)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// Those that have been answered once have buffers of their own; so has a tenth of these.
	until(t, "connections", true, func() bool {
		resp, err := http.Get("http://" + f.addr + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		_, after, _ := strings.Cut(string(b), "\nhuoma_gateway_connections ")
		open, _ := strconv.ParseFloat(strings.Fields(after + " 0")[0], 64)
		return int(open) >= n
	})
	each := (f.rss() - before) / int64(n)
	got := f.load(4, 0, time.Second)
	t.Logf("%d idle connections, %d bytes each; scans meanwhile: %d, p50 %s", n, each, len(got.accepted), percentile(got.accepted, 50))
	if each > 48<<10 {
		t.Errorf("an idle connection costs %d bytes", each)
	}
	if len(got.accepted) == 0 || len(got.refused) > 0 {
		t.Errorf("%d scans were answered and %d refused", len(got.accepted), len(got.refused))
	}
	if status := f.get("/readyz"); status != http.StatusOK {
		t.Error(errors.New("it is not ready any more"), status)
	}
}
