package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/chaos/plan"
	"github.com/huoma/huoma/internal/chaos/procs"
	"github.com/huoma/huoma/internal/chaos/traffic"
	"github.com/huoma/huoma/internal/chaos/wire"
)

// Options say what a run is. Seed, Events, Faults and Duration are required.
type Options struct {
	Seed     uint64
	Events   int
	Faults   int
	Duration time.Duration
	Shape    string      // "": the seed chooses
	Only     []plan.Kind // nil: all
	Short    bool        // programs as they are built anyway, no fault is long
	Dir      string
	Keep     bool
	Lie      bool // lose an acknowledged message on purpose
	Log      *slog.Logger
	Plan     io.Writer // where the plan is printed, before anything is done
}

// short makes it the short form: without the kinds of faults that need programs
// built for them.
func (o *Options) short() {
	o.Short, o.Events, o.Faults, o.Duration = true, 40_000, 8, 30*time.Second
	o.Only = nil
	for _, k := range plan.Kinds {
		if k != plan.EngineFull && needsOverlay(k) == "" {
			o.Only = append(o.Only, k)
		}
	}
}

// again is the command that does the same.
func (o *Options) again() string {
	words := []string{"go run ./internal/chaos --seed", fmt.Sprint(o.Seed)}
	if o.Short {
		words = append(words, "--short")
	}
	words = append(words, "--events", fmt.Sprint(o.Events), "--count", fmt.Sprint(o.Faults), "--duration", o.Duration.String())
	if o.Shape != "" {
		words = append(words, "--shape", o.Shape)
	}
	if o.Only != nil {
		var names []string
		for _, k := range o.Only {
			names = append(names, string(k))
		}
		words = append(words, "--faults", strings.Join(names, ","))
	}
	return strings.Join(words, " ")
}

// most is the time after which a run's traffic is given up.
func (o *Options) most() time.Duration { return o.Duration*3/2 + 2*time.Minute }

// Run does all of it: it draws the plan, builds and installs, sends traffic
// and injects faults beside each other, heals, waits until everything is
// decided and stored, checks and reports. The error is for a run that could
// not be made; what a run found is in the Report.
//
//	plan ─► build ─► install ─► ┬─ traffic ──────────────┬─► heal ─► drain ─► check ─► report
//	                            ├─ faults of the servers ─┤
//	                            └─ faults of the roles ───┘
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if o.Dir == "" {
		o.Dir = filepath.Join("data", "chaos", fmt.Sprintf("seed-%d", o.Seed))
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	paged := !o.Short
	p := plan.New(plan.Options{
		Seed: o.Seed, Events: o.Events, Faults: o.Faults, Shape: plan.Shape(o.Shape), Only: o.Only, Short: o.mostFault(), Can: func(k plan.Kind) string { return needs(k, paged) },
	})
	if len(p.Faults) == 0 {
		return nil, fmt.Errorf("nothing is to be injected: the shape %s knows none of these faults", p.Shape)
	}
	if o.Plan != nil {
		fmt.Fprintf(o.Plan, "%s\n", p)
	}
	report = &Report{Plan: p, Begun: time.Now(), Dir: o.Dir, Again: o.again()}
	if err := emptied(o.Dir); err != nil {
		return nil, err
	}
	built, err := build(ctx, o.Dir, p, paged)
	if err != nil {
		return nil, err
	}
	in, err := procs.New(procs.Options{
		Dir: o.Dir, Bin: built.bin, OldBin: built.old, Library: built.library, Shape: p.Shape, Partitions: p.Partitions, Paged: paged, Disks: disks(p), Spool: knowsSpool(ctx, built.bin),
	})
	defer func() {
		err = errors.Join(err, in.Close())
		if !o.Keep {
			err = errors.Join(err, os.RemoveAll(filepath.Join(o.Dir, "data")), os.RemoveAll(filepath.Join(o.Dir, "bin")), os.RemoveAll(filepath.Join(o.Dir, "bin-old")))
		}
	}()
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := in.Start(starting); err != nil {
		return nil, err
	}
	o.Log.Info("everything is ready", "shape", p.Shape, "dir", o.Dir)

	t, err := traffic.New(traffic.Options{Seed: o.Seed, Events: o.Events, Duration: o.Duration, Gateways: in.Gateways, NATS: in.ProducerNATS, APIKey: in.APIKey, Log: o.Log})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if err := t.Mint(starting, 30); err != nil {
		return nil, err
	}
	first := t.Ledger.Codes()[0]
	pr, err := newProbe(in, first.ID, func(ctx context.Context, gateway string) error { return t.ScanOnce(ctx, gateway, first) })
	if err != nil {
		return nil, err
	}
	defer pr.close()
	j := &injector{in: in, ledger: t.Ledger, probe: pr, newBin: built.bin, begun: time.Now(), log: o.Log}
	if err := j.traffic(ctx, o, p, t); err != nil {
		report.Failures = append(report.Failures, err.Error())
	}

	o.Log.Info("heal and drain", "acknowledged", t.Ledger.Acked())
	if err := j.drain(ctx); err != nil {
		report.Failures = append(report.Failures, "after healing: "+err.Error())
	}
	k := &checker{in: in, ledger: t.Ledger, probe: pr, bin: built.bin, plan: p}
	report.Faults, report.Counts, report.Checks = j.done, t.Ledger.Counts(), k.all(ctx)
	if err := in.Stop(); err != nil {
		report.Failures = append(report.Failures, "stopping: "+err.Error())
	}
	report.judge()
	report.Took = time.Since(report.Begun)
	return report, report.keep()
}

