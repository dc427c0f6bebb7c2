package code

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
)

// step is one input and when it comes.
type step struct {
	at time.Time
	in Input
}

var (
	waits = rapid.SampledFrom([]time.Duration{0, 0, 1, time.Millisecond, time.Second, time.Second, 5*time.Second - 1, 5 * time.Second, 10 * time.Second, 20 * time.Second, 45 * time.Second})
	who   = rapid.SampledFrom([]string{"v", "v", "w", "x", ""})
)

func seconds(t *rapid.T, name string, of ...int) span.Span {
	return span.Span(time.Duration(rapid.SampledFrom(of).Draw(t, name)) * time.Second)
}

func drawDefinition(t *rapid.T) Definition {
	d := plain(func(d *Definition) {
		d.Targets = nil
		for i := range rapid.IntRange(1, 3).Draw(t, "targets") {
			d.Targets = append(d.Targets, Target{N: i, URL: "https://example.org", Capacity: rapid.SampledFrom([]int64{0, 1, 3, 5, 10}).Draw(t, "capacity")})
		}
		d.MaxScans = rapid.SampledFrom([]int64{0, 0, 1, 4, 12}).Draw(t, "max_scans")
		d.Dedupe = seconds(t, "dedupe", 0, 0, 5)
		d.RenewalEvery = seconds(t, "renewal", 0, 0, 45, 200)
		drawDeadline(t, d)
	})
	for _, scope := range []risk.Scope{risk.ScopeVisitor, risk.ScopeCode} {
		if rapid.Bool().Draw(t, "rule") {
			d.Rules = append(d.Rules, risk.Rule{
				ID: string(scope), Scope: scope, Limit: rapid.IntRange(2, 5).Draw(t, "limit"), Window: seconds(t, "window", 5, 10),
				Action: rapid.SampledFrom([]risk.Action{risk.ActionLock, risk.ActionFlag}).Draw(t, "action"), For: seconds(t, "for", 10, 20),
			})
		}
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

func drawDeadline(t *rapid.T, d *Definition) {
	d.Countdown = rapid.SampledFrom([]Countdown{CountdownSliding, CountdownFixed, CountdownNone}).Draw(t, "countdown")
	d.Validity, d.Longest = seconds(t, "validity", 0, 10, 60), seconds(t, "longest", 0, 90)
}

// drawHistory is what may happen to def in at most n steps, in time order.
func drawHistory(t *rapid.T, def Definition, n int) (list []step) {
	now := t0
	for i := range rapid.IntRange(1, n).Draw(t, "steps") {
		now = now.Add(waits.Draw(t, "wait"))
		in := Input{ID: fmt.Sprint("e", i), At: now}
		switch rapid.IntRange(0, 11).Draw(t, "kind") {
		case 0:
			def.Targets = slices.Clone(def.Targets)
			def.Revision++
			kind := Changed
			switch rapid.IntRange(0, 8).Draw(t, "change") {
			case 0:
				def.MaxScans = rapid.SampledFrom([]int64{0, 2, 20}).Draw(t, "max_scans")
			case 1, 2:
				def.Targets[0].Capacity = rapid.SampledFrom([]int64{0, 2, 8}).Draw(t, "capacity")
			case 3:
				def.Targets[0].Closed = !def.Targets[0].Closed
			case 4:
				drawDeadline(t, &def)
			case 5, 6:
				def.RenewedAt, kind = now, Renewed
			case 7:
				def.RenewalEvery = seconds(t, "renewal", 0, 45, 200)
			case 8:
				if rapid.IntRange(0, 4).Draw(t, "revoke") == 0 {
					def.RevokedAt, kind = now, Revoke
				}
			}
			in.Define = &Define{Kind: kind, Def: def}
		case 1:
			in.Member = &Member{Kind: Snapshot, Target: rapid.IntRange(0, 2).Draw(t, "target"), Count: rapid.Int64Range(0, 10).Draw(t, "count")}
		case 2, 3:
			in.Member = &Member{Kind: rapid.SampledFrom([]MemberKind{Joined, Joined, Left}).Draw(t, "member"), Target: rapid.IntRange(0, 3).Draw(t, "target")}
		default:
			in.Scan = &Scan{Visitor: who.Draw(t, "visitor"), Picture: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "picture")}
			in.Scan.Class = rapid.SampledFrom([]Verdict{"", "", "", "", Preview, Bot}).Draw(t, "class")
		}
		if in.Define == nil && rapid.IntRange(0, 2).Draw(t, "spooled") == 0 {
			in.Spooled = now.Add(-rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, 21 * time.Second, time.Hour}).Draw(t, "late"))
		}
		in.Historical = in.Define == nil && rapid.IntRange(0, 9).Draw(t, "historical") == 0
		list = append(list, step{now, in})
	}
	return list
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface{ Fatal(args ...any) }

