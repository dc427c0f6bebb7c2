package code

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/risk"
)

// TestProfiles holds the built-in profiles to the documented table.
func TestProfiles(t *testing.T) {
	type row struct {
		validity, longest time.Duration
		countdown         Countdown
		renewal           time.Duration
		scans, scansV     int64
		capacity, capV    int64
		warn, version     int
		registered        bool
	}
	for name, want := range map[string]row{
		"wechat-group":  {2 * time.Hour, 168 * time.Hour, CountdownSliding, 72 * time.Hour, 100, 200, 200, 500, 80, 3, false},
		"wechat-static": {7 * day, 7 * day, CountdownFixed, 0, 100, 200, 200, 500, 80, 2, false},
		"wecom-group":   {0, 0, CountdownNone, 0, 0, 0, 2000, 2000, 80, 4, false},
		"miniprogram":   {0, 0, CountdownFixed, 0, 0, 0, 0, 0, 0, 0, true},
	} {
		p, ok := ProfileByName(name)
		got := row{p.Validity.Duration(), p.Longest.Duration(), p.Countdown, p.RenewalEvery.Duration(), p.MaxScans, p.MaxScansVerified,
			p.Capacity, p.CapacityVerified, p.WarnPercent, p.QRVersion, p.RegisteredOnly}
		if !ok || got != want || p.QRLevel != "M" {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if _, ok := ProfileByName("line"); ok || len(Profiles) != 4 {
		t.Error("a profile too many")
	}
}

func TestValidateDefinition(t *testing.T) {
	for _, row := range []struct {
		name, field string
		missing     bool
		change      func(*Definition)
	}{
		{"no id", "id", true, func(d *Definition) { d.ID = "" }},
		{"no revision", "revision", true, func(d *Definition) { d.Revision = 0 }},
		{"no profile", "profile", true, func(d *Definition) { d.Profile = "" }},
		{"no targets", "targets", true, func(d *Definition) { d.Targets = nil }},
		{"too many targets", "targets", false, func(d *Definition) { d.Targets = make([]Target, MaxTargets+1) }},
		{"no countdown", "countdown", true, func(d *Definition) { d.Countdown = "" }},
		{"unknown countdown", "countdown", false, func(d *Definition) { d.Countdown = "up" }},
		{"no mint", "minted_at", true, func(d *Definition) { d.MintedAt = time.Time{} }},
		{"negative cap", "max_scans", false, func(d *Definition) { d.MaxScans = -1 }},
		{"warning above 100 %", "warn_percent", false, func(d *Definition) { d.WarnPercent = 101 }},
		{"negative validity", "validity", false, func(d *Definition) { d.Validity = -1 }},
		{"too many rules", "rules", false, func(d *Definition) { d.Rules = make([]risk.Rule, risk.MaxRules+1) }},
		{"too many variants", "variants", false, func(d *Definition) { d.Variants = make([]Variant, MaxVariants+1) }},
		{"target number", "targets[0].n", false, func(d *Definition) { d.Targets[0].N = MaxTargets }},
		{"target number twice", "targets[1].n", false, func(d *Definition) { d.Targets = append(d.Targets, d.Targets[0]) }},
		{"target leads nowhere", "targets[0].url", false, func(d *Definition) { d.Targets[0].URL = "" }},
		{"target leads to two places", "targets[0].url", false, func(d *Definition) { d.Targets[0].Picture = "https://example.org/p.png" }},
		{"negative capacity", "targets[0].capacity", false, func(d *Definition) { d.Targets[0].Capacity = -1 }},
		{"rule without limit", "rules[0].limit", false, func(d *Definition) { lockout(d); d.Rules[0].Limit = 0 }},
		{"rule id twice", "rules[1].id", false, func(d *Definition) { d.Rules = append(risk.DefaultRules(), risk.DefaultRules()...) }},
		{"variant 0", "variants[0].n", false, func(d *Definition) { d.Variants = []Variant{{N: 0}} }},
		{"variant 9", "variants[0].n", false, func(d *Definition) { d.Variants = []Variant{{N: 9}} }},
		{"variant twice", "variants[1].n", false, func(d *Definition) { d.Variants = []Variant{{N: 1}, {N: 1}} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := plain(row.change)
			err := d.Validate()
			var e *FieldError
			if !errors.As(err, &e) || e.Field != row.field || e.Missing != row.missing || e.Reason == "" {
				t.Errorf("got %v, want an error on %s, missing %v", err, row.field, row.missing)
			}
		})
	}
}

func TestLookups(t *testing.T) {
	d := plain(capacities(5, 6), func(d *Definition) { d.Variants = []Variant{{N: 2, Name: "red"}} })
	if v, ok := d.Variant(2); !ok || v.Name != "red" {
		t.Errorf("variant 2: %+v", v)
	}
	if _, ok := d.Variant(1); ok {
		t.Error("variant 1 exists")
	}
	if x, ok := d.Target(1); !ok || x.Capacity != 6 {
		t.Errorf("target 1: %+v", x)
	}
	if _, ok := d.Target(2); ok {
		t.Error("target 2 exists")
	}
	if _, ok := d.FirstRenewalDue(); ok {
		t.Error("a renewal is due")
	}
}

// Apply's order matters and its outcome is all there is to know: five scans
// within 30 s, and the sixth is refused.
func ExampleState_Apply() {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	s := New(Definition{
		ID: "k3v9x0c2m5n8", Revision: 1, Profile: "wecom-group", Countdown: CountdownNone,
		Targets: []Target{{N: 0, URL: "https://example.org/group"}}, Rules: risk.DefaultRules(), MintedAt: at,
	})
	for i := range 6 {
		out := s.Apply(Input{ID: fmt.Sprint("scan-", i+1), Scan: &Scan{Visitor: "o:5c1d"}}, at.Add(time.Duration(i)*time.Second))
		fmt.Println(out.Verdict, out.Rule, len(out.Decisions))
	}
	// Output:
	// accepted  0
	// accepted  0
	// accepted  0
	// accepted  0
	// accepted  1
	// locked frequency 0
}
