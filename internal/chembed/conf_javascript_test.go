package chembed_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
)

const jsName = "@clickhouse/client, JavaScript"

// jsRunner is the process of tools/clients/run.js, which runs all cases with the JavaScript client.
type jsRunner struct {
	writing sync.Mutex // apart from mu: who writes may have to wait until what the process says is read
	in      io.Writer

	mu   sync.Mutex
	next int
	open map[int]chan jsReply
	gone error
}

// jsCase is what run.js takes, jsReply what it says.
type jsCase struct {
	ID       int                        `json:"id"`
	URL      string                     `json:"url"`
	Database string                     `json:"database"`
	Session  string                     `json:"session,omitempty"`
	Compress bool                       `json:"compress,omitempty"`
	Do       string                     `json:"do"`
	Query    string                     `json:"query,omitempty"`
	Format   string                     `json:"format,omitempty"`
	Stream   bool                       `json:"stream,omitempty"`
	Params   map[string]json.RawMessage `json:"params,omitempty"`
	Settings map[string]string          `json:"settings,omitempty"`
	Table    string                     `json:"table,omitempty"`
	Columns  []string                   `json:"columns,omitempty"`
	Values   any                        `json:"values,omitempty"`
	Text     *[]byte                    `json:"text,omitempty"`
}

type jsReply struct {
	ID    int
	Part  string
	Done  bool
	Error *struct {
		Code    int
		Message string
	}
}

func startJS(t testing.TB) *jsRunner {
	t.Helper()
	dir, err := filepath.Abs("../../tools/clients")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@clickhouse", "client")); err != nil {
		t.Fatalf("the ClickHouse client for JavaScript is not installed: %v; run make clients", err)
	}
	cmd := exec.Command("node", filepath.Join(dir, "run.js"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; install Node.js", err)
	}
	r := &jsRunner{in: stdin, open: map[int]chan jsReply{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := r.read(stdout)
		if e := cmd.Wait(); e != nil {
			err = fmt.Errorf("%w: %s", e, clipValue(stderr.String()))
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gone = errors.Join(err, errors.New("the JavaScript runner has ended"))
		for _, ch := range r.open {
			close(ch)
		}
		r.open = nil
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-done
	})
	return r
}

func (r *jsRunner) read(out io.Reader) error {
	br := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var reply jsReply
		if err := json.Unmarshal(line, &reply); err != nil {
			return fmt.Errorf("the JavaScript runner says %s: %w", clipValue(string(line)), err)
		}
		r.mu.Lock()
		ch := r.open[reply.ID]
		if reply.Done {
			delete(r.open, reply.ID)
		}
		r.mu.Unlock()
		if ch != nil {
			ch <- reply
		}
	}
}

// run runs one case and hands the parts of its result to part. The client's own timeout bounds it.
func (r *jsRunner) run(c jsCase, part func(string)) *refusal {
	ch := make(chan jsReply, 16)
	r.mu.Lock()
	if r.gone != nil {
		r.mu.Unlock()
		return &refusal{text: r.gone.Error()}
	}
	r.next++
	c.ID = r.next
	r.open[c.ID] = ch
	r.mu.Unlock()
	line, err := json.Marshal(c)
	if err == nil {
		r.writing.Lock()
		_, err = r.in.Write(append(line, '\n'))
		r.writing.Unlock()
	}
	if err != nil {
		return &refusal{text: err.Error()}
	}
	for reply := range ch {
		switch {
		case reply.Error != nil:
			return &refusal{reply.Error.Code, reply.Error.Message}
		case reply.Done:
			return nil
		}
		part(reply.Part)
	}
	return &refusal{text: r.gone.Error()}
}

// jsClient is the JavaScript client with a database of its own.
type jsClient struct {
	run      *jsRunner
	base     jsCase
	sessions int
}

func newJSClient(r *jsRunner, s *chembed.Server, compress bool, database string) *jsClient {
	return &jsClient{run: r, base: jsCase{URL: "http://" + s.HTTPAddr(), Database: database, Compress: compress}}
}

func (c *jsClient) ask(_ context.Context, q *confQuery) answer {
	base := c.base
	if q.inSession() {
		c.sessions++
		base.Session = base.Database + strconv.Itoa(c.sessions)
	}
	for _, sql := range q.before {
		do := base
		do.Do, do.Query = "command", sql
		if refused := c.run.run(do, func(string) {}); refused != nil {
			return answer{err: refused}
		}
	}
	do := base
	// A FORMAT clause is added to the query's end.
	do.Do, do.Query, do.Settings, do.Format, do.Stream = "query", q.sql, q.settings, rowsFormat, true
	if q.compare == byTotals {
		do.Format, do.Stream = "JSONCompactStrings", false
	}
	if len(q.params) > 0 {
		do.Params = map[string]json.RawMessage{}
	}
	for _, p := range q.params {
		if p.json == "" {
			b, err := json.Marshal(p.value)
			if err != nil {
				return failed(err)
			}
			p.json = string(b)
		}
		do.Params[p.name] = json.RawMessage(p.json)
	}
	var whole strings.Builder
	var a answer
	refused := c.run.run(do, func(text string) {
		if q.compare == byChecksum {
			a.take(text)
		} else {
			whole.WriteString(text)
		}
	})
	switch {
	case refused != nil:
		return answer{err: refused}
	case q.compare == byTotals:
		return parseWhole([]byte(whole.String()))
	case q.compare == byChecksum:
		return a
	}
	return parseRows([]byte(whole.String()))
}

func (c *jsClient) exec(_ context.Context, sql string, settings map[string]string) *refusal {
	do := c.base
	do.Do, do.Query, do.Settings = "command", sql, settings
	refused := c.run.run(do, func(string) {})
	return refused
}

// copyRows lets the client read objects and insert them. Numbers that JavaScript does not hold are asked for as text.
func (c *jsClient) copyRows(_ context.Context, query, into string, settings map[string]string) *refusal {
	do := c.base
	do.Do, do.Query, do.Format = "copy", query, "JSONEachRow"
	do.Settings = map[string]string{"output_format_json_quote_64bit_integers": "1", "output_format_json_quote_decimals": "1", "output_format_json_quote_denormals": "1"}
	for n, v := range settings {
		do.Settings[n] = v
	}
	table, list, _ := strings.Cut(strings.TrimPrefix(into, "INSERT INTO "), " ")
	do.Table = table
	if list != "" {
		do.Columns = strings.Split(strings.Trim(list, "()"), ", ")
	}
	refused := c.run.run(do, func(string) {})
	return refused
}

// jsFormats are those whose text the client's insert streams; of others, exec does.
var jsFormats = []string{"CSV", "CSVWithNames", "CSVWithNamesAndTypes", "TabSeparated", "TabSeparatedWithNames", "TabSeparatedWithNamesAndTypes", "Parquet"}

func (c *jsClient) send(_ context.Context, into, format string, data []byte, settings map[string]string) *refusal {
	do := c.base
	do.Text, do.Settings = &data, settings
	if slices.Contains(jsFormats, format) {
		do.Do, do.Table, do.Format = "insert", strings.TrimPrefix(into, "INSERT INTO "), format
	} else {
		do.Do, do.Query = "exec", into+" FORMAT "+format
	}
	refused := c.run.run(do, func(string) {})
	return refused
}
