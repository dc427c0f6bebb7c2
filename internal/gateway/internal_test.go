package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

func TestScanIsEncodedAsAnyEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return clean(rapid.String().Draw(t, name), 200) }
		s := &scanned{
			id: "01J0000000000000000000000", source: "huoma/gateway/x", code: "7zz0kq3m5d8a",
			at: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")).UTC(),
			data: events.Scan{
				Variant: rapid.IntRange(0, 8).Draw(t, "variant"), Tracking: text("tracking"), Visitor: text("visitor"), UserAgent: text("agent"),
				Network: text("network"), DeviceModel: text("model"), OS: text("os"), App: text("app"), RefererHost: text("referer"),
				ClickID: text("click"), Answered: rapid.SampledFrom([]string{"", "accepted", "bot"}).Draw(t, "answered"), AnsweredRule: text("rule"),
			},
		}
		if rapid.Bool().Draw(t, "utm") {
			s.data.UTM = &events.UTM{Source: text("s"), Medium: text("m"), Campaign: text("c"), Term: text("t"), Content: text("o")}
		}
		if rapid.Bool().Draw(t, "target") {
			n := rapid.IntRange(0, 9999).Draw(t, "n")
			s.data.Target = &n
		}
		e := &events.Event{ID: s.id, Source: s.source, Type: events.TypeScan, Subject: s.code, Time: s.at, Data: &s.data}
		want, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.append([]byte("before"))
		if err != nil || string(got) != "before"+string(want) {
			t.Fatalf("got  %s\nwant %s\n%v", got, want, err)
		}
		if _, err := events.Parse(want); err != nil {
			t.Fatalf("a worker would refuse it: %v", err)
		}
	})
}

