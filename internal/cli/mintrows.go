package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/rows"
	"github.com/huoma/huoma/internal/code/span"
)

// A file is minted in requests of so many rows and so many bytes at most. Changing either changes the idempotency keys of runs under way.
const (
	chunkRows  = 1000
	chunkBytes = 4 << 20
)

// chunk is what one request mints.
type chunk struct {
	n     int               // which it is, from 0
	first int               // number of its first row among the codes, from 1
	list  []json.RawMessage // a client.Mint each
	lines []int             // where they are in the file
	bytes int
}

// sum tells chunks apart by what they mint.
func (c *chunk) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, m := range c.list {
		h.Write(m)
		h.Write([]byte{'\n'})
	}
	h.Sum(sum[:0])
	return sum
}

// csvFile is a CSV of codes to mint, read as often as it takes: never as a whole.
type csvFile struct {
	path       string
	base       client.Mint // what an empty cell means; Name is a template
	capacities func([]client.Target) error
	columns    *rows.Reader // of the reading under way or the last
}

// chunks reads the file. Rows that cannot be minted are added to bad; an error is about the file as a whole, or fn's.
func (f *csvFile) chunks(ctx context.Context, bad *badRows, fn func(*chunk) error) error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("%s cannot be read: name a CSV file with --from", f.path)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file, and it is read more than once: save it to one first", f.path)
	}
	return f.read(ctx, file, bad, fn)
}

func (f *csvFile) read(ctx context.Context, from io.Reader, bad *badRows, fn func(*chunk) error) error {
	in, err := rows.NewReader(from)
	if err != nil {
		return f.unreadable(err)
	}
	f.columns = in
	next := &chunk{first: 1}
	flush := func() error {
		if len(next.list) == 0 {
			return nil
		}
		done := next
		next = &chunk{n: done.n + 1, first: done.first + len(done.list)}
		return fn(done)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		row, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var m client.Mint
		if err == nil {
			m, err = f.mint(row)
		}
		if p, ok := errors.AsType[*rows.Problem](err); ok {
			bad.add(p)
			if p.Fatal {
				break
			}
			continue
		}
		if err != nil {
			return f.unreadable(err)
		}
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if len(next.list) == chunkRows || next.bytes+len(b) > chunkBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		next.list, next.lines, next.bytes = append(next.list, b), append(next.lines, row.Line), next.bytes+len(b)
	}
	if bad.total == 0 && next.n == 0 && len(next.list) == 0 {
		return fmt.Errorf("%s has no rows below its head: write one for each code", f.path)
	}
	return flush()
}

func (f *csvFile) unreadable(err error) error {
	if p, ok := errors.AsType[*rows.Problem](err); ok {
		at := f.path
		if p.Line > 0 {
			at += " line " + strconv.Itoa(p.Line) + rows.Place(p.Column, p.Name)
		}
		return fmt.Errorf("nothing was minted: %s: %s", at, p.Reason)
	}
	return fmt.Errorf("%s cannot be read to its end: %w", f.path, err)
}

// mint makes the code of a row. Its error is a *rows.Problem.
func (f *csvFile) mint(row rows.Row) (client.Mint, error) {
	m := f.base
	m.Name = "" // the template is for all
	targets := map[int]*client.Target{}
	for i, c := range f.columns.Columns() {
		cell := row.Cells[i]
		if cell == "" {
			continue
		}
		if c.Target >= 0 && targets[c.Target] == nil {
			targets[c.Target] = &client.Target{}
		}
		if err := setCell(&m, targets[c.Target], c, cell); err != nil {
			return m, &rows.Problem{Line: row.Line, Column: i + 1, Name: c.Name, Reason: err.Error()}
		}
	}
	wrong := func(n int, format string, args ...any) error {
		p := &rows.Problem{Line: row.Line, Name: rows.NameOf("targets[" + strconv.Itoa(n) + "].url"), Reason: fmt.Sprintf(format, args...)}
		p.Column = f.columns.Number(p.Name)
		return p
	}
	if len(targets) > 0 {
		m.Targets = nil
	}
	for n := range rows.MaxTargets {
		t := targets[n]
		switch {
		case t == nil:
			continue
		case t.URL == "" && t.Picture == "":
			return m, wrong(n, "target %d has a capacity but leads nowhere: fill in its url or picture", n+1)
		case t.URL != "" && t.Picture != "":
			return m, wrong(n, "target %d is both a URL and a picture: leave one empty", n+1)
		}
		own := []client.Target{*t}
		if t.Capacity == nil {
			if err := f.capacities(own); err != nil {
				return m, wrong(n, "%v", err)
			}
		}
		m.Targets = append(m.Targets, own[0])
	}
	if len(m.Targets) == 0 {
		return m, wrong(0, "the row has no target: fill in its url or picture")
	}
	return m, nil
}

