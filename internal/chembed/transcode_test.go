package chembed

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

// engineBlocks are blocks that the engine wrote, of types whose layout only their data tells.
var engineBlocks = map[string]string{
	"variant":      "\x01\x01\x01v\x16Variant(String, UInt8)\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03abc",
	"variant null": "\x01\x01\x01v\x16Variant(String, UInt8)\x00\x00\x00\x00\x00\x00\x00\x00\xff",
	"dynamic":      "\x01\x03\x01d\aDynamic\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01\x06String\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xff\x015\x03abc",
	"flattened":    "\x01\x03\x01d\aDynamic\x03\x00\x00\x00\x00\x00\x00\x00\x01\x06String\x00\x00\x01\x015\x03abc",
	"json": "\x01\x01\x01j\rJSON(t UInt8)\x00\x00\x00\x00\x00\x00\x00\x00\x02\x02\x01a\x01b\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05Int64\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01\x06String\x00\x00\x00\x00\x00\x00\x00\x00\a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01x\x00\x00\x00\x00\x00\x00\x00\x00",
	"json flattened": "\x01\x01\x01j\rJSON(t UInt8)\x03\x00\x00\x00\x00\x00\x00\x00\x02\x01a\x01b\x03\x00\x00\x00\x00\x00\x00\x00\x01\x05Int64\x03\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x06String\x07\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01x",
	"json text":   "\x01\x01\x01j\x04JSON\x01\x00\x00\x00\x00\x00\x00\x00\x0f{\"a\":1,\"b\":\"x\"}",
	"empty tuple": "\x01\x01\x01t\aTuple()0",
	"array of tuples": "\x01\x01\x01t+Array(Tuple(UInt8, LowCardinality(String)))\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x00\x06\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01a\x01\x00\x00\x00\x00\x00\x00\x00\x01",
	"state last": "\x02\x01\x01s\x05UInt8\x07\x01u\x1fAggregateFunction(uniq, UInt64)\x00\x03\x00\x00\x00\x00,\xcb\xc24\xe7\x83\x06e",
}

// TestTranscoder: every block comes to a client with a byte more for each column, and back without it.
func TestTranscoder(t *testing.T) {
	blocks := map[string][]byte{"many types": sampleBlock(t, 100), "no rows": sampleBlock(t, 0)}
	for name, b := range engineBlocks {
		blocks[name] = []byte(b)
	}
	for name, block := range blocks {
		var out bytes.Buffer
		if err := newTranscoder(plainRevision).write(&out, block); err != nil || !bytes.HasSuffix(out.Bytes(), block) || out.Len() != len(block)+8 {
			t.Errorf("%s, plain: %q, %v", name, out.Bytes(), err)
		}
		out.Reset()
		if err := newTranscoder(0).write(&out, block); err != nil || !bytes.Equal(out.Bytes(), block) {
			t.Errorf("%s, as it is: %q, %v", name, out.Bytes(), err)
		}
		flagged, rest, err := newTranscoder(revision).block(block)
		if err != nil || len(rest) != 0 {
			t.Errorf("%s: %v, %d bytes left", name, err, len(rest))
			continue
		}
		if columns := int(block[0]); len(flagged) != len(block)+columns {
			t.Errorf("%s: %d bytes of %d columns became %d", name, len(block), columns, len(flagged))
		}
		if name == "state last" {
			continue // nobody but the engine could find its end
		}
		out.Reset()
		back := newBlockCopier(bufio.NewReader(io.MultiReader(bytes.NewReader(flagged), strings.NewReader("more"))), &out)
		back.flagsIn = true
		if _, err := back.copy(); err != nil || !bytes.Equal(out.Bytes(), block) {
			t.Errorf("%s: came back as %q, %v", name, out.Bytes(), err)
		}
		// Two in one piece are two.
		out.Reset()
		if err := newTranscoder(revision).write(&out, append(bytes.Clone(block), block...)); err != nil || out.Len() != 2*(len(flagged)+8) {
			t.Errorf("%s, twice: %d bytes, %v", name, out.Len(), err)
		}
		for cut := range min(len(block), 2000) {
			if _, _, err := newTranscoder(revision).block(block[:cut]); err == nil {
				t.Fatalf("%s cut after %d bytes passes", name, cut)
			}
		}
	}
}

// TestRename gives other names to columns.
func TestRename(t *testing.T) {
	for _, rev := range []int{plainRevision, revision} {
		tr := newTranscoder(rev)
		tr.cp.rename = []string{"a longer name"}
		got, _, err := tr.block([]byte("\x01\x01\x02c0\x05UInt8\x07"))
		want := "\x01\x01\x0da longer name\x05UInt8"
		if rev == revision {
			want += "\x00"
		}
		if err != nil || string(got) != want+"\x07" {
			t.Errorf("revision %d: %q, %v", rev, got, err)
		}
		if _, _, err := tr.block([]byte("\x02\x01\x02c0\x05UInt8\x07\x02c1\x05UInt8\x07")); err == nil {
			t.Errorf("revision %d: a column without a name", rev)
		}
	}
}

