package importing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/huoma/huoma/internal/events"
)

const (
	chunkSize = 8192
	batchSize = events.MaxBatch
	lanes     = 4 // batches under way at once; a code's all go one way, so that they stay in order
	window    = 4 // chunks announced and not closed
	mostRefs  = 1 << 20

	drainWithin = 10 * time.Second // for what is under way when an import is stopped
	shownFirst  = 10
)

// A CodeRef is what a record's name of a code leads to.
type CodeRef struct {
	ID     string // "": there is no such code
	Token  string // as the event carries it, when the record named the code by a token
	Reason string // why there is none: a *Skip's or a *Bad's
	Skip   bool
}

// Gateway is where events go.
type Gateway interface {
	// Codes finds the codes of names of one kind (CodeID, CodeName, CodeToken), in order.
	Codes(ctx context.Context, kind CodeKind, names []string) ([]CodeRef, error)
	// Publish stores a CloudEvents batch, all or none. A *Refused says which event it does not take.
	Publish(ctx context.Context, batch []byte) error
}

// Refused is an event that the gateway does not take, by its place in the batch.
type Refused struct {
	Index  int
	Reason string
}

func (r *Refused) Error() string { return r.Reason }

// temporary is what an error implements that may pass.
type temporary interface{ Temporary() bool }

// waiting is what an error implements that says how long to wait.
type waiting interface{ RetryAfter() time.Duration }

// Point names a place between two effects of an import, so that a test can stop it dead there.
type Point string

// The points, in the order a chunk passes them.
const (
	BeforeAnnounce Point = "before-announce"
	AfterAnnounce  Point = "after-announce"
	BeforePublish  Point = "before-publish"
	AfterPublish   Point = "after-publish"
	BeforeClose    Point = "before-close"
	AfterClose     Point = "after-close"
)

// Points are all there are.
var Points = []Point{BeforeAnnounce, AfterAnnounce, BeforePublish, AfterPublish, BeforeClose, AfterClose}

// Options is what an import is made of.
type Options struct {
	Inputs    []Input
	Mapping   *Mapping
	Gateway   Gateway
	Log       Log
	Warehouse Warehouse
	Run       string        // names the import, unlike any other
	Rate      float64       // events a second; 0: as fast as possible
	DryRun    bool          // publish nothing and write nothing
	Patience  time.Duration // how long the installation may be away; 0: 2 min
	Now       func() time.Time
	ChunkSize int // records announced at once; 0: 8192

	Show   func(event []byte) // dry run: the first ten events as they would be; may be nil
	Bad    func(BadLine)      // called once a line, by one goroutine at a time; may be nil
	Report func(Progress)     // called now and then, by one goroutine at a time; may be nil
	Crash  func(Point) error  // tests: an error stops the import dead at that point
}

// Progress is how far an import is.
type Progress struct {
	Bytes    int64 // read of the files, packed as they are
	Lines    int64
	Imported int64
	Already  int64
	Skipped  int64
	Bad      int64
}

// Summary is what an import did.
type Summary struct {
	Files    int              `json:"files"`
	Lines    int64            `json:"lines"`    // read
	Imported int64            `json:"imported"` // events stored; of a dry run, those that would be
	Already  int64            `json:"already"`  // events that an import had stored before, or that stood in the files twice under one id
	Skipped  int64            `json:"skipped"`  // lines that are not for us
	Reasons  map[string]int64 `json:"reasons"`  // Skipped by reason
	Bad      int64            `json:"bad"`      // lines that make no sense
	Latin1   int64            `json:"latin1"`   // lines that were not UTF-8 and were read as Latin-1 (Windows-1252)
	Seconds  float64          `json:"seconds"`
	Rate     float64          `json:"rate"` // lines a second
	DryRun   bool             `json:"dry_run"`
}

type counters struct {
	before                                         int64 // lines of files done; the reader's own
	bytes, lines, imported, already, skipped, bads atomic.Int64
	latin1                                         atomic.Int64
}

