package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/huoma/huoma/internal/code/rows"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
)

// readCSV reads codes from a CSV with a header line, as package rows has it.
// Columns are the fields of a mint; url, picture and capacity describe the
// first target, url_2, … the next ones.
func (b *mintBatch) readCSV(from io.Reader) error {
	in, err := rows.NewReader(from)
	if err != nil {
		return csvProblem(err)
	}
	for {
		record, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if len(b.rows) == maxMint {
			return checkCount(maxMint + 1)
		}
		next := row{index: len(b.rows), line: record.Line, number: in.Number}
		if p, ok := errors.AsType[*rows.Problem](err); ok {
			b.bad.add(next.index, csvProblem(p))
			if p.Fatal {
				return nil
			}
			b.rows = append(b.rows, next)
			continue
		}
		if err != nil {
			return err
		}
		b.rows = append(b.rows, next)
		request := new(codeRequest)
		if err := request.fromCSV(in.Columns(), record.Cells); err != nil {
			b.refuse(next, err)
			continue
		}
		b.rows[next.index].request = request
	}
	return checkCount(len(b.rows))
}

// csvProblem is what package rows says, for the caller.
func csvProblem(err error) *Problem {
	p, ok := errors.AsType[*rows.Problem](err)
	if !ok { // the body is in memory: nothing else can go wrong
		return problem(http.StatusBadRequest, string(rows.Unreadable), "the CSV cannot be read").at("body")
	}
	out := problem(http.StatusBadRequest, string(p.Kind), "%s", p.Reason).at("body")
	if p.Name != "" {
		out.Field = p.Name
	}
	out.Line, out.Column = p.Line, p.Column
	return out
}

func (q *codeRequest) fromCSV(columns []rows.Column, cells []string) error {
	targets := make(map[int]*targetRequest)
	last := -1
	for i, c := range columns {
		if cells[i] == "" {
			continue
		}
		if err := q.setColumn(c, cells[i], targets, &last); err != nil {
			return err
		}
	}
	list := make([]targetRequest, 0, last+1)
	for i := range last + 1 {
		if targets[i] == nil {
			targets[i] = new(targetRequest)
		}
		list = append(list, *targets[i])
	}
	if len(list) > 0 {
		q.Targets = &list
	}
	return nil
}

func (q *codeRequest) setColumn(c rows.Column, v string, targets map[int]*targetRequest, last *int) error {
	name := c.Name
	if n := c.Target; n >= 0 {
		if targets[n] == nil {
			targets[n] = new(targetRequest)
		}
		*last = max(*last, n)
		switch c.Field {
		case "url":
			targets[n].URL = &v
		case "picture":
			targets[n].Picture = &v
		case "capacity":
			return whole(name, v, &targets[n].Capacity)
		}
		return nil
	}
	switch name {
	case "name":
		q.Name = &v
	case "profile":
		q.Profile = &v
	case "campaign":
		q.Campaign = &v
	case "source":
		q.Source = &v
	case "medium":
		q.Medium = &v
	case "term":
		q.Term = &v
	case "content":
		q.Content = &v
	case "owner":
		q.Owner = &v
	case "verified":
		b, err := strconv.ParseBool(v)
		if err != nil {
			return invalid(events.CodeInvalid, name, "write true or false")
		}
		q.Verified = &b
	case "validity":
		return duration(name, v, &q.Validity)
	case "renewal_every":
		return duration(name, v, &q.RenewalEvery)
	case "dedupe":
		return duration(name, v, &q.Dedupe)
	case "max_scans":
		return whole(name, v, &q.MaxScans)
	case "warn_percent":
		var n *int64
		if err := whole(name, v, &n); err != nil {
			return err
		}
		percent := int(min(*n, 101))
		q.WarnPercent = &percent
	}
	return nil
}

func whole(name, v string, to **int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return invalid(events.CodeInvalid, name, "write a whole number")
	}
	*to = &n
	return nil
}

func duration(name, v string, to **span.Span) error {
	d, err := span.Parse(v)
	if err != nil {
		return invalid(events.CodeWrongUnit, name, "%s", err.Error())
	}
	*to = &d
	return nil
}
