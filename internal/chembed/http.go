package chembed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/listen"
)

const (
	// keepAlive is how long an idle connection is kept, as in ClickHouse.
	keepAlive = 30 * time.Second
	// maxRequestHeader bounds a request's URL and header lines together, in bytes.
	maxRequestHeader = 1 << 20
	// MaxHTTPRequests is how many requests are answered at a time.
	MaxHTTPRequests = 256
)

// httpHandler is ClickHouse's HTTP interface.
type httpHandler struct {
	eng      *engine
	id       identity
	log      *slog.Logger
	dir      string          // for results that are held back
	base     context.Context // ends when queries must
	facts    httpFacts
	sessions *httpSessions
	slots    chan struct{}
	running  sync.WaitGroup
}

// newHTTPHandler returns the handler of an engine. Queries are stopped when ctx ends. The caller calls close before it closes the engine.
func newHTTPHandler(ctx context.Context, eng *engine, id identity, log *slog.Logger, dir string) (*httpHandler, error) {
	h := &httpHandler{eng: eng, id: id, log: log, dir: dir, base: ctx, slots: make(chan struct{}, MaxHTTPRequests)}
	h.sessions = &httpSessions{eng: eng, named: map[string]*httpSession{}}
	conn, err := eng.connect()
	if err != nil {
		return nil, err
	}
	defer conn.close()
	h.facts, err = askFacts(conn)
	return h, err
}

// HTTPLimits are those of the HTTP listener. How long a body and a result may take are settings of each query, as in ClickHouse.
var HTTPLimits = listen.Limits{
	Connections: 4096, ReadHeader: handshakeTimeout, Read: -1, Write: -1, Idle: keepAlive, HeaderBytes: maxRequestHeader, HeaderFields: 1000,
}

// server is an HTTP server for h on ln, which its caller starts and shuts down.
func (h *httpHandler) server(ln *listen.Listener) *http.Server {
	s := ln.Server(h, h.log)
	s.BaseContext = func(net.Listener) context.Context { return h.base }
	return s
}

// close waits for the requests that run, also those whose connections the server no longer knows, and ends the sessions.
func (h *httpHandler) close() {
	h.running.Wait()
	h.sessions.close()
}

func (h *httpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	header := w.Header()
	setHeader(header, headerDisplayName, "huoma")
	if why := foreign(r); why != "" {
		plain(w, http.StatusForbidden, why)
		return
	}
	if !r.Close && r.ProtoAtLeast(1, 1) {
		header.Set("Connection", "Keep-Alive")
		header.Set("Keep-Alive", fmt.Sprintf("timeout=%d", keepAlive/time.Second))
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		h.refuse(w, codeBadRequest.errorf("the URL's parameters cannot be read: %s", err))
		return
	}
	switch {
	case r.URL.Path == "/ping", r.URL.Path == "/replicas_status",
		r.URL.Path == "/" && r.Method != http.MethodPost && r.Method != http.MethodOptions && !values.Has("query"):
		plain(w, http.StatusOK, "Ok.")
	case r.URL.Path == "/play" || r.URL.Path == "/dashboard" || r.URL.Path == "/binary" || r.URL.Path == "/merges":
		plain(w, http.StatusNotFound, "The embedded ClickHouse has no web pages: send queries to /, or connect a client of your own.")
	case r.URL.Path != "/" && r.URL.Path != "/query":
		plain(w, http.StatusNotFound, fmt.Sprintf("There is no handle %s. Use / or /ping.", clip(r.URL.Path)))
	case r.Method == http.MethodOptions:
		header.Set("Allow", "GET, HEAD, POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD, POST, OPTIONS")
		plain(w, http.StatusMethodNotAllowed, "Use GET to read and POST for everything.")
	default:
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
			h.serveQuery(w, r, values)
		default:
			h.refuse(w, codeTooManyConns.errorf("the embedded server answers %d requests already: send fewer at a time", MaxHTTPRequests))
		}
	}
}

// foreign says why a request is not answered that a web page elsewhere may have had a browser on this machine send: there is no
// password to stop it.
func foreign(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "The embedded ClickHouse answers on this machine only: ask for it as 127.0.0.1 or localhost."
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return "The embedded ClickHouse does not answer web pages of other sites."
	}
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
		return "The embedded ClickHouse does not answer web pages of other sites."
	}
	return ""
}

