package code

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
)

func TestVerdictWords(t *testing.T) {
	counted := []Verdict{Accepted, Duplicate, Locked, Capped, Expired, Full, Revoked}
	redirected := []Verdict{Accepted, Duplicate}
	if len(Verdicts) != 10 {
		t.Errorf("%d verdicts, want 10", len(Verdicts))
	}
	for _, v := range Verdicts {
		if !v.Known() {
			t.Errorf("%s is not known", v)
		}
		if got, want := v.Counted(), slices.Contains(counted, v); got != want {
			t.Errorf("%s counted = %v, want %v", v, got, want)
		}
		if got, want := v.Redirected(), slices.Contains(redirected, v); got != want {
			t.Errorf("%s redirected = %v, want %v", v, got, want)
		}
	}
	if Verdict("").Known() || Verdict("Accepted").Known() {
		t.Error("a verdict that is none is known")
	}
}

// shownFor is a scan of a live picture so long after its minute began.
func shownFor(d time.Duration) Input {
	seen := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	return Input{Scan: &Scan{Visitor: "v", Shown: seen.Add(-d), Seen: seen}}
}

// TestVerdictPrecedence brings a code into several states at once and asks
// which of them a scan hears of.
func TestVerdictPrecedence(t *testing.T) {
	lock := func(l *life) { l.at(time.Second); l.scan("v"); l.scan("v") }
	two := func(d *Definition) { lockout(d); d.Rules[0].Limit = 2 }
	hour := validity(CountdownFixed, time.Hour, 0)
	person := Input{Scan: &Scan{Visitor: "v"}}
	for _, row := range []struct {
		name    string
		def     []func(*Definition)
		before  func(*life)
		in      Input
		at      time.Duration
		verdict Verdict
		rule    string
		target  int
	}{
		{"plain", nil, nil, person, time.Minute, Accepted, "", 0},
		{"preview of a plain code", nil, nil, Input{Scan: &Scan{Class: Preview, ClassRule: "head"}}, time.Minute, Preview, "head", -1},
		{"preview before revoked", []func(*Definition){revoked}, nil, Input{Scan: &Scan{Class: Preview, ClassRule: "head"}}, time.Minute, Preview, "head", -1},
		{"bot before expired", []func(*Definition){hour}, nil, Input{Scan: &Scan{Class: Bot, ClassRule: "declared"}}, time.Hour, Bot, "declared", -1},
		{"bot before locked", []func(*Definition){two}, lock, Input{Scan: &Scan{Visitor: "v", Class: Bot, ClassRule: "declared"}}, time.Minute, Bot, "declared", -1},
		{"preview before historical", nil, nil, Input{Historical: true, Scan: &Scan{Class: Preview, ClassRule: "head"}}, time.Minute, Preview, "head", -1},
		{"historical before revoked", []func(*Definition){revoked}, nil, Input{Historical: true, Scan: &Scan{}}, time.Minute, Accepted, "historical", -1},
		{"historical before locked", []func(*Definition){two}, lock, Input{Historical: true, Scan: &Scan{Visitor: "v"}}, time.Minute, Accepted, "historical", -1},
		{"a live picture in time", nil, nil, shownFor(2*time.Minute - time.Millisecond), time.Minute, Accepted, "", 0},
		{"a live picture that is too old", nil, nil, shownFor(2 * time.Minute), time.Minute, Expired, RuleLiveWindow, -1},
		{"a live picture of a minute to come", nil, nil, shownFor(-time.Minute), time.Minute, Accepted, "", 0},
		{"revoked before a live picture's age", []func(*Definition){revoked}, nil, shownFor(time.Hour), time.Minute, Revoked, "owner", -1},
		{"expired before a live picture's age", []func(*Definition){hour}, nil, shownFor(time.Hour), time.Hour, Expired, ReasonValidity, -1},
		{"a live picture's age before a lock", []func(*Definition){two}, lock, shownFor(time.Hour), time.Minute, Expired, RuleLiveWindow, -1},
		{"revoked before expired", []func(*Definition){revoked, hour}, nil, person, time.Hour, Revoked, "owner", -1},
		{"revoked before locked", []func(*Definition){two}, func(l *life) { lock(l); l.define(revoked) }, person, time.Minute, Revoked, "owner", -1},
		{"expired before locked", []func(*Definition){two, validity(CountdownFixed, time.Minute, 0)}, lock, person, time.Minute, Expired, ReasonValidity, -1},
		{"expired before capped", []func(*Definition){maxScans(1), hour}, func(l *life) { l.scan("a") }, person, time.Hour, Expired, ReasonValidity, -1},
		{"renewal overdue", []func(*Definition){renewal(time.Hour)}, nil, person, time.Hour, Expired, ReasonRenewal, -1},
		{"renewal and validity over, renewal first", []func(*Definition){renewal(time.Hour), validity(CountdownFixed, 2*time.Hour, 0)}, nil, person, 3 * time.Hour, Expired, ReasonRenewal, -1},
		{"renewal and validity over, validity first", []func(*Definition){renewal(2 * time.Hour), hour}, nil, person, 3 * time.Hour, Expired, ReasonValidity, -1},
		{"renewal and validity over at once", []func(*Definition){renewal(time.Hour), hour}, nil, person, time.Hour, Expired, ReasonRenewal, -1},
		{"locked before capped", []func(*Definition){two, maxScans(2)}, lock, person, time.Minute, Locked, "frequency", -1},
		{"locked before full", []func(*Definition){two, capacities(2)}, lock, person, time.Minute, Locked, "frequency", -1},
		{"locked before duplicate", []func(*Definition){two, dedupe(time.Hour)}, lock, person, time.Minute, Locked, "frequency", -1},
		{"capped before full", []func(*Definition){maxScans(1), capacities(1)}, func(l *life) { l.scan("a") }, person, time.Minute, Capped, "max_scans", -1},
		{"capped before duplicate", []func(*Definition){maxScans(1), dedupe(time.Hour)}, func(l *life) { l.scan("v") }, person, time.Minute, Capped, "max_scans", -1},
		{"full before duplicate", []func(*Definition){capacities(1), dedupe(time.Hour)}, func(l *life) { l.scan("v") }, person, time.Minute, Full, "capacity", -1},
		{"duplicate", []func(*Definition){dedupe(time.Hour)}, func(l *life) { l.scan("v") }, person, time.Minute, Duplicate, "dedupe", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, row.def...)
			if row.before != nil {
				row.before(l)
			}
			l.at(row.at)
			consumed, counts := l.Consumed, l.Counts.Of(row.verdict)
			out := l.apply(row.in)
			l.verdict("scan", out, row.verdict, row.rule)
			if out.Target != row.target {
				t.Errorf("led to %d, want %d", out.Target, row.target)
			}
			if l.Counts.Of(row.verdict) != counts+1 {
				t.Errorf("counts %v", l.Counts)
			}
			if took := l.Consumed - consumed; took != map[bool]int64{true: 1}[row.verdict == Accepted && !row.in.Historical] {
				t.Errorf("consumed %d", took)
			}
		})
	}
}

