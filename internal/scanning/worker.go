package scanning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/events"
)

// Options is what a Worker is made of.
type Options struct {
	Instance   string // names this process in commit records; unique
	Partitions int    // as installed
	Claim      func(ctx context.Context, partition int) (Input, error)
	Backend    Backend
	Identity   Identity
	Log        *slog.Logger
	Registry   prometheus.Registerer

	SnapshotEvents int           // snapshot after so many events; default 20 000
	SnapshotEvery  time.Duration // or so much time with any; default 30 s
	LongestPause   time.Duration // before a failed partition is claimed again; default 5 s

	// Claimants is how many workers claim a partition, its owner among them. With it a worker that owns more than its share gives partitions
	// up; without, an owner stays the owner until it stops.
	Claimants    func(ctx context.Context, partition int) (int, error)
	BalanceEvery time.Duration // about how often a worker looks at its share; default 15 s

	Crash func(Point) error // tests: an error stops the owner dead at that point
}

// Worker claims every partition and owns those it is given. Any number of
// workers may run; the broker gives each partition to one.
type Worker struct {
	o       Options
	metrics *metrics
	owned   []atomic.Bool
	open    atomic.Int64

	mu     sync.Mutex
	giveUp []context.CancelFunc // by partition, while it is claimed
}

// New checks o and returns a Worker that has not started.
func New(o Options) (*Worker, error) {
	switch {
	case o.Instance == "":
		return nil, errors.New("scan worker: an instance name is needed")
	case o.Partitions < 1:
		return nil, errors.New("scan worker: the number of partitions is needed")
	case o.Claim == nil || o.Backend == nil:
		return nil, errors.New("scan worker: a log is needed")
	case o.Identity.Visitor == nil || o.Identity.Classify == nil || o.Identity.Network == nil || o.Identity.Device == nil || o.Identity.Picture == nil:
		return nil, errors.New("scan worker: every part of Identity is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SnapshotEvents == 0 {
		o.SnapshotEvents = 20_000
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 30 * time.Second
	}
	if o.LongestPause == 0 {
		o.LongestPause = 5 * time.Second
	}
	if o.BalanceEvery == 0 {
		o.BalanceEvery = defaultBalanceEvery
	}
	return &Worker{o: o, metrics: newMetrics(o.Registry), owned: make([]atomic.Bool, o.Partitions), giveUp: make([]context.CancelFunc, o.Partitions)}, nil
}

// Run works until ctx ends, then writes last snapshots and gives the
// partitions up. A partition whose owner fails is claimed again after a pause;
// the others go on meanwhile. The error holds everything that went wrong while
// stopping.
func (w *Worker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, w.o.Partitions)
	for p := range w.o.Partitions {
		wg.Go(func() { errs[p] = w.partition(ctx, p) })
	}
	if w.o.Claimants != nil {
		wg.Go(func() { w.balance(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Owned is the number of partitions this worker owns and has recovered.
func (w *Worker) Owned() int {
	n := 0
	for i := range w.owned {
		if w.owned[i].Load() {
			n++
		}
	}
	return n
}

// Ready reports whether every partition is claimed: owned, or waiting for its
// owner to fail.
func (w *Worker) Ready() bool { return int(w.open.Load()) == w.o.Partitions }

// firstPause is how long a failed partition waits to be claimed again; each
// failure doubles it.
const firstPause = 100 * time.Millisecond

func (w *Worker) partition(ctx context.Context, p int) error {
	pause := firstPause
	for {
		started := time.Now()
		owning, giveUp := w.owning(ctx, p)
		err := w.own(owning, p)
		released := owning.Err() != nil
		giveUp()
		if ctx.Err() != nil {
			return err
		}
		if released {
			if err != nil {
				w.o.Log.Warn("hand a partition over", "partition", p, "err", err)
			}
			w.stayAway(ctx, p)
			continue
		}
		if time.Since(started) > time.Minute {
			pause = firstPause
		}
		level := slog.LevelError
		if errors.Is(err, events.ErrFenced) {
			level = slog.LevelWarn
		}
		w.o.Log.Log(ctx, level, "partition given up; claiming it again", "partition", p, "err", err, "pause", pause.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, w.o.LongestPause)
	}
}

// own claims p once and works it until it is lost or ctx ends.
func (w *Worker) own(ctx context.Context, p int) (err error) {
	in, err := w.o.Claim(ctx, p)
	if err != nil && ctx.Err() != nil {
		return nil // stopped before there was anything to give up
	}
	if err != nil {
		return fmt.Errorf("claim partition %d: %w", p, err)
	}
	w.open.Add(1)
	o := &owner{
		partition: p, partitions: w.o.Partitions, instance: w.o.Instance, who: w.o.Identity, in: in, log: w.o.Backend, slog: w.o.Log,
		metrics: w.metrics, snapEvery: snapshotPolicy{events: w.o.SnapshotEvents, every: w.o.SnapshotEvery}, now: time.Now, crash: w.o.Crash,
		onOwned: func(owned bool) {
			w.owned[p].Store(owned)
			w.metrics.owned(p, owned)
		},
	}
	defer func() {
		w.open.Add(-1)
		o.onOwned(false)
		drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if ctx.Err() != nil { // a clean stop, not a failure
			err = o.drain(drainCtx)
		} else {
			_ = o.reap(true) // its outcome is logged; this owner is gone either way
		}
		err = errors.Join(err, in.Close())
	}()
	// A message, so that an idle partition finds its owner at once and the
	// owner sets the timers its codes call for.
	if err := w.o.Backend.Wake(ctx, p); err != nil {
		return fmt.Errorf("wake partition %d: %w", p, err)
	}
	return o.run(ctx)
}
