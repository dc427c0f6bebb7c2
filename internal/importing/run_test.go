package importing_test

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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/importing"
	"github.com/huoma/huoma/internal/importing/importtest"
)

// world is an installation as an import meets it: a gateway with a scan worker behind it that knows an id for 25 h, a warehouse that has
// everything, and a clock.
type world struct {
	mu      sync.Mutex
	now     time.Time
	known   map[string]time.Time // worker: id → when it came first
	stored  map[string]int       // id → how often it was counted
	bodies  map[string]string    // id → event
	refuse  func(e *events.Event) string
	fail    func() error // before a batch is stored
	after   func() error // after it is stored: its acknowledgement gets lost
	batches int
	asked   int // of the warehouse
	ledger  *importtest.Ledger
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), known: map[string]time.Time{}, stored: map[string]int{}, bodies: map[string]string{}}
	w.ledger = &importtest.Ledger{Now: w.clock}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) Codes(_ context.Context, kind importing.CodeKind, names []string) ([]importing.CodeRef, error) {
	out := make([]importing.CodeRef, len(names))
	for i, n := range names {
		switch {
		case strings.HasPrefix(n, "gone"):
			out[i].Reason = "no code has this name"
		case strings.HasPrefix(n, "FORGED"):
			out[i] = importing.CodeRef{Reason: "forged", Skip: true}
		default:
			out[i].ID = "code-" + n
		}
	}
	return out, nil
}

func (w *world) Publish(_ context.Context, batch []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	list, err := events.ParseBatch(batch)
	if err != nil {
		return err
	}
	if w.fail != nil {
		if err := w.fail(); err != nil {
			return err
		}
	}
	if w.refuse != nil {
		for i, e := range list {
			if why := w.refuse(e); why != "" {
				return &importing.Refused{Index: i, Reason: why}
			}
		}
	}
	w.batches++
	for _, e := range list {
		if first, ok := w.known[e.ID]; !ok || w.now.Sub(first) > 25*time.Hour {
			w.known[e.ID] = w.now
			w.stored[e.ID]++
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			w.bodies[e.ID] = string(b)
		}
	}
	if w.after != nil {
		return w.after()
	}
	return nil
}

func (w *world) Stored(_ context.Context, _ time.Time, _ time.Time, ids []string) (out []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	for _, id := range ids {
		if w.stored[id] > 0 {
			out = append(out, id)
		}
	}
	return out, nil
}

// total is how many events are counted; it fails for one that is counted twice.
func (w *world) total(t interface {
	Helper()
	Errorf(string, ...any)
}) int {
	t.Helper()
	for id, n := range w.stored {
		if n > 1 {
			t.Errorf("%s is counted %d times", id, n)
		}
	}
	return len(w.stored)
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.stored)
}

var runs atomic.Int64

// options are those of an import of files, each of lines of JSON.
func (w *world) options(files ...string) importing.Options {
	o := importing.Options{
		Mapping: importing.DefaultMapping(importing.JSONL), Gateway: w, Log: w.ledger, Warehouse: w, Run: fmt.Sprintf("run-%d", runs.Add(1)), Now: w.clock, Patience: time.Second, ChunkSize: 100,
	}
	for i, text := range files {
		o.Inputs = append(o.Inputs, importing.Input{Name: fmt.Sprintf("file-%d", i), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
	}
	return o
}

func (w *world) run(t testing.TB, o importing.Options) importing.Summary {
	t.Helper()
	s, err := importing.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// records are n lines of scans, each its own, over some days.
func records(n int) string {
	var b strings.Builder
	for i := range n {
		at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 97 * time.Second)
		fmt.Fprintf(&b, `{"code":"c%d","time":%q,"visitor":"v%d"}`+"\n", i%7, at.Format(time.RFC3339), i)
	}
	return b.String()
}

func TestImportedTwiceCountedOnce(t *testing.T) {
	w := newWorld()
	text := records(5_000)
	if s := w.run(t, w.options(text)); s.Imported != 5_000 || s.Already != 0 || s.Lines != 5_000 {
		t.Fatalf("first: %+v", s)
	}
	w.pass(200 * 24 * time.Hour)
	batches := w.batches
	if s := w.run(t, w.options(text, records(5_500))); s.Imported != 500 || s.Already != 10_000 {
		t.Errorf("again, and with more at its end: %+v", s)
	}
	if n := w.total(t); n != 5_500 || w.batches > batches+25 {
		t.Errorf("%d counted, %d batches more", n, w.batches-batches)
	}
}

// Whatever two effects an import is killed between, and whenever it is run again, everything is counted once.
func TestKilledAnywhere(t *testing.T) {
	dead := errors.New("dead")
	const n = 500
	text := records(n)
	for _, p := range importing.Points {
		for _, later := range []time.Duration{time.Minute, 24*time.Hour + time.Minute, 26 * time.Hour} {
			for _, nth := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s %d, %s later", p, nth, later), func(t *testing.T) {
					w := newWorld()
					o := w.options(text)
					var mu sync.Mutex
					count := 0
					o.Crash = func(at importing.Point) error {
						mu.Lock()
						defer mu.Unlock()
						if at == p {
							count++
						}
						if count >= nth {
							return dead // from here on nothing happens any more
						}
						return nil
					}
					if _, err := importing.Run(t.Context(), o); count >= nth && !errors.Is(err, dead) {
						t.Fatalf("ended with %v", err)
					}
					first := w.total(t)
					w.pass(later)
					s := w.run(t, w.options(text))
					if got := w.total(t); got != n || int(s.Imported+s.Already) != n {
						t.Errorf("%d counted, %d of them before it died; %+v", got, first, s)
					}
					w.pass(60 * 24 * time.Hour)
					asked := w.asked
					if s := w.run(t, w.options(text)); s.Already != n || w.total(t) != n || w.asked != asked {
						t.Errorf("at last: %+v, %d counted, the warehouse asked %d times", s, w.total(t), w.asked-asked)
					}
				})
			}
		}
	}
}

