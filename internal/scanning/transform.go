package scanning

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

const (
	// oldest and newest bound an event's own time against the broker's.
	oldest = 24 * time.Hour
	newest = 5 * time.Minute
	// remember is how long producers' event ids are kept: an event is refused
	// oldest after its own time, which is at most newest ahead of its arrival,
	// so no repeat can come later than that, history aside.
	remember = oldest + newest + time.Hour
	// longest is how long ago a record may have been spooled for its time to be
	// believed, and how old a producer's event may be on arrival that way: no
	// longer than its repeats are told.
	longest = remember - newest
	// softCommit is the size at which a step is ended. Estimates err upward, so a
	// record stays well below the 1 MB that a server takes by default.
	softCommit = 640 << 10
	// source names the worker in the events it publishes.
	source = "huoma/scan-worker"
)

// Transform is one partition's state and the rules by which input becomes
// commit records. It is deterministic: the same messages in the same order
// give the same records, wherever the steps are cut. Not safe for concurrent
// use.
type Transform struct {
	partition  int
	partitions int
	owner      string
	who        Identity

	codes     map[string]*code.State
	shares    code.Shares // of their definitions
	seen      seen
	producers map[string]uint64
	totals    events.Totals
	reached   events.Place
	step      uint64
	clock     time.Time // the broker's newest time: what decisions are made at never runs backwards

	touched map[string]*code.State // codes changed since the last record

	// missing is told of numbers that a gateway's records have skipped, while input is decided for the first time; nil in a replay.
	missing func(producer string, from, to uint64)
}

// NewTransform returns the empty state of a partition.
func NewTransform(partition, partitions int, owner string, who Identity) *Transform {
	return &Transform{
		partition: partition, partitions: partitions, owner: owner, who: who,
		codes: make(map[string]*code.State), seen: newSeen(nil), producers: make(map[string]uint64),
		touched: make(map[string]*code.State),
	}
}

// Reached is the input decided so far.
func (t *Transform) Reached() events.Place { return t.reached }

// Step returns the number of the last record.
func (t *Transform) Step() uint64 { return t.step }

// Totals is everything decided so far.
func (t *Transform) Totals() events.Totals { return t.totals }

// builder collects one record.
type builder struct {
	c       *events.Commit
	letters []events.DeadLetter
	size    int
}

// take decides the events of m that are not decided yet, until the record is
// full. It reports whether all of m is done; if not, call take with m again
// after the record has been ended.
func (t *Transform) take(b *builder, m events.Message) (done bool) {
	return t.takeUntil(b, &input{Message: m}, events.Place{Seq: m.Seq})
}

// takeUntil is take, stopping for good at the place end: a replay's goal may
// lie inside a message.
func (t *Transform) takeUntil(b *builder, in *input, end events.Place) (done bool) {
	m := in.Message
	if m.Seq < t.reached.Next() {
		return true
	}
	first := 0
	if m.Seq == t.reached.Seq {
		first = t.reached.Idx + 1
	}
	if t.clock.After(m.At) {
		m.At = t.clock // another leader's clock may be behind
	}
	t.clock, b.c.Time = m.At, m.At
	finish := func() bool {
		t.reached = events.Place{Seq: m.Seq}
		t.seen.forget(m.At.Add(-remember).Unix()) // their repeats would be refused for their age
		return true
	}
	partition, kind, ok := events.StoredKind(m.Subject)
	if !ok || partition != t.partition {
		t.dead(b, m, 0, m.Data, events.CodeWrongSubject, "publish to huoma.in.scan.<code>, huoma.in.member.<code> or huoma.in.conversion.<code>")
		return finish()
	}
	switch kind {
	case events.KindTimer:
		t.timer(b, m)
		return finish()
	case events.KindGateway:
		return t.record(b, m, in, first, end, finish)
	}
	items, err := in.read()
	if err != nil {
		t.deadError(b, m, 0, m.Data, err)
		return finish()
	}
	if len(items) > events.MaxBatch {
		t.dead(b, m, 0, m.Data, events.CodeTooMany, fmt.Sprintf("the batch has %d events; at most %d are allowed", len(items), events.MaxBatch))
		return finish()
	}
	if done, whole := t.run(b, m, items, first, end, kind); !whole {
		return done
	}
	return finish()
}

