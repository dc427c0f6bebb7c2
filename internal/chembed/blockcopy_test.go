package chembed

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ClickHouse/ch-go/proto"
)

// plainRevision is the last whose blocks are as the engine writes them.
const plainRevision = 54453

// sampleBlock is a Native block of many shapes, encoded by ch-go.
func sampleBlock(t testing.TB, rows int) []byte {
	t.Helper()
	str, long := new(proto.ColStr), new(proto.ColStr)
	u := new(proto.ColUInt64)
	null := new(proto.ColStr).Nullable()
	lc := new(proto.ColStr).LowCardinality()
	arr := new(proto.ColStr).LowCardinality().Array()
	nested := new(proto.ColUInt8).Array()
	m := proto.NewMap[string, uint32](new(proto.ColStr), new(proto.ColUInt32))
	tup := proto.ColTuple{new(proto.ColStr).LowCardinality(), new(proto.ColUInt16)}
	for i := range rows {
		str.Append(strings.Repeat("s", i%5))
		long.Append(strings.Repeat("long", (i%3)*2000))
		u.Append(uint64(i))
		null.Append(proto.Nullable[string]{Set: i%2 == 0, Value: "n"})
		lc.Append(strings.Repeat("l", i%300))
		arr.Append([]string{"a", "b", "c"}[:i%4%3])
		nested.Append(make([]uint8, i%7))
		m.Append(map[string]uint32{"k": uint32(i)})
		tup[0].(*proto.ColLowCardinality[string]).Append("t")
		tup[1].(*proto.ColUInt16).Append(uint16(i))
	}
	input := proto.Input{
		{Name: "str", Data: str}, {Name: "long", Data: long}, {Name: "u", Data: u}, {Name: "null", Data: null}, {Name: "lc", Data: lc},
		{Name: "arr", Data: arr}, {Name: "nested", Data: nested}, {Name: "m", Data: m}, {Name: "tup", Data: tup},
	}
	var b proto.Buffer
	if err := (proto.Block{Columns: len(input), Rows: rows}).EncodeRawBlock(&b, plainRevision, input); err != nil {
		t.Fatal(err)
	}
	return b.Buf
}

// TestBlockCopier finds the end of a block, whatever follows it and however it comes.
func TestBlockCopier(t *testing.T) {
	for _, rows := range []int{0, 1, 2, 7, 1000} {
		block := sampleBlock(t, rows)
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
		} {
			stream := append(append([]byte(nil), block...), "what follows"...)
			src := bufio.NewReaderSize(reader(bytes.NewReader(stream)), 4096)
			var out bytes.Buffer
			head, err := newBlockCopier(src, &out).copy()
			if err != nil || head.rows != rows || head.columns != 9 || !bytes.Equal(out.Bytes(), block) {
				t.Errorf("%d rows, %s: %+v, %v, same bytes %v", rows, name, head, err, bytes.Equal(out.Bytes(), block))
				continue
			}
			if rest, _ := io.ReadAll(src); string(rest) != "what follows" {
				t.Errorf("%d rows, %s: %q is left", rows, name, rest)
			}
		}
		for cut := range min(len(block), 3000) {
			if _, err := newBlockCopier(bufio.NewReader(bytes.NewReader(block[:cut])), io.Discard).copy(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d rows cut after %d bytes: %v", rows, cut, err)
			}
		}
	}
}

func TestBlockCopierRefuses(t *testing.T) {
	uv := func(vs ...uint64) []byte {
		var b proto.Buffer
		for _, v := range vs {
			b.PutUVarInt(v)
		}
		return b.Buf
	}
	col := func(typ string, rest ...byte) []byte {
		var b proto.Buffer
		b.PutString("c")
		b.PutString(typ)
		return append(append(uv(1, 1), b.Buf...), rest...)
	}
	ff := bytes.Repeat([]byte{0xFF}, 8)
	for _, row := range []struct {
		name  string
		block []byte
		want  string
	}{
		{"2³¹ rows", uv(1, 1<<31), "announces 2147483648 rows"},
		{"2⁶³ columns", uv(1<<63, 1), "columns"},
		{"rows without columns", uv(0, 5), "no column"},
		{"name of 2⁶² bytes", append(uv(1, 1), uv(1<<62)...), "bytes; at most"},
		{"unknown type", col("Nope"), "unknown column type"},
		{"string of 2⁶³ bytes", col("String", uv(1<<63)...), "a value of"},
		{"array of 2⁶⁴ elements", col("Array(UInt8)", ff...), "elements"},
		{"dictionary of a later version", col("LowCardinality(String)", ff...), "version"},
		{"dictionary flags", col("LowCardinality(String)", append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, ff...)...), "indexes of type"},
		{"dictionary of 2⁶⁴ keys", col("LowCardinality(String)", append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}, ff...)...), "keys"},
		{"indexes of too many rows", col("LowCardinality(String)", append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ff...)...), "rows where 1"},
	} {
		_, err := newBlockCopier(bufio.NewReader(bytes.NewReader(row.block)), io.Discard).copy()
		var ee *engineError
		if !errors.As(err, &ee) || !strings.Contains(ee.text, row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// FuzzBlockCopier: whatever comes, nothing is passed on that did not come, and memory stays in bounds.
func FuzzBlockCopier(f *testing.F) {
	f.Add(sampleBlock(f, 3))
	f.Add(sampleBlock(f, 0))
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 1, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		head, err := newBlockCopier(bufio.NewReader(bytes.NewReader(data)), &out).copy()
		if err == nil && head.columns > 0 && !bytes.HasPrefix(data, out.Bytes()) {
			t.Errorf("%x became %x", data, out.Bytes())
		}
		if out.Len() > len(data) {
			t.Errorf("%d bytes became %d", len(data), out.Len())
		}
	})
}