// refuse answers a request that cannot become a query.
func (h *httpHandler) refuse(w http.ResponseWriter, e *engineError) {
	setHeader(w.Header(), headerExceptionCode, fmt.Sprint(e.code))
	plain(w, httpStatus(e.code), e.withVersion(h.id.version))
}

func (h *httpHandler) serveQuery(w http.ResponseWriter, r *http.Request, values url.Values) {
	// The engine's thread state follows a query from call to call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	tag := newTag()
	setHeader(w.Header(), headerExceptionTag, tag)
	w.Header().Set("Access-Control-Expose-Headers", exposedHeaders)
	receive := seconds(h.facts.defaults["http_receive_timeout"])
	if v := values.Get("http_receive_timeout"); v != "" {
		receive = seconds(v)
	}
	raw := &patientBody{r: r.Body, rc: http.NewResponseController(w), patience: receive}
	req, err := h.readHTTP(r, values)
	if err == nil {
		req.raw = raw
		req.body, err = openBody(raw, r.Header.Get("Content-Encoding"), values.Get("decompress"))
	}
	if err != nil {
		if !raw.drain() {
			w.Header().Set("Connection", "close")
		}
		h.refuse(w, asEngineError(err))
		return
	}
	setHeader(w.Header(), headerQueryID, req.id)
	setHeader(w.Header(), headerTimezone, h.id.timezone)
	o := &httpOutput{
		w: w, version: h.id.version, tag: tag, began: time.Now(), held: hold{dir: h.dir, memory: minHeld}, hold: minHeld,
		wire: &netWire{w, http.NewResponseController(w), receive}, quiet: r.Method == http.MethodHead,
	}
	err = h.run(r, req, o)
	if !raw.drain() && !o.started {
		w.Header().Set("Connection", "close")
	}
	if err == nil {
		err = o.finish()
	}
	var gone *clientGone
	switch {
	case err == nil:
	case errors.As(err, &gone):
		if stalled(err) {
			h.log.Warn("a client did not read its result, and was cut off", "query", req.id)
		}
		o.held.close()
		o.wire.abort()
	default:
		o.fail(asEngineError(err))
	}
}

// seconds is a setting's value that is a number of them; ClickHouse's 30 if it is none.
func seconds(v string) time.Duration {
	var n float64
	if _, err := fmt.Sscanf(v, "%g", &n); err != nil || n <= 0 || n > 86400 {
		return 30 * time.Second
	}
	return time.Duration(n * float64(time.Second))
}

