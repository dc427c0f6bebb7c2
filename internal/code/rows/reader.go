package rows

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxRecord is how many bytes a row may have: pictures may stand in it.
const MaxRecord = 4 << 20

// A Problem is what is wrong with a row, or with the file.
type Problem struct {
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1; 0: the row as a whole
	Name   string // the column's; "" as well
	Kind   Kind
	Reason string // what to do; quotes of the file at most a little
	Fatal  bool   // the rest cannot be read
}

// Kind is what sort of problem it is, for programs.
type Kind string

// Kinds of problems.
const (
	Unreadable Kind = "bad_csv"
	Unknown    Kind = "unknown_field"
	Repeated   Kind = "duplicate_field"
	NotUTF8    Kind = "invalid_utf8"
)

func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.Reason
	}
	return "line " + strconv.Itoa(p.Line) + Place(p.Column, p.Name) + ": " + p.Reason
}

// Place is ", column B (url)": as spreadsheets letter them.
func Place(column int, name string) string {
	if column < 1 {
		if name != "" {
			return ", " + name
		}
		return ""
	}
	s := ", column " + Letters(column)
	if name != "" {
		s += " (" + name + ")"
	}
	return s
}

// Letters is a column's number as spreadsheets write it: 1 is A, 27 is AA.
func Letters(column int) string {
	var b []byte
	for ; column > 0; column = (column - 1) / 26 {
		b = append([]byte{byte('A' + (column-1)%26)}, b...)
	}
	return string(b)
}

// A Row is one code. Cells are trimmed and in the order of the columns.
type Row struct {
	Line  int
	Cells []string
}

// Reader reads rows one after the other. Not safe for concurrent use.
type Reader struct {
	in      *scanner
	columns []Column
}

// NewReader reads the head. An error is a *Problem, or the one of r.
func NewReader(r io.Reader) (*Reader, error) {
	in, err := newScanner(r)
	if err != nil {
		return nil, err
	}
	head, line, err := in.record()
	if errors.Is(err, io.EOF) {
		return nil, &Problem{Kind: Unreadable, Reason: "the CSV needs a header line and at least one row: its first line names the columns, such as name,url,capacity", Fatal: true}
	}
	if err != nil {
		return nil, fatal(err)
	}
	out := &Reader{in: in}
	seen := make(map[string]bool)
	for i, name := range head {
		if p := check(name); p != "" {
			return nil, &Problem{Line: line, Column: i + 1, Kind: NotUTF8, Reason: p, Fatal: true}
		}
		c, ok := columnOf(name)
		switch {
		case strings.TrimSpace(name) == "":
			return nil, &Problem{Line: line, Column: i + 1, Kind: Unknown, Reason: "the column has no name: give it one, or delete the column", Fatal: true}
		case !ok:
			return nil, &Problem{Line: line, Column: i + 1, Name: clip(strings.ToLower(strings.TrimSpace(name))), Kind: Unknown, Fatal: true,
				Reason: "there is no such column: use " + strings.Join(Fields, ", ") + ", and url, picture, capacity, url_2 to url_" + strconv.Itoa(MaxTargets)}
		case seen[c.Name]:
			return nil, &Problem{Line: line, Column: i + 1, Name: c.Name, Kind: Repeated, Reason: "the column stands twice: rename one (the second target's are url_2 and capacity_2)", Fatal: true}
		}
		seen[c.Name] = true
		out.columns = append(out.columns, c)
	}
	return out, nil
}

func fatal(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		p.Fatal = true
	}
	return err
}

// Columns are those of the head. The caller must not change them.
func (r *Reader) Columns() []Column { return r.columns }

// Number is a column's place in the head from 1, 0 when it is not there.
func (r *Reader) Number(name string) int {
	for i, c := range r.columns {
		if c.Name == name {
			return i + 1
		}
	}
	return 0
}

