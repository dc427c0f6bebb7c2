package scanning

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
)

var epoch = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func testIdentity() Identity {
	return Identity{
		Visitor: func(openID string) string { return "hash-of-" + strconv.Itoa(len(openID)) },
		Classify: func(ua string) (code.Verdict, string) {
			if ua == "robot" {
				return code.Bot, "declared"
			}
			return "", ""
		},
		Network: func(s string) string {
			if a, err := netip.ParseAddr(s); err == nil {
				p, _ := a.Prefix(24)
				return p.String()
			}
			return s
		},
		Device: func(string) (string, string, string) { return "phone", "os", "app" },
		// "c1:2" is variant 2 of c1, "c1:2@1" a live picture of the minute before, "short:2" of any code; "c1:2!" is made with a key that is retired 20 s after the epoch.
		Picture: func(token, of string, at time.Time) (Picture, string) {
			token, old := strings.CutSuffix(token, "!")
			token, ago, live := strings.Cut(token, "@")
			var shown time.Time
			if minutes, err := strconv.Atoi(ago); live && err == nil {
				shown = at.Truncate(time.Minute).Add(-time.Duration(minutes) * time.Minute)
			}
			id, variant, ok := strings.Cut(token, ":")
			n, err := strconv.Atoi(variant)
			switch {
			case !ok || err != nil:
				return Picture{}, "seal"
			case old && !at.Before(epoch.Add(20*time.Second)):
				return Picture{}, "unknown-key"
			case id == "short":
				id = of
			}
			return Picture{Code: id, Variant: n, Tracking: "TRACKED", Shown: shown}, ""
		},
	}
}

