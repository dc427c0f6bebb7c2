package events

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/risk"
)

var at = time.Date(2026, 1, 31, 8, 15, 30, 250_000_001, time.UTC)

// lived is a code that has been through everything a snapshot must carry.
func lived(t testing.TB) *code.State {
	e, err := Parse([]byte(event(TypeCodeMinted, strings.Replace(definition, `"dedupe":"0s"`, `"dedupe":"1m"`, 1))))
	if err != nil {
		t.Fatal(err)
	}
	s := code.New(e.Data.(*CodeData).Definition)
	for i := range 9 {
		s.Apply(code.Input{ID: fmt.Sprint("e", i), Scan: &code.Scan{Visitor: "o:1", Picture: fmt.Sprint(i % 7), Device: "Mi 5", Province: "云南"}}, at.Add(time.Duration(i)*time.Second))
	}
	s.Apply(code.Input{ID: "m", Member: &code.Member{Kind: code.Snapshot, Count: 170}}, at.Add(10*time.Second))
	if len(s.Locks(at.Add(10*time.Second))) != 1 || !s.Targets[0].Warned {
		t.Fatalf("not much of a life: %+v", s.View())
	}
	return s
}

func record(t testing.TB) *Commit {
	c := &Commit{
		Version: CommitVersion, Partition: 3, Step: 7, Owner: "w1", Time: at, Reached: Place{Seq: 12, Idx: 4, More: true},
		Codes: []code.View{lived(t).View()}, Dead: []Dead{{Seq: 11, Idx: 1, Reason: CodeWrongUnit}},
		Totals: Totals{Scans: 1, Members: 2, Conversions: 3, Codes: 4, Forged: 5, Decisions: 6, Alerts: 7, Repeated: 8, Dead: 9},
	}
	for i, x := range canonical {
		e, err := Parse([]byte(x))
		if err != nil {
			t.Fatal(err)
		}
		switch e.Data.(type) {
		case *Decision:
			c.Decisions = append(c.Decisions, e)
		case *Alert:
			c.Alerts = append(c.Alerts, e)
		case *Scan:
			target := i
			c.Items = append(c.Items, Item{Seq: uint64(i), Idx: i, At: at, Spooled: at.Add(-time.Hour), Event: e, Verdict: code.Locked, Rule: "frequency", Target: &target})
		default:
			c.Items = append(c.Items, Item{Seq: uint64(i), At: at, Event: e})
		}
	}
	return c
}

func TestCommitRoundTrip(t *testing.T) {
	for name, c := range map[string]*Commit{"full": record(t), "empty": {Version: CommitVersion, Step: 1, Owner: "w", Time: at}} {
		b, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCommit(b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		again, err := got.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, again, b)
		}
		if got.Step != c.Step || got.Reached != c.Reached || got.Totals != c.Totals || len(got.Items) != len(c.Items) || !got.Time.Equal(c.Time) {
			t.Errorf("%s: read %+v", name, got)
		}
	}
}