// Next returns the next row that is not empty, io.EOF after the last. After a *Problem that is not Fatal it goes on with the next row.
func (r *Reader) Next() (Row, error) {
	for {
		cells, line, err := r.in.record()
		if err != nil {
			if p, ok := errors.AsType[*Problem](err); ok && p.Column > 0 && p.Column <= len(r.columns) {
				p.Name = r.columns[p.Column-1].Name
			}
			return Row{}, err
		}
		empty := true
		for i, cell := range cells {
			if p := check(cell); p != "" {
				name := ""
				if i < len(r.columns) {
					name = r.columns[i].Name
				}
				return Row{}, &Problem{Line: line, Column: i + 1, Name: name, Kind: NotUTF8, Reason: p}
			}
			if cells[i] = strings.TrimSpace(cell); cells[i] != "" {
				empty = false
			}
		}
		if empty {
			continue
		}
		if len(cells) != len(r.columns) {
			return Row{}, &Problem{Line: line, Kind: Unreadable, Reason: fmt.Sprintf("the row has %d cells, the head has %d: quote cells that have %s in them", len(cells), len(r.columns), r.in.delimiter())}
		}
		return Row{line, cells}, nil
	}
}

const saveAs = `save it as "CSV UTF-8" (Excel: File, Save As)`

