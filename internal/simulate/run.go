package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/huoma/huoma/internal/events"
)

// Minted is what the installation knows a code by.
type Minted struct {
	ID      string
	ScanURL string // where a browser scans it, reachable from here
}

// Gateway is what a run needs of the gateway besides scanning.
type Gateway interface {
	// Mint mints a code; repeated with the same key it returns the same code.
	Mint(ctx context.Context, key string, spec CodeSpec) (Minted, error)
	// Publish stores a CloudEvents batch of n events, all or none.
	Publish(ctx context.Context, batch []byte, n int) error
}

// Stream publishes one event to NATS and returns once it is stored. id is its
// message id, so that a repeat within the server's window is stored once.
type Stream interface {
	Publish(ctx context.Context, subject, id string, event []byte) error
}

// Progress is how far a run is.
type Progress struct {
	Minted, Codes int // codes
	Done, Events  int // distinct events stored
}

// RunOptions say how to publish a generator's events. Gateway is required.
type RunOptions struct {
	Generate Options
	Gateway  Gateway
	Stream   Stream            // nil: its share goes by HTTP
	HTTP     http.RoundTripper // for scans; nil: http.DefaultTransport
	Rate     float64           // events a second; 0: as fast as possible
	Labels   io.Writer         // one JSON line an event with the truth about it; nil: none
	Report   func(Progress)    // called now and then, from one goroutine at a time; nil: nobody asks
	Patience time.Duration     // how long the installation may be away; 0: 2 min
}

// Summary is what a run did, to be held against the warehouse.
type Summary struct {
	Run        string         `json:"run"`
	Seed       uint64         `json:"seed"`
	Codes      int            `json:"codes"`
	Events     int            `json:"events"`     // distinct events stored: what the warehouse must gain
	Published  int            `json:"published"`  // Events and the repeats
	Duplicates int            `json:"duplicates"` // repeats: the same id published again
	Unsure     int            `json:"unsure"`     // scans that were sent again because no answer came: each may be stored once more
	Stored     map[string]int `json:"stored"`     // Events by type
	Kinds      map[Kind]int   `json:"kinds"`      // Events by who caused them
	Via        map[Via]int    `json:"via"`        // Events by the way they went
	Answers    map[string]int `json:"answers"`    // scans through the gateway by the verdict it answered
	Seconds    float64        `json:"seconds"`
	Rate       float64        `json:"rate"` // published a second
}

const (
	batchSize   = 500
	batchEvery  = 200 * time.Millisecond // with a rate, no event waits longer
	scanLanes   = 16
	streamLanes = 32
)

// Run mints the codes of a generator and publishes all its events. It blocks
// until every one is stored, ctx ends, or the installation refuses or stays
// away for longer than Patience. The Summary is right in every case.
func Run(ctx context.Context, o RunOptions) (Summary, error) {
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Stream == nil {
		o.Generate.Stream = 0
	}
	g := New(o.Generate)
	r := &runner{
		o: o, retry: retry{patience: o.Patience}, labels: newLabels(o.Labels),
		sum: Summary{
			Run: o.Generate.Run, Seed: o.Generate.Seed, Stored: map[string]int{}, Kinds: map[Kind]int{}, Via: map[Via]int{}, Answers: map[string]int{},
		},
	}
	begin := time.Now()
	err := r.mint(ctx, g.Codes())
	if err == nil {
		err = r.publish(ctx, g)
	}
	if lerr := r.labels.flush(); err == nil {
		err = lerr
	}
	r.sum.Seconds = time.Since(begin).Seconds()
	r.sum.Rate = float64(r.sum.Published) / max(r.sum.Seconds, 0.001)
	return r.sum, err
}

type runner struct {
	o      RunOptions
	retry  retry
	labels *labels
	codes  []Minted

	mu  sync.Mutex
	sum Summary
}