// definition is a code that lives an hour, with one target of ten.
func definition(id string, change ...func(*code.Definition)) code.Definition {
	d := code.Definition{
		ID: id, Revision: 1, Profile: "wechat-group", Countdown: code.CountdownSliding, Validity: span.Span(time.Hour), Longest: span.Span(24 * time.Hour),
		Targets: []code.Target{{N: 0, URL: "https://example.com/0", Capacity: 10}}, WarnPercent: 80, MaxScans: 100,
		Rules: risk.DefaultRules(), MintedAt: epoch, ChangedAt: epoch,
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func event(typ, id, subject string, at time.Time, data events.Data) *events.Event {
	return &events.Event{ID: id, Source: "test", Type: typ, Subject: subject, Time: at, Data: data}
}

func minted(d code.Definition) *events.Event {
	return event(events.TypeCodeMinted, "m-"+d.ID, d.ID, d.MintedAt, &events.CodeData{Definition: d})
}

func scanBy(id, codeID, visitor string, at time.Time) *events.Event {
	return event(events.TypeScan, id, codeID, at, &events.Scan{Visitor: visitor, Answered: "accepted"})
}

func target(n int) *int { return &n }

// record is a gateway's message.
func record(t testing.TB, seq uint64, number int, at time.Time, list ...*events.Event) events.Message {
	t.Helper()
	b, err := events.MarshalBatch(list)
	if err != nil {
		t.Fatal(err)
	}
	return events.Message{
		Seq: seq, At: at, Subject: events.StoredSubject(0, events.KindGateway), Data: b,
		Header: map[string][]string{events.HeaderProducer: {"g1"}, events.HeaderRecord: {strconv.Itoa(number)}},
	}
}

// published is a producer's message.
func published(t testing.TB, seq uint64, kind string, at time.Time, e *events.Event) events.Message {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return events.Message{Seq: seq, At: at, Subject: events.StoredSubject(0, "in."+kind), Data: b}
}

// decide feeds messages through a new transform, one record each.
func decide(t testing.TB, list ...events.Message) ([]*events.Commit, []events.DeadLetter) {
	t.Helper()
	tr := NewTransform(0, 1, "w", testIdentity())
	var out []*events.Commit
	var letters []events.DeadLetter
	for _, m := range list {
		for done := false; !done; {
			b := tr.begin()
			done = tr.take(b, m)
			letters = append(letters, b.letters...)
			out = append(out, tr.end(b))
		}
	}
	return out, letters
}

func verdicts(commits []*events.Commit) []string {
	var out []string
	for _, c := range commits {
		for _, it := range c.Items {
			if it.Verdict != "" {
				out = append(out, string(it.Verdict))
			}
		}
	}
	return out
}

func TestFifthScanLocksAndTheSixthIsRefused(t *testing.T) {
	list := []events.Message{record(t, 1, 1, epoch, minted(definition("c1")))}
	for i := range 6 {
		at := epoch.Add(time.Duration(i+1) * time.Second)
		list = append(list, record(t, uint64(i+2), i+2, at, scanBy(fmt.Sprintf("s%d", i), "c1", "v", at)))
	}
	commits, letters := decide(t, list...)
	if len(letters) != 0 {
		t.Fatalf("dead letters: %+v", letters)
	}
	want := []string{"accepted", "accepted", "accepted", "accepted", "accepted", "locked"}
	if got := verdicts(commits); !reflect.DeepEqual(got, want) {
		t.Errorf("verdicts = %v, want %v", got, want)
	}
	fifth := commits[5]
	if len(fifth.Decisions) != 1 || len(fifth.Alerts) != 1 {
		t.Fatalf("the fifth scan decided %d and alerted %d, want 1 and 1", len(fifth.Decisions), len(fifth.Alerts))
	}
	lock := fifth.Decisions[0].Data.(*events.Decision)
	if lock.Kind != "lock" || lock.Key != "v" || !reflect.DeepEqual(lock.Cause, []string{"s0", "s1", "s2", "s3", "s4"}) {
		t.Errorf("lock = %+v", lock)
	}
	if got := commits[6].Items[0].Rule; got != "frequency" {
		t.Errorf("rule of the refused scan = %q, want frequency", got)
	}
}

func TestIdentityIsHiddenAndDerived(t *testing.T) {
	at := epoch.Add(time.Minute)
	e := event(events.TypeScan, "s", "c1", at, &events.Scan{OpenID: "oABC", Token: "c1:2", Variant: 7, Tracking: "CLAIMED", Network: "203.0.113.77", UserAgent: "phone", Answered: "accepted"})
	commits, _ := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), published(t, 2, "scan", at, e))
	got := commits[1].Items[0].Event.Data.(*events.Scan)
	want := &events.Scan{Visitor: "hash-of-4", Variant: 2, Tracking: "TRACKED", Network: "203.0.113.0/24", UserAgent: "phone", DeviceModel: "phone", OS: "os", App: "app"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("scan = %+v, want %+v", got, want)
	}
	payload, err := commits[1].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"oABC", "203.0.113.77"} {
		if bytes.Contains(payload, []byte(secret)) {
			t.Errorf("the record holds %q", secret)
		}
	}
}

func TestIdentityOfMembersAndBuyersIsHidden(t *testing.T) {
	at := epoch.Add(time.Minute)
	target := 0
	joined := event(events.TypeMemberJoined, "m", "c1", at, &events.Member{Target: &target, OpenID: "oABC"})
	sale := event(events.TypeConversion, "s", "c1", at, &events.Conversion{OpenID: "oABC", Name: "sale"})
	commits, _ := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), published(t, 2, "member", at, joined), published(t, 3, "conversion", at, sale))
	m, c := commits[1].Items[0].Event.Data.(*events.Member), commits[2].Items[0].Event.Data.(*events.Conversion)
	if m.Visitor != "hash-of-4" || m.OpenID != "" || c.Visitor != "hash-of-4" || c.OpenID != "" {
		t.Errorf("member %+v, conversion %+v", m, c)
	}
}

