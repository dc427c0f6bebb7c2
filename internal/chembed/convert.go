package chembed

import (
	"fmt"
	"slices"
	"strings"
)

// converter makes Native blocks of data in another format, or of other types, by asking an engine connection of its own. The blocks have
// stand-in names, since a result's own may come twice; out puts the right ones in their place.
type converter struct {
	conn      *engineConn
	sql       string
	structure string
	in        *transcoder // gives the stand-in names to Native data; nil for other formats, whose values have no names
	out       *transcoder
}

// newConverter returns a converter of data with these columns in a format of the engine's, for clients of a revision.
func newConverter(conn *engineConn, format string, cols []column, rev int) *converter {
	c := &converter{conn: conn, out: newTranscoder(rev)}
	c.out.cp.rename = []string{}
	var structure, list []string
	for i, col := range cols {
		c.out.cp.rename = append(c.out.cp.rename, col.name)
		name := fmt.Sprint("c", i)
		structure = append(structure, name+" "+col.typ)
		if typ := knownType(col.typ, rev); typ != col.typ {
			name = "CAST(" + name + ", " + quote(typ) + ") AS " + name
		}
		list = append(list, name)
	}
	if format == "Native" {
		c.in = newTranscoder(0)
		for i := range cols {
			c.in.cp.rename = append(c.in.cp.rename, fmt.Sprint("c", i))
		}
	}
	c.structure = strings.Join(structure, ", ")
	c.sql = "SELECT " + strings.Join(list, ", ") + " FROM format(" + format + ", {structure:String}, {data:String}) SETTINGS max_block_size = 1000000000, max_threads = 1, " +
		"allow_suspicious_low_cardinality_types = 1, allow_suspicious_variant_types = 1"
	return c
}

// convert makes one Native block of data.
func (c *converter) convert(data []byte) ([]byte, error) {
	if c.in != nil {
		var err error
		if data, _, err = c.in.block(data); err != nil {
			return nil, err
		}
	}
	native, _, err := c.conn.queryParams(c.sql, "Native", []param{{"structure", escapeText(c.structure)}, {"data", escapeText(string(data))}})
	return native, err
}

var textEscaper = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)

// escapeText is s as the engine takes the text of a parameter.
func escapeText(s string) string { return textEscaper.Replace(s) }

// manyTypes is the first revision whose clients are taken to know every type. Those from before, of 2018 and 2019, close the
// connection when they meet one they do not know.
const manyTypes = 54429

// oldTypes are what clients from before manyTypes know, besides those that hold others.
var oldTypes = map[string]bool{
	"Int8": true, "UInt8": true, "Int16": true, "UInt16": true, "Int32": true, "UInt32": true, "Int64": true, "UInt64": true, "Float32": true, "Float64": true,
	"String": true, "FixedString": true, "Date": true, "DateTime": true, "UUID": true, "Enum8": true, "Enum16": true, "Nothing": true, "AggregateFunction": true,
	"Decimal32": true, "Decimal64": true, "Decimal128": true,
}

// knownType is the type as which a client of a revision is given values of a type: the type itself, where it knows it, else one
// that holds the same, or a text.
func knownType(typ string, rev int) string {
	if rev == 0 || rev >= manyTypes {
		return typ
	}
	name, args, err := splitType(typ)
	if err != nil || oldTypes[name] || strings.HasPrefix(name, "Interval") {
		return typ
	}
	inner := func(i int) string {
		if i >= len(args) {
			return "String"
		}
		return knownType(args[i], rev)
	}
	tuple := func() string {
		var fields []string
		for _, a := range args {
			field, t := splitField(a)
			if field != "" {
				field += " "
			}
			fields = append(fields, field+knownType(t, rev))
		}
		return "Tuple(" + strings.Join(fields, ", ") + ")"
	}
	switch name {
	case "Bool":
		return "UInt8"
	case "Decimal":
		var precision int
		if _, err := fmt.Sscan(args[0], &precision); err == nil && precision <= 38 {
			return typ
		}
	case "Nullable":
		if t := inner(0); strings.HasPrefix(t, "Array(") || strings.HasPrefix(t, "Tuple(") || strings.HasPrefix(t, "Nullable(") {
			return "Nullable(String)"
		}
		return "Nullable(" + inner(0) + ")"
	case "LowCardinality":
		if t := inner(0); t != args[0] {
			return t
		}
		return typ
	case "Array":
		return "Array(" + inner(0) + ")"
	case "Map":
		return "Array(Tuple(" + inner(0) + ", " + inner(1) + "))"
	case "Tuple":
		if len(args) > 0 {
			return tuple()
		}
	case "Nested":
		return "Array(" + tuple() + ")"
	case "SimpleAggregateFunction":
		return inner(1)
	case "Point":
		return "Tuple(Float64, Float64)"
	case "Ring", "LineString":
		return "Array(" + knownType("Point", rev) + ")"
	case "Polygon", "MultiLineString":
		return "Array(" + knownType("Ring", rev) + ")"
	case "MultiPolygon":
		return "Array(" + knownType("Polygon", rev) + ")"
	case "Variant", "Dynamic", "Geometry":
		return "Nullable(String)"
	}
	return "String"
}

// known are cols as a client of a revision is told them.
func known(cols []column, rev int) []column {
	out := make([]column, len(cols))
	for i, c := range cols {
		out[i] = column{c.name, knownType(c.typ, rev)}
	}
	return out
}

// oldClient gives one result to a client that may not know all its types.
type oldClient struct {
	asked bool
	conv  *converter // nil when the client knows all
}

// take returns a chunk of the result as the client can read it, and what transcodes it.
func (o *oldClient) take(c *nativeConn, chunk []byte) ([]byte, *transcoder, error) {
	if c.rev >= manyTypes {
		return chunk, c.out, nil
	}
	if !o.asked {
		o.asked = true
		cols, err := blockColumns(chunk)
		if err != nil || slices.Equal(cols, known(cols, c.rev)) {
			return chunk, c.out, nil // of a state of an aggregate function the end is not known, and need not be
		}
		conn, err := c.eng.connect()
		if err != nil {
			return nil, nil, err
		}
		o.conv = newConverter(conn, "Native", cols, c.rev)
	}
	if o.conv == nil {
		return chunk, c.out, nil
	}
	native, err := o.conv.convert(chunk)
	return native, o.conv.out, err
}

func (o *oldClient) close() {
	if o.conv != nil {
		o.conv.conn.close()
	}
}
