package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
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
	"github.com/huoma/huoma/internal/spool"
)

var errDied = errors.New("died here")

// reaper ends gateways: at one point, at its passages of certain numbers, and after each such death the next gateway at another point.
type reaper struct {
	mu      sync.Mutex
	point   string
	passes  int
	first   bool
	deaths  int
	again   []string // the points of the deaths that follow one, in turn
	pending string
	doubles int
	over    bool
}

// life is one start of a gateway. Once it is dead nothing it does has an effect any more.
type life struct {
	r    *reaper
	dead atomic.Bool
}

func (l *life) at(p string) error {
	if l.dead.Load() {
		return errDied
	}
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if p == r.point {
		r.passes++
	}
	switch {
	case r.over:
		return nil
	case r.pending != "" && p == r.pending:
		r.pending = ""
		r.doubles++
	case r.pending == "" && p == r.point && (r.first || r.passes%3 == 0):
		r.first = false
		r.deaths++
		if len(r.again) > 0 {
			r.pending = r.again[r.deaths%len(r.again)]
		}
	default:
		return nil
	}
	l.dead.Store(true)
	return errDied
}

// mortal is the real log as a gateway sees it that may die. While mute is set the log takes no events, though definitions are changed.
type mortal struct {
	*natsjs.Conn
	*life
	mute *atomic.Bool
}

func (m *mortal) AppendRecords(ctx context.Context, records []events.Record) error {
	switch {
	case m.dead.Load():
		return errDied
	case m.mute.Load():
		return errInjected
	}
	return m.Conn.AppendRecords(ctx, records)
}

func (m *mortal) CreateDefinition(ctx context.Context, id string, value []byte) (uint64, error) {
	if m.dead.Load() {
		return 0, errDied
	}
	return m.Conn.CreateDefinition(ctx, id, value)
}

func (m *mortal) UpdateDefinition(ctx context.Context, id string, value []byte, rev uint64) (uint64, error) {
	if m.dead.Load() {
		return 0, errDied
	}
	return m.Conn.UpdateDefinition(ctx, id, value, rev)
}

// grave is a spool that a dead gateway changes no more.
type grave struct {
	*spool.Spool
	*life
}

func (s *grave) Append(records []events.Record) error {
	if s.dead.Load() {
		return errDied
	}
	return s.Spool.Append(records)
}

func (s *grave) Done(n int) error {
	if s.dead.Load() {
		return errDied
	}
	return s.Spool.Done(n)
}

func (s *grave) Trim() error {
	if s.dead.Load() {
		return errDied
	}
	return s.Spool.Trim()
}

// site is an installation whose gateway dies and is started again, and who uses it: somebody who repeats what was not answered.
type site struct {
	*house
	r     *reaper
	life  *life
	mute  atomic.Bool
	dir   string // of the spool
	end   func()
	acked []string          // ids of events, each answered
	codes map[string]uint64 // code → the newest revision that was answered, of codes minted under a key
	loose int               // mints without a key that were tried
}

func newSite(t *testing.T, r *reaper) *site {
	s := &site{r: r, dir: t.TempDir(), codes: map[string]uint64{}}
	s.house = &house{t: t, conn: connect(t, natstest.Start(t), 2)}
	s.work()
	s.start()
	t.Cleanup(func() { s.end() })
	return s
}

// start starts a gateway on what the last one left, as often as it takes: it may die at once.
func (s *site) start() {
	s.t.Helper()
	for {
		s.life = &life{r: s.r}
		l := s.life
		disk, err := spool.Open(spool.Options{Dir: s.dir, SegmentBytes: 2000, Crash: func(p spool.Point) error { return l.at("spool " + string(p)) }})
		if err != nil {
			s.t.Fatal(err)
		}
		g, err := gateway.New(gateway.Options{
			Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: &mortal{s.conn, l, &s.mute}, Partitions: 2, Spool: &grave{disk, l},
			Limits: gateway.Limits{RepairAfter: 20 * time.Millisecond, Replay: 10 * time.Millisecond, Drain: time.Second},
			Crash:  func(p gateway.Point) error { return l.at(string(p)) },
		})
		if err != nil {
			s.t.Fatal(err)
		}
		g.TellAtOnce(2)
		done := make(chan struct{})
		go func() { defer close(done); _ = g.Run(context.Background()) }() // the dead have nothing to tell
		s.gate, s.url = g, "http://"+g.Addr()
		s.end = func() {
			_ = g.Close(context.Background())
			<-done
			_ = disk.Close()
		}
		s.until("the gateway is ready, or dead", func() bool { return g.Ready() || l.dead.Load() })
		if !l.dead.Load() {
			return
		}
		s.end()
	}
}

