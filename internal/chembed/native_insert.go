package chembed

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// dataPacket reads one data packet, its code included, and passes its block to dst.
func (c *nativeConn) dataPacket(compressed bool, dst io.Writer) (blockHead, error) {
	c.conn.SetReadDeadline(time.Now().Add(c.patience))
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
	table, err := readDataHead(c.r)
	if err != nil {
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
	head.table = table
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
	return c.inserted(s, err)
}

// inserted tells of a finished INSERT.
func (c *nativeConn) inserted(s stats, err error) error {
	if err != nil {
		return err
	}
	if proto.FeatureClientWriteInfo.In(c.rev) {
		// Clients from before it take no progress packet after an INSERT's rows.
		c.progress(s, 0)
	}
	return c.profileEvents(progress{}, s)
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
	if err := c.send(proto.ServerCodeData, encodeHeader(known(cols, c.rev)), q.compress); err != nil {
		return err
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
	return c.inserted(s, err)
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
