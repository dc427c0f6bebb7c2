package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// rowsAtOnce bounds the rows that are held before they are compared with the warehouse's.
const rowsAtOnce = 100_000

// partitionsOfTheLog reads every partition: its events, its commit records, its rows.
func (v *verifier) partitionsOfTheLog(ctx context.Context) error {
	for _, name := range []string{"log.records", "commits.steps", "commits.items", "commits.decisions", "commits.alerts", "commits.dead", "commits.codes", "commits.totals"} {
		v.check(name)
	}
	v.expect.init()
	if v.Warehouse != nil {
		for _, t := range tables {
			v.check(t.name)
		}
	}
	for p := range v.Partitions {
		if err := v.partition(ctx, p); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	if v.Warehouse == nil {
		return nil
	}
	return v.foreignRows(ctx)
}

// record is a commit record with its place.
type record struct {
	seq    uint64
	stored time.Time
	c      *events.Commit
	err    error // it cannot be read
}

func (v *verifier) partition(ctx context.Context, p int) error {
	e := v.ends[p]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	input := stream(ctx, cancel, func(ctx context.Context, give func(events.Message) error) error {
		return v.stored(ctx, events.StreamEvents, inputOf(p), e.reached.Seq, give)
	})
	records := stream(ctx, cancel, func(ctx context.Context, give func(record) error) error {
		return v.stored(ctx, events.StreamDecisions, []string{events.CommitSubject(p)}, e.commit, func(m events.Message) error {
			c, err := events.ParseCommit(m.Data)
			return give(record{m.Seq, m.At, c, err})
		})
	})
	s := &side{v: v, p: p, o: oracle.New(p, v.Partitions, v.Who), input: input, numbers: map[string]uint64{}}
	for r := range records {
		if err := s.compare(ctx, r); err != nil {
			return err
		}
		v.progress()
		if s.rows >= rowsAtOnce {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	v.expect.codesOf(s)
	cancel(errDone)
	return nil
}

var errDone = errors.New("done")

// progress tells how far the log has been read.
func (v *verifier) progress() {
	if v.Progress == nil {
		return
	}
	var all int64
	for _, e := range v.ends {
		all += e.events
	}
	v.Progress(int(min(v.decided, all)), int(all))
}

// stored reads messages up to one that is known to be there. A replica that has just been chosen may be behind: then it is asked again.
func (v *verifier) stored(ctx context.Context, name string, filters []string, to uint64, give func(events.Message) error) error {
	next := uint64(1)
	for tries := 0; ; tries++ {
		err := v.Log.Stored(ctx, name, filters, next, to, func(m events.Message) error {
			next = m.Seq + 1
			return give(m)
		})
		if err != nil || next > to || tries == behindTries {
			return err // what is still not there is missed by the comparison
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// behindTries bounds how often a stream is asked for the end it is known to have.
const behindTries = 30

// inputOf is what a partition's worker reads: its own subjects, and for the first partition also what no transform has mapped.
func inputOf(p int) []string {
	if p == 0 {
		return []string{events.PartitionFilter(0), events.SubjectIn}
	}
	return []string{events.PartitionFilter(p)}
}

// stream runs read on a goroutine of its own, some way ahead of who ranges over what it gives. An error cancels ctx.
func stream[T any](ctx context.Context, cancel context.CancelCauseFunc, read func(ctx context.Context, give func(T) error) error) <-chan T {
	ch := make(chan T, 16)
	go func() {
		defer close(ch)
		err := read(ctx, func(t T) error {
			select {
			case ch <- t:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			cancel(err)
		}
	}()
	return ch
}

// side is the oracle's side of a partition, record by record.
type side struct {
	v       *verifier
	p       int
	o       *oracle.Partition
	input   <-chan events.Message
	numbers map[string]uint64 // of gateways' records, the highest by producer
	next    *events.Message   // read and not begun
	reading *oracle.Reading
	seq     uint64 // of reading
	idx     int    // of its next event

	step    uint64
	reached events.Place // up to here records have been compared
	commit  uint64

	rows    int // held
	held    [len(tables)][]row
	from    events.Place // of the rows held: after this input
	fromSeq uint64       // and this commit record
	touched map[string]codeRow
}

// advance decides the input up to a place.
func (s *side) advance(to events.Place) (out []oracle.Outcome) {
	for {
		if s.reading == nil {
			if s.next == nil {
				m, ok := <-s.input
				if !ok {
					return out
				}
				s.next = &m
			}
			if s.next.Seq > to.Seq {
				return out
			}
			s.numbered(*s.next)
			s.reading, s.seq, s.idx = s.o.Read(*s.next), s.next.Seq, 0
			s.next = nil
		}
		if s.seq > to.Seq || to.More && s.seq == to.Seq && s.idx > to.Idx {
			return out
		}
		done := s.reading.Done()
		if o, ok := s.reading.Next(); ok {
			out = append(out, o)
			s.v.decided++
			s.idx++
			done = s.reading.Done()
		}
		if done {
			s.reading = nil
		}
	}
}
