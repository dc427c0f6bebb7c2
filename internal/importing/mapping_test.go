package importing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/events"
)

func TestBuiltInMappings(t *testing.T) {
	for _, f := range Formats {
		if m := DefaultMapping(f); m.Format != f || len(m.fields) == 0 {
			t.Errorf("%s: %+v", f, m)
		}
	}
}

func TestMappingErrors(t *testing.T) {
	for _, row := range []struct {
		name, in string
		format   Format
		line     int
		says     string
	}{
		{"empty", "", CSV, 0, "empty"},
		{"no YAML", "code: [", CSV, 1, "no YAML"},
		{"a list", "- code", CSV, 1, "keys with values"},
		{"unknown key", "code: c\ntime: t\ncolour: red\n", CSV, 3, `no key "colour"`},
		{"unknown inner key", "code: c\ntime:\n  field: t\n  format: x\n", CSV, 4, `no key "format"`},
		{"key twice", "code: c\ntime: t\ncode: d\n", CSV, 3, "twice"},
		{"no code", "time: t\n", CSV, 1, "code is missing"},
		{"no time", "code: c\n", CSV, 1, "time is missing"},
		{"two documents", "code: c\ntime: t\n---\ncode: d\n", CSV, 0, "more than one document"},
		{"field of a log", "code: path\ntime: when\n", Combined, 2, `no field "when"`},
		{"other format", "format: jsonl\ncode: c\ntime: t\n", CSV, 1, "jsonl files"},
		{"no expression", "code: {field: c, match: '('}\ntime: t\n", CSV, 1, "no regular expression"},
		{"kind of code", "code: {field: c, is: alias}\ntime: t\n", CSV, 1, "id, name, token or any"},
		{"nowhere from", "code: {match: x}\ntime: t\n", CSV, 1, "one of field, fields and value"},
		{"from two places", "code: {field: a, value: b}\ntime: t\n", CSV, 1, "one of field, fields and value"},
		{"zone", "code: c\ntime: {field: t, layout: iso, zone: Atlantis/Poseidon}\n", CSV, 2, "no time zone"},
		{"zone missing", "code: c\ntime: {field: t, layout: iso}\n", CSV, 2, "no time zone: name it"},
		{"layout", "code: c\ntime: {field: t, layout: soon}\n", CSV, 2, "layout is"},
		{"directive", "code: c\ntime: {field: t, layout: '%Y-%Q'}\n", CSV, 2, "%Q"},
		{"since", "code: c\ntime: {field: t, since: 2026}\n", CSV, 2, "RFC 3339"},
		{"anchor", "code: &c x\ntime: t\n", CSV, 1, "anchors"},
		{"table", "code: {field: c, table: [a]}\ntime: t\n", CSV, 1, "old: new"},
		{"table twice", "code:\n  field: c\n  table:\n    a: b\n    a: c\ntime: t\n", CSV, 5, "twice"},
		{"filter", "code: c\ntime: t\nfilter:\n  - {field: s}\n", CSV, 4, "one of in, not_in"},
		{"filter's key", "code: c\ntime: t\nfilter:\n  - {field: s, is: 1}\n", CSV, 4, `no key "is"`},
		{"empty list", "code: []\ntime: t\n", CSV, 1, "empty list"},
		{"separator", "separator: '||'\ncode: c\ntime: t\n", CSV, 1, "one character"},
		{"source", "source: huoma/gateway/x\ncode: c\ntime: t\n", CSV, 1, "gateway's own"},
		{"utm", "code: c\ntime: t\nutm: {colour: x}\n", CSV, 3, `no key "colour"`},
		{"too large", strings.Repeat("# comment\n", 200_000), CSV, 0, "larger than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ParseMapping(strings.NewReader(row.in), row.format)
			var me *MappingError
			if !errors.As(err, &me) || me.Line != row.line || !strings.Contains(me.Reason, row.says) {
				t.Errorf("got %v, want line %d: …%s…", err, row.line, row.says)
			}
		})
	}
}

