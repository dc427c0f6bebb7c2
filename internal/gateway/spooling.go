package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Spool keeps records on this machine while the log does not take them.
// *spool.Spool is one.
type Spool interface {
	// Append returns when all of records are on disk, behind what is there
	// already. After events.ErrNoRoom none of them is, nor ever will be.
	Append(records []events.Record) error
	// Next returns the oldest records, Done removes so many of them.
	Next(most, bytes int) ([]events.Record, error)
	Done(n int) error
	// Trim tidies up when all are done with.
	Trim() error
	Stats() events.Spool
}

const (
	// A replay publishes at most so many records at once. It begins with few.
	replayMost  = 256
	replayFirst = 16
	replayBytes = 4 << 20

	// leastPace and mostPace bound the time between two writes into the spool
	// while the log is away. It lets many scans share a record, so that the replay is quicker than what comes meanwhile.
	leastPace = 5 * time.Millisecond
	mostPace  = 250 * time.Millisecond

	// heldUp is how long a call may outlast its context before it is left alone.
	heldUp = 100 * time.Millisecond
)

// spooling makes records durable although the log may be away. While all is
// well they are stored directly. When that fails, takes too long, or there is
// no connection, the same records, with the same numbers, go into the spool,
// and so does everything after them, until the replay has published all of it
// in order. So no record ever overtakes another of its producer and partition:
// a worker would take the late one for a repeat.
//
// What is unknown stays harmless: a record that was stored and is replayed has
// the number it had, and the worker drops it. One that was sent and lies in
// some buffer may be stored after its replay, and is dropped too.
type spooling struct {
	records   Records
	spool     Spool
	connected func() bool
	limits    Limits
	most      int // bytes of a message the log takes
	log       *slog.Logger
	crash     crash

	behind   bool          // the flusher's: what comes goes into the spool
	wake     chan struct{} // capacity 1: there is something to replay
	perEach  atomic.Int64  // nanoseconds a record took to replay, of late
	replayed func(events int)
	sent     func(partitions map[int]time.Time) // published, begun at
	began    func()                             // records begin to go into the spool
	resumed  func()                             // and have all been published
}

// put stores records or spools them.
func (s *spooling) put(records []events.Record) (spooled bool, err error) {
	for _, r := range records {
		if size := len(r.Payload) + recordHeaders; s.most > 0 && size > s.most {
			return false, fmt.Errorf("a record of %d bytes: %w: the log takes %d", size, events.ErrTooLarge, s.most)
		}
	}
	begun := time.Now().UTC().Truncate(time.Millisecond)
	if s.behind && s.spool.Stats().Records == 0 {
		s.behind = false
		s.resumed()
		if err := s.spool.Trim(); err != nil {
			s.log.Warn("the spool is empty, but its last segment could not be removed", "err", err)
		}
		s.log.Info("everything spooled is stored: storing directly again")
	}
	sent := false
	var why error
	if !s.behind && s.connected() {
		if err := s.crash.at(BeforeStore); err != nil {
			return false, err
		}
		if why = s.attempt(context.Background(), s.limits.Direct, records); why == nil {
			return false, s.crash.at(AfterStore)
		}
		if errors.Is(why, events.ErrTooLarge) {
			return false, why
		}
		sent = true
	}
	records = slices.Clone(records) // an attempt that is held up still reads the others
	for i := range records {
		records[i].Spooled = begun
	}
	if err := s.crash.at(BeforeSpool); err != nil {
		return false, err
	}
	if err := s.spool.Append(records); err != nil {
		if !sent && errors.Is(err, events.ErrNoRoom) {
			return false, fmt.Errorf("%w: %w", errFull, err)
		}
		return false, errors.Join(why, err)
	}
	if err := s.crash.at(AfterSpool); err != nil {
		return false, err
	}
	if !s.behind {
		s.behind = true
		s.began()
		if why == nil {
			why = errAway
		}
		s.log.Warn("the log does not take events: they go into the spool until it does", "cause", why)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true, nil
}

// recordHeaders is more than the headers of a record take.
const recordHeaders = 512

// errHeldUp is an attempt that did not end when it was told to: it may still
// store its records.
var errHeldUp = errors.New("storing does not come back")

// attempt is AppendRecords within limit. It returns soon after limit even if a
// write to a server that hangs holds the call up; then what was sent may be stored later.
func (s *spooling) attempt(ctx context.Context, limit time.Duration, records []events.Record) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- s.records.AppendRecords(ctx, records)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(heldUp):
		return errHeldUp
	}
}

// pace is how long to wait after a write into the spool of so many records.
func (s *spooling) pace(records int) time.Duration {
	return min(max(leastPace, 2*time.Duration(records)*time.Duration(s.perEach.Load())), mostPace)
}