func (c *counters) progress() Progress {
	return Progress{
		Bytes: c.bytes.Load(), Lines: c.lines.Load(), Imported: c.imported.Load(), Already: c.already.Load(), Skipped: c.skipped.Load(), Bad: c.bads.Load(),
	}
}

type countingReader struct {
	r io.Reader
	c *counters
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.c.bytes.Add(int64(n))
	return n, err
}

// Run imports all inputs. It blocks until every event is stored and written down as such, ctx ends, or something cannot go on. The Summary
// is right in every case; whatever ended it, the same import again goes on where this one came to.
//
//	reader ─► chunks of records ─► planner ─► announced in the ledger ─► lanes ─► POST /v1/events ─► closed in the ledger
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.ChunkSize == 0 {
		o.ChunkSize = chunkSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	begin := time.Now()
	r := &runner{o: o, refs: make(map[refKey]CodeRef), repeated: make(map[EventID]uint64), skips: make(map[string]int64), ended: make(chan *flight, window+1)}
	err := r.run(ctx)
	s := Summary{
		Files: len(o.Inputs), Lines: r.count.lines.Load(), Imported: r.count.imported.Load(), Already: r.count.already.Load(), Skipped: r.count.skipped.Load(),
		Reasons: r.skips, Bad: r.count.bads.Load(), Latin1: r.count.latin1.Load(), Seconds: time.Since(begin).Seconds(), DryRun: o.DryRun,
	}
	s.Rate = float64(s.Lines) / max(s.Seconds, 0.001)
	return s, err
}

type refKey struct {
	kind CodeKind
	name string
}

// runner is one import. What is not in count belongs to the planner, but for skips, which is the reader's until the planner has ended.
type runner struct {
	o      Options
	count  counters
	limit  *rate.Limiter
	ids    *Identities
	ledger *Ledger
	lanes  []chan *batch
	ended  chan *flight
	flying int
	number uint64

	refs     map[refKey]CodeRef
	repeated map[EventID]uint64 // contents that stand in the file more than once → how often so far
	shown    int

	badMu sync.Mutex
	skips map[string]int64
}

func (r *runner) at(p Point) error {
	if r.o.Crash == nil {
		return nil
	}
	return r.o.Crash(p)
}

func (r *runner) bad(b BadLine) {
	r.count.bads.Add(1)
	if r.o.Bad != nil {
		r.badMu.Lock()
		defer r.badMu.Unlock()
		r.o.Bad(b)
	}
}

// run starts the goroutines and waits for all of them. The first error ends them.
func (r *runner) run(ctx context.Context) error {
	key, err := r.o.Log.Key(ctx, !r.o.DryRun)
	if err != nil {
		return err
	}
	r.ids = NewIdentities(key, r.o.Mapping.Source)
	warehouse := r.o.Warehouse
	if r.o.DryRun {
		warehouse = nil
	}
	if r.ledger, err = NewLedger(ctx, r.o.Log, warehouse, r.o.Run, r.o.Now); err != nil {
		return err
	}
	r.limit = rate.NewLimiter(rate.Inf, batchSize)
	size, every := r.o.ChunkSize, time.Duration(0)
	if r.o.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(r.o.Rate), r.batchSize())
		size, every = min(size, max(1, int(r.o.Rate*10))), 10*time.Second
	}

	// When the caller ends, what is under way still gets its time: no more is read, and what was announced is stored and closed.
	caller := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller))
	defer cancel(nil)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(caller, func() {
		stop()
		select {
		case <-time.After(drainWithin):
			cancel(caller.Err())
		case <-ctx.Done():
		}
	})()
	var wg sync.WaitGroup
	spawn := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	chunks, pool := make(chan *chunk, 1), make(chan *chunk, window+4)
	spawn(func() error {
		defer close(chunks)
		in := &reader{
			m: r.o.Mapping, size: size, every: every, now: r.o.Now, latest: r.o.Now().Add(5 * time.Minute), count: &r.count, bad: r.bad, out: chunks, pool: pool, skips: make(map[string]int64),
		}
		defer func() {
			r.badMu.Lock()
			for reason, n := range in.skips {
				r.skips[reason] += n
			}
			r.badMu.Unlock()
		}()
		for _, f := range r.o.Inputs {
			if err := in.file(reading, f); err != nil {
				if reading.Err() != nil {
					return nil // whoever ended it says why
				}
				return err
			}
		}
		return nil
	})
	for range lanes {
		lane := make(chan *batch, window)
		r.lanes = append(r.lanes, lane)
		spawn(func() error { return r.lane(ctx, lane) })
	}
	spawn(func() error {
		defer func() {
			for _, lane := range r.lanes {
				close(lane)
			}
		}()
		return r.plan(ctx, chunks, pool)
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if r.o.Report != nil {
				r.o.Report(r.count.progress())
			}
			continue
		case <-done:
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return caller.Err()
	}
}

