package risk

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code/span"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

func rule(limit int, window time.Duration) Rule {
	return Rule{ID: "r", Scope: ScopeVisitor, Limit: limit, Window: span.Span(window), Action: ActionLock, For: span.Span(10 * time.Minute)}
}

func countAll(w *Watch, rules []Rule, s Subject, at ...time.Duration) (fired []Firing) {
	for i, d := range at {
		fired = append(fired, w.Count(rules, s, fmt.Sprintf("e%d", i+1), after(d), after(d))...)
	}
	return fired
}

func TestWindowBoundary(t *testing.T) {
	const s, ns = time.Second, time.Nanosecond
	for _, row := range []struct {
		name string
		rule Rule
		at   []time.Duration
		want []time.Duration // when it fires
	}{
		{"five at once", rule(5, 30*s), []time.Duration{0, 0, 0, 0, 0}, []time.Duration{0}},
		{"five within the window", rule(5, 30*s), []time.Duration{0, 7 * s, 14 * s, 21 * s, 28 * s}, []time.Duration{28 * s}},
		{"exactly the window apart fires", rule(5, 30*s), []time.Duration{0, 1 * s, 2 * s, 3 * s, 30 * s}, []time.Duration{30 * s}},
		{"a nanosecond more does not", rule(5, 30*s), []time.Duration{0, 1 * s, 2 * s, 3 * s, 30*s + ns}, nil},
		{"the window slides", rule(5, 30*s), []time.Duration{0, 20 * s, 21 * s, 22 * s, 31 * s, 50 * s}, []time.Duration{50 * s}},
		{"four are not five", rule(5, 30*s), []time.Duration{0, 0, 0, 0}, nil},
		{"buckets would err here", rule(5, 30*s), []time.Duration{29 * s, 29 * s, 29 * s, 31 * s, 31 * s}, []time.Duration{31 * s}},
		{"limit one fires at once", rule(1, s), []time.Duration{0}, []time.Duration{0}},
		{"quiet while in force, though counting", rule(2, 30*s), []time.Duration{0, 1 * s, 2 * s, 3 * s}, []time.Duration{1 * s}},
		{"fires again at the end of the lock", rule(2, 30*s), []time.Duration{0, 1 * s, 590 * s, 601 * s}, []time.Duration{1 * s, 601 * s}},
		{"not a nanosecond before", rule(2, 30*s), []time.Duration{0, 1 * s, 590 * s, 601*s - ns}, []time.Duration{1 * s}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w Watch
			var got []time.Duration
			for _, f := range countAll(&w, []Rule{row.rule}, Subject{Visitor: "v"}, row.at...) {
				got = append(got, f.At.Sub(t0))
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("fires at %v, want %v", got, row.want)
			}
		})
	}
}

func TestFiringCarriesItsEvidence(t *testing.T) {
	var w Watch
	fired := countAll(&w, DefaultRules(), Subject{Visitor: "v", Network: "192.0.2.0/24"}, 0, time.Second, 40*time.Second, 41*time.Second, 42*time.Second, 43*time.Second, 69*time.Second)
	if len(fired) != 1 {
		t.Fatalf("%d firings, want 1", len(fired))
	}
	f := fired[0]
	if f.Rule.ID != "frequency" || f.Key != "v" || !f.At.Equal(after(69*time.Second)) || !f.Oldest.Equal(after(40*time.Second)) ||
		!f.Until.Equal(after(69*time.Second+10*time.Minute)) || !slices.Equal(f.Causes, []string{"e3", "e4", "e5", "e6", "e7"}) {
		t.Errorf("got %+v", f)
	}
}

