package code

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// plain is a code without rules, caps, expiry or renewal, with one target that
// has no limit; change makes it what a test is about.
func plain(change ...func(*Definition)) Definition {
	d := Definition{
		ID: "k3v9x0c2m5n8", Revision: 1, Profile: "test", Countdown: CountdownNone, WarnPercent: 80,
		Targets: []Target{{N: 0, URL: "https://example.org/0"}}, MintedAt: t0, ChangedAt: t0,
	}
	for _, f := range change {
		f(&d)
	}
	return d
}

func capacities(list ...int64) func(*Definition) {
	return func(d *Definition) {
		d.Targets = nil
		for i, c := range list {
			d.Targets = append(d.Targets, Target{N: i, URL: fmt.Sprint("https://example.org/", i), Capacity: c})
		}
	}
}

func lockout(d *Definition) { d.Rules = risk.DefaultRules() }

func maxScans(n int64) func(*Definition) { return func(d *Definition) { d.MaxScans = n } }

func validity(c Countdown, validity, longest time.Duration) func(*Definition) {
	return func(d *Definition) { d.Countdown, d.Validity, d.Longest = c, span.Span(validity), span.Span(longest) }
}

func renewal(every time.Duration) func(*Definition) {
	return func(d *Definition) { d.RenewalEvery = span.Span(every) }
}

func dedupe(window time.Duration) func(*Definition) {
	return func(d *Definition) { d.Dedupe = span.Span(window) }
}

func revoked(d *Definition) { d.RevokedAt = t0.Add(time.Second) }

// life is one code and the time that passes for it.
type life struct {
	t testing.TB
	*State
	now time.Time
	n   int // events so far
}

func begin(t testing.TB, change ...func(*Definition)) *life {
	t.Helper()
	d := plain(change...)
	if err := d.Validate(); err != nil {
		t.Fatalf("the test's own definition: %v", err)
	}
	return &life{t: t, State: New(d), now: t0}
}

// at sets the time to d after the mint.
func (l *life) at(d time.Duration) *life { l.now = t0.Add(d); return l }

func (l *life) apply(in Input) Outcome {
	l.n++
	if in.ID == "" && (in.Scan != nil || in.Member != nil || in.Define != nil) {
		in.ID = fmt.Sprint("e", l.n)
	}
	if in.At.IsZero() {
		in.At = l.now
	}
	return l.Apply(in, l.now)
}

func (l *life) tick() Outcome { return l.apply(Input{}) }

func (l *life) scan(visitor string) Outcome { return l.apply(Input{Scan: &Scan{Visitor: visitor}}) }

// scans n times, each by a new visitor, and returns the last outcome.
func (l *life) scans(n int) (out Outcome) {
	for range n {
		out = l.scan(fmt.Sprint("visitor", l.n))
	}
	return out
}

func (l *life) member(kind MemberKind, target int, count int64) Outcome {
	return l.apply(Input{Member: &Member{Kind: kind, Target: target, Count: count}})
}

// joins n people and returns the last outcome.
func (l *life) joins(n, target int) (out Outcome) {
	for range n {
		out = l.member(Joined, target, 0)
	}
	return out
}

// define changes the definition as its owner would, one revision on.
func (l *life) define(change ...func(*Definition)) Outcome {
	d := l.Def
	d.Revision++
	d.ChangedAt = l.now
	d.Targets = slices.Clone(d.Targets)
	for _, f := range change {
		f(&d)
	}
	kind := Changed
	switch {
	case d.RenewedAt.After(l.Def.RenewedAt):
		kind = Renewed
	case !d.RevokedAt.IsZero():
		kind = Revoke
	}
	return l.apply(Input{Define: &Define{Kind: kind, Def: d}})
}

func (l *life) renew() Outcome {
	return l.define(func(d *Definition) { d.RenewedAt = l.now })
}

// said is what an outcome decided and alerted, in a form rows can name.
func said(out Outcome) []string {
	var list []string
	for _, d := range out.Decisions {
		list = append(list, fmt.Sprintf("%s %s", d.Kind, d.Reason))
	}
	for _, a := range out.Alerts {
		list = append(list, fmt.Sprintf("alert %s %s", a.Kind, a.Reason))
	}
	return list
}

func (l *life) wants(what string, out Outcome, want ...string) {
	l.t.Helper()
	if got := said(out); !slices.Equal(got, want) {
		l.t.Errorf("%s, %v after the mint: said %q, want %q", what, l.now.Sub(t0), got, want)
	}
}

func (l *life) verdict(what string, out Outcome, verdict Verdict, rule string) {
	l.t.Helper()
	if out.Verdict != verdict || out.Rule != rule {
		l.t.Errorf("%s, %v after the mint: %s by %q, want %s by %q", what, l.now.Sub(t0), out.Verdict, out.Rule, verdict, rule)
	}
}

func (l *life) expires(after time.Duration) {
	l.t.Helper()
	if !l.ExpiresAt.Equal(t0.Add(after)) {
		l.t.Errorf("expires %v after the mint, want %v", l.ExpiresAt.Sub(t0), after)
	}
}
