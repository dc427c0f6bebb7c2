package chembed

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// insertPrefix is how much of a request's body is looked at to find where an INSERT's data begins.
	insertPrefix = 256 << 10
	// maxDrain and drainTime bound what is read of a body that nobody wants, so that its sender gets to read the answer.
	maxDrain  = 64 << 20
	drainTime = 10 * time.Second
)

// patientBody is a request's body, whose sender may pause for so long and no longer. It is not for concurrent use.
type patientBody struct {
	r        io.ReadCloser
	rc       *http.ResponseController
	patience time.Duration
	err      error // with which it ended; io.EOF if it was read whole
}

func (b *patientBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	// An error means that the connection has no deadlines, as in a test.
	_ = b.rc.SetReadDeadline(time.Now().Add(b.patience))
	n, err := b.r.Read(p)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = codeSocketTimeout.errorf("Timeout exceeded while reading the body: nothing came for %s", b.patience)
		}
		b.err = err
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads what is left of the body, within bounds: a client that is still sending would otherwise see its connection break before it
// reads the answer. It returns whether the connection can be used again.
func (b *patientBody) drain() bool {
	if b.err == nil {
		deadline := time.Now().Add(drainTime)
		buf := make([]byte, 64<<10)
		for n := 0; b.err == nil && n < maxDrain && time.Now().Before(deadline); {
			k, _ := b.Read(buf)
			n += k
		}
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return b.err == io.EOF
}

// statement finds the query in the URL, the body or both, and what of the body is an INSERT's data.
func (req *httpRequest) statement() (statement, io.Reader, error) {
	var text string
	st, err := parseStatement(req.query)
	switch {
	case req.query != "" && err != nil:
		return st, nil, err
	case req.query != "" && st.kind == kindInsert:
		return st, io.MultiReader(strings.NewReader(st.data), req.body), nil
	case req.query != "":
		text = req.query + "\n"
	}
	prefix, err := io.ReadAll(io.LimitReader(req.body, insertPrefix))
	if err != nil {
		return st, nil, bodyError(err)
	}
	if len(prefix) == insertPrefix {
		// Long: if it is an INSERT, its data need not be read here. What cannot be parsed may be cut in the middle.
		if st, err := parseStatement(text + string(prefix)); err == nil && st.kind == kindInsert && st.format != "" {
			return st, io.MultiReader(strings.NewReader(st.data), req.body), nil
		}
	}
	rest, err := io.ReadAll(io.LimitReader(req.body, maxQueryLength-insertPrefix+1))
	if err != nil {
		return st, nil, bodyError(err)
	}
	if len(prefix)+len(rest) > maxQueryLength {
		return st, nil, codeQueryTooLarge.errorf("a query of more than %d bytes: insert data with INSERT … FORMAT, which has no limit", maxQueryLength)
	}
	st, err = parseStatement(text + string(prefix) + string(rest))
	return st, strings.NewReader(st.data), err
}

// bodyError is the error of reading a body: one with a name, or that its sender has gone.
func bodyError(err error) error {
	var ee *engineError
	if errors.As(err, &ee) {
		return ee
	}
	return &clientGone{err}
}

// clientGone says that there is nobody left to answer.
type clientGone struct{ error }

func (e *clientGone) Unwrap() error { return e.error }
