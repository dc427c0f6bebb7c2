package chembed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// Bounds on how long a client may keep the server waiting.
const (
	handshakeTimeout = 30 * time.Second
	packetTimeout    = 5 * time.Minute // within a packet, and for a client that does not read
)

// identity is how the server introduces itself.
type identity struct {
	major, minor, patch int
	version, timezone   string
}

// nativeConn is one client of the native protocol.
type nativeConn struct {
	eng  *engine
	id   identity
	log  *slog.Logger
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	buf  proto.Buffer
	comp *compress.Writer

	plain *bufio.Reader // what the client's compressed blocks hold
	cp    *blockCopier

	rev  int
	sess *session
}

func newNativeConn(eng *engine, id identity, log *slog.Logger, conn net.Conn) *nativeConn {
	c := &nativeConn{eng: eng, id: id, log: log, conn: conn}
	c.r = bufio.NewReaderSize(conn, 256<<10)
	c.w = bufio.NewWriterSize(deadlineWriter{conn}, 64<<10)
	c.plain = bufio.NewReaderSize(compress.NewReader(c.r), 64<<10)
	c.cp = newBlockCopier(c.r, io.Discard)
	c.comp = compress.NewWriter(compress.LevelZero, compress.LZ4)
	return c
}

// deadlineWriter fails when a client does not read for packetTimeout.
type deadlineWriter struct{ net.Conn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(packetTimeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// serve speaks with the client until it leaves or breaks the protocol. When idle ends, so does a connection that runs no
// query; when ctx ends, its query is stopped. It closes the connection.
func (c *nativeConn) serve(ctx, idle context.Context) {
	defer c.conn.Close()
	defer func() {
		if c.sess != nil {
			c.sess.close()
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a client's connection failed", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	// Between queries nothing but the client's next packet is waited for; closing the connection ends that wait.
	stop := context.AfterFunc(idle, func() { c.conn.SetReadDeadline(time.Now()) })
	defer stop()
	err := c.handshake()
	for err == nil {
		err = c.packet(ctx, idle)
	}
	var ee *engineError
	if errors.As(err, &ee) {
		// Not in step with the client any more: say why, and leave.
		c.exception(ee)
		c.w.Flush()
		c.log.Warn("a client broke the native protocol", "reason", ee.text)
	}
}

func (c *nativeConn) handshake() error {
	c.conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	code, err := c.r.ReadByte()
	if err != nil {
		return err
	}
	if code == 'G' || code == 'P' {
		io.WriteString(c.w, "HTTP/1.0 400 Bad Request\r\n\r\nThis is the port of ClickHouse's native protocol; HTTP has a port of its own.\n")
		c.w.Flush()
		return io.EOF
	}
	if code != byte(proto.ClientCodeHello) {
		return codeUnexpectedPacket.errorf("expected a hello, got packet %d", code)
	}
	h, err := readHello(c.r)
	if err != nil {
		return err
	}
	c.rev = min(h.revision, revision)
	if h.user != "" && h.user != "default" {
		return codeAuthentication.errorf("the embedded server has no users: connect as default, without a password")
	}
	if c.sess, err = openSession(c.eng, h.database); err != nil {
		return asEngineError(err)
	}
	c.buf.Reset()
	sh := proto.ServerHello{
		Name: "ClickHouse", Major: c.id.major, Minor: c.id.minor, Patch: c.id.patch,
		Revision: revision, Timezone: c.id.timezone, DisplayName: "huoma",
	}
	sh.EncodeAware(&c.buf, c.rev)
	return c.flushBuf()
}

// packet waits for the client's next packet outside a query, and answers it.
func (c *nativeConn) packet(ctx, idle context.Context) error {
	c.conn.SetReadDeadline(time.Time{})
	if err := idle.Err(); err != nil {
		return err
	}
	code, err := c.r.ReadByte()
	if err != nil {
		return err
	}
	c.conn.SetReadDeadline(time.Now().Add(packetTimeout))
	switch proto.ClientCode(code) {
	case proto.ClientCodePing:
		c.w.WriteByte(byte(proto.ServerCodePong))
		return c.w.Flush()
	case proto.ClientCodeCancel:
		return nil // of a query that has ended meanwhile
	case proto.ClientCodeQuery:
		q, err := readQuery(c.r, c.rev)
		if err != nil {
			return err
		}
		if err := c.externalTables(q); err != nil {
			return err
		}
		return c.query(ctx, q)
	case proto.ClientCodeData:
		return codeUnexpectedPacket.errorf("a data packet outside an INSERT")
	default:
		return codeUnknownPacket.errorf("unknown packet %d from the client", code)
	}
}

// externalTables reads the data packets after a query up to the empty block that ends them.
func (c *nativeConn) externalTables(q query) error {
	head, err := c.dataPacket(q.compress, io.Discard)
	if err != nil {
		return err
	}
	if head.columns != 0 {
		return codeNotImplemented.errorf("the embedded server takes no external tables with a query: insert the rows into a temporary table")
	}
	return nil
}

// dataPacket reads one data packet, its code included, and passes its block to dst.
func (c *nativeConn) dataPacket(compressed bool, dst io.Writer) (blockHead, error) {
	c.conn.SetReadDeadline(time.Now().Add(packetTimeout))
	code, err := c.r.ReadByte()
	if err != nil {
		return blockHead{}, unexpected(err)
	}
	switch proto.ClientCode(code) {
	case proto.ClientCodeData:
	case proto.ClientCodeCancel:
		return blockHead{}, errClientCancelled
	default:
		return blockHead{}, codeUnexpectedPacket.errorf("expected a data packet, got packet %d", code)
	}
	if _, err := readDataHead(c.r); err != nil {
		return blockHead{}, err
	}
	src := c.r
	if compressed {
		src = c.plain
	}
	if err := readBlockInfo(src, c.rev); err != nil {
		return blockHead{}, blockError(err)
	}
	c.cp.reset(src, dst)
	head, err := c.cp.copy()
	if err == nil && compressed && src.Buffered() > 0 {
		err = codeIncorrectData.errorf("%d bytes after the end of a block in its compressed frame", src.Buffered())
	}
	return head, blockError(err)
}

var errClientCancelled = errors.New("the client cancelled the query")

// blockError gives a broken compressed frame its code. What the connection itself says stays as it is.
func blockError(err error) error {
	var corrupted *compress.CorruptedDataErr
	var ee *engineError
	var ne net.Error
	switch {
	case err == nil || errors.As(err, &ee) || errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
		return err
	case errors.As(err, &corrupted):
		return codeChecksumMismatch.errorf("Checksum doesn't match: corrupted data in a compressed block")
	}
	return codeCannotDecompress.errorf("Cannot decompress a block: %s", err)
}

// query runs one query and sends everything up to its end of stream or exception. The error is nil as long as the
// connection can be used.
func (c *nativeConn) query(ctx context.Context, q query) error {
	// The engine's thread state follows a query from call to call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	err := c.run(ctx, q)
	var fatal *fatalError
	var told *answered
	switch {
	case errors.As(err, &fatal):
		return fatal.error
	case errors.As(err, &told):
		return nil
	case errors.Is(err, errClientCancelled):
		err = nil
	case err != nil:
		c.exception(asEngineError(err))
		return c.w.Flush()
	}
	c.w.WriteByte(byte(proto.ServerCodeEndOfStream))
	return c.w.Flush()
}

// fatalError is an error after which the connection is not in step with its client any more.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

func (c *nativeConn) run(ctx context.Context, q query) error {
	st, err := parseStatement(q.body)
	if err != nil {
		return err
	}
	if st.kind == kindEmpty {
		return errorCode{62, "SYNTAX_ERROR"}.errorf("Empty query")
	}
	if st.kind == kindSet {
		return c.sess.change(st.text)
	}
	if err := c.sess.apply(q.settings); err != nil {
		return err
	}
	if st.kind == kindInsert {
		// Clients that read the rows of a text themselves send the text up to them, blanks included.
		if strings.Trim(st.data, " \t\r\n;") != "" {
			return c.insertInline(st, q.params)
		}
		return c.insertRows(st, q)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopReading, cancelled := c.watchClient(cancel)
	stopWatching := c.sess.watch(ctx)
	err = c.results(ctx, st, q)
	stopWatching()
	stopReading()
	if *cancelled {
		return errClientCancelled
	}
	if err == nil && ctx.Err() != nil {
		err = codeQueryCancelled.errorf("Query was cancelled")
	}
	return err
}

// watchClient reads ahead while a query runs: a cancel packet, or the client's leaving, calls cancel. stop ends the reading
// and leaves what else has come to be read later; cancelled is valid after it.
func (c *nativeConn) watchClient(cancel func()) (stop func(), cancelled *bool) {
	cancelled = new(bool)
	done := make(chan struct{})
	c.conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(done)
		b, err := c.r.Peek(1)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			cancel()
		case b[0] == byte(proto.ClientCodeCancel):
			c.r.Discard(1)
			*cancelled = true
			cancel()
		}
	}()
	return func() {
		c.conn.SetReadDeadline(time.Now())
		<-done
	}, cancelled
}

// results runs a statement that returns rows, or nothing.
func (c *nativeConn) results(ctx context.Context, st statement, q query) error {
	var total stats
	blocks := uint64(0)
	send := func(chunk []byte, s stats) error {
		if ctx.Err() != nil {
			return codeQueryCancelled.errorf("Query was cancelled")
		}
		total.add(s)
		blocks++
		c.progress(s)
		if err := c.block(proto.ServerCodeData, chunk, q.compress); err != nil {
			return &fatalError{err}
		}
		return c.flush()
	}
	streamed := false
	if st.kind == kindSelect {
		s, err := c.sess.conn.stream(st.plain, "Native", q.params)
		switch {
		case err == nil:
			streamed = true
			defer s.close()
			for more := true; more; {
				if more, err = s.next(send); err != nil {
					return err
				}
			}
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
		total.writtenRows, total.writtenBytes = s.writtenRows, s.writtenBytes
		c.progress(stats{writtenRows: s.writtenRows, writtenBytes: s.writtenBytes})
	}
	if blocks == 0 {
		cols, err := c.sess.header(st)
		if err != nil {
			return err
		}
		if len(cols) > 0 {
			if err := c.block(proto.ServerCodeData, encodeHeader(cols), q.compress); err != nil {
				return &fatalError{err}
			}
		}
	}
	c.buf.Reset()
	// Told that the rows before a limit are not calculated, a client of old looks for the streams it could learn them from, and crashes.
	proto.Profile{Rows: total.rows, Blocks: blocks, Bytes: total.bytes, CalculatedRowsBeforeLimit: true}.EncodeAware(&c.buf, c.rev)
	c.w.Write(c.buf.Buf)
	return nil
}

// insertInline runs an INSERT whose rows stand in its text.
func (c *nativeConn) insertInline(st statement, params []param) error {
	ins, err := c.sess.conn.insert(st.text, st.format, params)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(writerOnly{ins}, st.data); err != nil && !errors.Is(err, errInsertStopped) {
		ins.cancel()
		return err
	}
	s, err := ins.done()
	if err != nil {
		return err
	}
	c.progress(stats{writtenRows: s.writtenRows, writtenBytes: s.writtenBytes})
	return nil
}

type writerOnly struct{ io.Writer }

// insertRows runs an INSERT whose rows the client sends: it is told the columns, then sends blocks, then an empty one.
func (c *nativeConn) insertRows(st statement, q query) error {
	cols, err := c.sess.insertColumns(st)
	if err != nil {
		return err
	}
	ins, err := c.sess.conn.insert(st.text, "Native", q.params)
	if err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished {
			ins.cancel()
		}
	}()
	if err := c.block(proto.ServerCodeData, encodeHeader(cols), q.compress); err != nil {
		return &fatalError{err}
	}
	if err := c.w.Flush(); err != nil {
		return &fatalError{err}
	}
	for {
		sink := &engineSink{w: ins}
		head, err := c.dataPacket(q.compress, sink)
		switch {
		case errors.Is(err, errClientCancelled):
			return err
		case err != nil:
			return &fatalError{err}
		case sink.err != nil:
			// The engine refused: tell the client at once, then read what it still sends.
			finished = true
			if _, done := ins.done(); done != nil {
				sink.err = done
			}
			c.exception(asEngineError(sink.err))
			if err := c.w.Flush(); err != nil {
				return &fatalError{err}
			}
			return c.skipRows(q, head)
		}
		if head.columns == 0 {
			break
		}
	}
	finished = true
	s, err := ins.done()
	if err != nil {
		return err
	}
	c.progress(stats{writtenRows: s.writtenRows, writtenBytes: s.writtenBytes})
	return nil
}

// skipRows reads a refused INSERT's blocks to their end. Its exception has been sent: nothing else may follow it.
func (c *nativeConn) skipRows(q query, head blockHead) error {
	var err error
	for head.columns != 0 {
		if head, err = c.dataPacket(q.compress, io.Discard); err != nil {
			return &fatalError{err}
		}
	}
	return &answered{}
}

// answered stands for an error that the client has been told of already.
type answered struct{}

func (*answered) Error() string { return "the client has been told" }

// engineSink passes data to the engine until it refuses, and takes the rest in silence: the client's block has to be read to
// its end either way.
type engineSink struct {
	w   io.Writer
	err error
}

func (s *engineSink) Write(p []byte) (int, error) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
	return len(p), nil
}

// block sends a Native block as a data packet.
func (c *nativeConn) block(code proto.ServerCode, native []byte, compressed bool) error {
	c.buf.Reset()
	code.Encode(&c.buf)
	c.buf.PutString("") // table name
	if !compressed {
		if proto.FeatureBlockInfo.In(c.rev) {
			proto.BlockInfo{BucketNum: -1}.Encode(&c.buf)
		}
		c.w.Write(c.buf.Buf)
		_, err := c.w.Write(native)
		return err
	}
	c.w.Write(c.buf.Buf)
	c.buf.Reset()
	if proto.FeatureBlockInfo.In(c.rev) {
		proto.BlockInfo{BucketNum: -1}.Encode(&c.buf)
	}
	const frame = 1 << 20
	head := min(len(native), frame)
	c.buf.Buf = append(c.buf.Buf, native[:head]...)
	for data, rest := c.buf.Buf, native[head:]; ; {
		if err := c.comp.Compress(data); err != nil {
			return fmt.Errorf("compress a block: %w", err)
		}
		if _, err := c.w.Write(c.comp.Data); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		n := min(len(rest), frame)
		data, rest = rest[:n], rest[n:]
	}
}

// progress sends what has been done since the last time.
func (c *nativeConn) progress(s stats) {
	p := proto.Progress{Rows: s.readRows, Bytes: s.readBytes}
	if proto.FeatureClientWriteInfo.In(c.rev) {
		// Clients from before it take no progress packet after an INSERT's rows.
		p.WroteRows, p.WroteBytes = s.writtenRows, s.writtenBytes
	}
	if p == (proto.Progress{}) {
		return
	}
	c.buf.Reset()
	proto.ServerCodeProgress.Encode(&c.buf)
	p.EncodeAware(&c.buf, c.rev)
	c.w.Write(c.buf.Buf)
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

// flush sends what is buffered; a client that has gone is fatal.
func (c *nativeConn) flush() error {
	if err := c.w.Flush(); err != nil {
		return &fatalError{err}
	}
	return nil
}