// again buries a dead gateway and starts the next.
func (s *site) again() {
	s.end()
	s.start()
}

// try sends a request. ok is false when it had no answer that counts.
func (s *site) try(method, path, body string, headers ...string) (a answer, ok bool) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", iPhone)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err == nil && resp.StatusCode < 500
}

// insist is try until there is an answer.
func (s *site) insist(method, path, body string, headers ...string) (a answer) {
	s.t.Helper()
	s.until(method+" "+path+" is answered", func() bool {
		if s.life.dead.Load() {
			s.again()
		}
		var ok bool
		a, ok = s.try(method, path, body, headers...)
		return ok
	})
	return a
}

// mintKeyed mints under a key, or many.
func (s *site) mintKeyed(key, name string) map[string]any {
	s.t.Helper()
	c := s.insist("POST", "/v1/codes", `{"profile":"wechat-group","name":"`+name+`","targets":[{"url":"https://example.com/a"}]}`, "Idempotency-Key: "+key).want(s.t, 201).json(s.t)
	s.codes[c["id"].(string)] = 1
	return c
}

// change does what takes a revision; when nobody knows what came of it, the revision tells.
func (s *site) change(method, path string, c map[string]any, body string) {
	s.t.Helper()
	id := c["id"].(string)
	was := s.codes[id]
	a := s.insist(method, "/v1/codes/"+id+path, body, fmt.Sprintf(`If-Match: "%d"`, was))
	if a.status == 412 || a.status == 409 {
		a = s.insist("GET", "/v1/codes/"+id, "")
	}
	if got := uint64(a.want(s.t, 200).json(s.t)["revision"].(float64)); got != was+1 {
		s.t.Fatalf("%s %s: revision %d after %d", method, path, got, was)
	}
	s.codes[id] = was + 1
}

func (s *site) scanned(c map[string]any) {
	s.t.Helper()
	a := s.insist("GET", "/s/"+c["token"].(string), "").want(s.t, 302)
	s.acked = append(s.acked, a.header.Get("Huoma-Event"))
}

// produce publishes three events at once, and again under the same ids until that is answered.
func (s *site) produce(c map[string]any, id string) {
	s.t.Helper()
	var list []string
	for i := range 3 {
		list = append(list, event(c, events.TypeMemberJoined, fmt.Sprint(id, i), `{"target":0}`, ""))
		s.acked = append(s.acked, fmt.Sprint(id, i))
	}
	s.insist("POST", "/v1/events", "["+strings.Join(list, ",")+"]").want(s.t, 202)
}

// round is some of everything a gateway does.
func (s *site) round(n int) {
	s.t.Helper()
	id := func(what string) string { return fmt.Sprint(what, n, ".") }
	c := s.mintKeyed(id("one"), "one")
	s.produce(c, id("p"))
	s.change("PATCH", "", c, `{"name":"renamed"}`)
	s.scanned(c)
	s.change("POST", "/renew", c, "")
	var rows []string
	for i := range 5 {
		rows = append(rows, fmt.Sprintf(`{"profile":"wechat-group","name":"b%d","targets":[{"url":"https://example.com/a"}]}`, i))
	}
	many := s.insist("POST", "/v1/codes/batch", `{"codes":[`+strings.Join(rows, ",")+`]}`, "Idempotency-Key: "+id("many")).want(s.t, 201).json(s.t)
	for _, m := range many["codes"].([]any) {
		s.codes[m.(map[string]any)["id"].(string)] = 1
	}
	s.change("DELETE", "", c, "")
	// A mint that nobody repeats: if its gateway dies, it is for the next to tell.
	s.loose++
	s.try("POST", "/v1/codes", `{"profile":"wechat-group","name":"loose","targets":[{"url":"https://example.com/a"}]}`)

	// The log takes nothing for a while: what is scanned goes into the spool, and a mint that came no further is none yet.
	c = s.mintKeyed(id("mute"), "mute")
	s.mute.Store(true)
	s.scanned(c)
	if a, ok := s.try("POST", "/v1/codes", `{"profile":"wechat-group","name":"kept","targets":[{"url":"https://example.com/a"}]}`, "Idempotency-Key: "+id("kept")); ok {
		s.t.Errorf("a mint that the log has no word of is answered %d: %s", a.status, a.body)
	}
	s.produce(c, id("m"))
	s.scanned(c)
	s.mute.Store(false)
	kept := s.mintKeyed(id("kept"), "kept")
	s.change("PATCH", "", c, `{"name":"renamed"}`)
	s.until("what is spooled is stored", func() bool {
		if s.life.dead.Load() {
			s.again()
		}
		a, ok := s.try("GET", "/readyz", "")
		return ok && a.json(s.t)["status"] == "ready"
	})
	s.scanned(c)
	s.produce(kept, id("k"))
}

