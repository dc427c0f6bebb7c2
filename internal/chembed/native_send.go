package chembed

import (
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// blockMethods are the values of the setting network_compression_method, by which blocks for a client are compressed.
var blockMethods = map[string]compress.Method{"LZ4": compress.LZ4, "LZ4HC": compress.LZ4HC, "ZSTD": compress.ZSTD, "NONE": compress.None}

// parseBlockMethod reads such a value.
func parseBlockMethod(value string) (compress.Method, error) {
	m, ok := blockMethods[strings.ToUpper(value)]
	if !ok {
		return m, codeUnknownCompression.errorf("Unknown network_compression_method %s: the embedded server knows LZ4, LZ4HC, ZSTD and NONE", clip(value))
	}
	return m, nil
}

// blockMethod is how the blocks sent to a client are compressed, if it wants them compressed.
func blockMethod(settings []setting) (method compress.Method, err error) {
	method = compress.LZ4
	for _, s := range settings {
		if s.name == "network_compression_method" && err == nil {
			method, err = parseBlockMethod(s.value)
		}
	}
	return method, err
}

// compressor is the writer of compressed frames of the running query's method.
func (c *nativeConn) compressor() *compress.Writer {
	w := c.comp[c.method]
	if w == nil {
		w = compress.NewWriter(compress.LevelZero, c.method)
		c.comp[c.method] = w
	}
	return w
}

// send sends one Native block of the engine's as a packet, and all that was buffered. Its errors are *fatalError where the client has
// gone, else of the block.
func (c *nativeConn) send(code proto.ServerCode, native []byte, compressed bool) error {
	block, _, err := c.out.block(native)
	if err != nil {
		return err
	}
	return c.sendRaw(code, block, compressed)
}

// sendRaw is send for a block that is as the client reads it.
func (c *nativeConn) sendRaw(code proto.ServerCode, block []byte, compressed bool) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	err := c.block(code, block, compressed)
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		return &fatalError{err}
	}
	return nil
}

// block writes a block as the client reads it as a packet.
func (c *nativeConn) block(code proto.ServerCode, native []byte, compressed bool) error {
	c.buf.Reset()
	code.Encode(&c.buf)
	c.buf.PutString("") // table name
	info := func() {
		if proto.FeatureBlockInfo.In(c.rev) {
			proto.BlockInfo{BucketNum: -1}.Encode(&c.buf)
		}
	}
	if !compressed {
		info()
		c.w.Write(c.buf.Buf)
		_, err := c.w.Write(native)
		return err
	}
	c.w.Write(c.buf.Buf)
	c.buf.Reset()
	info()
	const frame = 1 << 20
	head := min(len(native), frame)
	c.buf.Buf = append(c.buf.Buf, native[:head]...)
	comp := c.compressor()
	for data, rest := c.buf.Buf, native[head:]; ; {
		if err := comp.Compress(data); err != nil {
			return fmt.Errorf("compress a block: %w", err)
		}
		if _, err := c.w.Write(comp.Data); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		n := min(len(rest), frame)
		data, rest = rest[:n], rest[n:]
	}
}

// progress sends what has been done since the last time: s are totals of the query, rows how many there are to read, if known.
func (c *nativeConn) progress(s stats, rows uint64) {
	c.sending.Lock()
	defer c.sending.Unlock()
	grown := func(now uint64, told *uint64) uint64 {
		more := max(now, *told) - *told
		*told += more
		return more
	}
	p := proto.Progress{Rows: grown(s.readRows, &c.told.readRows), Bytes: grown(s.readBytes, &c.told.readBytes), TotalRows: grown(rows, &c.asked)}
	if proto.FeatureClientWriteInfo.In(c.rev) {
		p.WroteRows, p.WroteBytes = grown(s.writtenRows, &c.told.writtenRows), grown(s.writtenBytes, &c.told.writtenBytes)
	}
	if p == (proto.Progress{}) {
		return
	}
	p.ElapsedNs = uint64(time.Since(c.begun))
	c.buf.Reset()
	proto.ServerCodeProgress.Encode(&c.buf)
	p.EncodeAware(&c.buf, c.rev)
	c.w.Write(c.buf.Buf)
}

// profileEvents sends the engine's counters of a query.
func (c *nativeConn) profileEvents(last progress, s stats) error {
	list := counters(last, s)
	if !proto.FeatureProfileEvents.In(c.rev) || len(list) == 0 {
		return nil
	}
	host, name := new(proto.ColStr), new(proto.ColStr)
	at, thread, value := new(proto.ColDateTime), new(proto.ColUInt64), new(proto.ColInt64)
	kind := new(proto.ColEnum8)
	now := time.Now()
	for _, e := range list {
		host.Append("huoma")
		at.Append(now)
		thread.Append(0)
		kind.Append(1)
		name.Append(e.name)
		value.Append(e.value)
	}
	input := proto.Input{
		{Name: "host_name", Data: host}, {Name: "current_time", Data: at}, {Name: "thread_id", Data: thread},
		{Name: "type", Data: proto.Alias(kind, "Enum8('increment' = 1, 'gauge' = 2)")}, {Name: "name", Data: name}, {Name: "value", Data: value},
	}
	c.buf.Reset()
	proto.ServerProfileEvents.Encode(&c.buf)
	c.buf.PutString("")
	if err := (proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: len(input), Rows: len(list)}).EncodeBlock(&c.buf, c.rev, input); err != nil {
		return fmt.Errorf("encode profile events: %w", err)
	}
	if _, err := c.w.Write(c.buf.Buf); err != nil {
		return &fatalError{err}
	}
	return nil
}

func (c *nativeConn) exception(e *engineError) {
	c.buf.Reset()
	proto.ServerCodeException.Encode(&c.buf)
	x := proto.Exception{Code: proto.Error(e.code), Name: "DB::Exception", Message: "DB::Exception: " + e.text}
	x.EncodeAware(&c.buf, c.rev)
	c.w.Write(c.buf.Buf)
}

func (c *nativeConn) flushBuf() error {
	c.w.Write(c.buf.Buf)
	return c.w.Flush()
}
