package chembed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxExternal bounds the block in which an external table comes: it is held in memory until its columns are known.
const maxExternal = 64 << 20

// externalTable makes a table of that name and columns which only the session sees, and fills it with data in a format of the
// engine's. The caller calls drop when the query that came with it is over; drop may be called when err is not nil, too.
func (s *session) externalTable(name string, cols []column, format string, data io.Reader) (drop func(), err error) {
	drop = func() {}
	if name == "" || len(cols) == 0 {
		return drop, codeIncorrectData.errorf("an external table needs a name and columns")
	}
	var list []string
	for _, c := range cols {
		if _, err := parseLayout(c.typ); err != nil {
			return drop, err
		}
		list = append(list, quoteName(c.name)+" "+c.typ)
	}
	table := quoteName(name)
	if err := s.exec("CREATE TEMPORARY TABLE " + table + " (" + strings.Join(list, ", ") + ") ENGINE = Memory"); err != nil {
		return drop, fmt.Errorf("make the external table: %w", err)
	}
	drop = func() {
		// A session that its client has made read-only keeps the table until it ends.
		_ = s.exec("DROP TEMPORARY TABLE IF EXISTS " + table)
	}
	ins, err := s.conn.insert("INSERT INTO "+table, format, nil)
	if err != nil {
		return drop, err
	}
	if _, err := io.Copy(writerOnly{ins}, data); err != nil && !errors.Is(err, errInsertStopped) {
		ins.cancel()
		return drop, err
	}
	_, err = ins.done()
	return drop, err
}

// tableError is an error in an external table, after which the connection is in step with its client.
type tableError struct{ *engineError }

func (e *tableError) Unwrap() error { return e.engineError }

// externalTables reads the data packets after a query up to the empty block that ends them, and makes a table of each. The caller
// calls drop when the query is over, whatever err is.
func (c *nativeConn) externalTables(q query) (drop func(), err error) {
	var drops []func()
	drop = func() {
		for _, f := range drops {
			f()
		}
	}
	var refused error
	for {
		var block bytes.Buffer
		sink := &boundedSink{to: &block, left: maxExternal}
		head, err := c.dataPacket(q.compress, sink)
		if err != nil {
			return drop, err
		}
		if head.columns == 0 {
			break
		}
		if sink.left < 0 && refused == nil {
			refused = codeTooLargeSize.errorf("an external table of more than %d MiB in one block: insert its rows into a temporary table", maxExternal>>20)
		}
		if refused != nil {
			continue // the client's packets have to be read to their end
		}
		cols, err := blockColumns(block.Bytes())
		if err != nil {
			return drop, err
		}
		dropped, err := c.sess.externalTable(head.table, cols, "Native", &block)
		drops = append(drops, dropped)
		refused = err
	}
	if refused != nil {
		return drop, &tableError{asEngineError(refused)}
	}
	return drop, nil
}

// boundedSink keeps what it is given as long as there is room, and takes the rest in silence.
type boundedSink struct {
	to   *bytes.Buffer
	left int
}

func (s *boundedSink) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left >= 0 {
		return s.to.Write(p)
	}
	s.to.Reset()
	s.left = -1
	return len(p), nil
}
