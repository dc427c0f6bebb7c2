package chembed_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/paulmach/orb"
	"github.com/shopspring/decimal"
)

// The canonical text of a value is what the engine's own text serialization makes of it, so that the engine asked directly needs
// no rendering:
//
//   - numbers in decimal; floats as short as they can be read back, with an exponent below 1e-6 and from 1e21, inf, -inf, nan;
//   - Decimal without trailing zeros, Bool as true and false, an Interval as its number;
//   - Date, Time, DateTime as 2006-01-02 15:04:05 in the zone of the type, with as many digits as the type's scale has;
//   - String, FixedString, Enum, UUID and addresses as they are; within Array, Map, Tuple in single quotes with the escapes
//     \b \f \n \r \t \0 \\ \';
//   - [a,b] for Array, {k:v} for Map with its keys in order, (a,b) for Tuple, named or not;
//   - ᴺᵁᴸᴸ for NULL on its own, NULL within others;
//   - Variant and Dynamic as the value they hold; JSON as an object with sorted keys, whose numbers are as JSON writes them.
//
// What Go clients hand over is rendered by renderValue from the column's type and the value.

const null = "ᴺᵁᴸᴸ"

// chType is a column type taken apart: Name(args…), each with its field's name if it is one of a named Tuple.
type chType struct {
	text, name, field string
	args              []*chType
}

// parseCHType reads a type as ClickHouse writes it.
func parseCHType(s string) *chType {
	t := &chType{text: s}
	open := strings.IndexByte(s, '(')
	if open < 0 || s[0] == '\'' {
		t.name = s
		return t
	}
	t.name = s[:open]
	body := s[open+1 : len(s)-1]
	depth, start, quote := 0, 0, byte(0)
	for i := 0; i <= len(body); i++ {
		switch {
		case i == len(body) || quote == 0 && depth == 0 && body[i] == ',':
			arg := strings.TrimSpace(body[start:i])
			field := ""
			if name, typ, ok := strings.Cut(arg, " "); ok && (t.name == "Tuple" || t.name == "Nested") && !strings.ContainsAny(name, "(,'") {
				field, arg = strings.Trim(name, "`"), typ
			}
			a := parseCHType(arg)
			a.field = field
			t.args = append(t.args, a)
			start = i + 1
		case quote != 0:
			if body[i] == '\\' {
				i++
			} else if body[i] == quote {
				quote = 0
			}
		case body[i] == '\'' || body[i] == '`':
			quote = body[i]
		case body[i] == '(':
			depth++
		case body[i] == ')':
			depth--
		}
	}
	return t
}

func (t *chType) arg(i int) *chType {
	if i < len(t.args) {
		return t.args[i]
	}
	return &chType{}
}

// scale and zone are those of a time.
func (t *chType) scale() int {
	for _, a := range t.args {
		if n, err := strconv.Atoi(a.name); err == nil {
			return n
		}
	}
	return 0
}

func (t *chType) zone() *time.Location {
	for _, a := range t.args {
		if strings.HasPrefix(a.name, "'") {
			if loc, err := time.LoadLocation(strings.Trim(a.name, "'")); err == nil {
				return loc
			}
		}
	}
	return time.UTC
}

var quoteEscaper = strings.NewReplacer("\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\x00", `\0`, `\`, `\\`, `'`, `\'`)

// text is s on its own, or quoted within another value.
func text(s string, nested bool) string {
	if nested {
		return "'" + quoteEscaper.Replace(s) + "'"
	}
	return s
}

func floatText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		mantissa, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
		n, _ := strconv.Atoi(exp)
		return fmt.Sprintf("%se%d", mantissa, n)
	}
	return strconv.FormatFloat(f, 'f', -1, bits)
}

