package chembed_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// rawClient speaks the native protocol byte by byte, for what no client would say.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	r    *proto.Reader
	rev  int
}

const rawRevision = 54453

func rawDial(t testing.TB, s *chembed.Server) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &rawClient{t: t, conn: conn, r: proto.NewReader(conn), rev: rawRevision}
}

func (c *rawClient) send(parts ...[]byte) {
	c.t.Helper()
	if _, err := c.conn.Write(bytes.Join(parts, nil)); err != nil {
		c.t.Fatal(err)
	}
}

func rawHello() []byte {
	var b proto.Buffer
	proto.ClientHello{Name: "raw", ProtocolVersion: rawRevision, User: "default"}.Encode(&b)
	return b.Buf
}

func rawQuery(sql string, c proto.Compression) []byte {
	var b proto.Buffer
	proto.Query{Body: sql, Compression: c, Info: proto.ClientInfo{Query: proto.ClientQueryInitial, Interface: proto.InterfaceTCP}}.EncodeAware(&b, rawRevision)
	return b.Buf
}

// rawData is a data packet around a block, its info included.
func rawData(block ...byte) []byte {
	return append([]byte{2, 0, 1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0}, block...)
}

func rawEnd() []byte { return rawData(0, 0) }

// hello opens the connection.
func (c *rawClient) hello() {
	c.t.Helper()
	c.send(rawHello())
	if code := c.code(); code != proto.ServerCodeHello {
		c.t.Fatalf("hello answered with packet %d", code)
	}
	var h proto.ServerHello
	if err := h.DecodeAware(c.r, rawRevision); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) code() proto.ServerCode {
	c.t.Helper()
	b, err := c.r.ReadByte()
	if err != nil {
		c.t.Fatal(err)
	}
	return proto.ServerCode(b)
}

// header reads packets up to a data packet and returns its columns, as `name Type`.
func (c *rawClient) header() (cols []string) {
	c.t.Helper()
	if code := c.code(); code != proto.ServerCodeData {
		var ex proto.Exception
		ex.DecodeAware(c.r, rawRevision)
		c.t.Fatalf("packet %d instead of data: %+v", code, ex)
	}
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	_, err := c.r.Str()
	must(err)
	var info proto.BlockInfo
	must(info.Decode(c.r))
	n, err := c.r.Int()
	must(err)
	rows, err := c.r.Int()
	must(err)
	if rows != 0 {
		c.t.Fatalf("a header with %d rows", rows)
	}
	for range n {
		name, err := c.r.Str()
		must(err)
		typ, err := c.r.Str()
		must(err)
		cols = append(cols, name+" "+typ)
	}
	return cols
}

// rest reads what the server still says until it closes the connection; an exception in it is returned.
func (c *rawClient) rest() (*proto.Exception, error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return nil, err
	}
	if proto.ServerCode(b) != proto.ServerCodeException {
		return nil, nil
	}
	var ex proto.Exception
	if err := ex.DecodeAware(c.r, rawRevision); err != nil {
		return nil, err
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return &ex, errors.New("the connection stays open")
	}
	return &ex, nil
}

