package chembed

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// httpOptions are the values of httpSettings that are in force for a request.
type httpOptions struct {
	values map[string]string
	given  map[string]string // the request's own settings, of whatever name
}

// options are the engine's defaults, over them the session's values, over them the request's.
func (h *httpHandler) options(hs *httpSession, req *httpRequest) (httpOptions, error) {
	o := httpOptions{values: maps.Clone(h.facts.defaults), given: map[string]string{}}
	own, err := hs.values(httpSettings)
	if err != nil {
		return o, err
	}
	maps.Copy(o.values, own)
	for _, s := range req.settings {
		o.given[s.name] = s.value
	}
	maps.Copy(o.values, o.given)
	return o, nil
}

func (o httpOptions) on(name string) bool { return on(o.values[name]) }

func on(v string) bool {
	b, err := parseFlag("", v)
	return err == nil && b
}

// number is the value of a setting that is one; the engine has refused what is none.
func (o httpOptions) number(name string) int {
	n, err := strconv.Atoi(o.values[name])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// configure sets how the result goes out. It is called before the query runs.
func (o *httpOutput) configure(r *http.Request, req *httpRequest, opts httpOptions) error {
	header := o.w.Header()
	if origin := r.Header.Get("Origin"); origin != "" && opts.on("add_http_cors_header") {
		header.Set("Access-Control-Allow-Origin", origin) // which is this server's own: another's request has been refused
	}
	o.wire.(*netWire).patience = seconds(opts.values["http_send_timeout"])
	if opts.on("enable_http_compression") {
		if o.coding = chooseCoding(req.accept); o.coding != "" {
			header.Set("Content-Encoding", o.coding)
			o.level = opts.number("http_zlib_compression_level")
		}
	}
	if req.compress {
		o.method = opts.values["network_compression_method"]
		if _, err := newBlockWriter(nil, o.method); err != nil {
			o.method = ""
			return err
		}
	}
	size := uint64(opts.number("http_response_buffer_size"))
	if _, given := opts.given["http_response_buffer_size"]; !given && req.bufferSize != "" {
		size, _ = strconv.ParseUint(req.bufferSize, 10, 63) // checked when it was read
	}
	o.held.memory = int(min(max(size, minHeld), maxHeldMemory))
	o.hold = max(int64(min(size, 1<<62)), minHeld)
	o.wait = opts.on("http_wait_end_of_query")
	if _, given := opts.given["http_wait_end_of_query"]; !given && req.wait != "" {
		o.wait = on(req.wait)
	}
	return nil
}

// describe says in the header what the result is.
func (o *httpOutput) describe(f httpFormat) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, taken := o.wire.(*progressWire); taken || o.started {
		return
	}
	o.w.Header().Set("Content-Type", f.contentType)
	setHeader(o.w.Header(), headerFormat, f.name)
}

// wholeOnly says that a result in a format which could be stitched has something that the engine tells only of the whole: totals, extremes,
// the number of rows before a limit, or brackets around all rows.
func (o httpOptions) wholeOnly(st statement, format string) bool {
	f := strings.ToLower(format)
	document := f == "json" || f == "jsoncompact" || f == "jsonstrings" || f == "jsoncompactstrings"
	set := func(name string) bool {
		v := o.values[name]
		return v != "" && v != "0" && !strings.EqualFold(v, "false")
	}
	switch {
	case st.totals, set("extremes"),
		strings.HasSuffix(f, "eachrow") && set("output_format_json_array_of_rows"),
		strings.HasPrefix(f, "rowbinarywith") && set("output_format_binary_encode_types_in_binary_format"),
		document && (set("limit") || set("offset") || set("rows_before_aggregation")):
		return true
	}
	for sc := (scanner{s: st.text}); ; {
		t, ok := sc.next()
		if !ok {
			return false
		}
		switch strings.ToLower(t.text) {
		case "output_format_json_array_of_rows", "output_format_binary_encode_types_in_binary_format":
			return true
		case "limit", "offset", "fetch", "top", "rows_before_aggregation":
			if document {
				return true
			}
		}
	}
}
