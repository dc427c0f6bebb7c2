package chembed

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// engineError is an exception of the engine, or one of ours that speaks its language: a code of ClickHouse's list, that
// code's name, and the sentence.
type engineError struct {
	code int32
	name string // UNKNOWN_TABLE; may be empty
	text string
}

func (e *engineError) Error() string {
	if e.name == "" {
		return fmt.Sprintf("Code: %d. DB::Exception: %s", e.code, e.text)
	}
	return fmt.Sprintf("Code: %d. DB::Exception: %s (%s)", e.code, e.text, e.name)
}

// Codes that this package itself answers with.
var (
	codeUnknownPacket     = errorCode{99, "UNKNOWN_PACKET_FROM_CLIENT"}
	codeUnexpectedPacket  = errorCode{101, "UNEXPECTED_PACKET_FROM_CLIENT"}
	codeIncorrectData     = errorCode{117, "INCORRECT_DATA"}
	codeTooLargeSize      = errorCode{131, "TOO_LARGE_STRING_SIZE"}
	codeUnknownType       = errorCode{50, "UNKNOWN_TYPE"}
	codeNotImplemented    = errorCode{48, "NOT_IMPLEMENTED"}
	codeSupportDisabled   = errorCode{344, "SUPPORT_IS_DISABLED"}
	codeQueryCancelled    = errorCode{394, "QUERY_WAS_CANCELLED"}
	codeUnknownException  = errorCode{1002, "UNKNOWN_EXCEPTION"}
	codeAuthentication    = errorCode{516, "AUTHENTICATION_FAILED"}
	codeTooManyConns      = errorCode{202, "TOO_MANY_SIMULTANEOUS_QUERIES"}
	codeNoSuchColumn      = errorCode{16, "NO_SUCH_COLUMN_IN_TABLE"}
	codeChecksumMismatch  = errorCode{40, "CHECKSUM_DOESNT_MATCH"}
	codeCannotDecompress  = errorCode{271, "CANNOT_DECOMPRESS"}
	codeUnsupportedMethod = errorCode{1, "UNSUPPORTED_METHOD"}
	codeSameQueryID       = errorCode{216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"}
	codeUnknownSetting    = errorCode{115, "UNKNOWN_SETTING"}
	codeBadRequest        = errorCode{36, "BAD_ARGUMENTS"}
)

type errorCode struct {
	code int32
	name string
}

func (c errorCode) errorf(format string, args ...any) *engineError {
	return &engineError{code: c.code, name: c.name, text: fmt.Sprintf(format, args...)}
}

var (
	codePrefix = regexp.MustCompile(`^(?:Error: )?Code: (\d+)\. `)
	nameSuffix = regexp.MustCompile(`\s*\(([A-Z][A-Z0-9_]+)\)\s*$`)
)

// parseEngineError takes apart the text with which the library reports an exception:
// `Code: 60. DB::Exception: Unknown table … (UNKNOWN_TABLE)`.
func parseEngineError(text string) *engineError {
	e := &engineError{code: codeUnknownException.code, text: strings.TrimSpace(text)}
	m := codePrefix.FindStringSubmatch(text)
	if m == nil {
		e.name = codeUnknownException.name
		return e
	}
	if n, err := strconv.ParseInt(m[1], 10, 32); err == nil {
		e.code = int32(n)
	}
	e.text = text[len(m[0]):]
	if s := nameSuffix.FindStringSubmatchIndex(e.text); s != nil {
		e.name = e.text[s[2]:s[3]]
		e.text = e.text[:s[0]]
	}
	e.text = strings.TrimSpace(strings.TrimPrefix(e.text, "DB::Exception: "))
	return e
}