// TestMalformed: what breaks the protocol closes that connection, with a reason where one can be told, and no other.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	mustExec(t, c, "CREATE TABLE t (a UInt8, s String) ENGINE = MergeTree ORDER BY a")
	uv := func(n uint64) []byte {
		var b proto.Buffer
		b.PutUVarInt(n)
		return b.Buf
	}
	frame := func(block []byte) []byte {
		w := compress.NewWriter(compress.LevelZero, compress.LZ4)
		if err := w.Compress(block); err != nil {
			t.Fatal(err)
		}
		return append([]byte(nil), w.Data...)
	}
	corrupt := frame(bytes.Repeat([]byte{0}, 100))
	corrupt[len(corrupt)-1] ^= 1
	intoT := rawQuery("INSERT INTO t VALUES", proto.CompressionDisabled)
	intoTc := rawQuery("INSERT INTO t VALUES", proto.CompressionEnabled)
	emptyC := append([]byte{2, 0}, frame([]byte{1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0})...)
	for _, row := range []struct {
		name  string
		hello bool
		send  []byte
		close bool // the client closes in the middle
		code  proto.Error
	}{
		{name: "nothing", close: true},
		{name: "half a hello", send: rawHello()[:7], close: true},
		{name: "garbage", send: bytes.Repeat([]byte{0x7F}, 100), code: 101},
		{name: "name of 2⁶² bytes", send: append([]byte{0}, uv(1<<62)...), code: 131},
		{name: "old revision", send: []byte{0, 1, 'x', 1, 1, 5, 0, 0, 0}, code: 1},
		{name: "unknown packet", hello: true, send: []byte{99}, code: 99},
		{name: "hello again", hello: true, send: rawHello(), code: 99},
		{name: "data without a query", hello: true, send: rawEnd(), code: 101},
		{name: "half a query", hello: true, send: rawQuery("SELECT 1", 0)[:20], close: true},
		{name: "query of 2⁴⁰ bytes", hello: true, send: append(bytes.TrimSuffix(rawQuery("", 0), []byte{0}), uv(1<<40)...), code: 131},
		{name: "query without its end", hello: true, send: append(rawQuery("SELECT 1", 0), 4), code: 101},
		{name: "external table of an unknown type", hello: true, send: append(rawQuery("SELECT 1", 0), rawData(1, 0, 1, 'a', 1, 'X')...), code: 50},
		{name: "block info", hello: true, send: append(intoT, 2, 0, 77), code: 117},
		{name: "2³¹ rows", hello: true, send: append(append(intoT, rawEnd()...), rawData(append(uv(1), uv(1<<31)...)...)...), code: 117},
		{name: "half a block", hello: true, send: append(append(intoT, rawEnd()...), rawData(1, 2, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 7)...), close: true},
		{name: "unknown type", hello: true, send: append(append(intoT, rawEnd()...), rawData(1, 1, 1, 'a', 1, 'X', 7)...), code: 50},
		{name: "wrong checksum", hello: true, send: append(append(append(intoTc, emptyC...), 2, 0), corrupt...), code: 40},
		{name: "a frame of 4 GiB", hello: true, send: append(append(append(intoTc, emptyC...), 2, 0), append(bytes.Repeat([]byte{0}, 16), 0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)...), code: 271},
		{name: "two blocks in a frame", hello: true, send: append(append(intoTc, emptyC...), append([]byte{2, 0}, frame([]byte{0, 0, 0, 1, 1})...)...), code: 117},
		{name: "a ping in an INSERT", hello: true, send: append(append(intoT, rawEnd()...), 4), code: 101},
		{name: "HTTP", send: []byte("GET / HTTP/1.0\r\n\r\n"), close: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw := rawDial(t, s)
			if row.hello {
				raw.hello()
			}
			raw.send(row.send)
			if row.close {
				raw.conn.Close()
				return
			}
			if bytes.HasPrefix(row.send, intoT[:10]) && bytes.Contains(row.send, []byte("INSERT")) && row.name != "block info" {
				if bytes.HasPrefix(row.send, intoTc) {
					raw.conn.(*net.TCPConn).CloseWrite()
					b, _ := io.ReadAll(raw.conn)
					if !bytes.Contains(b, []byte{2, byte(row.code), byte(row.code >> 8), 0, 0}) {
						t.Errorf("no exception of code %d in %q", row.code, b)
					}
					return
				}
				raw.header()
			}
			ex, err := raw.rest()
			if err != nil || ex == nil || ex.Code != row.code || !strings.HasPrefix(ex.Message, "DB::Exception: ") {
				t.Errorf("got %+v, %v; want code %d", ex, err, row.code)
			}
		})
	}
	if n := count(t, c, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows came of it", n)
	}
	until(t, func() bool { return count(t, c, "SELECT count() FROM system.processes") == 1 })
}