func text(t fataler, v any) string {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func snapshot(t fataler, s *State) *State {
	var sv Saved
	if err := json.Unmarshal([]byte(text(t, s.Save())), &sv); err != nil {
		t.Fatal(err)
	}
	return Restore(sv)
}

// TestReplayThroughSnapshots carries a state through snapshots at any moments:
// it goes on as one that never was stored.
func TestReplayThroughSnapshots(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def := drawDefinition(rt)
		whole, cut := New(def), New(def)
		for i, st := range drawHistory(rt, def, 60) {
			if rapid.IntRange(0, 5).Draw(rt, "snapshot") == 0 {
				cut = snapshot(rt, cut)
			}
			want, got := text(rt, whole.Apply(st.in, st.at)), text(rt, cut.Apply(st.in, st.at))
			if got != want {
				rt.Fatalf("step %d:\n got %s\nwant %s", i, got, want)
			}
		}
		if got, want := text(rt, cut.Save()), text(rt, whole.Save()); got != want {
			rt.Fatalf("in the end:\n got %s\nwant %s", got, want)
		}
		if got, want := text(rt, cut.View()), text(rt, whole.View()); got != want {
			rt.Fatalf("view:\n got %s\nwant %s", got, want)
		}
	})
}

// TestWhenItIsLookedAtDoesNotMatter: timers are hints. Ticks at any moments
// and definitions delivered again add nothing, take nothing and date nothing
// otherwise. And while nothing is due, a tick does nothing.
func TestWhenItIsLookedAtDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def := drawDefinition(rt)
		quiet, busy := New(def), New(def)
		var want, got Outcome
		add := func(to *Outcome, out Outcome) {
			to.Decisions, to.Alerts = append(to.Decisions, out.Decisions...), append(to.Alerts, out.Alerts...)
		}
		now := t0
		for _, st := range drawHistory(rt, def, 50) {
			for {
				next, ok := busy.NextDue()
				before := st.at // look a moment before the next thing is due
				if ok && !next.After(st.at) {
					before = next.Add(-1)
				}
				if !before.Before(now) {
					if out := busy.Apply(Input{}, before); len(out.Decisions)+len(out.Alerts) > 0 {
						rt.Fatalf("at %v, %v before anything is due: %s", before, next.Sub(before), text(rt, out))
					}
				}
				if !ok || next.After(st.at) {
					break
				}
				if rapid.Bool().Draw(rt, "late") {
					next = st.at
				}
				out := busy.Apply(Input{}, next)
				if len(out.Decisions)+len(out.Alerts) == 0 {
					rt.Fatalf("at %v something was due and nothing came", next)
				}
				add(&got, out)
			}
			now = st.at
			add(&want, quiet.Apply(st.in, st.at))
			add(&got, busy.Apply(st.in, st.at))
			if st.in.Define != nil {
				saved := text(rt, busy.Save())
				if out := busy.Apply(st.in, st.at); !out.Stale || len(out.Decisions)+len(out.Alerts) > 0 || text(rt, busy.Save()) != saved {
					rt.Fatalf("a definition delivered twice: %s", text(rt, out))
				}
			}
			if a, b := text(rt, got), text(rt, want); a != b {
				rt.Fatalf("by %v:\n got %s\nwant %s", st.at, a, b)
			}
		}
		if a, b := text(rt, busy.Save()), text(rt, quiet.Save()); a != b {
			rt.Fatalf("in the end:\n got %s\nwant %s", a, b)
		}
	})
}

// ledger is the words of the product, done naively from a log of what
// happened: nothing in it is kept up to date, everything is worked out anew.
type ledger struct {
	def      Definition
	log      []entry
	armed    map[int]bool
	lockedBy map[string]time.Time // rule and key → end
}

type entry struct {
	at      time.Time
	in      Input
	verdict Verdict
	target  int
}

func (l *ledger) fill(target int) (n int64, from string) {
	var scans, members int64
	joined := false
	for _, e := range l.log {
		if m := e.in.Member; m != nil && !e.in.Historical && m.Target == target {
			joined = true
			switch m.Kind {
			case Joined:
				members++
			case Left:
				members--
			case Snapshot:
				members = m.Count
			}
		}
		if e.in.Scan != nil && e.verdict == Accepted && e.target == target {
			scans++
		}
	}
	if joined {
		return max(members, 0), FromMembers
	}
	return scans, FromScans
}

func (l *ledger) room() int {
	for _, t := range l.def.Targets {
		if n, _ := l.fill(t.N); !t.Closed && (t.Capacity == 0 || n < t.Capacity) {
			return t.N
		}
	}
	return -1
}

