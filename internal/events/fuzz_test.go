package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The canonicaliser knows nothing of this package's types. It says what an
// event means by generic JSON alone: absent, null, empty and zero are one,
// times are instants, durations are milliseconds, numbers are their value.

var (
	timeFields   = []string{"minted_at", "changed_at", "renewed_at", "revoked_at", "until", "due_at"}
	spanFields   = []string{"validity", "longest", "renewal_every", "dedupe", "window", "for"}
	floatFields  = []string{"percent", "per_hour"}
	numberedZero = []string{"target", "from", "count", "members"} // where 0 is not nothing
	spanPart     = regexp.MustCompile(`(\d+)(ms|s|m|h|d)`)
	spanUnit     = map[string]int64{"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
)

func meaning(t *testing.T, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var top map[string]any
	if err := d.Decode(&top); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	for _, known := range []string{"datacontenttype", "dataschema", "tenant", "historical"} {
		if v := top[known]; v == nil || v == "" || v == false || known == "datacontenttype" && v == "application/json" {
			delete(top, known)
		}
	}
	for k, v := range top {
		switch {
		case k == "time":
			top[k] = instant(t, v.(string))
		case k == "data":
			top[k] = within(t, "", v)
		default:
			if n, ok := v.(json.Number); ok {
				top[k] = rational(t, n)
			}
		}
	}
	out, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func instant(t *testing.T, s string) string {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(at.Unix(), " s ", at.Nanosecond(), " ns")
}

func rational(t *testing.T, n json.Number) string {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		t.Fatalf("number %s", n)
	}
	return "number " + r.RatString()
}

func within(t *testing.T, field string, v any) any {
	switch v := v.(type) {
	case string:
		switch {
		case slices.Contains(timeFields, field):
			if at := instant(t, v); at != instant(t, "0001-01-01T00:00:00Z") {
				return at
			}
			return nil
		case slices.Contains(spanFields, field):
			var ms int64
			for _, m := range spanPart.FindAllStringSubmatch(v, -1) {
				n, _ := strconv.ParseInt(m[1], 10, 64)
				ms += n * spanUnit[m[2]]
			}
			if ms == 0 {
				return nil
			}
			return fmt.Sprint(ms, " ms")
		case v == "":
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case json.Number:
		if slices.Contains(floatFields, field) {
			f, _ := v.Float64()
			v = json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		}
		if n := rational(t, v); n != "number 0" || slices.Contains(numberedZero, field) {
			return n
		}
		return nil
	case map[string]any:
		for k, x := range v {
			if x = within(t, k, x); x == nil {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 && field != "" {
			return nil
		}
	case []any:
		for i, x := range v {
			if v[i] = within(t, "element", x); v[i] == nil {
				v[i] = "nothing"
			}
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}

func seeds() []string {
	list := slices.Clone(canonical)
	return append(list,
		head+`,"datacontenttype":"application/json","tenant":"","historical":false,"x":"\u00e9\/","n":-0,"data":{"utm":{},"variant":0,"city":""}}`,
		strings.Replace(scan, "08:15:30.250Z", "16:15:30+08:00", 1),
		event(TypeConversion, `{"click_id":"\u7fa4","name":"sale","value":-0.50,"currency":"CNY","visitor":null}`),
		event(TypeAlertCapacity, `{"code":"k","kind":"capacity","reason":"","percent":1e2,"members":0,"target":0,"cause":[null,""],"window":"90s","until":"2026-01-31T16:15:30.5+08:00"}`),
		strings.Replace(event(TypeCodeMinted, definition), `"rules":[`, `"style":{},"variants":[],"name":null,"rules":[`, 1),
		strings.Replace(event(TypeCodeMinted, definition), `"2h"`, `"120m"`, 1),
		`{"data":{},"time":"2026-01-31T08:15:30Z","subject":"k","type":"huoma.scan.v1","source":"s","id":"i","specversion":"1.0"}`,
		event(TypeScan, `{"colour":1}`), `[`, ``, `null`, head,
	)
}

func TestMeaning(t *testing.T) {
	a := meaning(t, []byte(head+`,"historical":false,"data":{"utm":{},"variant":0,"target":0,"city":null}}`))
	if b := meaning(t, []byte(strings.Replace(head, "08:15:30.250Z", "16:15:30.25+08:00", 1)+`,"data":{"target":0.0}}`)); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	for _, other := range []string{`{"target":1}`, `{}`, `{"target":0,"city":"x"}`, `{"target":0,"variant":1}`} {
		if meaning(t, []byte(head+`,"data":`+other+`}`)) == a {
			t.Errorf("%s means the same", other)
		}
	}
}

// FuzzParse: what Parse takes, Marshal writes back with the same meaning, and
// what Marshal writes is read and written again byte for byte.
func FuzzParse(f *testing.F) {
	for _, x := range seeds() {
		f.Add([]byte(x))
	}
	f.Fuzz(func(t *testing.T, x []byte) {
		e, err := Parse(x)
		if err != nil {
			if ee, ok := AsError(err); !ok || ee.Code == "" || ee.Reason == "" || ee.Index != -1 {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		y, err := e.Marshal()
		if err != nil {
			t.Fatalf("%s\ncannot be written: %v", x, err)
		}
		if len(y) > MaxEvent {
			return // escapes were written out; the log takes it, a producer could not send it again
		}
		if a, b := meaning(t, x), meaning(t, y); a != b {
			t.Fatalf("%s\nbecame %s\n%s\n%s", x, y, a, b)
		}
		again, err := Parse(y)
		if err != nil {
			t.Fatalf("%s\nwritten as %s\ncannot be read: %v", x, y, err)
		}
		if z, err := again.Marshal(); err != nil || !bytes.Equal(y, z) {
			t.Fatalf("written %s\n and then %s, %v", y, z, err)
		}
	})
}

// FuzzSplit: the pieces of a message are its elements, each as it stood.
func FuzzSplit(f *testing.F) {
	for _, x := range []string{"[]", " [1, {\"a\":[]} ,\"],[\"]\n", "{}", "", "[", "[1,]", "[[[]]]", "[\"\\\"\",{}]", "[" + scan + "," + scan + "]"} {
		f.Add([]byte(x))
	}
	f.Fuzz(func(t *testing.T, x []byte) {
		items, err := Split(x)
		if err != nil {
			if _, ok := AsError(err); !ok {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		if !IsBatch(x) {
			if len(items) != 1 || !bytes.Equal(items[0], x) {
				t.Fatalf("a single event came apart: %q", items)
			}
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(x, &want); err != nil {
			t.Fatalf("split what is no array: %v", err)
		}
		if len(items) != len(want) {
			t.Fatalf("%d pieces, want %d", len(items), len(want))
		}
		for i := range items {
			if !bytes.Equal(bytes.TrimSpace(items[i]), want[i]) {
				t.Fatalf("piece %d: %q, want %q", i, items[i], want[i])
			}
		}
	})
}
