package main

import (
	"fmt"
	"time"
)

func codesScanName(codes int) string {
	return fmt.Sprintf("durable scan at %s codes, beside 1 000", number(float64(codes)))
}
func codesDecideName(codes int) string {
	return fmt.Sprintf("scan worker at %s codes, beside 1 000", number(float64(codes)))
}

// manyCodesSizes are how many codes are put beside a thousand.
func (o *options) manyCodesSizes() []int {
	if o.quick {
		return []int{2_000}
	}
	return []int{100_000, 1_000_000}
}

// manyCodes is (f): what the number of codes costs. "Bare" is the same
// installation with few.
func (b *bench) manyCodes() (err error) {
	scans := few(b, 5_000, 200_000)
	small, err := b.installDecided(1000)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, small.remove()) }()
	for _, codes := range b.manyCodesSizes() {
		if err := b.moreCodes(small, codes, scans); err != nil {
			return fmt.Errorf("%d codes: %w", codes, err)
		}
	}
	return nil
}

// installDecided is an installation of which the scan worker has read all definitions.
func (b *bench) installDecided(codes int) (*installation, error) {
	in, err := b.install(b.ctx, codes, packed, 0)
	if err != nil {
		return nil, err
	}
	if err := in.startWorker(b.ctx); err != nil {
		return nil, keep(err, in.remove())
	}
	if err := in.settled(b.ctx, allCodes(codes)); err != nil {
		return nil, keep(err, in.remove())
	}
	return in, stopped(&in.worker)
}

func (b *bench) moreCodes(small *installation, codes, scans int) (err error) {
	large, err := b.installDecided(codes)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, large.remove()) }()
	both := []*installation{small, large}
	for _, in := range both {
		if err := in.startGateway(b.ctx); err != nil {
			return err
		}
	}
	var rate, pace compared
	var cpu, paceCPU spent
	rounds := few(b, 1, 3)
	for range rounds {
		var got [2]loadResult
		for i, in := range both {
			side := []string{"bare ", ""}[i]
			spec := loadSpec{Tokens: in.tokens(), Connections: 256, Warm: few(b, 100*time.Millisecond, 500*time.Millisecond), Measure: few(b, 400*time.Millisecond, 2500*time.Millisecond)}
			if got[i], err = b.loaded(in.gateway.addr, spec, side+"client", map[string]*process{side + "gateway": in.gateway, side + "nats": in.nats}, &cpu); err != nil {
				return err
			}
		}
		rate.add(got[1].Rate, got[0].Rate)
	}
	for _, in := range both {
		if err := in.stopGateway(); err != nil {
			return err
		}
		if err := in.catchUp(b.ctx); err != nil {
			return err
		}
	}
	for range rounds {
		var got [2]float64
		for i, in := range both {
			if err := in.fill(packed, scans); err != nil {
				return err
			}
			var cpu spent
			if got[i], err = in.decide(b.ctx, scans, &cpu); err != nil {
				return err
			}
			side := []string{"bare ", ""}[i]
			for who, used := range cpu.cpu {
				paceCPU.add(side+who, used, cpu.units[who])
			}
		}
		pace.add(got[1], got[0])
	}
	if err := b.report(rate.row("f", codesScanName(codes), "requests/s", cpu.each())); err != nil {
		return err
	}
	return b.report(pace.row("f", codesDecideName(codes), "events/s", paceCPU.each()))
}