// setCell puts a cell that is not empty where it belongs; t is the target of its column.
func setCell(m *client.Mint, t *client.Target, c rows.Column, cell string) error {
	text := map[string]*string{
		"name": &m.Name, "campaign": &m.Campaign, "source": &m.Source, "medium": &m.Medium, "term": &m.Term, "content": &m.Content, "owner": &m.Owner,
	}
	if to := text[c.Field]; to != nil {
		*to = cell
		return nil
	}
	durations := map[string]*string{"validity": &m.Validity, "renewal_every": &m.RenewalEvery, "dedupe": &m.Dedupe}
	if to := durations[c.Field]; to != nil {
		if _, err := span.Parse(cell); err != nil {
			return fmt.Errorf("%q: %w", clipText(cell), err)
		}
		*to = cell
		return nil
	}
	var n int64
	var err error
	if c.Field == "max_scans" || c.Field == "warn_percent" || c.Field == "capacity" {
		if n, err = strconv.ParseInt(cell, 10, 64); err != nil || n < 0 || n == 0 && c.Field != "warn_percent" {
			return fmt.Errorf("%q: write a whole number from 1", clipText(cell))
		}
	}
	switch c.Field {
	case "url":
		t.URL = cell
	case "picture":
		t.Picture, err = pictureOf(cell)
		return err
	case "capacity":
		t.Capacity = &n
	case "max_scans":
		m.MaxScans = &n
	case "warn_percent":
		m.WarnPercent = &n
	case "profile":
		if _, ok := code.ProfileByName(cell); !ok {
			return fmt.Errorf("%q: use wechat-group, wechat-static, wecom-group or miniprogram", clipText(cell))
		}
		m.Profile = cell
	case "verified":
		if m.Verified, err = strconv.ParseBool(strings.ToLower(cell)); err != nil {
			return fmt.Errorf("%q: write true or false", clipText(cell))
		}
	default:
		return errors.New("this version does not know the column: leave it out")
	}
	return nil
}

// maxBad is how many bad rows of a CSV are named.
const maxBad = 100

// badRows are the rows of a CSV that cannot be minted.
type badRows struct {
	list  []*rows.Problem // at most maxBad
	total int
}

func (b *badRows) add(p *rows.Problem) {
	if b.total++; len(b.list) < maxBad {
		b.list = append(b.list, p)
	}
}

// refused adds what the gateway says of a chunk's rows. It reports false when that is about no row.
func (b *badRows) refused(f *csvFile, c *chunk, err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || len(p.Rows) == 0 {
		return false
	}
	for _, r := range p.Rows {
		if r.Index == nil || *r.Index >= len(c.lines) {
			return false
		}
		name := rows.NameOf(r.Field)
		b.add(&rows.Problem{Line: c.lines[*r.Index], Column: f.columns.Number(name), Name: name, Reason: r.Detail})
	}
	b.total += max(p.Bad-len(p.Rows), 0)
	return true
}

// tell writes the rows in the order of the file, and returns the error that sums them up.
func (b *badRows) tell(w io.Writer, path string) error {
	slices.SortStableFunc(b.list, func(x, y *rows.Problem) int { return cmp.Compare(x.Line, y.Line) })
	for _, p := range b.list {
		fmt.Fprintf(w, "huoma: %s line %d%s: %s\n", path, p.Line, rows.Place(p.Column, plain(p.Name)), oneLine(plain(p.Reason)))
	}
	if more := b.total - len(b.list); more > 0 {
		fmt.Fprintf(w, "huoma: %s has %d more bad rows\n", path, more)
	}
	if b.total == 1 {
		return errors.New("nothing was minted: 1 row cannot be; mend it and run again")
	}
	return fmt.Errorf("nothing was minted: %d rows cannot be; mend them and run again", b.total)
}
