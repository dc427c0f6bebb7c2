package chembed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// tellEvery is how often a client is told how far its query is.
const tellEvery = 100 * time.Millisecond

// result is what a statement has given so far.
type result struct {
	total  stats
	blocks uint64
	last   progress // the engine's latest word on it
}

// results runs a statement that returns rows, or nothing.
func (c *nativeConn) results(ctx context.Context, st statement, q query) error {
	var res result
	stop := c.follow(&res)
	err := c.rows(ctx, st, q, &res)
	stop()
	if err != nil {
		return err
	}
	return c.finish(res)
}

// follow tells the client of the running query's progress until stop is called, after which res has the last of it.
func (c *nativeConn) follow(res *result) (stop func()) {
	return c.sess.follow(tellEvery, func(p progress) {
		res.last = p
		c.progress(stats{readRows: p.readRows, readBytes: p.readBytes, writtenRows: p.writtenRows, writtenBytes: p.writtenBytes}, p.totalRows)
		c.sending.Lock()
		defer c.sending.Unlock()
		c.w.Flush() // what is wrong with it, the next packet will meet
	})
}

// rows sends the rows of a statement.
func (c *nativeConn) rows(ctx context.Context, st statement, q query, res *result) error {
	var old oldClient
	defer old.close()
	send := func(chunk []byte, s stats) error {
		chunk, out, err := old.take(c, chunk)
		if err != nil {
			return err
		}
		return c.chunk(ctx, q, out, chunk, s, res)
	}
	streamed := false
	if st.kind == kindSelect {
		switch err := c.sess.streamNative(st, q.params, send); {
		case err == nil:
			streamed = true
		case !notStreamable(err):
			return err
		}
	}
	if !streamed {
		out, s, err := c.sess.conn.queryParams(st.plain, "Native", q.params)
		if err != nil {
			return err
		}
		for src := newSplitter(out); ; {
			block, err := src.next()
			if err != nil {
				return err
			}
			if block == nil {
				break
			}
			if err := send(block, s); err != nil {
				return err
			}
			s = stats{}
		}
		res.total.add(stats{writtenRows: s.writtenRows, writtenBytes: s.writtenBytes})
	}
	if res.blocks > 0 {
		return nil
	}
	cols, err := c.sess.header(st, q.params)
	if err != nil || len(cols) == 0 {
		return err
	}
	return c.send(proto.ServerCodeData, encodeHeader(known(cols, c.rev)), q.compress)
}

// chunk sends what the engine gave in one piece: a block, or more.
func (c *nativeConn) chunk(ctx context.Context, q query, t *transcoder, chunk []byte, s stats, res *result) error {
	if ctx.Err() != nil {
		return codeQueryCancelled.errorf("Query was cancelled")
	}
	res.total.add(s)
	c.progress(res.total, 0)
	for len(chunk) > 0 {
		block, rest, err := t.block(chunk)
		if err != nil {
			return err
		}
		if err := c.sendRaw(proto.ServerCodeData, block, q.compress); err != nil {
			return err
		}
		res.blocks++
		chunk = rest
	}
	return nil
}

// finish sends what follows a result's rows.
func (c *nativeConn) finish(res result) error {
	c.progress(res.total, 0)
	c.buf.Reset()
	// Told that the rows before a limit are not calculated, a client of old looks for the streams it could learn them from, and crashes.
	proto.Profile{Rows: res.total.rows, Blocks: res.blocks, Bytes: res.total.bytes, CalculatedRowsBeforeLimit: true}.EncodeAware(&c.buf, c.rev)
	if _, err := c.w.Write(c.buf.Buf); err != nil {
		return &fatalError{err}
	}
	return c.profileEvents(res.last, res.total)
}

// totalsFormat is the one format of the engine that has totals and extremes, streams, and can be read back whatever the types: a
// line a row, its values as texts.
const totalsFormat = "JSONCompactStringsEachRowWithProgress"

// totalsSettings make those texts such that nothing of a value is lost.
var totalsSettings = []setting{
	{name: "date_time_output_format", value: "unix_timestamp"}, // zones shift, and an hour comes twice a year
	{name: "interval_output_format", value: "numeric"},
	{name: "bool_true_representation", value: "true"},
	{name: "bool_false_representation", value: "false"},
	{name: "output_format_json_validate_utf8", value: "0"},
}

