package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// drainWithin is how long everything may take to be decided and stored once
// nothing hurts any more.
const drainWithin = 5 * time.Minute

// drain takes every fault back and returns when what is in the log has been
// decided and what was decided is stored.
func (j *injector) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if err := j.in.Heal(); err != nil {
		return err
	}
	if err := j.in.Await(ctx); err != nil {
		return err
	}
	k := &checker{in: j.in, probe: j.probe}
	last := ""
	for quiet := 0; quiet < 3; {
		behind, err := j.behind(ctx)
		if err == nil && behind == "" {
			var stored string
			if stored, err = k.stands(ctx); err == nil {
				behind = stored
			}
		}
		switch {
		case err != nil:
			last, quiet = err.Error(), 0
		case behind != "":
			last, quiet = behind, 0
		default:
			quiet++
		}
		wait(ctx, 300*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("not everything was stored within %s: %s", drainWithin, last)
		}
	}
	return nil
}

// behind says which consumer has something before it, or "".
func (j *injector) behind(ctx context.Context) (string, error) {
	for _, of := range []struct{ stream, prefix string }{{"HUOMA_EVENTS", "scan-"}, {"HUOMA_DECISIONS", "analytics-"}} {
		s, err := j.probe.js.Stream(ctx, of.stream)
		if err != nil {
			return "", err
		}
		list := s.ListConsumers(ctx)
		n := 0
		for info := range list.Info() {
			if !strings.HasPrefix(info.Name, of.prefix) {
				continue
			}
			n++
			if info.NumPending > 0 || info.NumAckPending > 0 {
				return fmt.Sprintf("%s has %d messages before it and %d in hand", info.Name, info.NumPending, info.NumAckPending), nil
			}
		}
		if err := list.Err(); err != nil {
			return "", err
		}
		if n < j.in.Partitions {
			return fmt.Sprintf("%s has %d consumers of %d", of.stream, n, j.in.Partitions), nil
		}
	}
	return "", nil
}

// stands says what the warehouse lacks of what it knows to be decided, or "".
func (k *checker) stands(ctx context.Context) (string, error) {
	c := k.reconcile(ctx)
	switch {
	case c.Error != "":
		return "", fmt.Errorf("reconcile: %s", c.Error)
	case c.Missing > 0:
		return fmt.Sprintf("reconcile misses %d rows", c.Missing), nil
	}
	return "", nil
}

// knowsSpool reports whether these gateways keep what they cannot publish.
func knowsSpool(ctx context.Context, bin string) bool {
	out, _ := exec.CommandContext(ctx, filepath.Join(bin, "gateway"), "--help").Output() // its status says nothing
	return strings.Contains(string(out), "--spool-dir")
}
