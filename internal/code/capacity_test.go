package code

import (
	"slices"
	"testing"
	"time"
)

func capacityAlert(t *testing.T, out Outcome) Alert {
	t.Helper()
	i := slices.IndexFunc(out.Alerts, func(a Alert) bool { return a.Kind == AlertCapacity })
	if i < 0 {
		t.Fatalf("no capacity alert: said %q", said(out))
	}
	return out.Alerts[i]
}

func TestCapacityWarning(t *testing.T) {
	l := begin(t, capacities(10))
	for i := range 7 {
		l.wants("join", l.at(time.Duration(i)*time.Minute).joins(1, 0))
	}
	out := l.at(7*time.Minute).joins(1, 0)
	l.wants("the eighth of ten", out, "alert capacity threshold")
	a := capacityAlert(t, out)
	if a.Target != 0 || a.Members != 8 || a.MembersFrom != FromMembers || a.Capacity != 10 || a.Percent != 80 || a.Threshold != 80 || !slices.Equal(a.Cause, []string{"e8"}) {
		t.Errorf("alert %+v", a)
	}
	if a.PerHour != 60 || !a.EtaFull.Equal(t0.Add(9*time.Minute)) {
		t.Errorf("at a join a minute: %v an hour, full at %v; want 60 and two minutes on", a.PerHour, a.EtaFull)
	}
	l.wants("ninth", l.joins(1, 0))
	l.wants("back to 80 %", l.member(Left, 0, 0))

	l = begin(t, capacities(100))
	for _, row := range []struct {
		members int64
		warns   bool
	}{{79, false}, {80, true}, {81, false}, {79, false}, {80, false}, {75, false}, {99, false}, {74, false}, {79, false}, {80, true}, {0, false}, {80, true}} {
		if out := l.member(Snapshot, 0, row.members); (len(out.Alerts) == 1) != row.warns {
			t.Errorf("at %d members: said %q, want a warning: %v", row.members, said(out), row.warns)
		}
	}
}

func TestCapacityWarningRows(t *testing.T) {
	warn := func(percent int) func(*Definition) { return func(d *Definition) { d.WarnPercent = percent } }
	for _, row := range []struct {
		name string
		def  []func(*Definition)
		do   func(*life) Outcome
		want []string
	}{
		{"79 of 100", []func(*Definition){capacities(100)}, func(l *life) Outcome { return l.member(Snapshot, 0, 79) }, nil},
		{"80 of 100", []func(*Definition){capacities(100)}, func(l *life) Outcome { return l.member(Snapshot, 0, 80) }, []string{"alert capacity threshold"}},
		{"4 of 5", []func(*Definition){capacities(5)}, func(l *life) Outcome { return l.joins(4, 0) }, []string{"alert capacity threshold"}},
		{"1 of 1 warns and fills", []func(*Definition){capacities(1)}, func(l *life) Outcome { return l.joins(1, 0) }, []string{"full capacity", "alert capacity threshold"}},
		{"from nothing to more than full, once", []func(*Definition){capacities(100, 0)}, func(l *life) Outcome { return l.member(Snapshot, 0, 170) }, []string{"rotate capacity", "alert capacity threshold"}},
		{"no capacity", []func(*Definition){capacities(0)}, func(l *life) Outcome { return l.member(Snapshot, 0, 1<<40) }, nil},
		{"no warning wanted", []func(*Definition){capacities(100), warn(0)}, func(l *life) Outcome { return l.member(Snapshot, 0, 90) }, nil},
		{"another threshold, below", []func(*Definition){capacities(100), warn(50)}, func(l *life) Outcome { return l.member(Snapshot, 0, 49) }, nil},
		{"another threshold", []func(*Definition){capacities(100), warn(50)}, func(l *life) Outcome { return l.member(Snapshot, 0, 50) }, []string{"alert capacity threshold"}},
		{"a target the code does not have", []func(*Definition){capacities(1)}, func(l *life) Outcome { return l.joins(5, 7) }, nil},
		{"capacity lowered under the members", []func(*Definition){capacities(100)}, func(l *life) Outcome { l.member(Snapshot, 0, 50); return l.define(capacities(60)) }, []string{"alert capacity threshold"}},
		{"accepted scans stand in", []func(*Definition){capacities(5)}, func(l *life) Outcome { return l.scans(4) }, []string{"alert capacity threshold"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, row.def...)
			l.wants(row.name, row.do(l), row.want...)
		})
	}
}

