package oracle

import (
	"slices"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Words of the contract that are decided here. A test holds them against those the worker has.
const (
	accepted, duplicate, preview, bot, locked = "accepted", "duplicate", "preview", "bot", "locked"
	capped, expired, full, revoked            = "capped", "expired", "full", "revoked"

	active = "active" // the state of a code, whose others are verdicts too
)

const (
	rearmBelow   = 75                // per cent: a capacity warning may come again
	reminder     = 24 * time.Hour    // before a renewal is due
	rateArrivals = 20                // a rate is taken from so many
	farthest     = 87600 * time.Hour // an estimate further away says nothing: ten years of 365 days
	byValidity   = "validity"        // why a code expired
	byRenewal    = "renewal-overdue" // likewise
	fromMembers  = "members"         // what a fill is counted from
	fromScans    = "scans"           // likewise
	liveFor      = 2 * time.Minute   // a live picture leads somewhere for so long, from the begin of its minute
	byLive       = "live-window"     // why an older one does not
	mostCauses   = 100               // events named as a cause: the newest
)

// life is one code and what has happened to it.
type life struct {
	def      definition
	state    string
	cause    string    // why it expired
	expires  time.Time // zero: never
	renewal  time.Time // due; zero: never
	reminded bool
	current  int // target that scans go to; -1: none
	consumed int64
	counts   map[string]int64
	targets  []*group
	last     time.Time // the newest accepted scan
	first    *first
	visitors map[string]bool
	led      map[[2]string]led // by visitor and picture
	watch    watch
}

// group is what happened at one target.
type group struct {
	n        int
	members  int64 // joins minus leaves, or since a snapshot
	told     bool  // a member event has come: members count, and not scans
	scans    int64 // accepted here
	warned   bool
	arrivals []time.Time
}

// led is what is known of a visitor's accepted scans of a picture.
type led struct {
	newest  time.Time // at which one of them counts
	decided time.Time // the clock of the last one
}

// forgotten reports whether the last scan was decided longer ago than a window. Whole milliseconds, the log's own grain.
func (l led) forgotten(window time.Duration, now time.Time) bool {
	return now.UnixMilli()-l.decided.UnixMilli() > window.Milliseconds()
}

type first struct {
	event, device, province string
	at                      time.Time
}

// scan is what a code needs to know of a scan.
type scan struct {
	id               string
	at               time.Time // its own time
	stale            bool      // of a live picture that was shown too long before
	historical       bool
	class, classRule string
	visitor, network string
	picture          string
	device, province string
}

// changes is what an input led to.
type changes struct {
	verdict, rule string
	target        int // -1: led nowhere
	decisions     []decision
	alerts        []alert
	stale         bool // the definition was no news
}

type decision struct {
	at   time.Time
	data *events.Decision
}

type alert struct {
	at   time.Time
	data *events.Alert
}

func mint(d *events.CodeData) *life {
	l := &life{def: read(d), counts: map[string]int64{}, visitors: map[string]bool{}, led: map[[2]string]led{}}
	l.meet()
	l.countdown(l.def.start())
	l.remind()
	l.state = l.status()
	l.current = l.room()
	if l.state != active {
		l.current = -1
	}
	return l
}

// meet makes a group of every target that has none yet.
func (l *life) meet() {
	for _, t := range l.def.targets {
		if l.group(t.n) == nil {
			l.targets = append(l.targets, &group{n: t.n})
		}
	}
}

func (l *life) group(n int) *group {
	for _, g := range l.targets {
		if g.n == n {
			return g
		}
	}
	return nil
}

// countdown starts the countdown at from.
func (l *life) countdown(from time.Time) { l.expires = l.def.expiry(from) }

// remind starts the renewal period anew.
func (l *life) remind() {
	l.renewal, l.reminded = time.Time{}, false
	if l.def.renewEvery > 0 {
		l.renewal = l.def.start().Add(l.def.renewEvery)
	}
}

func (l *life) decide(c *changes, at time.Time, d events.Decision) {
	d.Code = l.def.id
	if n := len(d.Cause); n > mostCauses {
		d.Cause = d.Cause[n-mostCauses:]
	}
	c.decisions = append(c.decisions, decision{at, &d})
}

func (l *life) alert(c *changes, at time.Time, a events.Alert) {
	a.Code = l.def.id
	if n := len(a.Cause); n > mostCauses {
		a.Cause = a.Cause[n-mostCauses:]
	}
	c.alerts = append(c.alerts, alert{at, &a})
}

func some(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}

// causes is the list of one event id; an event without one names nothing.
func causes(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// pass lets time pass until now: what has become due is done.
func (l *life) pass(now time.Time) changes {
	c := changes{target: -1}
	l.due(&c, time.Time{}, now)
	return c
}

// due does what has become due by now, each at its own time but none before since: locks end, the owner is reminded, the code expires.
func (l *life) due(c *changes, since, now time.Time) {
	dated := func(at time.Time) time.Time {
		if at.Before(since) {
			return since
		}
		return at
	}
	from := len(c.decisions)
	for _, w := range l.watch.ended(now) {
		l.decide(c, w.until, events.Decision{Kind: "unlock", Reason: "lock-ended", Rule: w.rule, Scope: w.scope, Key: w.key})
	}
	if !l.def.revoked.IsZero() || l.cause != "" {
		return
	}
	if !l.renewal.IsZero() && !l.reminded {
		before := reminder
		if third := l.def.renewEvery / 3; third < before {
			before = third
		}
		at := l.renewal.Add(-before)
		if !now.Before(at) && (l.expires.IsZero() || at.Before(l.expires)) {
			l.reminded = true
			l.alert(c, dated(at), events.Alert{Kind: "renewal", Reason: "due-soon", DueAt: moment(l.renewal)})
		}
	}
	why, at := l.lapsed(now)
	if why == byRenewal {
		l.alert(c, dated(at), events.Alert{Kind: "renewal", Reason: "overdue", DueAt: moment(at)})
	}
	if why != "" {
		l.state, l.cause, l.current = expired, why, -1
		l.decide(c, dated(at), events.Decision{Kind: "expire", Reason: why})
		l.alert(c, dated(at), events.Alert{Kind: "expiry", Reason: why, DueAt: moment(dated(at))})
	}
	slices.SortStableFunc(c.decisions[from:], func(a, b decision) int { return a.at.Compare(b.at) })
}

// lapsed says which of validity and renewal period is over at now, the one that ended first, and when it did.
func (l *life) lapsed(now time.Time) (why string, at time.Time) {
	over := func(end time.Time) bool { return !end.IsZero() && !end.After(now) }
	switch {
	case over(l.renewal) && over(l.expires) && l.expires.Before(l.renewal):
		return byValidity, l.expires
	case over(l.renewal):
		return byRenewal, l.renewal
	case over(l.expires):
		return byValidity, l.expires
	}
	return "", time.Time{}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// scan gives a scan, which counts at w, its verdict and does what it brings with it.
func (l *life) scan(s scan, w, now time.Time) changes {
	c := l.pass(now)
	c.verdict, c.rule = l.judge(s, w, now)
	l.counts[c.verdict]++
	if (c.verdict == accepted || c.verdict == duplicate) && !s.historical {
		c.target = l.current
	}
	if c.verdict == accepted {
		l.accept(&c, s, w, now)
	}
	if c.verdict != preview && c.verdict != bot && !s.historical {
		for _, f := range l.watch.count(l.def.rules, s, w, now) {
			l.fire(&c, f, now)
		}
	}
	return c
}

// judge asks, in this order: is it a person, is the code over, is the visitor locked out, is there a scan and room left, is it a repeat.
func (l *life) judge(s scan, w, now time.Time) (verdict, rule string) {
	if s.class == preview || s.class == bot {
		return s.class, s.classRule
	}
	if s.historical {
		return accepted, "historical"
	}
	if l.state == revoked {
		return revoked, "owner"
	}
	if l.state == expired {
		return expired, l.cause
	}
	if s.stale {
		return expired, byLive
	}
	if id, ok := l.watch.locked(l.def.rules, s, now); ok {
		return locked, id
	}
	if l.state == capped {
		return capped, "max_scans"
	}
	if l.state == full {
		return full, "capacity"
	}
	if l.def.dedupe > 0 && s.visitor != "" {
		key := [2]string{s.visitor, s.picture}
		last, known := l.led[key]
		known = known && !last.forgotten(l.def.dedupe, now)
		apart := w.UnixMilli() - last.newest.UnixMilli()
		if known && max(apart, -apart) <= l.def.dedupe.Milliseconds() {
			return duplicate, "dedupe"
		}
		if !known || w.After(last.newest) {
			last.newest = w
		}
		last.decided = now
		l.led[key] = last
	}
	return accepted, ""
}

func (l *life) accept(c *changes, s scan, w, now time.Time) {
	at := w
	if s.historical {
		at = s.at
	}
	if l.first == nil || at.Before(l.first.at) {
		l.first = &first{event: s.id, at: at, device: s.device, province: s.province}
	}
	if s.visitor != "" {
		l.visitors[s.visitor] = true
	}
	if s.historical {
		return
	}
	l.consumed++
	l.last = now
	if l.def.sliding {
		l.countdown(now)
	}
	if g := l.group(l.current); g != nil {
		g.scans++
		if !g.told {
			g.arrive(w)
			l.warn(c, g, s.id, now)
		}
	}
	l.move(c, s.id, now)
}

func (l *life) fire(c *changes, f firing, now time.Time) {
	kind := f.rule.action
	ids := causes(f.ids...)
	l.decide(c, now, events.Decision{Kind: kind, Reason: "limit-in-window", Rule: f.rule.id, Scope: f.rule.scope, Key: f.key, Until: moment(f.until), Cause: ids})
	if kind == "dry-run" {
		return
	}
	a := events.Alert{
		Kind: "risk", Reason: kind, Rule: f.rule.id, Scope: f.rule.scope, Key: f.key, Until: moment(f.until), Limit: f.rule.limit, Cause: ids,
	}
	setSpan(&a.Window, f.rule.window)
	l.alert(c, now, a)
}

// setSpan sets a duration of the wire.
func setSpan[S ~int64](to *S, d time.Duration) { *to = S(d) }

// member counts one person in (step 1) or out (step -1), or takes the true size over.
func (l *life) member(e *events.Event, n int, step int64, size *int64, w, now time.Time) changes {
	c := l.pass(now)
	g := l.group(n)
	if e.Historical || g == nil {
		return c
	}
	if !g.told {
		g.told, g.arrivals = true, nil
	}
	g.members += step
	if step > 0 {
		g.arrive(w)
	}
	if size != nil {
		g.members = *size
	}
	l.warn(&c, g, e.ID, now)
	l.move(&c, e.ID, now)
	return c
}

// redefine takes a newer definition over.
func (l *life) redefine(id string, d *events.CodeData, now time.Time) changes {
	c := l.pass(now)
	next, old := read(d), l.def
	if next.revision <= old.revision {
		c.stale = true
		return c
	}
	for _, w := range l.watch.change(old.rules, next, now) {
		l.decide(&c, now, events.Decision{Kind: "unlock", Reason: "rule-changed", Rule: w.rule, Scope: w.scope, Key: w.key, Cause: causes(id)})
	}
	if next.dedupe == 0 {
		clear(l.led)
	}
	for key, last := range l.led { // a changed window looks back at what the old one still saw
		if next.dedupe != old.dedupe && last.forgotten(old.dedupe, now) {
			delete(l.led, key)
		}
	}
	renewed := next.renewed.After(old.renewed)
	l.def = next
	l.meet()
	if renewed || next.validity != old.validity || next.longest != old.longest || next.sliding != old.sliding || next.counting != old.counting {
		from := next.start()
		if next.sliding && l.last.After(from) {
			from = l.last
		}
		l.countdown(from)
	}
	if renewed || next.renewEvery != old.renewEvery {
		l.remind()
	}
	if renewed {
		l.decide(&c, now, events.Decision{Kind: "renew", Reason: "owner", Cause: causes(id)})
	}
	if why, _ := l.lapsed(now); why != l.cause {
		l.cause = "" // what it had expired by is so no more; due says whether something else is
	}
	for _, g := range l.targets {
		l.warn(&c, g, id, now)
	}
	l.due(&c, now, now)
	l.move(&c, id, now)
	return c
}

// move works out the state and the target that scans go to, and says what has changed.
func (l *life) move(c *changes, id string, now time.Time) {
	was, from := l.state, l.current
	l.state = l.status()
	l.current = -1
	if l.state == active {
		l.current = l.room()
	}
	d := events.Decision{Target: some(l.current), Cause: causes(id)}
	switch {
	case l.state == was && (l.state != active || l.current == from):
		return
	case l.state == was:
		d.Kind, d.Reason, d.From = "rotate", l.reason(from), some(from)
	case l.state == capped:
		d.Kind, d.Reason = "cap", "max_scans"
	case l.state == full:
		d.Kind, d.Reason, d.Target = "full", "capacity", some(from)
	case l.state == revoked:
		d.Kind, d.Reason = "revoke", "owner"
	case l.state == active:
		d.Kind, d.Reason = "reopen", "was-"+was
	default:
		return // that it expired has been said
	}
	l.decide(c, now, d)
}

// reason is why scans go to target n no more.
func (l *life) reason(n int) string {
	t := l.def.target(n)
	if t == nil || t.closed {
		return "closed"
	}
	if n, _ := l.group(n).fill(); t.capacity > 0 && n >= t.capacity {
		return "capacity"
	}
	return "room"
}

func (l *life) status() string {
	switch {
	case !l.def.revoked.IsZero():
		return revoked
	case l.cause != "":
		return expired
	case l.def.maxScans > 0 && l.consumed >= l.def.maxScans:
		return capped
	case l.room() < 0:
		return full
	}
	return active
}

// room is the first open target with room, or -1.
func (l *life) room() int {
	for _, t := range l.def.targets {
		n, _ := l.group(t.n).fill()
		if !t.closed && (t.capacity == 0 || n < t.capacity) {
			return t.n
		}
	}
	return -1
}

// fill is how many people a group is taken to hold, and what that was counted from.
func (g *group) fill() (n int64, from string) {
	if g.told {
		return max(g.members, 0), fromMembers
	}
	return g.scans, fromScans
}

// arrive notes an arrival that counts at w: the newest are kept, in the order of their times.
func (g *group) arrive(w time.Time) {
	g.arrivals = append(g.arrivals, w)
	slices.SortStableFunc(g.arrivals, time.Time.Compare)
	if n := len(g.arrivals); n > rateArrivals {
		g.arrivals = slices.Clone(g.arrivals[n-rateArrivals:])
	}
}

// rate is the arrivals an hour between the last ones, in whole milliseconds; 0: unknown.
func (g *group) rate() float64 {
	n := len(g.arrivals)
	if n < 2 {
		return 0
	}
	ms := g.arrivals[n-1].UnixMilli() - g.arrivals[0].UnixMilli()
	if ms <= 0 {
		return 0
	}
	return float64(n-1) / (float64(ms) / 3.6e6)
}

// fullAt is when left more people will have come at so many an hour; zero: unknown, or too far away.
func fullAt(from time.Time, left int64, rate float64) time.Time {
	if left <= 0 {
		return from
	}
	if rate <= 0 {
		return time.Time{}
	}
	hours := float64(left) / rate
	if hours > farthest.Hours() {
		return time.Time{}
	}
	return from.Add(time.Duration(hours * float64(time.Hour))).Truncate(time.Millisecond)
}

// warn says once that a group fills up, and again when it has been emptier in between.
func (l *life) warn(c *changes, g *group, id string, now time.Time) {
	t := l.def.target(g.n)
	if t == nil || t.capacity == 0 || l.def.warnAt == 0 {
		return
	}
	n, from := g.fill()
	if g.warned {
		if n*100 < t.capacity*int64(min(rearmBelow, l.def.warnAt)) {
			g.warned = false
		}
		return
	}
	if n*100 < t.capacity*int64(l.def.warnAt) {
		return
	}
	g.warned = true
	eta := "unknown"
	if at := fullAt(now, t.capacity-n, g.rate()); !at.IsZero() {
		eta = events.FormatTime(at)
	}
	l.alert(c, now, events.Alert{
		Kind: "capacity", Reason: "threshold", Target: some(g.n), Members: &n, MembersFrom: from, Capacity: t.capacity,
		Percent: float64(n) * 100 / float64(t.capacity), Threshold: l.def.warnAt, PerHour: g.rate(), EtaFull: eta, Cause: causes(id),
	})
}