func TestTranscoderRefuses(t *testing.T) {
	dynamic := "\x01\x01\x01d\x07Dynamic"
	u64 := func(v byte) string { return string([]byte{v, 0, 0, 0, 0, 0, 0, 0}) }
	nested := dynamic
	for range 100 {
		nested += u64(3) + "\x01\x07Dynamic"
	}
	for _, row := range []struct{ name, block, want string }{
		{"version of Dynamic", dynamic + u64(9), "version 9"},
		{"version of JSON", "\x01\x01\x01j\x04JSON" + u64(9), "version 9"},
		{"mode of Variant", "\x01\x01\x01v\x0fVariant(String)" + u64(1), "mode 1"},
		{"alternative", "\x01\x01\x01v\x0fVariant(String)" + u64(0) + "\x05", "alternative 5"},
		{"types", dynamic + u64(3) + "\xff\xff\xff\xff\x7f", "at most"},
		{"types that fit no discriminator", dynamic + u64(2) + "\x80\x02" + strings.Repeat("\x05UInt8", 256), "at most"},
		{"type in Dynamic", dynamic + u64(3) + "\x01\x01X", "unknown column type"},
		{"depth", nested, "deep"},
		{"state first", "\x02\x01\x01u\x1fAggregateFunction(uniq, UInt64)\x00\x00\x01s\x05UInt8\x07", "finalizeAggregation"},
	} {
		_, _, err := newTranscoder(revision).block([]byte(row.block))
		var ee *engineError
		if !errors.As(err, &ee) || !strings.Contains(ee.text, row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
	c := newBlockCopier(bufio.NewReader(strings.NewReader("\x01\x01\x01a\x05UInt8\x01\x00\x07")), io.Discard)
	c.flagsIn = true
	if _, err := c.copy(); err == nil || !strings.Contains(err.Error(), "serialization of its own") {
		t.Errorf("a column in another serialization: %v", err)
	}
}

// FuzzTranscoder: what passes comes back the same, and takes no more memory than its input and a byte a column.
func FuzzTranscoder(f *testing.F) {
	for _, b := range engineBlocks {
		f.Add([]byte(b))
	}
	f.Add(sampleBlock(f, 5))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr := newTranscoder(revision)
		tr.cp.whole = false
		block, rest, err := tr.block(data)
		if err != nil || len(block) == 0 {
			return
		}
		var out bytes.Buffer
		back := newBlockCopier(bufio.NewReader(bytes.NewReader(block)), &out)
		back.flagsIn = true
		if _, err := back.copy(); err != nil || !bytes.Equal(out.Bytes(), data[:len(data)-len(rest)]) {
			t.Errorf("%q became %q, and that %q: %v", data, block, out.Bytes(), err)
		}
		blockColumns(data)
	})
}

// TestTypedSettings: the settings of clients from before 54429 are read by their types.
func TestTypedSettings(t *testing.T) {
	kinds := func() map[string]string {
		return map[string]string{"max_block_size": "NonZeroUInt64", "extremes": "Bool", "distributed_ddl_task_timeout": "Int64", "totals_mode": "TotalsMode", "totals_auto_threshold": "Float"}
	}
	var b proto.Buffer
	put := func(name string, value func()) { b.PutString(name); value() }
	put("max_block_size", func() { b.PutUVarInt(65505) })
	put("extremes", func() { b.PutUVarInt(1) })
	put("distributed_ddl_task_timeout", func() { b.PutUVarInt(359) }) // -180
	put("totals_mode", func() { b.PutString("after_having_inclusive") })
	put("totals_auto_threshold", func() { b.PutString("0.5") })
	b.PutString("")
	p := packetReader{r: bufio.NewReader(bytes.NewReader(b.Buf)), kinds: kinds}
	var got []string
	for _, s := range p.settings(54412) {
		got = append(got, s.name+"="+s.value)
	}
	want := "max_block_size=65505 extremes=1 distributed_ddl_task_timeout=-180 totals_mode=after_having_inclusive totals_auto_threshold=0.5"
	if strings.Join(got, " ") != want || p.err != nil {
		t.Errorf("got %q, %v", got, p.err)
	}
	b.Reset()
	b.PutString("gone")
	b.PutUVarInt(1)
	p = packetReader{r: bufio.NewReader(bytes.NewReader(b.Buf)), kinds: kinds}
	if p.settings(54412); p.err == nil || !strings.Contains(p.err.Error(), "no longer has it") {
		t.Errorf("an unknown setting: %v", p.err)
	}
}

func TestRestoreDump(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "7": "7", "'": "'", "''": "", "'a'": "a", `'it\'s'`: "it's", "'it''s'": "it's", `'a\\b\n\t\r\0'`: "a\\b\n\t\r\x00", "'值'": "值",
	} {
		if got := restoreDump(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