func TestLockAndUnlock(t *testing.T) {
	var w Watch
	rules := []Rule{rule(5, 30*time.Second)}
	s := Subject{Visitor: "v"}
	if _, ok := w.NextDue(); ok {
		t.Error("something is due in an empty watch")
	}
	countAll(&w, rules, s, 0, 0, 0, 0)
	if _, ok := w.Blocked(rules, s, after(0)); ok {
		t.Error("locked after four scans")
	}
	countAll(&w, rules, s, time.Second)
	end := after(time.Second + 10*time.Minute)
	want := Block{RuleID: "r", Scope: ScopeVisitor, Key: "v", Until: end}
	if b, ok := w.Blocked(rules, s, after(time.Second)); !ok || b != want {
		t.Errorf("blocked = %+v, %v", b, ok)
	}
	if _, ok := w.Blocked(rules, Subject{Visitor: "other"}, after(time.Second)); ok {
		t.Error("another visitor is locked too")
	}
	if next, ok := w.NextDue(); !ok || !next.Equal(end) {
		t.Errorf("next due %v, want %v", next, end)
	}
	if got := w.Due(end.Add(-time.Nanosecond)); got != nil {
		t.Errorf("unlocked early: %+v", got)
	}
	if got := w.Locks(end.Add(-time.Nanosecond)); len(got) != 1 || got[0] != want {
		t.Errorf("locks = %+v", got)
	}
	if _, ok := w.Blocked(rules, s, end); ok {
		t.Error("still locked at the end of the lock")
	}
	if got := w.Due(end.Add(time.Hour)); len(got) != 1 || got[0] != (Unlock{RuleID: "r", Scope: ScopeVisitor, Key: "v", At: end}) {
		t.Errorf("unlocks = %+v", got)
	}
	if got := w.Due(end.Add(time.Hour)); got != nil {
		t.Errorf("unlocked twice: %+v", got)
	}
	if _, ok := w.NextDue(); ok || len(w.Locks(end)) > 0 {
		t.Error("a lock is left")
	}
}