func TestLockout(t *testing.T) {
	l := begin(t, lockout)
	for i := range 4 {
		out := l.at(time.Duration(i) * time.Second).scan("v")
		l.verdict("scan", out, Accepted, "")
		l.wants("scan", out)
	}
	fifth := l.at(30 * time.Second).scan("v")
	l.verdict("the fifth is still led on", fifth, Accepted, "")
	l.wants("the fifth locks", fifth, "lock limit-in-window", "alert risk lock")
	end := t0.Add(30*time.Second + 10*time.Minute)
	d, a := fifth.Decisions[0], fifth.Alerts[0]
	if d.Rule != "frequency" || d.Scope != risk.ScopeVisitor || d.Key != "v" || !d.Until.Equal(end) || len(d.Cause) != 5 || d.Cause[4] != "e5" {
		t.Errorf("lock %+v", d)
	}
	if a.Rule != "frequency" || a.Key != "v" || !a.Until.Equal(end) || a.Limit != 5 || a.Window.String() != "30s" || len(a.Cause) != 5 {
		t.Errorf("alert %+v", a)
	}
	if next, ok := l.NextDue(); !ok || !next.Equal(end) {
		t.Errorf("next due %v", next)
	}
	if locks := l.Locks(l.now); len(locks) != 1 || locks[0].Key != "v" {
		t.Errorf("locks %+v", locks)
	}

	l.verdict("the sixth", l.at(31*time.Second).scan("v"), Locked, "frequency")
	l.verdict("another visitor", l.scan("w"), Accepted, "")
	l.verdict("nobody in particular", l.scan(""), Accepted, "")
	l.verdict("a nanosecond before the end", l.at(630*time.Second-1).scan("v"), Locked, "frequency")

	out := l.at(630 * time.Second).tick()
	l.wants("the end of the lock", out, "unlock lock-ended")
	if u := out.Decisions[0]; !u.At.Equal(end) || u.Key != "v" || u.Rule != "frequency" || len(u.Cause) != 0 {
		t.Errorf("unlock %+v", u)
	}
	l.verdict("after the lock", l.scan("v"), Accepted, "")
	if len(l.Locks(l.now)) != 0 {
		t.Errorf("locks %+v", l.Locks(l.now))
	}
}