func wantsExtremes(settings []setting) bool {
	for _, s := range settings {
		if s.name == "extremes" && s.value != "0" && s.value != "false" {
			return true
		}
	}
	return false
}

// resultsWithTotals runs a SELECT that has totals or extremes. The engine's Native output leaves them out, so the result comes as
// texts, and a second connection of the engine makes blocks of them.
func (c *nativeConn) resultsWithTotals(ctx context.Context, st statement, q query) error {
	conv, err := c.eng.connect()
	if err != nil {
		return err
	}
	defer conv.close()
	var res result
	stop := c.follow(&res)
	tt := totalsReader{conn: conv, rev: c.rev}
	err = c.rowsWithTotals(ctx, st, q, &tt, &res)
	stop()
	if err != nil {
		return err
	}
	return c.finish(res)
}

func (c *nativeConn) rowsWithTotals(ctx context.Context, st statement, q query, tt *totalsReader, res *result) error {
	s, err := c.sess.conn.stream(st.plain, totalsFormat, q.params)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.each(func(chunk []byte, st stats) error {
		rows, err := tt.read(chunk)
		if err != nil || rows == nil {
			return err
		}
		return c.chunk(ctx, q, tt.conv.out, rows, st, res)
	})
	if err != nil {
		return err
	}
	if res.blocks == 0 && tt.cols != nil {
		if err := c.send(proto.ServerCodeData, encodeHeader(known(tt.cols, c.rev)), q.compress); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		code  proto.ServerCode
		lines [][]byte
	}{{proto.ServerCodeTotals, tt.totals}, {proto.ServerCodeExtremes, tt.extremes}} {
		if len(part.lines) == 0 {
			continue
		}
		native, err := tt.convert(part.lines)
		if err != nil {
			return err
		}
		block, _, err := tt.conv.out.block(native)
		if err != nil {
			return err
		}
		if err := c.sendRaw(part.code, block, q.compress); err != nil {
			return err
		}
	}
	return nil
}

// totalsReader turns a result in totalsFormat into Native blocks.
type totalsReader struct {
	conn *engineConn
	rev  int

	cols             []column
	conv             *converter
	totals, extremes [][]byte
}

// read takes the lines of one chunk, and returns its rows as a Native block of stand-in names, which out puts right; nil if there are none.
func (t *totalsReader) read(chunk []byte) ([]byte, error) {
	var rows [][]byte
	for _, line := range bytes.Split(chunk, []byte("\n")) {
		for _, kind := range []struct {
			prefix string
			to     *[][]byte
		}{{`{"row":`, &rows}, {`{"totals":`, &t.totals}, {`{"min":`, &t.extremes}, {`{"max":`, &t.extremes}} {
			if body, ok := bytes.CutPrefix(line, []byte(kind.prefix)); ok && bytes.HasSuffix(body, []byte("}")) {
				*kind.to = append(*kind.to, bytes.Clone(body[:len(body)-1]))
			}
		}
		if t.cols == nil && bytes.HasPrefix(line, []byte(`{"meta":`)) {
			if err := t.meta(line); err != nil {
				return nil, err
			}
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return t.convert(rows)
}

func (t *totalsReader) meta(line []byte) error {
	var m struct{ Meta []struct{ Name, Type string } }
	if err := json.Unmarshal(line, &m); err != nil {
		return fmt.Errorf("read the columns of a result with totals: %w", err)
	}
	for _, col := range m.Meta {
		t.cols = append(t.cols, column{col.Name, col.Type})
	}
	t.conv = newConverter(t.conn, "JSONCompactStringsEachRow", t.cols, t.rev)
	return nil
}

// convert makes one Native block of rows as texts.
func (t *totalsReader) convert(lines [][]byte) ([]byte, error) {
	if t.conv == nil {
		return nil, errors.New("a result with totals has rows before its columns")
	}
	return t.conv.convert(bytes.Join(lines, []byte("\n")))
}
