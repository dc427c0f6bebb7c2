package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
)

// faulty is the real log with a hand on its storing.
type faulty struct {
	*natsjs.Conn
	hold chan struct{} // while open, storing waits
	fail atomic.Bool   // storing fails, after it was done
	late bool          // definitions never arrive by themselves
	mu   sync.Mutex
	seen []events.Record
}

var errInjected = errors.New("injected")

func (f *faulty) AppendRecords(ctx context.Context, records []events.Record) error {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	f.seen = append(f.seen, records...)
	f.mu.Unlock()
	if err := f.Conn.AppendRecords(ctx, records); err != nil {
		return err
	}
	if f.fail.Load() {
		return errInjected
	}
	return nil
}

func (f *faulty) WatchDefinitions(ctx context.Context, fn func(string, []byte, uint64) error, caughtUp func()) error {
	if !f.late {
		return f.Conn.WatchDefinitions(ctx, fn, caughtUp)
	}
	caughtUp()
	<-ctx.Done()
	return ctx.Err()
}

func TestACodeMintedElsewhereAMomentAgo(t *testing.T) {
	h := newHouse(t)
	late := newGateway(t, h.conn, func(o *gateway.Options) { o.Backend = &faulty{Conn: h.conn, late: true} })
	late.scan(h.mint("")).want(t, 302)
	c := h.mint("")
	late.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "x", `{"target":0}`, "")).want(t, 202)
	h.admin("PATCH", "/v1/codes/"+c["id"].(string), `{"targets":[{"n":0},{"url":"https://example.com/b"}]}`).want(t, 200)
	late.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "y", `{"target":1}`, "")).want(t, 202)
	h.until("both joined", func() bool { return h.stats(c)["members"] == 2.0 })
}

func TestNothingIsAnsweredBeforeItIsStored(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	first := newGateway(t, conn)
	c := first.mint("")
	first.work()
	first.until("the worker is heard", func() bool { return first.gate.Outbox() == 0 })
	f := &faulty{Conn: conn, hold: make(chan struct{})}
	h := newGateway(t, conn, func(o *gateway.Options) { o.Backend = f; o.Limits.QueuedEvents = 10; o.Limits.Store = time.Minute })

	type result struct {
		status int
		header http.Header
	}
	answers := make(chan result, 64)
	for range 30 {
		go func() {
			a := h.scan(c, "Accept: application/json")
			answers <- result{a.status, a.header}
		}()
	}
	for range 20 { // no more than the queue holds
		a := <-answers
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Fatalf("beyond the queue: %d %v, want 503 with Retry-After", a.status, a.header)
		}
	}
	if n := len(answers); n != 0 {
		t.Fatalf("%d more were answered though nothing is stored", n)
	}
	close(f.hold)
	for range 10 {
		if a := <-answers; a.status != 302 {
			t.Errorf("status = %d, want 302", a.status)
		}
	}
	// One flush took the first, the next all that had come meanwhile.
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.seen); n > 3 {
		t.Errorf("10 scans took %d records", n)
	}
}

func TestRecordNumbersHaveNoGaps(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) { o.Backend = f })
	var codes []map[string]any
	for range 6 {
		codes = append(codes, h.mint(""))
	}
	for i := range 40 {
		f.fail.Store(i == 20)
		a := h.scan(codes[i%len(codes)], "Accept: application/json")
		if want := map[bool]int{false: 302, true: 503}[i == 20]; a.status != want {
			t.Fatalf("scan %d: status = %d, want %d", i, a.status, want)
		}
		if i == 20 && a.json(t)["code"] != "not_stored" {
			t.Errorf("problem = %s", a.body)
		}
	}
	last := make(map[string]uint64)
	producers := make(map[string]bool)
	for _, r := range f.seen {
		key := fmt.Sprint(r.Producer, " ", r.Partition)
		if r.Number != last[key]+1 {
			t.Errorf("record %d of %s follows %d", r.Number, key, last[key])
		}
		last[key] = r.Number
		producers[r.Producer] = true
	}
	if len(producers) != 2 {
		t.Errorf("%d producers, want a second one after the failure", len(producers))
	}
	stop := h.work()
	h.until("all 40 scans are decided, the one with an unknown outcome too", func() bool {
		n := 0
		for _, c := range codes {
			n += h.count(c, "accepted")
		}
		return n == 40
	})
	stop()
}

