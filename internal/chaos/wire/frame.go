// Package wire is a wire between a process and its servers that can be cut, held and slowed down, and that knows enough of the NATS
// protocol to deliver a message twice, to lose an acknowledgement, or to lose a message and acknowledge it all the same. Doubled bytes
// of a TCP stream would make no sense to anybody; doubled messages are what networks and retries make.
//
// Start with Listen. It passes everything else to the byte, TLS not: that is for loopback.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Op is what a frame does, as far as a Link cares.
type Op int

// What frames do.
const (
	Other   Op = iota // a line of any other kind
	Publish           // PUB, HPUB: client to server
	Deliver           // MSG, HMSG: server to client
)

// Frame is one line of the protocol with the payload it announces. Raw is
// everything, to the byte; the other fields are parts of it.
type Frame struct {
	Raw     []byte
	Op      Op
	Subject []byte
	Reply   []byte // empty: nobody waits for an answer
	Header  []byte
	Payload []byte
}

const (
	maxLine    = 1 << 20 // INFO of a large cluster is the longest
	maxPayload = 64 << 20
)

// ErrProtocol: what was read is not the protocol of NATS.
var ErrProtocol = errors.New("this is not the NATS protocol")

// ReadFrame reads the next frame. The error is io.EOF between frames,
// io.ErrUnexpectedEOF within one, or wraps ErrProtocol.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	line, err := readLine(r)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Raw: line}
	words := bytes.Fields(line)
	if len(words) == 0 {
		return f, nil
	}
	verb := string(bytes.ToUpper(words[0]))
	least, headed := 0, false
	switch verb {
	case "PUB":
		f.Op, least = Publish, 3
	case "HPUB":
		f.Op, least, headed = Publish, 4, true
	case "MSG":
		f.Op, least = Deliver, 4
	case "HMSG":
		f.Op, least, headed = Deliver, 5, true
	default:
		return f, nil
	}
	if n := len(words); n != least && n != least+1 {
		return Frame{}, fmt.Errorf("%w: %s has %d words", ErrProtocol, verb, n)
	}
	f.Subject = words[1]
	size, err := number(words[len(words)-1])
	if err != nil {
		return Frame{}, err
	}
	head := 0
	if headed {
		if head, err = number(words[len(words)-2]); err != nil {
			return Frame{}, err
		}
		if head > size {
			return Frame{}, fmt.Errorf("%w: a header of %d bytes in a message of %d", ErrProtocol, head, size)
		}
	}
	if len(words) == least+1 {
		// The reply stands before the sizes.
		f.Reply = words[least-1]
		if headed {
			f.Reply = words[least-2]
		}
	}
	begin := len(line)
	f.Raw = append(f.Raw, make([]byte, size+2)...)
	if _, err := io.ReadFull(r, f.Raw[begin:]); err != nil {
		return Frame{}, io.ErrUnexpectedEOF
	}
	if !bytes.HasSuffix(f.Raw, []byte("\r\n")) {
		return Frame{}, fmt.Errorf("%w: a payload does not end where it should", ErrProtocol)
	}
	f.Header, f.Payload = f.Raw[begin:begin+head], f.Raw[begin+head:begin+size]
	return f, nil
}

// readLine reads up to and with a line feed.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLine:
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("%w: a line has no end", ErrProtocol)
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

func number(b []byte) (int, error) {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 0 || n > maxPayload {
		return 0, fmt.Errorf("%w: %.20q is no size", ErrProtocol, b)
	}
	return n, nil
}

// isAck reports whether a frame tells a publisher that its message is stored.
func (f Frame) isAck() bool {
	return f.Op == Deliver && bytes.HasPrefix(f.Subject, []byte("_INBOX.")) && bytes.HasPrefix(f.Payload, []byte(`{"stream":`))
}

// mayRepeat reports whether a frame is one that a network or a retry delivers
// twice: a message of the installation's own subjects, an acknowledgement of
// one, or a stored message on its way to a consumer.
func (f Frame) mayRepeat() bool {
	switch f.Op {
	case Publish:
		return bytes.HasPrefix(f.Subject, []byte("huoma.")) || bytes.HasPrefix(f.Subject, []byte("$JS.ACK."))
	case Deliver:
		return bytes.HasPrefix(f.Reply, []byte("$JS.ACK."))
	}
	return false
}
