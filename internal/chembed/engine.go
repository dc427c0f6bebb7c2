package chembed

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// engine is libchdb, loaded into this process, with one data directory open. There is at most one in a process: the
// library keeps its server in a global. It is safe for concurrent use; its connections are not, except for what
// their methods say.
type engine struct {
	lib  *library
	argv []*byte // kept: the library may look at its arguments again

	mu    sync.Mutex
	first *engineConn // holds the server open: the library stops it with its last connection

	types map[string]string // of settings; see settingTypes

	followers followers
	ids       queryIDs
}

// library holds the C functions of chdb.h that the child uses. Handles are opaque addresses owned by the library.
type library struct {
	version            func() string
	setSignalHandlers  func(enabled int32)
	connect            func(argc int32, argv unsafe.Pointer) *uintptr
	closeConn          func(conn *uintptr)
	query              func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, params uintptr) uintptr
	streamQuery        func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, params uintptr) uintptr
	streamFetch        func(conn, stream uintptr) uintptr
	streamCancel       func(conn, stream uintptr)
	insertOpen         func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, params uintptr) uintptr
	insertAppend       func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	insertDone         func(stream uintptr) uintptr
	insertCancel       func(stream uintptr)
	insertError        func(stream uintptr) string
	insertDestroy      func(stream uintptr)
	resultDestroy      func(result uintptr)
	resultBuffer       func(result uintptr) *byte
	resultLength       func(result uintptr) uintptr
	resultError        func(result uintptr) string
	resultRows         func(result uintptr) uint64
	resultBytes        func(result uintptr) uint64
	resultReadRows     func(result uintptr) uint64
	resultReadBytes    func(result uintptr) uint64
	resultWrittenRows  func(result uintptr) uint64
	resultWrittenBytes func(result uintptr) uint64
}

// loadLibrary opens the shared library at path and binds its functions. A library without one of them is of another
// version: an error that says so.
func loadLibrary(path string) (*library, error) {
	handle, err := openLibrary(path)
	if err != nil {
		return nil, fmt.Errorf("load the ClickHouse engine library %s: %w; run `make setup` to install it again", path, err)
	}
	lib := &library{}
	for _, f := range []struct {
		name string
		fn   any
	}{
		{"chdb_version", &lib.version},
		{"chdb_set_signal_handlers_enabled", &lib.setSignalHandlers},
		{"chdb_connect", &lib.connect},
		{"chdb_close_conn", &lib.closeConn},
		{"chdb_query_with_params_n", &lib.query},
		{"chdb_stream_query_with_params_n", &lib.streamQuery},
		{"chdb_stream_fetch_result", &lib.streamFetch},
		{"chdb_stream_cancel_query", &lib.streamCancel},
		{"chdb_stream_insert_with_params_n", &lib.insertOpen},
		{"chdb_stream_append", &lib.insertAppend},
		{"chdb_stream_done", &lib.insertDone},
		{"chdb_stream_cancel_insert", &lib.insertCancel},
		{"chdb_stream_insert_error", &lib.insertError},
		{"chdb_destroy_insert_stream", &lib.insertDestroy},
		{"chdb_destroy_query_result", &lib.resultDestroy},
		{"chdb_result_buffer", &lib.resultBuffer},
		{"chdb_result_length", &lib.resultLength},
		{"chdb_result_error", &lib.resultError},
		{"chdb_result_rows_read", &lib.resultRows},
		{"chdb_result_bytes_read", &lib.resultBytes},
		{"chdb_result_storage_rows_read", &lib.resultReadRows},
		{"chdb_result_storage_bytes_read", &lib.resultReadBytes},
		{"chdb_result_rows_written", &lib.resultWrittenRows},
		{"chdb_result_bytes_written", &lib.resultWrittenBytes},
	} {
		sym, err := librarySymbol(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s has no function %s: it is of another version; run `make setup` to install the right one", path, f.name)
		}
		bindFunc(f.fn, sym)
	}
	return lib, nil
}

// openEngine loads the library and opens dir with the given arguments (`--name=value`, server options and default
// settings alike). The caller closes it.
func openEngine(libraryPath, dir string, args []string) (*engine, error) {
	lib, err := loadLibrary(libraryPath)
	if err != nil {
		return nil, err
	}
	e := &engine{lib: lib}
	for _, a := range append([]string{"clickhouse", "--path=" + dir}, args...) {
		b := append([]byte(a), 0)
		e.argv = append(e.argv, &b[0])
	}
	// The library's crash handlers would sleep for minutes before they let a faulting process die. Without them a
	// fault ends the child at once and the supervisor starts another.
	keepGoSignalHandlers(func() { lib.setSignalHandlers(0) })
	if e.first, err = e.connect(); err != nil {
		return nil, err
	}
	return e, nil
}

