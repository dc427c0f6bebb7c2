package main

import (
	"context"
	"fmt"
	"time"
)

// Whether the workers run beside the gateway.
const (
	workersOff = "workers off"
	workersOn  = "workers on"
)

// companies are what may run beside a gateway.
var companies = []string{workersOff, workersOn}

// crowds are how many connections ask at once.
var crowds = []int{256, 64, 1}

func scanName(connections int, workers string) string {
	return fmt.Sprintf("durable scan, %d connections, %s", connections, workers)
}

// scans is (a): a bare redirect against a durable scan.
func (b *bench) scans() error {
	for _, workers := range companies {
		if err := b.scansWith(workers); err != nil {
			return fmt.Errorf("%s: %w", workers, err)
		}
	}
	return nil
}

func (b *bench) scansWith(workers string) (err error) {
	in, err := b.install(b.ctx, few(b, 200, 5000), packed, 0)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	bare, err := b.start("bare-http")
	if err != nil {
		return err
	}
	defer func() { err = keep(err, bare.stop()) }()
	if err := bare.saysReady(); err != nil {
		return err
	}
	servers := map[string]*process{}
	if workers == workersOn {
		if err := in.startWorkers(b.ctx); err != nil {
			return err
		}
		servers["scan worker"], servers["analytics worker"], servers["clickhouse"] = in.worker, in.analytics, in.clickhouse
	}
	if err := in.startGateway(b.ctx); err != nil {
		return err
	}
	servers["gateway"], servers["nats"] = in.gateway, in.nats
	answered := 0
	for _, connections := range crowds {
		var rate, p50, p99 compared
		var cpu spent
		for range few(b, 1, 5) {
			spec := loadSpec{Tokens: in.tokens(), Connections: connections, Warm: few(b, 100*time.Millisecond, 500*time.Millisecond), Measure: few(b, 400*time.Millisecond, 2500*time.Millisecond)}
			base, err := b.loaded(bare.addr, spec, "bare client", map[string]*process{"bare server": bare}, &cpu)
			if err != nil {
				return fmt.Errorf("bare: %w", err)
			}
			profiles := b.profiling(connections == 256, "scan, "+workers, servers)
			ours, err := b.loaded(in.gateway.addr, spec, "client", servers, &cpu)
			if err = keep(err, profiles()); err != nil {
				return err
			}
			answered += ours.Requests
			rate.add(ours.Rate, base.Rate)
			p50.add(ours.P50, base.P50)
			p99.add(ours.P99, base.P99)
		}
		name := scanName(connections, workers)
		for _, r := range []Row{
			rate.row("a", name, "requests/s", cpu.each()), p50.row("a", name+", p50", "ms", nil), p99.row("a", name+", p99", "ms", nil),
		} {
			if err := b.report(r); err != nil {
				return err
			}
		}
	}
	stored, err := in.scansInLog(b.ctx)
	if err != nil {
		return err
	}
	if stored != answered {
		return fmt.Errorf("%d scans were answered and the log holds %d", answered, stored)
	}
	return nil
}

// startWorkers starts both workers and the warehouse.
func (in *installation) startWorkers(ctx context.Context) error {
	if err := in.startWorker(ctx); err != nil {
		return err
	}
	if err := in.startClickHouse(); err != nil {
		return err
	}
	if err := in.migrate(ctx, "huoma"); err != nil {
		return err
	}
	return in.startAnalytics(ctx, "huoma")
}

// loaded runs the load client, and adds what it and the servers spent.
func (b *bench) loaded(addr string, s loadSpec, client string, servers map[string]*process, cpu *spent) (r loadResult, err error) {
	b.seed += 1 << 20
	s.Addr, s.Seed = addr, b.seed
	meter, err := measure(servers)
	if err != nil {
		return r, err
	}
	if err := b.do(b.ctx, "load", s, &r); err != nil {
		return r, err
	}
	cpu.add(client, r.CPU, float64(r.Requests))
	return r, meter(cpu, float64(r.Requests))
}

// measure notes what processes have spent, and returns what adds the rest.
func measure(servers map[string]*process) (func(cpu *spent, units float64) error, error) {
	before := map[string]float64{}
	for name, p := range servers {
		u, err := p.ask(askUsage)
		if err != nil {
			return nil, err
		}
		before[name] = u.CPU
	}
	return func(cpu *spent, units float64) error {
		for name, p := range servers {
			u, err := p.ask(askUsage)
			if err != nil {
				return err
			}
			cpu.add(name, u.CPU-before[name], units)
		}
		return nil
	}, nil
}

// keep is the first error: what follows from it says little.
func keep(err, later error) error {
	if err != nil {
		return err
	}
	return later
}