func TestEstimatedTimeToFull(t *testing.T) {
	for _, row := range []struct {
		name    string
		do      func(*life) Outcome
		perHour float64
		eta     time.Time
	}{
		{"a snapshot tells no rate", func(l *life) Outcome { return l.member(Snapshot, 0, 80) }, 0, time.Time{}},
		{"full is full, whatever the rate", func(l *life) Outcome { return l.member(Snapshot, 0, 100) }, 0, t0},
		{"all at once is no rate", func(l *life) Outcome { return l.joins(80, 0) }, 0, time.Time{}},
		{"the last twenty arrivals tell", func(l *life) Outcome {
			l.joins(60, 0)
			for i := range 20 {
				l.at(24*time.Hour+time.Duration(i)*time.Minute).joins(1, 0)
			}
			l.member(Snapshot, 0, 70) // re-arms
			return l.member(Snapshot, 0, 80)
		}, 60, t0.Add(24*time.Hour + 39*time.Minute)},
		{"a rate so slow that the time means nothing", func(l *life) Outcome {
			l.define(capacities(1 << 40))
			l.joins(1, 0)
			l.at(1000*time.Hour).joins(1, 0)
			return l.member(Snapshot, 0, 1<<40/10*8+8)
		}, 0.001, time.Time{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, capacities(100))
			var a Alert
			if out := row.do(l); len(out.Alerts) > 0 {
				a = capacityAlert(t, out)
			} else {
				// The warning came earlier on the way; what is known by now is in the view.
				v := l.View().Targets[0]
				a.PerHour, a.EtaFull = v.PerHour, v.EtaFull
			}
			if a.PerHour != row.perHour || !a.EtaFull.Equal(row.eta) {
				t.Errorf("%v an hour, full at %v; want %v and %v", a.PerHour, a.EtaFull, row.perHour, row.eta)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	l := begin(t, capacities(2, 1, 3))
	l.wants("first", l.scan("a"))
	out := l.scan("b")
	l.wants("target 0 is full", out, "rotate capacity", "alert capacity threshold")
	if d := out.Decisions[0]; out.Target != 0 || d.Target != 1 || d.From == nil || *d.From != 0 || d.Cause[0] != "e2" {
		t.Errorf("led to %d, then %+v", out.Target, d)
	}
	out = l.scan("c")
	if l.wants("target 1 is full", out, "rotate capacity", "alert capacity threshold"); out.Target != 1 || l.Current != 2 {
		t.Errorf("led to %d, current %d", out.Target, l.Current)
	}
	l.scans(2)
	out = l.scan("d")
	l.wants("no target is left", out, "full capacity", "alert capacity threshold")
	if d := out.Decisions[0]; out.Target != 2 || d.Target != 2 || l.Current != -1 || l.Status != StatusFull {
		t.Errorf("led to %d, then %+v", out.Target, d)
	}
	l.verdict("full", l.scan("e"), Full, "capacity")

	out = l.define(func(d *Definition) {
		d.Targets = append(d.Targets, Target{N: 3, URL: "https://example.org/3", Capacity: 1})
	})
	l.wants("a target more", out, "reopen was-full")
	if out.Decisions[0].Target != 3 || l.Current != 3 {
		t.Errorf("reopened to %+v", out.Decisions[0])
	}
}

func TestMembersDecideOnceTheyAreKnown(t *testing.T) {
	l := begin(t, capacities(5, 5))
	l.scans(5)
	if n, from := l.Targets[0].Fill(); n != 5 || from != FromScans || l.Current != 1 {
		t.Fatalf("%d by %s, current %d", n, from, l.Current)
	}
	out := l.joins(1, 0) // of five who scanned, one joined
	l.wants("the first member event", out, "rotate room")
	if n, from := l.Targets[0].Fill(); n != 1 || from != FromMembers {
		t.Errorf("%d by %s", n, from)
	}
	l.scans(20)
	l.wants("scans no longer fill it", l.joins(2, 0))
	l.wants("members do", l.joins(1, 0), "alert capacity threshold")
	l.wants("members do", l.joins(1, 0), "rotate capacity")
	l.wants("somebody leaves", l.member(Left, 0, 0), "rotate room")
	l.wants("the group's true size corrects the drift", l.member(Snapshot, 0, 5), "rotate capacity")
	l.member(Snapshot, 1, 5)
	if l.Status != StatusFull {
		t.Errorf("status %s", l.Status)
	}
	l.wants("room again", l.member(Left, 1, 0), "reopen was-full")
	l.verdict("scan", l.scan("v"), Accepted, "")
}

func TestTheRateIsThatOfWhatIsCounted(t *testing.T) {
	l := begin(t, capacities(100))
	for i := range 5 { // a scan a second
		l.at(time.Duration(i) * time.Second).scan("v")
	}
	for i := range 3 { // but a join an hour, with scans in between
		l.at(time.Duration(i+1)*time.Hour).joins(1, 0)
		l.at(time.Duration(i+1)*time.Hour + time.Minute).scan("v")
	}
	if v := l.View().Targets[0]; v.PerHour != 1 || v.Members != 3 || v.Scans != 8 {
		t.Errorf("%+v, want 1 an hour", v)
	}
}

func TestLeavesBeforeJoins(t *testing.T) {
	l := begin(t, capacities(5))
	l.member(Left, 0, 0)
	if n, _ := l.Targets[0].Fill(); n != 0 {
		t.Errorf("%d members, want 0", n)
	}
	l.joins(2, 0)
	if n, _ := l.Targets[0].Fill(); n != 1 {
		t.Errorf("%d members after two joins and a leave, want 1", n)
	}
}

func TestOwnerClosesATarget(t *testing.T) {
	l := begin(t, capacities(5, 5))
	out := l.define(func(d *Definition) { d.Targets[0].Closed = true })
	l.wants("closed", out, "rotate closed")
	l.wants("open again", l.define(func(d *Definition) { d.Targets[0].Closed = false }), "rotate room")
	l.wants("taken out", l.define(func(d *Definition) { d.Targets = d.Targets[1:] }), "rotate closed")
	l.wants("a late join to it", l.joins(10, 0))
	l.wants("all closed", l.define(func(d *Definition) { d.Targets[0].Closed = true }), "full capacity")
}

func TestView(t *testing.T) {
	l := begin(t, capacities(10, 5), maxScans(9), renewal(72*time.Hour), validity(CountdownSliding, 2*time.Hour, 7*day))
	for i := range 5 {
		l.at(time.Duration(i) * time.Hour).scan("v")
	}
	l.member(Snapshot, 1, 3)
	v := l.View()
	if v.ID != l.Def.ID || v.Status != StatusActive || v.Consumed != 5 || v.Unique != 1 || v.Counts.Of(Accepted) != 5 || v.MaxScans != 9 || v.Current != 0 {
		t.Errorf("view %+v", v)
	}
	if !v.ExpiresAt.Equal(t0.Add(6*time.Hour)) || !v.RenewalDueAt.Equal(t0.Add(72*time.Hour)) || v.First == nil {
		t.Errorf("view %+v", v)
	}
	if a, want := v.Targets[0], (TargetView{N: 0, Members: 5, MembersFrom: FromScans, Capacity: 10, Scans: 5, PerHour: 1, EtaFull: t0.Add(9 * time.Hour)}); a != want {
		t.Errorf("target %+v, want %+v", a, want)
	}
	if b, want := v.Targets[1], (TargetView{N: 1, Members: 3, MembersFrom: FromMembers, Capacity: 5}); b != want {
		t.Errorf("target %+v, want %+v", b, want)
	}
	v.Counts.Set(Accepted, 0)
	if l.Counts.Of(Accepted) != 5 {
		t.Error("a view shares the counts")
	}
}