// run decides items from first on. whole says that the last one is done; if it
// is not, done says whether end was reached rather than the record's size.
func (t *Transform) run(b *builder, m events.Message, items []events.Read, first int, end events.Place, kind string) (done, whole bool) {
	for i := first; i < len(items); i++ {
		t.one(b, m, i, items[i], kind)
		atEnd := end.More && m.Seq == end.Seq && i == end.Idx
		if i+1 < len(items) && (atEnd || b.size >= softCommit) {
			t.reached = events.Place{Seq: m.Seq, Idx: i, More: true}
			return atEnd, false
		}
	}
	return true, true
}

// record takes a gateway's record. Its number makes a repeat plain, however
// late it comes. What was spooled counts at the time it was, if that is no
// later than the broker's and not longest ago.
func (t *Transform) record(b *builder, m events.Message, in *input, first int, end events.Place, finish func() bool) bool {
	producer := m.Get(events.HeaderProducer)
	number, err := strconv.ParseUint(m.Get(events.HeaderRecord), 10, 64)
	if producer == "" || err != nil || number == 0 {
		t.dead(b, m, 0, m.Data, events.CodeWrongSubject, "this subject is for gateways: publish to huoma.in.scan.<code>")
		return finish()
	}
	items, err := in.read()
	if err != nil {
		t.deadError(b, m, 0, m.Data, err)
		return finish()
	}
	if at, ok := events.ParseSpooled(m.Get(events.HeaderSpooled)); ok && at.Before(m.At) && m.At.Sub(at) <= longest {
		m.Spooled = at
	}
	if number <= t.producers[producer] {
		t.totals.Repeated += int64(len(items))
		return finish()
	}
	if want := t.producers[producer] + 1; number > want && first == 0 && t.missing != nil {
		t.missing(producer, want, number-1)
	}
	if done, whole := t.run(b, m, items, first, end, events.KindGateway); !whole {
		return done
	}
	t.producers[producer] = number
	return finish()
}

// timer looks at a code because a time has come.
func (t *Transform) timer(b *builder, m events.Message) {
	var fired struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(m.Data, &fired); err != nil {
		t.dead(b, m, 0, m.Data, events.CodeMalformed, "a timer is {\"code\":\"…\"}")
		return
	}
	if s := t.codes[fired.Code]; s != nil {
		t.effects(b, m, 0, s, "", s.Apply(code.Input{}, m.At))
	}
}

// one decides one event. kind is KindGateway or the stored kind of a
// producer's subject.
func (t *Transform) one(b *builder, m events.Message, idx int, item events.Read, kind string) {
	e, raw := item.Event, item.Raw
	if item.Err != nil {
		t.deadError(b, m, idx, raw, item.Err)
		return
	}
	if code, detail := t.refused(m, e, kind); code != "" {
		t.dead(b, m, idx, raw, code, detail)
		return
	}
	fromGateway := kind == events.KindGateway
	scan, isScan := e.Data.(*events.Scan)
	if isScan && !fromGateway {
		scan.Answered, scan.AnsweredRule = "", "" // a gateway's word, and nobody else's
		if detail := t.open(scan, e.Subject, m.At); detail != "" {
			t.dead(b, m, idx, raw, events.CodeInvalid, detail)
			return
		}
	}
	own := isScan && scan.Answered != "" // a gateway's own scan: its record's number tells a repeat
	def, isDef := e.Data.(*events.CodeData)
	_, isForged := e.Data.(*events.Forged)
	if !own && !isDef && !isForged && !t.seen.add(e, m.At.Unix()) {
		t.totals.Repeated++
		return
	}
	out := events.Item{Seq: m.Seq, Idx: idx, At: m.At, Spooled: m.Spooled, Event: e}
	switch {
	case isForged:
		t.totals.Forged++
	case isDef:
		if !t.define(b, m, idx, e, def) {
			t.totals.Repeated++
			return
		}
		t.totals.Codes++
	case isScan:
		t.totals.Scans++
		t.scan(b, m, idx, e, scan, &out)
	default:
		t.other(b, m, idx, e)
	}
	b.c.Items = append(b.c.Items, out)
	b.size += len(raw) + 160
}

