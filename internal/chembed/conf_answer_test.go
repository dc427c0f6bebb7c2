package chembed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
)

// answer is what came back, in canonical text.
type answer struct {
	names    []string
	cols     []string // name and type
	rows     [][]string
	totals   []string
	extremes [][]string // the smallest of each column, and the largest
	count    int        // rows, kept or not
	sum      uint64     // over all rows, whatever their order
	err      *refusal
}

// refusal is an exception. An answer of anything but an exception has its text and no code.
type refusal struct {
	code int
	text string
}

func (r *refusal) String() string { return fmt.Sprintf("code %d, %s", r.code, r.text) }

// add counts a row, and keeps it unless there are too many to keep.
func (a *answer) add(row []string) {
	h := uint64(14695981039346656037)
	for _, v := range row {
		for i := range len(v) {
			h = (h ^ uint64(v[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	a.count++
	a.sum += h
	if a.count <= 100_000 {
		a.rows = append(a.rows, slices.Clone(row))
	}
}

func failed(err error) answer { return answer{err: &refusal{text: err.Error()}} }

// differ says how a client's answer differs from the engine's, or is empty. Extremes are compared if the client told any.
func differ(q *confQuery, got, want answer) string {
	c, contains := q.compare, q.contains
	if (got.err == nil) != (want.err == nil) {
		return fmt.Sprintf("got %v, want %v", got.short(), want.short())
	}
	if got.err != nil {
		g, w := got.err, want.err
		same := g.code == w.code
		if contains != "" {
			same = same && strings.Contains(g.text, contains) && strings.Contains(w.text, contains)
		} else {
			same = same && plainText(g.text) == plainText(w.text)
		}
		if !same {
			return fmt.Sprintf("got  code %d, %s\nwant code %d, %s", g.code, plainText(g.text), w.code, plainText(w.text))
		}
		return ""
	}
	if c == byException {
		return "no exception came, here or there"
	}
	if !slices.EqualFunc(got.cols, want.cols, func(g, w string) bool { return sameColumn(g) == sameColumn(w) }) {
		return fmt.Sprintf("columns: got %q, want %q", clipList(got.cols), clipList(want.cols))
	}
	switch c {
	case byNames:
		return ""
	case byTotals:
		if !slices.Equal(got.totals, want.totals) {
			return fmt.Sprintf("totals: got %q, want %q", got.totals, want.totals)
		}
		if got.extremes != nil && !slices.EqualFunc(got.extremes, want.extremes, slices.Equal) {
			return fmt.Sprintf("extremes: got %q, want %q", got.extremes, want.extremes)
		}
	}
	if got.count != want.count {
		return fmt.Sprintf("%d rows, want %d: %q", got.count, want.count, clipList(slices.Concat(got.rows[:min(3, len(got.rows))]...)))
	}
	for i := range min(len(got.rows), len(want.rows)) {
		for j := range got.rows[i] {
			if j < len(want.rows[i]) && got.rows[i][j] != want.rows[i][j] && plainValue(got.rows[i][j]) != plainValue(want.rows[i][j]) {
				return fmt.Sprintf("row %d, column %s: got %s, want %s", i, got.cols[j], clipValue(got.rows[i][j]), clipValue(want.rows[i][j]))
			}
		}
		if len(got.rows[i]) != len(want.rows[i]) {
			return fmt.Sprintf("row %d: %d values, want %d", i, len(got.rows[i]), len(want.rows[i]))
		}
	}
	if got.sum != want.sum && got.count > len(got.rows) {
		return fmt.Sprintf("the checksum of %d rows is %x, want %x", got.count, got.sum, want.sum)
	}
	return ""
}

// newerTypes came after clickhouse-client 18.16, which is sent what it knows in their place: text, or what they are made of.
var newerTypes = regexp.MustCompile(`\b(Bool|U?Int(128|256)|BFloat16|Date32|DateTime64|IPv[46]|Decimal\((39|[4-7]\d)|SimpleAggregateFunction|Time64|Time)\b`)

// likeOf takes the newer types of want for those that a client of old was sent in their place.
func (a *answer) likeOf(want answer) {
	rows := a.rows
	for i := range min(len(a.cols), len(want.cols)) {
		name, typ, _ := strings.Cut(want.cols[i], " ")
		if a.cols[i] == want.cols[i] || !newerTypes.MatchString(typ) || !strings.HasPrefix(a.cols[i], name+" ") {
			continue
		}
		a.cols[i] = want.cols[i]
		if strings.Contains(typ, "Bool") {
			for _, row := range rows {
				row[i] = strings.NewReplacer("1", "true", "0", "false").Replace(row[i])
			}
		}
	}
	if len(rows) == a.count {
		a.rows, a.count, a.sum = nil, 0, 0
		for _, row := range rows {
			a.add(row)
		}
	}
}

// sameColumn is a column without what clients may call differently: clickhouse-go names a Nested by what it is made of.
func sameColumn(c string) string {
	name, typ, _ := strings.Cut(c, " ")
	if inner, ok := strings.CutPrefix(typ, "Nested("); ok {
		return name + " Array(Tuple(" + inner + ")"
	}
	return c
}

func (a answer) short() string {
	if a.err != nil {
		return a.err.String()
	}
	return fmt.Sprintf("%d rows of %q", a.count, clipList(a.cols))
}

func clipList(s []string) []string {
	if len(s) > 8 {
		s = append(slices.Clone(s[:8]), "…")
	}
	return s
}

func clipValue(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%q… of %d bytes", s[:300], len(s))
	}
	return fmt.Sprintf("%q", s)
}

var (
	ownDatabase = regexp.MustCompile(`\bconf_(direct|db_[a-z0-9_]+)\b`)
	versionTail = regexp.MustCompile(`\s*\(version [0-9.]+[^()]*(\([^()]*\))?\)\s*$`)
	nameTail    = regexp.MustCompile(`\s*\([A-Z][A-Z0-9_]+\)\s*$`)
	uuidInText  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	fromServer  = regexp.MustCompile(`^Received from [^ ]+\. (DB::Exception: )?`)
	codeInText  = regexp.MustCompile(`Code: (\d+)\. ?`)
)

// plainText is an exception's text without what clients put around it, and without the names of databases of this test.
func plainText(s string) string {
	s = strings.TrimSpace(s)
	s = strings.TrimRight(versionTail.ReplaceAllString(s, ""), ".")
	s = nameTail.ReplaceAllString(s, "")
	for {
		t := strings.TrimPrefix(fromServer.ReplaceAllString(s, ""), "DB::Exception: ")
		if t == s {
			break
		}
		s = t
	}
	s = uuidInText.ReplaceAllString(s, "…")
	s = strings.TrimRight(s, ". ") // clients add one
	return strings.Join(strings.Fields(ownDatabase.ReplaceAllString(s, "db")), " ")
}

// plainValue is a value without the names of databases of this test.
func plainValue(s string) string { return ownDatabase.ReplaceAllString(s, "db") }

// refusedText is an exception in the text of an HTTP answer or of a client's standard error.
func refusedText(s string) *refusal {
	m := codeInText.FindStringSubmatchIndex(s)
	if m == nil {
		return &refusal{text: s}
	}
	code, err := strconv.Atoi(s[m[2]:m[3]])
	if err != nil {
		return &refusal{text: s}
	}
	return &refusal{code: code, text: strings.TrimSpace(s[m[1]:])}
}

// direct asks the engine itself.
type direct struct {
	t      testing.TB
	oracle *chembed.Oracle
}

func (d direct) connect() *chembed.OracleConn {
	d.t.Helper()
	c, err := d.oracle.Connect()
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := c.Query("USE "+oracleDatabase, "Null", nil); err != nil {
		d.t.Fatal(err)
	}
	return c
}

const (
	oracleDatabase = "conf_direct"
	rowsFormat     = "JSONCompactStringsEachRowWithNamesAndTypes"
)

// ask runs a query on a session of its own.
func (d direct) ask(q *confQuery) answer {
	if q.want != nil {
		return *q.want
	}
	c := d.connect()
	defer c.Close()
	if e := q.external; e != nil {
		if _, err := c.Query("CREATE TEMPORARY TABLE "+e.name+" ("+e.structure+")", "Null", nil); err != nil {
			d.t.Fatal(err)
		}
		if err := c.Insert("INSERT INTO "+e.name, "TSV", []byte(e.rows)); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, sql := range append([]string{"SET session_timezone = 'UTC'"}, q.before...) {
		if _, err := c.Query(sql, "Null", nil); err != nil {
			d.t.Fatalf("%s: %s: %v", q.id, sql, err)
		}
	}
	for name, value := range q.settings {
		if _, err := c.Query("SET "+name+" = '"+value+"'", "Null", nil); err != nil {
			d.t.Fatalf("%s: %s: %v", q.id, name, err)
		}
	}
	params := map[string]string{}
	for _, p := range q.params {
		params[p.name] = p.value
	}
	format := rowsFormat
	if q.compare == byTotals {
		format = "JSONCompactStrings"
	}
	sql := strings.TrimRight(q.sql, "; \n")
	if q.compare == byChecksum {
		return d.large(c, sql)
	}
	out, err := c.Query(sql, format, params)
	if err != nil {
		return refused(err)
	}
	if q.compare == byTotals {
		return parseWhole(out)
	}
	return parseRows(out)
}

// large streams a result that would be too much as a whole.
func (d direct) large(c *chembed.OracleConn, sql string) answer {
	head, err := c.Query("SELECT * FROM ("+sql+") LIMIT 0", rowsFormat, nil)
	if err != nil {
		return refused(err)
	}
	a := parseRows(head)
	var rest []byte
	err = c.Stream(sql, "JSONCompactStringsEachRow", func(chunk []byte) {
		rest = append(rest, chunk...)
		for {
			line, after, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			a.add(parseLine(string(line)))
			rest = after
		}
	})
	if err != nil {
		return refused(err)
	}
	return a
}

func refused(err error) answer {
	if code, text, ok := chembed.Refusal(err); ok {
		return answer{err: &refusal{code, text}}
	}
	return failed(err)
}

// parseRows reads JSONCompactStringsEachRowWithNamesAndTypes.
func parseRows(out []byte) answer {
	var a answer
	a.take(string(out))
	return a
}

// take adds whole lines of JSONCompactStringsEachRowWithNamesAndTypes: names, types, then rows.
func (a *answer) take(text string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" {
			continue
		}
		row := parseLine(line)
		switch {
		case a.names == nil:
			a.names = row
		case a.cols == nil:
			for j, n := range a.names {
				a.cols = append(a.cols, n+" "+row[j])
			}
		default:
			a.add(a.canonical(row))
		}
	}
}

// canonical sorts the keys of JSON values, of which nobody promises an order.
func (a *answer) canonical(row []string) []string {
	for i := range row {
		if i < len(a.cols) && strings.Contains(a.cols[i], " JSON") {
			row[i] = canonicalJSON(row[i])
		}
	}
	return row
}

// parseLine reads an array of JSON strings, whose bytes need not be UTF-8.
func parseLine(line string) []string {
	var row []string
	for i := 0; i < len(line); i++ {
		if line[i] != '"' {
			continue
		}
		var b []byte
		for i++; line[i] != '"'; i++ {
			if line[i] != '\\' {
				b = append(b, line[i])
				continue
			}
			i++
			switch line[i] {
			case 'u':
				n, err := strconv.ParseUint(string(line[i+1:i+5]), 16, 32)
				if err != nil {
					panic(err)
				}
				b = append(b, string(rune(n))...)
				i += 4
			case 'b', 'f', 'n', 'r', 't':
				b = append(b, map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[line[i]])
			default:
				b = append(b, line[i])
			}
		}
		row = append(row, string(b))
	}
	return row
}

// parseWhole reads JSONCompactStrings, which also has totals and extremes.
func parseWhole(out []byte) answer {
	var whole struct {
		Meta     []struct{ Name, Type string }
		Data     [][]string
		Totals   []string
		Extremes *struct{ Min, Max []string }
	}
	if err := json.Unmarshal(out, &whole); err != nil {
		return failed(errors.Join(err, errors.New(string(out))))
	}
	a := answer{totals: whole.Totals}
	for _, m := range whole.Meta {
		a.cols = append(a.cols, m.Name+" "+m.Type)
	}
	for _, row := range whole.Data {
		a.add(row)
	}
	if whole.Extremes != nil {
		a.extremes = [][]string{whole.Extremes.Min, whole.Extremes.Max}
	}
	return a
}