// TestSampleBlock: a client is told the columns that an INSERT wants.
func TestSampleBlock(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	mustExec(t, open(t, s), "CREATE TABLE t (a UInt32, `b c` String DEFAULT 'd', m UInt32 MATERIALIZED a + 1, al UInt32 ALIAS a, e UInt8 EPHEMERAL 7, f Nullable(Float64)) ENGINE = MergeTree ORDER BY a")
	raw := rawDial(t, s)
	raw.hello()
	for _, row := range []struct{ sql, want string }{
		{"INSERT INTO t VALUES", "a UInt32, b c String, f Nullable(Float64)"},
		{"INSERT INTO t VALUES  \n", "a UInt32, b c String, f Nullable(Float64)"},
		{"INSERT INTO `t` (\"b c\", a) FORMAT Native", "b c String, a UInt32"},
		{"INSERT INTO default . t(e, `a`) SETTINGS max_threads = 1 VALUES", "e UInt8, a UInt32"},
		{"INSERT INTO t (* EXCEPT (a)) VALUES", "b c String, f Nullable(Float64)"},
		{"INSERT INTO FUNCTION null('x UInt8, y String') VALUES", "x UInt8, y String"},
	} {
		raw.send(rawQuery(row.sql, proto.CompressionDisabled), rawEnd())
		if got := strings.Join(raw.header(), ", "); got != row.want {
			t.Errorf("%s: got %s, want %s", row.sql, got, row.want)
		}
		raw.send(rawEnd())
		if code := raw.code(); code != proto.ServerCodeEndOfStream {
			t.Fatalf("%s: ends with packet %d", row.sql, code)
		}
	}
	// Cancelled in the middle of its rows, an INSERT leaves nothing and the connection goes on.
	raw.send(rawQuery("INSERT INTO t (a) VALUES", proto.CompressionDisabled), rawEnd())
	raw.header()
	raw.send(rawData(1, 1, 1, 'a', 6, 'U', 'I', 'n', 't', '3', '2', 1, 0, 0, 0), []byte{byte(proto.ClientCodeCancel)})
	if code := raw.code(); code != proto.ServerCodeEndOfStream {
		t.Fatalf("a cancelled INSERT ends with packet %d", code)
	}
	raw.send([]byte{byte(proto.ClientCodePing)})
	if code := raw.code(); code != proto.ServerCodePong {
		t.Fatalf("ping answered with packet %d", code)
	}
	if n := count(t, open(t, s), "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows of a cancelled INSERT", n)
	}
	// Cancelled, a SELECT ends its stream, and the connection goes on.
	raw.send(rawQuery("SELECT sleepEachRow(0.1) FROM numbers(1000) SETTINGS max_block_size = 1", proto.CompressionDisabled), rawEnd(), []byte{byte(proto.ClientCodeCancel)})
	for deadline := time.Now().Add(10 * time.Second); ; {
		b, err := raw.r.ReadByte()
		if err != nil || time.Now().After(deadline) {
			t.Fatal("no end of stream", err)
		}
		if proto.ServerCode(b) == proto.ServerCodeEndOfStream {
			break
		}
	}
	raw.send([]byte{byte(proto.ClientCodePing)})
	if code := raw.code(); code != proto.ServerCodePong {
		t.Fatalf("ping answered with packet %d", code)
	}
}

// TestProfile: a result's profile says that it needs no calculating. Debian's clickhouse-client 18.16 crashes on any other.
func TestProfile(t *testing.T) {
	t.Parallel()
	raw := rawDial(t, chtest.Start(t))
	raw.hello()
	raw.send(rawQuery("SELECT toUInt8(1) AS a", proto.CompressionDisabled), rawEnd())
	block := []byte{1, 1, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 1, byte(proto.ServerCodeProfile)}
	for got := []byte(nil); !bytes.HasSuffix(got, block); {
		got = append(got, byte(raw.code()))
	}
	var profile proto.Profile
	if err := profile.DecodeAware(raw.r, rawRevision); err != nil || profile.Rows != 1 || profile.Blocks != 1 || !profile.CalculatedRowsBeforeLimit {
		t.Errorf("got %+v, %v", profile, err)
	}
}

// TestRefusedWhileSending: an INSERT that the engine refuses early is answered early, what its client still sends is read, and
// the connection goes on.
func TestRefusedWhileSending(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	mustExec(t, open(t, s), "CREATE TABLE t (a UInt8, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a")
	raw := rawDial(t, s)
	raw.hello()
	raw.send(rawQuery("INSERT INTO t SETTINGS min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1, max_insert_block_size = 1 VALUES", proto.CompressionDisabled), rawEnd())
	raw.header()
	block := rawData(1, 2, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 200, 201)
	answered := false
	for deadline := time.Now().Add(10 * time.Second); !answered; {
		if time.Now().After(deadline) {
			t.Fatal("no exception while blocks are being sent")
		}
		raw.send(block)
		raw.conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		b, err := raw.r.ReadByte()
		if answered = err == nil; answered && proto.ServerCode(b) != proto.ServerCodeException {
			t.Fatalf("packet %d instead of an exception", b)
		}
	}
	raw.conn.SetDeadline(time.Now().Add(20 * time.Second))
	var ex proto.Exception
	if err := ex.DecodeAware(raw.r, rawRevision); err != nil || ex.Code != 469 {
		t.Fatalf("got %+v, %v; want code 469", ex, err)
	}
	raw.send(block, block, rawEnd(), []byte{byte(proto.ClientCodePing)})
	if code := raw.code(); code != proto.ServerCodePong {
		t.Errorf("ping answered with packet %d", code)
	}
}

