package scanning

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/verify"
)

// Whatever comes, wherever the steps are cut and whoever takes over, the worker decides what the oracle says: every verdict, rule, target,
// decision, alert, dead letter, state and total.
//
// And every word there is must have come up on the way: an event type, verdict, decision or alert that the oracle does not know, or that
// these histories do not bring about, is not done.
func TestWorkerDecidesAsTheOracle(t *testing.T) {
	met := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		h := history{t: t, now: epoch}
		h.draw()
		s := stored{input: h.list}
		s.decide(t)
		h.note(met)
		_, err := verify.Run(context.Background(), verify.Options{Log: &s, Partitions: 2, Who: asOracle(testIdentity()), Now: func() time.Time { return h.now }},
			func(r verify.Result) error {
				if r.Check == "log.records" {
					r.Missing -= h.lost()
				}
				if r.Differences() != 0 {
					t.Errorf("%+v", r)
				}
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
	})
	for _, list := range [][]string{
		words(t, "../events/data.go", func(name, _ string) bool { return strings.HasPrefix(name, "Type") }),
		words(t, "../code/verdict.go", func(_, typ string) bool { return typ == "Verdict" }),
		words(t, "../code/decision.go", func(_, typ string) bool { return typ == "Kind" || typ == "AlertKind" }),
	} {
		for _, word := range list {
			if !met[word] && word != string(code.Forged) { // those are counts, which no code is told of
				t.Errorf("%q has not come up: teach it to internal/oracle, and to the histories here", word)
			}
		}
	}
}

// lost is how many numbers of gateways' records the log jumps over.
func (h *history) lost() (n int64) {
	highest := map[string]uint64{}
	for _, m := range h.list {
		number, err := strconv.ParseUint(m.Get(events.HeaderRecord), 10, 64)
		gateway := m.Get(events.HeaderProducer)
		if partition, kind, _ := events.StoredKind(m.Subject); partition == 0 && kind == events.KindGateway && err == nil && gateway != "" && number > highest[gateway] {
			n += int64(min(number-highest[gateway]-1, 1_000_000))
			highest[gateway] = number
		}
	}
	return n
}

// words are the constants of a type, or with a prefix to their names, in a source file.
func words(t *testing.T, file string, is func(name, typ string) bool) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			typ, _ := v.Type.(*ast.Ident)
			if typ == nil {
				typ = &ast.Ident{}
			}
			for i, name := range v.Names {
				if !is(name.Name, typ.Name) {
					continue
				}
				word, err := strconv.Unquote(v.Values[i].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, word)
			}
		}
	}
	if len(out) < 4 {
		t.Fatalf("only %q in %s", out, file)
	}
	return out
}

// note adds what the oracle makes of a history.
func (h *history) note(met map[string]bool) {
	p := oracle.New(0, 2, asOracle(testIdentity()))
	for _, m := range h.list {
		for r := p.Read(m); ; {
			o, ok := r.Next()
			if !ok {
				break
			}
			if o.Item != nil {
				met[o.Item.Event.Type], met[o.Item.Verdict] = true, true
			}
			for _, e := range slices.Concat(o.Decisions, o.Alerts) {
				met[e.Type] = true
				switch d := e.Data.(type) {
				case *events.Decision:
					met[d.Kind] = true
				case *events.Alert:
					met[d.Kind] = true
				}
			}
		}
	}
}

// asOracle gives the oracle the same functions.
func asOracle(who Identity) oracle.Who {
	return oracle.Who{
		Visitor: who.Visitor, Network: who.Network, Device: who.Device,
		Class: func(ua string) (string, string) {
			verdict, rule := who.Classify(ua)
			return string(verdict), rule
		},
		Picture: func(token, of string, at time.Time) (oracle.Picture, bool) {
			p, refused := who.Picture(token, of, at)
			return oracle.Picture(p), refused == ""
		},
	}
}

// stored is a log in memory, decided by a Transform.
type stored struct {
	input                    []events.Message
	commits, alerts, letters []events.Message

	trimmed string        // a stream without its first message
	removed uint64        // letters that were there
	maxAge  time.Duration // of alerts
}

