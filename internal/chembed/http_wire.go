package chembed

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// wireChunk is how much is written under one deadline.
const wireChunk = 256 << 10

// wire carries one response. A client has patience's time to take what is written; then it is gone.
type wire interface {
	// head sends the status and the header, and may be called once.
	head(status int)
	io.Writer
	// flush sends what is written so far.
	flush() error
	// finish ends the response.
	finish() error
	// abort breaks the response off, so that its client knows that it is not whole.
	abort()
}

// netWire is a response in net/http's hands.
type netWire struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
}

func (n *netWire) head(status int) { n.w.WriteHeader(status) }

func (n *netWire) Write(p []byte) (int, error) {
	return writeChunks(p, n.patience, n.rc.SetWriteDeadline, n.w)
}

func (n *netWire) flush() error {
	_ = n.rc.SetWriteDeadline(time.Now().Add(n.patience))
	if err := n.rc.Flush(); err != nil {
		return &clientGone{err}
	}
	return nil
}

func (n *netWire) finish() error { return n.flush() }

// abort ends the request's goroutine, and with it the connection.
func (n *netWire) abort() {
	_ = n.flush()
	panic(http.ErrAbortHandler)
}

// writeChunks writes p piece by piece, each with a deadline of its own.
func writeChunks(p []byte, patience time.Duration, deadline func(time.Time) error, w io.Writer) (n int, err error) {
	for len(p) > 0 {
		// An error means that the connection has no deadlines, as in a test.
		_ = deadline(time.Now().Add(patience))
		k, err := w.Write(p[:min(len(p), wireChunk)])
		n += k
		if err != nil {
			return n, &clientGone{err}
		}
		p = p[k:]
	}
	return n, nil
}

// progressWire is a response written by hand, as net/http sends no header line before it has them all: lines about the query's progress
// go out while it runs. The connection ends with the response.
type progressWire struct {
	conn    net.Conn
	w       *bufio.Writer
	chunked io.WriteCloser
	header  http.Header
}

// takeOver begins a response of status 200 on the connection of w: all header lines that are known. The request's body must have been
// read. gone is called when the client leaves.
func takeOver(w http.ResponseWriter, patience time.Duration, gone func()) (*progressWire, error) {
	header := w.Header()
	header.Set("Connection", "close")
	header.Set("Transfer-Encoding", "chunked")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Del("Keep-Alive")
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		// Only the end is waited for: a request that follows is not answered on this connection.
		_, _ = io.Copy(io.Discard, rw)
		gone()
	}()
	p := &progressWire{conn: conn, header: header, w: bufio.NewWriterSize(patientConn{conn, patience}, 64<<10)}
	p.chunked = httputil.NewChunkedWriter(p.w)
	// What cannot be written is found out at the next flush.
	_, _ = p.w.WriteString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(p.w)
	return p, nil
}

// patientConn writes with deadlines.
type patientConn struct {
	net.Conn
	patience time.Duration
}

func (c patientConn) Write(p []byte) (int, error) {
	return writeChunks(p, c.patience, c.SetWriteDeadline, c.Conn)
}

// line sends one more header line at once.
func (p *progressWire) line(name, value string) error {
	_, _ = p.w.WriteString(name + ": " + value + "\r\n")
	return p.w.Flush()
}

// head sends what only the end of the query told. The status has gone out.
func (p *progressWire) head(int) {
	for _, name := range []string{headerSummary, headerExceptionCode} {
		for _, v := range p.header[name] {
			_, _ = p.w.WriteString(name + ": " + v + "\r\n")
		}
	}
	_, _ = p.w.WriteString("\r\n")
}

func (p *progressWire) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return p.chunked.Write(b)
}

func (p *progressWire) flush() error { return p.w.Flush() }

func (p *progressWire) finish() error {
	err := p.chunked.Close()
	_, _ = p.w.WriteString("\r\n")
	if err := errors.Join(err, p.w.Flush(), p.conn.Close()); err != nil {
		return &clientGone{err}
	}
	return nil
}

// abort leaves out the chunk that ends a whole body.
func (p *progressWire) abort() {
	_ = p.w.Flush()
	_ = p.conn.Close()
}