// repairs makes something to be told again: a mint that dies when it is stored.
func (s *site) repairs() {
	s.t.Helper()
	s.r.mu.Lock()
	s.r.pending = string(gateway.AfterCreate)
	before := s.r.passes
	s.r.mu.Unlock()
	s.loose++
	s.try("POST", "/v1/codes", `{"profile":"wechat-group","name":"loose","targets":[{"url":"https://example.com/a"}]}`)
	s.until("somebody repairs it", func() bool {
		if s.life.dead.Load() {
			s.again()
		}
		s.r.mu.Lock()
		defer s.r.mu.Unlock()
		return s.r.passes > before
	})
}

// bucket is a definition as it is stored.
type bucket struct {
	Event  string          `json:"event"`
	Source string          `json:"source"`
	Type   string          `json:"type"`
	Def    code.Definition `json:"def"`
}

func (s *site) bucket() map[string]bucket {
	s.t.Helper()
	out := map[string]bucket{}
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	err := s.conn.WatchDefinitions(ctx, func(id string, value []byte, _ uint64) error {
		var b bucket
		err := json.Unmarshal(value, &b)
		out[id] = b
		return err
	}, cancel)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.t.Fatal(err)
	}
	return out
}

// whole holds everything to what was answered, when nothing is on its way any more.
func (s *site) whole() {
	t := s.t
	t.Helper()
	s.until("everything is heard", func() bool {
		if s.life.dead.Load() {
			s.again()
		}
		return s.gate.Outbox() == 0 && s.gate.Ready() && s.ready()["status"] == "ready"
	})
	ends := map[int]bool{}
	s.until("and decided", func() bool { // what comes last in every partition is heard
		id := s.mint("")["id"].(string)
		s.codes[id] = 1
		ends[events.Partition(id, 2)] = true
		return len(ends) == 2
	})
	s.until("the last is heard", func() bool { return s.gate.Outbox() == 0 })
	stored := s.bucket()
	told := map[string]*events.Event{} // by event id
	for _, e := range s.log(2) {
		if was, twice := told[e.ID]; twice && !reflect.DeepEqual(was, e) {
			t.Errorf("event %s is in the log twice, and differs: %+v and %+v", e.ID, was, e)
		}
		told[e.ID] = e
	}
	times := map[string]int{}       // event id → how often it was taken
	revisions := map[string][]int{} // code → revisions, in the order they were taken
	for _, it := range s.decided() {
		times[it.Event.ID]++
		if d, ok := it.Event.Data.(*events.CodeData); ok {
			revisions[it.Event.Subject] = append(revisions[it.Event.Subject], int(d.Definition.Revision))
		}
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("event %s was taken %d times", id, n)
		}
	}
	for _, id := range s.acked {
		if times[id] != 1 {
			t.Errorf("event %s was answered, and taken %d times", id, times[id])
		}
	}
	loose := 0
	for id, b := range stored {
		e := told[b.Event]
		if e == nil {
			t.Errorf("the log was never told of revision %d of %s", b.Def.Revision, id)
			continue
		}
		if d, ok := e.Data.(*events.CodeData); !ok || !reflect.DeepEqual(d.Definition, b.Def) || e.Type != b.Type || e.Source != b.Source {
			t.Errorf("of %s the log has\n%+v, and stored is\n%+v", id, e, b)
		}
		answered, keyed := s.codes[id]
		if !keyed {
			loose++
			answered = 1
		}
		if b.Def.Revision != answered {
			t.Errorf("%s is at revision %d, answered was %d", id, b.Def.Revision, answered)
		}
		for i, rev := range revisions[id] {
			if rev <= 0 || i > 0 && rev <= revisions[id][i-1] {
				t.Errorf("%s: revisions were taken as %v", id, revisions[id])
			}
		}
		if !slices.Contains(revisions[id], int(answered)) {
			t.Errorf("%s: revisions %v were taken, answered was %d", id, revisions[id], answered)
		}
	}
	for id := range s.codes {
		if _, ok := stored[id]; !ok {
			t.Errorf("code %s was answered and is not there", id)
		}
	}
	if loose > s.loose {
		t.Errorf("%d codes more than were minted under a key, %d were tried", loose, s.loose)
	}
	for p := range 2 {
		payload, _, err := s.conn.LastCommit(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.ParseCommit(payload)
		if err != nil {
			t.Fatal(err)
		}
		if c.Totals.Dead != 0 {
			t.Errorf("%d dead letters", c.Totals.Dead)
		}
	}
}