func (l *ledger) accepted() (n int64, last time.Time) {
	for _, e := range l.log {
		if e.verdict == Accepted && !e.in.Historical {
			n, last = n+1, e.at
		}
	}
	return n, last
}

func (l *ledger) expired(now time.Time) string {
	anchor := l.def.MintedAt
	if l.def.RenewedAt.After(anchor) {
		anchor = l.def.RenewedAt
	}
	const never = 1 << 62
	renewal, expiry := time.Duration(never), time.Duration(never)
	if l.def.RenewalEvery > 0 {
		renewal = l.def.RenewalEvery.Duration()
	}
	if l.def.Countdown != CountdownNone && l.def.Validity > 0 {
		expiry = l.def.Validity.Duration()
		if _, last := l.accepted(); l.def.Countdown == CountdownSliding && last.After(anchor) {
			expiry += last.Sub(anchor)
		}
		if l.def.Longest > 0 {
			expiry = min(expiry, l.def.Longest.Duration())
		}
	}
	switch age := now.Sub(anchor); {
	case age < renewal && age < expiry:
		return ""
	case renewal <= expiry:
		return ReasonRenewal
	}
	return ReasonValidity
}

func (l *ledger) verdict(in Input, now time.Time) (Verdict, string) {
	if in.Scan.Class != "" {
		return in.Scan.Class, ""
	}
	if in.Historical {
		return Accepted, "historical"
	}
	if !l.def.RevokedAt.IsZero() {
		return Revoked, "owner"
	}
	if why := l.expired(now); why != "" {
		return Expired, why
	}
	rule, end := "", now
	for _, r := range l.def.Rules {
		if until := l.lockedBy[l.key(r, in)]; r.Action == risk.ActionLock && until.After(end) {
			rule, end = r.ID, until
		}
	}
	if rule != "" {
		return Locked, rule
	}
	if n, _ := l.accepted(); l.def.MaxScans > 0 && n >= l.def.MaxScans {
		return Capped, "max_scans"
	}
	if l.room() < 0 {
		return Full, "capacity"
	}
	var newest, decided int64 // of the accepted ones that are not forgotten
	window := l.def.Dedupe.Duration().Milliseconds()
	for _, e := range l.log {
		if in.Scan.Visitor == "" || e.verdict != Accepted || e.in.Historical || e.in.Scan.Visitor != in.Scan.Visitor || e.in.Scan.Picture != in.Scan.Picture {
			continue
		}
		if e.at.UnixMilli()-decided > window {
			newest = 0
		}
		newest, decided = max(newest, when(e.in, e.at).UnixMilli()), e.at.UnixMilli()
	}
	apart := when(in, now).UnixMilli() - newest
	if window > 0 && now.UnixMilli()-decided <= window && apart <= window && -apart <= window {
		return Duplicate, "dedupe"
	}
	return Accepted, ""
}

// when an input counts.
func when(in Input, at time.Time) time.Time {
	if in.Spooled.IsZero() {
		return at
	}
	return in.Spooled
}

// key is who a rule watches in a scan; empty: nobody.
func (l *ledger) key(r risk.Rule, in Input) string {
	if r.Scope == risk.ScopeVisitor && in.Scan.Visitor == "" {
		return ""
	}
	if r.Scope == risk.ScopeCode {
		return r.ID
	}
	return r.ID + " " + in.Scan.Visitor
}

// fires works out which rules a scan, already in the log, fires.
func (l *ledger) fires(in Input, now time.Time) (out []string) {
	for _, r := range l.def.Rules {
		key := l.key(r, in)
		if key == "" || l.lockedBy[key].After(now) {
			continue
		}
		var hits []time.Time // those with the newest times last
		var counted time.Time
		mine := 0 // how many of them are newer than the scan
		for _, e := range l.log {
			if e.in.Scan == nil || e.in.Historical || e.verdict == Preview || e.verdict == Bot || l.key(r, e.in) != key {
				continue
			}
			if e.at.Sub(counted) > r.Window.Duration() {
				hits = nil
			}
			counted = e.at
			hits = append(hits, when(e.in, e.at))
			slices.SortFunc(hits, time.Time.Compare)
		}
		for _, h := range hits {
			if h.After(when(in, now)) {
				mine++
			}
		}
		if n := len(hits); n >= r.Limit && mine < r.Limit && hits[n-1].Sub(hits[n-r.Limit]) <= r.Window.Duration() {
			l.lockedBy[key] = now.Add(r.For.Duration())
			out = append(out, string(r.Action)+" "+r.ID)
		}
	}
	return out
}

