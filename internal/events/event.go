package events

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Content types of a structured-mode message.
const (
	ContentType      = "application/cloudevents+json"
	ContentTypeBatch = "application/cloudevents-batch+json"
)

// Event is one CloudEvent. An Event made by Parse has been checked.
type Event struct {
	ID         string // the producer's, unique with Source; at most MaxName bytes
	Source     string
	Type       string
	Subject    string // the code's id
	Time       time.Time
	Tenant     string // extension attribute "tenant"
	Historical bool   // extension attribute "historical": recorded, causes nothing
	DataSchema string
	// Extensions are the extension attributes this package has no field for,
	// in the order they came: strings, booleans and whole numbers.
	Extensions []Extension
	Data       Data
}

// Extension is one CloudEvents extension attribute; Value is its JSON.
type Extension struct {
	Name  string
	Value jsontext.Value
}

// wire is the envelope as it stands in JSON, in the order it is written.
type wire struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            string         `json:"type"`
	Subject         string         `json:"subject"`
	Time            string         `json:"time"`
	DataContentType string         `json:"datacontenttype,omitzero"`
	DataSchema      string         `json:"dataschema,omitzero"`
	Tenant          string         `json:"tenant,omitzero"`
	Historical      bool           `json:"historical,omitzero"`
	Extensions      jsontext.Value `json:",unknown"`
	Data            jsontext.Value `json:"data,omitzero"`
}

