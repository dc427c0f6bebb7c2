package importing

import (
	"bytes"
	"io"
	"strings"
)

// maxColumns bounds the columns of a CSV file.
const maxColumns = 4096

// csvReader reads the records of a CSV file (RFC 4180; blank lines are passed over) on top of lines, so that a record that makes no
// sense costs its first line and nothing behind it.
type csvReader struct {
	in    *lines
	comma byte
	raw   []byte // the record's bytes, as they were read
}

var (
	errCSVQuote = bad("a quoted cell has no end within %d KiB", MaxLine>>10)
	errCSVBare  = bad(`a quote stands within a cell: quote the cell and write "" for each quote in it`)
	errCSVMany  = bad("there are more than %d cells", maxColumns)
)

// next returns the cells of the next record in a slice that is used again, and the number of its first line. raw is what was read.
func (r *csvReader) next(cells []string) (out []string, number int, raw []byte, err error) {
	var first line
	for {
		if first, err = r.in.next(); err != nil {
			return nil, 0, nil, err
		}
		if first.err != nil {
			return nil, first.number, first.text, first.err
		}
		if len(first.text) > 0 {
			break
		}
	}
	out = cells[:0]
	r.raw = append(r.raw[:0], first.text...)
	if bytes.IndexByte(first.text, '"') < 0 {
		for s := string(first.text); ; {
			cell, rest, more := strings.Cut(s, string(rune(r.comma)))
			if out = append(out, cell); len(out) > maxColumns {
				return nil, first.number, r.raw, errCSVMany
			}
			if !more {
				return out, first.number, r.raw, nil
			}
			s = rest
		}
	}
	var after []line // read for this record, to be given back should it make no sense
	giveUp := func(why *Bad) ([]string, int, []byte, error) {
		r.in.back(after)
		return nil, first.number, bytes.Clone(r.raw[:len(first.text)]), why
	}
	text := string(first.text)
	for i := 0; ; {
		if len(out) > maxColumns {
			return giveUp(errCSVMany)
		}
		if i == len(text) || text[i] != '"' {
			end := strings.IndexByte(text[i:], r.comma)
			cell := text[i:]
			if end >= 0 {
				cell = text[i : i+end]
			}
			if strings.IndexByte(cell, '"') >= 0 {
				return giveUp(errCSVBare)
			}
			out = append(out, cell)
			if end < 0 {
				return out, first.number, r.raw, nil
			}
			i += end + 1
			continue
		}
		var cell strings.Builder
		for i++; ; {
			end := strings.IndexByte(text[i:], '"')
			if end >= 0 {
				cell.WriteString(text[i : i+end])
				i += end + 1
				if i < len(text) && text[i] == '"' {
					cell.WriteByte('"')
					i++
					continue
				}
				break
			}
			cell.WriteString(text[i:])
			next, err := r.in.next()
			if err == io.EOF {
				return giveUp(errCSVQuote)
			}
			if err != nil {
				return nil, first.number, r.raw, err
			}
			next.text = bytes.Clone(next.text)
			after = append(after, next)
			if next.err != nil || len(r.raw)+len(next.text) > MaxLine {
				return giveUp(errCSVQuote)
			}
			cell.WriteByte('\n')
			r.raw = append(append(r.raw, '\n'), next.text...)
			text, i = string(next.text), 0
		}
		out = append(out, cell.String())
		if i == len(text) {
			return out, first.number, r.raw, nil
		}
		if text[i] != r.comma {
			return giveUp(errCSVBare)
		}
		i++
	}
}
