package scanning

import (
	"context"
	"math/rand/v2"
	"time"
)

// defaultBalanceEvery is about how often a worker looks whether it has more than its share. From a partition that it gave up it stays
// away for a third of that, so that another has it.
const defaultBalanceEvery = 15 * time.Second

// excess is how many partitions a worker should give up that owns so many of all that there are, while so many workers claim them: half of what
// is beyond its share, so that workers which look at the same time do not give up too many.
func excess(owned, partitions, workers int) int {
	if workers < 2 {
		return 0
	}
	share := (partitions + workers - 1) / workers
	return (max(owned, share) - share + 1) / 2
}

// balance gives up partitions while this worker owns more than its share, until ctx ends. Giving up is a clean stop of one partition: its
// snapshot is written and another worker goes on where the last commit record ends.
func (w *Worker) balance(ctx context.Context) {
	before := 0 // workers, when last looked: a process that has just gone may be counted once
	for {
		// Not all at the same time.
		wait := w.o.BalanceEvery/2 + rand.N(w.o.BalanceEvery)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		mine := w.mine()
		if len(mine) < 2 {
			before = 0
			continue
		}
		n, err := w.o.Claimants(ctx, mine[0])
		if err != nil {
			before = 0 // without a broker there is nobody to hand anything to
			continue
		}
		workers := min(n, before)
		before = n
		rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for _, p := range mine[:excess(len(mine), w.o.Partitions, workers)] {
			w.o.Log.Info("partition handed over", "partition", p, "owned", len(mine), "workers", workers)
			w.release(p)
		}
	}
}

// mine are the partitions this worker owns.
func (w *Worker) mine() (list []int) {
	for p := range w.owned {
		if w.owned[p].Load() {
			list = append(list, p)
		}
	}
	return list
}

// release ends the ownership of p, if this worker has it.
func (w *Worker) release(p int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.giveUp[p] != nil {
		w.giveUp[p]()
	}
}

// owning is the context of owning p once, which release ends.
func (w *Worker) owning(ctx context.Context, p int) (context.Context, context.CancelFunc) {
	ctx, giveUp := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.giveUp[p] = giveUp
	return ctx, giveUp
}

// stayAway waits until another worker can have taken p, which it is told of.
func (w *Worker) stayAway(ctx context.Context, p int) {
	// As before: waiting for its owner to fail.
	w.open.Add(1)
	defer w.open.Add(-1)
	if err := w.o.Backend.Wake(ctx, p); err != nil && ctx.Err() == nil {
		w.o.Log.Warn("wake a partition that was handed over", "partition", p, "err", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(w.o.BalanceEvery / 3):
	}
}
