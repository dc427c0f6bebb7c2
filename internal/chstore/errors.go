package chstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// What a warehouse may be unfit for, beside being away.
var (
	ErrTooOld      = errors.New("this ClickHouse is too old")
	ErrSchemaNewer = errors.New("the schema is newer than this program")
	ErrSchemaOlder = errors.New("the schema is older than this program")
	ErrNotOurs     = errors.New("ClickHouse does not let this user create the schema")
	ErrNoToken     = errors.New("a batch without a deduplication token")
)

// Class says what to do after an error.
type Class string

// The classes of an error.
const (
	RetryLater Class = "later"   // the server is away or has too much to do; nothing was stored
	RetryNow   Class = "unknown" // the outcome is unknown; try again with the same token
	Never      Class = "never"   // schema, rights or version: a person has to act
	Refused    Class = "refused" // the server does not take these rows
)

// Error is what became of one operation on the warehouse.
type Error struct {
	Op    string
	Class Class
	Err   error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of an error of this package.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	for _, never := range []error{ErrTooOld, ErrSchemaNewer, ErrSchemaOlder, ErrNotOurs, ErrNoToken} {
		if errors.Is(err, never) {
			return Never
		}
	}
	return RetryLater
}

// Server codes by class. A code in none of them counts as "later": waiting loses nothing, dropping rows would.
var (
	refusedCodes = codes(6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 128, 131, 349, 407, 469, 691)
	neverCodes   = codes(10, 16, 47, 60, 62, 73, 81, 115, 192, 193, 194, 195, 497, 516)
	unknownCodes = codes(32, 159, 209, 210, 319, 394)
)

// Codes this package looks at one by one.
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeReadonly        = 164
	codeAccessDenied    = 497
)

func codes(list ...int32) map[int32]bool {
	m := make(map[int32]bool, len(list))
	for _, c := range list {
		m[c] = true
	}
	return m
}

func classify(err error) Class {
	var x *proto.Exception
	switch {
	case errors.As(err, &x):
		switch {
		case refusedCodes[x.Code]:
			return Refused
		case neverCodes[x.Code]:
			return Never
		case unknownCodes[x.Code]:
			return RetryNow
		}
		return RetryLater
	case errors.Is(err, clickhouse.ErrAcquireConnTimeout), errors.Is(err, clickhouse.ErrAcquireConnNoAddress):
		return RetryLater
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return RetryNow
	}
	// Anything else comes from the network, with the query perhaps under way.
	return RetryNow
}

func isCode(err error, code int32) bool {
	var x *proto.Exception
	return errors.As(err, &x) && x.Code == code
}

// wrap names the operation and the class, and adds what to do where that is known.
func (s *Store) wrap(op string, err error) error {
	switch {
	case isCode(err, codeUnknownDatabase):
		err = fmt.Errorf("%w: database %s is not there; run `huoma migrate` (%w)", ErrSchemaOlder, s.database, err)
	case isCode(err, 516):
		err = fmt.Errorf("the user or password is wrong (%w)", err)
	}
	return &Error{Op: op, Class: classify(err), Err: err}
}
