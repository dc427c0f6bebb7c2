package chembed

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

const (
	maxBlockColumns = 100_000
	maxBlockRows    = 100_000_000
	maxNestedRows   = 1 << 40 // of arrays: the bytes have to follow, so this only keeps sums from overflowing
	maxNameLength   = 1 << 16
	maxFoundTypes   = 1 << 16 // types or paths that a prefix names
	noVariant       = 255     // the discriminator of NULL
)

// blockCopier passes one Native block on and finds where it ends: in the protocol a block has no length, and the engine must
// not be handed what follows it. From revision 54454 on, each column's type is followed by a byte that says how the column is
// serialized; the engine's own blocks are without it. The copier takes it out of a client's block, or puts it into one of the
// engine's. It needs memory for its buffers only, whatever the block's size.
type blockCopier struct {
	src *bufio.Reader
	dst *bufio.Writer
	out io.Writer // what dst writes to
	tmp [binary.MaxVarintLen64]byte

	depth int // of prefixes that name types with prefixes of their own

	flagsIn, flagsOut bool                   // src has that byte; dst wants it
	whole             bool                   // src ends with the block, so that a last column needs no known end
	rename            []string               // names to give to the columns of dst, in order
	retype            map[int]string         // types to give to columns of dst, by place, of the same layout
	column            func(name, typ string) // is told of each column
}

// blockHead is what a block announces.
type blockHead struct {
	table         string // of the data packet around it
	columns, rows int
}

func newBlockCopier(src *bufio.Reader, dst io.Writer) *blockCopier {
	return &blockCopier{src: src, dst: bufio.NewWriterSize(dst, 256<<10), out: dst}
}

// reset makes c pass the next block from src to dst.
func (c *blockCopier) reset(src *bufio.Reader, dst io.Writer) {
	c.src, c.out, c.depth = src, dst, 0
	c.dst.Reset(dst)
}

// copy passes one block on, without the block info of the protocol, which must have been read. An empty block (no columns, no
// rows), which ends a client's data, is read and not written. Errors are *engineError where the block is malformed,
// the writer's where the engine refuses it, else the reader's.
func (c *blockCopier) copy() (head blockHead, err error) {
	columns, err := c.uvarint()
	if err != nil {
		return head, err
	}
	rows, err := c.uvarint()
	if err != nil {
		return head, err
	}
	if columns > maxBlockColumns {
		return head, codeIncorrectData.errorf("a block announces %d columns; at most %d", columns, maxBlockColumns)
	}
	if rows > maxBlockRows {
		return head, codeIncorrectData.errorf("a block announces %d rows; at most %d", rows, maxBlockRows)
	}
	head = blockHead{columns: int(columns), rows: int(rows)}
	if columns == 0 {
		if rows != 0 {
			return head, codeIncorrectData.errorf("a block announces %d rows and no column", rows)
		}
		c.dst.Reset(c.out)
		return head, nil
	}
	for i := range head.columns {
		name, err := c.name(i)
		if err != nil {
			return head, err
		}
		typ, err := c.typ(i)
		if err != nil {
			return head, err
		}
		l, err := parseLayout(typ)
		if err != nil {
			return head, err
		}
		if c.column != nil {
			c.column(name, typ)
		}
		if err := c.flag(name); err != nil {
			return head, err
		}
		if rows == 0 {
			continue
		}
		if c.whole && l.opaque() && i == head.columns-1 {
			if _, err := io.Copy(c.dst, c.src); err != nil {
				return head, err
			}
			break
		}
		if err := c.prefix(&l); err != nil {
			return head, err
		}
		if err := c.values(&l, rows); err != nil {
			return head, err
		}
	}
	return head, c.dst.Flush()
}

// name passes on the name of column i.
func (c *blockCopier) name(i int) (string, error) {
	if c.rename == nil {
		return c.str(maxNameLength)
	}
	if err := c.skip(maxNameLength); err != nil {
		return "", err
	}
	if i >= len(c.rename) {
		return "", codeIncorrectData.errorf("a block of more than %d columns", len(c.rename))
	}
	return c.rename[i], c.put(c.rename[i])
}

