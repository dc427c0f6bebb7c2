package scanning

import (
	"context"
	"fmt"
	"time"
)

// snapshotPolicy says when a snapshot is due: after so many events or so much
// time with at least one, and never so often that writing them takes more than
// a twentieth of the time.
type snapshotPolicy struct {
	events int
	every  time.Duration
	took   time.Duration // the last one
}

func (p snapshotPolicy) due(events int, since time.Duration) bool {
	if events == 0 || since < 20*p.took {
		return false
	}
	return events >= p.events || since >= p.every
}

// maybeSnapshot writes a snapshot in the background when one is due. The copy
// of the state is taken here, between two steps.
func (o *owner) maybeSnapshot(ctx context.Context) error {
	if err := o.reap(false); err != nil {
		return err
	}
	if o.saving != nil || !o.snapEvery.due(o.decided, o.now().Sub(o.savedAt)) {
		return nil
	}
	return o.snapshot(ctx)
}

func (o *owner) snapshot(ctx context.Context) error {
	if err := o.at(BeforeSnapshot); err != nil {
		return err
	}
	started := o.now()
	snap := o.t.Snapshot(o.commitSeq)
	o.savingSeq, o.savedAt, o.decided = o.commitSeq, started, 0
	done := make(chan error, 1)
	o.saving = done
	go func() {
		b, err := snap.Marshal()
		if err == nil {
			err = o.log.SaveSnapshot(ctx, snap.Partition, b)
		}
		o.metrics.snapshot(len(b), err)
		done <- err
	}()
	return nil
}

// reap takes the outcome of the snapshot being written. A failed one is
// logged: the previous one still stands, only recovery takes longer.
func (o *owner) reap(wait bool) error {
	if o.saving == nil {
		return nil
	}
	var err error
	if wait {
		err = <-o.saving
	} else {
		select {
		case err = <-o.saving:
		default:
			return nil
		}
	}
	o.saving = nil
	if err != nil {
		o.slog.Warn("snapshot not written; the previous one stands", "partition", o.partition, "err", err)
		return nil
	}
	o.savedSeq, o.snapEvery.took = o.savingSeq, o.now().Sub(o.savedAt)
	return o.at(AfterSnapshot)
}

// drain writes a last snapshot, so that the next owner starts quickly. An owner
// that was stopped while its commit was under way writes none: what it holds
// may never stand, and a snapshot ahead of the last commit record would stop the partition.
func (o *owner) drain(ctx context.Context) error {
	if err := o.reap(true); err != nil {
		return err
	}
	if o.t == nil || o.ahead || o.commitSeq == o.savedSeq || o.t.reached.Seq == 0 {
		return nil
	}
	if err := o.snapshot(ctx); err != nil {
		return err
	}
	if err := o.reap(true); err != nil {
		return fmt.Errorf("last snapshot: %w", err)
	}
	return nil
}