func (o *Options) mostFault() time.Duration {
	if o.Short {
		return 3 * time.Second
	}
	return 0
}

// traffic sends the traffic and injects the faults beside it. It returns when
// both are over.
func (j *injector) traffic(ctx context.Context, o Options, p plan.Plan, t *traffic.Traffic) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.most(), fmt.Errorf("it was given up after %s", o.most()))
	defer cancel()
	progress := make(chan struct{})
	go j.tell(progress)
	defer close(progress)
	injected := make(chan struct{})
	var lanes sync.WaitGroup
	for lane := range plan.Lanes {
		lanes.Go(func() { j.lane(ctx, p.ByLane(lane)) })
	}
	if o.Lie {
		lanes.Go(func() { j.lie(ctx, o.Events/2) })
	}
	go func() { lanes.Wait(); close(injected) }()
	err := t.Run(ctx, injected)
	<-injected
	return err
}

// tell logs how far the traffic is, every ten seconds.
func (j *injector) tell(done <-chan struct{}) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			j.log.Info("traffic", "acknowledged", j.ledger.Acked(), "at", time.Since(j.begun).Round(time.Second).String())
		}
	}
}

// lie has messages dropped and acknowledged all the same. They are a few: one
// alone might be the repeat of another.
func (j *injector) lie(ctx context.Context, after int) {
	if !j.reached(ctx, after) {
		return
	}
	links := j.in.Links["producers nats"]
	for _, k := range links {
		k.Set(wire.Faults{Lie: "huoma.in."})
	}
	for counts(links).Lies < wire.Lies && ctx.Err() == nil {
		wait(ctx, 50*time.Millisecond)
	}
	for _, k := range links {
		k.Set(wire.Faults{})
	}
	j.log.Info("messages were dropped and acknowledged all the same", "lies", counts(links).Lies)
}

// emptied is a folder with nothing of an earlier run in it. It refuses one
// that holds anything else.
func emptied(dir string) error {
	mark := filepath.Join(dir, ".chaos")
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !os.IsNotExist(err):
		return err
	case len(entries) > 0:
		if _, err := os.Stat(mark); err != nil {
			return fmt.Errorf("%s holds what is no run's of this program: name another folder with --dir", dir)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(mark, nil, 0o644)
}

// disks are the servers whose disk the plan fills.
func disks(p plan.Plan) (list []string) {
	seen := map[string]bool{}
	for _, f := range p.Faults {
		if (f.Kind == plan.DiskFull || f.Kind == plan.EngineFull) && f.Not == "" && !seen[f.Target] {
			seen[f.Target] = true
			list = append(list, f.Target)
		}
	}
	return list
}
