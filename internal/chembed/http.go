package chembed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
)

// insertPrefix is how much of a request's body is looked at to find where an INSERT's data begins.
const insertPrefix = 256 << 10

// httpHandler is ClickHouse's HTTP interface. Each request is a session of its own.
type httpHandler struct {
	eng *engine
	id  identity
	log *slog.Logger
}

// httpRequest is what a request asks for.
type httpRequest struct {
	query, database, format, id string
	readonly                    bool // a GET changes nothing
	settings                    []setting
	params                      []param
	body                        io.Reader
}

func (h *httpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", "huoma")
	if why := foreign(r); why != "" {
		plain(w, http.StatusForbidden, why)
		return
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		h.fail(w, codeBadRequest.errorf("the URL's parameters cannot be read: %s", err))
		return
	}
	switch {
	case r.URL.Path == "/ping", r.URL.Path == "/replicas_status",
		r.URL.Path == "/" && r.Method != http.MethodPost && !values.Has("query"):
		plain(w, http.StatusOK, "Ok.")
	case r.URL.Path == "/play" || r.URL.Path == "/dashboard":
		plain(w, http.StatusNotFound, "The embedded ClickHouse has no web pages: send queries to /, or connect a client of your own.")
	case r.URL.Path != "/" && r.URL.Path != "/query":
		plain(w, http.StatusNotFound, fmt.Sprintf("There is no handle %s. Use / or /ping.", clip(r.URL.Path)))
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		plain(w, http.StatusMethodNotAllowed, "Use GET to read and POST for everything.")
	default:
		h.serveQuery(w, r, values)
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

func (h *httpHandler) serveQuery(w http.ResponseWriter, r *http.Request, values url.Values) {
	// The engine's thread state follows a query from call to call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	req, err := readHTTP(r, values)
	if err != nil {
		h.fail(w, asEngineError(err))
		return
	}
	w.Header().Set("X-ClickHouse-Query-Id", req.id)
	w.Header().Set("X-ClickHouse-Timezone", h.id.timezone)
	out := &httpOutput{w: w, h: h}
	if err := h.run(r.Context(), req, out); err != nil {
		var gone *clientGone
		switch {
		case errors.As(err, &gone):
		case !out.started:
			h.fail(w, asEngineError(err))
			return
		default:
			// The status has gone out: the text ends the body, and the broken transfer says that it is not whole.
			io.WriteString(w, "\n"+h.message(asEngineError(err))+"\n")
		}
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	out.start(req.format)
}

// readHTTP sorts a request's parameters: what ClickHouse's HTTP interface itself understands, query parameters, and settings.
func readHTTP(r *http.Request, values url.Values) (*httpRequest, error) {
	req := &httpRequest{body: http.NoBody, readonly: r.Method != http.MethodPost, id: rand.Text()}
	if r.Method == http.MethodPost {
		req.body = r.Body
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, codeNotImplemented.errorf("the embedded server does not take bodies in Content-Encoding %s: send it as it is", clip(e))
	}
	user, _, basic := r.BasicAuth()
	if !basic {
		user = r.Header.Get("X-ClickHouse-User")
	}
	req.database, req.format = r.Header.Get("X-ClickHouse-Database"), r.Header.Get("X-ClickHouse-Format")
	for name, all := range values {
		v := all[len(all)-1]
		switch name {
		case "query":
			req.query = v
		case "database":
			req.database = v
		case "default_format":
			req.format = v
		case "query_id":
			if v != "" && len(v) <= maxShortString && !strings.ContainsAny(v, "\r\n") {
				req.id = v
			}
		case "user":
			user = v
		case "password", "quota_key", "buffer_size", "wait_end_of_query", "stacktrace", "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms":
		case "compress", "decompress":
			if v != "" && v != "0" {
				return nil, codeNotImplemented.errorf("the embedded server does not speak ClickHouse's own compression over HTTP: leave out %s", name)
			}
		case "session_id":
			return nil, codeNotImplemented.errorf("the embedded server keeps no sessions over HTTP: use the native protocol, whose connections are sessions")
		default:
			if p, ok := strings.CutPrefix(name, "param_"); ok {
				req.params = append(req.params, param{p, v})
				continue
			}
			if len(name) > maxShortString || len(v) > maxValueLength {
				return nil, codeTooLargeSize.errorf("a setting's name or value is too long")
			}
			req.settings = append(req.settings, setting{name: name, value: v, important: true})
		}
	}
	if len(req.settings) > maxSettings {
		return nil, codeIncorrectData.errorf("a query with more than %d settings", maxSettings)
	}
	if user != "" && user != "default" {
		return nil, codeAuthentication.errorf("the embedded server has no users: connect as default, without a password")
	}
	return req, nil
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
		return st, nil, err
	}
	if len(prefix) == insertPrefix {
		// Long: if it is an INSERT, its data need not be read here. What cannot be parsed may be cut in the middle.
		if st, err := parseStatement(text + string(prefix)); err == nil && st.kind == kindInsert && st.format != "" {
			return st, io.MultiReader(strings.NewReader(st.data), req.body), nil
		}
	}
	rest, err := io.ReadAll(io.LimitReader(req.body, maxQueryLength-insertPrefix+1))
	if err != nil {
		return st, nil, err
	}
	if len(prefix)+len(rest) > maxQueryLength {
		return st, nil, errorCode{223, "QUERY_IS_TOO_LARGE"}.errorf("a query of more than %d bytes: insert data with INSERT … FORMAT, which has no limit", maxQueryLength)
	}
	st, err = parseStatement(text + string(prefix) + string(rest))
	return st, strings.NewReader(st.data), err
}

func (h *httpHandler) run(ctx context.Context, req *httpRequest, out *httpOutput) error {
	st, data, err := req.statement()
	if err != nil {
		return err
	}
	if st.kind == kindEmpty {
		return errorCode{62, "SYNTAX_ERROR"}.errorf("Empty query")
	}
	if err := st.beyond(); err != nil {
		return err
	}
	if st.format != "" && st.kind != kindInsert {
		req.format = st.format
	}
	sess, err := openSession(h.eng, req.database)
	if err != nil {
		return err
	}
	defer sess.close()
	if err := sess.apply(req.settings); err != nil {
		return err
	}
	if req.readonly && sess.applied["readonly"] != "1" { // which allows less still
		if err := sess.exec("SET readonly = 2"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := sess.watch(ctx)
	defer stop()
	if st.kind == kindInsert {
		s, err := h.insert(ctx, sess, st, req, data)
		if err == nil {
			out.summary(s)
		}
		return err
	}
	if req.format == "" {
		req.format = "TabSeparated"
	}
	out.format = req.format
	if st.kind == kindSelect && req.rowByRow(st) {
		s, err := sess.conn.stream(st.text, req.format, req.params)
		if err == nil {
			defer s.close()
			for more := true; more && err == nil; {
				more, err = s.next(func(chunk []byte, _ stats) error { return out.write(chunk) })
			}
			return err
		}
		if !notStreamable(err) {
			return err
		}
	}
	result, s, err := sess.conn.queryParams(st.text, req.format, req.params)
	if err != nil {
		return err
	}
	out.summary(s)
	return out.write(result)
}

// rowByRow says whether the result may go out as the engine makes it. The engine ends its output with every chunk: of any other format
// that would be several documents one after another, each with its own header and end.
func (req *httpRequest) rowByRow(st statement) bool {
	const asArray = "output_format_json_array_of_rows"
	switch format := strings.ToLower(req.format); format {
	case "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "rowbinary", "null":
		return true
	case "jsoneachrow", "jsonlines", "ndjson", "jsoncompacteachrow", "jsonstringseachrow", "jsoncompactstringseachrow":
		return !strings.Contains(st.text, asArray) && !slices.ContainsFunc(req.settings, func(s setting) bool { return s.name == asArray })
	}
	return false
}

// insert feeds data to the engine as it comes.
func (h *httpHandler) insert(ctx context.Context, sess *session, st statement, req *httpRequest, data io.Reader) (stats, error) {
	format := st.format
	if format == "" {
		format = req.format
	}
	if format == "" {
		format = "Values"
	}
	ins, err := sess.conn.insert(st.text, format, req.params)
	if err != nil {
		return stats{}, err
	}
	_, err = io.CopyBuffer(writerOnly{ins}, struct{ io.Reader }{data}, make([]byte, 256<<10))
	if err == nil {
		err = ctx.Err()
	}
	var ee *engineError
	if err != nil && !errors.Is(err, errInsertStopped) && !errors.As(err, &ee) {
		ins.cancel() // the client has gone in the middle
		return stats{}, &clientGone{err}
	}
	s, done := ins.done()
	if done != nil {
		err = done
	}
	// Otherwise a client that is still sending would see its connection break before the answer.
	io.CopyN(io.Discard, data, maxQueryLength)
	return s, err
}

// clientGone says that there is nobody left to answer.
type clientGone struct{ error }

// httpOutput sends a result. The status and the headers go with its first bytes, so that an error before them can still have a
// status of its own.
type httpOutput struct {
	w       http.ResponseWriter
	h       *httpHandler
	format  string
	started bool
}

func (o *httpOutput) start(format string) {
	if o.started {
		return
	}
	o.started = true
	if o.format == "" {
		o.format = format
	}
	if o.format != "" {
		o.w.Header().Set("X-ClickHouse-Format", o.format)
	}
	o.w.Header().Set("Content-Type", contentType(o.format))
	o.w.WriteHeader(http.StatusOK)
}

func (o *httpOutput) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	o.start("")
	if _, err := o.w.Write(p); err != nil {
		return &clientGone{err}
	}
	return nil
}

// summary tells what a statement that ran as a whole has done.
func (o *httpOutput) summary(s stats) {
	b, err := json.Marshal(map[string]string{
		"read_rows": fmt.Sprint(s.readRows), "read_bytes": fmt.Sprint(s.readBytes),
		"written_rows": fmt.Sprint(s.writtenRows), "written_bytes": fmt.Sprint(s.writtenBytes),
	})
	if err == nil {
		o.w.Header().Set("X-ClickHouse-Summary", string(b))
	}
}

// message is an exception as ClickHouse writes it over HTTP.
func (h *httpHandler) message(e *engineError) string {
	return fmt.Sprintf("%s (version %s (official build))", e.Error(), h.id.version)
}

func (h *httpHandler) fail(w http.ResponseWriter, e *engineError) {
	w.Header().Set("X-ClickHouse-Exception-Code", fmt.Sprint(e.code))
	plain(w, httpStatus(e.code), h.message(e))
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}

// httpStatus is the status with which ClickHouse answers an exception of this code.
func httpStatus(code int32) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 516: // UNKNOWN_USER, WRONG_PASSWORD, AUTHENTICATION_FAILED
		return http.StatusForbidden
	case 427, // CANNOT_COMPILE_REGEXP
		72, 26, 27, 6, 130, 85, 41, 43, 38, 70, 69, 53, // CANNOT_PARSE_…, ILLEGAL_TYPE_OF_ARGUMENT, CANNOT_CONVERT_TYPE, ARGUMENT_OUT_OF_BOUND, TYPE_MISMATCH
		675, 676, // CANNOT_PARSE_IPV4, CANNOT_PARSE_IPV6
		441, 467, // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL
		62, 117, 61, 36, 42, 44, 45, 131, 456, 457: // SYNTAX_ERROR, INCORRECT_DATA, BAD_ARGUMENTS, number and kind of arguments, query parameters
		return http.StatusBadRequest
	case 60, 46, 47, 50, 56, 81, 115, 63, 73, 16, 511: // UNKNOWN_TABLE, _FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _DATABASE, _SETTING, _AGGREGATE_FUNCTION, _FORMAT, column, role
		return http.StatusNotFound
	case 223: // QUERY_IS_TOO_LARGE
		return http.StatusRequestEntityTooLarge
	case 48: // NOT_IMPLEMENTED
		return http.StatusNotImplemented
	case 209, 76: // SOCKET_TIMEOUT, CANNOT_OPEN_FILE
		return http.StatusServiceUnavailable
	case 159: // TIMEOUT_EXCEEDED
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

// contentType is the media type of a format.
func contentType(format string) string {
	switch f := strings.ToLower(format); {
	case f == "", strings.HasPrefix(f, "pretty"), f == "vertical", f == "values", f == "null":
		return "text/plain; charset=UTF-8"
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		if strings.Contains(f, "names") {
			return "text/csv; charset=UTF-8; header=present"
		}
		return "text/csv; charset=UTF-8; header=absent"
	case strings.Contains(f, "eachrow"), f == "ndjson", f == "jsonlines":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	case f == "markdown":
		return "text/markdown; charset=UTF-8"
	}
	return "application/octet-stream"
}