// rawDialRevision is a client of a revision that has been greeted.
func rawDialRevision(t testing.TB, s *chembed.Server, rev int) *rawClient {
	t.Helper()
	c := rawDial(t, s)
	c.rev = rev
	var b proto.Buffer
	proto.ClientHello{Name: "raw", ProtocolVersion: rev, User: "default"}.Encode(&b)
	c.send(b.Buf)
	if code := c.code(); code != proto.ServerCodeHello {
		t.Fatalf("hello answered with packet %d", code)
	}
	var h proto.ServerHello
	if err := h.DecodeAware(c.r, rev); err != nil {
		t.Fatal(err)
	}
	if proto.FeatureAddendum.In(rev) {
		c.send([]byte{0})
	}
	return c
}

func rawQueryRevision(sql string, rev int) []byte {
	var b proto.Buffer
	proto.Query{Body: sql, Info: proto.ClientInfo{Query: proto.ClientQueryInitial, Interface: proto.InterfaceTCP}}.EncodeAware(&b, rev)
	return b.Buf
}

// until reads packets up to one of this code, whose own code alone it has read then, or an exception, which it returns. Data before
// it must be of one column of numbers.
func (c *rawClient) until(want proto.ServerCode) *proto.Exception {
	c.t.Helper()
	for {
		code := c.code()
		if code == proto.ServerCodeException {
			var ex proto.Exception
			if err := ex.DecodeAware(c.r, c.rev); err != nil {
				c.t.Fatal(err)
			}
			return &ex
		}
		if code == want {
			return nil
		}
		switch code {
		case proto.ServerCodeProgress:
			var p proto.Progress
			if err := p.DecodeAware(c.r, c.rev); err != nil {
				c.t.Fatal(err)
			}
		case proto.ServerCodeData:
			c.u64s(-1)
		default:
			c.t.Fatalf("packet %d before packet %d", code, want)
		}
	}
}

// u64s reads a data packet after its code: one column of n rows, -1 for any number.
func (c *rawClient) u64s(n int) (all []uint64) {
	c.t.Helper()
	if _, err := c.r.Str(); err != nil {
		c.t.Fatal(err)
	}
	var b proto.Block
	var col proto.ColUInt64
	if err := b.DecodeBlock(c.r, c.rev, proto.Results{{Name: "number", Data: &col}}); err != nil {
		c.t.Fatal(err)
	}
	if n >= 0 && b.Rows != n {
		c.t.Fatalf("%d rows, want %d", b.Rows, n)
	}
	return col
}

// TestSlowClients: who stops reading, or sending in the middle of something, is not waited for for ever, and holds up nobody.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s, err := chembed.New(chembed.Options{DataDir: t.TempDir(), Patience: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	c := open(t, s)
	mustExec(t, c, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	reader := rawDial(t, s)
	reader.hello()
	reader.send(rawQuery("SELECT number, 'of those that do not read' FROM numbers(1000000000)", proto.CompressionDisabled), rawEnd())
	sender := rawDial(t, s)
	sender.hello()
	sender.send(rawQuery("INSERT INTO t VALUES", proto.CompressionDisabled), rawEnd())
	sender.header()
	sender.send([]byte{2, 0, 1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 1, 1, 'a', 6, 'U', 'I', 'n', 't', '6', '4', 7})
	asker := rawDial(t, s)
	asker.hello()
	asker.send(rawQuery("SELECT 1", proto.CompressionDisabled)[:20])
	until(t, func() bool { return count(t, c, "SELECT count() FROM system.processes") == 1 })
	for name, slow := range map[string]*rawClient{"sender": sender, "asker": asker} {
		if _, err := io.Copy(io.Discard, slow.conn); err != nil {
			t.Errorf("the %s's connection: %v", name, err)
		}
	}
	if n := count(t, c, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows of half an insert", n)
	}
}

// TestLongQuery: a query of 50 MB is refused while it is being sent, and its client reads why.
func TestLongQuery(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	before := rss(t, s)
	err := c.Exec(t.Context(), "SELECT 1 /*"+strings.Repeat("x", 50<<20)+"*/")
	if ex := (*clickhouse.Exception)(nil); !errors.As(err, &ex) || ex.Code != 131 || !strings.Contains(ex.Message, "at most") {
		t.Errorf("got %v", err)
	}
	if after := rss(t, s); after-before > 150<<20 {
		t.Errorf("the engine grew from %d to %d MiB", before>>20, after>>20)
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_query_size": 16 << 20}))
	if err := c.Exec(ctx, "SELECT 1 /*"+strings.Repeat("x", 10<<20)+"*/"); err != nil {
		t.Errorf("a query of 10 MB: %v", err)
	}
}