// TestMirrorDecidesLikeTheWorker holds the mirror to the state machine: after any history, both
// give the next scan the same verdict and rule.
func TestMirrorDecidesLikeTheWorker(t *testing.T) {
	id, err := token.ParseCodeID("7zz0kq3m5d8a")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		def := code.Definition{
			ID: id.String(), Revision: 1, Profile: "wechat-group", MintedAt: now, ChangedAt: now,
			Targets:   []code.Target{{N: 0, URL: "https://example.com/a", Capacity: 4}, {N: 1, URL: "https://example.com/b", Capacity: 3}},
			Countdown: rapid.SampledFrom([]code.Countdown{code.CountdownSliding, code.CountdownFixed, code.CountdownNone}).Draw(t, "countdown"),
			Validity:  span.Span(20 * time.Second), Longest: span.Span(time.Minute), RenewalEvery: span.Span(50 * time.Second),
			MaxScans: rapid.Int64Range(0, 8).Draw(t, "cap"), WarnPercent: 80, Dedupe: span.Span(rapid.IntRange(0, 2).Draw(t, "dedupe")) * span.Span(4*time.Second),
			Rules: []risk.Rule{
				{ID: "v", Scope: risk.ScopeVisitor, Limit: 2, Window: span.Span(3 * time.Second), Action: risk.ActionLock, For: span.Span(5 * time.Second)},
				{ID: "n", Scope: risk.ScopeNetwork, Limit: 4, Window: span.Span(3 * time.Second), Action: risk.ActionLock, For: span.Span(2 * time.Second)},
				{ID: "c", Scope: risk.ScopeCode, Limit: 6, Window: span.Span(2 * time.Second), Action: risk.ActionLock, For: span.Span(time.Second)},
				{ID: "f", Scope: risk.ScopeVisitor, Limit: 1, Window: span.Span(time.Second), Action: risk.ActionFlag, For: span.Span(time.Minute)},
			},
		}
		s := code.New(def)
		m := newMirror()
		m.define(id, &def, now)
		follow := func(out code.Outcome) {
			m.view(id, s.View(), 0)
			for _, d := range out.Decisions {
				switch d.Kind {
				case code.KindLock:
					m.lock(id, d.Rule, d.Key, d.Until, now)
				case code.KindUnlock:
					m.unlock(id, d.Rule, d.Key)
				}
			}
		}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
			name := fmt.Sprint("e", step)
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				next := s.Def
				next.Revision++
				next.ChangedAt = now
				switch rapid.IntRange(0, 4).Draw(t, "change") {
				case 0:
					next.RenewedAt = now
				case 1:
					next.MaxScans += 2
				case 2:
					next.Validity += span.Span(5 * time.Second)
				case 3:
					next.Targets = append(append([]code.Target{}, next.Targets...), code.Target{N: len(next.Targets), URL: "https://example.com/c", Capacity: 2})
				case 4:
					next.RevokedAt = now
				}
				// The gateway foretells what the worker is about to make of it. It cannot know when the last
				// scan was once the longest validity has cut the sliding one short.
				cut := s.ExpiresAt.Equal(def.MintedAt.Add(def.Longest.Duration())) || s.ExpiresAt.Equal(s.Def.RenewedAt.Add(def.Longest.Duration()))
				m.define(id, &next, now)
				out := s.Apply(code.Input{ID: name, Define: &code.Define{Kind: code.Changed, Def: next}}, now)
				k, _ := m.get(id, now)
				if v := s.View(); k.view.Status != v.Status || !k.view.ExpiresAt.Equal(v.ExpiresAt) && !cut || !k.view.RenewalDueAt.Equal(v.RenewalDueAt) || k.view.Current != v.Current || k.view.Unique != v.Unique ||
					k.view.Consumed != v.Consumed || k.view.Counts != v.Counts {
					t.Fatalf("foretold %+v, is %+v", k.view, v)
				}
				follow(out)
			case 1:
				follow(s.Apply(code.Input{ID: name, Member: &code.Member{Kind: code.Joined, Target: rapid.IntRange(0, 1).Draw(t, "target")}}, now))
			default:
				who := risk.Subject{Visitor: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "visitor"), Network: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "network")}
				class, rule := code.Verdict(""), ""
				if rapid.IntRange(0, 9).Draw(t, "robot") == 0 {
					class, rule = code.Bot, "declared-robot:x"
				}
				picture := rapid.SampledFrom([]string{"red", "green"}).Draw(t, "picture")
				a, ok := m.decide(id, class, rule, who, picture, now)
				out := s.Apply(code.Input{ID: name, Scan: &code.Scan{Class: class, ClassRule: rule, Visitor: who.Visitor, Network: who.Network, Picture: picture}}, now)
				if out.Verdict == code.Accepted {
					m.accepted(id, who.Visitor, picture, now)
				}
				if !ok || a.verdict != out.Verdict || a.rule != out.Rule {
					t.Fatalf("the mirror says %s (%s), the worker %s (%s)", a.verdict, a.rule, out.Verdict, out.Rule)
				}
				if out.Target >= 0 && a.target.N != out.Target {
					t.Fatalf("the mirror leads to %d, the worker to %d", a.target.N, out.Target)
				}
				follow(out)
			}
		}
		// A gateway that starts now, from a snapshot, sees the same.
		fresh := newMirror()
		fresh.restore(id, s.Save(), now, false)
		for _, visitor := range []string{"", "a", "b"} {
			for _, network := range []string{"", "x"} {
				who := risk.Subject{Visitor: visitor, Network: network}
				a, _ := m.decide(id, "", "", who, "red", now)
				b, _ := fresh.decide(id, "", "", who, "red", now)
				if a.verdict != b.verdict || a.rule != b.rule || !a.until.Equal(b.until) {
					t.Fatalf("followed: %+v, restored: %+v", a, b)
				}
			}
		}
	})
}

func TestRecordsAreCutAtTheirSize(t *testing.T) {
	p := new(part)
	event := []byte(`{"x":"` + strings.Repeat("y", 90) + `"}`)
	for range 100 {
		p.add(event, 1000, 0)
	}
	total := 0
	for _, l := range p.all() {
		if len(l.json) > 1000 {
			t.Errorf("a record of %d bytes", len(l.json))
		}
		var list []any
		if err := json.Unmarshal(l.json, &list); err != nil {
			t.Fatal(err)
		}
		if l.events != len(list) {
			t.Errorf("%d events, said to be %d", len(list), l.events)
		}
		total += len(list)
	}
	if total != 100 {
		t.Errorf("%d events, want 100", total)
	}
}

