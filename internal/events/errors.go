package events

import (
	"errors"
	"fmt"
)

// Code is a stable, machine-readable name of what is wrong with an event.
type Code string

// The codes of Error.
const (
	CodeMalformed      Code = "malformed_json"
	CodeInvalidUTF8    Code = "invalid_utf8"
	CodeDuplicateField Code = "duplicate_field"
	CodeUnknownField   Code = "unknown_field"
	CodeUnknownType    Code = "unknown_type"
	CodeMissingField   Code = "missing_field"
	CodeWrongUnit      Code = "wrong_unit"    // right shape, wrong kind of number, time or unit
	CodeInvalid        Code = "invalid_value" // out of bounds or of the wrong JSON type
	CodeTooLarge       Code = "too_large"
	CodeTooDeep        Code = "too_deep"
	CodeTooMany        Code = "too_many" // batch of more than MaxBatch events
	CodeUnknownCode    Code = "unknown_code"
	CodeTooOld         Code = "too_old"
	CodeTooNew         Code = "too_new"
	CodeWrongSubject   Code = "wrong_subject" // published to a subject that is not its own
)

// Error says what is wrong with an event: a code for machines, the field by
// its path ("data.value"), a sentence for people. Index is the event's place
// in its batch, -1 when it came alone.
type Error struct {
	Code   Code
	Field  string
	Index  int
	Reason string
}

func (e *Error) Error() string {
	at := ""
	if e.Index >= 0 {
		at = fmt.Sprintf("event %d: ", e.Index)
	}
	if e.Field == "" {
		return fmt.Sprintf("%s%s (%s)", at, e.Reason, e.Code)
	}
	return fmt.Sprintf("%s%s: %s (%s)", at, e.Field, e.Reason, e.Code)
}

func fail(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Index: -1, Reason: fmt.Sprintf(format, args...)}
}

// AsError returns the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