// decide takes the input in steps cut anywhere, and now and then by another owner that restores the state and replays.
func (s *stored) decide(t *rapid.T) {
	tr := NewTransform(0, 2, "a", testIdentity())
	for i := 0; i < len(s.input); {
		b := tr.begin()
		if rapid.IntRange(0, 3).Draw(t, "full") == 0 {
			b.size = softCommit // the record is full after its first event
		}
		for i < len(s.input) && tr.take(b, s.input[i]) {
			i++
			if rapid.IntRange(0, 4).Draw(t, "end") == 0 {
				break
			}
		}
		s.keep(t, tr.end(b), b.letters)
		if rapid.IntRange(0, 9).Draw(t, "die") == 0 {
			restored, err := RestoreTransform(tr.Snapshot(uint64(len(s.commits))), 2, "b", testIdentity())
			if err != nil {
				t.Fatal(err)
			}
			tr = restored
			i, _ = slices.BinarySearchFunc(s.input, tr.Reached().Next(), func(m events.Message, seq uint64) int { return cmp.Compare(m.Seq, seq) })
		}
	}
}

// keep stores what a step comes to.
func (s *stored) keep(t interface{ Fatal(...any) }, c *events.Commit, letters []events.DeadLetter) {
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.commits = append(s.commits, events.Message{Seq: uint64(len(s.commits) + 1), Subject: events.CommitSubject(c.Partition), At: c.Time, Data: payload})
	for _, e := range c.Alerts {
		data, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s.alerts = append(s.alerts, events.Message{
			Seq: uint64(len(s.alerts) + 1), Subject: events.AlertSubject(e.Data.(*events.Alert).Kind, e.Subject), At: c.Time, Data: data,
		})
	}
	for _, l := range letters {
		s.letters = append(s.letters, events.Message{Seq: uint64(len(s.letters) + 1), Subject: events.DLQSubject(l.Partition), At: c.Time, Data: l.Data, Header: map[string][]string{
			events.HeaderMsgID: {fmt.Sprintf("%d.%d.%d", l.Partition, l.Seq, l.Idx)}, events.HeaderReason: {string(l.Reason)}, events.HeaderDetail: {l.Detail},
			events.HeaderSubject: {l.Subject}, events.HeaderPlace: {fmt.Sprintf("%d/%d/%d", l.Partition, l.Seq, l.Idx)},
		}})
	}
}

func (s *stored) of(stream string) []events.Message {
	return map[string][]events.Message{
		events.StreamEvents: s.input, events.StreamDecisions: s.commits, events.StreamAlerts: s.alerts, events.StreamDLQ: s.letters,
	}[stream]
}

func (s *stored) StreamState(_ context.Context, stream string) (events.StreamState, error) {
	st := events.StreamState{First: 1, MaxAge: s.maxAge}
	if list := s.of(stream); len(list) > 0 {
		st.Last, st.Messages = list[len(list)-1].Seq, list[len(list)-1].Seq
	}
	switch stream {
	case s.trimmed:
		st.First = 2
	case events.StreamDLQ:
		st.Last += s.removed
	}
	return st, nil
}

func (s *stored) LastInput(_ context.Context, partition int) (uint64, error) {
	if partition != 0 {
		return 0, nil
	}
	return s.input[len(s.input)-1].Seq, nil
}

func (s *stored) LastCommit(_ context.Context, partition int) ([]byte, uint64, error) {
	if partition != 0 {
		return nil, 0, events.ErrNotFound
	}
	last := s.commits[len(s.commits)-1]
	return last.Data, last.Seq, nil
}

