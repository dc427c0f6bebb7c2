package verify

import (
	"fmt"
	"strconv"
	"time"
)

// mostExamples bounds the differences that are told one by one, of each check.
const mostExamples = 10

// Result is the outcome of one check. Found counts what exists of what was expected and what was not; a row that is there twice is
// found twice and one of it is extra.
type Result struct {
	Check     string    `json:"check"`
	Expected  int64     `json:"expected"`
	Found     int64     `json:"found"`
	Missing   int64     `json:"missing"`
	Extra     int64     `json:"extra"`
	Different int64     `json:"different"`
	Examples  []Example `json:"examples"` // of the first differences
}

// Differences is the number of things that are not as they must be.
func (r *Result) Differences() int64 { return r.Missing + r.Extra + r.Different }

// What is the matter with an Example.
const (
	Missing   = "missing"
	Extra     = "extra" // not expected, or there more than once
	Different = "different"
)

// Example is one difference. It names no person: visitors are keyed hashes, networks are prefixes, and what a producer may have sent
// beyond that is withheld.
type Example struct {
	Kind  string `json:"kind"`
	Place string `json:"place"` // such as partition/sequence/index
	ID    string `json:"id,omitempty"`
	Field string `json:"field,omitempty"` // different: which, with its values
	Want  string `json:"want,omitempty"`
	Got   string `json:"got,omitempty"`
}

func (r *Result) example(e Example) {
	if len(r.Examples) < mostExamples {
		e.Want, e.Got = short(e.Want), short(e.Got)
		r.Examples = append(r.Examples, e)
	}
}

// missing, extra and different count one difference each.
func (r *Result) missing(place, id string) {
	r.Missing++
	r.example(Example{Kind: Missing, Place: place, ID: id})
}

func (r *Result) extra(place, id string) {
	r.Extra++
	r.example(Example{Kind: Extra, Place: place, ID: id})
}

func (r *Result) different(place, id string, fields ...difference) {
	r.Different++
	e := Example{Kind: Different, Place: place, ID: id}
	if len(fields) > 0 {
		e.Field, e.Want, e.Got = fields[0].field, fields[0].want, fields[0].got
	}
	r.example(e)
}

// same counts one thing, and a difference if want is not got.
func same[T comparable](r *Result, place, field string, want, got T) {
	r.Expected++
	r.Found++
	if want != got {
		r.different(place, "", difference{field, fmt.Sprint(want), fmt.Sprint(got)})
	}
}

// difference is one field of something.
type difference struct{ field, want, got string }

func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// place writes where something stands in a log.
func place(partition int, seq uint64, idx int) string {
	return strconv.Itoa(partition) + "/" + strconv.FormatUint(seq, 10) + "/" + strconv.Itoa(idx)
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