func TestProducersRobotIsABot(t *testing.T) {
	at := epoch.Add(time.Minute)
	e := event(events.TypeScan, "s", "c1", at, &events.Scan{Visitor: "v", UserAgent: "robot", Answered: "accepted"})
	commits, _ := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), published(t, 2, "scan", at, e))
	if it := commits[1].Items[0]; it.Verdict != code.Bot || it.Rule != "declared" || it.Event.Data.(*events.Scan).Answered != "" {
		t.Errorf("item = %s by %q, answered %q; a producer cannot answer for a gateway", it.Verdict, it.Rule, it.Event.Data.(*events.Scan).Answered)
	}
}

func TestDeadLetters(t *testing.T) {
	at := epoch.Add(48 * time.Hour)
	join := func(id string, n int) *events.Event {
		return event(events.TypeMemberJoined, id, "c1", at, &events.Member{Target: target(n)})
	}
	good := func(change func(*events.Event)) *events.Event {
		e := join("x", 0)
		change(e)
		return e
	}
	raw := func(subject, data string) events.Message {
		return events.Message{At: at, Subject: subject, Data: []byte(data)}
	}
	for _, row := range []struct {
		name string
		m    events.Message
		want events.Code
	}{
		{"not JSON", raw("huoma.ev.0.in.scan", "hello"), events.CodeMalformed},
		{"half a batch", raw("huoma.ev.0.in.scan", `[{"specversion":"1.0"`), events.CodeMalformed},
		{"unknown kind of subject", published(t, 0, "bogus", at, join("x", 0)), events.CodeWrongSubject},
		{"a member event as a scan", published(t, 0, "scan", at, join("x", 0)), events.CodeWrongSubject},
		{"not one of our subjects", raw("huoma.in.a.b.c", "{}"), events.CodeWrongSubject},
		{"a stranger as a gateway", raw("huoma.ev.0.gw", "[]"), events.CodeWrongSubject},
		{"unknown code", published(t, 0, "member", at, good(func(e *events.Event) { e.Subject = "nobody" })), events.CodeUnknownCode},
		{"unknown target", published(t, 0, "member", at, join("x", 7)), events.CodeInvalid},
		{"a forged token", published(t, 0, "scan", at, event(events.TypeScan, "f", "c1", at, &events.Scan{Token: "guessed"})), events.CodeInvalid},
		{"another code's token", published(t, 0, "scan", at, event(events.TypeScan, "f", "c1", at, &events.Scan{Token: "c2:1"})), events.CodeInvalid},
		{"a token of a retired key", published(t, 0, "scan", at, event(events.TypeScan, "f", "c1", at, &events.Scan{Token: "c1:1!"})), events.CodeInvalid},
		{"older than a day", published(t, 0, "member", at, good(func(e *events.Event) { e.Time = at.Add(-oldest - time.Millisecond) })), events.CodeTooOld},
		{"too far ahead", published(t, 0, "member", at, good(func(e *events.Event) { e.Time = at.Add(newest + time.Millisecond) })), events.CodeTooNew},
		{"a definition from a producer", published(t, 0, "code", at, minted(definition("c1"))), events.CodeWrongSubject},
		{"a decision from a producer", published(t, 0, "scan", at, event(events.TypeDecision, "d", "c1", at, &events.Decision{Code: "c1", Kind: "lock"})), events.CodeWrongSubject},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.m.Seq = 2
			long := definition("c1", func(d *code.Definition) { d.Countdown = code.CountdownNone })
			commits, letters := decide(t, record(t, 1, 1, epoch, minted(long)), row.m)
			if len(letters) != 1 || letters[0].Reason != row.want || letters[0].Detail == "" || letters[0].Seq != 2 {
				t.Fatalf("dead letters = %+v, want one for %s", letters, row.want)
			}
			last := commits[len(commits)-1]
			if last.Totals.Dead != 1 || len(last.Dead) != 1 || last.Totals.Members+last.Totals.Scans != 0 {
				t.Errorf("record = %+v, want one dead and nothing counted", last)
			}
		})
	}
}

