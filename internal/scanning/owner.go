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

// The points: first those of whoever takes a partition over, then those of a step, in the order they are passed.
const (
	BeforeRecovery Point = "before-recovery"
	AfterToldAgain Point = "after-told-again" // alerts and decisions of the last record
	AfterArmed     Point = "after-armed"      // timers of all codes
	AfterRewind    Point = "after-rewind"

	BeforeDeadLetter Point = "before-dead-letter"
	BeforeCommit     Point = "before-commit"
	AfterCommit      Point = "after-commit"
	AfterAlerts      Point = "after-alerts"
	AfterDecisions   Point = "after-decisions"
	AfterTimer       Point = "after-timer" // some of those of a step, or of a recovery
	AfterTimers      Point = "after-timers"
	AfterAck         Point = "after-ack"
	BeforeSnapshot   Point = "before-snapshot"
	SnapshotBegun    Point = "snapshot-begun" // it is being written meanwhile
	AfterSnapshot    Point = "after-snapshot"
)

// Points are all there are.
var Points = []Point{
	BeforeRecovery, AfterToldAgain, AfterArmed, AfterRewind, BeforeDeadLetter, BeforeCommit, AfterCommit, AfterAlerts, AfterDecisions, AfterTimer,
	AfterTimers, AfterAck, BeforeSnapshot, SnapshotBegun, AfterSnapshot,
}

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
	ahead     bool                 // t has decided what no record says yet
	commitSeq uint64               // of the last record in HUOMA_DECISIONS
	armed     map[string]time.Time // timers set: code → when
	sent      *sent                // the record that is being stored
	saving    chan error           // one snapshot is being written
	savedSeq  uint64
	savedAt   time.Time
	savingSeq uint64
	decided   int // events since the last snapshot
}

// finishWithin is how long a step under way may go on when its owner is told to
// stop, so that what it has decided stands and the next owner starts from there.
const finishWithin = 5 * time.Second

// run owns the partition whenever its input says so, until ctx ends.
func (o *owner) run(ctx context.Context) error {
	finishing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(finishWithin, giveUp) })()
	for {
		batch, err := o.in.Next(ctx)
		switch {
		case errors.Is(err, events.ErrRewind):
			if err := o.at(BeforeRecovery); err != nil {
				return err
			}
			if err := o.recover(ctx); err != nil {
				return err
			}
			from := o.t.reached.Next()
			if err := o.in.Rewind(ctx, from); err != nil {
				return fmt.Errorf("rewind to %d: %w", from, err)
			}
			if err := o.at(AfterRewind); err != nil {
				return err
			}
			o.onOwned(true)
			continue
		case err != nil:
			return err
		case o.t == nil:
			return errors.New("input came before the rewind that begins ownership")
		}
		if err := o.steps(ctx, finishing, batch); err != nil {
			return err
		}
	}
}

// steps decides a run of messages, in as many records as they need. While one
// is stored the next is decided. When ctx ends it stops after the record under
// way, which has until finishing ends. After an error the owner is finished:
// what it holds in memory may not stand.
func (o *owner) steps(ctx, finishing context.Context, batch []events.Message) error {
	reading, stop := context.WithCancel(finishing)
	defer stop()
	defer o.await()
	o.ahead = true
	b := o.t.begin()
	for run := range readAhead(reading, batch) {
		for i := 0; i < len(run); {
			if b.size < softCommit && o.t.takeUntil(b, &run[i], events.Place{Seq: run[i].Seq}) {
				i++
				continue
			}
			if err := o.send(finishing, b); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				if unsettled := o.settled(finishing); unsettled != nil {
					return unsettled
				}
				return err
			}
			b = o.t.begin()
		}
	}
	if err := finishing.Err(); err != nil {
		return err
	}
	if err := o.send(finishing, b); err != nil {
		return err
	}
	if err := o.settled(finishing); err != nil {
		return err
	}
	return o.maybeSnapshot(finishing)
}

// settled is settle for the last record: then all that was decided stands.
func (o *owner) settled(ctx context.Context) error {
	err := o.settle(ctx)
	o.ahead = err != nil
	return err
}

// sent is a record on its way into the log.
type sent struct {
	c       *events.Commit
	size    int
	started time.Time
	landed  chan landing
}

// landing is how it went.
type landing struct {
	seq uint64
	err error
}

// send closes the record b and begins to store it, once the one before is
// stored and has been followed up.
func (o *owner) send(ctx context.Context, b *builder) error {
	r := &sent{started: time.Now(), landed: make(chan landing, 1)}
	if err := o.at(BeforeDeadLetter); err != nil {
		return err
	}
	if len(b.letters) > 0 {
		if err := o.log.DeadLetter(ctx, b.letters); err != nil {
			return fmt.Errorf("publish dead letters: %w", err)
		}
	}
	r.c = o.t.end(b)
	payload, err := r.c.Marshal()
	if err != nil {
		return err
	}
	r.size = len(payload)
	if err := o.settle(ctx); err != nil {
		return err
	}
	if err := o.at(BeforeCommit); err != nil {
		return err
	}
	after := o.commitSeq
	go func() {
		seq, err := o.log.AppendCommit(ctx, o.partition, after, payload)
		r.landed <- landing{seq, err}
	}()
	o.sent = r
	return nil
}