// summary is what is known of every code that was minted under a key, but for times, ids of the log and what a scan that was repeated for
// want of an answer adds.
func (s *site) summary(rounds int) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for id, b := range s.bucket() {
		if b.Def.Name == "" || b.Def.Name == "loose" {
			continue
		}
		a := s.insist("GET", "/v1/codes/"+id, "").want(s.t, 200).json(s.t)
		st := s.insist("GET", "/v1/codes/"+id+"/stats", "").want(s.t, 200).json(s.t)
		out[id] = fmt.Sprint(a["name"], a["revision"], a["status"], a["tracking"], a["token"], a["targets"], a["renewed_at"] != nil, a["revoked_at"] != nil, st["members"])
	}
	if want := rounds * 8; len(out) != want {
		s.t.Errorf("%d codes, want %d", len(out), want)
	}
	return out
}

// Between any two effects a gateway may die, and the next one too, while somebody repeats what was not answered: at the end everything
// that was answered is there, once, the log has every definition exactly as it is stored, and all is as if nobody had ever died.
func TestCrashPoints(t *testing.T) {
	const deaths = 4
	var points []string
	for _, p := range gateway.Points {
		points = append(points, string(p))
	}
	for _, p := range spool.Points {
		if !slices.Contains([]spool.Point{spool.AfterAside, spool.AfterRewrite, spool.AfterReplaced}, p) { // of damage: see the spool's own test
			points = append(points, "spool "+string(p))
		}
	}
	then := []string{string(gateway.AfterFound), string(gateway.BeforeStore), string(gateway.AfterStore), string(gateway.BeforeTell), string(gateway.AfterTell), string(gateway.BeforeAnswer), string(gateway.BeforeCreate)}
	// Runs of as many rounds as are needed, each held against one of as many that nobody died in.
	const most = 10
	var undisturbed [most + 1]map[string]string
	calm := newSite(t, &reaper{over: true})
	for n := 1; n <= most; n++ {
		calm.round(n)
		calm.whole()
		undisturbed[n] = calm.summary(n)
	}
	for i, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			r := &reaper{point: point, first: true, again: append(slices.Clone(then[i%len(then):]), then[:i%len(then)]...)}
			repair := strings.HasSuffix(point, "-repair")
			if repair || point == string(gateway.AfterFound) {
				r.again = nil
			}
			if point == string(gateway.AfterFound) { // a repeated mint follows one that was not answered
				r.again, r.point = []string{point}, string(gateway.AfterCreate)
			}
			s := newSite(t, r)
			rounds := 0
			for enough := false; !enough && rounds < most; {
				rounds++
				s.round(rounds)
				for range 2 {
					if repair {
						s.repairs()
					}
				}
				r.mu.Lock()
				r.pending = "" // it was not come to after all
				enough = r.deaths >= deaths && (len(r.again) == 0 || r.doubles >= 2)
				r.mu.Unlock()
			}
			r.mu.Lock()
			r.over, r.pending = true, ""
			if r.deaths < deaths || len(r.again) > 0 && r.doubles < 2 {
				t.Errorf("%d deaths and %d that followed in %d rounds, %d passages", r.deaths, r.doubles, rounds, r.passes)
			}
			r.mu.Unlock()
			s.whole()
			if got := s.summary(rounds); !maps.Equal(got, undisturbed[rounds]) {
				t.Errorf("after %d rounds\n%v\nwithout a death\n%v", rounds, got, undisturbed[rounds])
			}
		})
	}
}

// Every point there is in the source is in Points, and each is passed somewhere: so TestCrashPoints has all.
func TestPointsAreAll(t *testing.T) {
	declared, passed := map[string]string{}, map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Point" {
					declared[n.Names[0].Name] = strings.Trim(n.Values[0].(*ast.BasicLit).Value, `"`)
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "at" && len(n.Args) == 1 {
					if id, ok := n.Args[0].(*ast.Ident); ok {
						calls = append(calls, id.Name)
					}
				}
			}
			return true
		})
	}
	for _, name := range calls {
		if declared[name] != "" { // other things have a method at too
			passed[name] = true
		}
	}
	listed := map[string]bool{}
	for _, p := range gateway.Points {
		listed[string(p)] = true
	}
	for name, value := range declared {
		if !listed[value] || !passed[name] {
			t.Errorf("%s: listed in Points %v, passed %v", name, listed[value], passed[name])
		}
	}
	if len(listed) != len(declared) || len(gateway.Points) != len(listed) {
		t.Errorf("%d points are declared, %d listed", len(declared), len(gateway.Points))
	}
}