// typ passes on the type of column i.
func (c *blockCopier) typ(i int) (string, error) {
	typ, ok := c.retype[i]
	if !ok {
		return c.str(maxTypeLength)
	}
	if err := c.skip(maxTypeLength); err != nil {
		return "", err
	}
	return typ, c.put(typ)
}

// skip reads a string and passes nothing on.
func (c *blockCopier) skip(limit uint64) error {
	n, err := binary.ReadUvarint(c.src)
	if err == nil {
		_, err = c.src.Discard(int(min(n, limit)))
	}
	return unexpected(err)
}

// put writes a string.
func (c *blockCopier) put(s string) error {
	if _, err := c.dst.Write(binary.AppendUvarint(c.tmp[:0], uint64(len(s)))); err != nil {
		return err
	}
	_, err := c.dst.WriteString(s)
	return err
}

// flag reads or writes the byte that says how a column is serialized. Only the ordinary way is spoken here.
func (c *blockCopier) flag(name string) error {
	if c.flagsIn {
		b, err := c.src.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if b != 0 {
			return codeNotImplemented.errorf("column %s comes in a serialization of its own (%d): send it in the ordinary one", clipPlain(name), b)
		}
	}
	if c.flagsOut {
		return c.dst.WriteByte(0)
	}
	return nil
}

// opaque says that a column holds states of aggregate functions.
func (l *layout) opaque() bool {
	return l.shape == shapeOpaque || slices.ContainsFunc(l.fields, func(f layout) bool { return f.opaque() })
}

// prefix passes on what stands before the values of a whole column: the key version of each LowCardinality in it, the mode of each
// Variant, the types of each Dynamic, the paths of each JSON.
func (c *blockCopier) prefix(l *layout) error {
	switch l.shape {
	case shapeLowCardinality:
		v, err := c.uint64()
		if err == nil && v != 1 {
			err = codeIncorrectData.errorf("LowCardinality keys of version %d; only 1 is known", v)
		}
		return err
	case shapeVariant:
		if err := c.variantMode(); err != nil {
			return err
		}
	case shapeDynamic:
		return c.dynamicPrefix(l)
	case shapeJSON:
		return c.jsonPrefix(l)
	}
	return c.prefixes(l.fields)
}

