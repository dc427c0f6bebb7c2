package allinone_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/spool"
)

// regulars are people with a cookie, each scanning one code at one gateway, one scan after
// the other, and what they were answered.
type regulars struct {
	p    *production
	wg   sync.WaitGroup
	stop chan struct{}

	mu       sync.Mutex
	answered [][]string // event ids, by person, in order
	slowest  time.Duration
}

func (p *production) regulars(codes []minted, n int) *regulars {
	r := &regulars{p: p, stop: make(chan struct{}), answered: make([][]string, n)}
	for i := range n {
		r.wg.Go(func() {
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-r.stop:
					return
				case <-tick.C:
				}
				req, _ := http.NewRequest("GET", p.gateways[i%len(p.gateways)]+path(p.t, codes[i%len(codes)].ScanURL), nil)
				req.Header.Set("User-Agent", phone)
				req.Header.Set("Cookie", fmt.Sprintf("hm_v=AAAAAAAAAAAAAAAAAAA%02dA", i))
				begun := time.Now()
				resp, err := client.Do(req)
				if err != nil {
					continue // its gateway was killed
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				r.mu.Lock()
				r.slowest = max(r.slowest, time.Since(begun))
				if id := resp.Header.Get("Huoma-Event"); id != "" {
					r.answered[i] = append(r.answered[i], id)
				}
				r.mu.Unlock()
			}
		})
	}
	return r
}

func (r *regulars) so(gateway int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, ids := range r.answered {
		if i%len(r.p.gateways) == gateway {
			n += len(ids)
		}
	}
	return n
}

// goOn waits until a gateway has answered more scans.
func (r *regulars) goOn(gateway int) {
	r.p.t.Helper()
	first := r.so(gateway)
	until(r.p.t, fmt.Sprintf("more scans at gateway %d", gateway+1), true, func() bool { return r.so(gateway) >= first+100 })
}

// home stops them and holds what they were answered against the commit
// records and the warehouse: each event once, a person's in order.
func (r *regulars) home(partitions int) {
	t := r.p.t
	t.Helper()
	close(r.stop)
	r.wg.Wait()
	for n := range r.p.gateways {
		until(t, fmt.Sprintf("state of gateway %d", n+1), "ready", func() string { return r.p.at(n).state() })
	}
	r.p.agree()
	times, place := map[string]int{}, map[string]int{}
	conn, err := natsjs.Connect(t.Context(), natsjs.Options{URL: r.p.NATS, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for p := range partitions {
		_, last, err := conn.LastCommit(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		done := errors.New("done")
		err = conn.Commits(t.Context(), p, 0, func(payload []byte, seq uint64) error {
			c, err := events.ParseCommit(payload)
			if err != nil {
				return err
			}
			for _, it := range c.Items {
				times[it.Event.ID]++
				place[it.Event.ID] = len(place)
			}
			if seq >= last {
				return done
			}
			return nil
		})
		if !errors.Is(err, done) {
			t.Fatal(err)
		}
	}
	rows := map[string]int{}
	for id := range strings.FieldsSeq(r.p.query("SELECT event_id FROM scans")) {
		rows[id]++
	}
	all := 0
	for person, ids := range r.answered {
		for i, id := range ids {
			all++
			if times[id] != 1 || rows[id] != 1 {
				t.Errorf("event %s was decided %d times and has %d rows", id, times[id], rows[id])
			}
			if i > 0 && place[ids[i-1]] > place[id] {
				t.Errorf("of person %d, event %s was decided before %s", person, id, ids[i-1])
			}
		}
	}
	t.Logf("%d scans answered, the slowest after %s", all, r.slowest)
}

// state is what /readyz says of a gateway.
func (in *installation) state() string {
	resp, err := http.Get(in.Gateway + "/readyz")
	if err != nil {
		return "gone"
	}
	defer resp.Body.Close()
	var state struct{ Status any }
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
		return err.Error()
	}
	return fmt.Sprint(state.Status)
}

func (p *production) signal(name string, s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid(name), s); err != nil {
		p.t.Fatalf("signal %s: %v", name, err)
	}
}

// The broker is pulled out under load in every way there is, and gateways
// with events in their spools are: whatever was answered is there once.
func TestBrokerAway(t *testing.T) {
	p := produce(t, t.TempDir(), "--partitions", "2", "--scan-workers", "1", "--analytics-workers", "1")
	codes := p.everywhere(2)
	people := p.regulars(codes, 8)
	both := func() { people.goOn(0); people.goOn(1) }
	states := func(want string) {
		t.Helper()
		for n := range p.gateways {
			until(t, fmt.Sprintf("state of gateway %d", n+1), want, func() string { return p.at(n).state() })
		}
	}
	both()

	// Killed, and a gateway with a filled spool after it.
	p.kill("nats-1")
	states("degraded")
	both()
	p.kill("gateway-1")
	people.goOn(1)
	p.sh("restart", "nats-1")
	p.sh("restart", "gateway-1")
	states("ready")
	both()

	// It hangs.
	p.signal("nats-1", syscall.SIGSTOP)
	states("degraded")
	both()
	p.signal("nats-1", syscall.SIGCONT)
	states("ready")
	both()

	// It comes and goes.
	for range 3 {
		p.kill("nats-1")
		people.goOn(0)
		p.sh("restart", "nats-1")
		people.goOn(1)
	}
	states("ready")
	both()

	// A gateway is stopped, in bounded time, and a bit of its spool goes bad.
	p.kill("nats-1")
	states("degraded")
	both()
	p.sh("stop", "gateway-2")
	files, err := filepath.Glob(filepath.Join(p.dir, "spool-2", "*.spool"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is in the spool of gateway 2: %v", err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], append(b, []byte("HSPf, and then nothing that makes any sense")...), 0o600); err != nil {
		t.Fatal(err)
	}
	p.sh("restart", "nats-1")
	p.sh("restart", "gateway-2")
	both()
	people.home(2)
	named := false
	for _, c := range p.complaints("level=ERROR", "panic:") {
		if strings.Contains(c, "a piece of the spool is damaged") && strings.Contains(c, fmt.Sprintf("offset=%d ", len(b))) {
			named = true
			continue
		}
		t.Logf("in a log: %s", c)
	}
	if !named {
		t.Error("the damage is not named in a log")
	}
	if _, err := spool.Open(spool.Options{Dir: filepath.Join(p.dir, "spool")}); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Errorf("a second process in a spool's folder: %v", err)
	}
}
