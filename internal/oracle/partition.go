package oracle

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
)

const (
	mostPast   = 24 * time.Hour  // an event dated earlier, seen from its arrival, is history or is refused
	mostFuture = 5 * time.Minute // and this far ahead
	// remembered is how long an event's id is known after its arrival: past and future bounds and an hour.
	remembered = mostPast + mostFuture + time.Hour
	// mostLate is how long ago a record may have been spooled for its own time to count, and how old others' events may be.
	mostLate = 25 * time.Hour

	publisher = "huoma/scan-worker" // who publishes decisions and alerts
)

// Who reads what a producer sent of a person. Each function is pure.
type Who struct {
	// Visitor is the keyed hash of an OpenID.
	Visitor func(openID string) string
	// Class is the verdict of a user agent that is no person, and its named reason. An empty verdict is a person.
	Class func(userAgent string) (verdict, rule string)
	// Network is the part of an address or prefix that may be kept.
	Network func(text string) string
	// Picture opens the token of a printed picture that was said, at a time, to be of a code, with the keys that opened then. ok is
	// false for one that is not ours.
	Picture func(token, of string, at time.Time) (p Picture, ok bool)
	// Device is the model, system and app that a user agent names.
	Device func(userAgent string) (model, os, app string)
}

// Picture is what a token says. Shown is the minute in which a screen showed a live picture, zero for a printed one.
type Picture struct {
	Code     string
	Variant  int
	Tracking string
	Shown    time.Time
}

// Partition is what one partition of a log has led to so far. It is not safe for concurrent use.
type Partition struct {
	number, of int
	who        Who

	clock    time.Time
	finished time.Time // clock of the last message that is done
	codes    map[string]*life
	seen     map[[16]byte]time.Time // arrival of producers' events, by source, id and code
	pruned   time.Time
	records  map[string]uint64 // the newest record of each gateway
	totals   events.Totals
}

// New returns partition number of so many, before the first message.
func New(number, of int, who Who) *Partition {
	return &Partition{
		number: number, of: of, who: who,
		codes: make(map[string]*life), seen: make(map[[16]byte]time.Time), records: make(map[string]uint64),
	}
}

// Totals counts everything decided so far.
func (p *Partition) Totals() events.Totals { return p.totals }

// Clock is the time of the newest message: what its events are decided at.
func (p *Partition) Clock() time.Time { return p.clock }

// Item is an event that was taken, as it is kept, with what it came to. Verdict and Rule are a scan's; Target is the number of the
// target it was led to, -1 for none and for what is no scan.
type Item struct {
	Event   *events.Event
	Verdict string
	Rule    string
	Target  int
}

// Letter is an event, or a whole message, that could not be taken.
type Letter struct {
	Reason  events.Code
	Subject string
	Data    []byte
}

// Outcome is what one event has led to. Of Item and Letter at most one is set: a repeated event has neither.
type Outcome struct {
	Seq       uint64
	Idx       int
	At        time.Time // when its message came
	Spooled   time.Time // when it counts, if its message came late from a spool; else zero
	Item      *Item
	Letter    *Letter
	Decisions []*events.Event
	Alerts    []*events.Event
	Touched   string // the code whose state was looked at; empty for none
}

// Reading is one message, event by event.
type Reading struct {
	p    *Partition
	m    events.Message
	kind string
	n    int // events decided
	raw  []jsontext.Value
	one  func() Outcome // instead of raw: the message is one thing
	end  func()
}

