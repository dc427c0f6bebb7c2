package main

import (
	"context"
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Names of what is put into the log, and of how it is decided.
const (
	publishName = "publish to huoma.in.scan.<code>"
	postName    = "POST /v1/events, batches of 1 000"
)

func decideName(form string) string { return "scan worker, " + form }

// streams is (b): bare publish against ingestion, bare fetch against deciding.
func (b *bench) streams() error {
	if err := b.ingestion(); err != nil {
		return fmt.Errorf("ingestion: %w", err)
	}
	for _, form := range forms {
		if err := b.deciding(form); err != nil {
			return fmt.Errorf("deciding %s: %w", form, err)
		}
	}
	return nil
}

func (b *bench) ingestion() (err error) {
	const codes = 1000
	in, err := b.install(b.ctx, codes, single, 0)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	s, err := in.bus.js.Stream(b.ctx, events.StreamEvents)
	if err != nil {
		return err
	}
	plain := s.CachedInfo().Config
	plain.Name, plain.Subjects, plain.SubjectTransform, plain.Metadata = "BARE", []string{"bare.>"}, nil, nil
	plain.AllowMsgSchedules = false
	if _, err := in.bus.js.CreateStream(b.ctx, plain); err != nil {
		return err
	}
	if err := in.startGateway(b.ctx); err != nil {
		return err
	}
	servers := map[string]*process{"nats": in.nats}
	var published, posted compared
	var cpu, postCPU spent
	n := few(b, 300, 10_000)
	for range few(b, 1, 3) {
		spec := publishSpec{URL: in.nats.addr, Codes: codes, First: in.filled, Events: n, Bare: "bare"}
		bare, err := b.published(spec, "bare ", servers, &cpu)
		if err != nil {
			return err
		}
		spec.Bare = ""
		ours, err := b.published(spec, "", servers, &cpu)
		if err != nil {
			return err
		}
		in.filled += n
		published.add(ours.rate(), bare.rate())
		var r taskResult
		batches := postSpec{Addr: in.gateway.addr, Codes: codes, First: in.filled, Events: 10 * n, Batch: 1000, Connections: 4}
		in.filled += batches.Events
		both := map[string]*process{"nats": in.nats, "gateway": in.gateway}
		profiles := b.profiling(true, "post", both)
		meter, err := measure(both)
		if err != nil {
			return err
		}
		err = b.do(b.ctx, "post", batches, &r)
		if err = keep(err, profiles()); err != nil {
			return err
		}
		postCPU.add("client", r.CPU, float64(r.N))
		if err := meter(&postCPU, float64(r.N)); err != nil {
			return err
		}
		posted.add(r.rate(), bare.rate())
	}
	if err := b.report(published.row("b", publishName, "events/s", cpu.each())); err != nil {
		return err
	}
	return b.report(posted.row("b", postName, "events/s", postCPU.each()))
}

// published runs a producer. What the broker spends counts for its side.
func (b *bench) published(s publishSpec, side string, servers map[string]*process, cpu *spent) (r taskResult, err error) {
	named := map[string]*process{}
	for name, p := range servers {
		named[side+name] = p
	}
	meter, err := measure(named)
	if err != nil {
		return r, err
	}
	if err := b.do(b.ctx, "publish", s, &r); err != nil {
		return r, err
	}
	cpu.add(side+"client", r.CPU, float64(r.N))
	return r, meter(cpu, float64(r.N))
}

// deciding compares the scan worker with a consumer that only fetches.
func (b *bench) deciding(form string) (err error) {
	scans := few(b, 10_000, 300_000)
	in, err := b.install(b.ctx, 1000, form, scans)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	s, err := in.bus.js.Stream(b.ctx, events.StreamEvents)
	if err != nil {
		return err
	}
	messages := int(s.CachedInfo().State.Msgs)
	var rate compared
	var cpu spent
	for range few(b, 1, 3) {
		var bare fetchResult
		meter, err := measure(map[string]*process{"bare nats": in.nats})
		if err != nil {
			return err
		}
		if err := b.do(b.ctx, "fetch", fetchSpec{URL: in.nats.addr, Messages: messages}, &bare); err != nil {
			return err
		}
		if bare.Bytes < scans*100 {
			return fmt.Errorf("%d messages were fetched with %d bytes", bare.N, bare.Bytes)
		}
		cpu.add("bare client", bare.CPU, float64(scans))
		if err := meter(&cpu, float64(scans)); err != nil {
			return err
		}
		if err := in.undecide(b.ctx); err != nil {
			return err
		}
		ours, err := in.decide(b.ctx, scans, &cpu)
		if err != nil {
			return err
		}
		rate.add(ours, float64(scans)/bare.Took)
	}
	return b.report(rate.row("b", decideName(form), "events/s", cpu.each()))
}

// decide starts a scan worker on a log with so many scans and returns how many
// it decided a second, from its first commit to its last.
func (in *installation) decide(ctx context.Context, scans int, cpu *spent) (rate float64, err error) {
	if err := in.startWorker(ctx); err != nil {
		return 0, err
	}
	defer func() { err = keep(err, stopped(&in.worker)) }()
	servers := map[string]*process{"scan worker": in.worker, "nats": in.nats}
	profiles := in.b.profiling(true, "decide", servers)
	rate, err = in.worker.paced(ctx, "huoma_decided_scans_total", "", scans, servers, cpu)
	return rate, keep(err, profiles())
}

// paced waits until a counter of p has come to n, and returns its pace from
// when it was first seen to move. What the servers spent from then on goes to cpu.
func (p *process) paced(ctx context.Context, counter, label string, n int, servers map[string]*process, cpu *spent) (float64, error) {
	var last float64
	var broken error
	count := func() float64 {
		v, err := p.metric(counter, label)
		if err != nil {
			broken = err
		}
		return v
	}
	begun := time.Now()
	if err := p.until(ctx, "has done nothing", func() bool { last = count(); return last > 0 || broken != nil }); err != nil {
		return 0, err
	}
	from := last
	if from == float64(n) {
		from = 0 // too few to see it begin
	} else {
		begun = time.Now()
	}
	meter, err := measure(servers)
	if err != nil {
		return 0, err
	}
	if err := p.until(ctx, fmt.Sprintf("has not done all %d", n), func() bool { last = count(); return last >= float64(n) || broken != nil }); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	switch {
	case broken != nil:
		return 0, p.failed(broken)
	case last > float64(n):
		return 0, p.failed(fmt.Errorf("has done %.0f of %d", last, n))
	}
	if err := meter(cpu, float64(n)-from); err != nil {
		return 0, err
	}
	return (float64(n) - from) / took.Seconds(), nil
}