// connect opens a connection: a session of its own with its own settings, current database and temporary tables.
func (e *engine) connect() (*engineConn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var p *uintptr
	keepGoSignalHandlers(func() { p = e.lib.connect(int32(len(e.argv)), unsafe.Pointer(&e.argv[0])) })
	runtime.KeepAlive(e.argv)
	if p == nil || *p == 0 {
		return nil, errors.New("the ClickHouse engine cannot open its data directory: it may be damaged, or of a newer version; move it away and restart to begin anew, events are replayed from the log")
	}
	return &engineConn{lib: e.lib, handle: p}, nil
}

// settingTypes are the types of the engine's settings, by name.
func (e *engine) settingTypes() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.types == nil && e.first != nil {
		e.types = map[string]string{}
		out, _, err := e.first.query("SELECT name, type FROM system.settings", "TabSeparated")
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(out)) {
			name, typ, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			e.types[name] = typ
		}
	}
	return e.types
}

// close flushes and closes the data directory. Connections opened by connect must be closed before.
func (e *engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.first != nil {
		e.first.close()
		e.first = nil
	}
}

// param is a named query parameter, `{name:Type}` in the text.
type param struct{ name, value string }

// engineConn is one session of the engine. Its methods must not be called concurrently.
type engineConn struct {
	lib    *library
	handle *uintptr
}

func (c *engineConn) close() {
	if c.handle != nil {
		c.lib.closeConn(c.handle)
		c.handle = nil
	}
}

// stats are what the engine says of a query or of one chunk of its result.
type stats struct {
	rows, bytes               uint64 // in the result
	readRows, readBytes       uint64 // from storage
	writtenRows, writtenBytes uint64
}

func (s *stats) add(o stats) {
	s.rows += o.rows
	s.bytes += o.bytes
	s.readRows += o.readRows
	s.readBytes += o.readBytes
	s.writtenRows += o.writtenRows
	s.writtenBytes += o.writtenBytes
}

// query runs sql and returns its whole result in format, copied out of the library: for small results.
func (c *engineConn) query(sql, format string) ([]byte, stats, error) {
	return c.queryParams(sql, format, nil)
}

func (c *engineConn) queryParams(sql, format string, params []param) ([]byte, stats, error) {
	r := call(c.lib.query, *c.handle, sql, format, params)
	defer c.lib.resultDestroy(r)
	return c.lib.result(r)
}

// whole runs sql and hands its whole result in format to f, which must not keep it: the memory is the library's.
func (c *engineConn) whole(sql, format string, params []param, f func(result []byte, st stats) error) error {
	r := call(c.lib.query, *c.handle, sql, format, params)
	defer c.lib.resultDestroy(r)
	if text := c.lib.resultError(r); text != "" {
		return parseEngineError(text)
	}
	var result []byte
	if n := c.lib.resultLength(r); n > 0 {
		result = unsafe.Slice(c.lib.resultBuffer(r), n)
	}
	return f(result, c.lib.stats(r))
}

// call makes one of the three calls of the shape (connection, sql, format, parameters).
func call(fn func(uintptr, unsafe.Pointer, uintptr, unsafe.Pointer, uintptr, unsafe.Pointer, unsafe.Pointer, unsafe.Pointer, unsafe.Pointer, uintptr) uintptr, conn uintptr, sql, format string, params []param) uintptr {
	q, f := cBytes(sql), cBytes(format)
	var names, values []*byte
	var nameLens, valueLens []uintptr
	for _, p := range params {
		names, nameLens = append(names, &cBytes(p.name)[0]), append(nameLens, uintptr(len(p.name)))
		values, valueLens = append(values, &cBytes(p.value)[0]), append(valueLens, uintptr(len(p.value)))
	}
	r := fn(conn, unsafe.Pointer(&q[0]), uintptr(len(sql)), unsafe.Pointer(&f[0]), uintptr(len(format)),
		unsafe.Pointer(unsafe.SliceData(names)), unsafe.Pointer(unsafe.SliceData(nameLens)),
		unsafe.Pointer(unsafe.SliceData(values)), unsafe.Pointer(unsafe.SliceData(valueLens)), uintptr(len(params)))
	runtime.KeepAlive([]any{q, f, names, nameLens, values, valueLens})
	return r
}

// cBytes is s with a NUL after it, so that it has an address even when empty.
func cBytes(s string) []byte { return append([]byte(s), 0) }