// renderValue is the canonical text of v, a value of type t as clickhouse-go or ch-go hands it over.
func renderValue(t *chType, v reflect.Value, nested bool) string {
	switch t.name {
	case "LowCardinality", "SimpleAggregateFunction", "Nullable":
		return renderValue(t.args[len(t.args)-1], v, nested)
	}
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		if n, ok := v.Interface().(*big.Int); ok && n != nil {
			break
		}
		v = v.Elem()
	}
	if v.IsValid() && strings.HasPrefix(v.Type().Name(), "Nullable[") { // ch-go's
		if !v.FieldByName("Set").Bool() {
			v = reflect.Value{}
		} else {
			v = v.FieldByName("Value")
		}
	}
	if !v.IsValid() || t.name == "Nothing" {
		if nested {
			return "NULL"
		}
		return null
	}
	switch t.name {
	case "Array", "Nested", "Ring", "LineString", "Polygon", "MultiLineString", "MultiPolygon":
		return renderArray(t, v)
	case "Map":
		return renderMap(t, v)
	case "Tuple", "Point":
		return renderTuple(t, v)
	}
	return renderScalar(t, v.Interface(), nested)
}

var geoElement = map[string]string{"Ring": "Point", "LineString": "Point", "Polygon": "Ring", "MultiLineString": "LineString", "MultiPolygon": "Polygon"}

func renderArray(t *chType, v reflect.Value) string {
	elem := t.arg(0)
	if g := geoElement[t.name]; g != "" {
		elem = &chType{name: g}
	}
	if t.name == "Nested" {
		elem = &chType{name: "Tuple", args: t.args}
	}
	var b strings.Builder
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(renderValue(elem, v.Index(i), true))
	}
	b.WriteByte(']')
	return b.String()
}

