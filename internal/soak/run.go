package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
)

// options say what a run is.
type options struct {
	Duration      time.Duration
	Events, Hours int
	Codes, Churn  int
	Seed          uint64
	Data          string
	Bin, Script   string
	Progress      func(format string, a ...any)
}

// soak starts an installation, plays the day, and judges what was sampled meanwhile. It returns when everything it has started has
// ended.
func soak(ctx context.Context, o options) (r report, err error) {
	in, err := start(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, in.stop()) }()
	watch, err := observe(in)
	if err != nil {
		return report{}, err
	}
	defer watch.close()
	c, err := client.New(in.Gateway, in.APIKey)
	if err != nil {
		return report{}, err
	}
	t := &traffic{o: o, at: in, client: c}
	begun := time.Now()
	done := make(chan error, 1)
	traffic, cancel := context.WithCancel(ctx)
	defer func() { cancel(); <-done }()
	go func() { done <- t.run(traffic); close(done) }()

	var samples []sample
	take := func() error {
		v, err := watch.read(ctx)
		if err == nil {
			samples = append(samples, sample{time.Since(begun).Seconds(), float64(t.codes.Load()), float64(t.events.Load()), v})
		}
		return err
	}
	// The first tenth is warming up.
	every := max(o.Duration/120, 500*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case err := <-done:
			if err != nil {
				return report{}, fmt.Errorf("the traffic ended: %w", err)
			}
			over = true
		case <-tick.C:
			if time.Since(begun) < o.Duration/10 {
				continue
			}
			if err := take(); err != nil {
				return report{}, fmt.Errorf("sample: %w", err)
			}
		}
	}
	if len(samples) < 8 {
		return report{}, fmt.Errorf("only %d samples were taken: the machine is too busy, or -duration too short", len(samples))
	}
	r = report{
		Seed: o.Seed, Seconds: time.Since(begun).Seconds(), Events: t.events.Load(), Scans: t.scans.Load(), Codes: t.codes.Load(), Renewals: t.renewals.Load(),
		Samples: len(samples), Findings: judge(samples, rules),
	}
	for _, f := range r.Findings {
		if f.Verdict == leaks {
			r.Leaks++
		}
	}
	return r, r.settle(ctx, watch)
}

// settle waits until the warehouse has everything, and counts what happened.
func (r *report) settle(ctx context.Context, watch *observer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var err error
		for _, n := range []struct {
			to         *int64
			expression string
		}{
			{&r.Missing, "(SELECT sum(missing) FROM reconcile)"}, {&r.Doubled, "(SELECT sum(doubled) FROM reconcile)"},
			{&r.Locks, "(SELECT count() FROM decisions WHERE kind = 'lock')"}, {&r.Expiries, "(SELECT count() FROM decisions WHERE kind = 'expire')"},
		} {
			v, qerr := watch.number(ctx, n.expression)
			*n.to, err = v, errors.Join(err, qerr)
		}
		if err == nil && r.Missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the warehouse misses %d rows two minutes after the traffic", r.Missing), err)
		case <-time.After(time.Second):
		}
	}
}

// installation is the production processes on this machine.
type installation struct {
	Gateway        string `json:"gateway"`
	NATS           string `json:"nats"`
	ClickHouseHTTP string `json:"clickhouse_http"`
	APIKey         string `json:"api_key"`

	data    string
	discard bool
	cmd     *exec.Cmd
	ended   chan error
}

// startWithin is for a slow machine that builds the NATS server first.
const startWithin = 4 * time.Minute

// start runs one process of each role, an embedded ClickHouse and a NATS server that syncs.
func start(ctx context.Context, o options) (*installation, error) {
	in := &installation{data: o.Data, ended: make(chan error, 1)}
	var err error
	if in.data == "" {
		if in.data, err = os.MkdirTemp("", "huoma-soak-"); err != nil {
			return nil, err
		}
		in.discard = true
	} else if in.data, err = filepath.Abs(in.data); err != nil {
		return nil, err
	}
	ready := filepath.Join(in.data, "soak-ready.json")
	_ = os.Remove(ready) // of a run before
	in.cmd = exec.Command(o.Script, "up", "--data", in.data, "--bin", o.Bin, "--port", "0", "--ready-file", ready, "--partitions", "4",
		"--gateways", "1", "--scan-workers", "1", "--analytics-workers", "1")
	in.cmd.Env = append(os.Environ(), "HUOMA_TRUSTED_PROXIES=127.0.0.0/8,::1") // the simulated visitors come by way of us
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                   // a Ctrl-C is for us, who then end it in order
	in.cmd.Stdout, in.cmd.Stderr = nil, os.Stderr
	if err := in.cmd.Start(); err != nil {
		if in.discard {
			_ = os.RemoveAll(in.data) // there is nothing in it
		}
		return nil, fmt.Errorf("start %s: %w", o.Script, err)
	}
	go func() { in.ended <- in.cmd.Wait(); close(in.ended) }()
	o.Progress("starting the installation in %s", in.data)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startWithin)
	for {
		if b, err := os.ReadFile(ready); err == nil && json.Unmarshal(b, in) == nil {
			return in, nil
		}
		select {
		case err := <-in.ended:
			return nil, errors.Join(fmt.Errorf("the installation did not start: its logs are in %s", filepath.Join(in.data, "log")), err)
		case <-late:
			return nil, errors.Join(fmt.Errorf("the installation is not up after %s", startWithin), in.stop())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), in.stop())
		case <-tick.C:
		}
	}
}

// stop ends everything, in order, and removes what was made for this run.
func (in *installation) stop() error {
	_ = in.cmd.Process.Signal(syscall.SIGTERM)
	var err error
	select {
	case err = <-in.ended:
	case <-time.After(2 * time.Minute):
		_ = in.cmd.Process.Kill()
		err = errors.New("the installation did not stop within two minutes")
	}
	if err != nil {
		return fmt.Errorf("stop the installation: %w (its logs are in %s)", err, filepath.Join(in.data, "log"))
	}
	if in.discard {
		return os.RemoveAll(in.data)
	}
	return nil
}
