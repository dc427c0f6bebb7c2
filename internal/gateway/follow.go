package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// feeds are what keeps the mirror and the alerts current. Each runs until its
// context ends and begins anew after a failure.
func (g *Gateway) feeds() []func(context.Context) {
	list := []func(context.Context){g.followDefinitions, g.followAlerts}
	for p := range g.opts.Partitions {
		list = append(list, func(ctx context.Context) { g.followCommits(ctx, p) })
	}
	return list
}

// caughtUp reports whether every feed has once reached what was stored when
// this gateway started.
func (g *Gateway) caughtUp() bool { return g.behind.Load() == 0 }

// once returns a function that counts a feed as caught up, the first time it is called.
func (g *Gateway) once() func() {
	said := false
	return func() {
		if said {
			return
		}
		said = true
		if g.behind.Add(-1) == 0 {
			g.findUnheard()
			g.findLost()
			g.log.Info("caught up with the log", "codes", g.mirror.size.Load())
		}
	}
}

// findUnheard puts every definition newer than what its scan worker has said
// into the outbox.
func (g *Gateway) findUnheard() {
	now := g.now()
	g.mirror.each(func(id token.CodeID, def *code.Definition, _ *packed, heard uint64) {
		if heard < def.Revision {
			g.outbox.add(def.ID, def.Revision, now)
		}
	})
}

// findLost has definitions made again that the bucket has lost: NATS starts
// without what it cannot read of its files, and tells nobody. One that somebody
// removed has left a mark there, and is none of them.
func (g *Gateway) findLost() {
	for _, id := range g.mirror.lost() {
		g.damaged.add(id.String(), 0) // perhaps: it may be on its way
	}
}

