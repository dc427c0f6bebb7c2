package events

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// same fails unless the plain reader of an event gives up or agrees with the
// general one.
func same(t *testing.T, x []byte) (taken bool) {
	t.Helper()
	e := parsePlain(x)
	if e == nil {
		return false
	}
	want, err := Parse(x)
	if err != nil {
		t.Fatalf("read plainly, and refused: %v\n%s", err, x)
	}
	if !reflect.DeepEqual(e, want) {
		t.Fatalf("%s\nread plainly %+v %+v\nwant %+v %+v", x, e, e.Data, want, want.Data)
	}
	return true
}

func TestPlainScansAreReadPlainly(t *testing.T) {
	full := event(TypeScan, `{"token":"T","variant":8,"tracking":"AB12CD34","visitor":"o:1","openid":"oX","user_agent":"Mozilla/5.0","network":"203.0.113.0/24",`+
		`"country":"CN","province":"云南","city":"昆明","device_model":"Mi 5","os":"Android","app":"WeChat","referrer_host":"example.org",`+
		`"utm":{"source":"s","medium":"m","campaign":"c","term":"t","content":"x"},"target":0,"click_id":"c1","answered":"accepted","answered_rule":"x","shown_at":"2026-01-31T08:15:00Z"}`)
	for name, x := range map[string]string{
		"full": full, "empty": scan, "spaced": strings.NewReplacer(",", " ,\n", ":{", ": {").Replace(scan),
		"more of the envelope": strings.Replace(scan, `"data"`, `"datacontenttype":"application/json","tenant":"t1","historical":true,"data"`, 1),
		"another order":        `{"type":"huoma.scan.v1","data":{"target":7},"time":"2026-01-31T08:15:30Z","subject":"k","source":"s","id":"i","specversion":"1.0"}`,
		"empty members":        event(TypeScan, `{"visitor":"","utm":{},"variant":0}`),
	} {
		if !same(t, []byte(x)) {
			t.Errorf("%s: left to the general reader: %s", name, x)
		}
	}
}

// What the plain reader must not take: each is refused, or means something it
// cannot say.
func TestPlainReaderGivesUp(t *testing.T) {
	for _, x := range []string{
		"", "{", "{}", scan + "x", scan[:len(scan)-1], strings.Replace(scan, `"id"`, `"id":"x","id"`, 1), strings.Replace(scan, `"1.0"`, `"1.1"`, 1),
		strings.Replace(scan, `"01J9"`, `""`, 1), strings.Replace(scan, `k3v9x0c2m5n8`, `k.3`, 1), strings.Replace(scan, `30.250Z`, `30,250Z`, 1),
		strings.Replace(scan, `,"data":{}`, ``, 1), strings.Replace(scan, `{}`, `null`, 1), strings.Replace(scan, `"data"`, `"flag":true,"data"`, 1),
		event(TypeScan, `{"variant":9}`), event(TypeScan, `{"variant":01}`), event(TypeScan, `{"variant":1.0}`), event(TypeScan, `{"variant":1e0}`), event(TypeScan, `{"variant":-1}`),
		event(TypeScan, `{"target":10000}`), event(TypeScan, `{"visitor":null}`), event(TypeScan, `{"visitor":"a","visitor":"b"}`), event(TypeScan, `{"nobody":"a"}`),
		event(TypeScan, `{"visitor":"a\u0062"}`), event(TypeScan, `{"visitor":"`+strings.Repeat("v", MaxName+1)+`"}`), event(TypeScan, `{"answered":"maybe"}`),
		event(TypeScan, `{"visitor":"a",}`), event(TypeScan, `{,"visitor":"a"}`), event(TypeScan, `{"utm":{"source":"a","source":"b"}}`), event(TypeScan, "{\"visitor\":\"a\x7f\"}"),
		event(TypeScan, "{\"visitor\":\"a\xff\"}"), event(TypeMemberJoined, `{"target":0}`),
		event(TypeScan, `{"shown_at":"2026-01-31T08:15:30Z"}`), event(TypeScan, `{"shown_at":"2026-02-31T08:15:00Z"}`), event(TypeScan, `{"shown_at":"2026-01-31T08:15:00+00:00"}`),
	} {
		if parsePlain([]byte(x)) != nil {
			t.Errorf("taken: %s", x)
		}
	}
}

func TestParseAllIsSplitAndParse(t *testing.T) {
	member := event(TypeMemberJoined, `{"target":0}`)
	for _, x := range []string{
		scan, member, "nonsense", "[]", "[" + scan + "]", "[" + scan + "," + scan + "]", " [ " + scan + " , " + scan + " ] ", "[" + scan + "," + member + "]",
		"[" + scan + `,{"id":1},` + member + "]", "[" + scan + ",]", "[" + scan + "," + scan, "[" + scan + "] x", "[1]", "[" + strings.Replace(scan, "{}", `{"visitor":"`+strings.Repeat("v", MaxEvent)+`"}`, 1) + "]",
	} {
		allAlike(t, []byte(x))
	}
}

// allAlike fails unless ParseAll is Split and Parse.
func allAlike(t *testing.T, x []byte) {
	t.Helper()
	got, gotErr := ParseAll(x)
	items, err := Split(x)
	if (err == nil) != (gotErr == nil) || len(got) != len(items) {
		t.Fatalf("%s\ngives %d events and %v, want %d and %v", x, len(got), gotErr, len(items), err)
	}
	for i, raw := range items {
		want, err := Parse(raw)
		if !bytes.Equal(got[i].Raw, raw) || !reflect.DeepEqual(got[i].Event, want) || !reflect.DeepEqual(got[i].Err, err) {
			t.Fatalf("%s\nevent %d is %+v, want %s, %+v, %v", x, i, got[i], raw, want, err)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, x := range seeds() {
		f.Add([]byte(x))
	}
	f.Add([]byte("[" + scan + "," + scan + "]"))
	f.Fuzz(func(t *testing.T, x []byte) {
		same(t, x)
		allAlike(t, x)
	})
}

// The writer of records writes what the general encoder would.
func TestCommitIsWrittenAsTheGeneralEncoderDoes(t *testing.T) {
	for _, c := range []*Commit{record(t), {Version: CommitVersion, Step: 1, Owner: "w\"", Time: at, Reached: Place{Seq: 1}}} {
		got, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(c, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("wrote\n%s\nwant\n%s", got, want)
		}
		if c.Owner == "w1" && parsePlainCommit(got) == nil {
			t.Errorf("left to the general reader: %s", got)
		}
	}
}

func FuzzPlainCommit(f *testing.F) {
	for _, c := range []*Commit{record(f), {Version: CommitVersion, Step: 1, Owner: "w", Time: at}} {
		b, err := c.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":1,"partition":0,"step":1,"owner":"w","time":"2026-01-31T08:15:30Z","reached":{"seq":1,"idx":0},"items":[{"seq":1,"idx":0,"at":"2026-01-31T08:15:30Z","event":` + scan + `,"verdict":"accepted"}],"totals":{"scans":1,"members":0,"conversions":0,"codes":0,"forged":0,"decisions":0,"alerts":0,"repeated":0,"dead":0}}`))
	f.Fuzz(func(t *testing.T, x []byte) {
		c := parsePlainCommit(x)
		if c == nil {
			return
		}
		want, err := parseCommit(x)
		if err != nil {
			t.Fatalf("read plainly, and refused: %v\n%s", err, x)
		}
		a, aErr := c.Marshal()
		b, bErr := want.Marshal()
		if aErr != nil || bErr != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s\nread plainly %s %v\nwant %s %v", x, a, aErr, b, bErr)
		}
	})
}
