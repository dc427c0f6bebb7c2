package main

import "fmt"

// A bound is what a row must keep, on a machine that does nothing else.
type bound struct {
	Section, Name string
	What          string // "ratio": ours/bare; "ours": the number itself
	Least, Most   float64
	Why           string
}

// bounds are all there are. docs/adr/0019-benchmark.md has their reasons.
var bounds = []bound{
	{Section: "a", Name: scanName(256, workersOff), What: "ratio", Least: 0.5, Why: "a crowd is what group commit is for: one fsync among all who wait"},
	{Section: "a", Name: scanName(256, workersOff) + ", p99", What: "ratio", Most: 2, Why: "waiting for the disk may double the slowest answers, no more"},
	{Section: "a", Name: scanName(64, workersOff), What: "ratio", Least: 0.35, Why: "a quarter of the crowd shares each fsync"},
	{Section: "b", Name: decideName(single), What: "ratio", Least: 0.7, Why: "deciding may cost less than half of what fetching does"},
	{Section: "c", Name: analyticsName, What: "ratio", Least: 0.8, Why: "the warehouse is what should be busy, not its client"},
	{Section: "f", Name: codesScanName(1_000_000), What: "ratio", Least: 0.9, Why: "what a code costs must not depend on how many there are"},
	{Section: "f", Name: codesDecideName(1_000_000), What: "ratio", Least: 0.9, Why: "what a code costs must not depend on how many there are"},
	{Section: "g", Name: recoveryName(1_000_000), What: "ours", Most: 5, Why: "a lock waits while a partition has no owner"},
	{Section: "g", Name: recoveryName(10_000_000), What: "ours", Most: 5, Why: "a lock waits while a partition has no owner"},
}

func (b *bound) keeps(r *Row) bool {
	v := r.Ours
	if b.What == "ratio" {
		v = r.Ratio
	}
	if b.Most > 0 {
		return v <= b.Most
	}
	return v >= b.Least // false for no number at all
}

func (b *bound) String() string {
	unit := ""
	if b.What == "ratio" {
		unit = " ×"
	}
	if b.Most > 0 {
		return fmt.Sprintf("≤ %g%s", b.Most, unit)
	}
	return fmt.Sprintf("≥ %g%s", b.Least, unit)
}
