package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/chaos/plan"
)

// Report is what a run did and found.
type Report struct {
	Plan     plan.Plan      `json:"plan"`
	Begun    time.Time      `json:"begun"`
	Took     time.Duration  `json:"took"`
	Dir      string         `json:"dir"`
	Faults   []Injected     `json:"faults"`
	Counts   map[string]int `json:"counts"`
	Checks   []Check        `json:"checks"`
	Failures []string       `json:"failures"` // all that makes the run red
	Again    string         `json:"again"`    // the command that does the same
}

// leaderBound is within what every gateway has to take events and answer scans again when a leader is lost. NATS itself needs longer to
// elect another; gateways have a spool.
const leaderBound = 5 * time.Second

// judge writes down what makes the run red: faults that were not injected,
// checks that differ, and gateways that came back late.
func (r *Report) judge() {
	for _, d := range r.Faults {
		if d.Error != "" {
			r.Failures = append(r.Failures, fmt.Sprintf("fault %d (%s %s) could not be injected: %s", d.N, d.Kind, d.Target, d.Error))
		}
		if d.Kind != plan.Leader {
			continue
		}
		for _, w := range []struct {
			what string
			took time.Duration
		}{{"events", d.Write}, {"scans", d.Scan}} {
			if w.took > leaderBound {
				r.Failures = append(r.Failures, fmt.Sprintf("fault %d: %s resumed %s after the leader was lost, want at most %s", d.N, w.what, w.took.Round(time.Millisecond), leaderBound))
			}
		}
	}
	if got, want := len(r.Faults), len(r.Plan.Faults); got != want {
		r.Failures = append(r.Failures, fmt.Sprintf("%d faults of %d are accounted for", got, want))
	}
	if len(r.Checks) == 0 {
		r.Failures = append(r.Failures, "nothing was checked")
	}
	for _, c := range r.Checks {
		switch {
		case c.Error != "":
			r.Failures = append(r.Failures, fmt.Sprintf("check %q could not be made: %s", c.Name, c.Error))
		case !c.OK():
			r.Failures = append(r.Failures, fmt.Sprintf("check %q differs: %d missing, %d extra, %d different", c.Name, c.Missing, c.Extra, c.Different))
		}
	}
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos report\n\nseed %d  shape %s  partitions %d  begun %s  took %s\nlogs and data: %s\nthe same again: %s\n", r.Plan.Seed, r.Plan.Shape, r.Plan.Partitions,
		r.Begun.UTC().Format(time.RFC3339), r.Took.Round(time.Second), r.Dir, r.Again)
	left := 0
	b.WriteString("\nfaults, in the order they were over\n")
	for _, d := range r.Faults {
		if d.Not != "" {
			left++
			continue
		}
		fmt.Fprintf(&b, "%s\n       at %s, took %s", d.Fault, d.At.Round(100*time.Millisecond), d.Took.Round(time.Millisecond))
		if d.Observed != "" {
			fmt.Fprintf(&b, ": %s", d.Observed)
		}
		if d.Error != "" {
			fmt.Fprintf(&b, "  NOT INJECTED: %s", d.Error)
		}
		b.WriteString("\n")
	}
	if left > 0 {
		fmt.Fprintf(&b, "\nLEFT OUT on this machine: %d faults\n", left)
		for _, d := range r.Faults {
			if d.Not != "" {
				fmt.Fprintf(&b, "%s\n", d.Fault)
			}
		}
	}
	b.WriteString("\ntraffic\n")
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "%10d  %s\n", r.Counts[name], name)
	}
	b.WriteString("\nchecks                                                  expected      found    missing  extra  different\n")
	for _, c := range r.Checks {
		mark := "ok "
		if !c.OK() {
			mark = "NO "
		}
		fmt.Fprintf(&b, "%s %-50s %10d %10d %10d %6d %10d\n", mark, c.Name, c.Expected, c.Found, c.Missing, c.Extra, c.Different)
		if c.Error != "" {
			fmt.Fprintf(&b, "      could not be made: %s\n", c.Error)
		}
		if !c.OK() {
			for _, x := range c.Examples {
				fmt.Fprintf(&b, "      %s\n", x)
			}
		}
	}
	if len(r.Failures) == 0 {
		fmt.Fprintf(&b, "\nGREEN: %d faults injected, nothing lost, nothing twice\n", len(r.Faults)-left)
		return b.String()
	}
	b.WriteString("\nRED\n")
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// keep writes the report into the run's folder.
func (r *Report) keep() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "report.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, "report.txt"), []byte(r.Text()), 0o644)
}
