package importing

import (
	"strings"
	"unicode/utf8"
)

// logFields are the names of what a line of a web server's log holds, in the order of a [splitLog].
var logFields = []string{
	"address", "ident", "user", "time", "request", "method", "uri", "path", "query", "protocol", "status", "bytes", "referrer", "user_agent",
	"extra_1", "extra_2", "extra_3", "extra_4",
}

const (
	logAddress = iota
	logIdent
	logUser
	logTime
	logRequest
	logMethod
	logURI
	logPath
	logQuery
	logProtocol
	logStatus
	logBytes
	logReferrer
	logUserAgent
	logExtra
)

// logLine is a line of a log, by logFields. Its strings are parts of the line wherever nothing had to be unescaped.
type logLine [18]string

var (
	errLogShort = bad("the line is no common or combined log: write address, identity, user, [time], \"request\", status, bytes, \"referrer\", \"user agent\"")
	errLogTime  = bad("the time of the request in [brackets] is missing or has no end")
	errLogQuote = bad("a quoted field has no end")
)

// splitLog reads a line of the common log format, or the combined one, with up to four more quoted fields behind it. A dash, which
// stands for nothing, stays a dash. In quoted fields \" \\ \n \r \t \v \b and \xHH are unescaped, as Apache and nginx write them. A
// request that is no HTTP request (scanners of ports send such) leaves method, uri and protocol empty.
func splitLog(s string, out *logLine) *Bad {
	*out = logLine{}
	var ok bool
	if out[logAddress], s, ok = strings.Cut(s, " "); !ok || out[logAddress] == "" {
		return errLogShort
	}
	if out[logIdent], s, ok = strings.Cut(s, " "); !ok || out[logIdent] == "" {
		return errLogShort
	}
	at := strings.Index(s, " [") // a user's name may have spaces
	if at < 0 {
		return errLogTime
	}
	out[logUser], s = s[:at], s[at+2:]
	if out[logTime], s, ok = strings.Cut(s, "]"); !ok {
		return errLogTime
	}
	if s, ok = strings.CutPrefix(s, ` "`); !ok {
		return errLogShort
	}
	if out[logRequest], s, ok = quoted(s); !ok {
		return errLogQuote
	}
	splitRequest(out)
	if s, ok = strings.CutPrefix(s, " "); !ok {
		return errLogShort
	}
	out[logStatus], s, _ = strings.Cut(s, " ")
	if !isNumber(out[logStatus]) {
		return bad("the status is no number")
	}
	out[logBytes], s, _ = strings.Cut(s, " ")
	if !isNumber(out[logBytes]) {
		return bad("the number of bytes is no number")
	}
	for i := logReferrer; s != ""; i++ {
		if i == len(out) {
			return nil // what comes further back is somebody's own
		}
		s, ok = strings.CutPrefix(s, `"`)
		if ok {
			out[i], s, ok = quoted(s)
			if !ok {
				return errLogQuote
			}
			if s != "" && s[0] != ' ' {
				return errLogQuote
			}
			s = strings.TrimPrefix(s, " ")
			continue
		}
		if i < logExtra {
			return bad("the %s is not in quotes", logFields[i])
		}
		out[i], s, _ = strings.Cut(s, " ")
	}
	return nil
}

// splitRequest takes `GET /path?query HTTP/1.1` apart.
func splitRequest(out *logLine) {
	method, rest, ok := strings.Cut(out[logRequest], " ")
	if !ok || method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return
	}
	uri := rest
	if at := strings.LastIndexByte(rest, ' '); at >= 0 {
		uri, out[logProtocol] = rest[:at], rest[at+1:]
		if !strings.HasPrefix(out[logProtocol], "HTTP/") {
			uri, out[logProtocol] = rest, ""
		}
	}
	out[logMethod], out[logURI] = method, uri
	for _, scheme := range []string{"http://", "https://"} {
		if after, ok := strings.CutPrefix(uri, scheme); ok { // as a proxy is asked
			uri = "/"
			if at := strings.IndexByte(after, '/'); at >= 0 {
				uri = after[at:]
			}
		}
	}
	out[logPath], out[logQuery], _ = strings.Cut(uri, "?")
}

// isNumber: digits, or a dash for none.
func isNumber(s string) bool {
	if s == "-" {
		return true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 19
}

// quoted reads up to the closing quote. ok is false when there is none.
func quoted(s string) (text, rest string, ok bool) {
	for i := range len(s) {
		switch s[i] {
		case '"':
			return s[:i], s[i+1:], true
		case '\\':
			return unescape(s, i)
		}
	}
	return "", "", false
}

// unescape goes on from the first backslash, at i.
func unescape(s string, i int) (text, rest string, ok bool) {
	b := make([]byte, 0, len(s))
	b = append(b, s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			text = string(b)
			if !utf8.ValidString(text) {
				text = fromLatin1(text)
			}
			return text, s[i+1:], true
		}
		if c != '\\' || i+1 == len(s) {
			b = append(b, c)
			continue
		}
		i++
		switch c = s[i]; c {
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'v':
			b = append(b, '\v')
		case 'b':
			b = append(b, '\b')
		case 'x':
			if i+2 < len(s) && digit(s[i+1]) < 16 && digit(s[i+2]) < 16 {
				b = append(b, digit(s[i+1])<<4|digit(s[i+2]))
				i += 2
				continue
			}
			b = append(b, '\\', 'x')
		case '"', '\\':
			b = append(b, c)
		default:
			b = append(b, '\\', c)
		}
	}
	return "", "", false
}

// digit is the value of a hexadecimal digit, 16 for anything else.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
