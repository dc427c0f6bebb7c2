package chembed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The engine formats every chunk of a streamed result as a document of its own: with the names again, or with brackets around it. A
// stitcher makes one document of them, byte for byte what the engine writes when it is asked for the whole.
type stitcher interface {
	// add passes on what chunk adds to the document.
	add(w io.Writer, chunk []byte) error
	// end passes on what follows the last row. The totals are of the whole result.
	end(w io.Writer, total stats, elapsed time.Duration) error
}

// newStitcher returns the stitcher of a format, or nil if the format's documents cannot be made one: they are asked for as a whole.
// revision is the client's, for blocks of the Native format; 0 leaves them as they are.
func newStitcher(format string, revision int) stitcher {
	switch f := strings.ToLower(format); f {
	case "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "raw", "lineasstring", "tskv", "csv", "rowbinary", "msgpack", "bsoneachrow", "null",
		"jsoneachrow", "jsonlines", "jsonl", "ndjson", "jsoncompacteachrow", "jsonstringseachrow", "jsoncompactstringseachrow":
		return plainStitcher{}
	case "values":
		return &joinStitcher{between: ","}
	case "native":
		if revision == 0 {
			return plainStitcher{}
		}
		return nativeStitcher{newTranscoder(revision)}
	case "tabseparatedwithnames", "tsvwithnames", "jsoncompacteachrowwithnames", "jsoncompactstringseachrowwithnames":
		return &headerStitcher{length: func(b []byte) int { return lines(b, 1) }}
	case "tabseparatedwithnamesandtypes", "tsvwithnamesandtypes", "jsoncompacteachrowwithnamesandtypes", "jsoncompactstringseachrowwithnamesandtypes":
		return &headerStitcher{length: func(b []byte) int { return lines(b, 2) }}
	case "csvwithnames":
		return &headerStitcher{length: func(b []byte) int { return csvRecords(b, 1) }}
	case "csvwithnamesandtypes":
		return &headerStitcher{length: func(b []byte) int { return csvRecords(b, 2) }}
	case "rowbinarywithnames":
		return &headerStitcher{length: func(b []byte) int { return binaryStrings(b, 1) }}
	case "rowbinarywithnamesandtypes":
		return &headerStitcher{length: func(b []byte) int { return binaryStrings(b, 2) }}
	case "json", "jsoncompact", "jsonstrings", "jsoncompactstrings":
		return &jsonStitcher{}
	}
	return nil
}

// plainStitcher is of formats that are one row after another.
type plainStitcher struct{}

func (plainStitcher) add(w io.Writer, chunk []byte) error {
	_, err := w.Write(chunk)
	return err
}

func (plainStitcher) end(io.Writer, stats, time.Duration) error { return nil }

// nativeStitcher writes blocks as a client of some revision reads them.
type nativeStitcher struct{ tr *transcoder }

func (s nativeStitcher) add(w io.Writer, chunk []byte) error { return s.tr.write(w, chunk) }

func (nativeStitcher) end(io.Writer, stats, time.Duration) error { return nil }

// joinStitcher is of a format that has something between its rows.
type joinStitcher struct {
	between string
	begun   bool
}

func (s *joinStitcher) add(w io.Writer, chunk []byte) error {
	if len(chunk) == 0 {
		return nil
	}
	if s.begun {
		if _, err := io.WriteString(w, s.between); err != nil {
			return err
		}
	}
	s.begun = true
	_, err := w.Write(chunk)
	return err
}

func (*joinStitcher) end(io.Writer, stats, time.Duration) error { return nil }

// headerStitcher keeps the names of the first chunk, and cuts them from those after it.
type headerStitcher struct {
	length func([]byte) int // of the header at the beginning of a chunk; -1 if there is none
	header []byte
	begun  bool
}

func (s *headerStitcher) add(w io.Writer, chunk []byte) error {
	if !s.begun {
		n := s.length(chunk)
		if n < 0 {
			return codeLogicalError.errorf("a chunk of the result does not begin with its columns' names")
		}
		s.begun, s.header = true, bytes.Clone(chunk[:n])
		_, err := w.Write(chunk)
		return err
	}
	rows, ok := bytes.CutPrefix(chunk, s.header)
	if !ok {
		return codeLogicalError.errorf("a chunk of the result begins with other names than the first")
	}
	_, err := w.Write(rows)
	return err
}