// refused names the reason an event cannot be taken, if there is one.
func (t *Transform) refused(m events.Message, e *events.Event, kind string) (events.Code, string) {
	if kind == events.KindGateway {
		switch d := e.Data.(type) {
		case *events.CodeData:
			if d.ID != e.Subject {
				return events.CodeInvalid, "data.id: the definition is another code's than the subject says"
			}
			return t.refusedPartition(e)
		case *events.Forged:
			return "", ""
		}
	} else if want := "in." + events.InKind(e.Type); want != kind {
		return events.CodeWrongSubject, "publish " + e.Type + " to " + wantSubject(e.Type)
	}
	if !events.FromProducer(e.Type) {
		return events.CodeWrongSubject, "events of this type are published by Huoma itself"
	}
	if !e.Historical {
		at := m.At
		if !m.Spooled.IsZero() {
			at = m.Spooled
		}
		scan, isScan := e.Data.(*events.Scan)
		own := kind == events.KindGateway && isScan && scan.Answered != "" // told from its repeats by the record's number
		switch age := at.Sub(e.Time); {
		case age > oldest, !own && m.At.Sub(e.Time) > longest:
			return events.CodeTooOld, "the event is dated more than 24 h ago; history carries \"historical\": true"
		case age < -newest:
			return events.CodeTooNew, "the event is dated more than 5 min ahead; set the producer's clock"
		}
	}
	if code, detail := t.refusedPartition(e); code != "" {
		return code, detail
	}
	s := t.codes[e.Subject]
	if s == nil {
		return events.CodeUnknownCode, "no code has this id"
	}
	var target *int
	switch d := e.Data.(type) {
	case *events.Member:
		target = d.Target
	case *events.MemberSnapshot:
		target = d.Target
	}
	if target != nil {
		if _, ok := s.Def.Target(*target); !ok {
			return events.CodeInvalid, "data.target: the code has no target of this number"
		}
	}
	return "", ""
}

func (t *Transform) refusedPartition(e *events.Event) (events.Code, string) {
	if events.Partition(e.Subject, t.partitions) != t.partition {
		return events.CodeWrongSubject, "publish each code's events to the subject that ends in its own id"
	}
	return "", ""
}

func wantSubject(typ string) string {
	if kind := events.InKind(typ); kind != "" {
		return events.InSubject(kind, "<code>")
	}
	return "nowhere: Huoma publishes this type itself"
}

// define takes a definition over. It reports false for one that is not newer
// than what is known: a gateway has told it again.
func (t *Transform) define(b *builder, m events.Message, idx int, e *events.Event, def *events.CodeData) bool {
	t.shares.Definition(&def.Definition)
	s := t.codes[e.Subject]
	if s == nil {
		s = code.New(def.Definition)
		t.codes[e.Subject] = s
		t.effects(b, m, idx, s, e.Tenant, s.Apply(code.Input{}, m.At))
		return true
	}
	kind := map[string]code.DefineKind{
		events.TypeCodeMinted: code.Minted, events.TypeCodeChanged: code.Changed,
		events.TypeCodeRenewed: code.Renewed, events.TypeCodeRevoked: code.Revoke,
	}[e.Type]
	in := code.Input{ID: e.ID, At: e.Time, Spooled: m.Spooled, Define: &code.Define{Kind: kind, Def: def.Definition}}
	out := s.Apply(in, m.At)
	t.effects(b, m, idx, s, e.Tenant, out)
	return !out.Stale
}