func TestLogUnreachable(t *testing.T) {
	server := natstest.New(t)
	conn := connect(t, server.URL(), 2)
	h := newGateway(t, conn, func(o *gateway.Options) { o.Limits.Store = 300 * time.Millisecond })
	h.work()
	c := h.mint("")
	server.Stop()
	h.until("it is not ready", func() bool { return h.do("GET", "/readyz", "").status == 503 })
	if a := h.do("GET", "/readyz", ""); a.json(t)["code"] != "not_ready" {
		t.Errorf("readyz = %s", a.body)
	}
	h.do("GET", "/healthz", "").want(t, 200)
	a := h.scan(c, "Accept: application/json").want(t, 503)
	if a.json(t)["code"] != "not_stored" || a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("scan = %v %s", a.header, a.body)
	}
	if page := h.scan(c).want(t, 503); !strings.Contains(string(page.body), "One moment") {
		t.Errorf("page = %s", page.body)
	}
	server.Start()
	h.until("it is ready again", func() bool { return h.do("GET", "/readyz", "").status == 200 })
	h.until("it stores again", func() bool { return h.scan(c).status == 302 })
	h.until("and follows the decisions again", func() bool { return h.count(c, "accepted") >= 1 })
}

func TestAnotherGatewayKnowsEverything(t *testing.T) {
	h := newHouse(t)
	locked := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"id":"r","limit":2,"window":"30s"}]`)
	capped := h.mint(`"max_scans":1,"targets":[{"url":"https://example.com/a"}]`)
	gone := h.mint("")
	cookie := "Cookie: " + strings.Split(h.scan(locked).header.Get("Set-Cookie"), ";")[0]
	h.until("the visitor is locked", func() bool { return h.scan(locked, cookie).status == 429 })
	h.scan(capped).want(t, 302)
	h.until("the cap is used up", func() bool { return h.scan(capped).status == 410 })

	second := newGateway(t, h.conn)
	second.scan(locked, cookie).want(t, 429)
	second.scan(locked).want(t, 302)
	second.scan(capped).want(t, 410)
	if a, b := fmt.Sprint(h.stats(capped)["counts"].(map[string]any)["accepted"]), fmt.Sprint(second.stats(capped)["counts"].(map[string]any)["accepted"]); a != b {
		t.Errorf("stats differ: %s and %s", a, b)
	}
	// What one mints or revokes, the other knows at once or soon.
	second.scan(h.mint("")).want(t, 302)
	h.admin("DELETE", "/v1/codes/"+gone["id"].(string), "").want(t, 200)
	second.until("the revocation arrives", func() bool { return second.scan(gone).status == 410 })
}

func TestDefinitionTheLogMissedIsToldAgain(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn, hold: make(chan struct{})}
	crashed := newGateway(t, conn, func(o *gateway.Options) { o.Backend = f; o.Limits.Store = 50 * time.Millisecond })
	body := `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]}`
	crashed.admin("POST", "/v1/codes", body, "Idempotency-Key: k").want(t, 503)
	if n := len(crashed.log(2)); n != 0 {
		t.Fatalf("%d events in the log, want none", n)
	}

	h := newGateway(t, conn, func(o *gateway.Options) { o.Limits.RepairAfter = 20 * time.Millisecond })
	h.until("it is told", func() bool { return len(h.log(2)) == 1 })
	if e := h.log(2)[0]; e.Type != events.TypeCodeMinted || !strings.HasSuffix(e.Source, crashed.gate.Instance()) {
		t.Errorf("told: %+v", e)
	}
	h.work()
	h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
	c := h.admin("POST", "/v1/codes", body, "Idempotency-Key: k").want(t, 201).json(t)
	h.scan(c).want(t, 302)
	h.until("it is an ordinary code", func() bool { return h.count(c, "accepted") == 1 })
	close(f.hold)
}

func TestClosingLetsScansInFlightEnd(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) { o.Backend = f; o.Limits.Store = time.Minute })
	c := h.mint("")
	h.scan(map[string]any{"token": "forged"}).want(t, 404)
	f.hold = make(chan struct{})
	status := make(chan int, 1)
	go func() { status <- h.scan(c).status }()
	h.until("the scan waits", func() bool {
		return strings.Contains(string(h.do("GET", "/metrics", "").body), "huoma_gateway_queued_events 1")
	})
	closed := make(chan error, 1)
	go func() { closed <- h.gate.Close(context.Background()) }()
	h.until("it takes nothing new", func() bool {
		resp, err := client.Get(h.url + "/readyz")
		if err != nil {
			return true
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 503
	})
	close(f.hold)
	if got := <-status; got != 302 {
		t.Errorf("status = %d, want 302", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	types := make(map[string]int)
	for _, e := range h.log(2) {
		types[e.Type]++
	}
	if types[events.TypeScan] != 1 || types[events.TypeForged] != 1 {
		t.Errorf("in the log at the end: %v, want the scan and the forged one's count", types)
	}
}

func TestMissingCommitsAreMadeUpFromTheSnapshot(t *testing.T) {
	h := newGateway(t, connect(t, natstest.Start(t), 2))
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"scope":"code","limit":1,"window":"30s"}]`)
	def := h.log(2)[0].Data.(*events.CodeData).Definition
	state := code.New(def)
	p := events.Partition(def.ID, 2)
	var last uint64
	commit := func(step uint64) {
		t.Helper()
		record := events.Commit{Version: events.CommitVersion, Partition: p, Step: step, Owner: "test", Time: time.Now().UTC(), Codes: []code.View{state.View()}}
		b, err := record.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if last, err = h.conn.AppendCommit(t.Context(), p, last, b); err != nil {
			t.Fatal(err)
		}
	}
	commit(1)
	h.until("the first step arrives", func() bool { return h.stats(c)["revision"] == 1.0 })
	h.scan(c).want(t, 302)
	out := state.Apply(code.Input{ID: "x", Scan: &code.Scan{}}, time.Now())
	if len(out.Decisions) == 0 || out.Decisions[0].Kind != code.KindLock {
		t.Fatalf("decisions = %+v, want a lock", out.Decisions)
	}
	snapshot := events.Snapshot{Version: events.SnapshotVersion, Partition: p, Step: 2, CommitSeq: last, Codes: []code.Saved{state.Save()}}
	b, err := snapshot.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.conn.SaveSnapshot(t.Context(), p, b); err != nil {
		t.Fatal(err)
	}
	commit(3) // the lock was decided in step 2, which is missing
	h.until("the lock is known", func() bool { return h.scan(c).status == 429 })
	commit(5) // and what no snapshot makes up for does not stop it
	state.Apply(code.Input{ID: "y", Member: &code.Member{Kind: code.Joined}}, time.Now())
	commit(6)
	h.until("step 6 arrives", func() bool { return h.stats(c)["members"] == 1.0 })
}