// Parse reads one event in structured JSON. The error is an *Error.
func Parse(b []byte) (*Event, error) {
	if err := precheck(b, MaxEvent); err != nil {
		return nil, err
	}
	e, err := parse(b)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// ParseBatch reads a JSON array of at most MaxBatch events, or a single event
// (as a batch of one). It returns the good ones before the first bad one
// together with an *Error that carries the bad one's index.
func ParseBatch(b []byte) ([]*Event, error) {
	items, err := Split(b)
	if err != nil {
		return nil, err
	}
	if len(items) > MaxBatch {
		return nil, fail(CodeTooMany, "", "the batch has %d events; at most %d are taken at once", len(items), MaxBatch)
	}
	out := make([]*Event, 0, len(items))
	for i, item := range items {
		e, err := Parse(item)
		if err != nil {
			if ee, ok := AsError(err); ok {
				ee.Index = i
			}
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

// IsBatch reports whether b is a JSON array, by its first byte that is not
// white space.
func IsBatch(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '['
}

// Split cuts a message into the raw JSON of its events, which it does not
// look into: the elements of a batch, or the single event. An event that is
// not well-formed JSON makes the whole message malformed.
func Split(b []byte) ([]jsontext.Value, error) {
	if !IsBatch(b) {
		return []jsontext.Value{b}, nil
	}
	if err := precheck(b, MaxBatch*MaxEvent); err != nil {
		return nil, err
	}
	var items []jsontext.Value
	if err := json.Unmarshal(b, &items); err != nil {
		return nil, jsonError("", err)
	}
	return items, nil
}

// precheck refuses what a JSON parser should not even start on.
func precheck(b []byte, most int) error {
	if len(b) > most {
		return fail(CodeTooLarge, "", "the event is %d bytes; at most %d are allowed", len(b), most)
	}
	if !utf8.Valid(b) {
		return fail(CodeInvalidUTF8, "", "the event is not valid UTF-8")
	}
	if TooDeep(b) {
		return fail(CodeTooDeep, "", "the JSON is nested deeper than %d", MaxDepth)
	}
	return nil
}

// TooDeep reports whether JSON is nested deeper than MaxDepth, without parsing
// it. Of what is not JSON it may say either.
func TooDeep(b []byte) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case inString:
			inString, escaped = c != '"', c == '\\'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func parse(b []byte) (*Event, error) {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, jsonError("", err)
	}
	for _, f := range []struct{ name, value, help string }{
		{"specversion", w.SpecVersion, `write "1.0"`},
		{"id", w.ID, "give the event an id of its own, such as a UUIDv7 or ULID"},
		{"source", w.Source, "say who published the event"},
		{"type", w.Type, "name the event's type, such as " + TypeScan},
		{"subject", w.Subject, "name the code"},
		{"time", w.Time, "say when it happened, in RFC 3339"},
	} {
		if f.value == "" {
			return nil, fail(CodeMissingField, f.name, "is missing: %s", f.help)
		}
		if err := text(f.name, f.value, MaxName); err != nil {
			return nil, err
		}
	}
	if w.SpecVersion != "1.0" {
		return nil, fail(CodeInvalid, "specversion", `only CloudEvents "1.0" is understood`)
	}
	if w.DataContentType != "" && w.DataContentType != "application/json" {
		return nil, fail(CodeInvalid, "datacontenttype", "only application/json is understood")
	}
	at, err := parseTime(w.Time)
	if err != nil {
		return nil, err
	}
	if !ValidSubject(w.Subject) {
		return nil, fail(CodeInvalid, "subject", "a code id has letters, digits, - and _ only")
	}
	if err := texts(textField{"tenant", w.Tenant, 64}, textField{"dataschema", w.DataSchema, MaxName}); err != nil {
		return nil, err
	}
	ext, err2 := extensions(w.Extensions)
	if err2 != nil {
		return nil, err2
	}
	data, ok := newData(w.Type)
	if !ok {
		return nil, fail(CodeUnknownType, "type", "%q is no event type of this version", clip(w.Type))
	}
	if len(w.Data) == 0 || w.Data.Kind() == 'n' {
		return nil, fail(CodeMissingField, "data", "is missing")
	}
	if err := json.Unmarshal(w.Data, data, json.RejectUnknownMembers(true)); err != nil {
		return nil, jsonError("data", err)
	}
	if err := data.check(); err != nil {
		return nil, err
	}
	return &Event{
		ID: w.ID, Source: w.Source, Type: w.Type, Subject: w.Subject, Time: at, Tenant: w.Tenant, Historical: w.Historical,
		DataSchema: w.DataSchema, Extensions: ext, Data: data,
	}, nil
}

// parseTime reads RFC 3339 with a zone. Ours are written with milliseconds or
// finer; fewer digits are taken too, because common encoders trim zeros. What
// is finer than a nanosecond is cut off.
func parseTime(v string) (time.Time, *Error) {
	at, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || v[len("2006-01-02T15")] != ':' || strings.Contains(v, ",") { // time.Parse takes T8: and a comma
		return time.Time{}, fail(CodeWrongUnit, "time", "write RFC 3339 with a zone, such as 2026-01-31T08:15:30.250Z")
	}
	if y := at.UTC().Year(); y < 1970 || y > 2261 {
		return time.Time{}, fail(CodeInvalid, "time", "the year must be from 1970 to 2261")
	}
	return at.UTC(), nil
}

func extensions(raw jsontext.Value) ([]Extension, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return nil, jsonError("", err)
	}
	var out []Extension
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, jsonError("", err)
		}
		n := name.String()
		if !validAttribute(n) {
			return nil, fail(CodeUnknownField, clip(n), "is no attribute: extension names have 1 to 20 lower-case letters and digits")
		}
		v, err := d.ReadValue()
		if err != nil {
			return nil, jsonError("", err)
		}
		if err := extension(n, v); err != nil {
			return nil, err
		}
		if out = append(out, Extension{Name: n, Value: bytes.Clone(v)}); len(out) > 32 {
			return nil, fail(CodeTooMany, n, "at most 32 extension attributes are allowed")
		}
	}
	return out, nil
}

// extension holds an extension attribute's value to the types of CloudEvents:
// string, boolean, 32-bit whole number.
func extension(name string, v jsontext.Value) error {
	if len(v) > MaxText {
		return fail(CodeTooLarge, name, "is %d bytes; at most %d are allowed", len(v), MaxText)
	}
	switch v.Kind() {
	case 't', 'f':
		return nil
	case '0':
		if _, err := strconv.ParseInt(string(v), 10, 32); err != nil {
			return fail(CodeWrongUnit, name, "a number in an extension attribute is whole and has at most 32 bits: send others as a string")
		}
		return nil
	case '"':
		s, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return jsonError(name, err)
		}
		if err := text(name, string(s), MaxText); err != nil {
			return err
		}
		return nil
	}
	return fail(CodeInvalid, name, "an extension attribute is a string, boolean or whole number")
}