func TestLockedScansStillCount(t *testing.T) {
	l := begin(t, lockout)
	for range 5 {
		l.scan("v")
	}
	for i := range 4 { // in the last seconds of the lock
		l.verdict("in the lock", l.at(10*time.Minute-time.Duration(4-i)*time.Second).scan("v"), Locked, "frequency")
	}
	out := l.at(10 * time.Minute).scan("v")
	l.verdict("the lock is over", out, Accepted, "")
	l.wants("but the window is full", out, "unlock lock-ended", "lock limit-in-window", "alert risk lock")
	l.verdict("next", l.scan("v"), Locked, "frequency")
}

// TestWhatCounts sends four scans with a verdict and then a fifth that is
// accepted or refused: the rule fires if and only if the four counted.
func TestWhatCounts(t *testing.T) {
	for _, row := range []struct {
		name  string
		def   func(*Definition)
		in    Input
		fires bool
	}{
		{"accepted", lockout, Input{Scan: &Scan{Visitor: "v"}}, true},
		{"duplicate", dedupe(time.Hour), Input{Scan: &Scan{Visitor: "v"}}, true},
		{"revoked", revoked, Input{Scan: &Scan{Visitor: "v"}}, true},
		{"expired", validity(CountdownFixed, time.Nanosecond, 0), Input{Scan: &Scan{Visitor: "v"}}, true},
		{"full", func(d *Definition) { d.Targets[0].Closed = true }, Input{Scan: &Scan{Visitor: "v"}}, true},
		{"preview", lockout, Input{Scan: &Scan{Visitor: "v", Class: Preview}}, false},
		{"bot", lockout, Input{Scan: &Scan{Visitor: "v", Class: Bot}}, false},
		{"historical", lockout, Input{Historical: true, Scan: &Scan{Visitor: "v"}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, lockout, row.def)
			l.at(time.Second)
			for range 4 {
				l.apply(row.in)
			}
			out := l.scan("v")
			if got := slices.Contains(said(out), "lock limit-in-window"); got != row.fires {
				t.Errorf("fires = %v, want %v (counts %v)", got, row.fires, l.Counts)
			}
		})
	}
}

func TestFlagAndDryRun(t *testing.T) {
	for _, row := range []struct {
		action risk.Action
		want   []string
	}{
		{risk.ActionFlag, []string{"flag limit-in-window", "alert risk flag"}},
		{risk.ActionDryRun, []string{"dry-run limit-in-window"}},
	} {
		t.Run(string(row.action), func(t *testing.T) {
			l := begin(t, lockout, func(d *Definition) { d.Rules[0].Action = row.action })
			for range 4 {
				l.wants("scan", l.scan("v"))
			}
			l.wants("fifth", l.scan("v"), row.want...)
			sixth := l.scan("v")
			l.verdict("sixth", sixth, Accepted, "")
			l.wants("sixth, while the firing is in force", sixth)
			if _, ok := l.NextDue(); ok {
				t.Error("nothing will unlock")
			}
		})
	}
}

