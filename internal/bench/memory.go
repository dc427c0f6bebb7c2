package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/risk"
)

// Names of what is measured in memory.
const (
	mirrorName  = "gateway, a code in the mirror"
	stateName   = "scan worker, a code"
	watchedName = "scan worker, a visitor within a rule's window"
)

// windowLimits are the sizes of windows that are filled.
var windowLimits = []int{1, 5, 20, 100}

func windowName(limit int) string { return fmt.Sprintf("window of %d, full", limit) }

// memory is (e): what a code takes in a gateway and in a scan worker, what a
// visitor takes while a rule watches it, and what a window itself takes.
func (b *bench) memory() (err error) {
	n := few(b, 2_000, 100_000)
	in, err := b.install(b.ctx, 1, packed, 0)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	if err := in.resync("interval"); err != nil {
		return err
	}
	if err := errors.Join(in.startGateway(b.ctx), in.startWorker(b.ctx)); err != nil {
		return err
	}
	roles := []*process{in.gateway, in.worker}
	names := []string{mirrorName, stateName}
	if err := in.settled(b.ctx, allCodes(1)); err != nil {
		return err
	}
	grown, err := grows(roles, func() error {
		if err := in.define(1, n+1); err != nil {
			return err
		}
		in.codes = n + 1
		return in.settled(b.ctx, allCodes(in.codes))
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := b.report(Row{Section: "e", Name: name, Unit: "bytes", Ours: grown[i] / float64(n)}); err != nil {
			return err
		}
	}
	grown, err = grows(roles[1:], func() error {
		if err := in.fill(packed, n); err != nil {
			return err
		}
		return in.settled(b.ctx, func(t events.Totals) bool { return t.Scans >= int64(n) })
	})
	if err != nil {
		return err
	}
	if err := b.report(Row{Section: "e", Name: watchedName, Unit: "bytes", Ours: grown[0] / float64(n)}); err != nil {
		return err
	}
	for _, limit := range windowLimits {
		var each float64
		if err := b.do(b.ctx, "windows", windowsSpec{Windows: max(n/limit, 1), Limit: limit}, &each); err != nil {
			return err
		}
		if err := b.report(Row{Section: "e", Name: windowName(limit), Unit: "bytes", Ours: each}); err != nil {
			return err
		}
	}
	return nil
}

// grows returns by how many bytes the live heap of each process grows over do.
func grows(list []*process, do func() error) ([]float64, error) {
	before := make([]uint64, len(list))
	for i, p := range list {
		u, err := p.ask(askHeap)
		if err != nil {
			return nil, err
		}
		before[i] = u.Heap
	}
	if err := do(); err != nil {
		return nil, err
	}
	out := make([]float64, len(list))
	for i, p := range list {
		u, err := p.ask(askHeap)
		if err != nil {
			return nil, err
		}
		out[i] = float64(u.Heap) - float64(before[i])
	}
	return out, nil
}

// settled waits until the scan worker's totals are as they should be, and the
// gateway, if it runs, has had its turn to read the same records.
func (in *installation) settled(ctx context.Context, ok func(events.Totals) bool) error {
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: in.nats.addr, Name: "bench"})
	if err != nil {
		return err
	}
	defer conn.Close()
	var broken error
	err = in.worker.until(ctx, "has not decided all", func() bool {
		payload, _, err := conn.LastCommit(ctx, 0)
		if errors.Is(err, events.ErrNotFound) {
			return false
		}
		var c *events.Commit
		if err == nil {
			c, err = events.ParseCommit(payload)
		}
		if err != nil {
			broken = err
			return true
		}
		return ok(c.Totals)
	})
	if err = keep(err, broken); err != nil || in.gateway == nil {
		return err
	}
	want := float64(in.codes)
	return in.gateway.until(ctx, "has not read all", func() bool {
		v, err := in.gateway.metric("huoma_gateway_mirror_codes", "")
		if err != nil {
			broken = err
		}
		return v >= want || broken != nil
	})
}

// windowsSpec says which windows to fill.
type windowsSpec struct{ Windows, Limit int }

// windows is what one full window takes, in bytes, of so many of one code.
func windows(s windowsSpec) (float64, error) {
	rules := risk.DefaultRules()
	rules[0].Limit = s.Limit
	rules[0].Action = risk.ActionFlag
	visitors, ids := make([]string, s.Windows), make([]string, s.Windows*s.Limit)
	for i := range visitors {
		visitors[i] = fmt.Sprintf("%022d", i)
	}
	for i := range ids {
		ids[i] = fmt.Sprintf("01BENCH%019d", i)
	}
	now := time.Unix(1_800_000_000, 0)
	before := liveHeap()
	var w risk.Watch
	for i, v := range visitors {
		for k := range s.Limit {
			w.Count(rules, risk.Subject{Visitor: v}, ids[i*s.Limit+k], now, now)
		}
	}
	after := liveHeap()
	if w.Len() != s.Windows || after <= before {
		return 0, fmt.Errorf("%d windows grew the heap from %d to %d bytes", w.Len(), before, after)
	}
	runtime.KeepAlive(visitors)
	runtime.KeepAlive(ids)
	return float64(after-before) / float64(s.Windows), nil
}