func FuzzMapping(f *testing.F) {
	f.Add(CombinedMapping, true)
	f.Add("code: {field: a, table: {x: y}}\ntime: {field: t, layout: '%Y-%m-%d', zone: UTC}\ntype: {value: joined}\nfilter: [{field: b, in: [c]}]\n", false)
	f.Fuzz(func(t *testing.T, text string, log bool) {
		format := JSONL
		if log {
			format = Combined
		}
		m, err := ParseMapping(strings.NewReader(text), format)
		if err != nil {
			if me := (*MappingError)(nil); !errors.As(err, &me) || me.Reason == "" {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		values := make([]string, len(m.fields))
		for i := range values {
			values[i] = "2026-01-31T08:15:30Z"
		}
		var r Record
		if err := m.Apply(values, time.Unix(4e9, 0), &r); err == nil && (r.Code == "" || r.Time.IsZero()) {
			t.Errorf("%q makes %+v", text, r)
		}
	})
}

func TestTimes(t *testing.T) {
	at := func(layout, zone string) *timeValue {
		v := &timeValue{}
		if zone != "" {
			var err error
			if v.zone, err = time.LoadLocation(zone); err != nil {
				t.Fatal(err)
			}
		}
		if why := v.setLayout(layout); why != "" {
			t.Fatal(why)
		}
		return v
	}
	for _, row := range []struct{ layout, zone, in, want string }{
		{"rfc3339", "", "2026-01-31T08:15:30.25+08:00", "2026-01-31T00:15:30.25Z"},
		{"common", "", "31/Jan/2026:08:15:30 +0800", "2026-01-31T00:15:30Z"},
		{"common", "", "31/Dec/1999:23:59:59 -0330", "2000-01-01T03:29:59Z"},
		{"common", "", "31/Feb/2026:08:15:30 +0800", ""},
		{"common", "", "31/Jan/2026:08:15:30", ""},
		{"common", "", "1/Jan/2026:08:15:30 +0800 ", ""},
		{"iso", "Asia/Shanghai", "2026-01-31 08:15:30", "2026-01-31T00:15:30Z"},
		{"date", "UTC", "2026-01-31", "2026-01-31T00:00:00Z"},
		{"%d.%m.%Y %H:%M:%S", "Europe/Berlin", "31.07.2026 08:15:30", "2026-07-31T06:15:30Z"},
		{"%Y-%m-%dT%H:%M:%S%z", "", "2026-01-31T08:15:30+0800", "2026-01-31T00:15:30Z"},
		{"unix", "", "1769818530", "2026-01-31T00:15:30Z"},
		{"unix", "", "1769818530.125", "2026-01-31T00:15:30.125Z"},
		{"unix_ms", "", "1769818530250", "2026-01-31T00:15:30.25Z"},
		{"unix_us", "", "1769818530250001", "2026-01-31T00:15:30.250001Z"},
		{"unix_ns", "", "1769818530250000001", "2026-01-31T00:15:30.250000001Z"},
		{"unix", "", "-1", ""},
		{"unix", "", "soon", ""},
		{"rfc3339", "", "1969-12-31T23:59:59Z", ""},
		{"rfc3339", "", "", ""},
	} {
		got, why := at(row.layout, row.zone).parse(row.in)
		if row.want == "" {
			if why == nil {
				t.Errorf("%s %q: %s", row.layout, row.in, got)
			}
			continue
		}
		if why != nil || got.Format(time.RFC3339Nano) != row.want {
			t.Errorf("%s %q: %s, %v, want %s", row.layout, row.in, got.Format(time.RFC3339Nano), why, row.want)
		}
	}
}

// parseCommon is time.Parse, faster.
func TestCommonTimesAreGos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0).In(time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "offset")))
		text := at.Format(commonLayout)
		if rapid.Bool().Draw(t, "spoilt") {
			b := []byte(text)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "where")] = rapid.SampledFrom([]byte("0159/: +-AJ")).Draw(t, "what")
			text = string(b)
		}
		want, err := time.Parse(commonLayout, text)
		got, ok := parseCommon(text)
		// It is stricter with the case of months and with zones that do not exist.
		if ok && (err != nil || !got.Equal(want)) || !ok && err == nil && want.Format(commonLayout) == text && text[22] < '2' {
			t.Fatalf("%q: %v %v, want %v, %v", text, got, ok, want, err)
		}
	})
}

// apply reads one record in a format and applies a mapping to it.
func apply(t testing.TB, m *Mapping, text string) (Record, error) {
	t.Helper()
	l, err := newLines(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	recs, _, err := m.open(l)
	if err != nil {
		return Record{}, err
	}
	values := make([]string, len(m.fields))
	if _, _, err := recs.next(values); err != nil {
		return Record{}, err
	}
	var r Record
	err = m.Apply(values, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), &r)
	return r, err
}