// warns works out which targets' warnings go out after the last entry.
func (l *ledger) warns() (out []string) {
	for _, t := range l.def.Targets {
		if t.Capacity == 0 {
			continue
		}
		n, _ := l.fill(t.N)
		switch share := float64(n) / float64(t.Capacity); {
		case share >= 0.80 && !l.armed[t.N]: // armed[n]: the warning is out
			l.armed[t.N] = true
			out = append(out, fmt.Sprint("target ", t.N))
		case share < 0.75:
			l.armed[t.N] = false
		}
	}
	return out
}

// TestStateAgreesWithTheWords holds the state machine to the ledger.
func TestStateAgreesWithTheWords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def := drawDefinition(rt)
		s := New(def)
		l := &ledger{def: def, armed: map[int]bool{}, lockedBy: map[string]time.Time{}}
		same := func(what string, got, want any) {
			if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
				rt.Fatalf("entry %d, %s: got %s, want %s", len(l.log), what, a, b)
			}
		}
		for _, st := range drawHistory(rt, def, 60) {
			e := entry{at: st.at, in: st.in, target: -1}
			var rule string
			var fired []string
			if st.in.Define != nil {
				l.def = st.in.Define.Def
			}
			if st.in.Scan != nil {
				e.verdict, rule = l.verdict(st.in, st.at)
				if (e.verdict == Accepted || e.verdict == Duplicate) && !st.in.Historical {
					e.target = l.room()
				}
			}
			l.log = append(l.log, e)
			if st.in.Scan != nil && !st.in.Historical && e.verdict != Preview && e.verdict != Bot {
				fired = l.fires(st.in, st.at)
			}
			warned := l.warns()

			out := s.Apply(st.in, st.at)
			same("verdict", fmt.Sprint(out.Verdict, " by ", out.Rule, " to ", out.Target), fmt.Sprint(e.verdict, " by ", rule, " to ", e.target))
			var gotFired, gotWarned []string
			for _, d := range out.Decisions {
				if d.Kind == KindLock || d.Kind == KindFlag {
					gotFired = append(gotFired, string(d.Kind)+" "+d.Rule)
				}
			}
			for _, a := range out.Alerts {
				if a.Kind == AlertCapacity {
					gotWarned = append(gotWarned, fmt.Sprint("target ", a.Target))
					n, from := l.fill(a.Target)
					same("numbers", fmt.Sprint(a.Members, a.MembersFrom), fmt.Sprint(n, from))
				}
			}
			same("fired", gotFired, fired)
			same("warned", gotWarned, warned)

			n, last := l.accepted()
			same("consumed", s.Consumed, n)
			same("last accepted", s.LastAccepted.UTC(), last.UTC())
			status, current := StatusActive, l.room()
			switch {
			case !l.def.RevokedAt.IsZero():
				status = StatusRevoked
			case l.expired(st.at) != "":
				status = StatusExpired
			case l.def.MaxScans > 0 && n >= l.def.MaxScans:
				status = StatusCapped
			case current < 0:
				status = StatusFull
			}
			if status != StatusActive {
				current = -1
			}
			same("status", fmt.Sprint(s.Status, s.Current), fmt.Sprint(status, current))
		}
	})
}

// TestLimitsAreNeverOvershot: with the limits left alone, an accepted scan is
// never one too many, and where scans stand in, no target takes one too many.
func TestLimitsAreNeverOvershot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def := drawDefinition(rt)
		s := New(def)
		for _, st := range drawHistory(rt, def, 80) {
			if st.in.Define != nil {
				continue
			}
			s.Apply(st.in, st.at)
			if def.MaxScans > 0 && s.Consumed > def.MaxScans {
				rt.Fatalf("consumed %d of %d", s.Consumed, def.MaxScans)
			}
			for i, ts := range s.Targets {
				if most := def.Targets[i].Capacity; most > 0 && !ts.Joined && ts.Scans > most {
					rt.Fatalf("target %d took %d of %d", ts.N, ts.Scans, most)
				}
			}
			var total int64
			for _, n := range s.Counts {
				total += n
			}
			if (s.Current >= 0) != (s.Status == StatusActive) || s.Counts.Of(Accepted) < s.Consumed || total < s.Consumed {
				rt.Fatalf("status %s, current %d, counts %v, consumed %d", s.Status, s.Current, s.Counts, s.Consumed)
			}
		}
	})
}

func TestSaveSharesNothing(t *testing.T) {
	l := begin(t, lockout, dedupe(time.Hour))
	for i := range rateHits {
		l.at(time.Duration(i) * time.Second).scan(fmt.Sprint(i))
	}
	sv := l.Save()
	before := text(t, sv)
	l.at(time.Minute).scan("w")
	l.joins(3, 0)
	if got := text(t, sv); got != before {
		t.Errorf("a saved state moved:\n got %s\nwant %s", got, before)
	}
}