func TestNewRefuses(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	good := gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: conn}
	g, err := gateway.New(good)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	for name, change := range map[string]func(*gateway.Options){
		"no key":     func(o *gateway.Options) { o.APIKey = "" },
		"no keyring": func(o *gateway.Options) { o.Keyring = nil },
		"public URL": func(o *gateway.Options) { o.PublicURL = "example.com" },
		"its path":   func(o *gateway.Options) { o.PublicURL = "https://example.com/codes" },
		"key file":   func(o *gateway.Options) { o.APIKey, o.APIKeyFile = "", t.TempDir()+"/none" },
		"port taken": func(o *gateway.Options) { o.Addr = g.Addr() },
	} {
		o := good
		change(&o)
		if other, err := gateway.New(o); err == nil {
			_ = other.Close(context.Background())
			t.Errorf("%s: no error", name)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/s/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetPathValue("token", "x")
	if w := serve(g, r); w.Code != 503 { // Run was not called: nothing is known yet
		t.Errorf("status before Run = %d, want 503", w.Code)
	}
}

// A gateway dies between storing a definition and telling the log of it.
// Another, which finds the definition, tells the log before it stores anything
// of the code: else that would be a dead letter.
func TestEventsComeAfterTheirDefinition(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	never := func(o *gateway.Options) { o.Limits.RepairAfter = time.Hour }
	first := newGateway(t, conn, never, func(o *gateway.Options) {
		o.Crash = func(p gateway.Point) error {
			if p == gateway.BeforeTell {
				return errors.New("it died")
			}
			return nil
		}
	})
	second := newGateway(t, conn, never)
	second.work()
	for _, by := range []string{"a scan", "an event"} {
		first.admin("POST", "/v1/codes", `{"profile":"wechat-group","name":"`+by+`","targets":[{"url":"https://example.com/a"}]}`).want(t, 500)
		var c map[string]any
		second.until("the other has the code of "+by, func() bool {
			for _, v := range second.admin("GET", "/v1/codes", "").json(t)["codes"].([]any) {
				if code := v.(map[string]any); code["name"] == by {
					c = code
				}
			}
			return c != nil
		})
		if by == "a scan" {
			second.scan(c).want(t, 302)
		} else {
			second.admin("POST", "/v1/events", fmt.Sprintf(`{"specversion":"1.0","id":"e","source":"t","type":"huoma.scan.v1","subject":%q,"time":%q,"data":{"visitor":"v"}}`,
				c["id"], time.Now().UTC().Format(time.RFC3339Nano))).want(t, 202)
		}
		second.until(by+" is counted", func() bool { return second.count(c, "accepted") == 1 })
	}
}

// A mint that came no further than a gateway's spool is not answered as if it
// stood: whoever knows of the code would be ahead of it. It is once it is repeated.
func TestMintInTheSpoolIsNoMint(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn, hold: make(chan struct{})}
	h := newGateway(t, conn, func(o *gateway.Options) {
		o.Backend, o.Spool = f, openSpool(t, t.TempDir(), 0)
		o.Limits.Direct = 50 * time.Millisecond
	})
	const body = `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]}`
	h.admin("POST", "/v1/codes", body, "Idempotency-Key: k").want(t, 503)
	close(f.hold)
	var a answer
	h.until("it is minted", func() bool { a = h.admin("POST", "/v1/codes", body, "Idempotency-Key: k"); return a.status == 201 })
	c := a.json(t)
	for _, e := range h.log(2) {
		if e.Type == events.TypeCodeMinted && e.Subject == c["id"] {
			return
		}
	}
	t.Errorf("the mint of %s is answered, and the log has no word of it", c["id"])
}
