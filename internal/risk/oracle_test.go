package risk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code/span"
)

// oracle is Watch done naively: it keeps every scan there ever was and counts
// anew each time. What it may look at is bounded only by a change of rules.
type oracle struct {
	logs map[entryKey]*naive
}

type naive struct {
	hits    []Hit     // all of them, by time; a change of rules takes some away
	counted time.Time // when the last one came
	limit   int       // of the last count
	until   int64
	lock    bool
}

func (o *oracle) log(r Rule, key string) *naive {
	k := entryKey{r.ID, r.Scope, key}
	if o.logs[k] == nil {
		o.logs[k] = &naive{limit: r.Limit}
	}
	return o.logs[k]
}

// limited takes away what a watch with another limit did not keep.
func (n *naive) limited(limit int) {
	if n.limit != limit {
		n.hits = n.hits[max(0, len(n.hits)-n.limit):]
		n.limit = limit
	}
}

func (o *oracle) count(rules []Rule, s Subject, id string, at, now time.Time) (out []Firing) {
	for _, r := range rules {
		key, ok := s.key(r.Scope)
		if !ok {
			continue
		}
		n := o.log(r, key)
		n.limited(r.Limit)
		if now.Sub(n.counted) > r.Window.Duration() {
			n.hits = nil
		}
		n.counted = now
		n.hits = append(n.hits, Hit{at.UnixNano(), id})
		slices.SortStableFunc(n.hits, func(a, b Hit) int { return cmp.Compare(a.At, b.At) })
		newest := time.Unix(0, n.hits[len(n.hits)-1].At)
		var within []Hit // the newest N of those no older than the window
		mine := false
		for i := len(n.hits) - 1; i >= 0 && len(within) < r.Limit; i-- {
			if newest.Sub(time.Unix(0, n.hits[i].At)) <= r.Window.Duration() {
				within = append(within, n.hits[i])
				mine = mine || n.hits[i].ID == id
			}
		}
		if len(within) < r.Limit || !mine || now.UnixNano() < n.until {
			continue
		}
		n.until, n.lock = now.Add(r.For.Duration()).UnixNano(), r.Action == ActionLock
		slices.Reverse(within)
		f := Firing{Rule: r, Key: key, At: now, Oldest: time.Unix(0, within[0].At).UTC(), Until: time.Unix(0, n.until).UTC()}
		for _, h := range within {
			f.Causes = append(f.Causes, h.ID)
		}
		out = append(out, f)
	}
	return out
}

func (o *oracle) blocked(rules []Rule, s Subject, now time.Time) (b Block, found bool) {
	for _, r := range rules {
		key, ok := s.key(r.Scope)
		if n := o.logs[entryKey{r.ID, r.Scope, key}]; ok && r.Action == ActionLock && n != nil && n.lock && now.UnixNano() < n.until {
			if !found || n.until > b.Until.UnixNano() {
				b, found = Block{r.ID, r.Scope, key, time.Unix(0, n.until).UTC()}, true
			}
		}
	}
	return b, found
}

func (o *oracle) unlock(when func(entryKey, *naive) (time.Time, bool)) (out []Unlock) {
	for k, n := range o.logs {
		if at, ok := when(k, n); ok && n.lock {
			n.lock = false
			out = append(out, Unlock{k.rule, k.scope, k.key, at})
		}
	}
	slices.SortFunc(out, func(a, b Unlock) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.RuleID, b.RuleID), cmp.Compare(a.Scope, b.Scope), strings.Compare(a.Key, b.Key))
	})
	return out
}

func (o *oracle) due(now time.Time) []Unlock {
	return o.unlock(func(_ entryKey, n *naive) (time.Time, bool) {
		return time.Unix(0, n.until).UTC(), now.UnixNano() >= n.until
	})
}

func (o *oracle) nextDue() (next time.Time, found bool) {
	for _, n := range o.logs {
		if at := time.Unix(0, n.until).UTC(); n.lock && (!found || at.Before(next)) {
			next, found = at, true
		}
	}
	return next, found
}

func (o *oracle) change(from, to []Rule, now time.Time) []Unlock {
	find := func(rules []Rule, k entryKey) *Rule {
		for i := range rules {
			if rules[i].ID == k.rule && rules[i].Scope == k.scope {
				return &rules[i]
			}
		}
		return nil
	}
	ended := o.unlock(func(k entryKey, n *naive) (time.Time, bool) {
		r := find(to, k)
		return now, r == nil || r.Action != ActionLock
	})
	for k, n := range o.logs {
		was, is := find(from, k), find(to, k)
		if is == nil {
			delete(o.logs, k)
			continue
		}
		if was != nil && *was == *is {
			continue
		}
		n.limited(is.Limit)
		for len(n.hits) > 0 {
			late := n.counted.Sub(time.Unix(0, n.hits[len(n.hits)-1].At))
			if now.Add(-late).Sub(time.Unix(0, n.hits[0].At)) <= was.Window.Duration() {
				break
			}
			n.hits = n.hits[1:]
		}
		if was.Action != is.Action {
			n.until = 0
		}
	}
	return ended
}

func drawRules(t *rapid.T, name string) []Rule {
	var out []Rule
	for _, id := range []string{"a", "b", "c"} {
		if !rapid.Bool().Draw(t, name+" has "+id) {
			continue
		}
		out = append(out, Rule{
			ID:     id,
			Scope:  rapid.SampledFrom([]Scope{ScopeVisitor, ScopeCode, ScopeNetwork}).Draw(t, "scope"),
			Limit:  rapid.IntRange(1, 6).Draw(t, "limit"),
			Window: span.Span(time.Duration(rapid.IntRange(1, 5).Draw(t, "window")) * time.Second),
			Action: rapid.SampledFrom([]Action{ActionLock, ActionFlag, ActionDryRun}).Draw(t, "action"),
			For:    span.Span(time.Duration(rapid.SampledFrom([]int{1, 3, 10}).Draw(t, "for")) * time.Second),
		})
	}
	return out
}

