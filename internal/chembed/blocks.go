package chembed

import (
	"bufio"
	"bytes"
	"io"

	"github.com/ClickHouse/ch-go/proto"
)

// encodeHeader is a Native block without rows: the columns of what follows, or of an empty result.
func encodeHeader(cols []column) []byte {
	var b proto.Buffer
	b.PutInt(len(cols))
	b.PutInt(0)
	for _, c := range cols {
		b.PutString(c.name)
		b.PutString(c.typ)
	}
	return b.Buf
}

// blockColumns are the columns of a whole Native block of revision 0.
func blockColumns(native []byte) ([]column, error) {
	src := bufio.NewReader(bytes.NewReader(native))
	cp := newBlockCopier(src, io.Discard)
	var cols []column
	cp.column = func(name, typ string) { cols = append(cols, column{name, typ}) }
	_, err := cp.copy()
	return cols, err
}

// splitter cuts a whole result in the Native format into its blocks: a packet of the protocol holds one.
type splitter struct {
	src *bufio.Reader
	out bytes.Buffer
	cp  *blockCopier
}

func newSplitter(native []byte) *splitter {
	s := &splitter{src: bufio.NewReader(bytes.NewReader(native))}
	s.cp = newBlockCopier(s.src, &s.out)
	return s
}

// next returns the next block, valid until the call after it, or nil after the last.
func (s *splitter) next() ([]byte, error) {
	if _, err := s.src.Peek(1); err != nil {
		return nil, nil
	}
	s.out.Reset()
	if _, err := s.cp.copy(); err != nil {
		return nil, err
	}
	return s.out.Bytes(), nil
}