// open puts what a producer's token says in the token's place, as a gateway
// does with events it is sent. It returns why a token cannot be taken.
func (t *Transform) open(scan *events.Scan, id string, at time.Time) (detail string) {
	if scan.Token == "" {
		return ""
	}
	p, refused := t.who.Picture(scan.Token, id, at)
	switch {
	case refused != "":
		return "data.token: the token is not one of ours"
	case p.Code != id:
		return "data.token: the token is another code's than the subject says"
	}
	scan.Token, scan.Variant, scan.Tracking, scan.ShownAt = "", p.Variant, p.Tracking, ""
	if !p.Shown.IsZero() {
		scan.ShownAt = events.FormatMinute(p.Shown)
	}
	return ""
}

func (t *Transform) scan(b *builder, m events.Message, idx int, e *events.Event, scan *events.Scan, item *events.Item) {
	t.hide(&scan.Visitor, &scan.OpenID)
	scan.Token = ""
	scan.Network = t.who.Network(scan.Network)
	in := code.Scan{
		Visitor: scan.Visitor, Network: scan.Network, Picture: cmp.Or(scan.Tracking, strconv.Itoa(scan.Variant)),
		Device: scan.DeviceModel, Province: scan.Province,
	}
	if in.Shown = scan.Shown(); !in.Shown.IsZero() {
		in.Seen = e.Time // a gateway's own, which it refused by
		if scan.Answered == "" {
			in.Seen = m.At
			if !m.Spooled.IsZero() {
				in.Seen = m.Spooled
			}
		}
	}
	switch v := code.Verdict(scan.Answered); {
	case v == code.Preview || v == code.Bot:
		in.Class, in.ClassRule = v, scan.AnsweredRule
	case v == "" && scan.UserAgent != "":
		in.Class, in.ClassRule = t.who.Classify(scan.UserAgent)
		if scan.DeviceModel == "" && scan.OS == "" && scan.App == "" {
			scan.DeviceModel, scan.OS, scan.App = t.who.Device(scan.UserAgent)
			in.Device = scan.DeviceModel
		}
	}
	s := t.codes[e.Subject]
	out := s.Apply(code.Input{ID: e.ID, At: e.Time, Spooled: m.Spooled, Historical: e.Historical, Scan: &in}, m.At)
	item.Verdict, item.Rule = out.Verdict, out.Rule
	if led := out.Target; led >= 0 {
		item.Target = &led
	}
	if e.Historical && scan.Target != nil {
		item.Target = scan.Target
	}
	t.effects(b, m, idx, s, e.Tenant, out)
}

// hide puts the visitor of an OpenID in its place.
func (t *Transform) hide(visitor, openID *string) {
	if *openID != "" {
		*visitor, *openID = t.who.Visitor(*openID), ""
	}
}

// other takes members and conversions.
func (t *Transform) other(b *builder, m events.Message, idx int, e *events.Event) {
	s := t.codes[e.Subject]
	in := code.Input{ID: e.ID, At: e.Time, Spooled: m.Spooled, Historical: e.Historical}
	switch d := e.Data.(type) {
	case *events.Member:
		t.hide(&d.Visitor, &d.OpenID)
		kind := code.Joined
		if e.Type == events.TypeMemberLeft {
			kind = code.Left
		}
		in.Member = &code.Member{Kind: kind, Target: *d.Target}
		t.totals.Members++
	case *events.MemberSnapshot:
		in.Member = &code.Member{Kind: code.Snapshot, Target: *d.Target, Count: *d.Count}
		t.totals.Members++
	case *events.Conversion:
		t.hide(&d.Visitor, &d.OpenID)
		t.totals.Conversions++
	}
	t.effects(b, m, idx, s, e.Tenant, s.Apply(in, m.At))
}