// steps hit the boundaries of the windows and locks above, and miss them by a
// nanosecond.
var steps = rapid.OneOf(
	rapid.Just(time.Duration(0)),
	rapid.SampledFrom([]time.Duration{1, time.Second - 1, time.Second, time.Second + 1, 2 * time.Second, 3 * time.Second, 5 * time.Second, 5*time.Second + 1, 10 * time.Second}),
	rapid.Map(rapid.IntRange(0, 1_500), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }),
)

// lateness is how long scans lay in a spool.
var lateness = rapid.OneOf(steps, rapid.SampledFrom([]time.Duration{time.Minute, time.Minute + time.Second, time.Minute + 4*time.Second, time.Hour}))

// roundTrip carries the windows through a snapshot.
func roundTrip(t *rapid.T, w *Watch) *Watch {
	b, err := json.Marshal(w.Export())
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	if err := json.Unmarshal(b, &entries); err != nil {
		t.Fatal(err)
	}
	var out Watch
	out.Import(entries)
	return &out
}

// TestWatchAgreesWithTheLog holds two watches against the oracle: one left
// alone, one swept and carried through snapshots at random moments.
func TestWatchAgreesWithTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var plain Watch
		churned := &Watch{}
		truth := oracle{logs: map[entryKey]*naive{}}
		rules, now := drawRules(t, "first"), t0
		same := func(what string, want any, got ...any) {
			for i, g := range got {
				if a, b := fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", want); a != b {
					t.Fatalf("%s, watch %d:\n got %s\nwant %s", what, i, a, b)
				}
			}
		}
		for n := range rapid.IntRange(1, 80).Draw(t, "ops") {
			now = now.Add(steps.Draw(t, "step"))
			s := Subject{
				Visitor: rapid.SampledFrom([]string{"v", "v", "w", ""}).Draw(t, "visitor"),
				Network: rapid.SampledFrom([]string{"n", "v", ""}).Draw(t, "network"),
			}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				to := drawRules(t, "next")
				same("change", truth.change(rules, to, now), plain.Change(rules, to, now), churned.Change(rules, to, now))
				rules = to
			case 1:
				same("change to the same", truth.change(rules, rules, now), churned.Change(rules, rules, now), plain.Change(rules, rules, now))
			case 2:
				churned.Sweep(rules, now)
			case 3:
				churned = roundTrip(t, churned)
			case 4:
				same("due", truth.due(now), plain.Due(now), churned.Due(now))
			default:
				id, at := fmt.Sprint(n), now
				if late := rapid.IntRange(0, 2).Draw(t, "late"); late == 0 {
					at = now.Add(-lateness.Draw(t, "by"))
				}
				same("count", truth.count(rules, s, id, at, now), plain.Count(rules, s, id, at, now), churned.Count(rules, s, id, at, now))
			}
			type blocked struct {
				Block
				OK bool
			}
			ask := func(f func([]Rule, Subject, time.Time) (Block, bool)) blocked {
				b, ok := f(rules, s, now)
				return blocked{b, ok}
			}
			same("blocked", ask(truth.blocked), ask(plain.Blocked), ask(churned.Blocked))
			wantAt, want := truth.nextDue()
			for _, w := range []*Watch{&plain, churned} {
				if at, ok := w.NextDue(); ok != want || ok && !at.Equal(wantAt) {
					t.Fatalf("next due %v %v, want %v %v", at, ok, wantAt, want)
				}
			}
			same("locks", plain.Locks(now), churned.Locks(now))
		}
		for _, e := range plain.Export() {
			if i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == e.Rule }); i >= 0 && len(e.Ring) > 6 {
				t.Fatalf("a window of %d scans", len(e.Ring))
			}
		}
	})
}

// TestLimitChangedOnTheWay changes a rule's limit between two scans, without
// Change: the window goes on with what it kept.
func TestLimitChangedOnTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Watch
		truth := oracle{logs: map[entryKey]*naive{}}
		now := t0
		for n := range 40 {
			now = now.Add(steps.Draw(t, "step"))
			r := Rule{ID: "r", Scope: ScopeCode, Limit: rapid.IntRange(1, 5).Draw(t, "limit"), Window: span.Span(3 * time.Second), Action: ActionFlag, For: span.Span(time.Second)}
			at := now
			if rapid.Bool().Draw(t, "late") {
				at = now.Add(-lateness.Draw(t, "by"))
			}
			want, got := truth.count([]Rule{r}, Subject{}, fmt.Sprint(n), at, now), w.Count([]Rule{r}, Subject{}, fmt.Sprint(n), at, now)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
	})
}

func TestExportSharesNothing(t *testing.T) {
	var w Watch
	rules := []Rule{rule(3, time.Minute)}
	countAll(&w, rules, Subject{Visitor: "v"}, 0, 0)
	out := w.Export()
	out[0].Ring[0].At = 0
	if got := countAll(&w, rules, Subject{Visitor: "v"}, time.Second); len(got) != 1 {
		t.Errorf("fired %+v", got)
	}
	var broken Watch
	broken.Import([]Entry{{Rule: "r", Scope: ScopeVisitor, Key: "v", Ring: []Hit{{At: t0.UnixNano()}}, Head: 7}})
	if got := countAll(&broken, rules, Subject{Visitor: "v"}, 0, 0); len(got) != 1 {
		t.Errorf("a window with its head out of range: fired %+v", got)
	}
}