// A broker whose new leader's clock is behind does not turn time back.
func TestTimeNeverRunsBackwards(t *testing.T) {
	short := definition("c1", func(d *code.Definition) { d.Countdown, d.Validity = code.CountdownFixed, span.Span(time.Minute) })
	late, early := epoch.Add(2*time.Minute), epoch.Add(30*time.Second)
	commits, _ := decide(t, record(t, 1, 1, epoch, minted(short)), record(t, 2, 2, late, scanBy("a", "c1", "v", late)), record(t, 3, 3, early, scanBy("b", "c1", "w", early)))
	if got := verdicts(commits); !reflect.DeepEqual(got, []string{"expired", "expired"}) {
		t.Errorf("verdicts = %v", got)
	}
	if got := commits[2]; !got.Time.Equal(late) || !got.Items[0].At.Equal(late) {
		t.Errorf("the record is of %s, its item of %s, want %s", got.Time, got.Items[0].At, late)
	}
}

func TestProducersBatchIsBounded(t *testing.T) {
	at := epoch.Add(time.Second)
	e := event(events.TypeScan, "s", "c1", at, &events.Scan{})
	for _, row := range []struct{ events, dead int }{{events.MaxBatch, 0}, {events.MaxBatch + 1, 1}} {
		b, err := events.MarshalBatch(slices.Repeat([]*events.Event{e}, row.events))
		if err != nil {
			t.Fatal(err)
		}
		_, letters := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), events.Message{Seq: 2, At: at, Subject: "huoma.ev.0.in.scan", Data: b})
		if len(letters) != row.dead || row.dead > 0 && letters[0].Reason != events.CodeTooMany {
			t.Errorf("%d events: dead letters %+v, want %d", row.events, letters, row.dead)
		}
	}
}

// Two producers may both count from one.
func TestIdIsUniqueWithItsSource(t *testing.T) {
	other := scanBy("1", "c1", "v2", epoch)
	other.Source = "another"
	commits, _ := decide(t,
		record(t, 1, 1, epoch, minted(definition("c1"))),
		published(t, 2, "scan", epoch, scanBy("1", "c1", "v1", epoch)),
		published(t, 3, "scan", epoch, other),
		published(t, 4, "scan", epoch, scanBy("1", "c1", "v1", epoch)),
	)
	if got := commits[len(commits)-1].Totals; got.Scans != 2 || got.Repeated != 1 {
		t.Errorf("totals %+v, want 2 scans and 1 repeated", got)
	}
}

func TestAgesAtTheBoundaryAndHistory(t *testing.T) {
	at := epoch.Add(48 * time.Hour)
	long := definition("c1", func(d *code.Definition) { d.Countdown = code.CountdownNone })
	old := event(events.TypeScan, "h", "c1", epoch.Add(-900*time.Hour), &events.Scan{Visitor: "v", Target: target(0)})
	old.Historical = true
	commits, letters := decide(t, record(t, 1, 1, epoch, minted(long)),
		published(t, 2, "scan", at, event(events.TypeScan, "a", "c1", at.Add(-oldest), &events.Scan{Visitor: "v"})),
		published(t, 3, "scan", at, event(events.TypeScan, "b", "c1", at.Add(newest), &events.Scan{Visitor: "v"})),
		published(t, 4, "scan", at, old))
	if len(letters) != 0 {
		t.Fatalf("dead letters: %+v", letters)
	}
	h := commits[3].Items[0]
	if h.Verdict != code.Accepted || h.Rule != "historical" || h.Target == nil || *h.Target != 0 {
		t.Errorf("historical scan = %+v", h)
	}
	if v := commits[3].Codes[0]; v.Consumed != 2 || v.Counts.Of(code.Accepted) != 3 || !v.First.At.Equal(old.Time) {
		t.Errorf("view = %+v, want 2 consumed, 3 accepted, the first in the past", v)
	}
}