// mint mints all codes, a few at once.
func (r *runner) mint(ctx context.Context, specs []CodeSpec) error {
	r.codes = make([]Minted, len(specs))
	work := make(chan int)
	return together(ctx, func(ctx context.Context, spawn func(func() error)) error {
		for range 8 {
			spawn(func() error {
				for i := range work {
					key := fmt.Sprintf("simulate-%d-%s-%d", r.o.Generate.Seed, r.o.Generate.Run, i)
					err := r.retry.do(ctx, func() (err error) {
						r.codes[i], err = r.o.Gateway.Mint(ctx, key, specs[i])
						return err
					})
					if err != nil {
						return fmt.Errorf("mint code %d of %d: %w", i+1, len(specs), err)
					}
					r.mu.Lock()
					r.sum.Codes++
					r.report()
					r.mu.Unlock()
				}
				return nil
			})
		}
		defer close(work)
		for i := range specs {
			select {
			case work <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// publish hands every item to the lane it belongs to.
//
//	generator ─► limiter ─┬─► batch ─► POST /v1/events
//	                      ├─► scan lane by visitor ─► GET /s/{token}
//	                      └─► stream lane ─► NATS
func (r *runner) publish(ctx context.Context, g *Generator) error {
	limit := rate.NewLimiter(rate.Inf, 1)
	if r.o.Rate > 0 {
		limit = rate.NewLimiter(rate.Limit(r.o.Rate), max(1, int(r.o.Rate/20)))
	}
	batch := make(chan Item, batchSize)
	stream := make(chan Item, streamLanes)
	scans := make([]chan Item, scanLanes)
	return together(ctx, func(ctx context.Context, spawn func(func() error)) error {
		spawn(func() error { return r.batches(ctx, batch) })
		defer close(batch)
		for range streamLanes {
			spawn(func() error { return r.streamLane(ctx, stream) })
		}
		defer close(stream)
		for i := range scans {
			lane := make(chan Item, 8)
			scans[i] = lane
			spawn(func() error { return r.scanLane(ctx, lane) })
			defer close(lane)
		}
		for {
			it, ok := g.Next()
			if !ok {
				return nil
			}
			if wait := limit.Reserve().Delay(); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			it.Event.Subject = r.codes[it.Code].ID
			to := batch
			switch it.Via {
			case ViaScan:
				// One lane a visitor: a person waits for one answer before they scan again.
				lane := it.Visit.Visitor
				if lane == 0 {
					lane = uint64(it.N)
				}
				to = scans[lane%scanLanes]
			case ViaNATS:
				to = stream
			}
			select {
			case to <- it:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// batches gathers items into batches and publishes them, one at a time.
func (r *runner) batches(ctx context.Context, in <-chan Item) error {
	var pending, again []Item
	var tick <-chan time.Time
	if r.o.Rate > 0 {
		t := time.NewTicker(batchEvery)
		defer t.Stop()
		tick = t.C
	}
	flush := func() error {
		if len(pending)+len(again) == 0 {
			return nil
		}
		// Repeats of the batch before go first: the same id in another message.
		repeats := again
		list := make([]*events.Event, 0, len(pending)+len(again))
		again = nil
		for _, it := range repeats {
			list = append(list, it.Event)
		}
		for _, it := range pending {
			list = append(list, it.Event)
			if it.Kind == Duplicate {
				again = append(again, it)
			}
		}
		body, err := events.MarshalBatch(list)
		if err != nil {
			return err
		}
		if err := r.retry.do(ctx, func() error { return r.o.Gateway.Publish(ctx, body, len(list)) }); err != nil {
			return fmt.Errorf("publish %d events: %w", len(list), err)
		}
		r.stored(pending, len(repeats))
		pending = pending[:0]
		return nil
	}
	for {
		select {
		case it, ok := <-in:
			if !ok {
				if err := flush(); err != nil {
					return err
				}
				return flush() // the repeats of the last batch
			}
			if pending = append(pending, it); len(pending) == batchSize {
				if err := flush(); err != nil {
					return err
				}
			}
		case <-tick:
			if err := flush(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// streamLane publishes items to NATS, as a producer would that has no code of ours.
func (r *runner) streamLane(ctx context.Context, in <-chan Item) error {
	for it := range in {
		b, err := it.Event.Marshal()
		if err != nil {
			return err
		}
		times := 1
		if it.Kind == Duplicate {
			times = 2
		}
		subject := events.InSubject(events.InKind(it.Event.Type), it.Event.Subject)
		for range times {
			if err := r.retry.do(ctx, func() error { return r.o.Stream.Publish(ctx, subject, it.Event.ID, b) }); err != nil {
				return fmt.Errorf("publish to %s: %w", subject, err)
			}
		}
		r.stored([]Item{it}, times-1)
	}
	return nil
}

// stored counts items that are stored, and the repeats that went with them.
func (r *runner) stored(items []Item, repeats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range items {
		r.sum.Stored[it.Event.Type]++
		r.sum.Kinds[it.Kind]++
		r.sum.Via[it.Via]++
		r.labels.write(it)
	}
	r.sum.Events += len(items)
	r.sum.Duplicates += repeats
	r.sum.Published += len(items) + repeats
	r.report()
}

// report tells whoever asked. r.mu is held.
func (r *runner) report() {
	if r.o.Report != nil {
		r.o.Report(Progress{Minted: r.sum.Codes, Codes: len(r.codes), Done: r.sum.Events, Events: r.o.Generate.Events})
	}
}

// together runs body and all it spawns; the first error stops the others and
// is returned. A lane that ends early never leaves body waiting: its ctx ends.
func together(ctx context.Context, body func(ctx context.Context, spawn func(func() error)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	err := body(ctx, func(work func() error) {
		wg.Go(func() {
			if err := work(); err != nil {
				cancel(err)
			}
		})
	})
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errors.Join(err, ctx.Err())
}
