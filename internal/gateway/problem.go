package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/events"
)

// Problem is an RFC 9457 problem document. Code is stable and for programs,
// Detail says what to do.
type Problem struct {
	Type   string `json:"type"` // urn:huoma:problem:<code>
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitzero"`
	Code   string `json:"code"`
	Field  string `json:"field,omitzero"`  // the path of what is wrong: "rules[0].window"
	Index  *int   `json:"index,omitempty"` // which of many, from 0
	Line   int    `json:"line,omitzero"`   // of a CSV, from 1
	Column int    `json:"column,omitzero"` // of a CSV, from 1

	Bad  int          `json:"bad,omitzero"`   // rows of a batch that are bad
	Rows []rowProblem `json:"rows,omitempty"` // they, at most maxBadRows

	retryAfter time.Duration
	challenge  bool // WWW-Authenticate
	allow      string
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// titles are the problems' names, by code. Those of events.Code are titled
// "The event cannot be taken".
var titles = map[string]string{
	"unauthorized": "The API key is missing or wrong", "unknown_route": "There is nothing at this address",
	"method_not_allowed": "This address does not take this method", "internal": "Something went wrong on our side",
	"not_ready": "The service is not ready yet", "not_stored": "The event could not be stored", "busy": "Too much at once", "overloaded": "Too much at once",
	"unknown_code": "There is no such code", "forged": "The code is not one of ours", "expired": "The code has expired",
	"revoked": "The code was withdrawn", "capped": "The code's scans are used up", "locked": "Too many scans at once",
	"full": "The group is full", "preview": "Nothing to fetch ahead", "bot": "Robots are not served",
	"body_too_large": "The body is too large", "unsupported_media_type": "The body is of an unknown type",
	"precondition_failed": "The code was changed meanwhile", "conflict": "The code is being changed by others",
	"idempotency_key_reused": "The idempotency key was used for something else", "immutable_field": "The field cannot be changed",
	"unknown_parameter": "The query has an unknown parameter", "not_supported": "This is not supported",
	"nothing_to_renew": "The code does not run out", "bad_link": "The link is not valid", "link_expired": "The link has run out",
	"private_target": "The target leads into a private network", "unregistered_domain": "The target's domain is not registered",
	"bad_cursor": "The cursor is not one of ours", "unknown_profile": "There is no such profile", "bad_csv": "The CSV cannot be read",
	"log_away": "The log is away", "spool_full": "The spool is full",
	"shutting_down": "The service is stopping",
}

// problem makes a Problem; detail says what to do.
func problem(status int, code, detail string, args ...any) *Problem {
	title := titles[code]
	if title == "" {
		title = "The request cannot be taken"
	}
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &Problem{Type: "urn:huoma:problem:" + code, Title: title, Status: status, Code: code, Detail: detail}
}

// invalid is a 400 that names a field.
func invalid(code events.Code, field, detail string, args ...any) *Problem {
	return problem(http.StatusBadRequest, string(code), detail, args...).at(field)
}

func (p *Problem) at(field string) *Problem { p.Field = field; return p }

func (p *Problem) index(i int) *Problem { p.Index = &i; return p }

func (p *Problem) retry(d time.Duration) *Problem { p.retryAfter = d; return p }

// write sends p.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	p.headers(h)
	h.Set("Content-Type", "application/problem+json")
	b, err := json.Marshal(p)
	if err != nil { // no field of a Problem can fail
		b = []byte(`{"type":"urn:huoma:problem:internal","title":"Something went wrong on our side","status":500,"code":"internal"}`)
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client has gone
}

func (p *Problem) headers(h http.Header) {
	if p.retryAfter > 0 {
		h.Set("Retry-After", retryAfter(p.retryAfter))
	}
	if p.challenge {
		h.Set("WWW-Authenticate", `Bearer realm="huoma"`)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}

// retryAfter is d in whole seconds, rounded up, at least 1.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// writeJSON sends v.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("marshal answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone
	return nil
}