func TestForgedCountsAreBounded(t *testing.T) {
	var f forgedCounts
	for i := range maxForgedNetworks + 100 {
		f.add(fmt.Sprint(i), 2)
	}
	got := f.take()
	if len(got) != maxForgedNetworks+1 || got[otherNetworks] != 200 {
		t.Errorf("%d networks, %d from others", len(got), got[otherNetworks])
	}
}

func TestSlowReaderIsDropped(t *testing.T) {
	ring := newAlertRing(10)
	_, slow := ring.open("")
	_, quick := ring.open("")
	last := ReaderBehind + 44
	for i := range last {
		ring.add(&events.Event{ID: fmt.Sprint(i), Data: &events.Alert{}})
		<-quick.news
	}
	n := 0
	for range slow.news {
		n++
	}
	if !slow.behind || quick.behind || n != ReaderBehind {
		t.Errorf("dropped: %t, and the quick one %t, after %d alerts", slow.behind, quick.behind, n)
	}
	ring.add(&events.Event{ID: fmt.Sprint(last - 1), Data: &events.Alert{}}) // again
	if len(ring.list) != 10 || ring.list[8].ID != fmt.Sprint(last-2) {
		t.Errorf("ring holds %d, before the last %s", len(ring.list), ring.list[8].ID)
	}
	ring.close()
	if _, late := ring.open(""); func() bool { _, ok := <-late.news; return ok }() {
		t.Error("a stream opened after the end")
	}
}

