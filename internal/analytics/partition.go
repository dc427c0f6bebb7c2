package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// errTaken ends an ownership: another worker has written the partition's manifest.
var errTaken = errors.New("another worker has taken the partition over")

// What a partition may be held up at.
const (
	atClaim   = "claim"   // the broker does not let us claim it
	atRecover = "recover" // the manifest cannot be read, or the claim not rewound
	atRecord  = "record"  // a commit record this program cannot read
	atInsert  = "insert"  // the warehouse does not take the batch
	atWork    = "work"    // anything else: the broker, mostly
)

// partition is the work on one partition. Its fields belong to its run, but for oldest.
type partition struct {
	w      *Worker
	n      int
	log    *slog.Logger
	oldest atomic.Int64 // Unix milliseconds of the oldest record in hand; 0: none

	rev      uint64 // of the manifest; the flight's while there is one
	lastStep uint64 // newest step in the warehouse or in hand; 0: unknown
	replay   *manifest
	compare  bool // what the warehouse has of the next batch is not known
	batch    batch
	flight   *flight // the batch before, being inserted while this one is read
}

// batch is what has been read and not inserted.
type batch struct {
	commits []events.StoredCommit
	stored  []time.Time // broker times of the commits
	rows    int
	bytes   int
	since   time.Time // when its first record was read
}

// run owns the partition again and again until ctx ends.
func (p *partition) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		began := p.w.o.Now()
		at, err := p.own(ctx)
		p.clear()
		if ctx.Err() != nil {
			return
		}
		if p.w.o.Now().Sub(began) > p.w.o.Backoff[1] {
			failures = 0
		}
		if errors.Is(err, errTaken) {
			p.log.Info("another worker has taken the partition over")
		} else {
			p.w.report(p, at, err)
		}
		p.w.pause(ctx, failures)
	}
}

// own claims the partition and works on it until an error, or until ctx ends: then it drains and returns nil.
func (p *partition) own(ctx context.Context) (at string, err error) {
	claim, err := p.w.o.Claim(ctx, p.n)
	if err != nil {
		return atClaim, fmt.Errorf("claim partition %d: %w", p.n, err)
	}
	defer func() { err = errors.Join(err, claim.Close()) }()
	p.w.resolved(p, atClaim, atRecover, atWork)
	for {
		if ctx.Err() != nil {
			return atWork, p.drain(ctx, claim)
		}
		if p.flight != nil && p.flight.over.Err() != nil {
			if err := p.land(ctx, claim); err != nil && ctx.Err() == nil {
				return atWork, err
			}
		}
		if p.waiting() && !p.w.o.Now().Before(p.due()) {
			if err := p.flush(ctx, claim, ReasonAge); err != nil && ctx.Err() == nil {
				return atWork, err
			}
		}
		msgs, err := p.next(ctx, claim)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled): // the batch is due, or the one before is in
		case errors.Is(err, events.ErrRewind):
			if err := p.recover(ctx, claim); err != nil {
				return atRecover, err
			}
			p.w.resolved(p, atRecover, atWork)
		case err != nil:
			return atWork, fmt.Errorf("read partition %d: %w", p.n, err)
		default:
			if at, err := p.take(ctx, claim, msgs); err != nil && ctx.Err() == nil {
				return at, err
			}
		}
	}
}

// next waits for messages, no longer than the batch in hand may wait, or the one before takes.
func (p *partition) next(ctx context.Context, claim Claim) ([]events.Message, error) {
	switch {
	case p.flight != nil:
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(p.flight.over, cancel)()
	case p.waiting():
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.due().Sub(p.w.o.Now()))
		defer cancel()
	}
	return claim.Next(ctx)
}

// waiting reports whether there is a batch in hand that goes out by age. One that is replayed goes out by its range, and none does
// while the one before is being inserted: it grows instead.
func (p *partition) waiting() bool {
	return len(p.batch.commits) > 0 && p.replay == nil && p.flight == nil
}

