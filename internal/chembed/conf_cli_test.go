package chembed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
)

const (
	cliName  = "clickhouse-client 18.16"
	curlName = "curl"
)

// cliClient is Debian's clickhouse-client, a process for each query. What it writes is its own: it takes blocks and formats them.
type cliClient struct {
	dir      string
	args     []string
	database string
}

func newCLIClient(t testing.TB, s *chembed.Server, database string) *cliClient {
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &cliClient{dir: dir, database: database, args: []string{"--host", host, "--port", port, "--database", database}}
}

func (c *cliClient) ask(ctx context.Context, q *confQuery) answer {
	args := slices.Clone(c.args)
	format := "TabSeparatedWithNamesAndTypes"
	if q.compare == byTotals {
		format = "JSONCompact"
	}
	args = append(args, "--format", format)
	for n, v := range q.settings {
		args = append(args, "--"+n, v)
	}
	sql := strings.TrimRight(q.sql, "; \n")
	if len(q.before) > 0 {
		// In its own session: what the statements before write is told apart by a line.
		sql = strings.Join(append(slices.Clone(q.before), "SELECT '"+marker+"'", sql), ";\n")
		args = append(args, "--multiquery")
	}
	in := ""
	if e := q.external; e != nil {
		in = e.rows
		args = append(args, "--query", sql, "--external", "--file", "-", "--name", e.name, "--structure", e.structure, "--format", "TabSeparated")
	} else if len(sql) < 100_000 {
		args = append(args, "--query", sql)
	} else {
		in = sql
	}
	out, refused := c.run(ctx, in, args...)
	if refused != nil {
		return answer{err: refused}
	}
	if len(q.before) > 0 {
		_, after, ok := bytes.Cut(out, []byte("\n"+marker+"\n"))
		if !ok {
			return failed(fmt.Errorf("no marker in %s", clipValue(string(out))))
		}
		out = after
	}
	if q.compare == byTotals {
		return parseCompact(out)
	}
	return parseTSV(out)
}

const marker = "-- here it begins --"

// run starts the client once. Its standard input is a pipe that ends: it would wait for a query there otherwise.
func (c *cliClient) run(ctx context.Context, in string, args ...string) ([]byte, *refusal) {
	cmd := exec.CommandContext(ctx, "clickhouse-client", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "TZ=UTC")
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		r := refusedText(errs.String())
		if r.code == 0 {
			r.text = err.Error() + ": " + r.text
		}
		r.text, _, _ = strings.Cut(r.text, ". Stack trace:")
		return nil, r
	}
	return out.Bytes(), nil
}

// parseTSV reads TabSeparatedWithNamesAndTypes.
func parseTSV(out []byte) answer {
	var a answer
	var names []string
	var types []*chType
	if len(out) == 0 {
		return a
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		row := strings.Split(line, "\t")
		switch i {
		case 0:
			names = row
		case 1:
			for j, n := range names {
				typ := unescapeTSV(row[j])
				a.cols = append(a.cols, unescapeTSV(n)+" "+typ)
				types = append(types, parseCHType(typ))
			}
		default:
			for j := range row {
				row[j] = tsvValue(types[min(j, len(types)-1)], row[j])
			}
			a.add(row)
		}
	}
	return a
}

// tsvValue is the canonical text of a value in TSV. Text is escaped there, what is made of parts is written as it is.
func tsvValue(t *chType, s string) string {
	if s == `\N` {
		return null
	}
	for t.name == "Nullable" || t.name == "LowCardinality" || t.name == "SimpleAggregateFunction" {
		t = t.args[len(t.args)-1]
	}
	switch t.name {
	case "Decimal":
		return trimDecimal(s) // 18.16 writes all digits of the scale
	case "Date", "DateTime":
		return strings.Replace(s, "0000-00-00", "1970-01-01", 1) // as it writes the first day
	case "Array", "Tuple", "Map", "Nested", "Ring", "Polygon", "MultiPolygon", "Point", "LineString", "MultiLineString":
		return s
	}
	return unescapeTSV(s)
}

