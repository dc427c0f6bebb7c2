package chembed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits on what a client may announce. They are far above what people send and keep a malformed packet from costing
// more than its own length.
const (
	maxTypeLength = 1 << 20
	maxTypeDepth  = 64
)

// shape is how the values of a column type lie in a Native block.
type shape int

const (
	shapeFixed          shape = iota // width bytes a value
	shapeString                      // length, bytes
	shapeNullable                    // a mask byte a value, then elem
	shapeArray                       // an offset of 8 bytes a value, then elem
	shapeTuple                       // fields, one after the other
	shapeLowCardinality              // dictionary and indexes
	shapeVariant                     // a discriminator of a byte a value, then the values of each field
	shapeDynamic                     // a Variant whose fields its prefix names
	shapeJSON                        // fields (typed paths), then the Dynamic paths that its prefix names
	shapeOpaque                      // an aggregate function's states: only the engine knows where one ends
)

// layout says how to find the end of a column in a Native block at revision 0.
type layout struct {
	shape shape
	name  string // as written, of a type in a list of types
	width int    // shapeFixed
	// fields are those of shapeTuple, the one inner layout of shapeNullable, shapeArray and shapeLowCardinality, the alternatives of
	// shapeVariant, by name, and the typed paths of shapeJSON, by path.
	fields []layout
	// version and found are what the prefix of a shapeDynamic or shapeJSON said: its form, and its types or Dynamic paths.
	version uint64
	found   []layout
}

