package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/chaos/plan"
)

// run makes a run for a test and returns its report.
func run(t *testing.T, o Options) *Report {
	t.Helper()
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Dir = filepath.Join(t.TempDir(), "run")
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", log.String(), r.Text())
		}
	})
	return r
}

// The short form of `make chaos`: processes of their own behind links, killed, stopped, cut off and
// lied to under load, and nothing is lost or doubled.
func TestShortForm(t *testing.T) {
	var o Options
	o.short()
	o.Seed, o.Shape = 62, string(plan.Single)
	r := run(t, o)
	if len(r.Failures) > 0 {
		t.Errorf("%v", r.Failures)
	}
	injected := 0
	for _, d := range r.Faults {
		if d.Not == "" {
			injected++
		}
	}
	if injected < 5 {
		t.Errorf("%d faults were injected", injected)
	}
	for _, c := range r.Checks[:2] {
		if c.Expected == 0 {
			t.Errorf("%q had nothing to check", c.Name)
		}
	}
}

// A message that is lost after it was acknowledged is found.
func TestLossIsFound(t *testing.T) {
	o := Options{Seed: 1, Events: 6000, Faults: 1, Duration: 5 * time.Second, Shape: string(plan.AllInOne), Only: []plan.Kind{plan.Kill}, Short: true, Lie: true}
	r := run(t, o)
	c := r.Checks[0]
	if c.Missing == 0 || len(r.Failures) == 0 || !strings.Contains(r.Text(), "RED") {
		t.Errorf("%+v\n%v", c, r.Failures)
	}
}