// batchSize is how many events go out at once: with a rate, no more than fit into a fifth of a second.
func (r *runner) batchSize() int {
	if r.o.Rate <= 0 {
		return batchSize
	}
	return min(batchSize, max(1, int(r.o.Rate/5)))
}

// plan takes chunks, decides which of their records are new, and sends those on their way.
func (r *runner) plan(ctx context.Context, in <-chan *chunk, pool chan<- *chunk) error {
	for {
		if r.flying == window {
			if err := r.land(ctx, pool); err != nil {
				return err
			}
			continue
		}
		select {
		case c, ok := <-in:
			if !ok {
				if err := ctx.Err(); err != nil {
					return err
				}
				for r.flying > 0 {
					if err := r.land(ctx, pool); err != nil {
						return err
					}
				}
				return nil
			}
			if err := r.chunk(ctx, c, pool); err != nil {
				return err
			}
		case f := <-r.ended:
			if err := r.close(ctx, f, pool); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *runner) land(ctx context.Context, pool chan<- *chunk) error {
	select {
	case f := <-r.ended:
		return r.close(ctx, f, pool)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close writes down that a chunk is stored.
func (r *runner) close(ctx context.Context, f *flight, pool chan<- *chunk) error {
	r.flying--
	if err := r.at(BeforeClose); err != nil {
		return err
	}
	if err := r.ledger.Close(ctx, f.Chunk, f.refused); err != nil {
		return err
	}
	recycle(f.c, pool)
	return r.at(AfterClose)
}

func recycle(c *chunk, pool chan<- *chunk) {
	clear(c.items)
	select {
	case pool <- c:
	default:
	}
}

// chunk deals with one chunk.
func (r *runner) chunk(ctx context.Context, c *chunk, pool chan<- *chunk) error {
	if c.first {
		r.ledger.nextFile()
		clear(r.repeated)
	}
	if err := r.resolve(ctx, c); err != nil {
		return err
	}
	days := make([]Day, 0, 2)
	for i := range c.items {
		if d := r.day(&c.items[i]); c.items[i].line > 0 && !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	if err := r.ledger.Load(ctx, days); err != nil {
		return err
	}
	var list []idOf
	var of []int // list → item
	for i := range c.items {
		it := &c.items[i]
		if it.line == 0 {
			continue // skipped or bad
		}
		id, fresh := r.identify(it)
		if !fresh {
			r.count.already.Add(1)
			continue
		}
		list, of = append(list, idOf{r.day(it), id}), append(of, i)
	}
	if r.o.DryRun {
		defer recycle(c, pool)
		return r.pretend(c, list, of)
	}
	if len(list) == 0 {
		recycle(c, pool)
		return nil
	}
	if err := r.at(BeforeAnnounce); err != nil {
		return err
	}
	r.number++
	announced, keep, err := r.ledger.Announce(ctx, r.number, list)
	if err != nil {
		return err
	}
	if err := r.at(AfterAnnounce); err != nil {
		return err
	}
	return r.launch(ctx, &flight{Chunk: announced, c: c}, list, of, keep)
}

// day is where the ledger has a record's id.
func (r *runner) day(it *item) Day {
	if it.ID != "" {
		return ownDay(r.o.Mapping.Source)
	}
	return DayOf(it.Time)
}

// identify draws a record's id. fresh is false for one that is stored, or that the file has had already.
func (r *runner) identify(it *item) (id EventID, fresh bool) {
	day := r.day(it)
	if it.ID != "" {
		id = r.ids.Own(it.ID)
		before := r.ledger.see(day, id)
		return id, before&(markDone|markSeen) == 0
	}
	content := r.ids.Content(&it.Record, it.Code)
	id = content
	before := r.ledger.see(day, id)
	if before&markSeen != 0 {
		n := max(r.repeated[content], 1) + 1
		r.repeated[content] = n
		id = r.ids.Occurrence(content, n)
		before = r.ledger.see(day, id)
	}
	return id, before&markDone == 0
}

// pretend counts what would be imported, and shows the first of it.
func (r *runner) pretend(c *chunk, list []idOf, of []int) error {
	var b []byte
	for i, at := range of {
		it := &c.items[at]
		var err error
		if b, err = it.Append(b[:0], list[i].id, r.o.Mapping.Source); err != nil {
			return err
		}
		if _, err := events.Parse(b); err != nil {
			r.bad(BadLine{File: c.file, Line: it.line, Reason: reasonOf(err), Raw: it.raw, Head: c.head})
			continue
		}
		if r.shown < shownFirst && r.o.Show != nil {
			r.o.Show(b)
			r.shown++
		}
		r.count.imported.Add(1)
	}
	return nil
}

func reasonOf(err error) string {
	if e, ok := events.AsError(err); ok {
		if e.Field != "" {
			return e.Field + ": " + e.Reason
		}
		return e.Reason
	}
	return err.Error()
}

// resolve finds the codes of a chunk's records. Those that have none are counted and taken out: their line becomes 0.
func (r *runner) resolve(ctx context.Context, c *chunk) error {
	if len(r.refs) > mostRefs {
		clear(r.refs)
	}
	missing := make(map[CodeKind][]string)
	asked := make(map[refKey]bool)
	keyOf := func(it *item) refKey {
		switch {
		case it.asToken():
			return refKey{CodeToken, it.Code}
		case it.CodeIs == AnyCode && isCodeID(it.Code):
			return refKey{CodeID, it.Code}
		case it.CodeIs == AnyCode:
			return refKey{CodeName, it.Code}
		}
		return refKey{it.CodeIs, it.Code}
	}
	for i := range c.items {
		k := keyOf(&c.items[i])
		if _, ok := r.refs[k]; !ok && !asked[k] {
			asked[k] = true
			missing[k.kind] = append(missing[k.kind], k.name)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(missing)) {
		names := missing[kind]
		var refs []CodeRef
		err := r.patiently(ctx, func() (err error) {
			refs, err = r.o.Gateway.Codes(ctx, kind, names)
			return err
		})
		if err != nil {
			return err
		}
		for i, name := range names {
			r.refs[refKey{kind, name}] = refs[i]
		}
	}
	for i := range c.items {
		it := &c.items[i]
		ref := r.refs[keyOf(it)]
		switch {
		case ref.ID != "":
			it.resolve(ref.ID)
			it.Token = ref.Token
			continue
		case ref.Skip:
			r.badMu.Lock()
			r.skips[ref.Reason]++
			r.badMu.Unlock()
			r.count.skipped.Add(1)
		default:
			r.bad(BadLine{File: c.file, Line: it.line, Reason: cmp.Or(ref.Reason, "there is no such code"), Raw: it.raw, Head: c.head})
		}
		it.line = 0
	}
	return nil
}

// patiently repeats what failed for a reason that may pass, for as long as patience lasts.
func (r *runner) patiently(ctx context.Context, try func() error) error {
	begin, pause := time.Now(), 50*time.Millisecond
	for {
		err := try()
		var t temporary
		if err == nil || !errors.As(err, &t) || !t.Temporary() {
			return err
		}
		wait := pause
		var w waiting
		if errors.As(err, &w) && w.RetryAfter() > wait {
			wait = w.RetryAfter()
		}
		if time.Since(begin)+wait > r.o.Patience {
			return fmt.Errorf("given up after %s: %w: the same command again goes on where this one ended", r.o.Patience, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 2*time.Second)
	}
}