var fixedWidths = map[string]int{
	"Int8": 1, "UInt8": 1, "Int16": 2, "UInt16": 2, "Int32": 4, "UInt32": 4, "Int64": 8, "UInt64": 8,
	"Int128": 16, "UInt128": 16, "Int256": 32, "UInt256": 32, "Float32": 4, "Float64": 8, "BFloat16": 2,
	"Bool": 1, "Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8, "Time": 4, "Time64": 8, "Enum8": 1, "Enum16": 2,
	"UUID": 16, "IPv4": 4, "IPv6": 16, "Nothing": 1,
	"Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}

// geometry is what the type Geometry stands for.
const geometry = "Variant(LineString, MultiLineString, MultiPolygon, Point, Polygon, Ring)"

// parseLayout reads a column type as ClickHouse writes it. A type that is none is an error with the code UNKNOWN_TYPE.
func parseLayout(typ string) (layout, error) {
	if len(typ) > maxTypeLength {
		return layout{}, codeUnknownType.errorf("a column type of %d bytes; at most %d", len(typ), maxTypeLength)
	}
	return parseType(strings.TrimSpace(typ), 0)
}

func parseType(typ string, depth int) (layout, error) {
	if depth > maxTypeDepth {
		return layout{}, codeUnknownType.errorf("a column type nested more than %d deep", maxTypeDepth)
	}
	name, args, err := splitType(typ)
	if err != nil {
		return layout{}, err
	}
	bad := func() (layout, error) { return layout{}, codeUnknownType.errorf("unknown column type %s", clip(typ)) }
	inner := func(s shape, arg string) (layout, error) {
		l, err := parseType(arg, depth+1)
		return layout{shape: s, fields: []layout{l}}, err
	}
	// variant lays out alternatives in the order of their discriminators, which is that of their names.
	variant := func(args []string) (layout, error) {
		v := layout{shape: shapeVariant}
		for _, a := range args {
			l, err := parseType(a, depth+1)
			if err != nil {
				return layout{}, err
			}
			l.name = a
			v.fields = append(v.fields, l)
		}
		slices.SortFunc(v.fields, func(a, b layout) int { return strings.Compare(a.name, b.name) })
		v.fields = slices.CompactFunc(v.fields, func(a, b layout) bool { return a.name == b.name })
		return v, nil
	}
	tuple := func(args []string, named bool) (layout, error) {
		t := layout{shape: shapeTuple}
		for _, a := range args {
			_, ft := splitField(a)
			if !named {
				ft = a
			}
			l, err := parseType(ft, depth+1)
			if err != nil {
				return layout{}, err
			}
			t.fields = append(t.fields, l)
		}
		return t, nil
	}
	switch name {
	case "String":
		return layout{shape: shapeString}, nil
	case "FixedString":
		if len(args) != 1 {
			return bad()
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 || n > 0xFFFFFF {
			return bad()
		}
		return layout{width: n}, nil
	case "Decimal":
		if len(args) == 0 {
			return bad()
		}
		p, err := strconv.Atoi(args[0])
		switch {
		case err != nil || p < 1 || p > 76:
			return bad()
		case p <= 9:
			return layout{width: 4}, nil
		case p <= 18:
			return layout{width: 8}, nil
		case p <= 38:
			return layout{width: 16}, nil
		default:
			return layout{width: 32}, nil
		}
	case "Nullable":
		if len(args) == 1 {
			return inner(shapeNullable, args[0])
		}
	case "Array":
		if len(args) == 1 {
			return inner(shapeArray, args[0])
		}
	case "LowCardinality":
		if len(args) == 1 {
			// The dictionary has no nulls in it: index 0 stands for them.
			if n, a, err := splitType(args[0]); err == nil && n == "Nullable" && len(a) == 1 {
				return inner(shapeLowCardinality, a[0])
			}
			return inner(shapeLowCardinality, args[0])
		}
	case "SimpleAggregateFunction":
		if len(args) >= 2 {
			return parseType(args[1], depth+1)
		}
	case "Map":
		if len(args) == 2 {
			t, err := tuple(args, false)
			return layout{shape: shapeArray, fields: []layout{t}}, err
		}
	case "Nested":
		if len(args) > 0 {
			t, err := tuple(args, true)
			return layout{shape: shapeArray, fields: []layout{t}}, err
		}
	case "Tuple":
		if len(args) > 0 {
			return tuple(args, true)
		}
		return layout{width: 1}, nil // Tuple(): a byte for each, so that they can be counted
	case "Variant":
		if len(args) > 0 && len(args) < noVariant {
			return variant(args)
		}
	case "Dynamic":
		return layout{shape: shapeDynamic}, nil // an argument is a limit
	case "JSON":
		j := layout{shape: shapeJSON}
		for _, a := range args {
			path, ft := splitField(a)
			if path == "" || path == "SKIP" {
				continue // a limit, such as max_dynamic_paths=8, or what to leave out
			}
			l, err := parseType(ft, depth+1)
			if err != nil {
				return layout{}, err
			}
			l.name = unquoteName(path)
			j.fields = append(j.fields, l)
		}
		slices.SortFunc(j.fields, func(a, b layout) int { return strings.Compare(a.name, b.name) })
		return j, nil
	case "Geometry":
		return parseType(geometry, depth+1)
	case "QBit":
		// A FixedString of a bit an element for every bit of the element type, one column after the other.
		if len(args) == 2 {
			bits, n := fixedWidths[args[0]]*8, 0
			if v, err := strconv.Atoi(args[1]); err == nil && v > 0 && v <= 1<<20 {
				n = (v + 7) / 8
			}
			if bits > 0 && n > 0 {
				return layout{width: bits * n}, nil
			}
		}
	case "AggregateFunction":
		return layout{shape: shapeOpaque, name: name}, nil
	case "Point":
		return parseType("Tuple(Float64, Float64)", depth+1)
	case "Ring", "LineString":
		return parseType("Array(Point)", depth+1)
	case "Polygon", "MultiLineString":
		return parseType("Array(Ring)", depth+1)
	case "MultiPolygon":
		return parseType("Array(Polygon)", depth+1)
	default:
		if strings.HasPrefix(name, "Interval") && len(args) == 0 {
			return layout{width: 8}, nil
		}
		if w, ok := fixedWidths[name]; ok {
			return layout{width: w}, nil
		}
	}
	return bad()
}

// splitType cuts `Name(a, b)` into its name and arguments. Quotes and brackets inside arguments are respected.
func splitType(typ string) (name string, args []string, err error) {
	open := strings.IndexByte(typ, '(')
	if open < 0 {
		return typ, nil, nil
	}
	if !strings.HasSuffix(typ, ")") {
		return "", nil, codeUnknownType.errorf("column type %s has no closing bracket", clip(typ))
	}
	body := typ[open+1 : len(typ)-1]
	depth, start := 0, 0
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return "", nil, codeUnknownType.errorf("column type %s has a closing bracket too many", clip(typ))
			}
		case '\'', '`', '"':
			end := skipQuoted(body, i)
			if end < 0 {
				return "", nil, codeUnknownType.errorf("column type %s has an open quote", clip(typ))
			}
			i = end - 1
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(body[start:i]))
				start = i + 1
			}
		}
	}
	if depth != 0 {
		return "", nil, codeUnknownType.errorf("column type %s has an open bracket", clip(typ))
	}
	if last := strings.TrimSpace(body[start:]); last != "" || len(args) > 0 {
		args = append(args, last)
	}
	return strings.TrimSpace(typ[:open]), args, nil
}

// splitField cuts `name Type` of a Tuple or Nested into both; a field without a name is a type alone.
func splitField(field string) (name, typ string) {
	if field == "" {
		return "", ""
	}
	end := 0
	if c := field[0]; c == '`' || c == '"' {
		if end = skipQuoted(field, 0); end < 0 {
			return "", field
		}
	} else {
		for end < len(field) && field[end] != ' ' && field[end] != '(' {
			end++
		}
	}
	if end >= len(field) || field[end] != ' ' {
		return "", field
	}
	return field[:end], strings.TrimSpace(field[end:])
}

// skipQuoted returns the index after the quoted text that begins at s[i], or -1 if it does not end. A backslash escapes
// the next byte, a doubled quote stands for itself.
func skipQuoted(s string, i int) int {
	q := s[i]
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case q:
			if i+1 < len(s) && s[i+1] == q {
				i++
				continue
			}
			return i + 1
		}
	}
	return -1
}

// clip shortens text that came from a client, for an error.
func clip(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%q…", s[:200])
	}
	return fmt.Sprintf("%q", s)
}