func (s *stored) Stored(_ context.Context, stream string, filters []string, from, to uint64, fn func(events.Message) error) error {
	for _, m := range s.of(stream) {
		if m.Seq < from || m.Seq > to || slices.Contains(filters, events.CommitSubject(1)) || slices.Contains(filters, events.PartitionFilter(1)) {
			continue
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// history draws what may come to partition 0 of 2.
type history struct {
	t       *rapid.T
	now     time.Time // of the newest message
	list    []events.Message
	defs    map[string]*code.Definition
	numbers [2]int // of the gateways' records
	n       int
	dense   bool // little time passes, and most of it happens to one code
}

// Codes of partition 0, one that is minted late or never, and one of partition 1.
var ours, theirs = codesOf(0, 4), codesOf(1, 1)

func codesOf(partition, n int) (out []string) {
	for i := 0; len(out) < n; i++ {
		if id := fmt.Sprintf("c%d", i); events.Partition(id, 2) == partition {
			out = append(out, id)
		}
	}
	return out
}

func pick[T any](h *history, what string, of ...T) T { return rapid.SampledFrom(of).Draw(h.t, what) }

// rarely is true once in n.
func (h *history) rarely(what string, n int) bool { return rapid.IntRange(1, n).Draw(h.t, what) == n }

func (h *history) span(what string, of ...time.Duration) span.Span {
	return span.Span(pick(h, what, of...))
}

func (h *history) draw() {
	h.defs = map[string]*code.Definition{}
	h.dense = rapid.Bool().Draw(h.t, "dense")
	h.gateway(h.define(ours[0]), h.define(ours[1]))
	for range rapid.IntRange(5, 70).Draw(h.t, "messages") {
		if h.dense {
			h.now = h.now.Add(pick(h, "pause", 0, time.Millisecond, 300*time.Millisecond, time.Second, 4*time.Second, 15*time.Second))
		} else {
			h.now = h.now.Add(pick(h, "pause", 0, 0, time.Nanosecond, time.Millisecond, 900*time.Millisecond, 900*time.Millisecond, 2*time.Second, 5*time.Second,
				5*time.Second, 10*time.Second, 31*time.Second, 3*time.Minute, 21*time.Minute, 2*time.Hour, 9*time.Hour, 25*time.Hour))
		}
		switch rapid.IntRange(0, 11).Draw(h.t, "message") {
		case 0, 1, 2, 3, 4:
			var batch []*events.Event
			for range rapid.IntRange(1, 7).Draw(h.t, "events") {
				batch = append(batch, h.event())
			}
			h.gateway(batch...)
		case 5, 6, 7:
			e := h.event()
			kind := events.InKind(e.Type)
			if kind == "" || h.rarely("wrong kind", 12) {
				kind = pick(h, "kind", "scan", "member", "conversion", "other")
			}
			h.published(kind, h.bytes(e))
		case 8:
			kind := pick(h, "kind", "scan", "member")
			var batch []string
			for range rapid.IntRange(0, 5).Draw(h.t, "events") {
				if e := h.event(); events.InKind(e.Type) == kind {
					batch = append(batch, string(h.bytes(e)))
				}
			}
			if h.rarely("bad event", 6) {
				batch = append(batch, `{"specversion":"1.0"}`)
			}
			h.published(kind, []byte("["+strings.Join(batch, ",")+"]"))
		case 9:
			h.add(events.Message{Subject: "huoma.ev.0.timer", Data: []byte(pick(h, "timer", `{"code":"`+ours[0]+`"}`, `{"code":"`+ours[1]+`"}`, `{"code":"none"}`, `{"code":""}`, `{"code":`))})
		case 10: // a message comes again, as it is or from elsewhere
			m := h.list[rapid.IntRange(0, len(h.list)-1).Draw(h.t, "again")]
			m.Subject = pick(h, "subject", m.Subject, m.Subject, m.Subject, m.Subject, "huoma.ev.0.in.scan", "huoma.ev.1.gw", "huoma.in.scan.a.b", "huoma.ev.0.gw")
			h.add(m)
		case 11:
			if h.rarely("odd", 2) {
				h.odd()
				continue
			}
			h.gateway(h.define(h.code()))
		}
	}
}

// odd is a message that makes little sense.
func (h *history) odd() {
	m := events.Message{Subject: "huoma.ev.0.gw", Data: []byte("[]"), Header: map[string][]string{events.HeaderProducer: {"g0"}, events.HeaderRecord: {"0"}}}
	switch rapid.IntRange(0, 5).Draw(h.t, "oddity") {
	case 0:
		m.Header = nil
	case 1:
		m.Header = map[string][]string{events.HeaderProducer: {"g7"}, events.HeaderRecord: {strconv.FormatUint(math.MaxUint64, 10)}}
	case 2:
		m.Header, m.Data = map[string][]string{events.HeaderProducer: {"g8"}, events.HeaderRecord: {"1"}}, []byte(`[{"a":1},`)
	case 3:
		m.Subject, m.Data = "huoma.ev.0.in.scan", []byte("["+strings.Repeat("1,", events.MaxBatch)+"1]")
	case 4:
		m.Subject, m.Data = "huoma.ev.0.in.scan", []byte("not JSON")
	case 5: // a definition under another code's name
		e := h.define(ours[2])
		e.Subject = ours[0]
		h.gateway(e)
		return
	}
	h.add(m)
}

func (h *history) add(m events.Message) {
	seq := uint64(1)
	if n := len(h.list); n > 0 {
		seq = h.list[n-1].Seq + uint64(rapid.IntRange(1, 2).Draw(h.t, "gap"))
	}
	m.Seq, m.At = seq, h.now
	if h.rarely("another leader's clock", 8) {
		m.At = m.At.Add(-pick(h, "behind", time.Nanosecond, time.Second, time.Minute))
	}
	h.list = append(h.list, m)
}

func (h *history) bytes(e *events.Event) []byte {
	b, err := e.Marshal()
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *history) gateway(list ...*events.Event) {
	header := map[string][]string{}
	if ago := h.spooled(header); h.rarely("dated when spooled", 2) {
		for _, e := range list {
			e.Time = e.Time.Add(-ago)
		}
	}
	b, err := events.MarshalBatch(list)
	if err != nil {
		h.t.Fatal(err)
	}
	g := rapid.IntRange(0, 1).Draw(h.t, "gateway")
	h.numbers[g] += pick(h, "number", 1, 1, 1, 1, 2)
	m := events.Message{Subject: events.StoredSubject(0, events.KindGateway), Data: b, Header: map[string][]string{
		events.HeaderProducer: {fmt.Sprint("g", g)}, events.HeaderRecord: {strconv.Itoa(h.numbers[g])},
	}}
	maps.Copy(m.Header, header)
	h.add(m)
}

func (h *history) published(kind string, data []byte) {
	m := events.Message{Subject: events.StoredSubject(0, "in."+kind), Data: data, Header: map[string][]string{}}
	h.spooled(m.Header) // which is nothing to a producer's message
	h.add(m)
}

// spooled adds, and says how long ago that was, to every other message, the header of a spool: believed, too old, ahead of the clock, or nonsense.
func (h *history) spooled(header map[string][]string) (ago time.Duration) {
	if rapid.Bool().Draw(h.t, "direct") {
		return 0
	}
	ago = pick(h, "spooled", 0, time.Millisecond, time.Second, 2*time.Second, 5*time.Second, 10*time.Second, 30*time.Second, time.Minute, time.Hour, 24*time.Hour,
		25*time.Hour, 25*time.Hour+time.Millisecond, 48*time.Hour, -time.Second, -time.Hour)
	text := events.SpooledTime(h.now.Add(-ago))
	if h.rarely("malformed", 12) {
		text = pick(h, "malformed", "", "yesterday", text+"Z", strings.TrimSuffix(text, "Z")+"+00:00", h.now.Format(time.RFC3339))
	}
	header[events.HeaderSpooled] = []string{text}
	return ago
}

// rules draws a code's rules: ids stay and their meanings change.
func (h *history) rules() (out []risk.Rule) {
	if h.rarely("no rules", 3) {
		return nil
	}
	for _, id := range []string{"a", "b", "c"} {
		if h.rarely("no rule", 3) {
			continue
		}
		out = append(out, risk.Rule{
			ID: id, Scope: pick(h, "scope", risk.ScopeVisitor, risk.ScopeVisitor, risk.ScopeCode, risk.ScopeNetwork), Limit: rapid.IntRange(1, 5).Draw(h.t, "limit"),
			Window: h.span("window", time.Second, 10*time.Second, 30*time.Second, time.Hour), Action: pick(h, "action", risk.ActionLock, risk.ActionLock, risk.ActionFlag, risk.ActionDryRun),
			For: h.span("for", time.Second, 10*time.Second, 10*time.Minute, 3*time.Hour),
		})
	}
	return out
}

func (h *history) deadline(d *code.Definition) {
	d.Countdown = pick(h, "countdown", code.CountdownSliding, code.CountdownFixed, code.CountdownNone)
	d.Validity, d.Longest = h.span("validity", 0, 20*time.Second, time.Hour, 48*time.Hour), h.span("longest", 0, time.Minute, 5*time.Hour, 96*time.Hour)
}

// define mints a code or changes it, renews it, ends it, or tells it again.
func (h *history) define(id string) *events.Event {
	h.n++
	d, typ := h.defs[id], events.TypeCodeMinted
	if d == nil {
		d = &code.Definition{
			ID: id, Revision: 1, Profile: pick(h, "profile", "wechat-group", "wechat-static", "wecom-group", "miniprogram"), MintedAt: h.now, ChangedAt: h.now,
			MaxScans: pick(h, "max_scans", int64(0), 0, 3, 8, 40), WarnPercent: pick(h, "warn", 0, 50, 80, 80), RenewalEvery: h.span("renewal", 0, 0, 30*time.Second, 3*time.Hour, 72*time.Hour),
			Dedupe: h.span("dedupe", 0, 0, time.Second, 5*time.Second, time.Hour), Tenant: pick(h, "tenant", "", "", "t1"), Name: "code " + id,
			Campaign: "spring", Source: "wall", Medium: "print", Owner: "owner@example.com",
		}
		h.deadline(d)
		d.Rules = h.rules()
		for i := range rapid.IntRange(1, 3).Draw(h.t, "targets") {
			d.Targets = append(d.Targets, code.Target{N: i, URL: "https://example.com", Capacity: pick(h, "capacity", int64(0), 1, 2, 5, 9)})
		}
		h.defs[id] = d
		return &events.Event{ID: fmt.Sprint("def", h.n), Source: "gateway", Type: typ, Subject: id, Time: h.now, Data: &events.CodeData{Definition: *d}}
	}
	next := *d
	next.Targets = slices.Clone(d.Targets)
	next.Revision++
	typ = events.TypeCodeChanged
	switch rapid.IntRange(0, 12).Draw(h.t, "change") {
	case 0:
		next.MaxScans = pick(h, "max_scans", int64(0), 2, 60)
	case 1:
		next.Targets[0].Capacity = pick(h, "capacity", int64(0), 1, 6)
	case 2:
		next.Targets[0].Closed = !next.Targets[0].Closed
	case 3:
		h.deadline(&next)
	case 4:
		next.RenewedAt, typ = h.now, events.TypeCodeRenewed
	case 5:
		next.RenewalEvery = h.span("renewal", 0, 30*time.Second, 3*time.Hour)
	case 6:
		if h.rarely("revoke", 3) {
			next.RevokedAt, typ = h.now, events.TypeCodeRevoked
		}
	case 7:
		next.Rules = h.rules()
	case 11, 12: // one of them, a little
		next.Rules = slices.Clone(d.Rules)
		other := h.rules()
		if len(next.Rules) == 0 || len(other) == 0 {
			break
		}
		r := &next.Rules[rapid.IntRange(0, len(next.Rules)-1).Draw(h.t, "rule")]
		switch rapid.IntRange(0, 2).Draw(h.t, "of it") {
		case 0:
			r.Action = other[0].Action
		case 1:
			r.Window = other[0].Window
		case 2:
			r.Limit = other[0].Limit
		}
	case 8:
		next.Dedupe = h.span("dedupe", 0, time.Second, 3*time.Second, time.Hour)
	case 9:
		next.Targets = append(next.Targets, code.Target{N: next.Targets[len(next.Targets)-1].N + 1, Picture: "https://example.com/p.png", Capacity: pick(h, "capacity", int64(0), 2)})
	case 10:
		next.Revision-- // told again
	}
	*d = next
	return &events.Event{ID: fmt.Sprint("def", h.n), Source: "gateway", Type: typ, Subject: id, Time: h.now, Data: &events.CodeData{Definition: next}}
}

func (h *history) code() string {
	if h.dense {
		return ours[0]
	}
	return pick(h, "code", ours[0], ours[0], ours[0], ours[1], ours[1], ours[2])
}

// event draws one event as a gateway or a producer would publish it.
func (h *history) event() *events.Event {
	h.n++
	id := h.code()
	if h.rarely("strange code", 20) {
		id = pick(h, "strange", ours[3], theirs[0])
	}
	e := &events.Event{ID: fmt.Sprint("e", h.n), Source: pick(h, "source", "p", "p", "q"), Subject: id, Time: h.now, Tenant: pick(h, "tenant", "", "", "t2")}
	if h.rarely("id again", 8) {
		e.ID = fmt.Sprint("e", rapid.IntRange(1, h.n).Draw(h.t, "id"))
	}
	if h.rarely("odd time", 8) {
		e.Time = h.now.Add(pick(h, "time", -24*time.Hour, -24*time.Hour-time.Nanosecond, -24*time.Hour-time.Millisecond, 5*time.Minute, 5*time.Minute+time.Nanosecond, -time.Hour, 400*time.Hour))
	}
	if h.rarely("historical", 10) {
		e.Historical, e.Time = true, h.now.Add(pick(h, "past", -24*365*time.Hour, -48*time.Hour, -time.Minute, 24*time.Hour))
	}
	who := func() (visitor, openID string) {
		if h.rarely("openid", 6) {
			return "", pick(h, "openid", "o1", "o22")
		}
		return pick(h, "visitor", "v", "v", "v", "w", "x", ""), ""
	}
	n := pick(h, "target", 0, 0, 0, 1, 2, 7)
	switch rapid.IntRange(0, 15).Draw(h.t, "event") {
	default:
		s := &events.Scan{
			Variant: pick(h, "variant", 0, 0, 1, 2), Network: pick(h, "network", "", "10.1.2.0/24", "10.1.2.0/24", "10.9.9.9"),
			Answered: pick(h, "answered", "accepted", "accepted", "accepted", "", "", "preview", "bot", "locked", "full"), Province: pick(h, "province", "", "Zhejiang"),
			UserAgent: pick(h, "user agent", "", "", "robot", "phone"), DeviceModel: pick(h, "model", "", "", "Pixel 9"), Tracking: pick(h, "tracking", "", "", "TR"),
		}
		s.Visitor, s.OpenID = who()
		if h.dense {
			s.Variant, s.Tracking = 1, ""
		}
		if s.Answered == "preview" || s.Answered == "bot" {
			s.AnsweredRule = "declared"
		}
		if h.rarely("token", 8) {
			s.Token = pick(h, "token", id+":2", id+":2", id+":2!", id+":2@0", id+":2@1", id+":2@2", "short:3", "short:3!", theirs[0]+":1", "forged")
		}
		if h.rarely("live", 4) {
			s.ShownAt = events.FormatMinute(pick(h, "scanned", e.Time, h.now).Add(-pick(h, "shown", 0, time.Minute, time.Minute, 2*time.Minute-time.Nanosecond, 2*time.Minute, 3*time.Minute, -time.Minute)))
		}
		if h.rarely("led", 4) {
			s.Target = target(n)
		}
		e.Type, e.Data = events.TypeScan, s
	case 0, 1:
		m := &events.Member{Target: target(n)}
		m.Visitor, m.OpenID = who()
		e.Type, e.Data = pick(h, "member", events.TypeMemberJoined, events.TypeMemberJoined, events.TypeMemberLeft), m
	case 2:
		count := rapid.Int64Range(0, 8).Draw(h.t, "count")
		e.Type, e.Data = events.TypeMemberSnapshot, &events.MemberSnapshot{Target: target(n), Count: &count}
	case 3:
		c := &events.Conversion{ClickID: "click", Name: "sale", Value: "12.50", Currency: "CNY"}
		c.Visitor, c.OpenID = who()
		e.Type, e.Data = events.TypeConversion, c
	case 4:
		e = &events.Event{ID: e.ID, Source: "gateway", Type: events.TypeForged, Subject: "forged", Time: e.Time, Data: &events.Forged{Network: "10.1.2.0/24", Count: 3}}
	case 5:
		if h.rarely("not a producer's", 3) {
			e.Type, e.Data = events.TypeDecision, &events.Decision{Code: id, Kind: "lock"}
			return e
		}
		return h.define(id)
	}
	return e
}
