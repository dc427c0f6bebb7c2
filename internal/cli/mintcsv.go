package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
)

// maxBad is how many bad rows of a CSV are named.
const maxBad = 10

// many mints a code for each row of a CSV file. Nothing is minted unless every
// row can be read.
func (c *mintCmd) many(ctx context.Context, a *App, cl *client.Client, base client.Mint, out pictures) error {
	f, err := os.Open(c.From)
	if err != nil {
		return fmt.Errorf("%s cannot be read: name a CSV file with --from", c.From)
	}
	defer f.Close()
	list, err := readCSV(f, base, c.capacities)
	if err != nil {
		var bad *badRows
		if errors.As(err, &bad) {
			for _, row := range bad.rows {
				fmt.Fprintf(a.Stderr, "huoma: %s line %s\n", c.From, oneLine(row))
			}
		}
		return err
	}
	codes, err := cl.MintBatch(ctx, list, base.Name, c.Key)
	var p *client.Problem
	if errors.As(err, &p) && p.Index != nil {
		row := *p.Index + 1
		p.Index = nil
		return fmt.Errorf("nothing was minted: %s, row %d below the head: %w", c.From, row, p)
	}
	if err != nil {
		return err
	}
	for _, code := range codes {
		if err := c.line(a.Stdout, code); err != nil {
			return err
		}
	}
	return c.draw(ctx, a, cl, codes, out)
}

// line prints one of many codes.
func (c *mintCmd) line(w io.Writer, code client.Code) error {
	if c.JSON {
		return printJSON(w, code.Raw)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\n", code.ID, code.ScanURL, plain(code.Name))
	return err
}

// badRows are the rows of a CSV that cannot be minted.
type badRows struct {
	rows  []string // "7: capacity …", at most maxBad
	total int
}

func (b *badRows) Error() string {
	if b.total == 1 {
		return "nothing was minted: 1 row cannot be read; mend it and run again"
	}
	return fmt.Sprintf("nothing was minted: %d rows cannot be read; mend them and run again", b.total)
}

// readCSV reads the codes of a CSV with a head row. Columns are named as the
// fields of POST /v1/codes; url (or target), picture and capacity are the first
// target's, url_2 and so on the next ones'. An empty cell means what base
// says. The error is a *badRows, or says what is wrong with the whole file.
func readCSV(r io.Reader, base client.Mint, capacities func([]client.Target) error) ([]client.Mint, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	in.TrimLeadingSpace = true
	in.ReuseRecord = true
	head, err := in.Read()
	if err == io.EOF {
		return nil, errors.New("the CSV is empty: its first row names the columns, such as name,url,capacity")
	}
	if err != nil {
		return nil, csvError(err)
	}
	columns := make([]csvColumn, len(head))
	seen := map[string]bool{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if seen[name] {
			return nil, fmt.Errorf("the CSV has two columns named %q: rename one (the second target's are url_2 and capacity_2)", clipText(name))
		}
		seen[name] = true
		if columns[i], err = columnOf(name); err != nil {
			return nil, err
		}
	}
	var out []client.Mint
	bad := &badRows{}
	for {
		row, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := in.FieldPos(0)
		m, err := readRow(row, columns, base, capacities)
		if err != nil {
			if bad.total++; bad.total <= maxBad {
				bad.rows = append(bad.rows, fmt.Sprintf("%d: %v", line, err))
			}
			continue
		}
		if out = append(out, m); len(out) > client.MaxBatch {
			return nil, fmt.Errorf("the CSV has more than %d rows: split it", client.MaxBatch)
		}
	}
	switch {
	case bad.total > 0:
		return nil, bad
	case len(out) == 0:
		return nil, errors.New("the CSV has no rows below its head: write one for each code")
	}
	return out, nil
}

func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("the CSV cannot be read from line %d on (%w): quote cells that have a comma or a quote", p.Line, p.Err)
	}
	return fmt.Errorf("the CSV cannot be read: %w", err)
}

// csvColumn puts a cell of a column into a code.
type csvColumn func(row *csvRow, cell string) error

// csvRow is a code in the making; targets by their number from 1.
type csvRow struct {
	m       *client.Mint
	targets map[int]*client.Target
}

func (r *csvRow) target(n int) *client.Target {
	if r.targets[n] == nil {
		r.targets[n] = &client.Target{}
	}
	return r.targets[n]
}