func (p *partition) due() time.Time { return p.w.o.Policy.due(p.batch.since) }

// clear forgets what is in hand, and ends what is being inserted; the log has it.
func (p *partition) clear() {
	if p.flight != nil {
		p.flight.cancel()
		<-p.flight.over.Done()
		p.flight = nil
	}
	p.batch, p.replay = batch{}, nil
	p.oldest.Store(0)
}

// recover establishes where the partition stands and rewinds the claim to the first record wanted.
func (p *partition) recover(ctx context.Context, claim Claim) error {
	p.clear()
	p.rev, p.lastStep, p.compare = 0, 0, false
	from := uint64(1)
	value, rev, err := p.w.o.Manifests.Manifest(ctx, p.n)
	switch {
	case errors.Is(err, events.ErrNotFound):
		p.compare = true // a new partition, or one whose manifest is lost
	case err != nil:
		return fmt.Errorf("read the manifest of partition %d: %w", p.n, err)
	default:
		m, err := readManifest(value, p.n)
		p.rev = rev
		if errors.Is(err, errDamaged) {
			p.log.Error("a manifest is damaged: the log is read from its beginning and compared with the warehouse, and another manifest is written; nothing has to be done, but look at the disks of NATS", "err", err)
			p.compare = true
			break
		}
		if err != nil {
			return err
		}
		p.compare = m.Compare
		if m.Open {
			p.replay, from = &m, m.FirstSeq
			p.log.Info("replaying an open batch", "first_step", m.FirstStep, "last_step", m.LastStep)
		} else {
			p.lastStep, from = m.LastStep, m.LastSeq+1
		}
	}
	if err := claim.Rewind(ctx, from); err != nil {
		return fmt.Errorf("rewind partition %d to %d: %w", p.n, from, err)
	}
	return nil
}

// take adds a run of messages, inserting as often as the batch gets full.
func (p *partition) take(ctx context.Context, claim Claim, msgs []events.Message) (at string, err error) {
	for _, msg := range msgs {
		if p.replay != nil && msg.Seq > p.replay.LastSeq {
			// The log no longer has the end of the range.
			if err := p.finishReplay(ctx, claim); err != nil {
				return atWork, err
			}
		}
		c, err := events.ParseCommit(msg.Data)
		if err != nil {
			if err := p.unreadable(ctx, msg, err); err != nil {
				return atRecord, err
			}
		} else {
			p.add(msg, c)
		}
		if p.replay != nil {
			if msg.Seq == p.replay.LastSeq {
				if err := p.finishReplay(ctx, claim); err != nil {
					return atWork, err
				}
			}
			continue
		}
		if why, full := p.w.o.Policy.full(p.batch.rows, p.batch.bytes); full {
			if err := p.flush(ctx, claim, why); err != nil {
				return atWork, err
			}
		}
	}
	return atWork, nil
}

func (p *partition) add(msg events.Message, c *events.Commit) {
	if p.lastStep != 0 && c.Step > p.lastStep+1 {
		p.w.m.gaps.Add(float64(c.Step - p.lastStep - 1))
		p.log.Error("the log no longer has steps that were never read: reconcile counts them as gaps; keep HUOMA_DECISIONS for longer",
			"from", p.lastStep+1, "to", c.Step-1)
	}
	p.lastStep = c.Step
	if len(p.batch.commits) == 0 {
		p.batch.since = p.w.o.Now()
		if p.flight == nil {
			p.oldest.Store(msg.At.UnixMilli())
		}
	}
	p.batch.commits = append(p.batch.commits, events.StoredCommit{Seq: msg.Seq, Commit: c})
	p.batch.stored = append(p.batch.stored, msg.At)
	p.batch.rows += 1 + len(c.Items) + len(c.Decisions) + len(c.Alerts) // and at most a row for each code there is
	p.batch.bytes += len(msg.Data)
}