// Read begins a message. Messages come in the order of the log, each is read to its end before the next.
func (p *Partition) Read(m events.Message) *Reading {
	m.At, m.Spooled = p.when(m), time.Time{}
	p.clock = m.At
	r := &Reading{p: p, m: m}
	whole := func(reason events.Code) *Reading {
		r.one = func() Outcome { return r.dead(m.Data, reason) }
		return r
	}
	number, kind, ok := events.StoredKind(m.Subject)
	if !ok || number != p.number {
		return whole(events.CodeWrongSubject)
	}
	r.kind = kind
	switch kind {
	case events.KindTimer:
		r.one = r.timer
		return r
	case events.KindGateway:
		gateway := m.Get(events.HeaderProducer)
		record, err := strconv.ParseUint(m.Get(events.HeaderRecord), 10, 64)
		if gateway == "" || err != nil || record == 0 {
			return whole(events.CodeWrongSubject)
		}
		if w, ok := events.ParseSpooled(m.Get(events.HeaderSpooled)); ok && w.Before(m.At) && !w.Before(m.At.Add(-mostLate)) {
			r.m.Spooled = w
		}
		list, err := events.Split(m.Data)
		if err != nil {
			return whole(reasonOf(err))
		}
		if record <= p.records[gateway] {
			p.totals.Repeated += int64(len(list))
			return r
		}
		r.raw, r.end = list, func() { p.records[gateway] = record }
		return r
	}
	list, err := events.Split(m.Data)
	if err != nil {
		return whole(reasonOf(err))
	}
	if len(list) > events.MaxBatch {
		return whole(events.CodeTooMany)
	}
	r.raw = list
	return r
}

// when is the time of a message: the broker's, which never runs backwards in a partition, though a new leader's clock may be behind the
// old one's. All that a message leads to is decided, and its scans are counted, at this time.
func (p *Partition) when(m events.Message) time.Time {
	if m.At.Before(p.clock) {
		return p.clock
	}
	return m.At
}

// Next decides the message's next event. ok is false when there is none left.
func (r *Reading) Next() (out Outcome, ok bool) {
	switch {
	case r.one != nil:
		out, ok = r.one(), true
		r.one = nil
	case r.n < len(r.raw):
		out, ok = r.event(r.raw[r.n]), true
		r.n++
		if r.n < len(r.raw) {
			return out, true
		}
	}
	if r.end != nil {
		r.end()
		r.end = nil
	}
	r.p.finish()
	return out, ok
}

// Done reports whether Next has given the last event.
func (r *Reading) Done() bool { return r.one == nil && r.n == len(r.raw) }

// finish forgets, now and then, the ids that are no longer known.
func (p *Partition) finish() {
	p.finished = p.clock
	if p.clock.Sub(p.pruned) < time.Hour {
		return
	}
	p.pruned = p.clock
	for key, at := range p.seen {
		if !p.known(at) {
			delete(p.seen, key)
		}
	}
}

// known reports whether an id that came in at is still remembered. Memory is kept to the second, and looked through after each message.
func (p *Partition) known(at time.Time) bool {
	return p.finished.IsZero() || at.Unix() >= p.finished.Add(-remembered).Unix()
}

// repeated reports whether an event of this source, id and code is known, and remembers it if not.
func (p *Partition) repeated(e *events.Event) bool {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", e.Source, e.ID, e.Subject))
	key := [16]byte(sum[:16])
	if at, ok := p.seen[key]; ok && p.known(at) {
		return true
	}
	p.seen[key] = p.clock
	return false
}

func (r *Reading) outcome() Outcome {
	return Outcome{Seq: r.m.Seq, Idx: r.n, At: r.m.At, Spooled: r.m.Spooled}
}

func (r *Reading) dead(data []byte, reason events.Code) Outcome {
	r.p.totals.Dead++
	out := r.outcome()
	out.Letter = &Letter{Reason: reason, Subject: r.m.Subject, Data: data}
	return out
}

func reasonOf(err error) events.Code {
	if e, ok := events.AsError(err); ok {
		return e.Code
	}
	return events.CodeMalformed
}

// counts is the time that the message's events count at: when it was spooled, else the clock.
func (r *Reading) counts() time.Time {
	if r.m.Spooled.IsZero() {
		return r.m.At
	}
	return r.m.Spooled
}

// timer looks at a code because its time may have come.
func (r *Reading) timer() Outcome {
	var t struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(r.m.Data, &t) != nil {
		return r.dead(r.m.Data, events.CodeMalformed)
	}
	out := r.outcome()
	if l := r.p.codes[t.Code]; l != nil {
		r.settle(&out, l, "", l.pass(r.m.At))
	}
	return out
}