func unescapeTSV(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if j := strings.IndexByte("bfnrt0", s[i]); j >= 0 {
			b.WriteByte("\b\f\n\r\t\x00"[j])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// curlClient is curl, a process for each request.
type curlClient struct {
	dir, address, database string
	extra                  []string // arguments that every request has
	sessions               int
}

func newCurlClient(t testing.TB, s *chembed.Server, database string, extra ...string) *curlClient {
	return &curlClient{dir: t.TempDir(), address: "http://" + s.HTTPAddr() + "/", database: database, extra: extra}
}

func (c *curlClient) ask(ctx context.Context, q *confQuery) answer {
	values := url.Values{"database": {c.database}}
	if q.inSession() {
		c.sessions++
		values.Set("session_id", c.database+strconv.Itoa(c.sessions))
		values.Set("session_timeout", sessionTimeout)
	}
	for _, sql := range q.before {
		if strings.HasPrefix(sql, "USE ") {
			values.Del("database") // it would be used again
		}
		if _, refused := c.post(ctx, values, sql); refused != nil {
			return answer{err: refused}
		}
	}
	values.Set("default_format", rowsFormat)
	if q.compare == byTotals {
		values.Set("default_format", "JSONCompactStrings")
	}
	for n, v := range q.settings {
		values.Set(n, v)
	}
	for _, p := range q.params {
		values.Set("param_"+p.name, p.value)
	}
	var out []byte
	var refused *refusal
	if e := q.external; e != nil {
		values.Set("query", q.sql)
		values.Set(e.name+"_structure", e.structure)
		values.Set(e.name+"_format", "TabSeparated")
		file := filepath.Join(c.dir, e.name+".tsv")
		if err := os.WriteFile(file, []byte(e.rows), 0o600); err != nil {
			return failed(err)
		}
		out, refused = c.run(ctx, values, nil, "--form", e.name+"=@"+file)
	} else {
		out, refused = c.post(ctx, values, q.sql)
	}
	if refused != nil {
		return answer{err: refused}
	}
	if q.compare == byTotals {
		return parseWhole(out)
	}
	return parseRows(out)
}

func (c *curlClient) post(ctx context.Context, values url.Values, body string) ([]byte, *refusal) {
	return c.run(ctx, values, []byte(body), "--data-binary", "@-", "--header", "Content-Type:")
}

// run makes one request. An answer with another status than 200, and one that breaks off, is a refusal.
func (c *curlClient) run(ctx context.Context, values url.Values, body []byte, args ...string) ([]byte, *refusal) {
	args = append(append([]string{"--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--write-out", "%{stderr}%{http_code}"}, c.extra...), args...)
	cmd := exec.CommandContext(ctx, "curl", append(args, c.address+"?"+values.Encode())...)
	cmd.Stdin = bytes.NewReader(body)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	status := errs.String()[max(0, errs.Len()-3):]
	if err != nil || status != "200" {
		r := refusedText(out.String())
		if r.code == 0 {
			r.text = fmt.Sprintf("status %s, %v: %s", errs.String(), err, clipValue(r.text))
		}
		return nil, r
	}
	return out.Bytes(), nil
}

// parseCompact reads JSONCompact, in which numbers of 64 bits are strings, or not.
func parseCompact(out []byte) answer {
	var whole struct {
		Meta     []struct{ Name, Type string }
		Data     [][]json.RawMessage
		Totals   []json.RawMessage
		Extremes *struct{ Min, Max []json.RawMessage }
	}
	if err := json.Unmarshal(out, &whole); err != nil {
		return failed(errors.Join(err, errors.New(clipValue(string(out)))))
	}
	texts := func(row []json.RawMessage) (all []string) {
		for _, v := range row {
			var s string
			if json.Unmarshal(v, &s) != nil {
				s = string(v)
			}
			all = append(all, s)
		}
		return all
	}
	a := answer{totals: texts(whole.Totals)}
	for _, m := range whole.Meta {
		a.cols = append(a.cols, m.Name+" "+m.Type)
	}
	for _, row := range whole.Data {
		a.add(texts(row))
	}
	if whole.Extremes != nil {
		a.extremes = [][]string{texts(whole.Extremes.Min), texts(whole.Extremes.Max)}
	}
	return a
}

func (c *cliClient) settings(settings map[string]string) []string {
	args := slices.Clone(c.args)
	for n, v := range settings {
		args = append(args, "--"+n, v)
	}
	return args
}

func (c *cliClient) exec(ctx context.Context, sql string, settings map[string]string) *refusal {
	_, refused := c.run(ctx, "", append(c.settings(settings), "--query", sql)...)
	return refused
}

// copyRows pipes one client's output into another's insert, as people copy tables.
func (c *cliClient) copyRows(ctx context.Context, query, into string, settings map[string]string) *refusal {
	out, refused := c.run(ctx, "", append(c.settings(settings), "--query", query+" FORMAT TabSeparated")...)
	if refused != nil {
		return refused
	}
	return c.send(ctx, into, "TabSeparated", out, settings)
}

func (c *cliClient) send(ctx context.Context, into, format string, data []byte, settings map[string]string) *refusal {
	_, refused := c.run(ctx, string(data), append(c.settings(settings), "--query", into+" FORMAT "+format)...)
	return refused
}

func (c *curlClient) values(settings map[string]string) url.Values {
	values := url.Values{"database": {c.database}}
	for n, v := range settings {
		values.Set(n, v)
	}
	return values
}

func (c *curlClient) exec(ctx context.Context, sql string, settings map[string]string) *refusal {
	_, refused := c.post(ctx, c.values(settings), sql)
	return refused
}

// copyRows downloads rows and uploads them again.
func (c *curlClient) copyRows(ctx context.Context, query, into string, settings map[string]string) *refusal {
	out, refused := c.post(ctx, c.values(settings), query+" FORMAT Native")
	if refused != nil {
		return refused
	}
	return c.send(ctx, into, "Native", out, settings)
}

func (c *curlClient) send(ctx context.Context, into, format string, data []byte, settings map[string]string) *refusal {
	values := c.values(settings)
	values.Set("query", into+" FORMAT "+format)
	_, refused := c.post(ctx, values, string(data))
	return refused
}