// viewSize is about what the view of a code takes in a record, in bytes: where
// all its numbers are the longest there are, half as much again, for which a
// record has room. In text a quote and a backslash are written as two.
func viewSize(s *code.State) int {
	d := &s.Def
	n := 260 + 2*(len(d.ID)+len(d.Tenant)+len(d.Name)+len(d.Profile)+len(d.Campaign)+len(d.Source)+len(d.Medium)+len(d.Owner)) + 170*len(d.Targets)
	for _, at := range []time.Time{s.ExpiresAt, s.RenewalDueAt, d.RenewedAt, d.RevokedAt} {
		if !at.IsZero() {
			n += 50
		}
	}
	for range s.Counts.All() {
		n += 24
	}
	if f := s.First; f != nil {
		n += 80 + 2*(len(f.EventID)+len(f.DeviceModel)+len(f.Province))
	}
	return n
}

// effects writes down what an outcome decided.
func (t *Transform) effects(b *builder, m events.Message, idx int, s *code.State, tenant string, out code.Outcome) {
	id := s.Def.ID
	if _, ok := t.touched[id]; !ok {
		t.touched[id] = s
		b.size += viewSize(s)
	}
	tenant = cmp.Or(s.Def.Tenant, tenant)
	for i, d := range out.Decisions {
		e := &events.Event{
			ID: fmt.Sprintf("d.%s.%d.%d.%d", id, m.Seq, idx, i), Source: source, Type: events.TypeDecision, Subject: id,
			Time: d.At, Tenant: tenant, Data: decisionData(id, d),
		}
		b.c.Decisions = append(b.c.Decisions, e)
		b.size += 500 + 40*len(d.Cause)
	}
	for i, a := range out.Alerts {
		e := &events.Event{
			ID: fmt.Sprintf("a.%s.%d.%d.%d", id, m.Seq, idx, i), Source: source, Type: "huoma.alert." + string(a.Kind) + ".v1", Subject: id,
			Time: a.At, Tenant: tenant, Data: alertData(id, a),
		}
		b.c.Alerts = append(b.c.Alerts, e)
		b.size += 700 + 40*len(a.Cause)
	}
	t.totals.Decisions += int64(len(out.Decisions))
	t.totals.Alerts += int64(len(out.Alerts))
}

func (t *Transform) deadError(b *builder, m events.Message, idx int, raw []byte, err error) {
	if e, ok := events.AsError(err); ok {
		detail := e.Reason
		if e.Field != "" {
			detail = e.Field + ": " + e.Reason
		}
		t.dead(b, m, idx, raw, e.Code, detail)
		return
	}
	t.dead(b, m, idx, raw, events.CodeMalformed, "the message cannot be read")
}

func (t *Transform) dead(b *builder, m events.Message, idx int, raw []byte, reason events.Code, detail string) {
	t.totals.Dead++
	b.c.Dead = append(b.c.Dead, events.Dead{Seq: m.Seq, Idx: idx, Reason: reason})
	b.letters = append(b.letters, events.DeadLetter{
		Partition: t.partition, Seq: m.Seq, Idx: idx, Subject: m.Subject, Data: raw, Reason: reason, Detail: detail,
	})
	b.size += 80
}

func (t *Transform) begin() *builder {
	return &builder{c: &events.Commit{Version: events.CommitVersion, Partition: t.partition, Owner: t.owner}}
}

// end closes the record: the codes touched as they now are, the totals, the
// input reached.
func (t *Transform) end(b *builder) *events.Commit {
	t.step++
	b.c.Step, b.c.Reached, b.c.Totals = t.step, t.reached, t.totals
	b.c.Codes = make([]code.View, 0, len(t.touched))
	for _, id := range slices.Sorted(maps.Keys(t.touched)) {
		b.c.Codes = append(b.c.Codes, t.touched[id].View())
	}
	clear(t.touched)
	return b.c
}