func TestLanguage(t *testing.T) {
	for header, want := range map[string]string{
		"": "en", "zh-CN,zh;q=0.9": "zh", "en-US,en;q=0.9,zh;q=0.8": "en", "fr, zh-TW;q=0.5": "zh", "fr": "en", "zh;q=0": "en", "en;q=0.1,zh;q=0.2": "zh", "zh;q=x": "en",
	} {
		if got := language(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, row := range []struct {
		in   string
		most int
		want string
	}{{"plain", 10, "plain"}, {"a\x00b\nc", 10, "abc"}, {"a\xffb", 10, "ab"}, {"活码活码", 7, "活码"}, {"", 0, ""}, {"abc", 2, "ab"}} {
		if got := clean(row.in, row.most); got != row.want {
			t.Errorf("%q: %q, want %q", row.in, got, row.want)
		}
	}
}

func FuzzMintBody(f *testing.F) {
	for _, seed := range []string{
		`{"profile":"wechat-group","targets":[{"url":"https://example.com/a","capacity":10}],"rules":[{"limit":5,"window":"30s"}]}`,
		`{"profile":"wecom-group","targets":[{"picture":"data:image/png;base64,iVBORw0KGgo="}],"variants":[{"fg":"#123"}],"validity":"1h"}`,
		`[]`, `{`, `{"targets":[{"url":"http://[::1]:80/"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseMint(body)
		if err != nil {
			checkProblem(t, err)
			return
		}
		def, err := q.newDefinition(policy{}, "7zz0kq3m5d8a", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			checkProblem(t, err)
			return
		}
		// Whatever gets in, the log takes and a worker can live with.
		e := &events.Event{ID: "x", Source: "s", Type: events.TypeCodeMinted, Subject: def.ID, Time: def.MintedAt, Data: &events.CodeData{Definition: def}}
		if b, err := e.Marshal(); err != nil || len(b) <= maxDefinition {
			if err := e.Check(); err != nil {
				t.Errorf("the log refuses it: %v: %s", err, body)
			}
		}
		if v := code.New(def).View(); v.Status != code.StatusActive {
			t.Errorf("a new code is %s: %s", v.Status, body)
		}
	})
}

func checkProblem(t *testing.T, err error) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Status < 400 || p.Status > 499 || p.Code == "" || p.Detail == "" || p.Field == "" {
		t.Errorf("problem = %+v (%v)", p, err)
	}
}

func FuzzRenewalLink(f *testing.F) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		f.Fatal(err)
	}
	good := renewalLink{id: 7, due: 1_800_000_000_000, expires: 1_900_000_000}
	f.Add(good.sign(key))
	f.Add("")
	f.Add(strings.Repeat("A", 54))
	f.Fuzz(func(t *testing.T, s string) {
		l, err := openLink(key, s)
		if err == nil && l.sign(key) != s {
			t.Errorf("%q opens and is not what sign writes", s)
		}
	})
	if l, err := openLink(key, good.sign(key)); err != nil || l != good {
		f.Errorf("opened %+v, %v", l, err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(place{1, 2}.cursor())
	f.Add("!")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		if err != nil {
			checkProblem(t, err)
			return
		}
		if p.cursor() != s {
			t.Errorf("%q is read as %q", s, p.cursor())
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("profile,url,capacity,url_2\nwechat-group,https://example.com/a,10,https://example.com/b\n"))
	f.Add([]byte("\xef\xbb\xbfname\n\"a\"\"b\"\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var b mintBatch
		if err := b.readCSV(bytes.NewReader(body)); err != nil {
			checkProblem(t, err)
			return
		}
		b.expandNames()
		if err := b.bad.problem(); err != nil {
			checkProblem(t, err)
		}
		for i, r := range b.rows {
			if r.request == nil {
				continue
			}
			if r.index != i || r.line < 2 || bytes.Count(body, []byte("\n"))+bytes.Count(body, []byte("\r"))+1 < r.line {
				t.Errorf("row %d is %d on line %d", i, r.index, r.line)
			}
		}
	})
}

func TestPanicIsAProblem(t *testing.T) {
	var log bytes.Buffer
	g := &Gateway{log: slog.New(slog.NewTextHandler(&log, nil)), mirror: newMirror()}
	g.flusher = newFlusher(nil, 1, "x", Limits{}, g.log, nil)
	g.admission = newAdmission(Limits{}.withDefaults())
	var err error
	if g.metrics, err = newMetrics(prometheus.NewRegistry(), g); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	g.serve(w, httptest.NewRequest("GET", "/x?secret=1", nil), route{pattern: "/x", serve: func(http.ResponseWriter, *http.Request) error { panic("oh") }})
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) || strings.Contains(w.Body.String(), "oh\"") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := strings.Count(log.String(), "panic=oh"); n != 1 || strings.Contains(log.String(), "secret") {
		t.Errorf("logged %d times: %s", n, &log)
	}
	w = httptest.NewRecorder()
	g.serve(w, httptest.NewRequest("GET", "/x", nil), route{pattern: "/x", serve: func(http.ResponseWriter, *http.Request) error { return errors.New("inner cause") }})
	if w.Code != 500 || strings.Contains(w.Body.String(), "inner") || !strings.Contains(log.String(), "inner cause") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCookieIsTheOneOfTheRequest(t *testing.T) {
	const ours = "AAAAAAAAAAAAAAAAAAAAAA"
	for _, lines := range [][]string{
		nil, {""}, {"hm_v=" + ours}, {"a=b; hm_v=" + ours + "; c=d"}, {"a=b;hm_v=" + ours}, {"a=b", "hm_v=" + ours}, {`hm_v="` + ours + `"`}, {"hm_v"}, {"hm_v="},
		{"xhm_v=" + ours}, {"hm_vx=" + ours}, {"hm_v=" + ours + "=x"}, {"hm_v=first; hm_v=" + ours}, {" ;; hm_v=" + ours + " ;"}, {"\thm_v =" + ours}, {"HM_V=" + ours},
	} {
		r := &http.Request{Header: http.Header{"Cookie": lines}}
		want := ""
		if c, err := r.Cookie(cookieName); err == nil {
			want = c.Value
		}
		if got := cookieOf(lines); got != want {
			t.Errorf("%q: %q, want %q", lines, got, want)
		}
		got, ok := visitorCookie(r)
		if ok != (want == ours) || ok && got != ours {
			t.Errorf("%q: visitor %q, %v", lines, got, ok)
		}
	}
}
