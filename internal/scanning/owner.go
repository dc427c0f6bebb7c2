package scanning

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Point names a place between two effects of an owner, so that a test can stop
// it dead there.
type Point string

// The points, in the order a step passes them.
const (
	BeforeDeadLetter Point = "before-dead-letter"
	BeforeCommit     Point = "before-commit"
	AfterCommit      Point = "after-commit"
	AfterAlerts      Point = "after-alerts"
	AfterTimers      Point = "after-timers"
	AfterAck         Point = "after-ack"
	BeforeSnapshot   Point = "before-snapshot"
	AfterSnapshot    Point = "after-snapshot"
)

// owner is one partition's worker: input in, commit records out.
type owner struct {
	partition  int
	partitions int
	instance   string
	who        Identity
	in         Input
	log        Backend
	slog       *slog.Logger
	metrics    *metrics
	snapEvery  snapshotPolicy
	now        func() time.Time
	crash      func(Point) error // tests: a non-nil error stops the owner dead
	onOwned    func(owned bool)

	t         *Transform
	commitSeq uint64               // of the last record in HUOMA_DECISIONS
	armed     map[string]time.Time // timers set: code → when
	saving    chan error           // one snapshot is being written
	savedSeq  uint64
	savedAt   time.Time
	savingSeq uint64
	decided   int  // events since the last snapshot
	ahead     bool // t has decided more than what a commit record says
}

// run owns the partition whenever its input says so, until ctx ends.
func (o *owner) run(ctx context.Context) error {
	for {
		batch, err := o.in.Next(ctx)
		switch {
		case errors.Is(err, events.ErrRewind):
			if err := o.recover(ctx); err != nil {
				return err
			}
			from := o.t.reached.Next()
			if err := o.in.Rewind(ctx, from); err != nil {
				return fmt.Errorf("rewind to %d: %w", from, err)
			}
			o.onOwned(true)
			continue
		case err != nil:
			return err
		case o.t == nil:
			return errors.New("input came before the rewind that begins ownership")
		}
		if err := o.steps(ctx, batch); err != nil {
			return err
		}
	}
}