func TestCodeScopeLocksEverybody(t *testing.T) {
	l := begin(t, lockout, func(d *Definition) { d.Rules[0].Scope = risk.ScopeCode })
	l.wants("fifth", l.scans(5), "lock limit-in-window", "alert risk lock")
	l.verdict("another", l.scan("fresh"), Locked, "frequency")
	l.verdict("nobody in particular", l.scan(""), Locked, "frequency")
}

func TestDroppingARuleEndsItsLocks(t *testing.T) {
	l := begin(t, lockout)
	for range 5 {
		l.scan("v")
	}
	l.verdict("locked", l.scan("v"), Locked, "frequency")
	out := l.at(time.Minute).define(func(d *Definition) { d.Rules = nil })
	l.wants("rules dropped", out, "unlock rule-changed")
	if u := out.Decisions[0]; !u.At.Equal(l.now) || u.Key != "v" || !slices.Equal(u.Cause, []string{fmt.Sprint("e", l.n)}) {
		t.Errorf("unlock %+v", u)
	}
	if len(l.Locks(l.now)) != 0 {
		t.Errorf("locks %+v", l.Locks(l.now))
	}
	l.verdict("scan", l.scan("v"), Accepted, "")
	l.wants("the old end of the lock", l.at(time.Hour).tick())
}

func TestScanCap(t *testing.T) {
	l := begin(t, maxScans(3))
	l.wants("second", l.scans(2))
	last := l.scan("c")
	l.verdict("the last under the cap", last, Accepted, "")
	l.wants("the last under the cap", last, "cap max_scans")
	if d := last.Decisions[0]; d.Target != -1 || !slices.Equal(d.Cause, []string{"e3"}) {
		t.Errorf("cap %+v", d)
	}
	l.verdict("one more", l.scan("d"), Capped, "max_scans")
	l.verdict("a preview consumes nothing", l.apply(Input{Scan: &Scan{Class: Preview}}), Preview, "")
	if l.Status != StatusCapped || l.Consumed != 3 || l.Current != -1 {
		t.Errorf("%s, consumed %d, current %d", l.Status, l.Consumed, l.Current)
	}
	l.wants("cap raised", l.define(maxScans(4)), "reopen was-capped")
	l.wants("used up again", l.scan("e"), "cap max_scans")
	l.wants("no cap", l.define(maxScans(0)), "reopen was-capped")
	l.verdict("on", l.scan("f"), Accepted, "")
	l.wants("cap below what is used", l.define(maxScans(2)), "cap max_scans")
}

func TestDedupe(t *testing.T) {
	l := begin(t, dedupe(time.Minute), maxScans(4))
	see := func(visitor, picture string) Outcome {
		return l.apply(Input{Scan: &Scan{Visitor: visitor, Picture: picture}})
	}
	l.verdict("first", see("v", "p"), Accepted, "")
	l.verdict("again", l.at(time.Second).scan("x"), Accepted, "")
	dup := see("v", "p")
	l.verdict("same visitor and picture", dup, Duplicate, "dedupe")
	if dup.Target != 0 || l.Consumed != 2 || l.Unique() != 2 {
		t.Errorf("led to %d, consumed %d, unique %d", dup.Target, l.Consumed, l.Unique())
	}
	l.verdict("another picture", see("v", "q"), Accepted, "")
	l.verdict("at the window's end", l.at(time.Minute).apply(Input{Scan: &Scan{Visitor: "v", Picture: "p"}}), Duplicate, "dedupe")
	l.verdict("after it, though a duplicate was in between", l.at(time.Minute+time.Millisecond).apply(Input{Scan: &Scan{Visitor: "v", Picture: "p"}}), Accepted, "")

	l = begin(t, dedupe(time.Minute))
	l.scan("")
	l.verdict("without a visitor nothing is the same", l.scan(""), Accepted, "")
	l.scan("v")
	l.define(dedupe(0))
	l.verdict("off", l.scan("v"), Accepted, "")
	l.define(dedupe(time.Minute))
	l.verdict("on again starts anew", l.scan("v"), Accepted, "")
}