func TestRepeatsAreDroppedAndCounted(t *testing.T) {
	at := epoch.Add(time.Second)
	mint := record(t, 1, 1, epoch, minted(definition("c1")), minted(definition("c2")))
	join := event(events.TypeMemberJoined, "j", "c1", at, &events.Member{Target: target(0)})
	other := event(events.TypeMemberJoined, "j", "c2", at, &events.Member{Target: target(0)}) // elsewhere it would be another partition's
	gw := record(t, 2, 2, at, scanBy("s", "c1", "v", at), scanBy("s2", "c1", "w", at))
	again := gw
	again.Seq = 5
	toldAgain := record(t, 6, 3, at, minted(definition("c1")))
	commits, _ := decide(t, mint, gw, published(t, 3, "member", at, join), published(t, 4, "member", at.Add(23*time.Hour), join), again, toldAgain,
		published(t, 7, "member", at.Add(23*time.Hour), other))
	last := commits[len(commits)-1].Totals
	want := events.Totals{Scans: 2, Members: 2, Codes: 2, Repeated: 4, Decisions: last.Decisions, Alerts: last.Alerts}
	if last != want {
		t.Errorf("totals = %+v, want %+v", last, want)
	}
}

// workload draws messages for two codes: every kind, repeats, nonsense, time
// passing.
func workload(t *rapid.T) []events.Message {
	tb := nowhere{}
	now, seq, number := epoch, uint64(1), 1
	small := func(d *code.Definition) {
		d.MaxScans = int64(rapid.IntRange(0, 12).Draw(t, "cap"))
		d.Targets = []code.Target{{N: 0, URL: "https://example.com/0", Capacity: 4}, {N: 1, URL: "https://example.com/1", Capacity: 3}}
		d.RenewalEvery = span.Span(2 * time.Hour)
		d.Dedupe = span.Span(rapid.SampledFrom([]time.Duration{0, 15 * time.Second}).Draw(t, "dedupe"))
	}
	defs := []code.Definition{definition("c1", small), definition("c2", small)}
	list := []events.Message{record(tb, seq, number, now, minted(defs[0]), minted(defs[1]))}
	for i := range rapid.IntRange(1, 40).Draw(t, "messages") {
		now = now.Add(rapid.SampledFrom([]time.Duration{-time.Second, 0, time.Millisecond, time.Second, 10 * time.Second, 20 * time.Minute}).Draw(t, "pause"))
		seq += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
		id := rapid.SampledFrom([]string{"c1", "c2"}).Draw(t, "code")
		visitor := rapid.SampledFrom([]string{"", "v", "w"}).Draw(t, "visitor")
		switch rapid.IntRange(0, 6).Draw(t, "what") {
		case 0, 1:
			number++
			var batch []*events.Event
			for j := range rapid.IntRange(1, 8).Draw(t, "scans") {
				batch = append(batch, scanBy(fmt.Sprintf("g%d.%d", i, j), id, visitor, now))
			}
			m := record(tb, seq, number, now, batch...)
			if rapid.Bool().Draw(t, "spooled") {
				late := rapid.SampledFrom([]time.Duration{-time.Second, time.Millisecond, 10 * time.Second, 40 * time.Second, time.Hour, 26 * time.Hour}).Draw(t, "late")
				m = spooled(m, now.Add(-late))
			}
			list = append(list, m)
		case 2:
			list = append(list, published(tb, seq, "member", now, event(events.TypeMemberJoined, fmt.Sprintf("j%d", i%7), id, now, &events.Member{Target: target(i % 3)})))
		case 3:
			n := int64(rapid.IntRange(0, 6).Draw(t, "count"))
			list = append(list, published(tb, seq, "member", now, event(events.TypeMemberSnapshot, fmt.Sprintf("n%d", i), id, now, &events.MemberSnapshot{Target: target(0), Count: &n})))
		case 4:
			again := list[rapid.IntRange(0, len(list)-1).Draw(t, "again")]
			again.Seq, again.At = seq, now
			list = append(list, again)
		case 5:
			list = append(list, events.Message{Seq: seq, At: now, Subject: "huoma.ev.0.timer", Data: []byte(`{"code":"` + id + `"}`)})
		case 6:
			number++
			k := rapid.IntRange(0, 1).Draw(t, "which")
			defs[k].Revision++
			defs[k].RenewedAt = now
			e := event(events.TypeCodeRenewed, fmt.Sprintf("r%d", i), defs[k].ID, now, &events.CodeData{Definition: defs[k]})
			list = append(list, record(tb, seq, number, now, e))
		}
	}
	return list
}