// Every point that is declared in the source is in Points, and is passed somewhere.
func TestPointsAreAll(t *testing.T) {
	declared, passed := map[string]string{}, map[string]bool{}
	for _, name := range []string{"run.go", "publish.go", "ledger.go"} {
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
					passed[n.Args[0].(*ast.Ident).Name] = true
				}
			}
			return true
		})
	}
	for name, value := range declared {
		if !passed[name] || !slices.Contains(importing.Points, importing.Point(value)) {
			t.Errorf("%s: passed %v, Points %v", name, passed[name], importing.Points)
		}
	}
	if len(declared) != len(importing.Points) || len(passed) != len(declared) {
		t.Errorf("declared %v, passed %v", declared, passed)
	}
}

// One that is stopped ends what it has begun, so that nothing is left to be asked about.
func TestStopped(t *testing.T) {
	w := newWorld()
	ctx, stop := context.WithCancel(t.Context())
	o := w.options(records(2000))
	o.Crash = func(at importing.Point) error {
		if at == importing.AfterPublish {
			stop()
		}
		return nil
	}
	s, err := importing.Run(ctx, o)
	if !errors.Is(err, context.Canceled) || s.Imported == 0 || s.Imported > 1500 || int(s.Imported) != w.total(t) {
		t.Fatalf("stopped: %v, %+v, %d counted", err, s, w.total(t))
	}
	w.pass(60 * 24 * time.Hour)
	if again := w.run(t, w.options(records(2000))); again.Already != s.Imported || w.total(t) != 2000 || w.asked != 0 {
		t.Errorf("again: %+v, %d counted, the warehouse asked %d times", again, w.total(t), w.asked)
	}
}

// One that is stopped while the gateway is away does not wait for it.
func TestStoppedInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = func() error { return passing{errors.New("away"), 0} }
		o := w.options(records(500))
		o.Patience = time.Hour
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		began := time.Now()
		if _, err := importing.Run(ctx, o); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Minute {
			t.Errorf("ended with %v after %s", err, time.Since(began))
		}
	})
}

// passing is a failure that may pass.
type passing struct {
	error
	wait time.Duration
}

func (passing) Temporary() bool             { return true }
func (p passing) RetryAfter() time.Duration { return p.wait }

func TestAnInstallationThatStumbles(t *testing.T) { synctest.Test(t, stumbles) }

func stumbles(t *testing.T) {
	w := newWorld()
	n := 0
	w.fail = func() error {
		if n++; n%3 == 0 {
			return passing{errors.New("busy"), 10 * time.Millisecond}
		}
		return nil
	}
	w.after = func() error {
		if n%5 == 0 {
			return passing{errors.New("the answer got lost"), 0}
		}
		return nil
	}
	o := w.options(records(5_000))
	o.Patience = time.Minute
	if s := w.run(t, o); s.Imported != 5_000 || w.total(t) != 5_000 {
		t.Errorf("%+v, %d counted", s, w.total(t))
	}
	w.fail = func() error { return passing{errors.New("away"), time.Hour} }
	_, err := importing.Run(t.Context(), w.options(records(8_000)))
	if err == nil || !strings.Contains(err.Error(), "the same command again") {
		t.Errorf("given up: %v", err)
	}
	w.fail, w.after = nil, nil
	if s := w.run(t, w.options(records(8_000))); s.Imported < 2_900 || w.total(t) != 8_000 {
		t.Errorf("and again: %+v, %d counted", s, w.total(t))
	}
}

