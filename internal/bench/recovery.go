package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/huoma/huoma/internal/events"
)

func recoveryName(events int) string {
	return fmt.Sprintf("scan worker recovers, %s events in the log", number(float64(events)))
}

func ownerAgainName(events int) string {
	return fmt.Sprintf("scan worker killed → owner again, %s events in the log", number(float64(events)))
}

func gatewayStartsName(events int) string {
	return fmt.Sprintf("gateway starts, %s events in the log", number(float64(events)))
}

// logLengths are the lengths of the log, in events.
func (o *options) logLengths() []int {
	switch {
	case o.quick:
		return []int{2_000, 5_000}
	case o.long:
		return []int{10_000, 100_000, 1_000_000, 10_000_000}
	}
	return []int{10_000, 100_000, 1_000_000}
}

// starts is (g): how long a killed scan worker takes to recover, and a
// gateway to start, against the length of the log.
func (b *bench) starts() (err error) {
	in, err := b.installLike(b.ctx, expiring, 1000, packed, 0)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	for _, n := range b.logLengths() {
		if err := b.startsAt(in, n); err != nil {
			return fmt.Errorf("%d events: %w", n, err)
		}
	}
	return nil
}

func (b *bench) startsAt(in *installation, n int) error {
	if err := in.resync("interval"); err != nil {
		return err
	}
	if err := in.startWorker(b.ctx); err != nil {
		return err
	}
	// In pieces, so that the worker decides while more is written.
	for in.filled < n {
		if err := in.fill(packed, min(n-in.filled, 200_000)); err != nil {
			return err
		}
		if err := in.settled(b.ctx, func(t events.Totals) bool { return t.Scans >= int64(in.filled) }); err != nil {
			return err
		}
	}
	// The first time the broker starts anew too, to write every timer through;
	// the second it knows of the owner that is gone, and waits for it.
	in.worker.kill()
	if err := in.resync("always"); err != nil {
		return err
	}
	if err := in.takesOver(b.ctx); err != nil {
		return err
	}
	took, err := in.worker.recoveryTook()
	if err != nil {
		return err
	}
	in.worker.kill()
	killed := time.Now()
	if err := in.takesOver(b.ctx); err != nil {
		return err
	}
	again := time.Since(killed)
	if err := stopped(&in.worker); err != nil {
		return err
	}
	begun := time.Now()
	if err := in.startGateway(b.ctx); err != nil {
		return err
	}
	ready := time.Since(begun)
	if err := in.stopGateway(); err != nil {
		return err
	}
	for _, r := range []Row{
		{Name: recoveryName(n), Ours: took.Seconds()},
		{Name: ownerAgainName(n), Ours: again.Seconds()},
		{Name: gatewayStartsName(n), Ours: ready.Seconds()},
	} {
		r.Section, r.Unit = "g", "s"
		if err := b.report(r); err != nil {
			return err
		}
	}
	return nil
}

// takesOver starts a scan worker and waits until it owns the partition and has
// recovered it.
func (in *installation) takesOver(ctx context.Context) error {
	if err := in.startWorker(ctx); err != nil {
		return err
	}
	var broken error
	return keep(in.worker.until(ctx, "does not own the partition", func() bool {
		v, err := in.worker.metric("huoma_partition_owned", "")
		broken = err
		return v == 1 || err != nil
	}), broken)
}

// catchUp lets a scan worker decide all there is.
func (in *installation) catchUp(ctx context.Context) error {
	if err := in.startWorker(ctx); err != nil {
		return err
	}
	scans, err := in.scansInLog(ctx)
	if err != nil {
		return err
	}
	if err := in.settled(ctx, func(t events.Totals) bool { return t.Scans >= int64(scans) }); err != nil {
		return err
	}
	return stopped(&in.worker)
}

// allCodes: every code of an installation has been decided. One more is the
// mint that they are made after.
func allCodes(n int) func(events.Totals) bool {
	return func(t events.Totals) bool { return t.Codes >= int64(n)+1 }
}

var tookOver = regexp.MustCompile(`msg="partition taken over".* took=(\S+)`)

// recoveryTook is what the scan worker says its recovery took: from the
// broker's word that it is the owner to the first input.
func (p *process) recoveryTook() (time.Duration, error) {
	m := tookOver.FindStringSubmatch(p.log.String())
	if m == nil {
		return 0, p.failed(errors.New("does not say how long its recovery took"))
	}
	return time.ParseDuration(m[1])
}
