package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// Log is the installation's NATS.
type Log interface {
	StreamState(ctx context.Context, stream string) (events.StreamState, error)
	LastInput(ctx context.Context, partition int) (uint64, error)
	LastCommit(ctx context.Context, partition int) (payload []byte, seq uint64, err error)
	Stored(ctx context.Context, stream string, filters []string, from, to uint64, fn func(events.Message) error) error
}

// Warehouse is the installation's ClickHouse.
type Warehouse interface {
	Select(ctx context.Context, op, sql string, each func(scan func(dest ...any) error) error, args ...any) error
}

// Gateway tells the counts of codes.
type Gateway interface {
	// Stats is the JSON of a code's counts. events.ErrNotFound: the gateway has no such code.
	Stats(ctx context.Context, code string) ([]byte, error)
}

// Options are what Run needs.
type Options struct {
	Log        Log
	Partitions int // as installed
	Who        oracle.Who
	Warehouse  Warehouse     // nil: its rows are left out
	Gateway    Gateway       // nil: what a gateway tells is left out
	Wait       time.Duration // for workers and warehouse to come to the end of the log, and for what is on its way
	Now        func() time.Time
	Progress   func(events, of int64) // may be nil; called now and then, from the caller's goroutine
}

// ErrTrimmed: the beginning of the log is gone, so nothing can be said.
var ErrTrimmed = errors.New("the beginning of the log is gone")

// Run makes all checks, in a fixed order, and calls report with each outcome. It returns how many events it has decided. It
// blocks until it is done or ctx ends; the error is for what could not be looked at.
func Run(ctx context.Context, o Options, report func(Result) error) (events int64, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &verifier{Options: o, deadline: o.Now().Add(o.Wait)}
	if err := v.fix(ctx); err != nil {
		return 0, err
	}
	steps := []func(context.Context) error{v.awaitWarehouse, v.retention, v.partitionsOfTheLog, v.alertStream, v.deadLetters, v.codeStates, v.rollups, v.reconcile, v.stats}
	if o.Warehouse == nil {
		steps = []func(context.Context) error{v.partitionsOfTheLog, v.alertStream, v.deadLetters, v.stats}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return v.decided, err
		}
	}
	for _, r := range v.results {
		if r.Examples == nil {
			r.Examples = []Example{}
		}
		if err := report(*r); err != nil {
			return v.decided, err
		}
	}
	return v.decided, nil
}

// end is where the comparison of a partition ends: its last commit record.
type end struct {
	commit  uint64 // sequence in HUOMA_DECISIONS; 0: there is no record
	step    uint64
	reached events.Place
}

// verifier is one run.
type verifier struct {
	Options
	deadline time.Time
	ends     []end
	results  []*Result
	byName   map[string]*Result
	decided  int64
	expect   expectations
}

// check is the result of a name. The first call puts it in order.
func (v *verifier) check(name string) *Result {
	if v.byName == nil {
		v.byName = map[string]*Result{}
	}
	r := v.byName[name]
	if r == nil {
		r = &Result{Check: name}
		v.byName[name] = r
		v.results = append(v.results, r)
	}
	return r
}

// wait is called between two looks at something that may yet come. It reports false when the time for that is over.
func (v *verifier) wait(ctx context.Context) bool {
	if ctx.Err() != nil || !v.Now().Before(v.deadline) {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}

// fix establishes where the log ends and waits until the workers and the warehouse have come there.
func (v *verifier) fix(ctx context.Context) error {
	for _, stream := range []string{events.StreamEvents, events.StreamDecisions} {
		s, err := v.Log.StreamState(ctx, stream)
		if err != nil {
			return err
		}
		if s.Last > 0 && s.First > 1 {
			return fmt.Errorf("%w: stream %s begins at message %d, its retention or somebody has removed what was before; "+
				"a log can be proven only from its first message on, so keep it for as long as that is wanted (--events-max-age)", ErrTrimmed, stream, s.First)
		}
	}
	v.ends = make([]end, v.Partitions)
	up := v.check("decided")
	for p := range v.Partitions {
		last, err := v.Log.LastInput(ctx, p)
		if err != nil {
			return err
		}
		for {
			if v.ends[p], err = v.lastRecord(ctx, p); err != nil {
				return err
			}
			if last == 0 || v.ends[p].reached.Next() > last || !v.wait(ctx) {
				break
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if last > 0 {
			up.Expected++
			if v.ends[p].reached.Next() > last {
				up.Found++
			} else {
				up.missing(place(p, last, 0), "")
			}
		}
	}
	return nil
}

// lastRecord is the newest commit record of a partition; the zero end when there is none.
func (v *verifier) lastRecord(ctx context.Context, p int) (end, error) {
	payload, seq, err := v.Log.LastCommit(ctx, p)
	if errors.Is(err, events.ErrNotFound) {
		return end{}, nil
	}
	if err != nil {
		return end{}, err
	}
	c, err := events.ParseCommit(payload)
	if err != nil {
		return end{}, fmt.Errorf("commit record %d: %w", seq, err)
	}
	return end{commit: seq, step: c.Step, reached: c.Reached}, nil
}

// awaitWarehouse waits until every last record is stored, which it is after its rows, or the time is over.
func (v *verifier) awaitWarehouse(ctx context.Context) error {
	for {
		have := make(map[int]uint64)
		err := v.Warehouse.Select(ctx, "ask how far the warehouse is", "SELECT toInt64(partition), max(commit_seq) FROM commits GROUP BY partition", func(scan func(...any) error) error {
			var p int64
			var seq uint64
			err := scan(&p, &seq)
			have[int(p)] = seq
			return err
		})
		if err != nil {
			return err
		}
		behind := false
		for p, e := range v.ends {
			behind = behind || have[p] < e.commit
		}
		if !behind || !v.wait(ctx) {
			return ctx.Err()
		}
	}
}
