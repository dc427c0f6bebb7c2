package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/spool"
)

func openSpool(t testing.TB, dir string, bytes int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: dir, Bytes: bytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// stored holds the log to what was answered: every event once, and a
// visitor's in the order they were answered in.
func (h *house) stored(answered map[string][]string) {
	h.t.Helper()
	times := make(map[string]int)
	place := make(map[string]int)
	for i, e := range h.decided() {
		times[e.Event.ID]++
		place[e.Event.ID] = i
	}
	for visitor, ids := range answered {
		for i, id := range ids {
			if times[id] != 1 {
				h.t.Errorf("event %s was decided %d times", id, times[id])
			}
			if i > 0 && place[ids[i-1]] > place[id] {
				h.t.Errorf("of %s, %s was decided before %s", visitor, id, ids[i-1])
			}
		}
	}
}

// decided is every item of the commit records, in order by partition.
func (h *house) decided() (out []events.Item) {
	h.t.Helper()
	for p := range 2 {
		_, last, err := h.conn.LastCommit(h.t.Context(), p)
		if errors.Is(err, events.ErrNotFound) {
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		done := errors.New("done")
		err = h.conn.Commits(h.t.Context(), p, 0, func(payload []byte, seq uint64) error {
			c, err := events.ParseCommit(payload)
			if err != nil {
				return err
			}
			out = append(out, c.Items...)
			if seq >= last {
				return done
			}
			return nil
		})
		if !errors.Is(err, done) {
			h.t.Fatal(err)
		}
	}
	return out
}

// ready is what /readyz says.
func (h *house) ready() map[string]any { return h.do("GET", "/readyz", "").json(h.t) }

func (h *house) metric(name string) float64 {
	h.t.Helper()
	for line := range strings.Lines(string(h.do("GET", "/metrics", "").body)) {
		var v float64
		if n, _ := fmt.Sscanf(line, "huoma_gateway_"+name+" %g", &v); n == 1 {
			return v
		}
	}
	h.t.Fatalf("there is no metric %s", name)
	return math.NaN()
}

func TestBrokerAway(t *testing.T) {
	server := natstest.New(t)
	conn := connect(t, server.URL(), 2)
	s := openSpool(t, t.TempDir(), 0)
	var later atomic.Int64 // the gateway's clock is ahead
	h := newGateway(t, conn, func(o *gateway.Options) {
		o.Spool = s
		o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	h.work()
	locked := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"id":"r","limit":2,"window":"30s","for":"1h"}]`)
	capped := h.mint(`"max_scans":3,"targets":[{"url":"https://example.com/a"}]`)
	deduped := h.mint(`"max_scans":2,"dedupe":"1h","targets":[{"url":"https://example.com/a"}]`)
	c := h.mint("")
	cookie := "Cookie: " + strings.Split(h.scan(locked).header.Get("Set-Cookie"), ";")[0]
	h.until("the visitor is locked", func() bool { return h.scan(locked, cookie).status == 429 })
	h.scan(capped).want(t, 302)
	h.until("one is consumed", func() bool { return h.count(capped, "accepted") == 1 })
	if r := h.ready(); r["status"] != "ready" || r["spooled"] != nil {
		t.Errorf("readyz = %v", r)
	}

	server.Stop()
	h.until("it is degraded", func() bool { return h.ready()["status"] == "degraded" })
	answered := map[string][]string{}
	note := func(visitor string, a answer) {
		answered[visitor] = append(answered[visitor], a.header.Get("Huoma-Event"))
	}
	note("x", h.scan(c, cookie).want(t, 302))
	note("x", h.scan(c, cookie).want(t, 302))
	h.scan(locked, cookie).want(t, 429)
	note("locked", h.scan(locked).want(t, 302))
	note("capped", h.scan(capped).want(t, 302))
	note("capped", h.scan(capped).want(t, 302))
	later.Store(int64(time.Minute)) // longer than scans are waited for that are not in the spool
	if a := h.scan(capped).want(t, 410); a.header.Get("Huoma-Verdict") != "capped" {
		t.Errorf("beyond the cap: %v", a.header)
	}
	for range 4 { // one visitor uses the cap up once
		note("d", h.scan(deduped, cookie).want(t, 302))
	}
	h.scan(map[string]any{"token": "forged"}).want(t, 404)
	joined := "[" + event(c, events.TypeMemberJoined, "away", `{"target":0}`, "") + "," + event(c, events.TypeMemberJoined, "away-2", `{"target":0}`, "") + "]"
	for range 2 { // the second time for want of an answer
		if a := h.admin("POST", "/v1/events", joined).want(t, 202).json(t); a["stored"] != 2.0 || a["spooled"] != true {
			t.Errorf("events: %v", a)
		}
	}
	if a := h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "z", `{"target":7}`, "")).want(t, 503); a.json(t)["code"] != "log_away" {
		t.Errorf("a target nobody has heard of: %s", a.body)
	}
	if a := h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "z", `{"target":0}`, "2020-01-01T00:00:00.000Z")).want(t, 400); a.json(t)["code"] != "too_old" {
		t.Errorf("an old event: %s", a.body)
	}
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/v1/codes", `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]}`},
		{"PATCH", "/v1/codes/" + c["id"].(string), `{"name":"x"}`},
		{"DELETE", "/v1/codes/" + c["id"].(string), ""},
		{"POST", "/v1/codes/" + c["id"].(string) + "/renew", ""},
	} {
		a := h.admin(r.method, r.path, r.body).want(t, 503)
		if a.json(t)["code"] != "log_away" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %s", r.method, r.path, a.body)
		}
	}
	other := newGatewayCode(t)
	if a := h.scan(other, "Accept: application/json").want(t, 503); a.json(t)["code"] != "log_away" {
		t.Errorf("an unknown code: %s", a.body)
	}
	if a := h.admin("POST", "/v1/events", event(other, events.TypeMemberJoined, "y", `{"target":0}`, "")).want(t, 503); a.json(t)["code"] != "log_away" {
		t.Errorf("an unknown code's event: %s", a.body)
	}
	spooled := h.ready()["spooled"].(map[string]any)
	if n := spooled["events"].(float64); n < 12 || spooled["bytes"].(float64) < 12*200 || h.metric("spool_events") != n || h.metric("spooled_events_total") != n {
		t.Errorf("spooled = %v", spooled)
	}
	if oldest, err := time.Parse(time.RFC3339, spooled["oldest"].(string)); err != nil || time.Since(oldest).Abs() > time.Hour {
		t.Errorf("oldest = %v", spooled["oldest"])
	}

	server.Start()
	h.until("it is ready", func() bool { return h.ready()["status"] == "ready" })
	note("x", h.scan(c, cookie).want(t, 302))
	h.until("all is decided", func() bool {
		return h.count(c, "accepted") == 3 && h.count(capped, "accepted") == 3 && h.count(deduped, "accepted")+h.count(deduped, "duplicate") == 4 && h.stats(c)["members"] == 2.0
	})
	answered["joined"] = []string{"away", "away-2"}
	h.stored(answered)
	if a := h.admin("POST", "/v1/events", joined).want(t, 202).json(t); a["spooled"] != nil {
		t.Errorf("events, stored directly: %v", a)
	}
	h.scan(capped).want(t, 410)
	if a, d := h.count(deduped, "accepted"), h.count(deduped, "duplicate"); a != 1 || d != 3 {
		t.Errorf("%d accepted and %d duplicates, want 1 and 3", a, d)
	}
	h.scan(locked, cookie).want(t, 429)
	if h.metric("replayed_events_total") != h.metric("spooled_events_total") || h.metric("spool_bytes") != 0 {
		t.Errorf("replayed %v of %v, %v bytes left", h.metric("replayed_events_total"), h.metric("spooled_events_total"), h.metric("spool_bytes"))
	}
	h.mint("")
}

// newGatewayCode is a code of another installation with the same keys.
func newGatewayCode(t *testing.T) map[string]any {
	return newGateway(t, connect(t, natstest.Start(t), 2)).mint("")
}

// hanging is the real log, which at times does not come back, though what it
// was given may be stored.
type hanging struct {
	*natsjs.Conn
	hang  atomic.Bool
	store atomic.Bool // and stores it all the same
	calls atomic.Int64
	seen  sync.Map // message ids of what was given to it
}

func (l *hanging) AppendRecords(ctx context.Context, records []events.Record) error {
	l.calls.Add(1)
	for _, r := range records {
		key := fmt.Sprint(r.Producer, r.Partition, r.Number)
		if old, loaded := l.seen.LoadOrStore(key, string(r.Payload)); loaded && old != string(r.Payload) {
			return fmt.Errorf("number %s was used for something else", key)
		}
	}
	if !l.hang.Load() {
		return l.Conn.AppendRecords(ctx, records)
	}
	if l.store.Load() {
		if err := l.Conn.AppendRecords(ctx, records[:(len(records)+1)/2]); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// A flush of many partitions whose outcome is unknown: whatever of it was
// stored counts once, and nothing overtakes the rest.
func TestUnknownOutcomeIsHarmless(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	l := &hanging{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) {
		o.Backend, o.Spool = l, openSpool(t, t.TempDir(), 0)
		o.Limits.Direct, o.Limits.Store = 50*time.Millisecond, 100*time.Millisecond
	})
	var codes []map[string]any
	for range 6 {
		codes = append(codes, h.mint(""))
	}
	h.work()
	h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
	answered := map[string][]string{}
	var mu sync.Mutex
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for v := range 8 {
		crowd.Go(func() {
			visitor := fmt.Sprint("v", v)
			cookie := fmt.Sprintf("Cookie: hm_v=AAAAAAAAAAAAAAAAAAAA%dA", v)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a := h.scan(codes[(n/4)%len(codes)], cookie)
				if a.status == 503 {
					t.Errorf("answered 503: %s", a.body)
				}
				if id := a.header.Get("Huoma-Event"); id != "" {
					mu.Lock()
					answered[visitor+codes[(n/4)%len(codes)]["id"].(string)] = append(answered[visitor+codes[(n/4)%len(codes)]["id"].(string)], id)
					mu.Unlock()
				}
			}
		})
	}
	for i := range 8 {
		l.store.Store(i%2 == 0)
		l.hang.Store(true)
		h.until("it spools", func() bool { return h.metric("spool_events") > 20 })
		l.hang.Store(false)
		h.until("it stores directly", func() bool { return h.ready()["status"] == "ready" })
	}
	close(stop)
	crowd.Wait()
	n := 0
	for _, ids := range answered {
		n += len(ids)
	}
	h.until("all is decided", func() bool { return len(h.decided()) >= n+len(codes) })
	h.stored(answered)
	if got := len(h.decided()); got != n+len(codes) {
		t.Errorf("%d events decided, %d were answered", got, n+len(codes))
	}
}

func TestSpoolFull(t *testing.T) {
	server := natstest.New(t)
	conn := connect(t, server.URL(), 2)
	h := newGateway(t, conn, func(o *gateway.Options) { o.Spool = openSpool(t, t.TempDir(), 20_000) })
	h.work()
	c := h.mint(`"max_scans":1000,"targets":[{"url":"https://example.com/a"}]`)
	h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
	server.Stop()
	answered := map[string][]string{}
	refused := 0
	h.until("it is full", func() bool {
		a := h.scan(c, "Accept: application/json")
		if a.status == 302 {
			answered["x"] = append(answered["x"], a.header.Get("Huoma-Event"))
			return false
		}
		refused++
		if a.want(t, 503).json(t)["code"] != "spool_full" || a.header.Get("Retry-After") == "" {
			t.Fatalf("problem = %s", a.body)
		}
		return refused == 3
	})
	refused++
	if a := h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "full", `{"target":0}`, "")).want(t, 503); a.json(t)["code"] != "spool_full" {
		t.Errorf("events: %s", a.body)
	}
	if a := h.do("GET", "/readyz", "").want(t, 503); a.json(t)["code"] != "spool_full" {
		t.Errorf("readyz = %s", a.body)
	}
	if n := h.metric("spool_refused_events_total"); n != 4 {
		t.Errorf("%v refused, want 4", n)
	}
	server.Start()
	h.until("it is ready", func() bool { return h.ready()["status"] == "ready" })
	answered["x"] = append(answered["x"], h.scan(c).want(t, 302).header.Get("Huoma-Event"))
	h.until("all is decided", func() bool { return h.count(c, "accepted") == len(answered["x"]) })
	h.stored(answered)
}

// A gateway ends with events in its spool; the next, under another name,
// stores them first.
func TestNextStartGoesOn(t *testing.T) {
	server := natstest.New(t)
	proxy := natstest.NewProxy(t, server.URL())
	conn := connect(t, server.URL(), 2)
	dir := t.TempDir()
	first := openSpool(t, dir, 0)
	h := newGateway(t, conn)
	c := h.mint("")
	cookie := "Cookie: " + strings.Split(h.scan(c).want(t, 302).header.Get("Set-Cookie"), ";")[0]
	answered := map[string][]string{}
	note := func(a answer) { answered["x"] = append(answered["x"], a.want(t, 302).header.Get("Huoma-Event")) }
	t.Run("away", func(t *testing.T) {
		cut, err := natsjs.Connect(t.Context(), natsjs.Options{URL: proxy.URL(), Name: "cut"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cut.Close() })
		g := newGateway(t, cut, func(o *gateway.Options) { o.Spool = first; o.Limits.Direct = 200 * time.Millisecond })
		proxy.Cut()
		for range 3 {
			note(g.scan(c, cookie))
		}
		begun := time.Now()
		if err := g.gate.Close(t.Context()); err != nil || time.Since(begun) > 15*time.Second {
			t.Errorf("closing took %s: %v", time.Since(begun), err)
		}
	})
	_ = first.Close()
	if n := len(h.log(2)); n != 2 {
		t.Fatalf("%d events in the log, want the mint and a scan", n)
	}
	second := openSpool(t, dir, 0)
	if st := second.Stats(); st.Events != 4 { // and the definition, which no scan worker has been heard of
		t.Fatalf("%d events were kept", st.Events)
	}
	if _, err := gateway.New(gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: conn, Partitions: 1, Spool: strange{second}}); err == nil || !strings.Contains(err.Error(), "--spool-dir") {
		t.Errorf("another installation's spool: %v", err)
	}
	slow := &slowReplay{Conn: conn, hold: make(chan struct{})}
	g := newGateway(t, conn, func(o *gateway.Options) { o.Backend, o.Spool = slow, second })
	note(g.scan(c, cookie)) // behind what is there
	g.until("it is tried", func() bool { return slow.tried.Load() })
	close(slow.hold)
	g.work()
	g.until("all is decided", func() bool { return g.count(c, "accepted") == 5 })
	g.stored(answered)
}

// slowReplay is the real log, which takes what was spooled when it is let.
type slowReplay struct {
	*natsjs.Conn
	hold  chan struct{}
	tried atomic.Bool
}

func (l *slowReplay) AppendRecords(ctx context.Context, records []events.Record) error {
	if !records[0].Spooled.IsZero() {
		l.tried.Store(true)
		select {
		case <-l.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.Conn.AppendRecords(ctx, records)
}

// strange is a spool of more partitions.
type strange struct{ *spool.Spool }

func (s strange) Stats() events.Spool {
	st := s.Spool.Stats()
	st.Partition = 1
	return st
}

// Scans spread over an outage arrive at once and lock nobody; a burst in it does.
func TestSpooledScansCountWhenTheyWereMade(t *testing.T) {
	server := natstest.New(t)
	conn := connect(t, server.URL(), 2)
	s := openSpool(t, t.TempDir(), 0)
	h := newGateway(t, conn, func(o *gateway.Options) { o.Spool = s })
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"id":"r","limit":3,"window":"30s","for":"1h"}]`)
	h.work()
	h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
	id := c["id"].(string)
	began := time.Now().UTC().Add(-10 * time.Minute).Truncate(time.Millisecond)
	number := uint64(0)
	put := func(visitor string, after time.Duration) {
		t.Helper()
		at := began.Add(after)
		number++
		b, err := events.MarshalBatch([]*events.Event{{
			ID: fmt.Sprint(visitor, number), Source: "huoma/gateway/old", Type: events.TypeScan, Subject: id, Time: at,
			Data: &events.Scan{Visitor: visitor, Answered: "accepted"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		r := events.Record{Partition: events.Partition(id, 2), Payload: b, Producer: "old", Number: number, Events: 1, Spooled: at}
		if err := conn.AppendRecords(t.Context(), []events.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 6 {
		put("patient", time.Duration(i)*time.Minute)
	}
	for i := range 4 {
		put("hasty", time.Minute+time.Duration(i)*time.Second)
	}
	h.until("all is decided", func() bool { return h.count(c, "accepted")+h.count(c, "locked") == 10 })
	got := map[string]int{}
	for _, it := range h.decided() {
		if d, ok := it.Event.Data.(*events.Scan); ok {
			got[d.Visitor+" "+string(it.Verdict)]++
			if it.Spooled.IsZero() || !it.Spooled.Equal(it.Event.Time) || it.At.Before(it.Spooled.Add(time.Minute)) {
				t.Errorf("item %s: at %v, spooled %v", it.Event.ID, it.At, it.Spooled)
			}
		}
	}
	if want := "map[hasty accepted:3 hasty locked:1 patient accepted:6]"; fmt.Sprint(got) != want {
		t.Errorf("verdicts = %v, want %v", got, want)
	}
}
