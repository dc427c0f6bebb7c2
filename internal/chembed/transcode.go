package chembed

import (
	"bufio"
	"bytes"
	"io"

	"github.com/ClickHouse/ch-go/proto"
)

// transcoder writes the engine's Native blocks, which are of revision 0, as a client of a later revision reads them. It holds one
// block in memory at a time.
type transcoder struct {
	rev  int
	raw  bytes.Reader
	src  *bufio.Reader
	out  bytes.Buffer
	cp   *blockCopier
	info proto.Buffer
}

// newTranscoder returns a transcoder for clients of a revision; 0 is the engine's own.
func newTranscoder(rev int) *transcoder {
	t := &transcoder{rev: rev}
	t.src = bufio.NewReaderSize(&t.raw, 64<<10)
	t.cp = newBlockCopier(t.src, &t.out)
	t.cp.flagsOut, t.cp.whole = proto.FeatureCustomSerialization.In(rev), true
	if proto.FeatureBlockInfo.In(rev) {
		proto.BlockInfo{BucketNum: -1}.Encode(&t.info)
	}
	return t
}

// block returns the first block of native as the client reads it, without block info, and what follows it. What it returns is
// valid until the next call. Where nothing has to be changed, all of native is taken for one block.
func (t *transcoder) block(native []byte) (block, rest []byte, err error) {
	if !t.cp.flagsOut && t.cp.rename == nil && t.cp.retype == nil {
		return native, nil, nil
	}
	t.raw.Reset(native)
	t.src.Reset(&t.raw)
	t.out.Reset()
	t.cp.reset(t.src, &t.out)
	if _, err := t.cp.copy(); err != nil {
		return nil, nil, err
	}
	return t.out.Bytes(), native[len(native)-t.raw.Len()-t.src.Buffered():], nil
}

// write writes native, which holds whole blocks, with their block infos if the revision has them.
func (t *transcoder) write(w io.Writer, native []byte) error {
	for len(native) > 0 {
		block, rest, err := t.block(native)
		if err != nil {
			return err
		}
		if _, err := w.Write(t.info.Buf); err != nil {
			return err
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
		native = rest
	}
	return nil
}
