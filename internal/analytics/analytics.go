package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/events"
)

// Claim hands out one partition's commit records in order, to one owner at a time.
type Claim interface {
	// Next blocks until there is input. events.ErrRewind: call Rewind before going on.
	Next(ctx context.Context) ([]events.Message, error)
	Rewind(ctx context.Context, from uint64) error
	Ack(ctx context.Context, upto uint64) error
	Close() error
}

// Manifests keeps one manifest a partition. PutManifest compares revisions (0: there is none yet) and fails with events.ErrConflict.
type Manifests interface {
	Manifest(ctx context.Context, partition int) (value []byte, rev uint64, err error)
	PutManifest(ctx context.Context, partition int, value []byte, rev uint64) (uint64, error)
}

// DeadLetters takes what cannot be stored; done twice, it keeps one.
type DeadLetters interface {
	DeadLetter(ctx context.Context, list []events.DeadLetter) error
}

// Warehouse stores batches. Insert may be repeated after any error.
type Warehouse interface {
	Insert(ctx context.Context, b events.Batch) (events.Inserted, error)
}

// Options are what a worker needs.
type Options struct {
	Partitions int // of the installation; the worker claims all, others may share them

	// Claim opens the claim on a partition's commit records; the worker closes it.
	Claim     func(ctx context.Context, partition int) (Claim, error)
	Manifests Manifests
	Dead      DeadLetters
	Warehouse Warehouse

	Policy        Policy
	Inserts       int              // at most so many batches are inserted at once; 0: 2
	InsertTimeout time.Duration    // of one attempt; 0: 60 s
	DrainTimeout  time.Duration    // for the last batch when Run ends; 0: 10 s
	Backoff       [2]time.Duration // first and longest wait after a failure; 0: 100 ms and 5 s

	Registry prometheus.Registerer // nil: no metrics
	Log      *slog.Logger          // nil: discards
	Now      func() time.Time      // nil: time.Now
}

// Worker moves commit records into the warehouse.
type Worker struct {
	o      Options
	m      *metrics
	slots  chan struct{}
	parts  []*partition
	stop   context.CancelFunc
	ctx    context.Context
	mu     sync.Mutex
	done   chan struct{}   // closed when Run has ended; nil before it began
	failed map[int]trouble // partitions that are held up, and by what
}

// New makes a worker. It starts nothing.
func New(o Options) (*Worker, error) {
	if o.Partitions < 1 {
		return nil, fmt.Errorf("analytics worker: %d partitions; an installation has at least one", o.Partitions)
	}
	if o.Claim == nil || o.Manifests == nil || o.Dead == nil || o.Warehouse == nil {
		return nil, errors.New("analytics worker: Claim, Manifests, Dead and Warehouse are needed")
	}
	o.Policy = o.Policy.withDefaults(o.Partitions)
	if o.Inserts <= 0 {
		o.Inserts = 2
	}
	if o.InsertTimeout <= 0 {
		o.InsertTimeout = time.Minute
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	if o.Backoff[0] <= 0 {
		o.Backoff[0] = 100 * time.Millisecond
	}
	if o.Backoff[1] <= 0 {
		o.Backoff[1] = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Worker{o: o, m: newMetrics(o.Registry), slots: make(chan struct{}, o.Inserts), failed: map[int]trouble{}}
	w.ctx, w.stop = context.WithCancel(context.Background())
	for n := range o.Partitions {
		p := &partition{w: w, n: n, log: o.Log.With("partition", n)}
		lagGauge(o.Registry, p, o.Now)
		w.parts = append(w.parts, p)
	}
	return w, nil
}

// Run works until ctx ends or Close is called, then inserts what it has read, if the warehouse takes it within DrainTimeout: what
// it does not take is read again by the next owner. It may be called once. The error is nil unless it was called before.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.done != nil {
		w.mu.Unlock()
		return errors.New("analytics worker: Run was called twice")
	}
	w.done = make(chan struct{})
	w.mu.Unlock()
	defer close(w.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	var wg sync.WaitGroup
	for _, p := range w.parts {
		wg.Go(func() { p.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Close ends Run and waits for it.
func (w *Worker) Close() error {
	w.stop()
	w.mu.Lock()
	done := w.done
	w.mu.Unlock()
	if done != nil {
		<-done
	}
	return nil
}

// Ready is nil while nothing holds the worker up, else it says what does.
func (w *Worker) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []error
	for n := range w.o.Partitions {
		if t, ok := w.failed[n]; ok {
			all = append(all, fmt.Errorf("partition %d: %w", n, t.err))
		}
	}
	return errors.Join(all...)
}

// trouble is what holds a partition up, and where.
type trouble struct {
	at  string
	err error
}

// report notes what holds a partition up. The same again is counted, not logged.
func (w *Worker) report(p *partition, at string, err error) {
	if err == nil {
		return
	}
	w.m.failures.WithLabelValues(at).Inc()
	w.mu.Lock()
	was, held := w.failed[p.n]
	w.failed[p.n] = trouble{at, err}
	w.mu.Unlock()
	if !held || was.at != at || was.err.Error() != err.Error() {
		p.log.Warn("waiting, nothing is lost", "at", at, "error", err)
	}
}

// resolved notes that a partition is no longer held up at these.
func (w *Worker) resolved(p *partition, at ...string) {
	w.mu.Lock()
	was, held := w.failed[p.n]
	held = held && slices.Contains(at, was.at)
	if held {
		delete(w.failed, p.n)
	}
	w.mu.Unlock()
	if held {
		p.log.Info("going on", "after", was.err)
	}
}

// pause waits for the n-th failure in a row (from 0), or until ctx ends.
func (w *Worker) pause(ctx context.Context, n int) {
	d := w.o.Backoff[0] << min(n, 16)
	if d > w.o.Backoff[1] || d <= 0 {
		d = w.o.Backoff[1]
	}
	d = d/2 + rand.N(d/2+1)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
