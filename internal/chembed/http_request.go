package chembed

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// httpRequest is what a request asks for.
type httpRequest struct {
	query, database, format, id string

	method   string
	settings []setting
	params   []param

	session sessionRequest

	compress       bool   // the result in ClickHouse's own compression
	accept         string // the content codings that the client reads
	wait           string // wait_end_of_query, as given
	bufferSize     string // buffer_size, as given
	clientRevision int    // client_protocol_version: how Native blocks are written

	body     io.Reader    // decoded; empty for a form
	raw      *patientBody // as it comes
	boundary string       // of a multipart form; empty if the body is none
	tables   url.Values   // what the URL says of the form's tables
}

// readonly says that the request may change nothing.
func (req *httpRequest) readonly() bool { return req.method != http.MethodPost }

// tableSuffixes end the parameters that describe an external table.
var tableSuffixes = []string{"_format", "_types", "_structure"}

// readHTTP sorts a request's parameters: what ClickHouse's HTTP interface itself understands, query parameters, and settings. A header
// wins over the parameter it stands for.
func (h *httpHandler) readHTTP(r *http.Request, values url.Values) (*httpRequest, error) {
	req := &httpRequest{
		method: r.Method, database: values.Get("database"), format: values.Get("default_format"), query: values.Get("query"),
		accept: r.Header.Get("Accept-Encoding"), tables: url.Values{},
	}
	if v := r.Header.Get("X-ClickHouse-Database"); v != "" {
		req.database = v
	}
	if v := r.Header.Get("X-ClickHouse-Format"); v != "" {
		req.format = v
	}
	if err := authenticate(r, values); err != nil {
		return nil, err
	}
	if media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(media, "multipart/form-data") {
		if req.boundary = params["boundary"]; err != nil || req.boundary == "" {
			return nil, codeIncorrectData.errorf("the Content-Type multipart/form-data names no boundary")
		}
	}
	for name, all := range values {
		v := all[len(all)-1]
		var err error
		switch name {
		case "", "query", "database", "default_format", "user", "password", "quota_key", "stacktrace", "query_id":
		case "compress":
			req.compress, err = parseFlag(name, v)
		case "decompress":
			// Done below, as it may fail only once the body is read.
			_, err = parseFlag(name, v)
		case "wait_end_of_query":
			req.wait = v
			_, err = parseFlag(name, v)
		case "buffer_size":
			req.bufferSize = v
			if _, e := strconv.ParseUint(v, 10, 63); e != nil {
				err = codeBadRequest.errorf("the parameter buffer_size is no number of bytes: %s", clip(v))
			}
		case "client_protocol_version":
			if req.clientRevision, err = strconv.Atoi(v); err != nil || req.clientRevision < 0 {
				err = codeBadRequest.errorf("the parameter client_protocol_version is no revision: %s", clip(v))
			}
		case "session_id":
			if req.session.id = v; v == "" {
				err = codeSessionIDEmpty.errorf("Session id query parameter was provided, but it was empty")
			} else if len(v) > maxShortString {
				err = codeTooLargeSize.errorf("a session_id of more than %d bytes", maxShortString)
			}
		case "session_timeout":
			req.session.timeout, err = sessionTimeout(v)
		case "session_check":
			req.session.check = v == "1"
		case "close_session":
			req.session.close, err = parseFlag(name, v)
		case "role":
			err = codeUnknownRole.errorf("the embedded server has no roles: leave out the parameter role")
		default:
			err = req.sort(name, v, h.facts.suffixed)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(req.settings) > maxSettings {
		return nil, codeIncorrectData.errorf("a query with more than %d settings", maxSettings)
	}
	req.id = queryID(values.Get("query_id"), r.Header.Get("X-ClickHouse-Query-Id"))
	return req, nil
}

// sort places a parameter that is the query's, a form's table's or a setting. Some settings are named like what describes a table.
func (req *httpRequest) sort(name, v string, suffixed map[string]bool) error {
	if p, ok := strings.CutPrefix(name, "param_"); ok {
		req.params = append(req.params, param{p, v})
		return nil
	}
	if req.boundary != "" {
		for _, s := range tableSuffixes {
			if strings.HasSuffix(name, s) && !suffixed[name] {
				req.tables.Set(name, v)
				return nil
			}
		}
	}
	if len(name) > maxShortString || len(v) > maxValueLength {
		return codeTooLargeSize.errorf("a setting's name or value is too long")
	}
	req.settings = append(req.settings, setting{name: name, value: v, important: true})
	return nil
}

// queryID is the id a client chose for its query, without control characters, or a new one.
func queryID(chosen ...string) string {
	for _, id := range chosen {
		id = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r == unicode.ReplacementChar {
				return -1
			}
			return r
		}, id)
		if id != "" && len(id) <= maxShortString {
			return id
		}
	}
	return uuid.NewString()
}

// parseFlag reads a parameter that is on or off.
func parseFlag(name, v string) (bool, error) {
	switch strings.ToLower(v) {
	case "1", "true", "yes", "on":
		return true, nil
	case "", "0", "false", "no", "off":
		return false, nil
	}
	return false, codeBadRequest.errorf("the parameter %s is neither 1 nor 0: %s", name, clip(v))
}

// authenticate lets in who the embedded server knows: default, without a password, by whichever of ClickHouse's ways.
func authenticate(r *http.Request, values url.Values) error {
	users := append(r.Header.Values("X-ClickHouse-User"), values["user"]...)
	passwords := append(r.Header.Values("X-ClickHouse-Key"), values["password"]...)
	if a := r.Header.Get("Authorization"); a != "" {
		user, password, ok := r.BasicAuth()
		if !ok {
			scheme, _, _ := strings.Cut(a, " ")
			return codeAuthentication.errorf("Invalid authentication: the HTTP Authorization scheme %s is not supported: the embedded server has no users; connect as default, without a password", clip(scheme))
		}
		users, passwords = append(users, user), append(passwords, password)
	}
	for _, u := range users {
		if u != "" && u != "default" {
			return errNoUsers
		}
	}
	for _, p := range passwords {
		if p != "" {
			return errNoUsers
		}
	}
	return nil
}

// openBody makes a request's body readable: out of its Content-Encoding, then out of ClickHouse's own compression.
func openBody(raw io.Reader, encoding, decompress string) (io.Reader, error) {
	body, err := decoded(raw, encoding)
	if on, _ := parseFlag("decompress", decompress); on && err == nil {
		body = newBlockReader(body)
	}
	return body, err
}
