package importing

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxLine is the most bytes a line may have, and a CSV record over all its lines.
const MaxLine = 256 << 10

// Reasons for which a line is bad whatever its format.
var (
	errLongLine = bad("the line is longer than %d KiB", MaxLine>>10)
	errNUL      = bad("the line has a NUL byte")
)

// A Bad is why a line cannot be imported. It quotes nothing that could name a person.
type Bad struct{ Reason string }

func (b *Bad) Error() string { return b.Reason }

func bad(format string, args ...any) *Bad { return &Bad{fmt.Sprintf(format, args...)} }

// lines reads the lines of one file. LF, CRLF and a last line without an end are taken; a byte order mark is dropped.
type lines struct {
	in      *bufio.Reader
	number  int    // of the line read last, from 1
	buf     []byte // of a line that did not fit into in
	pending []line // given back, the next one last
	latin1  int    // lines that were not UTF-8 and were read as Windows-1252
	err     error
}

// line is one line without its end. text is valid only until the next call of next, unless it is kept.
type line struct {
	number int
	text   []byte
	err    *Bad
}

// newLines looks at the beginning of r. The error names an encoding that is not read, or is r's own.
func newLines(r io.Reader) (*lines, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(2)
	if len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		z, zerr := gzip.NewReader(in)
		if zerr != nil {
			return nil, fmt.Errorf("it begins like a gzip file and is none: unpack it, or fetch it again")
		}
		in = bufio.NewReaderSize(z, 256<<10)
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	head, err = in.Peek(512)
	if err != nil && err != io.EOF {
		return nil, readError(err)
	}
	if name := encoding(head); name != "" {
		return nil, fmt.Errorf("it is %s, which is not read: write it as UTF-8, with iconv -f %s -t UTF-8", name, name)
	}
	if bytes.HasPrefix(head, []byte("\ufeff")) {
		_, _ = in.Discard(3) // they have been peeked at
	}
	return &lines{in: in}, nil
}

// encoding names an encoding of two or four bytes a character, "" when head does not look like one.
func encoding(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(head, []byte{0, 0, 0xfe, 0xff}):
		return "UTF-32"
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return "UTF-16"
	}
	// Without a mark: text in which nearly every other byte is NUL.
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	if half := len(head) / 2; half >= 8 {
		if zeros[0] > half*3/4 && zeros[1] < half/4 {
			return "UTF-16BE"
		}
		if zeros[1] > half*3/4 && zeros[0] < half/4 {
			return "UTF-16LE"
		}
	}
	return ""
}

func readError(err error) error {
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the gzip file is cut off or damaged: fetch it again")
	}
	return err
}

// next returns the next line, or io.EOF, or the reader's error.
func (l *lines) next() (line, error) {
	if n := len(l.pending); n > 0 {
		got := l.pending[n-1]
		l.pending = l.pending[:n-1]
		return got, nil
	}
	if l.err != nil {
		return line{}, l.err
	}
	text, err := l.in.ReadSlice('\n')
	long := false
	if errors.Is(err, bufio.ErrBufferFull) {
		l.buf = append(l.buf[:0], text...)
		for errors.Is(err, bufio.ErrBufferFull) {
			text, err = l.in.ReadSlice('\n')
			if room := MaxLine + 2 - len(l.buf); len(text) > room {
				l.buf, long = append(l.buf, text[:max(room, 0)]...), true
			} else {
				l.buf = append(l.buf, text...)
			}
		}
		text = l.buf
	}
	if err != nil {
		l.err = err
		if err != io.EOF {
			l.err = readError(err)
			return line{}, l.err
		}
		if len(text) == 0 {
			return line{}, io.EOF
		}
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	l.number++
	got := line{number: l.number, text: text}
	switch {
	case long || len(text) > MaxLine:
		got.text, got.err = text[:min(len(text), MaxLine)], errLongLine
	case bytes.IndexByte(text, 0) >= 0:
		got.err = errNUL
	case !utf8.Valid(text):
		got.text = []byte(fromLatin1(string(text)))
		l.latin1++
	}
	return got, nil
}

// back gives lines back, to be read again in this order. It keeps their text.
func (l *lines) back(list []line) {
	for i := len(list) - 1; i >= 0; i-- {
		l.pending = append(l.pending, list[i])
	}
}

// windows1252 are the characters of the bytes 0x80 to 0x9f; the other bytes are those of Latin-1.
const windows1252 = "\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f" +
	"\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178"

var high = []rune(windows1252)

// fromLatin1 keeps what is valid UTF-8 in s and reads every other byte as Windows-1252: files that several programs wrote have both.
func fromLatin1(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch c := s[i]; {
		case r != utf8.RuneError || size > 1:
			b.WriteString(s[i : i+size])
		case c < 0xa0:
			b.WriteRune(high[c-0x80])
		default:
			b.WriteRune(rune(c))
		}
		i += size
	}
	return b.String()
}
