package gateway

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
)

// readCSV reads codes from a CSV with a header line. Columns are the fields of
// a mint; url, picture and capacity describe the first target, url_2, … the
// next ones.
func readCSV(body []byte) ([]row, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, csvProblem(err)
	}
	columns := make([]string, len(header))
	seen := make(map[string]bool)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if !knownColumn(name) {
			field := clip(name)
			if field == "" {
				field = "column " + strconv.Itoa(i+1)
			}
			p := invalid(events.CodeUnknownField, field, "there is no such column: use %s, and url, picture, capacity, url_2, …", strings.Join(textColumns, ", "))
			p.Line = 1
			return nil, p
		}
		if seen[name] {
			p := invalid(events.CodeDuplicateField, name, "the column stands twice")
			p.Line = 1
			return nil, p
		}
		seen[name] = true
		columns[i] = name
	}
	var rows []row
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvProblem(err)
		}
		if len(rows) == maxMint {
			return nil, checkCount(maxMint + 1)
		}
		line, _ := r.FieldPos(0)
		next := row{request: new(codeRequest), index: len(rows), line: line}
		if err := next.request.fromCSV(columns, record); err != nil {
			return nil, next.blame(err)
		}
		rows = append(rows, next)
	}
	return rows, checkCount(len(rows))
}

func csvProblem(err error) error {
	var pe *csv.ParseError
	p := problem(http.StatusBadRequest, "bad_csv", "the CSV needs a header line and at least one row").at("body")
	if errors.As(err, &pe) {
		p = problem(http.StatusBadRequest, "bad_csv", "%s", pe.Err.Error()).at("body")
		p.Line = pe.Line
	}
	return p
}

var textColumns = []string{
	"name", "profile", "campaign", "source", "medium", "term", "content", "owner", "verified", "validity", "renewal_every", "max_scans", "warn_percent", "dedupe",
}

func knownColumn(name string) bool {
	for _, c := range textColumns {
		if c == name {
			return true
		}
	}
	_, _, ok := targetColumn(name)
	return ok
}

// targetColumn takes url, picture, capacity, url_2, … apart; n is from 0.
func targetColumn(name string) (field string, n int, ok bool) {
	field, number, numbered := strings.Cut(name, "_")
	if field != "url" && field != "picture" && field != "capacity" {
		return "", 0, false
	}
	if !numbered {
		return field, 0, true
	}
	n, err := strconv.Atoi(number)
	return field, n - 1, err == nil && n >= 1 && n <= maxTargets && strconv.Itoa(n) == number
}

// csvColumn is the column of a field: targets[1].url is url_2.
func csvColumn(field string) string {
	rest, ok := strings.CutPrefix(field, "targets[")
	if !ok {
		if field == "targets" {
			return "url"
		}
		return field
	}
	number, name, _ := strings.Cut(rest, "]")
	name = strings.TrimPrefix(name, ".")
	if name == "" {
		name = "url"
	}
	if n, err := strconv.Atoi(number); err == nil && n > 0 {
		return name + "_" + strconv.Itoa(n+1)
	}
	return name
}

func (q *codeRequest) fromCSV(columns, record []string) error {
	targets := make(map[int]*targetRequest)
	last := -1
	for i, name := range columns {
		v := strings.TrimSpace(record[i])
		if v == "" {
			continue
		}
		v = strings.Clone(v) // the reader uses its buffer again
		if err := q.setColumn(name, v, targets, &last); err != nil {
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

func (q *codeRequest) setColumn(name, v string, targets map[int]*targetRequest, last *int) error {
	if field, n, ok := targetColumn(name); ok {
		if targets[n] == nil {
			targets[n] = new(targetRequest)
		}
		*last = max(*last, n)
		switch field {
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