// settle waits until the record that was sent stands, and does what follows
// from it.
func (o *owner) settle(ctx context.Context) error {
	r := o.sent
	if r == nil {
		return nil
	}
	c, is := r.c, o.await()
	if is.err != nil {
		return fmt.Errorf("commit step %d: %w", c.Step, is.err)
	}
	o.commitSeq = is.seq
	if err := o.at(AfterCommit); err != nil {
		return err
	}
	if err := o.tell(ctx, c); err != nil {
		return err
	}
	if err := o.at(AfterDecisions); err != nil {
		return err
	}
	touched := make([]string, len(c.Codes))
	for i := range c.Codes {
		touched[i] = c.Codes[i].ID
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
	o.metrics.committed(c, r.size, time.Since(r.started))
	o.decided += len(c.Items)
	return nil
}

// await waits for the record that was sent, if there is one: nothing of this
// owner's is on its way when it ends.
func (o *owner) await() (is landing) {
	if o.sent != nil {
		is, o.sent = <-o.sent.landed, nil
	}
	return is
}

// tell publishes a record's alerts and decisions. It is done again for the
// last record by whoever takes over; the ids make the alerts stand once.
func (o *owner) tell(ctx context.Context, c *events.Commit) error {
	if len(c.Alerts) > 0 {
		if err := o.log.PublishAlerts(ctx, c.Alerts); err != nil {
			return fmt.Errorf("publish alerts: %w", err)
		}
	}
	if err := o.at(AfterAlerts); err != nil {
		return err
	}
	if len(c.Decisions) > 0 {
		if err := o.log.PublishDecisions(ctx, c.Decisions); err != nil {
			return fmt.Errorf("publish decisions: %w", err)
		}
	}
	return nil
}

// armAtOnce is how many timers are set in one go.
const armAtOnce = 256

// arm sets the timers of codes whose next due time is earlier than the one set.
func (o *owner) arm(ctx context.Context, ids []string) error {
	var list []events.Timer
	for i, id := range ids {
		if t, ok := o.timer(id); ok {
			list = append(list, t)
		}
		if len(list) == 0 || len(list) < armAtOnce && i < len(ids)-1 {
			continue
		}
		if err := o.log.Schedule(ctx, o.partition, list); err != nil {
			return fmt.Errorf("set the timers of %d codes: %w", len(list), err)
		}
		for _, t := range list {
			o.armed[t.Code] = t.At
		}
		list = list[:0]
		if err := o.at(AfterTimer); err != nil {
			return err
		}
	}
	return nil
}

// timer is the timer that a code calls for, if it is not set already.
func (o *owner) timer(id string) (events.Timer, bool) {
	s := o.t.codes[id]
	if s == nil {
		return events.Timer{}, false
	}
	due, ok := s.NextDue()
	set, isSet := o.armed[id]
	if isSet && !set.After(o.now()) {
		delete(o.armed, id) // it has fired, or is about to
		isSet = false
	}
	return events.Timer{Code: id, At: due}, ok && (!isSet || due.Before(set))
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
	if last != nil {
		end, err := o.log.LastSeq(ctx)
		if err != nil {
			return fmt.Errorf("read the end of the events: %w", err)
		}
		if end < last.Reached.Seq {
			return fmt.Errorf("partition %d has decided up to %d, and stream %s ends at %d: its end is lost, and new events would be taken for decided ones; restore the stream",
				o.partition, last.Reached.Seq, events.StreamEvents, end)
		}
	}
	started := o.now()
	t, from, err := o.load(ctx)
	if err != nil {
		return err
	}
	loaded := o.now().Sub(started)
	if last != nil {
		if err := o.replay(ctx, t, last); err != nil {
			return err
		}
	} else if t.step > 0 {
		return fmt.Errorf("partition %d has a snapshot of step %d but no commit record: restore stream %s, or remove the snapshot from bucket %s",
			o.partition, t.step, events.StreamDecisions, events.BucketState)
	}
	t.missing = func(producer string, from, to uint64) {
		o.metrics.missing.Add(float64(to - from + 1))
		o.slog.Error("records of a gateway are missing: what it acknowledged with them is not in the log any more; look at the disks of NATS, and run huoma doctor",
			"stream", events.StreamEvents, "partition", o.partition, "gateway", producer, "first", from, "last", to)
	}
	armed, err := o.log.Timers(ctx, o.partition)
	if err != nil {
		return err
	}
	o.snapEvery.took = max(o.snapEvery.took, loaded) // the next would take about as long
	o.t, o.ahead, o.commitSeq, o.armed = t, false, seq, armed
	o.savedSeq, o.savedAt, o.decided = from, o.now(), 0
	if last != nil {
		if err := o.tell(ctx, last); err != nil {
			return err
		}
	}
	if err := o.at(AfterToldAgain); err != nil {
		return err
	}
	ids := make([]string, 0, len(t.codes))
	for id := range t.codes {
		ids = append(ids, id)
	}
	if err := o.arm(ctx, ids); err != nil {
		return err
	}
	if err := o.at(AfterArmed); err != nil {
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
	case err != nil && !errors.Is(err, events.ErrDamaged):
		return nil, 0, fmt.Errorf("load snapshot: %w", err)
	}
	t = NewTransform(o.partition, o.partitions, o.instance, o.who)
	var snap *events.Snapshot
	if err == nil {
		snap, err = events.ReadSnapshotEach(bytes.NewReader(raw), t.restore)
	}
	if err == nil && snap.Partition != o.partition {
		err = fmt.Errorf("it is of partition %d", snap.Partition)
	}
	if err == nil {
		t.adopt(snap)
		return t, snap.CommitSeq, nil
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