// steps decides a run of messages, in as many records as they need.
func (o *owner) steps(ctx context.Context, batch []events.Message) error {
	for i := 0; i < len(batch); {
		o.ahead = true
		b := o.t.begin()
		for i < len(batch) && b.size < softCommit {
			if !o.t.take(b, batch[i]) {
				break
			}
			i++
		}
		if err := o.commit(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// commit makes what b decided stand, then does what follows from it. After an
// error the owner is finished: what it holds in memory may not stand.
func (o *owner) commit(ctx context.Context, b *builder) error {
	started := time.Now()
	if err := o.at(BeforeDeadLetter); err != nil {
		return err
	}
	if len(b.letters) > 0 {
		if err := o.log.DeadLetter(ctx, b.letters); err != nil {
			return fmt.Errorf("publish dead letters: %w", err)
		}
	}
	touched := make([]string, 0, len(o.t.touched))
	for id := range o.t.touched {
		touched = append(touched, id)
	}
	c := o.t.end(b)
	payload, err := c.Marshal()
	if err != nil {
		return err
	}
	if err := o.at(BeforeCommit); err != nil {
		return err
	}
	seq, err := o.log.AppendCommit(ctx, o.partition, o.commitSeq, payload)
	if err != nil {
		return fmt.Errorf("commit step %d: %w", c.Step, err)
	}
	o.commitSeq, o.ahead = seq, false
	if err := o.at(AfterCommit); err != nil {
		return err
	}
	if err := o.tell(ctx, c); err != nil {
		return err
	}
	if err := o.at(AfterAlerts); err != nil {
		return err
	}
	if err := o.arm(ctx, touched); err != nil {
		return err
	}
	if err := o.at(AfterTimers); err != nil {
		return err
	}
	upto := c.Reached.Next() - 1
	if err := o.in.Ack(ctx, upto); err != nil {
		return fmt.Errorf("acknowledge %d: %w", upto, err)
	}
	if err := o.at(AfterAck); err != nil {
		return err
	}
	o.metrics.committed(c, len(payload), time.Since(started))
	o.decided += len(c.Items)
	return o.maybeSnapshot(ctx)
}

// tell publishes a record's alerts and decisions. It is done again for the
// last record by whoever takes over; the ids make the alerts stand once.
func (o *owner) tell(ctx context.Context, c *events.Commit) error {
	if len(c.Alerts) > 0 {
		if err := o.log.PublishAlerts(ctx, c.Alerts); err != nil {
			return fmt.Errorf("publish alerts: %w", err)
		}
	}
	if len(c.Decisions) > 0 {
		if err := o.log.PublishDecisions(ctx, c.Decisions); err != nil {
			return fmt.Errorf("publish decisions: %w", err)
		}
	}
	return nil
}

// arm sets the timers of codes whose next due time is earlier than the one set.
func (o *owner) arm(ctx context.Context, ids []string) error {
	for _, id := range ids {
		s := o.t.codes[id]
		if s == nil {
			continue
		}
		due, ok := s.NextDue()
		set, isSet := o.armed[id]
		if isSet && !set.After(o.now()) {
			delete(o.armed, id) // it has fired, or is about to
			isSet = false
		}
		if !ok || isSet && !due.Before(set) {
			continue
		}
		if err := o.log.Schedule(ctx, o.partition, id, due); err != nil {
			return fmt.Errorf("set the timer of code %s: %w", id, err)
		}
		o.armed[id] = due
	}
	return nil
}

// recover establishes where the partition stands: the last record, the newest
// snapshot, and the input between them decided again.
func (o *owner) recover(ctx context.Context) error {
	payload, seq, err := o.log.LastCommit(ctx, o.partition)
	var last *events.Commit
	switch {
	case errors.Is(err, events.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read the last commit record: %w", err)
	default:
		if last, err = events.ParseCommit(payload); err != nil {
			return err
		}
	}
	if o.t != nil && !o.ahead && o.commitSeq == seq && (last == nil || o.t.step == last.Step) {
		return nil // delivery stumbled; what is in memory still stands
	}
	started := o.now()
	t, from, err := o.load(ctx)
	if err != nil {
		return err
	}
	if last != nil {
		if err := o.replay(ctx, t, last); err != nil {
			return err
		}
	} else if t.step > 0 {
		return fmt.Errorf("partition %d has a snapshot of step %d but no commit record: restore stream %s, or remove the snapshot from bucket %s",
			o.partition, t.step, events.StreamDecisions, events.BucketState)
	}
	o.t, o.commitSeq, o.armed, o.ahead = t, seq, make(map[string]time.Time), false
	o.savedSeq, o.savedAt, o.decided = from, o.now(), 0
	if last != nil {
		if err := o.tell(ctx, last); err != nil {
			return err
		}
	}
	ids := make([]string, 0, len(t.codes))
	for id := range t.codes {
		ids = append(ids, id)
	}
	if err := o.arm(ctx, ids); err != nil {
		return err
	}
	o.slog.Info("partition taken over", "partition", o.partition, "step", t.step, "reached", t.reached.Seq, "codes", len(t.codes),
		"took", o.now().Sub(started).Round(time.Millisecond).String())
	return nil
}

// load reads the newest snapshot, or starts empty. A snapshot that cannot be
// read is not trusted: the log is replayed from its beginning instead.
func (o *owner) load(ctx context.Context) (t *Transform, commitSeq uint64, err error) {
	raw, err := o.log.LoadSnapshot(ctx, o.partition)
	switch {
	case errors.Is(err, events.ErrNotFound):
		return NewTransform(o.partition, o.partitions, o.instance, o.who), 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("load snapshot: %w", err)
	}
	snap, err := events.ReadSnapshot(bytes.NewReader(raw))
	if err == nil && snap.Partition != o.partition {
		err = fmt.Errorf("it is of partition %d", snap.Partition)
	}
	if err == nil {
		if t, err = RestoreTransform(snap, o.partitions, o.instance, o.who); err == nil {
			return t, snap.CommitSeq, nil
		}
	}
	o.slog.Error("snapshot is not usable; replaying the log from its beginning", "partition", o.partition, "err", err)
	return NewTransform(o.partition, o.partitions, o.instance, o.who), 0, nil
}

// replay decides the input up to last again, and holds the result against it.
func (o *owner) replay(ctx context.Context, t *Transform, last *events.Commit) error {
	if t.step > last.Step {
		return fmt.Errorf("partition %d has a snapshot of step %d but its last commit record is step %d: restore stream %s, or remove the snapshot from bucket %s",
			o.partition, t.step, last.Step, events.StreamDecisions, events.BucketState)
	}
	if t.step < last.Step {
		if err := t.Replay(ctx, o.log, last.Reached); err != nil {
			return err
		}
		t.step, t.reached = last.Step, last.Reached
	}
	if t.totals != last.Totals {
		return fmt.Errorf("partition %d: a replay of the log to %d gives other totals than the commit record (%+v, want %+v): its input has been trimmed or altered; restore stream %s",
			o.partition, last.Reached.Seq, t.totals, last.Totals, events.StreamEvents)
	}
	return nil
}

func (o *owner) at(p Point) error {
	if o.crash == nil {
		return nil
	}
	return o.crash(p)
}
