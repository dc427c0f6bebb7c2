package code

import (
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

// rateHits is how many of a target's last arrivals its fill rate is taken from.
const rateHits = 20

// TargetState is what has happened at one target.
type TargetState struct {
	N       int     `json:"n"`
	Members int64   `json:"members"`          // joins minus leaves, or the last snapshot
	Joined  bool    `json:"joined,omitzero"`  // a member event was seen: Members counts, not Scans
	Scans   int64   `json:"scans"`            // accepted scans led here
	Warned  bool    `json:"warned,omitzero"`  // the capacity warning is out and not re-armed
	Recent  []int64 `json:"recent,omitempty"` // Unix milliseconds of the newest arrivals, oldest first
}

// Fill is the number of people the target is taken to hold, and what it was
// counted from: "members" or "scans".
func (t *TargetState) Fill() (n int64, from string) {
	if t.Joined {
		return max(t.Members, 0), FromMembers
	}
	return t.Scans, FromScans
}

// What a fill was counted from.
const (
	FromMembers = "members" // member events
	FromScans   = "scans"   // accepted scans stand in, no member event was seen
)

// perHour is the recent rate of arrivals, and false when there is none.
func (t *TargetState) perHour() (float64, bool) {
	if len(t.Recent) < 2 {
		return 0, false
	}
	spanMS := t.Recent[len(t.Recent)-1] - t.Recent[0]
	if spanMS <= 0 {
		return 0, false
	}
	return float64(len(t.Recent)-1) / (float64(spanMS) / 3.6e6), true
}

// arrive notes an arrival at a time, which need not be the newest.
func (t *TargetState) arrive(at time.Time) {
	i := len(t.Recent)
	for i > 0 && t.Recent[i-1] > at.UnixMilli() {
		i--
	}
	t.Recent = slices.Insert(t.Recent, i, at.UnixMilli())
	if len(t.Recent) > rateHits {
		t.Recent = slices.Delete(t.Recent, 0, 1)
	}
}

// First is the first accepted scan of a code.
type First struct {
	EventID     string    `json:"event_id"`
	At          time.Time `json:"at"`
	DeviceModel string    `json:"device_model,omitzero"`
	Province    string    `json:"province,omitzero"`
}

// State is a code and everything the log has done to it. It is changed by
// Apply alone and is not safe for concurrent use.
type State struct {
	Def          Definition
	Status       Status
	ExpiredBy    string    // reason, when Status is expired
	ExpiresAt    time.Time // zero: permanent
	RenewalDueAt time.Time // zero: never
	Reminded     bool      // the reminder of this renewal period is out
	Current      int       // the target scans go to; -1: none
	Consumed     int64     // accepted scans that used up the cap
	Counts       Counts
	Targets      []TargetState
	LastAccepted time.Time // the newest accepted scan; zero: none yet
	First        *First

	visitors hashes          // of visitors with an accepted scan
	recent   map[string]seen // dedupe: visitor and picture → last accepted
	watch    risk.Watch
	swept    int // windows left by the last sweep
}

// seen is the newest accepted scan of a visitor and picture: its time, and how
// much later it was decided; Unix milliseconds.
type seen struct{ at, lag int64 }

// Input is one thing that happens to a code. Exactly one of the pointers is
// set; an Input with none is a tick.
type Input struct {
	ID         string    // the event's id: the cause of what follows
	Historical bool      // recorded, but causes no lock, alert, rotation or timer
	At         time.Time // the event's own time; decides only what history's first scan is
	Spooled    time.Time // when a gateway wrote it down, if it comes late; zero: now
	Scan       *Scan
	Member     *Member
	Define     *Define
}

// Scan is what the state machine needs to know of a scan.
type Scan struct {
	Class     Verdict // Preview or Bot, else empty: a person
	ClassRule string  // the reason for Class
	Visitor   string
	Network   string
	Picture   string    // tracking code or variant: with Visitor, what a duplicate is
	Shown     time.Time // the minute that a live picture was shown in; zero: a printed one
	Seen      time.Time // when it was scanned, for a live picture
	Device    string
	Province  string
}

// MemberKind is what happened to a group's membership.
type MemberKind string

// The kinds of member events.
const (
	Joined   MemberKind = "joined"
	Left     MemberKind = "left"
	Snapshot MemberKind = "snapshot"
)

// Member is one member event.
type Member struct {
	Kind   MemberKind
	Target int
	Count  int64 // snapshot: the group's true size
}

// DefineKind is what an owner did to a definition.
type DefineKind string

// The kinds of definition events.
const (
	Minted  DefineKind = "minted"
	Changed DefineKind = "changed"
	Renewed DefineKind = "renewed"
	Revoke  DefineKind = "revoked"
)

// Define is a definition as its owner left it.
type Define struct {
	Kind DefineKind
	Def  Definition
}

// Outcome is what an input led to.
type Outcome struct {
	Verdict   Verdict // scans only
	Rule      string  // the named reason for Verdict; empty for a plain accepted scan
	Target    int     // where the scan was led; -1: nowhere
	Decisions []Decision
	Alerts    []Alert
	Stale     bool // a definition no newer than the one held: nothing was done
}

// New makes the state of a code that has just been minted.
func New(def Definition) *State {
	s := &State{Current: -1}
	s.define(def, true)
	s.Status = s.status()
	s.Current = s.pick()
	return s
}

// Apply does to s what in says, at now (the broker's time), and returns what
// follows from it. What had become due before now is done first. It never
// fails: an input that makes no sense for the code has an empty outcome.
//
// An input that comes late, see Input.Spooled, counts at its own time in
// frequency and dedupe windows, for the first scan and for the rate of
// arrivals. Everything else is done and dated at now.
func (s *State) Apply(in Input, now time.Time) Outcome {
	out := Outcome{Target: -1}
	s.due(time.Time{}, now, &out)
	switch {
	case in.Scan != nil:
		s.scan(in, *in.Scan, now, &out)
	case in.Member != nil && !in.Historical:
		s.member(in, *in.Member, now, &out)
	case in.Define != nil:
		s.redefine(in, *in.Define, now, &out)
	}
	return out
}

// NextDue is when something will be due by itself, and false when nothing is.
func (s *State) NextDue() (time.Time, bool) {
	next, found := s.watch.NextDue()
	earlier := func(t time.Time) {
		if !t.IsZero() && (!found || t.Before(next)) {
			next, found = t, true
		}
	}
	if s.Status != StatusRevoked && s.Status != StatusExpired {
		earlier(s.ExpiresAt)
		earlier(s.RenewalDueAt)
		if !s.Reminded && !s.RenewalDueAt.IsZero() {
			earlier(s.remindAt())
		}
	}
	return next, found
}

// remindAt is 24 h before the renewal is due, or a third of the period if that
// is shorter.
func (s *State) remindAt() time.Time {
	return s.RenewalDueAt.Add(-min(day, s.Def.RenewalEvery.Duration()/3))
}

// due does what the passing of time alone does, in the order it fell due, but
// dates nothing before since.
func (s *State) due(since, now time.Time, out *Outcome) {
	dated := func(at time.Time) time.Time {
		if at.Before(since) {
			return since
		}
		return at
	}
	before := len(out.Decisions)
	for _, u := range s.watch.Due(now) {
		out.Decisions = append(out.Decisions, Decision{
			Kind: KindUnlock, Reason: "lock-ended", At: u.At, Target: -1, Rule: u.RuleID, Scope: u.Scope, Key: u.Key,
		})
	}
	if !s.Def.RevokedAt.IsZero() || s.ExpiredBy != "" {
		return
	}
	if !s.RenewalDueAt.IsZero() && !s.Reminded {
		if at := s.remindAt(); !now.Before(at) && (s.ExpiresAt.IsZero() || at.Before(s.ExpiresAt)) {
			s.Reminded = true
			out.Alerts = append(out.Alerts, Alert{Kind: AlertRenewal, Reason: "due-soon", At: dated(at), Target: -1, DueAt: s.RenewalDueAt})
		}
	}
	switch reason, at := s.lapsed(now); reason {
	case ReasonRenewal:
		out.Alerts = append(out.Alerts, Alert{Kind: AlertRenewal, Reason: "overdue", At: dated(at), Target: -1, DueAt: at})
		s.expire(reason, dated(at), out)
	case ReasonValidity:
		s.expire(reason, dated(at), out)
	}
	if len(out.Decisions)-before > 1 {
		slices.SortStableFunc(out.Decisions[before:], func(a, b Decision) int { return a.At.Compare(b.At) })
	}
}

// lapsed says whether validity or renewal period are over at now: which of
// them came first, and when. reason is empty when neither is.
func (s *State) lapsed(now time.Time) (reason string, at time.Time) {
	renewal := !s.RenewalDueAt.IsZero() && !now.Before(s.RenewalDueAt)
	validity := !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
	switch {
	case renewal && (!validity || !s.ExpiresAt.Before(s.RenewalDueAt)):
		return ReasonRenewal, s.RenewalDueAt
	case validity:
		return ReasonValidity, s.ExpiresAt
	}
	return "", time.Time{}
}

// Why a code expired.
const (
	ReasonValidity = "validity"
	ReasonRenewal  = "renewal-overdue"
)

func (s *State) expire(reason string, at time.Time, out *Outcome) {
	s.Status, s.ExpiredBy, s.Current = StatusExpired, reason, -1
	out.Decisions = append(out.Decisions, Decision{Kind: KindExpire, Reason: reason, At: at, Target: -1})
	out.Alerts = append(out.Alerts, Alert{Kind: AlertExpiry, Reason: reason, At: at, Target: -1, DueAt: at})
}

// scan gives the verdict and does what it brings with it.
func (s *State) scan(in Input, sc Scan, now time.Time, out *Outcome) {
	subject := risk.Subject{Visitor: sc.Visitor, Network: sc.Network}
	at := in.counted(now)
	out.Verdict, out.Rule = s.verdict(in, sc, subject, at, now)
	s.Counts[out.Verdict.index()]++
	if out.Verdict.Redirected() && !in.Historical { // where history was led, only its producer knows
		out.Target = s.Current
	}
	if out.Verdict == Accepted {
		s.accept(in, sc, now, out)
	}
	if !in.Historical && out.Verdict.Counted() {
		for _, f := range s.watch.Count(s.Def.Rules, subject, in.ID, at, now) {
			s.fired(f, out)
		}
		if s.watch.Len() > 2*s.swept+64 {
			s.watch.Sweep(s.Def.Rules, now)
			s.swept = s.watch.Len()
		}
	}
}

// verdict decides, in the order of the documentation: what the scanner
// declares itself to be, then the code's state, then the visitor's lock, then
// caps and room.
func (s *State) verdict(in Input, sc Scan, subject risk.Subject, at, now time.Time) (Verdict, string) {
	if sc.Class == Preview || sc.Class == Bot {
		return sc.Class, sc.ClassRule
	}
	if in.Historical {
		return Accepted, "historical"
	}
	switch s.Status {
	case StatusRevoked:
		return Revoked, "owner"
	case StatusExpired:
		return Expired, s.ExpiredBy
	}
	if Stale(sc.Shown, sc.Seen) {
		return Expired, RuleLiveWindow
	}
	if b, ok := s.watch.Blocked(s.Def.Rules, subject, now); ok {
		return Locked, b.RuleID
	}
	switch s.Status {
	case StatusCapped:
		return Capped, "max_scans"
	case StatusFull:
		return Full, "capacity"
	}
	if s.duplicate(sc, at, now) {
		return Duplicate, "dedupe"
	}
	return Accepted, ""
}

// LiveFor is how long a live picture leads anywhere, from the begin of the minute it is shown in.
const LiveFor = token.LiveMinutes * time.Minute

// RuleLiveWindow refuses a live picture that was shown too long ago.
const RuleLiveWindow = "live-window"

// Stale reports whether a picture that was shown in the minute which begins at shown is too old at seen. A printed picture, with no minute, never is.
func Stale(shown, seen time.Time) bool { return !shown.IsZero() && !seen.Before(shown.Add(LiveFor)) }

// counted is the time that windows and rates go by.
func (in *Input) counted(now time.Time) time.Time {
	if in.Spooled.IsZero() {
		return now
	}
	return in.Spooled
}

// duplicate reports whether the same visitor was led by the same picture
// within the code's dedupe window, before or after, and notes this scan. One
// that was decided longer ago than the window is forgotten.
func (s *State) duplicate(sc Scan, at, now time.Time) bool {
	window := s.Def.Dedupe.Duration()
	if window == 0 || sc.Visitor == "" {
		return false
	}
	if s.recent == nil {
		s.recent = make(map[string]seen)
	}
	key := sc.Visitor + " " + sc.Picture
	last, ok := s.recent[key]
	ok = ok && !last.forgotten(window, now)
	apart := at.UnixMilli() - last.at
	if ok && max(apart, -apart) <= window.Milliseconds() {
		return true
	}
	if len(s.recent) >= 1024 && len(s.recent)&(len(s.recent)-1) == 0 {
		s.forgetRecent(now)
	}
	if !ok || apart > 0 {
		last.at = at.UnixMilli()
	}
	s.recent[key] = seen{at: last.at, lag: now.UnixMilli() - last.at}
	return false
}

// forgotten reports whether a scan was decided longer ago than a window.
func (last seen) forgotten(window time.Duration, now time.Time) bool {
	return now.UnixMilli()-last.at-last.lag > window.Milliseconds()
}

// forgetRecent drops what lies outside the dedupe window.
func (s *State) forgetRecent(now time.Time) {
	for k, last := range s.recent {
		if last.forgotten(s.Def.Dedupe.Duration(), now) {
			delete(s.recent, k)
		}
	}
}

func (s *State) accept(in Input, sc Scan, now time.Time, out *Outcome) {
	at := in.counted(now)
	if in.Historical {
		at = in.At
	}
	if s.First == nil || at.Before(s.First.At) {
		// Clones: the scan's own text goes when the scan has been dealt with.
		s.First = &First{EventID: strings.Clone(in.ID), At: at, DeviceModel: strings.Clone(sc.Device), Province: strings.Clone(sc.Province)}
	}
	if sc.Visitor != "" {
		s.visitors.add(hash64(sc.Visitor))
	}
	if in.Historical {
		return
	}
	s.Consumed++
	s.LastAccepted = now
	if s.Def.Countdown == CountdownSliding {
		s.ExpiresAt, _ = s.Def.expiry(s.Def.anchor(), now)
	}
	if t := s.target(s.Current); t != nil {
		t.Scans++
		if !t.Joined {
			t.arrive(at)
			s.warn(t, in.ID, now, out)
		}
	}
	s.settle(in.ID, now, out)
}

func (s *State) fired(f risk.Firing, out *Outcome) {
	d := Decision{
		Reason: "limit-in-window", At: f.At, Target: -1, Rule: f.Rule.ID, Scope: f.Rule.Scope, Key: f.Key,
		Until: f.Until, Cause: f.Causes,
	}
	switch f.Rule.Action {
	case risk.ActionLock:
		d.Kind = KindLock
	case risk.ActionFlag:
		d.Kind = KindFlag
	case risk.ActionDryRun:
		d.Kind = KindDryRun
	}
	out.Decisions = append(out.Decisions, d)
	if d.Kind != KindDryRun {
		out.Alerts = append(out.Alerts, Alert{
			Kind: AlertRisk, Reason: string(d.Kind), At: f.At, Target: -1, Rule: f.Rule.ID, Scope: f.Rule.Scope, Key: f.Key,
			Until: f.Until, Cause: f.Causes, Limit: f.Rule.Limit, Window: f.Rule.Window,
		})
	}
}

// member moves a target's membership.
func (s *State) member(in Input, m Member, now time.Time, out *Outcome) {
	t := s.target(m.Target)
	if t == nil {
		return
	}
	if !t.Joined {
		t.Joined, t.Recent = true, nil
	}
	switch m.Kind {
	case Joined:
		t.Members++
		t.arrive(in.counted(now))
	case Left:
		t.Members--
	case Snapshot:
		t.Members = m.Count
	}
	s.warn(t, in.ID, now, out)
	s.settle(in.ID, now, out)
}

// mostEta is how far ahead an estimated time to full is worth telling.
const mostEta = 10 * 365 * day

// etaFull is when left more people will have come at perHour, and the zero time
// when that is unknown or too far off to mean anything.
func etaFull(from time.Time, left int64, perHour float64) time.Time {
	if left <= 0 {
		return from
	}
	hours := float64(left) / perHour
	if perHour <= 0 || hours > mostEta.Hours() {
		return time.Time{}
	}
	return from.Add(time.Duration(hours * float64(time.Hour))).Truncate(time.Millisecond)
}

// warn raises or re-arms a target's capacity warning.
func (s *State) warn(t *TargetState, cause string, now time.Time, out *Outcome) {
	def, ok := s.Def.Target(t.N)
	if !ok || def.Capacity == 0 || s.Def.WarnPercent == 0 {
		return
	}
	fill, from := t.Fill()
	switch {
	case !t.Warned && fill*100 >= def.Capacity*int64(s.Def.WarnPercent):
		t.Warned = true
		a := Alert{
			Kind: AlertCapacity, Reason: "threshold", At: now, Target: t.N, Members: fill, MembersFrom: from, Capacity: def.Capacity,
			Percent: float64(fill) * 100 / float64(def.Capacity), Threshold: s.Def.WarnPercent, Cause: []string{cause},
		}
		a.PerHour, _ = t.perHour()
		a.EtaFull = etaFull(now, def.Capacity-fill, a.PerHour)
		out.Alerts = append(out.Alerts, a)
	case t.Warned && fill*100 < def.Capacity*int64(min(RearmPercent, s.Def.WarnPercent)):
		t.Warned = false
	}
}

// settle works out the status and the target scans go to, and says what changed.
func (s *State) settle(cause string, now time.Time, out *Outcome) {
	was, from := s.Status, s.Current
	s.Status = s.status()
	s.Current = s.pick() // by the new status
	if s.Status == was && (s.Status != StatusActive || s.Current == from) {
		return
	}
	d := Decision{At: now, Target: s.Current, Cause: []string{cause}}
	switch {
	case s.Status != was:
		switch s.Status {
		case StatusCapped:
			d.Kind, d.Reason = KindCap, "max_scans"
		case StatusFull:
			d.Kind, d.Reason, d.Target = KindFull, "capacity", from
		case StatusRevoked:
			d.Kind, d.Reason = KindRevoke, "owner"
		case StatusActive:
			d.Kind, d.Reason = KindReopen, "was-"+string(was)
		case StatusExpired:
			return // said by expire
		}
	default:
		left := from
		d.Kind, d.Reason, d.From = KindRotate, s.left(from), &left
	}
	out.Decisions = append(out.Decisions, d)
}

// left is why scans no longer go to a target.
func (s *State) left(n int) string {
	def, ok := s.Def.Target(n)
	if !ok || def.Closed {
		return "closed"
	}
	if fill, _ := s.target(n).Fill(); def.Capacity > 0 && fill >= def.Capacity {
		return "capacity"
	}
	return "room" // an earlier target has some again
}

// status works the state out from the facts, the strongest first.
func (s *State) status() Status {
	switch {
	case !s.Def.RevokedAt.IsZero():
		return StatusRevoked
	case s.ExpiredBy != "":
		return StatusExpired
	case s.Def.MaxScans > 0 && s.Consumed >= s.Def.MaxScans:
		return StatusCapped
	case s.room() < 0:
		return StatusFull
	}
	return StatusActive
}

func (s *State) pick() int {
	if s.Status != StatusActive {
		return -1
	}
	return s.room()
}

// room is the first open target with room, or -1.
func (s *State) room() int {
	for _, def := range s.Def.Targets {
		t := s.target(def.N)
		if t == nil || def.Closed {
			continue
		}
		if fill, _ := t.Fill(); def.Capacity == 0 || fill < def.Capacity {
			return def.N
		}
	}
	return -1
}

// redefine takes over a newer definition.
func (s *State) redefine(in Input, d Define, now time.Time, out *Outcome) {
	if d.Def.Revision <= s.Def.Revision {
		out.Stale = true
		return
	}
	renewed := d.Def.RenewedAt.After(s.Def.RenewedAt)
	for _, u := range s.watch.Change(s.Def.Rules, d.Def.Rules, now) {
		out.Decisions = append(out.Decisions, Decision{
			Kind: KindUnlock, Reason: "rule-changed", At: u.At, Target: -1, Rule: u.RuleID, Scope: u.Scope, Key: u.Key, Cause: []string{in.ID},
		})
	}
	if d.Def.Dedupe != s.Def.Dedupe {
		s.forgetRecent(now) // a wider window starts from what the old one still saw, whatever had been dropped already
	}
	s.define(d.Def, renewed)
	if renewed {
		out.Decisions = append(out.Decisions, Decision{Kind: KindRenew, Reason: "owner", At: now, Target: -1, Cause: []string{in.ID}})
	}
	if reason, _ := s.lapsed(now); reason != s.ExpiredBy {
		s.ExpiredBy = "" // what it expired by is so no more; due says whether something else is
	}
	for i := range s.Targets {
		s.warn(&s.Targets[i], in.ID, now, out)
	}
	s.due(now, now, out)
	s.settle(in.ID, now, out)
}

// define takes over def; restart begins its countdowns anew.
func (s *State) define(def Definition, restart bool) {
	old := s.Def
	s.Def = def
	for _, t := range def.Targets {
		if s.target(t.N) == nil {
			s.Targets = append(s.Targets, TargetState{N: t.N})
		}
	}
	if restart || def.Validity != old.Validity || def.Longest != old.Longest || def.Countdown != old.Countdown {
		from := def.anchor()
		if def.Countdown == CountdownSliding && s.LastAccepted.After(from) {
			from = s.LastAccepted
		}
		s.ExpiresAt, _ = def.expiry(def.anchor(), from)
	}
	if restart || def.RenewalEvery != old.RenewalEvery {
		s.RenewalDueAt, s.Reminded = time.Time{}, false
		if def.RenewalEvery > 0 {
			s.RenewalDueAt = def.anchor().Add(def.RenewalEvery.Duration())
		}
	}
	if def.Dedupe == 0 {
		s.recent = nil
	}
}

func (s *State) target(n int) *TargetState {
	i := slices.IndexFunc(s.Targets, func(t TargetState) bool { return t.N == n })
	if i < 0 {
		return nil
	}
	return &s.Targets[i]
}

// Unique is the number of distinct visitors with an accepted scan, exact but
// for 64-bit hash collisions (under 1 in 10⁸ for a million visitors).
func (s *State) Unique() int64 { return int64(s.visitors.len()) }

// Locks returns the locks in force at now.
func (s *State) Locks(now time.Time) []risk.Block { return s.watch.Locks(now) }

// hash64 is FNV-1a-64.
func hash64(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(text); i++ {
		h ^= uint64(text[i])
		h *= 1099511628211
	}
	return h
}