// check says what is wrong with a cell's bytes, "" for nothing.
func check(cell string) string {
	switch {
	case strings.IndexByte(cell, 0) >= 0:
		return "it has a NUL byte, which no text has: " + saveAs
	case !utf8.ValidString(cell):
		return "it is not UTF-8, maybe GBK: " + saveAs
	}
	return ""
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// scanner cuts a file into records of cells (RFC 4180).
type scanner struct {
	r     *bufio.Reader
	comma byte
	line  int // of the next byte, from 1
	ended bool
	err   error // the reader's own
}

var beginnings = []struct{ bytes, reason string }{
	{"\xff\xfe\x00\x00", "the file is UTF-32: " + saveAs},
	{"\x00\x00\xfe\xff", "the file is UTF-32: " + saveAs},
	{"\xff\xfe", "the file is UTF-16: " + saveAs},
	{"\xfe\xff", "the file is UTF-16: " + saveAs},
	{"PK\x03\x04", "the file is a workbook (.xlsx) or a zip, no CSV: " + saveAs},
	{"\xd0\xcf\x11\xe0", "the file is an old workbook (.xls), no CSV: " + saveAs},
	{"\x1f\x8b", "the file is compressed: unpack it with gunzip"},
	{"\x28\xb5\x2f\xfd", "the file is compressed: unpack it with unzstd"},
}

// newScanner looks at how a file begins: what it is, and what stands between its cells.
func newScanner(r io.Reader) (*scanner, error) {
	s := &scanner{r: bufio.NewReaderSize(r, 64<<10), comma: ',', line: 1}
	begin, err := s.r.Peek(32 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, b := range beginnings {
		if bytes.HasPrefix(begin, []byte(b.bytes)) {
			return nil, &Problem{Kind: Unreadable, Reason: b.reason, Fatal: true}
		}
	}
	if n := bytes.Count(begin[:min(len(begin), 64)], []byte{0}); n > 8 || n > 0 && n*3 >= min(len(begin), 64) {
		return nil, &Problem{Kind: Unreadable, Reason: "the file is UTF-16, or no text at all: " + saveAs, Fatal: true}
	}
	if bytes.HasPrefix(begin, []byte("\xef\xbb\xbf")) {
		begin = begin[3:]
		_, _ = s.r.Discard(3) // it was peeked
	}
	if rest, ok := bytes.CutPrefix(begin, []byte("sep=")); ok && len(rest) >= 2 && (rest[1] == '\n' || rest[1] == '\r') && strings.IndexByte(",;\t", rest[0]) >= 0 {
		s.comma = rest[0]
		n := 6
		if rest[1] == '\r' && len(rest) > 2 && rest[2] == '\n' {
			n++
		}
		_, _ = s.r.Discard(n)
		s.line++
		return s, nil
	}
	head := begin
	if i := bytes.IndexAny(bytes.TrimLeft(begin, "\r\n"), "\r\n"); i >= 0 {
		head = bytes.TrimLeft(begin, "\r\n")[:i]
	}
	for _, c := range []byte(",;\t") {
		if bytes.IndexByte(head, c) >= 0 {
			s.comma = c
			break
		}
	}
	return s, nil
}

func (s *scanner) delimiter() string {
	switch s.comma {
	case ';':
		return "a semicolon"
	case '\t':
		return "a tab"
	}
	return "a comma"
}

// next returns a byte; a line's end, however it is written, is '\n'.
func (s *scanner) next() (byte, bool) {
	c, err := s.r.ReadByte()
	if err != nil {
		s.ended = true
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
		return 0, false
	}
	if c == '\r' {
		if b, err := s.r.Peek(1); err == nil && b[0] == '\n' {
			_, _ = s.r.ReadByte() // it was peeked
		}
		c = '\n'
	}
	if c == '\n' {
		s.line++
	}
	return c, true
}

// skip passes over the rest of a line.
func (s *scanner) skip() {
	for {
		if c, ok := s.next(); !ok || c == '\n' {
			return
		}
	}
}

// record reads one record and the line it begins in. Empty lines are passed over.
func (s *scanner) record() (cells []string, line int, err error) {
	if s.ended {
		return nil, 0, s.end()
	}
	var c byte
	ok := true
	for c = '\n'; ok && c == '\n'; {
		line = s.line
		c, ok = s.next()
	}
	if !ok {
		return nil, 0, s.end()
	}
	size := 0
	var cell []byte
	for { // a cell; c is its first byte
		cell = cell[:0]
		quoted := false
		for ok && (c == ' ' || c == '\t' && s.comma != '\t') { // blanks before a quote
			cell = append(cell, c)
			size++
			c, ok = s.next()
			if size > MaxRecord {
				return nil, 0, tooLong(line, "")
			}
		}
		if ok && c == '"' {
			quoted = true
			opened := s.line
			cell = cell[:0]
			for {
				if c, ok = s.next(); !ok {
					if s.err != nil {
						return nil, 0, s.err
					}
					return nil, 0, &Problem{Line: opened, Column: len(cells) + 1, Kind: Unreadable, Reason: "the quote that opens here is never closed", Fatal: true}
				}
				if c == '"' {
					if c, ok = s.next(); !ok || c != '"' {
						break
					}
				}
				cell = append(cell, c)
				if size++; size > MaxRecord {
					return nil, 0, tooLong(line, fmt.Sprintf(", or the quote in line %d is not closed", opened))
				}
			}
		}
		for ok && c != '\n' && c != s.comma {
			if quoted || c == '"' {
				where := s.line
				s.skip()
				reason := `a quote stands inside the cell: quote the whole cell and write "" for each quote in it`
				if quoted {
					reason = `something stands behind the closing quote: write "" for a quote inside a cell`
				}
				return nil, 0, &Problem{Line: where, Column: len(cells) + 1, Kind: Unreadable, Reason: reason}
			}
			cell = append(cell, c)
			if size++; size > MaxRecord {
				return nil, 0, tooLong(line, "")
			}
			c, ok = s.next()
		}
		if s.err != nil {
			return nil, 0, s.err
		}
		cells = append(cells, string(cell))
		if size++; size > MaxRecord {
			return nil, 0, tooLong(line, "")
		}
		if !ok || c == '\n' {
			return cells, line, nil
		}
		if c, ok = s.next(); !ok { // a comma at the very end: one more empty cell
			return append(cells, ""), line, s.err
		}
	}
}

func tooLong(line int, guess string) *Problem {
	return &Problem{Line: line, Kind: Unreadable, Reason: fmt.Sprintf("the row has more than %d MB: it is no row of codes%s", MaxRecord>>20, guess), Fatal: true}
}

func (s *scanner) end() error {
	if s.err != nil {
		return s.err
	}
	return io.EOF
}