// event decides one event.
func (r *Reading) event(raw []byte) Outcome {
	e, err := events.Parse(raw)
	if err != nil {
		return r.dead(raw, reasonOf(err))
	}
	if reason := r.refuse(e); reason != "" {
		return r.dead(raw, reason)
	}
	out := r.outcome()
	keep := func(verdict, rule string, target int) {
		out.Item = &Item{Event: e, Verdict: verdict, Rule: rule, Target: target}
	}
	switch d := e.Data.(type) {
	case *events.Forged:
		r.p.totals.Forged++
		keep("", "", -1)
		return out
	case *events.CodeData:
		l := r.p.codes[e.Subject]
		var c changes
		if l == nil {
			l = mint(d)
			r.p.codes[e.Subject] = l
			c = l.pass(r.m.At)
		} else {
			c = l.redefine(e.ID, d, r.m.At)
		}
		r.settle(&out, l, e.Tenant, c)
		if c.stale {
			r.p.totals.Repeated++
			return out
		}
		r.p.totals.Codes++
		keep("", "", -1)
		return out
	case *events.Scan:
		if r.kind != events.KindGateway {
			d.Answered, d.AnsweredRule = "", "" // the answer is a gateway's to tell
			if d.Token != "" {
				p, ok := r.p.who.Picture(d.Token, e.Subject, r.m.At)
				if !ok || p.Code != e.Subject {
					return r.dead(raw, events.CodeInvalid)
				}
				d.Variant, d.Tracking, d.ShownAt = p.Variant, p.Tracking, ""
				if !p.Shown.IsZero() {
					d.ShownAt = p.Shown.Format("2006-01-02T15:04") + ":00Z"
				}
			}
		}
		// A gateway's own scans are repeated with their record or not at all.
		if d.Answered == "" && r.p.repeated(e) {
			r.p.totals.Repeated++
			return out
		}
		r.p.totals.Scans++
		l := r.p.codes[e.Subject]
		c := l.scan(r.readScan(e, d), r.counts(), r.m.At)
		target := c.target
		if e.Historical && d.Target != nil {
			target = *d.Target
		}
		keep(c.verdict, c.rule, target)
		r.settle(&out, l, e.Tenant, c)
		return out
	}
	if r.p.repeated(e) {
		r.p.totals.Repeated++
		return out
	}
	l := r.p.codes[e.Subject]
	var c changes
	switch d := e.Data.(type) {
	case *events.Member:
		r.p.totals.Members++
		r.hide(&d.Visitor, &d.OpenID)
		step := int64(1)
		if e.Type == events.TypeMemberLeft {
			step = -1
		}
		c = l.member(e, *d.Target, step, nil, r.counts(), r.m.At)
	case *events.MemberSnapshot:
		r.p.totals.Members++
		c = l.member(e, *d.Target, 0, d.Count, r.counts(), r.m.At)
	case *events.Conversion:
		r.p.totals.Conversions++
		r.hide(&d.Visitor, &d.OpenID)
		c = l.pass(r.m.At)
	}
	keep("", "", -1)
	r.settle(&out, l, e.Tenant, c)
	return out
}