func TestDedupeForgets(t *testing.T) {
	l := begin(t, dedupe(time.Minute))
	for i := range 5000 {
		l.at(time.Duration(i) * time.Second).scan(fmt.Sprint("v", i))
	}
	if n := len(l.recent); n > 1100 {
		t.Errorf("%d pairs remembered, at most 60 matter", n)
	}
}

func TestHistoricalCausesNothing(t *testing.T) {
	l := begin(t, lockout, capacities(5, 5), maxScans(3), validity(CountdownSliding, 2*time.Hour, 0))
	l.at(time.Hour)
	old := t0.Add(-24 * 365 * time.Hour)
	for range 20 {
		out := l.apply(Input{ID: "h", Historical: true, At: old, Scan: &Scan{Visitor: "v", Device: "Mi 5", Province: "Yunnan"}})
		l.verdict("history", out, Accepted, "historical")
		l.wants("history", out)
		if out.Target != -1 {
			t.Fatalf("history was led to %d", out.Target)
		}
		out = l.apply(Input{Historical: true, Member: &Member{Kind: Snapshot, Count: 100}})
		l.wants("history", out)
	}
	l.expires(2 * time.Hour)
	if l.Consumed != 0 || l.Status != StatusActive || l.Current != 0 || l.Targets[0].Scans != 0 || l.Targets[0].Joined {
		t.Errorf("history moved the code: %+v", l.View())
	}
	if l.Counts.Of(Accepted) != 20 || l.Unique() != 1 {
		t.Errorf("history was not recorded: %v, unique %d", l.Counts, l.Unique())
	}
	want := First{EventID: "h", At: old, DeviceModel: "Mi 5", Province: "Yunnan"}
	if l.First == nil || *l.First != want {
		t.Errorf("first scan %+v, want %+v", l.First, want)
	}
	l.scan("w")
	if *l.First != want {
		t.Errorf("a later scan became the first: %+v", l.First)
	}
}

func TestFirstScan(t *testing.T) {
	l := begin(t)
	l.apply(Input{Scan: &Scan{Class: Preview}})
	if l.First != nil {
		t.Error("a preview is the first scan")
	}
	// A producer's late clock does not matter: the broker's does.
	l.at(time.Minute).apply(Input{ID: "a", At: t0.Add(time.Hour), Scan: &Scan{Device: "P40", Province: "Gansu"}})
	l.at(2 * time.Minute).apply(Input{ID: "b", At: t0, Scan: &Scan{}})
	if want := (First{"a", t0.Add(time.Minute), "P40", "Gansu"}); l.First == nil || *l.First != want {
		t.Errorf("first scan %+v, want %+v", l.First, want)
	}
}

func TestSweepsKeepWindowsFew(t *testing.T) {
	l := begin(t, func(d *Definition) { lockout(d); d.Rules[0].Window = span.Span(time.Second) })
	for i := range 3000 {
		l.at(time.Duration(i) * time.Second).scan(fmt.Sprint(i))
	}
	if n := l.watch.Len(); n > 70 {
		t.Errorf("%d windows held, 2 matter", n)
	}
}

// How many others were there must not matter for who is a duplicate, also when the window is changed.
func TestDedupeWindowWidened(t *testing.T) {
	for _, others := range []int{0, 3000} {
		l := begin(t, dedupe(10*time.Second))
		l.verdict("first scan", l.scan("early"), Accepted, "")
		l.at(15 * time.Second).scans(others)
		l.at(55 * time.Second)
		l.verdict("another's", l.scan("late"), Accepted, "")
		l.at(60 * time.Second).define(dedupe(time.Hour))
		l.at(61 * time.Second)
		l.verdict("what the old window no longer saw", l.scan("early"), Accepted, "")
		l.verdict("what it still saw", l.scan("late"), Duplicate, "dedupe")
	}
}