// again calls work until ctx ends, with a pause that grows to 5 s after failures.
func (g *Gateway) again(ctx context.Context, what string, work func(context.Context) error) {
	pause := 100 * time.Millisecond
	for {
		begun := time.Now()
		err := work(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > time.Minute {
			pause = 100 * time.Millisecond
		}
		g.log.Warn("lost "+what+", will retry", "in", pause, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func (g *Gateway) followDefinitions(ctx context.Context) {
	caughtUp := g.once()
	g.again(ctx, "the definitions", func(ctx context.Context) error {
		return g.opts.Backend.WatchDefinitions(ctx, func(id string, value []byte, rev uint64) error {
			if c, err := token.ParseCodeID(id); err == nil {
				g.mirror.keep(c)
			}
			if value == nil { // it was removed
				g.damaged.remove(id)
				return nil
			}
			s, err := parseStored(id, value)
			if err == nil {
				g.damaged.remove(id)
				err = g.take(s)
			}
			if err != nil { // one that cannot be read must not hide the others
				g.unreadable(id, rev, err)
			}
			return nil
		}, caughtUp)
	})
}

func (g *Gateway) followAlerts(ctx context.Context) {
	caughtUp := g.once()
	g.again(ctx, "the alerts", func(ctx context.Context) error {
		caughtUp() // alerts are for people: nobody waits for them
		return g.opts.Backend.Alerts(ctx, g.opts.Limits.Alerts, func(e *events.Event) error {
			g.alerts.add(e)
			return nil
		})
	})
}

// errGap says that commit records are missing between two that came.
var errGap = errors.New("commit records are missing: starting again from the snapshot")

// followCommits mirrors one partition: its snapshot, then every commit record
// after it.
func (g *Gateway) followCommits(ctx context.Context, partition int) {
	caughtUp := g.once()
	var step, after, gap uint64 // reached; the step behind a gap that a new start did not close
	fresh := true               // nothing is known yet, or a gap was found
	g.again(ctx, fmt.Sprintf("the commits of partition %d", partition), func(ctx context.Context) error {
		last, err := g.lastCommit(ctx, partition)
		if err != nil {
			return err
		}
		if fresh {
			if step, after, err = g.loadSnapshot(ctx, partition); err != nil {
				return err
			}
			fresh = false
		}
		if after >= last {
			caughtUp()
		}
		begun := false
		return g.opts.Backend.Commits(ctx, partition, after, func(payload []byte, seq uint64) error {
			c, err := events.ParseCommit(payload)
			if err != nil {
				return err
			}
			if c.Step <= step {
				after = seq
				return nil
			}
			if c.Step != step+1 && begun && gap != c.Step {
				fresh, gap = true, c.Step
				return errGap
			}
			begun = true
			g.applyCommit(c)
			step, after = c.Step, seq
			if after >= last {
				caughtUp()
			}
			return nil
		})
	})
}

func (g *Gateway) lastCommit(ctx context.Context, partition int) (uint64, error) {
	_, seq, err := g.opts.Backend.LastCommit(ctx, partition)
	if err != nil && !errors.Is(err, events.ErrNotFound) {
		return 0, err
	}
	return seq, nil
}

func (g *Gateway) loadSnapshot(ctx context.Context, partition int) (step, seq uint64, err error) {
	b, err := g.opts.Backend.LoadSnapshot(ctx, partition)
	if errors.Is(err, events.ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil && !errors.Is(err, events.ErrDamaged) {
		return 0, 0, err
	}
	var s *events.Snapshot
	if err == nil {
		now := g.now()
		s, err = events.ReadSnapshotEach(bytes.NewReader(b), func(saved code.Saved) {
			id, err := token.ParseCodeID(saved.Def.ID)
			if err != nil || events.Partition(saved.Def.ID, g.opts.Partitions) != partition {
				g.log.Error("code of a snapshot passed over", "code", saved.Def.ID, "partition", partition, "err", err)
				return
			}
			g.mirror.restore(id, saved, now, g.held[partition].Load() == forEver)
		})
	}
	if err == nil && s.Partition != partition {
		err = fmt.Errorf("it is of partition %d", s.Partition)
	}
	if err != nil { // the commit records say the same, if all of them are there
		g.log.Error("a snapshot is not usable: every commit record is read instead; the scan worker will write another", "partition", partition, "err", err)
		return 0, 0, nil
	}
	return s.Step, s.CommitSeq, nil
}

// applyCommit takes over what a step decided.
func (g *Gateway) applyCommit(c *events.Commit) {
	now := g.now()
	if c.Partition >= 0 && c.Partition < len(g.commits) {
		defer func() {
			g.commits[c.Partition].decided.Store(c.Time.UnixMilli())
			g.letGoOf(c.Partition)
		}()
	}
	decided := make(map[string]int) // of the scans let in here
	for i := range c.Items {
		e := c.Items[i].Event
		d, ok := e.Data.(*events.Scan)
		if !ok || e.Historical {
			continue
		}
		if e.Source == g.source && d.Answered == string(code.Accepted) {
			decided[e.Subject]++
		}
		if c.Items[i].Verdict == code.Accepted {
			if id, err := token.ParseCodeID(e.Subject); err == nil {
				g.mirror.accepted(id, d.Visitor, cmp.Or(d.Tracking, strconv.Itoa(d.Variant)), c.Items[i].Counted())
			}
		}
	}
	for i := range c.Codes {
		id, err := token.ParseCodeID(c.Codes[i].ID)
		if err != nil {
			continue // codes have no other ids, but producers' subjects may
		}
		g.mirror.view(id, c.Codes[i], decided[c.Codes[i].ID])
		g.outbox.heard(c.Codes[i].ID, c.Codes[i].Revision)
	}
	for _, e := range c.Decisions {
		d, ok := e.Data.(*events.Decision)
		if !ok {
			continue
		}
		id, err := token.ParseCodeID(d.Code)
		if err != nil {
			continue
		}
		switch code.Kind(d.Kind) {
		case code.KindLock:
			if d.Until != nil {
				g.mirror.lock(id, d.Rule, d.Key, *d.Until, now)
			}
		case code.KindUnlock:
			g.mirror.unlock(id, d.Rule, d.Key)
		}
	}
}
