package schemas_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/schemas"
)

const base = "https://schemas.invalid/"

// compiler knows every JSON Schema there is, under base + its path.
func compiler(t testing.TB) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, name := range files(t) {
		if err := c.AddResource(base+name, document(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func compile(t testing.TB, c *jsonschema.Compiler, name string) *jsonschema.Schema {
	t.Helper()
	s, err := c.Compile(base + name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func files(t testing.TB) (list []string) {
	t.Helper()
	err := fs.WalkDir(schemas.Events, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func document(t testing.TB, name string) map[string]any {
	t.Helper()
	b, err := fs.ReadFile(schemas.Events, name)
	if err != nil {
		t.Fatal(err)
	}
	doc, ok := value(t, b).(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", name)
	}
	return doc
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func value(t fataler, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func schemaOf(typ string) string { return "events/" + typ + ".json" }

// constants reads the event types out of the program's source.
func constants(t testing.TB) (list []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../internal/events/data.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Type") {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		return true
	})
	return list
}

func TestEveryTypeHasASchemaAndEverySchemaAType(t *testing.T) {
	var got []string
	for _, name := range files(t) {
		if path.Dir(name) != "events" {
			continue
		}
		typ := strings.TrimSuffix(path.Base(name), ".json")
		got = append(got, typ)
		props := document(t, name)["properties"].(map[string]any)
		if c := props["type"].(map[string]any)["const"]; c != typ {
			t.Errorf("%s is about %v", name, c)
		}
	}
	want := constants(t)
	slices.Sort(got)
	slices.Sort(want)
	if len(want) != 15 || !slices.Equal(got, want) {
		t.Errorf("schemas for %v\ntypes %v", got, want)
	}
}

// TestExamplesAreRealEvents: what a schema shows as an example, the schema
// and the program take, and the program writes it back as it stands.
func TestExamplesAreRealEvents(t *testing.T) {
	c := compiler(t)
	for _, name := range files(t) {
		examples, _ := document(t, name)["examples"].([]any)
		if len(examples) == 0 {
			t.Errorf("%s has no example", name)
		}
		sch := compile(t, c, name)
		for i, x := range examples {
			if err := sch.Validate(x); err != nil {
				t.Errorf("%s, example %d: %v", name, i, err)
			}
			raw := encode(t, x)
			var back []byte
			if name == "commit.json" {
				r, err := events.ParseCommit(raw)
				if err != nil {
					t.Errorf("%s, example %d: %v", name, i, err)
					continue
				}
				if back, err = r.Marshal(); err != nil {
					t.Fatal(err)
				}
			} else {
				e, err := events.Parse(raw)
				if err != nil {
					t.Errorf("%s, example %d: %v", name, i, err)
					continue
				}
				if back, err = e.Marshal(); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(value(t, back), value(t, raw)) {
				t.Errorf("%s, example %d:\n is %s\nback %s", name, i, raw, back)
			}
		}
	}
}

// TestOneEnvelope: the schemas are each whole, so that one can be handed on by
// itself; their envelopes are the same nevertheless.
func TestOneEnvelope(t *testing.T) {
	envelope := func(typ string) string {
		doc := maps.Clone(document(t, schemaOf(typ)))
		for _, own := range []string{"title", "description", "examples"} {
			delete(doc, own)
		}
		props := doc["properties"].(map[string]any)
		delete(props, "data")
		delete(props["type"].(map[string]any), "const")
		delete(props["subject"].(map[string]any), "description")
		return string(encode(t, doc))
	}
	want := envelope(events.TypeScan)
	for _, typ := range constants(t) {
		if got := envelope(typ); got != want {
			t.Errorf("%s has an envelope of its own:\n%s\n%s", typ, got, want)
		}
	}
}

func TestEverythingIsDescribed(t *testing.T) {
	var walk func(where string, v any)
	walk = func(where string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		for _, group := range []string{"properties"} {
			props, _ := m[group].(map[string]any)
			for name, p := range props {
				pm := p.(map[string]any)
				_, words := pm["description"]
				_, ref := pm["anyOf"]
				_, array := pm["items"]
				if !words && !ref && !array {
					t.Errorf("%s.%s says nothing of itself", where, name)
				}
				walk(where+"."+name, p)
			}
		}
		walk(where+"[]", m["items"])
	}
	for _, name := range files(t) {
		doc := document(t, name)
		if doc["title"] == nil || doc["description"] == nil || doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s has no title, description or dialect", name)
		}
		walk(name, doc)
	}
}

// fields are the JSON names of a struct, and of the structs within it.
func fields(rt reflect.Type, under string, out map[string]bool) {
	for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice {
		rt = rt.Elem()
	}
	if rt.Kind() != reflect.Struct || rt.String() == "time.Time" || rt.String() == "events.Event" {
		return
	}
	for i := range rt.NumField() {
		f := rt.Field(i)
		if f.Anonymous {
			fields(f.Type, under, out)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[under+name] = true
		fields(f.Type, under+name+".", out)
	}
}

func properties(v any, under string, out map[string]bool) {
	m, _ := v.(map[string]any)
	for _, key := range []string{"items"} {
		if m[key] != nil {
			properties(m[key], under, out)
		}
	}
	props, _ := m["properties"].(map[string]any)
	for name, p := range props {
		out[under+name] = true
		properties(p, under+name+".", out)
	}
}

// TestEveryFieldIsInItsSchema compares names, so that a field added to the
// program alone, or to a schema alone, is noticed even if it is optional.
func TestEveryFieldIsInItsSchema(t *testing.T) {
	want := map[reflect.Type]map[string]bool{}
	got := map[reflect.Type]map[string]bool{}
	add := func(rt reflect.Type, doc any) {
		if want[rt] == nil {
			want[rt], got[rt] = map[string]bool{}, map[string]bool{}
			fields(rt, "", want[rt])
		}
		properties(doc, "", got[rt])
	}
	for _, typ := range constants(t) {
		doc := document(t, schemaOf(typ))
		e, err := events.Parse(encode(t, doc["examples"].([]any)[0]))
		if err != nil {
			t.Fatal(err)
		}
		add(reflect.TypeOf(e.Data), doc["properties"].(map[string]any)["data"])
	}
	add(reflect.TypeFor[events.Commit](), document(t, "commit.json"))
	for rt := range want {
		for name := range want[rt] {
			if !got[rt][name] {
				t.Errorf("%v: %s is in no schema", rt, name)
			}
		}
		for name := range got[rt] {
			if !want[rt][name] {
				t.Errorf("%v: %s is in a schema alone", rt, name)
			}
		}
	}
}

// TestBothRefuse mutates examples: what is wrong is refused by the schema and
// by the program.
func TestBothRefuse(t *testing.T) {
	c := compiler(t)
	type row struct {
		typ, name string
		change    func(e, data map[string]any)
	}
	set := func(k string, v any) func(e, data map[string]any) {
		return func(_, data map[string]any) { data[k] = v }
	}
	drop := func(k string) func(e, data map[string]any) {
		return func(_, data map[string]any) { delete(data, k) }
	}
	var rows []row
	for _, typ := range constants(t) {
		for _, attr := range []string{"specversion", "id", "source", "type", "subject", "time", "data"} {
			rows = append(rows, row{typ, "without " + attr, func(e, _ map[string]any) { delete(e, attr) }})
		}
		for name, change := range map[string]func(e map[string]any){
			"empty id":               func(e map[string]any) { e["id"] = "" },
			"id as a number":         func(e map[string]any) { e["id"] = 7 },
			"a line break in the id": func(e map[string]any) { e["id"] = "a\nb" },
			"a long id":              func(e map[string]any) { e["id"] = strings.Repeat("x", 257) },
			"another version":        func(e map[string]any) { e["specversion"] = "0.3" },
			"an unknown type":        func(e map[string]any) { e["type"] = "huoma.scan.v2" },
			"subject with a dot":     func(e map[string]any) { e["subject"] = "a.b" },
			"time in seconds":        func(e map[string]any) { e["time"] = 1769847330 },
			"time without zone":      func(e map[string]any) { e["time"] = "2026-01-31T08:15:30.250" },
			"time with a space":      func(e map[string]any) { e["time"] = "2026-01-31 08:15:30.250Z" },
			"no such day":            func(e map[string]any) { e["time"] = "2026-02-30T08:15:30.250Z" },
			"another content type":   func(e map[string]any) { e["datacontenttype"] = "text/plain" },
			"a long tenant":          func(e map[string]any) { e["tenant"] = strings.Repeat("x", 65) },
			"historical as text":     func(e map[string]any) { e["historical"] = "true" },
			"an attribute's name":    func(e map[string]any) { e["user_agent"] = "x" },
			"an object as attribute": func(e map[string]any) { e["x"] = map[string]any{} },
			"a fraction":             func(e map[string]any) { e["x"] = 1.5 },
			"a large number":         func(e map[string]any) { e["x"] = 1 << 31 },
			"data as text":           func(e map[string]any) { e["data"] = "x" },
			"data as a list":         func(e map[string]any) { e["data"] = []any{} },
			"unknown in the data":    func(e map[string]any) { e["data"].(map[string]any)["colour"] = "red" },
		} {
			rows = append(rows, row{typ, name, func(e, _ map[string]any) { change(e) }})
		}
	}
	for _, typ := range []string{events.TypeMemberJoined, events.TypeMemberLeft, events.TypeMemberSnapshot} {
		rows = append(rows, row{typ, "no target", drop("target")}, row{typ, "target as text", set("target", "0")}, row{typ, "target below 0", set("target", -1)},
			row{typ, "target too high", set("target", 10000)}, row{typ, "half a target", set("target", 0.5)})
	}
	for _, typ := range []string{events.TypeCodeMinted, events.TypeCodeChanged, events.TypeCodeRenewed, events.TypeCodeRevoked} {
		for _, field := range []string{"id", "revision", "profile", "targets", "countdown", "minted_at"} {
			rows = append(rows, row{typ, "no " + field, drop(field)})
		}
		rows = append(rows, row{typ, "validity in seconds", set("validity", 7200)}, row{typ, "validity in weeks", set("validity", "1w")},
			row{typ, "validity out of order", set("validity", "1m1h")}, row{typ, "no targets", set("targets", []any{})},
			row{typ, "warning above 100 %", set("warn_percent", 101)}, row{typ, "negative cap", set("max_scans", -1)}, row{typ, "countdown unknown", set("countdown", "up")},
			row{typ, "rule without limit", func(_, d map[string]any) { delete(d["rules"].([]any)[0].(map[string]any), "limit") }},
			row{typ, "rule's scope unknown", func(_, d map[string]any) { d["rules"].([]any)[0].(map[string]any)["scope"] = "city" }},
			row{typ, "target to nowhere", func(_, d map[string]any) { delete(d["targets"].([]any)[0].(map[string]any), "url") }},
			row{typ, "target to two places", func(_, d map[string]any) { d["targets"].([]any)[0].(map[string]any)["picture"] = "x" }},
			row{typ, "negative capacity", func(_, d map[string]any) { d["targets"].([]any)[0].(map[string]any)["capacity"] = -1 }},
			row{typ, "variant 9", func(_, d map[string]any) { d["variants"].([]any)[0].(map[string]any)["n"] = 9 }})
	}
	for _, typ := range []string{events.TypeAlertCapacity, events.TypeAlertRisk, events.TypeAlertRenewal, events.TypeAlertExpiry, events.TypeDecision} {
		rows = append(rows, row{typ, "no code", drop("code")}, row{typ, "no kind", drop("kind")}, row{typ, "cause as text", set("cause", "e1")}, row{typ, "reason as a number", set("reason", 1)})
	}
	rows = append(rows,
		row{events.TypeScan, "variant as text", set("variant", "2")}, row{events.TypeScan, "variant 9", set("variant", 9)}, row{events.TypeScan, "answered nonsense", set("answered", "ok")},
		row{events.TypeScan, "shown at a second", set("shown_at", "2026-01-31T08:15:01Z")}, row{events.TypeScan, "shown in another zone", set("shown_at", "2026-01-31T16:15:00+08:00")},
		row{events.TypeScan, "shown in seconds", set("shown_at", 1769847300)}, row{events.TypeScan, "shown on no day", set("shown_at", "2026-02-31T08:15:00Z")},
		row{events.TypeScan, "utm as text", set("utm", "x")}, row{events.TypeScan, "unknown in utm", set("utm", map[string]any{"id": "x"})},
		row{events.TypeScan, "a long user agent", set("user_agent", strings.Repeat("x", 1025))}, row{events.TypeScan, "the old spelling", set("referer_host", "x")},
		row{events.TypeMemberSnapshot, "no count", drop("count")}, row{events.TypeMemberSnapshot, "count below 0", set("count", -1)}, row{events.TypeMemberSnapshot, "half a person", set("count", 1.5)},
		row{events.TypeConversion, "no name", drop("name")}, row{events.TypeConversion, "of nobody", func(_, d map[string]any) { delete(d, "click_id"); delete(d, "visitor") }},
		row{events.TypeConversion, "value as text", func(_, d map[string]any) { d["value"], d["currency"] = "12.50", "CNY" }},
		row{events.TypeConversion, "value without currency", set("value", 1)}, row{events.TypeConversion, "currency without value", set("currency", "CNY")},
		row{events.TypeConversion, "currency in lower case", func(_, d map[string]any) { d["value"], d["currency"] = 1, "cny" }},
		row{events.TypeConversion, "five places", func(_, d map[string]any) { d["value"], d["currency"] = 0.00001, "CNY" }},
		row{events.TypeConversion, "value too large", func(_, d map[string]any) { d["value"], d["currency"] = 100_000_000_000_000, "CNY" }},
		row{events.TypeForged, "no count", drop("count")}, row{events.TypeForged, "none", set("count", 0)},
		row{events.TypeAlertRisk, "window in seconds", set("window", 30)}, row{events.TypeAlertRisk, "until in seconds", set("until", 30)},
		row{events.TypeAlertCapacity, "percent as text", set("percent", "80")},
	)
	compiled := map[string]*jsonschema.Schema{}
	for _, typ := range constants(t) {
		compiled[typ] = compile(t, c, schemaOf(typ))
	}
	for _, r := range rows {
		e := value(t, encode(t, document(t, schemaOf(r.typ))["examples"].([]any)[0])).(map[string]any)
		r.change(e, e["data"].(map[string]any))
		raw := encode(t, e)
		if err := compiled[r.typ].Validate(value(t, raw)); err == nil {
			t.Errorf("%s, %s: the schema takes %s", r.typ, r.name, raw)
		}
		if _, err := events.Parse(raw); err == nil {
			t.Errorf("%s, %s: the program takes %s", r.typ, r.name, raw)
		} else if _, ok := events.AsError(err); !ok {
			t.Errorf("%s, %s: an error without a name: %v", r.typ, r.name, err)
		}
	}
	if len(rows) < 400 {
		t.Errorf("only %d rows", len(rows))
	}
}

func TestOtherTypesAreRefused(t *testing.T) {
	c := compiler(t)
	scan := document(t, schemaOf(events.TypeScan))["examples"].([]any)[0]
	for _, typ := range constants(t) {
		if err := compile(t, c, schemaOf(typ)).Validate(scan); (err == nil) != (typ == events.TypeScan) {
			t.Errorf("%s on a scan: %v", typ, err)
		}
	}
	if err := compile(t, c, "commit.json").Validate(scan); err == nil {
		t.Error("a scan passes for a commit record")
	}
}

func encode(t fataler, v any) []byte {
	t.Helper()
	b, err := jsonOf(v)
	if err != nil {
		t.Fatal(fmt.Sprint(v), err)
	}
	return b
}