// replay publishes what is in the spool, oldest first, until ctx ends.
func (s *spooling) replay(ctx context.Context) {
	most := replayFirst
	failures := 0
	for ctx.Err() == nil {
		list, err := s.spool.Next(most, replayBytes)
		if err == nil && len(list) == 0 {
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err == nil {
			if !s.connected() {
				err = errAway
			} else {
				err = s.publish(ctx, list)
			}
		}
		if err == nil {
			most, failures = min(2*most, replayMost), 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		most = max(most/4, 1)
		pause := min(50*time.Millisecond<<min(failures, 5), time.Second)
		if !errors.Is(err, errAway) {
			failures++
			if failures&(failures-1) == 0 { // 1st, 2nd, 4th, …: an outage may be long
				s.log.Warn("what is spooled could not be stored, will retry", "failures", failures, "err", err)
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (s *spooling) publish(ctx context.Context, list []events.Record) error {
	begun := time.Now()
	if err := s.crash.at(BeforeReplay); err != nil {
		return err
	}
	if err := s.attempt(ctx, s.limits.Store, list); err != nil {
		return err
	}
	if err := s.crash.at(AfterReplay); err != nil {
		return err
	}
	each := time.Since(begun).Nanoseconds() / int64(len(list))
	s.perEach.Store((3*s.perEach.Load() + each) / 4)
	n := 0
	partitions := make(map[int]time.Time)
	for _, r := range list {
		n += r.Events
		partitions[r.Partition] = begun
	}
	s.sent(partitions)
	if err := s.spool.Done(len(list)); err != nil {
		return err
	}
	s.replayed(n)
	return s.crash.at(AfterDone)
}

// finish waits until the flusher has ended and then, while the log takes what
// is spooled, for the rest of it; at most Limits.Replay.
func (s *spooling) finish(flushed <-chan struct{}) {
	<-flushed
	deadline := time.Now().Add(s.limits.Replay)
	last, since := s.spool.Stats().Records, time.Now()
	for last > 0 && s.connected() && time.Now().Before(deadline) && time.Since(since) < s.limits.Direct {
		<-time.After(10 * time.Millisecond)
		if n := s.spool.Stats().Records; n < last {
			last, since = n, time.Now()
		}
	}
	if left := s.spool.Stats(); left.Records > 0 {
		s.log.Warn("the spool is kept for the next start", "events", left.Events, "bytes", left.Bytes)
	} else if err := s.spool.Trim(); err != nil {
		s.log.Warn("the spool is empty, but its last segment could not be removed", "err", err)
	}
}

// commitTimes tells when a partition's scan worker has decided what was spooled.
type commitTimes struct {
	replayed atomic.Int64 // when publishing the newest of it began, Unix ms; 0: nothing was
	decided  atomic.Int64 // broker time of the newest commit record seen, Unix ms
}

// useSpool has the flusher spool what the log does not take.
func (g *Gateway) useSpool(s Spool) error {
	g.held, g.commits = make([]atomic.Int64, g.opts.Partitions), make([]commitTimes, g.opts.Partitions)
	if s == nil {
		return nil
	}
	st := s.Stats()
	if st.Partition >= g.opts.Partitions {
		return fmt.Errorf("gateway: the spool has events of partition %d, and this installation has %d partitions: it is another installation's spool, give this gateway its own with --spool-dir", st.Partition, g.opts.Partitions)
	}
	g.flusher.spool = &spooling{
		records: g.opts.Backend, spool: s, connected: g.opts.Backend.Connected, limits: g.opts.Limits, most: g.opts.Backend.MaxPayload(), log: g.opts.Log,
		crash: g.opts.Crash, behind: st.Records > 0, wake: make(chan struct{}, 1),
		replayed: func(n int) { g.metrics.replayed.Add(float64(n)) },
		sent: func(partitions map[int]time.Time) {
			for p, begun := range partitions {
				g.commits[p].replayed.Store(begun.UnixMilli())
			}
		},
		began: g.hold, resumed: g.letGo,
	}
	if st.Records > 0 {
		g.hold()
		g.log.Info("events of an earlier run are in the spool and are stored first", "events", st.Events, "bytes", st.Bytes, "oldest", st.Oldest)
	}
	return nil
}

// spooled says what is in the spool, if there is one.
func (g *Gateway) spooled() events.Spool {
	if g.opts.Spool == nil {
		return events.Spool{}
	}
	return g.opts.Spool.Stats()
}

// held's values: the mirror waits for scans on their way since a time (Unix
// seconds), or for as long as it takes.
const forEver = math.MaxInt64

// hold lets scans on their way count for as long as they are in the spool.
func (g *Gateway) hold() {
	for p := range g.held {
		g.held[p].Store(forEver)
	}
}

// letGo ends hold for the partitions whose worker has decided all that was spooled.
func (g *Gateway) letGo() {
	for p := range g.held {
		g.letGoOf(p)
	}
}

func (g *Gateway) letGoOf(p int) {
	if g.held[p].Load() == forEver && g.spooled().Records == 0 && g.commits[p].decided.Load() >= g.commits[p].replayed.Load() {
		g.held[p].Store(g.now().Unix())
	}
}
