package chembed

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// Bounds on how long a client may keep the server waiting, and on what is still taken of one that is shown the door. Within a packet, and
// for a client that does not read, it is Options.Patience.
const (
	handshakeTimeout = 30 * time.Second
	leavePatience    = 5 * time.Second
	leaveBytes       = 256 << 20

	defaultPatience = 5 * time.Minute
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

	patience time.Duration // with a client in the middle of a packet, or one that does not read

	r *bufio.Reader
	w *bufio.Writer

	sending sync.Mutex // held for a packet: progress is sent from beside the query
	buf     proto.Buffer
	comp    map[compress.Method]*compress.Writer
	method  compress.Method // of the blocks sent to the client, by the query's settings

	plain *bufio.Reader // what the client's compressed blocks hold
	cp    *blockCopier  // from the client to the engine
	out   *transcoder   // from the engine to the client

	rev  int
	sess *session

	begun time.Time // the running query's
	told  stats     // what the client has been told of its progress
	asked uint64    // and of the rows to read
}

func newNativeConn(eng *engine, id identity, log *slog.Logger, conn net.Conn, patience time.Duration) *nativeConn {
	c := &nativeConn{eng: eng, id: id, log: log, conn: conn, patience: patience}
	c.r = bufio.NewReaderSize(conn, 256<<10)
	c.w = bufio.NewWriterSize(deadlineWriter{conn, patience}, 64<<10)
	c.plain = bufio.NewReaderSize(compress.NewReader(c.r), 64<<10)
	c.cp = newBlockCopier(c.r, io.Discard)
	c.comp = map[compress.Method]*compress.Writer{}
	return c
}

// deadlineWriter fails when a client does not read for as long as patience lasts.
type deadlineWriter struct {
	net.Conn
	patience time.Duration
}

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(w.patience)); err != nil {
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
		c.log.Warn("a client broke the native protocol", "reason", ee.text)
		c.leave()
	}
}

// leave sends what is buffered and takes what the client is still sending for a while: closed at once, the connection would be reset before
// the client has read why.
func (c *nativeConn) leave() {
	c.conn.SetDeadline(time.Now().Add(leavePatience))
	if c.w.Flush() != nil {
		return
	}
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	io.CopyN(io.Discard, c.conn, leaveBytes)
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
	c.setRevision(min(h.revision, revision))
	if h.user != "" && h.user != "default" || h.password {
		return errNoUsers
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
	if err := c.flushBuf(); err != nil {
		return err
	}
	return readAddendum(c.r, c.rev)
}

// setRevision says what the client speaks.
func (c *nativeConn) setRevision(rev int) {
	c.rev = rev
	c.cp.flagsIn = proto.FeatureCustomSerialization.In(rev)
	c.out = newTranscoder(rev)
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
	c.conn.SetReadDeadline(time.Now().Add(c.patience))
	switch proto.ClientCode(code) {
	case proto.ClientCodePing:
		c.w.WriteByte(byte(proto.ServerCodePong))
		return c.w.Flush()
	case proto.ClientCodeCancel:
		return nil // of a query that has ended meanwhile
	case proto.ClientCodeQuery:
		q, err := readQuery(c.r, c.rev, c.eng.settingTypes)
		if err != nil {
			return err
		}
		c.begun, c.told, c.asked = time.Now(), stats{}, 0
		drop, err := c.externalTables(q)
		defer drop()
		if refused := (*tableError)(nil); errors.As(err, &refused) {
			c.exception(refused.engineError)
			return c.w.Flush()
		}
		if err != nil {
			return err
		}
		return c.query(ctx, q)
	case proto.ClientCodeData:
		return codeUnexpectedPacket.errorf("a data packet outside an INSERT")
	default:
		return codeUnknownPacket.errorf("unknown packet %d from the client", code)
	}
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
	if err := st.beyond(); err != nil {
		return err
	}
	done, err := c.sess.named(q.id)
	if err != nil {
		return err
	}
	defer done()
	st = c.eng.withEngineIDs(st)
	if st.kind == kindSet {
		return c.sess.change(st.text)
	}
	if c.method, err = blockMethod(q.settings); err != nil {
		return err
	}
	totals := st.kind == kindSelect && (st.totals || c.sess.extremes || wantsExtremes(q.settings))
	if totals {
		q.settings = append(q.settings, totalsSettings...)
	}
	if err := c.sess.apply(q.settings); err != nil {
		return err
	}
	if st.kind == kindInsert {
		// Clients that read the rows of a text themselves send the text up to them, blanks included.
		// Those from before manyTypes send it whole at times, and read the rows of it all the same.
		if strings.Trim(st.data, " \t\r\n;") != "" && c.rev >= manyTypes {
			return c.insertInline(st, q.params)
		}
		return c.insertRows(st, q)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopReading, cancelled := c.watchClient(cancel)
	stopWatching := c.sess.watch(ctx)
	if totals {
		err = c.resultsWithTotals(ctx, st, q)
	} else {
		err = c.results(ctx, st, q)
	}
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