func validAttribute(n string) bool {
	if n == "" || len(n) > 20 {
		return false
	}
	for _, c := range []byte(n) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// ValidSubject reports whether s can be a code id: 1 to 64 letters, digits,
// - and _. Anything else could not stand in a NATS subject.
func ValidSubject(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Marshal writes e as structured JSON: fixed field order, time in UTC with
// milliseconds or finer, empty optional fields left out.
func (e *Event) Marshal() ([]byte, error) { return e.AppendTo(nil) }

// AppendTo appends what Marshal writes to b.
func (e *Event) AppendTo(b []byte) ([]byte, error) {
	w := writer{b: b}
	w.raw(`{"specversion":"1.0","id":`)
	w.text(e.ID)
	w.raw(`,"source":`)
	w.text(e.Source)
	w.raw(`,"type":`)
	w.text(e.Type)
	w.raw(`,"subject":`)
	w.text(e.Subject)
	w.raw(`,"time":"`)
	w.b = appendTime(w.b, e.Time)
	w.b = append(w.b, '"')
	w.optText(`,"dataschema":`, e.DataSchema)
	w.optText(`,"tenant":`, e.Tenant)
	if e.Historical {
		w.raw(`,"historical":true`)
	}
	for _, x := range e.Extensions {
		w.b = append(w.b, ',')
		w.text(x.Name)
		w.b = append(w.b, ':')
		w.b = append(w.b, x.Value...)
	}
	w.raw(`,"data":`)
	if scan, ok := e.Data.(*Scan); ok {
		w.scan(scan)
	} else {
		w.value(e.Data)
	}
	w.b = append(w.b, '}')
	if w.err != nil {
		return w.b, fmt.Errorf("marshal event %s: %w", e.Type, w.err)
	}
	return w.b, nil
}

// MarshalBatch writes a JSON array of events.
func MarshalBatch(list []*Event) ([]byte, error) {
	b := []byte{'['}
	var err error
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = e.AppendTo(b); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// MarshalJSON implements json.Marshaler.
func (e *Event) MarshalJSON() ([]byte, error) { return e.Marshal() }

// UnmarshalJSON implements json.Unmarshaler; it is as strict as Parse.
func (e *Event) UnmarshalJSON(b []byte) error {
	v, err := parse(b)
	if err != nil {
		return err
	}
	*e = *v
	return nil
}

// FormatTime writes t in UTC as RFC 3339 with milliseconds, or finer when t is.
func FormatTime(t time.Time) string { return string(appendTime(nil, t)) }

func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if t.Nanosecond()%int(time.Millisecond) == 0 {
		return t.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	}
	return t.AppendFormat(b, time.RFC3339Nano)
}

// Check holds an event made by hand to the same rules as Parse.
func (e *Event) Check() error {
	b, err := e.Marshal()
	if err != nil {
		return fail(CodeMalformed, "", "%v", err)
	}
	_, err = Parse(b)
	return err
}

// jsonError turns a decoder's error into ours, with the path of the field.
func jsonError(under string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	path := func(p jsontext.Pointer) string { return fieldPath(under, p) }
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fail(CodeDuplicateField, path(syn.JSONPointer), "stands twice")
		}
		return fail(CodeMalformed, path(syn.JSONPointer), "the JSON ends early or has a character out of place at byte %d", syn.ByteOffset)
	}
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		if errors.Is(err, json.ErrUnknownName) {
			return fail(CodeUnknownField, path(sem.JSONPointer), "is no field of this event")
		}
		if sem.JSONKind == '"' || sem.JSONKind == '0' {
			return fail(CodeWrongUnit, path(sem.JSONPointer), "%s cannot be read as %s", kindName(sem.JSONKind), goName(sem))
		}
		return fail(CodeInvalid, path(sem.JSONPointer), "%s cannot be read as %s", kindName(sem.JSONKind), goName(sem))
	}
	return fail(CodeMalformed, under, "the JSON cannot be read")
}

// fieldPath writes a pointer as people do: data.rules[0].window.
func fieldPath(under string, p jsontext.Pointer) string {
	path := under
	for token := range p.Tokens() {
		switch _, err := strconv.ParseUint(token, 10, 32); {
		case err == nil:
			path += "[" + token + "]"
		case path == "":
			path = token
		default:
			path += "." + token
		}
	}
	return clip(path)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '0':
		return "this number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "this"
}

func goName(e *json.SemanticError) string {
	if e.GoType == nil {
		return "what belongs here"
	}
	switch e.GoType.String() {
	case "int", "int64", "*int", "*int64", "uint64":
		return "a whole number in range"
	case "string":
		return "a string"
	case "bool":
		return "a boolean"
	case "json.Number", "float64":
		return "a number"
	case "span.Span":
		return `a duration such as "90s"`
	case "time.Time", "*time.Time":
		return "a time in RFC 3339"
	}
	return "what belongs here"
}

// clip bounds what of the public input an error quotes.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