func renderMap(t *chType, v reflect.Value) string {
	type pair struct{ k, v string }
	var all []pair
	if v.Kind() == reflect.Slice { // ch-go's: key and value in the order that came
		for i := range v.Len() {
			kv := v.Index(i)
			all = append(all, pair{renderValue(t.arg(0), kv.FieldByName("Key"), true), renderValue(t.arg(1), kv.FieldByName("Value"), true)})
		}
	} else {
		for it := v.MapRange(); it.Next(); {
			all = append(all, pair{renderValue(t.arg(0), it.Key(), true), renderValue(t.arg(1), it.Value(), true)})
		}
		sort.Slice(all, func(i, j int) bool { return all[i].k < all[j].k })
	}
	var parts []string
	for _, p := range all {
		parts = append(parts, p.k+":"+p.v)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func renderTuple(t *chType, v reflect.Value) string {
	var parts []string
	switch p := v.Interface().(type) {
	case orb.Point:
		return "(" + floatText(p[0], 64) + "," + floatText(p[1], 64) + ")"
	case proto.Point:
		return "(" + floatText(p.X, 64) + "," + floatText(p.Y, 64) + ")"
	case map[string]any:
		for _, a := range t.args {
			parts = append(parts, renderValue(a, reflect.ValueOf(p[a.field]), true))
		}
	default:
		for i := range v.Len() {
			parts = append(parts, renderValue(t.arg(i), v.Index(i), true))
		}
	}
	if len(parts) == 1 {
		return "(" + parts[0] + ")"
	}
	return "(" + strings.Join(parts, ",") + ")"
}

func renderScalar(t *chType, v any, nested bool) string {
	switch x := v.(type) {
	case string:
		if strings.HasPrefix(t.name, "Interval") { // clickhouse-go's is "3 Days"
			x, _, _ = strings.Cut(x, " ")
			return x
		}
		if t.name == "JSON" {
			return canonicalJSON(x)
		}
		return text(x, nested)
	case []byte:
		return text(string(x), nested)
	case bool:
		return strconv.FormatBool(x)
	case float32:
		return floatText(float64(x), 32)
	case float64:
		return floatText(x, 64)
	case time.Time:
		return text(timeText(t, x), nested)
	case time.Duration:
		return text(clockText(x, t.scale()), nested)
	case uuid.UUID:
		return text(x.String(), nested)
	case net.IP:
		return text(addrText(t, x), nested)
	case proto.IPv4:
		return text(x.String(), nested)
	case proto.IPv6:
		return text(x.ToIP().String(), nested)
	case decimal.Decimal:
		return trimDecimal(x.String())
	case big.Int:
		return x.String()
	case *big.Int:
		return x.String()
	case clickhouse.Variant: // Dynamic is the same type
		if x.Nil() {
			return renderValue(t, reflect.Value{}, nested)
		}
		return renderValue(parseCHType(dynamicType(x)), reflect.ValueOf(x.Any()), nested)
	case clickhouse.JSON:
		b, err := json.Marshal(x.NestedMap())
		if err != nil {
			return err.Error()
		}
		return canonicalJSON(string(b))
	}
	return renderProto(t, v, nested)
}

// dynamicType is the type of a Variant's or a Dynamic's value. Where the client does not tell, it is the value's own.
func dynamicType(v clickhouse.Variant) string {
	if v.HasType() {
		return v.Type()
	}
	switch v.Any().(type) {
	case time.Time:
		return "DateTime64(3)"
	case []string, []int64, []uint64, []any:
		return "Array(String)"
	}
	return ""
}

// renderProto renders what ch-go alone has.
func renderProto(t *chType, v any, nested bool) string {
	wide := func(parts ...uint64) *big.Int { // the lowest first
		n := new(big.Int)
		for i := len(parts) - 1; i >= 0; i-- {
			n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(parts[i]))
		}
		return n
	}
	signed := func(n *big.Int, bits uint) *big.Int {
		if n.Bit(int(bits)-1) == 1 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), bits))
		}
		return n
	}
	scaled := func(n *big.Int) string {
		scale := t.scale()
		if t.name == "Decimal" {
			scale, _ = strconv.Atoi(t.arg(1).name)
		}
		return trimDecimal(decimal.NewFromBigInt(n, int32(-scale)).String())
	}
	u128 := func(x proto.UInt128) *big.Int { return wide(x.Low, x.High) }
	u256 := func(x proto.UInt256) *big.Int { return wide(x.Low.Low, x.Low.High, x.High.Low, x.High.High) }
	switch x := v.(type) {
	case proto.UInt128:
		return u128(x).String()
	case proto.Int128:
		return signed(u128(proto.UInt128(x)), 128).String()
	case proto.UInt256:
		return u256(x).String()
	case proto.Int256:
		return signed(u256(proto.UInt256(x)), 256).String()
	case proto.Decimal32:
		return scaled(big.NewInt(int64(x)))
	case proto.Decimal64:
		return scaled(big.NewInt(int64(x)))
	case proto.Decimal128:
		return scaled(signed(u128(proto.UInt128(x)), 128))
	case proto.Decimal256:
		return scaled(signed(u256(proto.UInt256(x)), 256))
	case proto.Time32:
		return text(clockText(x.Duration(), 0), nested)
	case proto.Time64:
		return text(clockText(x.Duration(), t.scale()), nested)
	case proto.Interval:
		return strconv.FormatInt(x.Value, 10)
	}
	return fmt.Sprint(v)
}

func timeText(t *chType, x time.Time) string {
	switch t.name {
	case "Date", "Date32":
		return x.Format("2006-01-02")
	case "DateTime64":
		return x.In(t.zone()).Format("2006-01-02 15:04:05" + fraction(t.scale()))
	}
	if len(t.args) > 0 {
		x = x.In(t.zone())
	}
	return x.Format("2006-01-02 15:04:05") // clickhouse-go tells the zone with the value alone
}

func fraction(scale int) string {
	if scale == 0 {
		return ""
	}
	return "." + strings.Repeat("0", scale)
}

func clockText(d time.Duration, scale int) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	s := fmt.Sprintf("%s%02d:%02d:%02d", sign, d/time.Hour, d/time.Minute%60, d/time.Second%60)
	if scale > 0 {
		s += "." + fmt.Sprintf("%09d", d%time.Second)[:scale]
	}
	return s
}

func addrText(t *chType, ip net.IP) string {
	if a, ok := netip.AddrFromSlice(ip.To16()); ok && t.name == "IPv6" {
		return a.String()
	}
	return ip.String()
}

func trimDecimal(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// canonicalJSON is s with sorted keys and without blanks.
func canonicalJSON(s string) string {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return s
	}
	return string(b)
}