func TestParseCommitRefuses(t *testing.T) {
	b, err := record(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct{ old, new, says string }{
		"cut off":         {string(b), string(b[:len(b)-1]), string(CodeMalformed)},
		"a newer version": {`{"v":1,`, `{"v":2,`, "upgrade it"},
		"no version":      {`{"v":1,`, `{`, "upgrade it"},
		"a bad event":     {`"variant":8`, `"variant":9`, string(CodeInvalid)},
		"a field twice":   {`{"v":1,`, `{"v":1,"v":1,`, string(CodeDuplicateField)},
	} {
		if !bytes.Contains(b, []byte(row.old)) {
			t.Fatalf("no %s", row.old)
		}
		if _, err := ParseCommit(bytes.Replace(b, []byte(row.old), []byte(row.new), 1)); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := record(t)
	c.Owner = "\xff"
	if _, err := c.Marshal(); err == nil {
		t.Error("invalid UTF-8 was written")
	}
}

func TestPlaceCovers(t *testing.T) {
	whole, part := Place{Seq: 5}, Place{Seq: 5, Idx: 2, More: true}
	for _, row := range []struct {
		seq         uint64
		idx         int
		whole, part bool
	}{{4, 0, true, true}, {4, 99, true, true}, {5, 0, true, true}, {5, 2, true, true}, {5, 3, true, false}, {6, 0, false, false}} {
		if whole.Covers(row.seq, row.idx) != row.whole || part.Covers(row.seq, row.idx) != row.part {
			t.Errorf("(%d, %d): %v %v, want %v %v", row.seq, row.idx, whole.Covers(row.seq, row.idx), part.Covers(row.seq, row.idx), row.whole, row.part)
		}
	}
	if (Place{}).Covers(1, 0) {
		t.Error("a new partition has decided its first event")
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	state := lived(t)
	s := &Snapshot{
		Version: SnapshotVersion, Partition: 3, Step: 7, CommitSeq: 1 << 60, Reached: Place{Seq: 12, Idx: 4, More: true}, Totals: Totals{Scans: 9},
		Codes: []code.Saved{state.Save()}, Seen: []Seen{{ID: [16]byte{0xe1}, At: at.Unix()}, {ID: [16]byte{0xe1, 15: 1}, At: at.Unix() + 1}}, Producers: map[string]uint64{"gw1": 3, "gw2": 1<<64 - 1},
	}
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadSnapshot(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text := func(v any) string {
		b, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := text(got)+text(got.Codes), text(s)+text(s.Codes); a != b || !slices.Equal(got.Seen, s.Seen) {
		t.Errorf("read %s %v\nwant %s %v", a, got.Seen, b, s.Seen)
	}
	// And the state that comes out of it decides on as the one that went in.
	restored, in := code.Restore(got.Codes[0]), code.Input{ID: "x", Scan: &code.Scan{Visitor: "o:1", Picture: "9"}}
	if a, b := text(restored.Apply(in, at.Add(time.Minute))), text(state.Apply(in, at.Add(time.Minute))); a != b || !strings.Contains(a, `"locked"`) {
		t.Errorf("decides %s\nwant %s", a, b)
	}
	if rules := restored.Def.Rules; len(rules) != 1 || rules[0].Scope != risk.ScopeVisitor {
		t.Errorf("rules %+v", rules)
	}
}

// Every field of a code's state comes back, also one that was added since this was written.
func TestSnapshotKeepsEveryField(t *testing.T) {
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(at.Add(time.Duration(n) * time.Second)))
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		case reflect.Map:
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k)
			fill(e)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(k, e)
		case reflect.String:
			v.SetString(fmt.Sprint("s", n))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Float64:
			v.SetFloat(float64(n) + 0.5)
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(n))
		case reflect.Uint64:
			v.SetUint(uint64(n))
		default:
			t.Fatalf("a field of type %s: teach this test to fill it", v.Type())
		}
	}
	want := code.Saved{}
	fill(reflect.ValueOf(&want).Elem())
	b, err := (&Snapshot{Version: SnapshotVersion, Codes: []code.Saved{want, {}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadSnapshot(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Codes) != 2 || !reflect.DeepEqual(got.Codes[0], want) || !reflect.DeepEqual(got.Codes[1], code.Saved{}) {
		t.Errorf("read %+v\nwant %+v", got.Codes, want)
	}
}

// Snapshots of version 2 had the codes in their JSON.
func TestSnapshotOfVersion2IsRead(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	const text = `{"v":2,"step":4,"codes":[{"def":{"id":"c","rules":[]},"consumed":7,"counts":{"accepted":8}}]}` + "\n"
	s, err := ReadSnapshot(bytes.NewReader(enc.EncodeAll([]byte(text), nil)))
	if err != nil || len(s.Codes) != 1 || s.Codes[0].Def.ID != "c" || s.Codes[0].Consumed != 7 || s.Codes[0].Counts.Of(code.Accepted) != 8 {
		t.Fatalf("read %+v, %v", s, err)
	}
}

// Snapshots of earlier programs had the ids as hexadecimal text.
func TestSnapshotOfVersion1IsRead(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	const id = "00112233445566778899aabbccddeeff"
	s, err := ReadSnapshot(bytes.NewReader(enc.EncodeAll([]byte(`{"v":1,"step":4,"seen":[{"id":"`+id+`","at":5}]}`), nil)))
	if err != nil || s.Step != 4 || len(s.Seen) != 1 || s.Seen[0].At != 5 || fmt.Sprintf("%x", s.Seen[0].ID) != id {
		t.Fatalf("read %+v, %v", s, err)
	}
	for _, bad := range []string{id[1:], id + "00", strings.Repeat("x", 32)} {
		if _, err := ReadSnapshot(bytes.NewReader(enc.EncodeAll([]byte(`{"v":1,"seen":[{"id":"`+bad+`","at":5}]}`), nil))); err == nil {
			t.Errorf("%s is taken for an id", bad)
		}
	}
}

func TestSnapshotWithWrongIDsIsRefused(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	one := strings.Repeat("i", 16) + strings.Repeat("t", 8)
	for name, row := range map[string]struct{ text, says string }{
		"good":         {`{"v":2,"ids":1}` + "\n" + one, ""},
		"one missing":  {`{"v":2,"ids":2}` + "\n" + one, "unexpected EOF"},
		"cut off":      {`{"v":2,"ids":1}` + "\n" + one[1:], "unexpected EOF"},
		"none at all":  {`{"v":2,"ids":1}`, "unexpected EOF"},
		"one too many": {`{"v":2,"ids":1}` + "\n" + one + one, "follows its end"},
		"no newline":   {`{"v":2,"ids":1}` + one, "do not belong"},
		"minus one":    {`{"v":2,"ids":-1}` + "\n", "do not belong"},
		"a lie":        {`{"v":2,"ids":4611686018427387904}` + "\n" + one, "unexpected EOF"},
		"no codes":     {`{"v":3,"ids":1,"saved":1}` + "\n" + one, "unexpected EOF"},
		"minus a code": {`{"v":3,"ids":1,"saved":-1}` + "\n" + one, "do not belong"},
		"many codes":   {`{"v":3,"ids":1,"saved":4611686018427387904}` + "\n" + one, "unexpected EOF"},
		"no gob":       {`{"v":3,"ids":1,"saved":1}` + "\n" + one + "\x05hello", "its codes"},
	} {
		_, err := ReadSnapshot(bytes.NewReader(enc.EncodeAll([]byte(row.text), nil)))
		if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, want %q", name, err, row.says)
		}
	}
}

func TestReadSnapshotRefuses(t *testing.T) {
	good, err := (&Snapshot{Version: SnapshotVersion}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	newer, err := (&Snapshot{Version: SnapshotVersion + 1}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for name, b := range map[string][]byte{
		"nothing": nil, "no zstd": []byte(`{"v":1}`), "cut off": good[:len(good)-2], "a newer version": newer,
		"no JSON": enc.EncodeAll([]byte("hello"), nil), "half of it": enc.EncodeAll([]byte(`{"v":1,`), nil),
	} {
		if _, err := ReadSnapshot(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}