func (c *blockCopier) prefixes(fields []layout) error {
	for i := range fields {
		if err := c.prefix(&fields[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *blockCopier) values(l *layout, rows uint64) error {
	switch l.shape {
	case shapeFixed:
		return c.raw(rows * uint64(l.width))
	case shapeString:
		return c.strings(rows)
	case shapeNullable:
		if err := c.raw(rows); err != nil {
			return err
		}
		return c.values(&l.fields[0], rows)
	case shapeArray:
		n, err := c.offsets(rows)
		if err != nil {
			return err
		}
		return c.values(&l.fields[0], n)
	case shapeTuple:
		for i := range l.fields {
			if err := c.values(&l.fields[i], rows); err != nil {
				return err
			}
		}
		return nil
	case shapeLowCardinality:
		return c.lowCardinality(l, rows)
	case shapeVariant:
		return c.variant(l.fields, 1, rows)
	case shapeDynamic:
		return c.dynamic(l, rows)
	case shapeJSON:
		return c.json(l, rows)
	default:
		return codeUnknownType.errorf("the end of a column of states of aggregate functions cannot be found: read them as the last column or with finalizeAggregation, and insert them with INSERT … SELECT")
	}
}

// offsets passes on the offsets of rows arrays and returns the last: the number of elements.
func (c *blockCopier) offsets(rows uint64) (uint64, error) {
	if rows == 0 {
		return 0, nil
	}
	if err := c.raw((rows - 1) * 8); err != nil {
		return 0, err
	}
	n, err := c.uint64()
	if err == nil && n > maxNestedRows {
		err = codeIncorrectData.errorf("arrays of %d elements in one block; at most %d", n, int64(maxNestedRows))
	}
	return n, err
}

// lowCardinality passes on the dictionaries and indexes of rows values.
func (c *blockCopier) lowCardinality(l *layout, rows uint64) error {
	const (
		needGlobalDictionary = 1 << 8
		hasAdditionalKeys    = 1 << 9
	)
	for rows > 0 {
		flags, err := c.uint64()
		if err != nil {
			return err
		}
		width := flags & 0xFF
		if width > 3 {
			return codeIncorrectData.errorf("LowCardinality indexes of type %d", width)
		}
		if flags&needGlobalDictionary != 0 {
			return codeIncorrectData.errorf("LowCardinality with a global dictionary in a Native block")
		}
		if flags&hasAdditionalKeys != 0 {
			keys, err := c.uint64()
			if err != nil {
				return err
			}
			if keys > maxBlockRows {
				return codeIncorrectData.errorf("a LowCardinality dictionary of %d keys", keys)
			}
			if err := c.values(&l.fields[0], keys); err != nil {
				return err
			}
		}
		n, err := c.uint64()
		if err != nil {
			return err
		}
		if n == 0 || n > rows {
			return codeIncorrectData.errorf("LowCardinality indexes of %d rows where %d are left", n, rows)
		}
		if err := c.raw(n << width); err != nil {
			return err
		}
		rows -= n
	}
	return nil
}

// strings passes on n strings. Those that lie whole in the read buffer go in one piece.
func (c *blockCopier) strings(n uint64) error {
	for n > 0 {
		if c.src.Buffered() == 0 {
			if _, err := c.src.Peek(1); err != nil {
				return unexpected(err)
			}
		}
		window, _ := c.src.Peek(c.src.Buffered())
		at := 0
		for n > 0 {
			size, w := binary.Uvarint(window[at:])
			if w <= 0 || size > uint64(len(window)-at-w) {
				break
			}
			at += w + int(size)
			n--
		}
		if at > 0 {
			if err := c.raw(uint64(at)); err != nil {
				return err
			}
			continue
		}
		size, err := c.uvarint()
		if err != nil {
			return err
		}
		if err := c.raw(size); err != nil {
			return err
		}
		n--
	}
	return nil
}

// str passes on one string of at most limit bytes and returns it.
func (c *blockCopier) str(limit uint64) (string, error) {
	n, err := c.uvarint()
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", codeTooLargeSize.errorf("a name or type of %d bytes; at most %d", n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.src, b); err != nil {
		return "", unexpected(err)
	}
	_, err = c.dst.Write(b)
	return string(b), err
}

// raw passes n bytes on.
func (c *blockCopier) raw(n uint64) error {
	if n > 1<<62 {
		return codeTooLargeSize.errorf("a value of %d bytes", n)
	}
	_, err := io.CopyN(c.dst, c.src, int64(n))
	return unexpected(err)
}

func (c *blockCopier) uint64() (uint64, error) {
	b := c.tmp[:8]
	if _, err := io.ReadFull(c.src, b); err != nil {
		return 0, unexpected(err)
	}
	_, err := c.dst.Write(b)
	return binary.LittleEndian.Uint64(b), err
}

// uvarint passes on one number, in the very bytes it came in.
func (c *blockCopier) uvarint() (uint64, error) {
	var v uint64
	for i := range c.tmp {
		b, err := c.src.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		c.tmp[i] = b
		v |= uint64(b&0x7F) << (7 * i)
		if b < 0x80 {
			_, err := c.dst.Write(c.tmp[:i+1])
			return v, err
		}
	}
	return 0, codeIncorrectData.errorf("a number of more than %d bytes", len(c.tmp))
}

// unexpected makes the end of input inside a packet an error of its own: io.EOF means between packets.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
