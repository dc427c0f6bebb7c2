package chembed

import "net/http"

// Codes that the HTTP interface itself answers with.
var (
	codeSyntaxError        = errorCode{62, "SYNTAX_ERROR"}
	codeQueryTooLarge      = errorCode{229, "QUERY_IS_TOO_LARGE"}
	codeSocketTimeout      = errorCode{209, "SOCKET_TIMEOUT"}
	codeSessionNotFound    = errorCode{372, "SESSION_NOT_FOUND"}
	codeSessionIsLocked    = errorCode{373, "SESSION_IS_LOCKED"}
	codeSessionTimeout     = errorCode{374, "INVALID_SESSION_TIMEOUT"}
	codeSessionLimit       = errorCode{700, "USER_SESSION_LIMIT_EXCEEDED"}
	codeSessionIDEmpty     = errorCode{744, "SESSION_ID_EMPTY"}
	codeUnknownRole        = errorCode{511, "UNKNOWN_ROLE"}
	codeUnknownCompression = errorCode{89, "UNKNOWN_COMPRESSION_METHOD"}
	codeCannotReadAllData  = errorCode{33, "CANNOT_READ_ALL_DATA"}
	codeInflateFailed      = errorCode{354, "ZLIB_INFLATE_FAILED"}
	codeBrotliReadFailed   = errorCode{448, "BROTLI_READ_FAILED"}
	codeZstdDecoderFailed  = errorCode{561, "ZSTD_DECODER_FAILED"}
	codeLZ4DecoderFailed   = errorCode{618, "LZ4_DECODER_FAILED"}
	codeLogicalError       = errorCode{49, "LOGICAL_ERROR"}
)

// httpStatus is the status with which ClickHouse answers an exception of this code.
func httpStatus(code int32) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 516, 512, 497: // UNKNOWN_USER, WRONG_PASSWORD, AUTHENTICATION_FAILED, SET_NON_GRANTED_ROLE, ACCESS_DENIED
		return http.StatusForbidden
	case 36, 427, // BAD_ARGUMENTS, CANNOT_COMPILE_REGEXP
		6, 25, 26, 27, 38, 41, 72, 376, 441, 675, 676, // CANNOT_PARSE_ TEXT, ESCAPE_SEQUENCE, QUOTED_STRING, INPUT_ASSERTION_FAILED, DATE, DATETIME, NUMBER, UUID, DOMAIN…, IPV4, IPV6
		15, 44, 8, // DUPLICATE_COLUMN, ILLEGAL_COLUMN, THERE_IS_NO_COLUMN
		37, 123, 167, 168, 223, // UNKNOWN_ELEMENT_IN_AST, UNKNOWN_TYPE_OF_AST_NODE, TOO_DEEP_AST, TOO_BIG_AST, UNEXPECTED_AST_STRUCTURE
		62, 117, 53, 321: // SYNTAX_ERROR, INCORRECT_DATA, TYPE_MISMATCH, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
		return http.StatusBadRequest
	case 60, 46, 47, 50, 56, 81, 115, 152, 63, 73, 336, 78, 511: // UNKNOWN_ TABLE, FUNCTION, IDENTIFIER, TYPE, STORAGE, DATABASE, SETTING, DIRECTION_OF_SORTING, AGGREGATE_FUNCTION, FORMAT, DATABASE_ENGINE, TYPE_OF_QUERY, ROLE
		return http.StatusNotFound
	case 229: // QUERY_IS_TOO_LARGE
		return http.StatusRequestEntityTooLarge
	case 779: // UNSUPPORTED_MEDIA_TYPE
		return http.StatusUnsupportedMediaType
	case 48: // NOT_IMPLEMENTED
		return http.StatusNotImplemented
	case 209, 76, 439: // SOCKET_TIMEOUT, CANNOT_OPEN_FILE, CANNOT_SCHEDULE_TASK
		return http.StatusServiceUnavailable
	case 159: // TIMEOUT_EXCEEDED
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}