// Records in no order over sixty years, in one chunk.
func TestScatteredDays(t *testing.T) {
	w := newWorld()
	var b strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&b, `{"code":"c%d","time":%q}`+"\n", i%7, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i*7919%20_000)*24*time.Hour).Format(time.RFC3339))
	}
	for i, want := range []int64{6000, 0} {
		o := w.options(b.String())
		o.ChunkSize = 0
		if s := w.run(t, o); s.Imported != want {
			t.Errorf("import %d: %+v", i+1, s)
		}
		w.pass(60 * 24 * time.Hour)
	}
	if n := w.total(t); n != 6000 {
		t.Errorf("%d counted", n)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o := w.options(records(500))
		o.Rate = 100
		s := w.run(t, o)
		if s.Imported != 500 || s.Seconds < 4 || s.Seconds > 6 {
			t.Errorf("500 events at 100 a second: %+v", s)
		}
		if w.batches < 500/20 { // none waits for more than a fifth of a second's worth
			t.Errorf("%d batches", w.batches)
		}
	})
}

func TestTwoImportsAtOnce(t *testing.T) {
	w := newWorld()
	text := records(8_000)
	var wg sync.WaitGroup
	var sums [3]importing.Summary
	for i := range sums {
		o := w.options(text)
		o.Crash = func(at importing.Point) error {
			if at == importing.BeforeClose {
				w.pass(10 * time.Minute) // so slow that the worker forgets within the import
			}
			return nil
		}
		wg.Go(func() {
			var err error
			if sums[i], err = importing.Run(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range sums {
		if s.Imported+s.Already != 8_000 {
			t.Errorf("%+v", s)
		}
	}
	if n := w.total(t); n != 8_000 {
		t.Errorf("%d counted", n)
	}
}

// A record with an id of its own is the same whatever else has changed of it.
func TestRecordsWithIDs(t *testing.T) {
	w := newWorld()
	w.run(t, w.options(`{"code":"a","time":"2024-01-01T00:00:00Z","id":"1"}`+"\n"+`{"code":"a","time":"2024-01-02T00:00:00Z","id":"2"}`+"\n"))
	w.pass(90 * 24 * time.Hour)
	s := w.run(t, w.options(`{"code":"a","time":"2024-03-01T00:00:00Z","id":"1","city":"x"}`+"\n"+`{"code":"a","time":"2024-01-01T00:00:00Z","id":"3"}`+"\n"+`{"code":"b","time":"2024-01-01T00:00:00Z","id":"3"}`+"\n"))
	if s.Imported != 1 || s.Already != 2 || w.total(t) != 3 {
		t.Errorf("%+v, %d counted", s, w.total(t))
	}
	other := w.options(`{"code":"a","time":"2024-01-01T00:00:00Z","id":"1"}` + "\n")
	m, err := importing.ParseMapping(strings.NewReader("source: other\ncode: code\ntime: time\nid: id\n"), importing.JSONL)
	if err != nil {
		t.Fatal(err)
	}
	other.Mapping = m
	if s := w.run(t, other); s.Imported != 1 {
		t.Errorf("of another source: %+v", s)
	}
}

// An import that dawdles while another stores the same, long enough ago that the worker has forgotten it.
func TestAnImportOvertakenByAnother(t *testing.T) {
	w := newWorld()
	text := records(1000)
	slow := w.options(text)
	chunks := 0
	slow.Crash = func(at importing.Point) error {
		if at != importing.BeforeAnnounce {
			return nil
		}
		if chunks++; chunks == 3 {
			for w.count() < 200 { // what is on its way may arrive
				<-time.After(time.Millisecond)
			}
			if s := w.run(t, w.options(text)); s.Imported < 800 {
				t.Errorf("the quick one: %+v", s)
			}
			w.pass(30 * time.Hour)
		}
		return nil
	}
	if s := w.run(t, slow); s.Imported != 200 || s.Already != 800 {
		t.Errorf("the slow one: %+v", s)
	}
	if n := w.total(t); n != 1000 {
		t.Errorf("%d counted", n)
	}
}

func TestBadAndForeignLines(t *testing.T) {
	w := newWorld()
	w.refuse = func(e *events.Event) string {
		if e.Subject == "code-odd" {
			return "data.target: the code has no target of this number"
		}
		return ""
	}
	text := `{"code":"a","time":"2024-01-01T00:00:00Z"}
not JSON
{"code":"gone","time":"2024-01-01T00:00:00Z"}
{"code":"odd","time":"2024-01-01T00:00:01Z"}
{"time":"2024-01-01T00:00:00Z"}
{"code":"odd","time":"2024-01-01T00:00:02Z"}
{"code":"FORGEDFORGEDFORGEDFORGEDFORGEDFORG","time":"2024-01-01T00:00:00Z"}
{"code":"b","time":"2024-01-01T00:00:00Z","id":"7"}
{"code":"b","time":"2024-01-02T00:00:00Z","id":"8"}
{"code":"b","time":"2024-01-01T00:00:00Z","id":"7"}
`
	var bad []string
	o := w.options(text)
	o.Bad = func(b importing.BadLine) { bad = append(bad, fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Reason)) }
	s := w.run(t, o)
	slices.Sort(bad)
	want := []string{
		"file-0:2: the line is no JSON object", "file-0:3: no code has this name", "file-0:4: data.target: the code has no target of this number",
		"file-0:6: data.target: the code has no target of this number",
	}
	if !slices.Equal(bad, want) {
		t.Errorf("bad: %q", bad)
	}
	if s.Lines != 10 || s.Imported != 3 || s.Already != 1 || s.Skipped != 2 || s.Bad != 4 || !maps.Equal(s.Reasons, map[string]int64{"no code": 1, "forged": 1}) {
		t.Errorf("%+v", s)
	}
	// What was refused is not taken for stored, once its reason is gone.
	w.refuse = nil
	if s := w.run(t, w.options(text)); s.Imported != 2 || s.Already != 4 {
		t.Errorf("after mending: %+v", s)
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld()
	o := w.options(records(5000) + `{"code":"a","time":"2024-01-01T00:00:00Z","type":"conversion"}` + "\n")
	o.DryRun = true
	var shown []string
	o.Show = func(b []byte) { shown = append(shown, string(b)) }
	s := w.run(t, o)
	if s.Imported != 5000 || s.Bad != 1 || !s.DryRun || len(shown) != 10 || len(w.stored) != 0 {
		t.Errorf("%+v, %d shown, %d stored", s, len(shown), len(w.stored))
	}
	if _, last, err := w.ledger.Read(t.Context(), 1, importing.Scope{}, func(events.ImportEntry) error { return errors.New("written") }); err != nil {
		t.Errorf("the ledger: %v, %v", last, err)
	}
	w.run(t, w.options(records(1000)))
	o.Show = nil
	if s := w.run(t, o); s.Imported != 4000 || s.Already != 1000 {
		t.Errorf("after an import: %+v", s)
	}
}

// Overlapping files against the simplest thing that could be right: of every record, as many as the file has that has it most often.
func TestOverlappingFilesAgainstAnOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		kinds := rapid.IntRange(1, 6).Draw(t, "kinds")
		lines := rapid.SliceOfN(rapid.IntRange(0, kinds), 0, 60).Draw(t, "log")
		want := map[int]int{}
		for range rapid.IntRange(1, 5).Draw(t, "imports") {
			var files []string
			for range rapid.IntRange(1, 3).Draw(t, "files") {
				a, b := rapid.IntRange(0, len(lines)).Draw(t, "from"), rapid.IntRange(0, len(lines)).Draw(t, "to")
				part := slices.Clone(lines[min(a, b):max(a, b)])
				if rapid.Bool().Draw(t, "in another order") {
					slices.Reverse(part)
				}
				count := map[int]int{}
				var text strings.Builder
				for _, k := range part {
					count[k]++
					fmt.Fprintf(&text, `{"code":"c%d","time":"2024-01-0%dT00:00:00Z","visitor":"v"}`+"\n", k%2, 1+k/2)
				}
				files = append(files, text.String())
				for k, n := range count {
					want[k] = max(want[k], n)
				}
			}
			o := w.options(files...)
			if _, err := importing.Run(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Duration(rapid.IntRange(0, 60).Draw(t, "hours")) * time.Hour)
		}
		total := 0
		for _, n := range want {
			total += n
		}
		if got := w.total(t); got != total {
			t.Fatalf("%d counted, want %d", got, total)
		}
	})
}

func TestMemoryLedger(t *testing.T) { importtest.Conform(t, new(importtest.Ledger)) }
