package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
)

// readBody reads at most so many bytes of a body of one of the media types.
// The first type is also taken when the request names none. All but a CSV are
// UTF-8: a CSV's reader says what it is instead.
func readBody(w http.ResponseWriter, r *http.Request, most int64, types ...string) (body []byte, mediaType string, err error) {
	mediaType = types[0]
	if v := r.Header.Get("Content-Type"); v != "" {
		if mediaType, _, err = mime.ParseMediaType(v); err != nil || !slices.Contains(types, mediaType) {
			return nil, "", problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "send %s", strings.Join(types, " or ")).at("Content-Type")
		}
	}
	if v := r.Header.Get("Content-Encoding"); v != "" && !strings.EqualFold(v, "identity") {
		return nil, "", problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body as it is, without a content encoding").at("Content-Encoding")
	}
	var large *http.MaxBytesError
	if r.ContentLength > most {
		err = &http.MaxBytesError{Limit: most}
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	}
	switch {
	case errors.As(err, &large):
		w.Header().Set("Connection", "close") // else net/http waits for more of it before it answers
		return nil, "", problem(http.StatusRequestEntityTooLarge, "body_too_large", "at most %d bytes are taken", most).at("body")
	case err != nil:
		return nil, "", invalid(events.CodeMalformed, "body", "the body ended early")
	case mediaType != "text/csv" && !utf8.Valid(body):
		return nil, "", invalid(events.CodeInvalidUTF8, "body", "the body is not valid UTF-8")
	}
	return body, mediaType, nil
}

// decode reads one JSON value strictly into v: unknown and repeated fields are refused.
func decode(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid(events.CodeMalformed, "body", "the body is empty: send a JSON object")
	}
	if events.TooDeep(body) {
		return invalid(events.CodeTooDeep, "body", "the JSON is nested deeper than %d", events.MaxDepth)
	}
	return jsonProblem(json.Unmarshal(body, v, json.RejectUnknownMembers(true)))
}

// jsonProblem says of a decoder's error which field it is about, and what belongs there.
func jsonProblem(err error) error {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return invalid(events.CodeDuplicateField, fieldPath(syntax.JSONPointer), "the field stands twice")
		}
		return invalid(events.CodeMalformed, "body", "the JSON ends early or has a character out of place at byte %d", syntax.ByteOffset)
	case errors.As(err, &meaning):
		field := fieldPath(meaning.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return invalid(events.CodeUnknownField, field, "there is no such field")
		}
		return invalid(events.CodeInvalid, field, "%s", belongs(meaning))
	}
	return invalid(events.CodeMalformed, "body", "the JSON cannot be read")
}

func belongs(e *json.SemanticError) string {
	if e.GoType == nil {
		return "the value is of the wrong type"
	}
	name := strings.TrimLeft(e.GoType.String(), "*")
	switch {
	case name == "span.Span":
		return `write a duration as whole numbers with units, such as "90s", "2h" or "7d"`
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"):
		return "a whole number in range belongs here"
	case name == "bool":
		return "true or false belongs here"
	case name == "string", strings.HasPrefix(name, "risk."):
		return "a string belongs here"
	case strings.HasPrefix(name, "[]"):
		return "an array belongs here"
	}
	return "an object belongs here"
}

// fieldPath writes a JSON pointer as people do: rules[0].window. What is no
// pointer into anything is "body".
func fieldPath(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 32); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(clip(token))
	}
	if b.Len() == 0 {
		return "body"
	}
	return b.String()
}

// clip bounds what of the public input a problem quotes.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// query checks that a request's query has no other parameters than these,
// each at most once.
func query(r *http.Request, names ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("bad_query", "query", "the query cannot be read: escape it")
	}
	for name, values := range q {
		if !slices.Contains(names, name) {
			return nil, invalid("unknown_parameter", clip(strings.ToValidUTF8(name, "")), "the parameters here are %s", strings.Join(names, ", "))
		}
		if len(values) > 1 || !utf8.ValidString(values[0]) {
			return nil, invalid(events.CodeInvalid, name, "give it once, in UTF-8")
		}
	}
	return q, nil
}

// queryInt reads a whole number from lo to hi, def when absent.
func queryInt(q url.Values, name string, lo, hi, def int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return 0, invalid(events.CodeInvalid, name, "give a whole number from %d to %d", lo, hi)
	}
	return n, nil
}
