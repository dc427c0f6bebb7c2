package chembed

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"
)

// Forms in which Dynamic and JSON columns are serialized in Native blocks (src/DataTypes/Serializations/SerializationDynamic.h and
// SerializationObject.h of ClickHouse). Which one the engine writes, a client chooses with settings; what a client
// sends, the engine reads whatever it is.
const (
	dynamicV1        = 1
	dynamicV2        = 2
	dynamicFlattened = 3

	jsonV1        = 0
	jsonString    = 1
	jsonV2        = 2
	jsonFlattened = 3
)

// sharedVariant is the alternative of a Dynamic that holds values of all types it has no place of their own for, as strings.
const sharedVariant = "SharedVariant"

func (c *blockCopier) variantMode() error {
	mode, err := c.uint64()
	if err == nil && mode != 0 {
		err = codeIncorrectData.errorf("Variant discriminators of mode %d; only 0 is spoken in Native blocks", mode)
	}
	return err
}

// dynamicPrefix passes on the types of a Dynamic column.
func (c *blockCopier) dynamicPrefix(l *layout) error {
	defer func() { c.depth-- }()
	if err := c.version(l, "Dynamic", dynamicV1, dynamicFlattened); err != nil {
		return err
	}
	names, err := c.names("types of a Dynamic column", l.version == dynamicV1)
	if err != nil {
		return err
	}
	for _, name := range names {
		t, err := parseLayout(name)
		if err != nil {
			return err
		}
		t.name = name
		l.found = append(l.found, t)
	}
	if l.version != dynamicFlattened {
		l.found = append(l.found, layout{shape: shapeString, name: sharedVariant})
		slices.SortFunc(l.found, func(a, b layout) int { return strings.Compare(a.name, b.name) })
		if len(l.found) > noVariant {
			return codeIncorrectData.errorf("a Dynamic column of %d types; at most %d", len(l.found), noVariant)
		}
		if err := c.variantMode(); err != nil {
			return err
		}
	}
	return c.prefixes(l.found)
}

// jsonPrefix passes on the paths of a JSON column.
func (c *blockCopier) jsonPrefix(l *layout) error {
	defer func() { c.depth-- }()
	if err := c.version(l, "JSON", jsonV1, jsonFlattened); err != nil || l.version == jsonString {
		return err
	}
	paths, err := c.names("paths of a JSON column", l.version == jsonV1)
	if err != nil {
		return err
	}
	for range paths {
		l.found = append(l.found, layout{shape: shapeDynamic})
	}
	if err := c.prefixes(l.fields); err != nil {
		return err
	}
	return c.prefixes(l.found)
}

// version passes on the form in which a column is serialized, forgets what the prefix before said, and goes one deeper.
func (c *blockCopier) version(l *layout, typ string, first, last uint64) error {
	l.found = nil
	if c.depth++; c.depth > maxTypeDepth {
		return codeIncorrectData.errorf("types of Dynamic and JSON columns nested more than %d deep", maxTypeDepth)
	}
	v, err := c.uint64()
	if err == nil && (v < first || v > last) {
		err = codeIncorrectData.errorf("a %s column serialized in version %d; %d to %d are known", typ, v, first, last)
	}
	l.version = v
	return err
}

// names passes on a list of names, before which the first forms have how many there may be.
func (c *blockCopier) names(what string, limit bool) ([]string, error) {
	if limit {
		if _, err := c.uvarint(); err != nil {
			return nil, err
		}
	}
	n, err := c.uvarint()
	if err != nil {
		return nil, err
	}
	if n > maxFoundTypes {
		return nil, codeIncorrectData.errorf("%d %s; at most %d", n, what, maxFoundTypes)
	}
	var names []string
	for range n {
		name, err := c.str(maxTypeLength)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *blockCopier) dynamic(l *layout, rows uint64) error {
	if l.version != dynamicFlattened {
		return c.variant(l.found, 1, rows)
	}
	width := uint64(1)
	switch n := len(l.found); {
	case n > math.MaxUint16:
		width = 4
	case n > math.MaxUint8:
		width = 2
	}
	return c.variant(l.found, width, rows)
}

func (c *blockCopier) json(l *layout, rows uint64) error {
	if l.version == jsonString {
		return c.strings(rows)
	}
	for _, fields := range [][]layout{l.fields, l.found} {
		for i := range fields {
			if err := c.values(&fields[i], rows); err != nil {
				return err
			}
		}
	}
	if l.version == jsonFlattened {
		return nil
	}
	// Paths that have no column of their own: Array(Tuple(String, String)).
	n, err := c.offsets(rows)
	if err != nil {
		return err
	}
	if err := c.strings(n); err != nil {
		return err
	}
	return c.strings(n)
}

// variant passes on rows numbers of width bytes, each naming one of fields or NULL, and the values of each field.
func (c *blockCopier) variant(fields []layout, width, rows uint64) error {
	counts := make([]uint64, len(fields))
	null := uint64(len(fields)) // of a flattened Dynamic
	var buf [4096]byte
	for left := rows * width; left > 0; {
		b := buf[:min(left, uint64(len(buf)))]
		if _, err := io.ReadFull(c.src, b); err != nil {
			return unexpected(err)
		}
		if _, err := c.dst.Write(b); err != nil {
			return err
		}
		left -= uint64(len(b))
		for ; len(b) > 0; b = b[width:] {
			var d uint64
			switch width {
			case 1:
				d = uint64(b[0])
			case 2:
				d = uint64(binary.LittleEndian.Uint16(b))
			default:
				d = uint64(binary.LittleEndian.Uint32(b))
			}
			switch {
			case d < uint64(len(fields)):
				counts[d]++
			case d == null || d == noVariant && width == 1:
			default:
				return codeIncorrectData.errorf("a value of alternative %d of a Variant that has %d", d, len(fields))
			}
		}
	}
	for i := range fields {
		if err := c.values(&fields[i], counts[i]); err != nil {
			return err
		}
	}
	return nil
}