// result copies what r holds.
func (l *library) result(r uintptr) ([]byte, stats, error) {
	if text := l.resultError(r); text != "" {
		return nil, stats{}, parseEngineError(text)
	}
	s := l.stats(r)
	n := l.resultLength(r)
	if n == 0 {
		return nil, s, nil
	}
	return append([]byte(nil), unsafe.Slice(l.resultBuffer(r), n)...), s, nil
}

// stats are what r says of its query.
func (l *library) stats(r uintptr) stats {
	return stats{
		rows: l.resultRows(r), bytes: l.resultBytes(r),
		readRows: l.resultReadRows(r), readBytes: l.resultReadBytes(r),
		writtenRows: l.resultWrittenRows(r), writtenBytes: l.resultWrittenBytes(r),
	}
}

// resultStream is a running query whose result is fetched chunk by chunk.
type resultStream struct {
	c      *engineConn
	handle uintptr
}

// stream starts sql; its result comes in format from next. The caller closes the stream before the next call on c.
func (c *engineConn) stream(sql, format string, params []param) (*resultStream, error) {
	h := call(c.lib.streamQuery, *c.handle, sql, format, params)
	if text := c.lib.resultError(h); text != "" {
		c.lib.resultDestroy(h)
		return nil, parseEngineError(text)
	}
	return &resultStream{c: c, handle: h}, nil
}

// next hands the next chunk to f, which must not keep it: the memory is the library's. It returns false after the last.
func (s *resultStream) next(f func(chunk []byte, st stats) error) (more bool, err error) {
	l := s.c.lib
	r := l.streamFetch(*s.c.handle, s.handle)
	defer l.resultDestroy(r)
	if text := l.resultError(r); text != "" {
		return false, parseEngineError(text)
	}
	n := l.resultLength(r)
	if n == 0 {
		return false, nil
	}
	st := stats{rows: l.resultRows(r), bytes: l.resultBytes(r), readRows: l.resultReadRows(r), readBytes: l.resultReadBytes(r)}
	return true, f(unsafe.Slice(l.resultBuffer(r), n), st)
}

// each hands every chunk to f, as next does.
func (s *resultStream) each(f func(chunk []byte, st stats) error) error {
	for {
		if more, err := s.next(f); err != nil || !more {
			return err
		}
	}
}

// close abandons what is left of the result.
func (s *resultStream) close() {
	s.c.lib.streamCancel(*s.c.handle, s.handle)
	s.c.lib.resultDestroy(s.handle)
}

// insertStream takes the data of one INSERT.
type insertStream struct {
	c      *engineConn
	handle uintptr
}

// insert starts an INSERT; sql has neither FORMAT clause nor data. The caller ends it with done or cancel.
func (c *engineConn) insert(sql, format string, params []param) (*insertStream, error) {
	h := call(c.lib.insertOpen, *c.handle, sql, format, params)
	if text := c.lib.insertError(h); text != "" {
		c.lib.insertDestroy(h)
		return nil, parseEngineError(text)
	}
	return &insertStream{c: c, handle: h}, nil
}

// Write hands p to the engine, and blocks while the engine is behind.
func (s *insertStream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.c.lib.insertAppend(s.handle, unsafe.Pointer(&p[0]), uintptr(len(p))) != 0 {
		if text := s.c.lib.insertError(s.handle); text != "" {
			return 0, parseEngineError(text)
		}
		return 0, errInsertStopped
	}
	return len(p), nil
}

// errInsertStopped stands until done says why the engine takes no more.
var errInsertStopped = errors.New("the engine takes no more data for this INSERT")

// done ends the data; when it returns nil, the rows are in the table.
func (s *insertStream) done() (stats, error) {
	r := s.c.lib.insertDone(s.handle)
	_, st, err := s.c.lib.result(r)
	s.c.lib.resultDestroy(r)
	s.c.lib.insertDestroy(s.handle)
	return st, err
}

// cancel abandons the INSERT. Blocks which the engine has already written stay, as in any ClickHouse.
func (s *insertStream) cancel() {
	s.c.lib.insertCancel(s.handle)
	s.c.lib.insertDestroy(s.handle)
}

// quote is s as an SQL string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(s) + "'"
}

// quoteName is s as an SQL identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// notStreamable says that the engine runs a statement only as a whole. It has not begun to run it then.
func notStreamable(err error) bool {
	var e *engineError
	return errors.As(err, &e) && e.code == 36 && strings.HasPrefix(e.text, "Streaming query is not supported for query")
}