// nowhere is a testing.TB for building messages inside a property.
type nowhere struct{ testing.TB }

func (nowhere) Helper()           {}
func (nowhere) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// meaning is what a run of records says, wherever the steps were cut.
type meaning struct {
	items, decisions, alerts []string
	totals                   events.Totals
	codes                    map[string]code.View
}

func (m *meaning) add(c *events.Commit) {
	for _, it := range c.Items {
		m.items = append(m.items, fmt.Sprintf("%d/%d %s %s %s %v", it.Seq, it.Idx, it.Event.ID, it.Verdict, it.Rule, it.Target != nil))
	}
	for _, e := range c.Decisions {
		m.decisions = append(m.decisions, e.ID+fmt.Sprintf("%+v", e.Data.(*events.Decision).Kind))
	}
	for _, e := range c.Alerts {
		m.alerts = append(m.alerts, e.ID+e.Type)
	}
	for _, v := range c.Codes {
		m.codes[v.ID] = v
	}
	m.totals = c.Totals
}

// Wherever the steps are cut, and wherever an owner dies and another restores
// its snapshot and replays, the same is decided.
func TestCutsAndRestoresChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := workload(t)
		whole := meaning{codes: map[string]code.View{}}
		tr := NewTransform(0, 1, "a", testIdentity())
		for _, m := range list {
			b := tr.begin()
			tr.take(b, m)
			whole.add(tr.end(b))
		}

		cut := meaning{codes: map[string]code.View{}}
		tr = NewTransform(0, 1, "b", testIdentity())
		var at uint64
		for i := 0; i < len(list); {
			b := tr.begin()
			if rapid.Bool().Draw(t, "full") {
				b.size = softCommit // the record is full after its first event
			}
			for i < len(list) && tr.take(b, list[i]) {
				i++
				if rapid.Bool().Draw(t, "end") {
					break
				}
			}
			at++
			cut.add(tr.end(b))
			if rapid.IntRange(0, 3).Draw(t, "die") > 0 {
				continue
			}
			snap, err := tr.Snapshot(at).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			read, err := events.ReadSnapshot(bytes.NewReader(snap))
			if err != nil {
				t.Fatal(err)
			}
			if tr, err = RestoreTransform(read, 1, "c", testIdentity()); err != nil {
				t.Fatal(err)
			}
			i = 0 // everything is delivered again
		}
		if !reflect.DeepEqual(whole, cut) {
			t.Fatalf("cut and restored:\n%+v\nwhole:\n%+v", cut, whole)
		}
	})
}

// A replay stops exactly where the last record stopped, also inside a message.
func TestReplayStopsInsideAMessage(t *testing.T) {
	m := record(t, 2, 2, epoch, scanBy("a", "c1", "v", epoch), scanBy("b", "c1", "w", epoch), scanBy("c", "c1", "x", epoch))
	mint := record(t, 1, 1, epoch, minted(definition("c1")))
	for idx := range 3 {
		tr := NewTransform(0, 1, "a", testIdentity())
		end := events.Place{Seq: 2, Idx: idx, More: idx < 2}
		for _, m := range []events.Message{mint, m} {
			if !tr.takeUntil(tr.begin(), &input{Message: m}, end) {
				t.Fatalf("stopped before %+v", end)
			}
		}
		if got := tr.totals.Scans; got != int64(idx+1) {
			t.Errorf("replayed %d scans to %+v, want %d", got, end, idx+1)
		}
		b := tr.begin()
		if !tr.take(b, m) || len(b.c.Items) != 2-idx {
			t.Errorf("after %+v %d items were left, want %d", end, len(b.c.Items), 2-idx)
		}
	}
}
