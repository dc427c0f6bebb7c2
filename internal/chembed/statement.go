package chembed

import "strings"

// kind says how a statement has to be handed to the engine.
type kind int

const (
	kindOther  kind = iota // run as a whole; a result is small (SHOW, DESCRIBE) or absent (DDL)
	kindSelect             // run as a stream
	kindInsert             // rows follow, in the text or after it
	kindSet                // changes the session
	kindEmpty
)

// statement is what this package needs to know of an SQL text. It does not parse SQL: it finds keywords outside quotes,
// comments and brackets, and leaves all judgement to the engine.
type statement struct {
	kind   kind
	first  string // first keyword, upper case
	text   string // the statement without its final semicolon; of kindInsert without VALUES, FORMAT and data
	format string // of the FORMAT clause; "Values" after VALUES; empty if there is none
	plain  string // text without the FORMAT clause
	data   string // of kindInsert: what follows the FORMAT clause or VALUES in the text
	target string // of kindInsert: the table, or FUNCTION f(…), as written
	list   string // of kindInsert: the column list with its brackets, as written; may be empty
	totals bool   // of kindSelect: it says WITH TOTALS, or sets extremes, somewhere
}

// parseStatement takes sql apart. More than one statement, and clauses which only a client's own process could carry out,
// are errors with the engine's codes.
func parseStatement(sql string) (statement, error) {
	sc := scanner{s: sql}
	var st statement
	first, ok := sc.next()
	for ok && first.text == ";" {
		first, ok = sc.next()
	}
	if !ok {
		return statement{kind: kindEmpty}, nil
	}
	st.first = strings.ToUpper(first.text)
	switch st.first {
	case "INSERT":
		return parseInsert(sql, first, sc)
	case "SELECT", "WITH", "(", "FROM", "VALUES":
		st.kind = kindSelect
	case "SET", "USE":
		st.kind = kindSet
	}
	end := len(sql)
	format := [2]int{-1, -1}
	prev := first
	for depth := first.depthChange(); ; {
		t, ok := sc.next()
		if !ok {
			break
		}
		if end != len(sql) {
			if t.text == ";" {
				continue
			}
			return st, errorCode{62, "SYNTAX_ERROR"}.errorf("Syntax error (Multi-statements are not allowed): failed at position %d (end of query): %s", end+1, clip(sql[end:]))
		}
		depth += t.depthChange()
		if t.word && (strings.EqualFold(t.text, "TOTALS") && strings.EqualFold(prev.text, "WITH") || t.text == "extremes" && sc.peekSign("=")) {
			st.totals = true
		}
		switch {
		case depth != 0:
		case t.text == ";":
			end = t.start
		case t.word && strings.EqualFold(prev.text, "INTO") && strings.EqualFold(t.text, "OUTFILE"):
			return st, codeNotImplemented.errorf("INTO OUTFILE is not allowed: a server does not write a client's files")
		case prev.word && strings.EqualFold(prev.text, "FORMAT") && t.word && st.first != "CREATE" && st.first != "ALTER":
			// Only the last clause of a statement, or SETTINGS after it: `format` is a column's name elsewhere.
			look := sc
			n, more := look.next()
			if !more || n.text == ";" || strings.EqualFold(n.text, "SETTINGS") {
				st.format, format = t.text, [2]int{prev.start, t.end}
			}
		}
		prev = t
	}
	st.text = sql[:end]
	st.plain = st.text
	if format[0] >= 0 {
		st.plain = sql[:format[0]] + sql[format[1]:end]
	}
	return st, nil
}

// parseInsert takes an INSERT apart: `INSERT INTO [TABLE] target [(columns)] [SETTINGS …] {VALUES | FORMAT f} data`, or with
// a query of its own, which makes it an ordinary statement.
func parseInsert(sql string, first token, sc scanner) (statement, error) {
	st := statement{kind: kindInsert, first: "INSERT"}
	depth, afterTarget, targetStart := 0, false, -1
	listStart := -1
	prev := first
	for {
		t, ok := sc.next()
		if !ok || (depth == 0 && t.text == ";") {
			end := len(sql)
			if ok {
				end = t.start
				if _, more := sc.next(); more {
					return st, errorCode{62, "SYNTAX_ERROR"}.errorf("Syntax error (Multi-statements are not allowed): failed at position %d (end of query)", end+1)
				}
			}
			// No FORMAT and no VALUES: rows follow in the client's own format.
			st.text = sql[:end]
			st.plain = st.text
			if targetStart >= 0 && !afterTarget {
				st.target = strings.TrimSpace(sql[targetStart:end])
			}
			return st, nil
		}
		before := depth
		depth += t.depthChange()
		upper := ""
		if t.word && before == 0 {
			upper = strings.ToUpper(t.text)
		}
		switch {
		case targetStart < 0:
			// INTO and TABLE are optional words before the target; FUNCTION belongs to it.
			if upper != "INTO" && upper != "TABLE" {
				targetStart = t.start
			}
		case upper == "VALUES", upper == "FORMAT" && prev.text != ".":
			if !afterTarget {
				st.target = strings.TrimSpace(sql[targetStart:t.start])
			}
			st.text = sql[:t.start]
			st.plain = st.text
			if upper == "VALUES" {
				st.format, st.data = "Values", sql[t.end:]
				if strings.TrimSpace(st.data) == ";" {
					st.data = ""
				}
				return st, nil
			}
			f, ok := sc.next()
			if !ok || !f.word {
				return st, errorCode{62, "SYNTAX_ERROR"}.errorf("Syntax error: failed at position %d: expected the name of a format after FORMAT", t.end+1)
			}
			st.format, st.data = f.text, insertData(sql[f.end:])
			return st, nil
		case upper == "SELECT", upper == "WITH", upper == "WATCH", before == 0 && t.text == "(" && sc.peekIs("SELECT", "WITH"):
			whole, err := wholeStatement(sql, sc)
			whole.first = "INSERT"
			return whole, err
		case upper == "INFILE" && strings.EqualFold(prev.text, "FROM"):
			return st, codeNotImplemented.errorf("FROM INFILE is not allowed: a server does not read a client's files")
		case !afterTarget && before == 0 && t.text == "(" && !functionCall(sql[targetStart:t.start]):
			st.target, afterTarget, listStart = strings.TrimSpace(sql[targetStart:t.start]), true, t.start
		case listStart >= 0 && st.list == "" && depth == 0 && t.text == ")":
			st.list = sql[listStart:t.end]
		case !afterTarget && (upper == "SETTINGS" || upper == "PARTITION"):
			st.target, afterTarget = strings.TrimSpace(sql[targetStart:t.start]), true
		}
		prev = t
	}
}