func mapping(t testing.TB, text string, f Format) *Mapping {
	t.Helper()
	m, err := ParseMapping(strings.NewReader(text), f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// event is the record's event as JSON, with a fixed id.
func event(t testing.TB, r Record, source string) string {
	t.Helper()
	b, err := r.Append(nil, EventID{}, source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Parse(b); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	_, data, _ := strings.Cut(string(b), `"type":`)
	return data
}

func TestRecordsBecomeEvents(t *testing.T) {
	const shop = `
source: shop
filter:
  - {field: state, not_in: [test], reason: test order}
type: {field: kind, table: {visit: scan, order: conversion, in: joined, out: left, size: snapshot}}
code:
  - {field: old, table: {/spring: 0123456789ab, /summer: 0123456789ac}}
  - {field: code, match: '^c-(.*)$'}
time: {field: at, layout: iso, zone: Asia/Shanghai}
id: order
visitor: {fields: [ip, agent]}
network: ip
user_agent: agent
referrer: page
country: {value: CN}
city: city
utm: {campaign: {field: page, query: utm_campaign}}
target: {field: group, default: '0'}
name: {value: sale}
value: sum
currency: {value: cny}
count: n
`
	const head = "state,kind,old,code,at,order,ip,agent,page,city,group,sum,n\n"
	log := DefaultMapping(Combined)
	csv := mapping(t, shop, CSV)
	for _, row := range []struct {
		name string
		m    *Mapping
		in   string
		want string // or !reason of a Bad, -reason of a Skip
	}{
		{"a log's scan", log, `203.0.113.9 - - [31/Jan/2026:08:15:30 +0800] "GET /S/ABCDEFGH?utm_source=wall%201 HTTP/2.0" 302 0 "https://Example.com/x" "Mozilla/5.0"`,
			`"huoma.scan.v1","subject":"ABCDEFGH","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"203.0.113.9 Mozilla/5.0","user_agent":"Mozilla/5.0","network":"203.0.113.9","referrer_host":"example.com","utm":{"source":"wall 1"}}}`},
		{"without a user agent", log, `203.0.113.9 - - [31/Jan/2026:08:15:30 +0800] "GET /s/abcdefgh HTTP/2.0" 200 0 "-" "-"`,
			`"huoma.scan.v1","subject":"abcdefgh","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"203.0.113.9","user_agent":" ","network":"203.0.113.9"}}`},
		{"common format", log, `::1 - - [31/Jan/2026:08:15:30 +0800] "GET /s/abcdefgh HTTP/2.0" 200 0`,
			`"huoma.scan.v1","subject":"abcdefgh","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"::1","network":"::1"}}`},
		{"another path", log, `a - - [31/Jan/2026:08:15:30 +0800] "GET /console HTTP/2.0" 200 0`, "-path"},
		{"HEAD", log, `a - - [31/Jan/2026:08:15:30 +0800] "HEAD /S/ABCDEFGH HTTP/2.0" 200 0`, "-method"},
		{"refused", log, `a - - [31/Jan/2026:08:15:30 +0800] "GET /S/ABCDEFGH HTTP/2.0" 410 0`, "-status"},
		{"no time", log, `a - - [yesterday] "GET /S/ABCDEFGH HTTP/2.0" 200 0`, "!time cannot be read"},
		{"the name of a host", log, `pc.example.com - - [31/Jan/2026:08:15:30 +0800] "GET /s/abcdefgh HTTP/2.0" 200 0`,
			`"huoma.scan.v1","subject":"abcdefgh","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"pc.example.com"}}`},
		{"too early", mapping(t, "code: path\ntime: {field: time, layout: common, since: '2026-02-01T00:00:00Z'}\n", Combined), `a - - [31/Jan/2026:08:15:30 +0800] "GET /x HTTP/2.0" 200 0`, "-time"},
		{"too late", mapping(t, "code: path\ntime: {field: time, layout: common, until: '2026-01-31T00:15:30Z'}\n", Combined), `a - - [31/Jan/2026:08:15:30 +0800] "GET /x HTTP/2.0" 200 0`, "-time"},
		{"the future", log, `a - - [31/Jan/2027:08:15:30 +0800] "GET /S/ABCDEFGH HTTP/2.0" 200 0`, "!future"},
		{"an old path", csv, head + ",visit,/spring,,2026-01-31 08:15:30,o1,203.0.113.9,Moz,https://e.com/?utm_campaign=c,杭州,,,",
			`"huoma.scan.v1","subject":"0123456789ab","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"203.0.113.9 Moz","user_agent":"Moz","network":"203.0.113.9","country":"CN","city":"杭州","referrer_host":"e.com","utm":{"campaign":"c"},"target":0}}`},
		{"by its code", csv, head + ",visit,/autumn,c-0123456789ad,2026-01-31 08:15:30,,,,,,2,,",
			`"huoma.scan.v1","subject":"0123456789ad","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"country":"CN","target":2}}`},
		{"an order", csv, head + ",order,/spring,,2026-01-31 08:15:30,o1,203.0.113.9,Moz,,,,99.50,",
			`"huoma.conversion.v1","subject":"0123456789ab","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"openid":"203.0.113.9 Moz","name":"sale","value":99.50,"currency":"CNY"}}`},
		{"joined", csv, head + ",in,/spring,,2026-01-31 08:15:30,,203.0.113.9,,,,1,,",
			`"huoma.member.joined.v1","subject":"0123456789ab","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"target":1,"openid":"203.0.113.9"}}`},
		{"a size", csv, head + ",size,/spring,,2026-01-31 08:15:30,,,,,,1,,42",
			`"huoma.member.snapshot.v1","subject":"0123456789ab","time":"2026-01-31T00:15:30.000Z","historical":true,"data":{"target":1,"count":42}}`},
		{"filtered", csv, head + "test,visit,/spring,,2026-01-31 08:15:30,,,,,,,,", "-test order"},
		{"of no code", csv, head + ",visit,/winter,,2026-01-31 08:15:30,,,,,,,,", "-no code"},
		{"a kind that is not ours", csv, head + ",refund,/spring,,2026-01-31 08:15:30,,,,,,,,", "-type"},
		{"no number", csv, head + ",size,/spring,,2026-01-31 08:15:30,,,,,,1,,many", "!count is no whole number"},
		{"no decimal", csv, head + ",order,/spring,,2026-01-31 08:15:30,o1,x,,,,,\"1,5\",", "!value is no decimal"},
		{"no count", csv, head + ",size,/spring,,2026-01-31 08:15:30,,,,,,1,,", "!count is missing"},
		{"cells", csv, head + "a,b\n", "!2 cells, and 13 columns"},
		{"column missing", csv, "state,kind,old,code,at,order,ip,agent,page,city,group,sum\n", `line 1: there is no column "n"`},
		{"column twice", csv, "n,n" + head, `line 1: the column "n" stands twice`},
		{"built in", DefaultMapping(CSV), "time,code,visitor,utm_source,extra\n2026-01-31T08:15:30Z,Spring,oABC,wall,x\n",
			`"huoma.scan.v1","subject":"Spring","time":"2026-01-31T08:15:30.000Z","historical":true,"data":{"openid":"oABC","utm":{"source":"wall"}}}`},
		{"built in, no time", DefaultMapping(CSV), "code,visitor\n", `there is no column "time"`},
		{"JSON", DefaultMapping(JSONL), `{"code":"Spring","time":"2026-01-31T08:15:30Z","type":"joined","target":3}`,
			`"huoma.member.joined.v1","subject":"Spring","time":"2026-01-31T08:15:30.000Z","historical":true,"data":{"target":3}}`},
		{"JSON, type", DefaultMapping(JSONL), `{"code":"Spring","time":"2026-01-31T08:15:30Z","type":"fall","target":3}`, "!type is none of"},
		{"JSON, control characters", DefaultMapping(JSONL), `{"code":"Spring","time":"2026-01-31T08:15:30Z","city":"a\nb"}`,
			`"huoma.scan.v1","subject":"Spring","time":"2026-01-31T08:15:30.000Z","historical":true,"data":{"city":"a b"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := apply(t, row.m, row.in)
			var skip *Skip
			switch {
			case errors.As(err, &skip):
				if row.want != "-"+skip.Reason {
					t.Errorf("skipped for %q, want %s", skip.Reason, row.want)
				}
			case err != nil:
				if want := strings.TrimPrefix(row.want, "!"); !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			default:
				if got := event(t, r, row.m.Source); got != row.want {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			}
		})
	}
}

// The quick encoder writes what events.Event writes.
func TestScansAreWrittenAsEventsAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			if rapid.Bool().Draw(t, "has "+name) {
				return ""
			}
			return rapid.StringMatching(`[a-z 群é<&"\\/]{0,12}`).Draw(t, name)
		}
		s := events.Scan{
			Token: text("token"), Variant: rapid.IntRange(0, 8).Draw(t, "variant"), Tracking: text("tracking"), Visitor: text("visitor"), OpenID: text("openid"),
			UserAgent: text("agent"), Network: text("network"), Country: text("country"), Province: text("province"), City: text("city"), DeviceModel: text("device"),
			OS: text("os"), App: text("app"), RefererHost: text("host"), ClickID: text("click"),
		}
		if rapid.Bool().Draw(t, "has utm") {
			s.UTM = &events.UTM{Source: text("source"), Medium: text("medium"), Campaign: text("campaign"), Term: text("term"), Content: text("content")}
		}
		if rapid.Bool().Draw(t, "has target") {
			n := rapid.IntRange(0, 9).Draw(t, "target")
			s.Target = &n
		}
		e := events.Event{ID: "1", Source: text("source of it"), Type: events.TypeScan, Subject: "0123456789ab", Time: time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "time")).UTC(), Historical: true, Data: &s}
		if e.Source == "" {
			e.Source = "x"
		}
		want, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendScan(nil, &e, &s)
		if err != nil || string(got) != string(want) {
			t.Fatalf("got  %s %v\nwant %s", got, err, want)
		}
	})
}