// unreadable deals with a record that cannot be parsed: broken bytes go to the dead letters, anything else may be a newer program's
// and must be waited for.
func (p *partition) unreadable(ctx context.Context, msg events.Message, cause error) error {
	e, ok := events.AsError(cause)
	if !ok || e.Code != events.CodeMalformed && e.Code != events.CodeInvalidUTF8 {
		return fmt.Errorf("commit record at %d: %w", msg.Seq, cause)
	}
	p.log.Error("a commit record is broken and goes to the dead letters", "seq", msg.Seq, "error", cause)
	return p.bury(ctx, []events.DeadLetter{{Partition: p.n, Seq: msg.Seq, Kind: "commit", Subject: msg.Subject, Data: msg.Data, Reason: e.Code, Detail: "a commit record that cannot be read"}})
}

func (p *partition) bury(ctx context.Context, list []events.DeadLetter) error {
	if len(list) == 0 {
		return nil
	}
	if err := p.w.o.Dead.DeadLetter(ctx, list); err != nil {
		return fmt.Errorf("write %d dead letters: %w", len(list), err)
	}
	p.w.m.dead.Add(float64(len(list)))
	return nil
}

// finishReplay inserts the open manifest's range under its token.
func (p *partition) finishReplay(ctx context.Context, claim Claim) error {
	m := *p.replay
	lost := len(p.batch.commits) != m.Commits
	if lost {
		p.log.Error("the log no longer has all of an open batch: what it has is compared with the warehouse", "had", m.Commits, "has", len(p.batch.commits))
	}
	p.launch(ctx, m, events.Batch{Partition: p.n, Token: m.Token, At: m.At, Commits: p.batch.commits, Replayed: true, Partial: lost || m.Compare}, ReasonReplay)
	p.replay = nil
	return p.land(ctx, claim)
}

// flush writes the manifest of the batch in hand and begins to insert it, once the one before is in.
func (p *partition) flush(ctx context.Context, claim Claim, why Reason) error {
	if err := p.land(ctx, claim); err != nil {
		return err
	}
	list := p.batch.commits
	if len(list) == 0 {
		return nil
	}
	first, last := list[0], list[len(list)-1]
	at := p.w.o.Now().UTC().Truncate(time.Millisecond)
	m := manifest{
		Version: manifestVersion, Partition: p.n, FirstSeq: first.Seq, LastSeq: last.Seq, FirstStep: first.Commit.Step, LastStep: last.Commit.Step,
		Commits: len(list), Token: tokenFor(p.n, first.Seq, last.Seq, at), At: at, Open: true,
		Compare: p.compare,
	}
	if err := p.put(ctx, m); err != nil {
		return err
	}
	p.launch(ctx, m, events.Batch{Partition: p.n, Token: m.Token, At: m.At, Commits: list, Replayed: m.Compare, Partial: m.Compare}, why)
	return nil
}

func (p *partition) put(ctx context.Context, m manifest) error {
	b, err := m.marshal()
	if err != nil {
		return err
	}
	rev, err := p.w.o.Manifests.PutManifest(ctx, p.n, b, p.rev)
	switch {
	case errors.Is(err, events.ErrConflict):
		return errTaken
	case err != nil:
		// Whether it was written is not known: starting over reads it.
		return fmt.Errorf("write the manifest of partition %d: %w", p.n, err)
	}
	p.rev = rev
	return nil
}

// flight is a batch that is being inserted. Whoever started it may read on meanwhile.
type flight struct {
	m      manifest
	b      events.Batch
	stored []time.Time // broker times of its commits
	why    Reason
	cancel context.CancelFunc
	over   context.Context // ends when all below is known

	done events.Inserted
	at   time.Time
	err  error
}

