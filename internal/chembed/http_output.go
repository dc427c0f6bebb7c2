package chembed

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Header lines of responses, as ClickHouse writes them.
const (
	headerSummary       = "X-ClickHouse-Summary"
	headerProgress      = "X-ClickHouse-Progress"
	headerExceptionCode = "X-ClickHouse-Exception-Code"
	headerExceptionTag  = "X-ClickHouse-Exception-Tag"
	headerFormat        = "X-ClickHouse-Format"
	headerQueryID       = "X-ClickHouse-Query-Id"
	headerTimezone      = "X-ClickHouse-Timezone"
	headerDisplayName   = "X-ClickHouse-Server-Display-Name"

	exposedHeaders = headerQueryID + "," + headerSummary + "," + headerDisplayName + "," + headerFormat + "," + headerTimezone + "," + headerExceptionCode + "," + headerExceptionTag
)

// setHeader sets a header line with its name as ClickHouse writes it, which is not as Go would.
func setHeader(h http.Header, name, value string) { h[name] = []string{value} }

const (
	// minHeld is how much of a result is held back before its status goes out, as in ClickHouse: an error within it has a status of its own.
	minHeld = 1 << 20
	// exceptionMark encloses an exception in the body of a response whose status has gone out.
	exceptionMark = "__exception__"
	// maxMarked is how long such an exception's text may be: clients look for it in what they read last.
	maxMarked = 16<<10 - 256
	// breakPause is between an exception in a coded body and the end of its connection.
	breakPause = 500 * time.Millisecond
	// summaryEvery is how often a query's progress is asked for if nobody wants to see it: for the summary alone.
	summaryEvery = 250 * time.Millisecond
)

// httpOutput sends a result: held back, then coded, then on the wire. The status and the header go with the first bytes on the wire, so
// that an error before them can still have a status of its own.
type httpOutput struct {
	w       http.ResponseWriter
	version string
	tag     string
	began   time.Time

	held hold
	hold int64 // how much to hold back
	wait bool  // hold all of it

	method string // of blocks in ClickHouse's own compression; empty for none
	coding string // content coding; empty for none
	level  int

	total stats

	mu       sync.Mutex // what follows is also the progress reports' concern
	wire     wire
	progress progress
	started  bool                          // the header has gone out
	quiet    bool                          // HEAD: no body
	takeOver func() (*progressWire, error) // nil if no progress lines are wanted

	blocks *blockWriter
	coder  flushCloser
	top    io.Writer // of the coding chain
}

// newTag is the random mark of one response, by which a client knows an exception in its body from data.
func newTag() string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:])
}

// Write takes a piece of the result.
func (o *httpOutput) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !o.started {
		if o.wait || o.held.size+int64(len(p)) <= o.hold {
			return o.held.Write(p)
		}
		if err := o.start(); err != nil {
			return 0, err
		}
	}
	return o.top.Write(p)
}

// start sends the header, and what has been held.
func (o *httpOutput) start() error {
	if o.started {
		return nil
	}
	if err := o.open(http.StatusOK); err != nil {
		return err
	}
	return o.held.copyTo(o.top)
}

// open sends the header, and makes the coding chain.
func (o *httpOutput) open(status int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	header := o.w.Header()
	if b, err := json.Marshal(o.summary()); err == nil {
		setHeader(header, headerSummary, string(b))
	}
	if o.quiet {
		o.top = io.Discard
	} else {
		o.top = o.wire
		if o.coding != "" {
			var err error
			if o.coder, err = newCoder(o.top, o.coding, o.level); err != nil {
				return err
			}
			o.top = o.coder
		}
		if o.method != "" {
			var err error
			if o.blocks, err = newBlockWriter(o.top, o.method); err != nil {
				return err
			}
			o.top = o.blocks
		}
	}
	o.started = true
	o.wire.head(status)
	return nil
}

// flush makes everything written so far readable for the client.
func (o *httpOutput) flush() error {
	if o.blocks != nil {
		if err := o.blocks.Flush(); err != nil {
			return err
		}
	}
	if o.coder != nil {
		return o.coder.Flush()
	}
	return nil
}

// finish ends a result that is whole.
func (o *httpOutput) finish() error {
	defer o.held.close()
	if err := o.start(); err != nil {
		return err
	}
	if o.blocks != nil {
		if err := o.blocks.Close(); err != nil {
			return err
		}
	}
	if o.coder != nil {
		if err := o.coder.Close(); err != nil {
			return err
		}
	}
	return o.wire.finish()
}