// functionCall says that what stands before a bracket is `FUNCTION name`, so that the bracket holds its arguments.
func functionCall(before string) bool {
	f := strings.Fields(before)
	return len(f) == 2 && strings.EqualFold(f[0], "FUNCTION")
}

// wholeStatement is sql as one statement that brings its own rows.
func wholeStatement(sql string, sc scanner) (statement, error) {
	depth := 0
	for {
		t, ok := sc.next()
		if !ok {
			return statement{text: sql, plain: sql}, nil
		}
		depth += t.depthChange()
		if t.text == ";" {
			if _, more := sc.next(); more {
				return statement{}, errorCode{62, "SYNTAX_ERROR"}.errorf("Syntax error (Multi-statements are not allowed): failed at position %d (end of query)", t.end)
			}
			return statement{text: sql[:t.start], plain: sql[:t.start]}, nil
		}
	}
}

// insertData is the data after `FORMAT name`: it starts after one line break, or after the blanks if there is none.
func insertData(s string) string {
	s = strings.TrimLeft(s, " \t\f")
	if strings.TrimSpace(s) == ";" {
		return ""
	}
	s = strings.TrimPrefix(s, "\r")
	return strings.TrimPrefix(s, "\n")
}

// token is one word, quoted text or sign of an SQL text.
type token struct {
	text       string
	start, end int
	word       bool // a bare word or number, not quoted
}

func (t token) depthChange() int {
	switch t.text {
	case "(", "[", "{":
		return 1
	case ")", "]", "}":
		return -1
	}
	return 0
}

// scanner yields the tokens of an SQL text, without blanks and comments.
type scanner struct {
	s string
	i int
}

func (sc scanner) peekIs(words ...string) bool {
	t, ok := sc.next()
	for ok && t.text == "(" {
		t, ok = sc.next()
	}
	for _, w := range words {
		if ok && t.word && strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

// peekSign says that the next token is this sign.
func (sc scanner) peekSign(sign string) bool {
	t, ok := sc.next()
	return ok && t.text == sign
}

func (sc *scanner) next() (token, bool) {
	s := sc.s
	for sc.i < len(s) {
		rest := s[sc.i:]
		switch c := s[sc.i]; {
		case c <= ' ' || c == 0x7f:
			sc.i++
			continue
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
			sc.skipTo("\n")
			continue
		case strings.HasPrefix(rest, "/*"):
			sc.i += 2
			sc.skipTo("*/")
			continue
		case c == '\'' || c == '"' || c == '`':
			end := skipQuoted(s, sc.i)
			if end < 0 {
				end = len(s)
			}
			return sc.take(end, false)
		case c == '$':
			// A here document: $tag$ … $tag$.
			if n := strings.IndexByte(rest[1:], '$'); n >= 0 && isWord(rest[1:1+n]) {
				tag := rest[:n+2]
				if m := strings.Index(rest[len(tag):], tag); m >= 0 {
					return sc.take(sc.i+2*len(tag)+m, false)
				}
			}
			return sc.take(sc.i+1, false)
		case isWordByte(c):
			end := sc.i + 1
			for end < len(s) && isWordByte(s[end]) {
				end++
			}
			return sc.take(end, true)
		default:
			return sc.take(sc.i+1, false)
		}
	}
	return token{}, false
}

func (sc *scanner) take(end int, word bool) (token, bool) {
	t := token{text: sc.s[sc.i:end], start: sc.i, end: end, word: word}
	sc.i = end
	return t, true
}

func (sc *scanner) skipTo(mark string) {
	n := strings.Index(sc.s[sc.i:], mark)
	if n < 0 {
		sc.i = len(sc.s)
		return
	}
	sc.i += n + len(mark)
}

func isWord(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return true
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