func columnOf(name string) (csvColumn, error) {
	text := func(of func(*client.Mint) *string) csvColumn {
		return func(r *csvRow, cell string) error { *of(r.m) = cell; return nil }
	}
	duration := func(of func(*client.Mint) *string) csvColumn {
		return func(r *csvRow, cell string) error {
			if _, err := span.Parse(cell); err != nil {
				return fmt.Errorf("%s %q: %w", name, clipText(cell), err)
			}
			*of(r.m) = cell
			return nil
		}
	}
	switch name {
	case "name":
		return text(func(m *client.Mint) *string { return &m.Name }), nil
	case "profile":
		return func(r *csvRow, cell string) error {
			if _, ok := code.ProfileByName(cell); !ok {
				return fmt.Errorf("profile %q: use wechat-group, wechat-static, wecom-group or miniprogram", clipText(cell))
			}
			r.m.Profile = cell
			return nil
		}, nil
	case "campaign":
		return text(func(m *client.Mint) *string { return &m.Campaign }), nil
	case "source":
		return text(func(m *client.Mint) *string { return &m.Source }), nil
	case "medium":
		return text(func(m *client.Mint) *string { return &m.Medium }), nil
	case "term":
		return text(func(m *client.Mint) *string { return &m.Term }), nil
	case "content":
		return text(func(m *client.Mint) *string { return &m.Content }), nil
	case "owner":
		return text(func(m *client.Mint) *string { return &m.Owner }), nil
	case "verified":
		return func(r *csvRow, cell string) error {
			v, err := strconv.ParseBool(strings.ToLower(cell))
			if err != nil {
				return fmt.Errorf("verified %q: write true or false", clipText(cell))
			}
			r.m.Verified = v
			return nil
		}, nil
	case "validity":
		return duration(func(m *client.Mint) *string { return &m.Validity }), nil
	case "renewal_every":
		return duration(func(m *client.Mint) *string { return &m.RenewalEvery }), nil
	case "dedupe":
		return duration(func(m *client.Mint) *string { return &m.Dedupe }), nil
	case "max_scans":
		return func(r *csvRow, cell string) error {
			n, err := whole(name, cell)
			r.m.MaxScans = &n
			return err
		}, nil
	case "warn_percent":
		return func(r *csvRow, cell string) error {
			n, err := whole(name, cell)
			r.m.WarnPercent = &n
			return err
		}, nil
	}
	stem := strings.TrimRight(name, "0123456789")
	n := 1
	if digits := name[len(stem):]; digits != "" {
		n, _ = strconv.Atoi(digits)
	}
	if n < 1 || n > 64 {
		return nil, fmt.Errorf("the CSV column %q is no target: number them from 1 to 64", clipText(name))
	}
	switch strings.TrimSuffix(stem, "_") {
	case "target", "url", "target_url":
		return func(r *csvRow, cell string) error { r.target(n).URL = cell; return nil }, nil
	case "picture", "target_picture":
		return func(r *csvRow, cell string) (err error) {
			r.target(n).Picture, err = pictureOf(cell)
			return err
		}, nil
	case "capacity", "target_capacity":
		return func(r *csvRow, cell string) error {
			c, err := whole(name, cell)
			r.target(n).Capacity = &c
			return err
		}, nil
	}
	return nil, fmt.Errorf("the CSV has an unknown column %q: use name, profile, url, picture, capacity, campaign, source, medium, term, content, owner, verified, validity, renewal_every, max_scans, warn_percent and dedupe", clipText(name))
}

func whole(name, cell string) (int64, error) {
	n, err := strconv.ParseInt(cell, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s %q: write a whole number from 1", name, clipText(cell))
	}
	return n, nil
}

// readRow makes the code of one row.
func readRow(row []string, columns []csvColumn, base client.Mint, capacities func([]client.Target) error) (client.Mint, error) {
	m := base
	m.Name = "" // base.Name is a template for all
	if len(row) != len(columns) {
		return m, fmt.Errorf("it has %d cells, the head has %d", len(row), len(columns))
	}
	r := &csvRow{m: &m, targets: map[int]*client.Target{}}
	for i, cell := range row {
		cell = strings.Clone(strings.TrimSpace(cell))
		if !utf8.ValidString(cell) {
			return m, errors.New("it is not valid UTF-8: save the file as UTF-8")
		}
		if cell == "" {
			continue
		}
		if err := columns[i](r, cell); err != nil {
			return m, err
		}
	}
	if len(r.targets) > 0 {
		m.Targets = nil
		for n := 1; n <= 64; n++ {
			t := r.targets[n]
			if t == nil {
				continue
			}
			if t.URL == "" && t.Picture == "" {
				return m, fmt.Errorf("target %d has a capacity but leads nowhere: fill in its url or picture", n)
			}
			if t.URL != "" && t.Picture != "" {
				return m, fmt.Errorf("target %d is both a URL and a picture: leave one empty", n)
			}
			own := []client.Target{*t}
			if t.Capacity == nil {
				if err := capacities(own); err != nil {
					return m, err
				}
			}
			m.Targets = append(m.Targets, own[0])
		}
	}
	if len(m.Targets) == 0 {
		return m, errors.New("it has no target: fill in its url or picture")
	}
	return m, nil
}
