package chembed

import (
	"strings"
	"testing"
)

func TestParseLayout(t *testing.T) {
	fixed := func(w int) string { return string(rune('0'+w/10)) + string(rune('0'+w%10)) }
	var describe func(l layout) string
	describe = func(l layout) string {
		var inner []string
		for _, f := range l.fields {
			inner = append(inner, describe(f))
		}
		name := [...]string{"f" + fixed(l.width), "str", "null", "arr", "tup", "lc", "var", "dyn", "json", "opaque"}[l.shape]
		if inner == nil {
			return name
		}
		return name + "(" + strings.Join(inner, ",") + ")"
	}
	for _, row := range []struct{ typ, want string }{
		{"UInt8", "f01"},
		{"String", "str"},
		{"FixedString(16)", "f16"},
		{"DateTime64(3, 'Asia/Shanghai')", "f08"},
		{"DateTime('UTC')", "f04"},
		{"Decimal(9, 4)", "f04"},
		{"Decimal32(4)", "f04"},
		{"Decimal256(4)", "f32"},
		{"Decimal(18, 4)", "f08"},
		{"Decimal(38, 4)", "f16"},
		{"Decimal(76, 4)", "f32"},
		{"Enum8('a' = 1, 'it\\'s), (' = 2)", "f01"},
		{"Enum16('it''s' = 1)", "f02"},
		{"Nullable(String)", "null(str)"},
		{"LowCardinality(Nullable(String))", "lc(str)"},
		{"LowCardinality(UInt64)", "lc(f08)"},
		{"Array(Array(Nullable(Int32)))", "arr(arr(null(f04)))"},
		{"Map(LowCardinality(String), Array(UInt8))", "arr(tup(lc(str),arr(f01)))"},
		{"Tuple(UInt8, String)", "tup(f01,str)"},
		{"Tuple(a UInt8, `odd, (name)` String, b Tuple(c Date))", "tup(f01,str,tup(f02))"},
		{"Nested(a UInt8, b String)", "arr(tup(f01,str))"},
		{"SimpleAggregateFunction(sum, UInt64)", "f08"},
		{"IntervalDay", "f08"},
		{"Polygon", "arr(arr(tup(f08,f08)))"},
		{"Tuple()", "f01"},
		{"Variant(String, Array(Nullable(Int8)))", "var(arr(null(f01)),str)"},
		{"Variant(UInt8, String, UInt8)", "var(str,f01)"},
		{"Dynamic(max_types=3)", "dyn"},
		{"Array(Dynamic)", "arr(dyn)"},
		{"JSON", "json"},
		{"JSON(max_dynamic_paths=8, b UInt8, `a.b` Tuple(x String), SKIP c, SKIP REGEXP 'a, b')", "json(tup(str),f01)"},
		{"Geometry", "var(arr(tup(f08,f08)),arr(arr(tup(f08,f08))),arr(arr(arr(tup(f08,f08)))),tup(f08,f08),arr(arr(tup(f08,f08))),arr(tup(f08,f08)))"},
		{"QBit(Float32, 12)", "f64"},
		{"QBit(BFloat16, 8)", "f16"},
		{"AggregateFunction(uniq, UInt8)", "opaque"},
		{"Time64(6)", "f08"},
	} {
		l, err := parseLayout(row.typ)
		if err != nil {
			t.Errorf("%s: %v", row.typ, err)
		} else if got := describe(l); got != row.want {
			t.Errorf("%s: got %s, want %s", row.typ, got, row.want)
		}
	}
	for _, typ := range []string{
		"", "Nope", "String(", "Array()", "Array(Nope)", "Array(String", "Array(String))", "FixedString(x)", "FixedString(0)", "FixedString(99999999)",
		"Decimal", "Decimal(77, 1)", "Enum8('a", "Map(String)", "Variant()", "Variant(Nope)", "JSON(a Nope)", "QBit(Float32)", "QBit(String, 4)", "QBit(Float32, 0)", "Object('json')",
		strings.Repeat("Array(", 100) + "UInt8" + strings.Repeat(")", 100), strings.Repeat("x", maxTypeLength+1),
	} {
		if l, err := parseLayout(typ); err == nil {
			t.Errorf("%.40q: got %s, want an error", typ, describe(l))
		} else if len(err.Error()) > 1000 {
			t.Errorf("%.40q: the error has %d bytes", typ, len(err.Error()))
		}
	}
}