// launch begins to insert the batch in hand, whose manifest is open. When ctx ends it has DrainTimeout left.
func (p *partition) launch(ctx context.Context, m manifest, b events.Batch, why Reason) {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{m: m, b: b, stored: p.batch.stored, why: why, cancel: cancel, over: over}
	p.flight, p.batch = f, batch{}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(p.w.o.DrainTimeout, cancel) })
	go func() {
		defer end()
		defer stop()
		f.done, f.err = p.store(working, f.m, f.b)
		f.at = p.w.o.Now()
	}()
}

// land waits until the batch that is being inserted is in, and acknowledges it. When ctx ends it is still under way.
func (p *partition) land(ctx context.Context, claim Claim) error {
	f := p.flight
	if f == nil {
		return nil
	}
	select {
	case <-f.over.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	f.cancel()
	p.flight = nil
	if f.err != nil {
		return f.err
	}
	p.compare = p.compare && f.done.Skipped > 0
	if err := claim.Ack(ctx, f.m.LastSeq); err != nil {
		return fmt.Errorf("acknowledge partition %d up to %d: %w", p.n, f.m.LastSeq, err)
	}
	p.w.m.flushes.WithLabelValues(string(f.why)).Inc()
	p.w.m.commits.Add(float64(len(f.b.Commits)))
	p.w.m.skipped.Add(float64(f.done.Skipped))
	for t, n := range f.done.Rows {
		p.w.m.rows.WithLabelValues(t).Add(float64(n))
	}
	for _, at := range f.stored {
		p.w.m.visible.Observe(f.at.Sub(at).Seconds())
	}
	p.oldest.Store(0)
	if len(p.batch.stored) > 0 {
		p.oldest.Store(p.batch.stored[0].UnixMilli())
	}
	p.w.resolved(p, atRecover, atWork, atRecord)
	return nil
}

// store inserts a batch whose manifest is open, however long that takes, then closes the manifest.
func (p *partition) store(ctx context.Context, m manifest, b events.Batch) (events.Inserted, error) {
	done, err := p.insert(ctx, b)
	if err != nil {
		return done, err
	}
	if err := p.bury(ctx, done.Dead); err != nil {
		return done, err
	}
	m.Open = false
	if done.Skipped == 0 { // rows are stored in the order of the log: none of what follows is there
		m.Compare = false
	}
	return done, p.put(ctx, m)
}

// insert tries until the warehouse has the batch or ctx ends. The outcome of a failed attempt does not matter: the token is the same.
func (p *partition) insert(ctx context.Context, b events.Batch) (events.Inserted, error) {
	for n := 0; ; n++ {
		done, err := p.attempt(ctx, b)
		if err == nil {
			p.w.resolved(p, atInsert)
			return done, nil
		}
		if ctx.Err() != nil {
			return events.Inserted{}, ctx.Err()
		}
		// From now on it may be there in part, and the outage may outlast the deduplication window.
		b.Replayed = true
		p.w.report(p, atInsert, err)
		p.w.pause(ctx, n)
	}
}

func (p *partition) attempt(ctx context.Context, b events.Batch) (events.Inserted, error) {
	select {
	case p.w.slots <- struct{}{}:
		defer func() { <-p.w.slots }()
	case <-ctx.Done():
		return events.Inserted{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, p.w.o.InsertTimeout)
	defer cancel()
	began := time.Now()
	done, err := p.w.o.Warehouse.Insert(ctx, b)
	if err == nil {
		p.w.m.insert.Observe(time.Since(began).Seconds())
	}
	return done, err
}

// drain stores what is in hand after ctx has ended, if that can be done soon.
func (p *partition) drain(ctx context.Context, claim Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.w.o.DrainTimeout)
	defer cancel()
	held := len(p.batch.commits)
	err := p.land(ctx, claim)
	if err == nil && p.replay == nil {
		if err = p.flush(ctx, claim, ReasonDrain); err == nil {
			err = p.land(ctx, claim)
		}
	}
	if err != nil {
		p.log.Warn("the last batch is left to the next owner", "records", held, "error", err)
	}
	return nil
}