// refuse is the reason an event is not taken, or "".
func (r *Reading) refuse(e *events.Event) events.Code {
	foreign := events.Partition(e.Subject, r.p.of) != r.p.number
	if r.kind == events.KindGateway {
		switch d := e.Data.(type) {
		case *events.Forged:
			return ""
		case *events.CodeData:
			if d.ID != e.Subject {
				return events.CodeInvalid
			}
			if foreign {
				return events.CodeWrongSubject
			}
			return ""
		}
	}
	inKind := ""
	switch e.Type {
	case events.TypeScan:
		inKind = "in.scan"
	case events.TypeMemberJoined, events.TypeMemberLeft, events.TypeMemberSnapshot:
		inKind = "in.member"
	case events.TypeConversion:
		inKind = "in.conversion"
	}
	if inKind == "" || r.kind != events.KindGateway && r.kind != inKind {
		return events.CodeWrongSubject
	}
	if !e.Historical && e.Time.Before(r.counts().Add(-mostPast)) {
		return events.CodeTooOld
	}
	// Its id would be forgotten before a repeat of it. A gateway's own scan has its record's number instead.
	if !e.Historical && !r.own(e) && e.Time.Before(r.m.At.Add(-mostLate)) {
		return events.CodeTooOld
	}
	if !e.Historical && e.Time.After(r.counts().Add(mostFuture)) {
		return events.CodeTooNew
	}
	if foreign {
		return events.CodeWrongSubject
	}
	l := r.p.codes[e.Subject]
	if l == nil {
		return events.CodeUnknownCode
	}
	target := 0
	switch d := e.Data.(type) {
	case *events.Member:
		target = *d.Target
	case *events.MemberSnapshot:
		target = *d.Target
	default:
		return ""
	}
	if l.def.target(target) == nil {
		return events.CodeInvalid
	}
	return ""
}

// own reports whether an event is a scan that a gateway answered.
func (r *Reading) own(e *events.Event) bool {
	d, ok := e.Data.(*events.Scan)
	return ok && r.kind == events.KindGateway && d.Answered != ""
}

// hide puts the keyed hash of an OpenID in its place.
func (r *Reading) hide(visitor, openID *string) {
	if *openID != "" {
		*visitor, *openID = r.p.who.Visitor(*openID), ""
	}
}

// readScan takes what identifies a person out of a scan and says what a code needs to know of it.
func (r *Reading) readScan(e *events.Event, d *events.Scan) scan {
	r.hide(&d.Visitor, &d.OpenID)
	d.Token = ""
	d.Network = r.p.who.Network(d.Network)
	s := scan{id: e.ID, at: e.Time, historical: e.Historical, visitor: d.Visitor, network: d.Network, picture: d.Tracking, province: d.Province}
	if shown := d.Shown(); !shown.IsZero() {
		read := r.counts() // when it was scanned: the gateway that answered it knows, of others the log does
		if d.Answered != "" {
			read = e.Time
		}
		s.stale = read.Sub(shown) >= liveFor
	}
	if s.picture == "" {
		s.picture = strconv.Itoa(d.Variant)
	}
	if d.Answered == "preview" || d.Answered == "bot" {
		s.class, s.classRule = d.Answered, d.AnsweredRule
	}
	if d.Answered == "" && d.UserAgent != "" {
		s.class, s.classRule = r.p.who.Class(d.UserAgent)
		if d.DeviceModel == "" && d.OS == "" && d.App == "" {
			d.DeviceModel, d.OS, d.App = r.p.who.Device(d.UserAgent)
		}
	}
	s.device = d.DeviceModel
	return s
}

// settle numbers what was decided about a code. tenant is the event's, for a code without one.
func (r *Reading) settle(out *Outcome, l *life, tenant string, c changes) {
	out.Touched = l.def.id
	if l.def.tenant != "" {
		tenant = l.def.tenant
	}
	made := func(letter string, n int, typ string, at time.Time, data events.Data) *events.Event {
		return &events.Event{
			ID: fmt.Sprintf("%s.%s.%d.%d.%d", letter, l.def.id, r.m.Seq, out.Idx, n), Source: publisher, Type: typ,
			Subject: l.def.id, Time: at, Tenant: tenant, Data: data,
		}
	}
	for n, d := range c.decisions {
		out.Decisions = append(out.Decisions, made("d", n, events.TypeDecision, d.at, d.data))
	}
	for n, a := range c.alerts {
		out.Alerts = append(out.Alerts, made("a", n, "huoma.alert."+a.data.Kind+".v1", a.at, a.data))
	}
	r.p.totals.Decisions += int64(len(c.decisions))
	r.p.totals.Alerts += int64(len(c.alerts))
}