// fail ends a result with an exception: with a status of its own if nothing has gone out, else as a block in the body and a transfer
// that is broken off. It does not return where net/http breaks it off.
func (o *httpOutput) fail(e *engineError) {
	o.held.close()
	text := e.withVersion(o.version)
	header := o.w.Header()
	o.mu.Lock()
	_, taken := o.wire.(*progressWire)
	o.mu.Unlock()
	if !o.started {
		setHeader(header, headerExceptionCode, strconv.Itoa(int(e.code)))
	}
	if !o.started && !taken {
		header.Set("Content-Type", "text/plain; charset=UTF-8")
		delete(header, headerFormat)
		if o.open(httpStatus(e.code)) != nil {
			o.wire.abort()
			return
		}
		_, err := io.WriteString(o.top, text+"\n")
		if err == nil {
			err = o.finish()
		}
		if err != nil {
			o.wire.abort()
		}
		return
	}
	if err := o.start(); err == nil && !o.quiet {
		// As one piece: clients look for the whole block in what they read last.
		if o.flush() == nil {
			if _, err := io.WriteString(o.top, markedException(text, o.tag)); err == nil && o.flush() == nil && o.coder != nil {
				// Clients decode beside reading, and drop what they have not decoded yet when the connection breaks.
				_ = o.wire.flush()
				time.Sleep(breakPause)
			}
		}
	}
	o.wire.abort()
}

// markedException is an exception as it stands in the body of a response that began well.
func markedException(text, tag string) string {
	if len(text) > maxMarked {
		text = strings.ToValidUTF8(text[:maxMarked], "")
	}
	text += "\n"
	return "\r\n" + exceptionMark + "\r\n" + tag + "\r\n" + text + strconv.Itoa(len(text)) + " " + tag + "\r\n" + exceptionMark + "\r\n"
}

// withVersion is an exception as ClickHouse writes it over HTTP.
func (e *engineError) withVersion(version string) string {
	return fmt.Sprintf("%s (version %s (official build))", e.Error(), version)
}

// report takes the running query's progress, and sends it as a header line if the client asked for that and the body has not begun.
func (o *httpOutput) report(p progress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.progress = p
	if o.takeOver == nil || o.started {
		return
	}
	wire, taken := o.wire.(*progressWire)
	if !taken {
		var err error
		if wire, err = o.takeOver(); err != nil {
			o.takeOver = nil
			return
		}
		o.wire = wire
	}
	if b, err := json.Marshal(counts{
		ReadRows: p.readRows, ReadBytes: p.readBytes, WrittenRows: p.writtenRows, WrittenBytes: p.writtenBytes,
		TotalRowsToRead: p.totalRows, ElapsedNs: uint64(time.Since(o.began)), MemoryUsage: p.memory,
	}); err == nil {
		_ = wire.line(headerProgress, string(b)) // who has gone is found out when the result is written
	}
}

// counts are the fields of a progress line, in ClickHouse's order; those that are zero are left out.
type counts struct {
	ReadRows        uint64 `json:"read_rows,omitempty,string"`
	ReadBytes       uint64 `json:"read_bytes,omitempty,string"`
	WrittenRows     uint64 `json:"written_rows,omitempty,string"`
	WrittenBytes    uint64 `json:"written_bytes,omitempty,string"`
	TotalRowsToRead uint64 `json:"total_rows_to_read,omitempty,string"`
	ElapsedNs       uint64 `json:"elapsed_ns,omitempty,string"`
	MemoryUsage     uint64 `json:"memory_usage,omitempty,string"`
}

// httpSummary is what a statement has done up to the moment at which the header goes out, in ClickHouse's order.
type httpSummary struct {
	ReadRows        uint64 `json:"read_rows,string"`
	ReadBytes       uint64 `json:"read_bytes,string"`
	WrittenRows     uint64 `json:"written_rows,string"`
	WrittenBytes    uint64 `json:"written_bytes,string"`
	TotalRowsToRead uint64 `json:"total_rows_to_read,string"`
	ResultRows      uint64 `json:"result_rows,string"`
	ResultBytes     uint64 `json:"result_bytes,string"`
	ElapsedNs       uint64 `json:"elapsed_ns,string"`
	MemoryUsage     uint64 `json:"memory_usage,string"` // as last reported; 0 of a query too short for a report
}

func (o *httpOutput) summary() httpSummary {
	s := httpSummary{
		ReadRows: max(o.total.readRows, o.progress.readRows), ReadBytes: max(o.total.readBytes, o.progress.readBytes),
		WrittenRows: max(o.total.writtenRows, o.progress.writtenRows), WrittenBytes: max(o.total.writtenBytes, o.progress.writtenBytes),
		ResultRows: o.total.rows, ResultBytes: o.total.bytes,
		ElapsedNs: uint64(time.Since(o.began)), MemoryUsage: o.progress.peakMemory,
	}
	s.TotalRowsToRead = max(o.progress.totalRows, s.ReadRows)
	return s
}

// stalled says that a client was cut off because it did not read.
func stalled(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// plain answers with one line of text.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.TrimSuffix(text, "\n")+"\n")
}