func TestActions(t *testing.T) {
	for _, row := range []struct {
		action Action
		locks  bool
	}{{ActionLock, true}, {ActionFlag, false}, {ActionDryRun, false}} {
		t.Run(string(row.action), func(t *testing.T) {
			var w Watch
			r := rule(2, time.Minute)
			r.Action = row.action
			if fired := countAll(&w, []Rule{r}, Subject{Visitor: "v"}, 0, 0, 0); len(fired) != 1 {
				t.Errorf("%d firings, want 1", len(fired))
			}
			if _, ok := w.Blocked([]Rule{r}, Subject{Visitor: "v"}, after(0)); ok != row.locks {
				t.Errorf("blocked = %v, want %v", ok, row.locks)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	rules := []Rule{rule(2, time.Minute), rule(3, time.Minute), rule(4, time.Minute)}
	rules[1].ID, rules[1].Scope = "net", ScopeNetwork
	rules[2].ID, rules[2].Scope = "all", ScopeCode
	var w Watch
	var got []string
	for i, s := range []Subject{{}, {Visitor: "a", Network: "n"}, {Visitor: "b", Network: "n"}, {Network: "n"}, {Visitor: "b"}} {
		for _, f := range w.Count(rules, s, fmt.Sprint(i), t0, t0) {
			got = append(got, fmt.Sprintf("%d:%s:%s", i, f.Rule.ID, f.Key))
		}
	}
	if want := []string{"3:net:n", "3:all:", "4:r:b"}; !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
	// The lock that ends last is the one told of.
	rules[1].For = span.Span(time.Hour)
	w = Watch{}
	countAll(&w, rules, Subject{Visitor: "v", Network: "n"}, 0, 0, 0, 0)
	if b, ok := w.Blocked(rules, Subject{Visitor: "v", Network: "n"}, t0); !ok || b.RuleID != "net" {
		t.Errorf("blocked by %+v", b)
	}
	if b, ok := w.Blocked(rules, Subject{}, t0); !ok || b.RuleID != "all" {
		t.Errorf("a scan without visitor and network is blocked by %+v, %v", b, ok)
	}
}

func TestChangeOfRules(t *testing.T) {
	r := rule(3, 10*time.Second)
	changed := func(f func(*Rule)) []Rule { c := r; f(&c); return []Rule{c} }
	s := Subject{Visitor: "v"}
	unlock := []Unlock{{RuleID: "r", Scope: ScopeVisitor, Key: "v", At: after(time.Second)}}
	for _, row := range []struct {
		name   string
		scans  int // at 0
		to     []Rule
		ended  []Unlock
		locked bool // right after
		next   int  // firings of the next scan, at 1 s
	}{
		{"same rules, lock stays", 3, []Rule{r}, nil, true, 0},
		{"same rules, window stays", 2, []Rule{r}, nil, false, 1},
		{"rule gone, lock ends", 3, nil, unlock, false, 0},
		{"rule no longer locks", 3, changed(func(r *Rule) { r.Action = ActionFlag }), unlock, false, 1},
		{"another scope", 3, changed(func(r *Rule) { r.Scope = ScopeCode }), unlock, false, 0},
		{"higher limit, lock stays", 3, changed(func(r *Rule) { r.Limit = 9 }), nil, true, 0},
		{"higher limit counts on", 2, changed(func(r *Rule) { r.Limit = 4 }), nil, false, 0},
		{"lower limit counts what was seen", 1, changed(func(r *Rule) { r.Limit = 2 }), nil, false, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w Watch
			countAll(&w, []Rule{r}, s, make([]time.Duration, row.scans)...)
			if got := w.Change([]Rule{r}, row.to, after(time.Second)); !slices.Equal(got, row.ended) {
				t.Errorf("ended %+v, want %+v", got, row.ended)
			}
			if _, ok := w.Blocked(row.to, s, after(time.Second)); ok != row.locked || len(w.Locks(after(time.Second))) != map[bool]int{true: 1}[row.locked] {
				t.Errorf("blocked = %v, locks = %v, want %v", ok, w.Locks(after(time.Second)), row.locked)
			}
			if got := w.Count(row.to, s, "n", after(time.Second), after(time.Second)); len(got) != row.next {
				t.Errorf("next scan fires %+v, want %d", got, row.next)
			}
		})
	}
	t.Run("a dry run does not hold back the lock that follows", func(t *testing.T) {
		var w Watch
		dry := changed(func(r *Rule) { r.Action = ActionDryRun })
		countAll(&w, dry, s, 0, 0, 0)
		w.Change(dry, []Rule{r}, t0)
		if got := w.Count([]Rule{r}, s, "n", t0, t0); len(got) != 1 {
			t.Errorf("fired %+v", got)
		}
	})
	t.Run("a wider window does not reach back beyond the old one", func(t *testing.T) {
		var w Watch
		countAll(&w, []Rule{r}, s, 0, 11*time.Second)
		wide := changed(func(r *Rule) { r.Window = span.Span(time.Hour) })
		w.Change([]Rule{r}, wide, after(11*time.Second))
		if got := w.Count(wide, s, "n", after(11*time.Second), after(11*time.Second)); len(got) != 0 {
			t.Errorf("fired %+v", got)
		}
	})
}

func TestSweepForgets(t *testing.T) {
	var w Watch
	rules := []Rule{rule(2, 10*time.Second)}
	countAll(&w, rules, Subject{Visitor: "once"}, 0)
	countAll(&w, rules, Subject{Visitor: "locked"}, 0, 0)
	w.Sweep(rules, after(10*time.Second))
	if w.Len() != 2 {
		t.Errorf("%d windows at the boundary, want 2", w.Len())
	}
	w.Sweep(rules, after(10*time.Second+1))
	if w.Len() != 1 {
		t.Errorf("%d windows after it, want 1", w.Len())
	}
	w.Due(after(10 * time.Minute))
	w.Sweep(rules, after(10*time.Minute))
	if w.Len() != 0 || len(w.Export()) != 0 {
		t.Errorf("%d windows when all is over, want 0", w.Len())
	}
}

func TestValidate(t *testing.T) {
	good := DefaultRules()[0]
	if err := good.Validate(); err != nil {
		t.Errorf("the default rule: %v", err)
	}
	if got := (Rule{ID: "frequency", Limit: 5, Window: span.Span(30 * time.Second)}).WithDefaults(); got != good {
		t.Errorf("with defaults: %+v", got)
	}
	if got := good.WithDefaults(); got != good {
		t.Errorf("defaults overwrite: %+v", got)
	}
	long := make([]byte, 65)
	for i := range long {
		long[i] = 'x'
	}
	for _, row := range []struct {
		name, field string
		change      func(*Rule)
	}{
		{"no id", "id", func(r *Rule) { r.ID = "" }},
		{"long id", "id", func(r *Rule) { r.ID = string(long) }},
		{"no scope", "scope", func(r *Rule) { r.Scope = "" }},
		{"unknown scope", "scope", func(r *Rule) { r.Scope = "city" }},
		{"limit 0", "limit", func(r *Rule) { r.Limit = 0 }},
		{"limit too high", "limit", func(r *Rule) { r.Limit = MaxLimit + 1 }},
		{"no window", "window", func(r *Rule) { r.Window = 0 }},
		{"window too short", "window", func(r *Rule) { r.Window = span.Span(MinWindow - 1) }},
		{"window too long", "window", func(r *Rule) { r.Window = span.Span(MaxWindow + 1) }},
		{"no action", "action", func(r *Rule) { r.Action = "" }},
		{"unknown action", "action", func(r *Rule) { r.Action = "ban" }},
		{"no for", "for", func(r *Rule) { r.For = 0 }},
		{"for too long", "for", func(r *Rule) { r.For = span.Span(MaxFor + 1) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := good
			row.change(&r)
			e, ok := r.Validate().(*RuleError)
			if !ok || e.Field != row.field || e.Reason == "" {
				t.Errorf("got %v, want an error on %s", e, row.field)
			}
		})
	}
}

// Scans that come late, all at once, count when they were made.
func TestLateScans(t *testing.T) {
	const s, min = time.Second, time.Minute
	rules := []Rule{rule(5, 30*s)}
	now := after(time.Hour)
	for _, row := range []struct {
		name string
		at   []time.Duration
		want []time.Duration // of the scans that fire it
	}{
		{"five over ten minutes are no five at once", []time.Duration{0, 2 * min, 4 * min, 6 * min, 8 * min, 10 * min}, nil},
		{"five at once are", []time.Duration{0, 2 * min, 2*min + s, 2*min + 2*s, 2*min + 3*s, 2*min + 4*s}, []time.Duration{2*min + 4*s}},
		{"the other gateway's come first", []time.Duration{9 * min, 10 * min, 1 * min, 2 * min, 3 * min, 4 * min, 5 * min}, nil},
		{"and fill a gap", []time.Duration{min, min + 10*s, min + 20*s, min + 30*s, min + 15*s}, []time.Duration{min + 15*s}},
		{"one older than the five newest fires nothing", []time.Duration{min, min + s, min + 2*s, min + 3*s, 10 * min, min + 4*s}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w Watch
			var got []time.Duration
			for i, d := range row.at {
				for _, f := range w.Count(rules, Subject{Visitor: "v"}, fmt.Sprint(i), after(d), now) {
					got = append(got, d)
					if !f.At.Equal(now) || !f.Until.Equal(now.Add(10*time.Minute)) {
						t.Errorf("fired at %v until %v, want from now on", f.At, f.Until)
					}
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("fired by %v, want %v", got, row.want)
			}
		})
	}
}

// A definition that comes between, with the same rules, makes no difference
// to scans that come late.
func TestSameRulesForgetNothing(t *testing.T) {
	var w Watch
	rules := []Rule{rule(3, 30*time.Second)}
	countAll(&w, rules, Subject{Visitor: "v"}, 0, 25*time.Second)
	w.Change(rules, rules, after(40*time.Second))
	if got := w.Count(rules, Subject{Visitor: "v"}, "late", after(26*time.Second), after(41*time.Second)); len(got) != 1 {
		t.Errorf("fired %+v, want the rule", got)
	}
}