func (*headerStitcher) end(io.Writer, stats, time.Duration) error { return nil }

// lines is the length of the first n lines of b, or -1 if it has fewer. In the formats it is for, a line break in a name is escaped.
func lines(b []byte, n int) int {
	at := 0
	for range n {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
	}
	return at
}

// csvRecords is the length of the first n records of b, whose fields are in double quotes and may hold line breaks; -1 if it has fewer.
func csvRecords(b []byte, n int) int {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted // a doubled quote leaves and enters
		case c == '\n' && !quoted:
			if n--; n == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// binaryStrings is the length of a RowBinary header: the number of columns, then n strings for each; -1 if b is not that.
func binaryStrings(b []byte, n uint64) int {
	columns, at := binary.Uvarint(b)
	if at <= 0 || columns > uint64(len(b)) {
		return -1
	}
	for range columns * n {
		size, k := binary.Uvarint(b[at:])
		if k <= 0 || size > uint64(len(b)-at-k) {
			return -1
		}
		at += k + int(size)
	}
	return at
}

// jsonStitcher is of the formats that are one JSON object: columns, rows, their number, statistics. The engine writes each element of
// the object on lines of their own, indented by one tab, and line breaks within strings as \n: so a line that begins with exactly
// one tab is the object's own, never a row's or a value's.
type jsonStitcher struct {
	begun, rows bool
	tail        []byte // of the last chunk
}

var (
	jsonData = []byte("\n\t\"data\":\n\t[\n")
	jsonTail = []byte("\n\t],\n\n\t\"rows\": ")
)

func (s *jsonStitcher) add(w io.Writer, chunk []byte) error {
	head, tail, ok := cutJSON(chunk)
	if !ok {
		return codeLogicalError.errorf("a chunk of the result is not the JSON that was expected")
	}
	rows := chunk[head:tail]
	s.tail = append(s.tail[:0], chunk[tail:]...)
	if !s.begun {
		s.begun = true
		if _, err := w.Write(chunk[:head]); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if s.rows {
		if _, err := io.WriteString(w, ",\n"); err != nil {
			return err
		}
	}
	s.rows = true
	_, err := w.Write(rows)
	return err
}

// cutJSON finds the rows of a document, chunk[head:tail].
func cutJSON(chunk []byte) (head, tail int, ok bool) {
	head = bytes.Index(chunk, jsonData)
	if head < 0 {
		return 0, 0, false
	}
	head += len(jsonData)
	tail = bytes.LastIndex(chunk, jsonTail)
	return head, tail, tail >= head
}

// end writes the last chunk's tail with the numbers of the whole result.
func (s *jsonStitcher) end(w io.Writer, total stats, elapsed time.Duration) error {
	if !s.begun {
		return nil
	}
	for line := range bytes.Lines(s.tail) {
		name, _, found := bytes.Cut(line, []byte(": "))
		value := ""
		if found {
			switch string(name) {
			case "\t\"rows\"":
				value = fmt.Sprint(total.rows)
			case "\t\t\"elapsed\"":
				value = fmt.Sprintf("%.9f", elapsed.Seconds())
			case "\t\t\"rows_read\"":
				value = fmt.Sprint(total.readRows)
			case "\t\t\"bytes_read\"":
				value = fmt.Sprint(total.readBytes)
			}
		}
		var err error
		if value == "" {
			_, err = w.Write(line)
		} else {
			comma := ""
			if bytes.HasSuffix(line, []byte(",\n")) {
				comma = ","
			}
			_, err = fmt.Fprintf(w, "%s: %s%s\n", name, value, comma)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// totalsInPlace puts a JSON document right whose result has totals and no rows: the engine writes the end of the rows, and the totals,
// before the document's beginning.
func totalsInPlace(document []byte) []byte {
	if !bytes.HasPrefix(document, []byte("\n")) {
		return document
	}
	begin := bytes.Index(document, []byte("{\n\t\"meta\":\n"))
	if begin < 0 {
		return document
	}
	totals, rest := bytes.TrimLeft(document[:begin], "\n"), document[begin:]
	at := bytes.Index(rest, jsonData)
	if at < 0 {
		return document
	}
	at += len(jsonData)
	return slices.Concat(rest[:at], []byte("\n"), totals, rest[at:])
}