// run carries a request out, up to the end of its result. The session is free again when it returns, before the client can have read
// that end.
func (h *httpHandler) run(r *http.Request, req *httpRequest, o *httpOutput) error {
	hs, err := h.sessions.acquire(req)
	if err != nil {
		return err
	}
	defer func() { h.sessions.release(hs, req.session) }()
	defer hs.finish()
	undo, err := hs.begin(req)
	defer undo()
	if err != nil {
		return err
	}
	opts, err := h.options(hs, req)
	if err != nil {
		return err
	}
	if err := o.configure(r, req, opts); err != nil {
		return err
	}
	st, data, drop, err := h.statement(req, hs)
	defer drop()
	if err != nil {
		return err
	}
	if err := st.beyond(); err != nil {
		return err
	}
	done, err := hs.named(req.id)
	if err != nil {
		return err
	}
	defer done()
	st = h.eng.withEngineIDs(st)
	ctx := r.Context()
	if v, given := opts.given["cancel_http_readonly_queries_on_client_close"]; given && !on(v) {
		ctx = h.base
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer hs.watch(ctx)()
	if opts.on("send_progress_in_http_headers") && st.kind != kindInsert && !o.quiet && r.ProtoAtLeast(1, 1) && req.raw.drain() {
		o.mu.Lock()
		o.takeOver = func() (*progressWire, error) {
			return takeOver(o.w, o.wire.(*netWire).patience, cancel)
		}
		o.mu.Unlock()
	}
	switch st.kind {
	case kindEmpty:
		return codeSyntaxError.errorf("Empty query")
	case kindSet:
		hs.changed = true
		return hs.change(st.text)
	}
	every := summaryEvery
	if opts.on("send_progress_in_http_headers") {
		every = max(time.Duration(opts.number("http_headers_progress_interval_ms"))*time.Millisecond, 10*time.Millisecond)
	}
	stop := hs.follow(every, o.report)
	defer stop()
	if st.kind == kindInsert {
		return insertHTTP(ctx, hs.session, st, req, data, o)
	}
	return h.result(hs.session, st, req, opts, o)
}

// statement is what the request asks for, with an INSERT's data; or with the tables of a form, which drop takes away.
func (h *httpHandler) statement(req *httpRequest, hs *httpSession) (st statement, data io.Reader, drop func(), err error) {
	if req.boundary == "" {
		st, data, err = req.statement()
		return st, data, func() {}, err
	}
	drop, err = req.form(hs.session)
	if err != nil {
		return st, nil, drop, err
	}
	st, err = parseStatement(req.query)
	return st, strings.NewReader(st.data), drop, err
}

// insertHTTP feeds data to the engine as it comes.
func insertHTTP(ctx context.Context, sess *session, st statement, req *httpRequest, data io.Reader, o *httpOutput) error {
	format := st.format
	if format == "" {
		format = req.format
	}
	if format == "" {
		format = "Values"
	}
	ins, err := sess.conn.insert(st.text, format, req.params)
	if err != nil {
		return err
	}
	src := &errorKeeper{r: data}
	_, err = io.CopyBuffer(writerOnly{ins}, struct{ io.Reader }{src}, make([]byte, wireChunk))
	if err == nil && ctx.Err() != nil {
		err, src.err = ctx.Err(), ctx.Err()
	}
	if err != nil && src.err != nil && src.err != io.EOF {
		ins.cancel() // the data ends in the middle
		return bodyError(src.err)
	}
	s, done := ins.done()
	if done != nil {
		return done
	}
	if err != nil {
		return err
	}
	o.total.add(s)
	return nil
}

// result runs a statement and passes its result on: chunk by chunk where that makes one document, else as a whole, which the engine's
// memory limit bounds.
func (h *httpHandler) result(sess *session, st statement, req *httpRequest, opts httpOptions, o *httpOutput) error {
	name := st.format
	if name == "" {
		name = req.format
	}
	if name == "" {
		name = "TabSeparated"
	}
	format := h.facts.format(name)
	if st.returnsRows() {
		o.describe(format)
	}
	parts := newStitcher(name, req.clientRevision)
	if st.kind == kindSelect && parts != nil && !opts.wholeOnly(st, name) {
		err := sess.streamAs(st, name, req, func(chunk []byte, s stats) error {
			o.total.add(s)
			return parts.add(o, chunk)
		})
		if err == nil {
			return parts.end(o, o.total, time.Since(o.began))
		}
		if !notStreamable(err) {
			return err
		}
	}
	return sess.conn.whole(st.text, name, req.params, func(result []byte, s stats) error {
		o.total.add(s)
		if len(result) > 0 {
			o.describe(format)
		}
		if _, ok := parts.(*jsonStitcher); ok {
			result = totalsInPlace(result)
		}
		native, ok := parts.(nativeStitcher)
		if !ok {
			_, err := o.Write(result)
			return err
		}
		for blocks := newSplitter(result); ; {
			block, err := blocks.next()
			if block == nil || err != nil {
				return err
			}
			if err := native.add(o, block); err != nil {
				return err
			}
		}
	})
}

// streamAs runs a SELECT and hands its result in a format to f, chunk by chunk.
func (s *session) streamAs(st statement, format string, req *httpRequest, f func(chunk []byte, s stats) error) error {
	if strings.EqualFold(format, "Native") && req.clientRevision >= namesZones {
		return s.streamNative(st, req.params, f)
	}
	stream, err := s.conn.stream(st.text, format, req.params)
	if err != nil {
		return err
	}
	defer stream.close()
	return stream.each(f)
}

// returnsRows says that a statement has a result, be it empty.
func (st statement) returnsRows() bool {
	switch st.first {
	case "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK":
		return true
	}
	return st.kind == kindSelect
}
