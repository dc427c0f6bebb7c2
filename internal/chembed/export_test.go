package chembed

import (
	"errors"
	"strings"
)

// Oracle is the engine in this very process, asked by its C functions and nothing of this package between: what it answers is
// what the server's clients must get. There is at most one in a process.
type Oracle struct{ eng *engine }

// OpenOracle opens dir, with the settings that the server's own engine has.
func OpenOracle(dir string) (*Oracle, error) {
	library, err := FindLibrary("")
	if err != nil {
		return nil, err
	}
	args, err := engineArgs(dir)
	if err != nil {
		return nil, err
	}
	eng, err := openEngine(library, dir, args)
	return &Oracle{eng}, err
}

func (o *Oracle) Close() { o.eng.close() }

// Connect opens a session of its own. It is not safe for concurrent use.
func (o *Oracle) Connect() (*OracleConn, error) {
	c, err := o.eng.connect()
	return &OracleConn{c}, err
}

// OracleConn is one session of the Oracle.
type OracleConn struct{ c *engineConn }

func (c *OracleConn) Close() { c.c.close() }

// Query runs sql as a whole. The parameters are those of `{name:Type}`.
func (c *OracleConn) Query(sql, format string, params map[string]string) ([]byte, error) {
	var all []param
	for n, v := range params {
		all = append(all, param{n, v})
	}
	out, _, err := c.c.queryParams(sql, format, all)
	return out, err
}

// Stream runs sql and hands f its result in pieces, which f must not keep.
func (c *OracleConn) Stream(sql, format string, f func([]byte)) error {
	s, err := c.c.stream(sql, format, nil)
	if err != nil {
		return err
	}
	defer s.close()
	for more := true; more; {
		if more, err = s.next(func(chunk []byte, _ stats) error { f(chunk); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Insert runs an INSERT whose data follows; sql is the statement without its FORMAT clause.
func (c *OracleConn) Insert(sql, format string, data []byte) error {
	ins, err := c.c.insert(sql, format, nil)
	if err != nil {
		return err
	}
	if _, err := ins.Write(data); err != nil && !errors.Is(err, errInsertStopped) {
		ins.cancel()
		return err
	}
	_, err = ins.done()
	return err
}

// Refusal is the code and the sentence of an engine's exception; ok is false for any other error.
func Refusal(err error) (code int, text string, ok bool) {
	var e *engineError
	if !errors.As(err, &e) {
		return 0, "", false
	}
	return int(e.code), strings.TrimSpace(e.text), true
}
