package importing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// An Input is one file to import.
type Input struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// A BadLine is a line that was not imported, with the reason.
type BadLine struct {
	File   string
	Line   int // from 1; of a record over several lines, the first
	Reason string
	Raw    string // the line as it was read; the beginning of one that is too long
	Head   string // of a CSV file: its first record
}

// item is one record with where it is from.
type item struct {
	Record
	line int
	raw  string
}

// chunk is a run of records of one file.
type chunk struct {
	file  string
	head  string
	items []item
	first bool // the file begins with it
}

// reader reads inputs and hands out chunks.
type reader struct {
	m      *Mapping
	size   int
	every  time.Duration // a chunk goes out after this long at the latest; 0: when it is full
	now    func() time.Time
	latest time.Time
	count  *counters
	bad    func(BadLine)
	out    chan<- *chunk
	pool   chan *chunk
	skips  map[string]int64
}

// records is one file's records, whatever its format.
type records interface {
	// next fills values and returns the record's line and what was read. A *Bad costs one record; any other error ends the file.
	next(values []string) (line int, raw string, err error)
}

// file reads one input to its end.
func (r *reader) file(ctx context.Context, in Input) error {
	f, err := in.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := newLines(&countingReader{f, r.count})
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	defer func() { r.count.latin1.Add(int64(l.latin1)) }()
	recs, head, err := r.m.open(l)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	values := make([]string, len(r.m.fields))
	c := r.fresh(in.Name, head)
	c.first = true
	began := r.now()
	var seen int
	for {
		if seen++; seen&1023 == 0 {
			r.count.lines.Store(r.count.before + int64(l.number))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		line, raw, err := recs.next(values)
		if err == io.EOF {
			break
		}
		var why *Bad
		if err == nil {
			if n := len(c.items); n < cap(c.items) {
				c.items = c.items[:n+1]
			} else {
				c.items = append(c.items, item{})
			}
			it := &c.items[len(c.items)-1]
			if err = r.m.Apply(values, r.latest, &it.Record); err == nil {
				it.line, it.raw = line, raw
				if len(c.items) == r.size || r.every > 0 && r.now().Sub(began) > r.every {
					if c, err = r.send(ctx, c); err != nil {
						return err
					}
					began = r.now()
				}
				continue
			}
			c.items = c.items[:len(c.items)-1]
			var skip *Skip
			if errors.As(err, &skip) {
				r.skips[skip.Reason]++
				r.count.skipped.Add(1)
				continue
			}
		}
		if !errors.As(err, &why) {
			return fmt.Errorf("%s line %d: %w", in.Name, l.number+1, err)
		}
		r.bad(BadLine{File: in.Name, Line: line, Reason: why.Reason, Raw: raw, Head: head})
	}
	r.count.before += int64(l.number)
	r.count.lines.Store(r.count.before)
	_, err = r.send(ctx, c)
	return err
}

func (r *reader) fresh(file, head string) *chunk {
	select {
	case c := <-r.pool:
		*c = chunk{file: file, head: head, items: c.items[:0]}
		return c
	default:
		return &chunk{file: file, head: head, items: make([]item, 0, r.size)}
	}
}

// send hands a chunk on and returns the next one.
func (r *reader) send(ctx context.Context, c *chunk) (*chunk, error) {
	select {
	case r.out <- c:
		return r.fresh(c.file, c.head), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open begins to read a file in the mapping's format. head is a CSV's first record.
func (m *Mapping) open(l *lines) (recs records, head string, err error) {
	switch m.Format {
	case Combined:
		s := &logRecords{in: l}
		for _, f := range m.fields {
			s.slots = append(s.slots, slices.Index(logFields, f))
		}
		return s, "", nil
	case JSONL:
		s := &jsonRecords{in: l, path: jsonPath{slots: make(map[string]int, len(m.fields))}}
		for i, f := range m.fields {
			s.path.slots[f] = i
		}
		return s, "", nil
	}
	s := &csvRecords{in: csvReader{in: l, comma: m.comma}}
	if s.in.comma == 0 {
		s.in.comma = ','
	}
	names, number, raw, err := s.in.next(nil)
	if err == io.EOF {
		return nil, "", errors.New("the file is empty: its first line names the columns")
	}
	if err != nil {
		return nil, "", fmt.Errorf("line %d: %w", max(number, 1), err)
	}
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
	}
	for i, n := range names {
		if n != "" && slices.Contains(names[:i], n) && slices.Contains(m.fields, n) {
			return nil, "", fmt.Errorf("line %d: the column %q stands twice: rename one", number, clip(n))
		}
	}
	s.width = len(names)
	needed := m.needed()
	for _, f := range m.fields {
		at := slices.Index(names, f)
		if at < 0 && needed[f] {
			return nil, "", fmt.Errorf("line %d: there is no column %q, which the mapping takes a value from: the columns are %s", number, clip(f), columnNames(names))
		}
		s.columns = append(s.columns, at)
	}
	return s, string(raw), nil
}

// needed are the fields that a CSV file must have.
func (m *Mapping) needed() map[string]bool {
	out := make(map[string]bool, len(m.fields))
	if !m.optional {
		for _, f := range m.fields {
			out[f] = true
		}
		return out
	}
	for _, v := range []value{m.code, m.time.from} {
		for _, o := range v.list {
			for _, slot := range o.slots {
				out[m.fields[slot]] = true
			}
		}
	}
	return out
}

func columnNames(names []string) string {
	const most = 20
	out := make([]string, 0, most)
	for i, n := range names {
		if i == most {
			out = append(out, "…")
			break
		}
		out = append(out, clip(printable(n)))
	}
	return strings.Join(out, ", ")
}

// logRecords are a log's lines.
type logRecords struct {
	in    *lines
	slots []int // value → log field
	line  logLine
}

func (s *logRecords) next(values []string) (int, string, error) {
	for {
		l, err := s.in.next()
		if err != nil {
			return 0, "", err
		}
		raw := string(l.text)
		if l.err != nil {
			return l.number, raw, l.err
		}
		if raw == "" {
			continue
		}
		if why := splitLog(raw, &s.line); why != nil {
			return l.number, raw, why
		}
		for i, f := range s.slots {
			v := s.line[f]
			if v == "-" {
				v = ""
			}
			if f == logUserAgent && v == "" && s.agentNamed(raw) {
				v = unnamedAgent
			}
			values[i] = v
		}
		return l.number, raw, nil
	}
}

// agentNamed reports whether the line has a place for the user agent: in the common log format it has none.
func (s *logRecords) agentNamed(raw string) bool {
	return s.line[logUserAgent] == "-" || s.line[logReferrer] != "" || strings.HasSuffix(raw, `"`)
}

// csvRecords are a CSV file's records.
type csvRecords struct {
	in      csvReader
	columns []int // value → column; -1: there is none
	width   int
	cells   []string
}

func (s *csvRecords) next(values []string) (int, string, error) {
	cells, number, raw, err := s.in.next(s.cells)
	if err != nil {
		return number, string(raw), err
	}
	s.cells = cells
	if len(cells) != s.width {
		return number, string(raw), bad("there are %d cells, and %d columns in the first line", len(cells), s.width)
	}
	for i, at := range s.columns {
		values[i] = ""
		if at >= 0 {
			values[i] = cells[at]
		}
	}
	return number, string(raw), nil
}

// jsonRecords are the lines of a file of JSON objects.
type jsonRecords struct {
	in   *lines
	path jsonPath
}

func (s *jsonRecords) next(values []string) (int, string, error) {
	for {
		l, err := s.in.next()
		if err != nil {
			return 0, "", err
		}
		raw := string(l.text)
		if l.err != nil {
			return l.number, raw, l.err
		}
		if strings.TrimSpace(raw) == "" {
			continue
		}
		if why := s.path.read([]byte(raw), values); why != nil {
			return l.number, raw, why
		}
		return l.number, raw, nil
	}
}
