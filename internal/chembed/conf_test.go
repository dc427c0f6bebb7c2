package chembed_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// confClient is a client of the server, with a database of its own.
type confClient interface {
	// ask runs a query and renders what comes.
	ask(context.Context, *confQuery) answer
	// exec runs a statement of which nothing comes.
	exec(ctx context.Context, sql string, settings map[string]string) *refusal
	// copyRows reads the rows of query and inserts them by the client's own means; into is INSERT INTO table, perhaps with columns.
	copyRows(ctx context.Context, query, into string, settings map[string]string) *refusal
	// send inserts data in a format.
	send(ctx context.Context, into, format string, data []byte, settings map[string]string) *refusal
}

// way is a client with its options. The first way of each client runs all its cases, the others all queries but the long ones, or a third,
// and a third of the inserts.
type way struct {
	client, name string
	open         func(t testing.TB, database string) confClient
	third        bool
	again        bool // not the client's first way
}

// skips says that a case is left to the client's first way.
func (w *way) skips(i int, long bool) bool { return w.again && (long || w.third && i%3 != 0) }

func ways(s *chembed.Server, js *jsRunner) []way {
	clickhouseGo := func(p clickhouse.Protocol, m clickhouse.CompressionMethod) func(testing.TB, string) confClient {
		return func(t testing.TB, db string) confClient { return newGoClient(t, s, p, m, db) }
	}
	chgo := func(c ch.Compression) func(testing.TB, string) confClient {
		return func(t testing.TB, db string) confClient {
			client := newChgoClient(s, c, db)
			t.Cleanup(client.close)
			return client
		}
	}
	all := []way{
		{client: goName, name: "native_lz4", open: clickhouseGo(clickhouse.Native, clickhouse.CompressionLZ4)},
		{client: goName, name: "native", open: clickhouseGo(clickhouse.Native, clickhouse.CompressionNone)},
		{client: goName, name: "native_zstd", open: clickhouseGo(clickhouse.Native, clickhouse.CompressionZSTD)},
		{client: goHTTPName, name: "http", open: clickhouseGo(clickhouse.HTTP, clickhouse.CompressionNone)},
		{client: goHTTPName, name: "http_lz4", open: clickhouseGo(clickhouse.HTTP, clickhouse.CompressionLZ4)},
		{client: goHTTPName, name: "http_gzip", open: clickhouseGo(clickhouse.HTTP, clickhouse.CompressionGZIP)},
		{client: chgoName, name: "chgo_lz4", open: chgo(ch.CompressionLZ4)},
		{client: chgoName, name: "chgo", third: true, open: chgo(ch.CompressionDisabled)},
		{client: cliName, name: "cli", open: func(t testing.TB, db string) confClient { return newCLIClient(t, s, db) }},
		{client: jsName, name: "js", open: func(t testing.TB, db string) confClient { return newJSClient(js, s, false, db) }},
		{client: jsName, name: "js_gzip", third: true, open: func(t testing.TB, db string) confClient { return newJSClient(js, s, true, db) }},
		{client: curlName, name: "curl", open: func(t testing.TB, db string) confClient { return newCurlClient(t, s, db) }},
		{client: curlName, name: "curl_gzip", third: true, open: func(t testing.TB, db string) confClient {
			return newCurlClient(t, s, db, "--compressed")
		}},
	}
	for i := range all {
		all[i].again = i > 0 && all[i].client == all[i-1].client
	}
	return all
}

// conformance is what every way is compared with, and what came of it.
type conformance struct {
	server  *chembed.Server
	queries []confQuery
	inserts []confInsert
	answers []answer // the engine's, by query
	stored  []answer // the engine's, by insert: the table's rows, or the refusal
	bodies  [][]byte // of inserts with data

	mu  sync.Mutex
	ran map[string]*tally // by client
}

// tally counts the cases of one client's ways.
type tally struct{ queries, inserts, unknownQueries, unknownInserts int }

// TestConformance runs the same queries and inserts with every client that people use, and with the engine itself, and compares.
func TestConformance(t *testing.T) {
	oracle, err := chembed.OpenOracle(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(oracle.Close)
	c := &conformance{queries: allQueries(), inserts: allInserts(), ran: map[string]*tally{}}
	c.askDirectly(t, direct{t, oracle})
	if t.Failed() {
		return
	}
	c.server = chtest.Start(t)
	js := startJS(t)
	all := ways(c.server, js)
	t.Run("clients", func(t *testing.T) {
		for _, w := range all {
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, w)
			})
		}
		t.Run("formats", func(t *testing.T) {
			t.Parallel()
			c.formats(t, direct{t, oracle})
		})
		t.Run("cancels", func(t *testing.T) {
			t.Parallel()
			c.cancels(t, js)
		})
		t.Run("progress", func(t *testing.T) {
			t.Parallel()
			c.progress(t)
		})
		t.Run("crowd", func(t *testing.T) {
			t.Parallel()
			c.crowd(t)
		})
	})
	for _, client := range confClients {
		want, _ := tallyOf(client.name, c.queries, c.inserts)
		n := c.ran[client.name]
		if n == nil { // only some of the ways were asked for
			continue
		}
		if *n != want {
			t.Errorf("%s has run %+v, want %+v", client.name, *n, want)
		}
		t.Logf("%-34s %3d queries, %2d unknown to it; %3d inserts, %2d unknown to it", client.name, n.queries, n.unknownQueries, n.inserts, n.unknownInserts)
	}
}

// allQueries are the queries, and one of every type.
func allQueries() []confQuery {
	var all []confQuery
	for _, s := range samples {
		all = append(all, confQuery{id: "type " + s.id, sql: s.sql, settings: s.settings, unknown: s.unknown})
	}
	return append(all, queries...)
}

// askDirectly runs everything on the engine itself.
func (c *conformance) askDirectly(t *testing.T, d direct) {
	conn, err := d.oracle.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	must := func(sql string) {
		if _, err := conn.Query(sql, "Null", nil); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, sql := range append([]string{"CREATE DATABASE " + oracleDatabase, "USE " + oracleDatabase, "SET session_timezone = 'UTC'"}, fixtures...) {
		must(sql)
	}
	seen := map[string]bool{}
	for i := range c.queries {
		q := &c.queries[i]
		a := d.ask(q)
		if (a.err != nil) != (q.compare == byException) || a.err != nil && a.err.code != q.code {
			t.Errorf("%s: the engine itself answers %s", q.id, a.short())
		}
		if seen[q.id] {
			t.Errorf("two queries are called %s", q.id)
		}
		seen[q.id] = true
		c.answers = append(c.answers, a)
	}
	for i := range c.inserts {
		in := &c.inserts[i]
		table := tableOf(i)
		a, body := d.insert(must, in, table)
		if (a.err != nil) != (in.code != 0) || a.err != nil && a.err.code != in.code {
			t.Errorf("insert %s: the engine itself answers %s", in.id, a.short())
		}
		if seen["insert "+in.id] {
			t.Errorf("two inserts are called %s", in.id)
		}
		seen["insert "+in.id] = true
		c.stored, c.bodies = append(c.stored, a), append(c.bodies, body)
	}
}

func tableOf(i int) string { return fmt.Sprintf("ins_%d", i) }

// tableSQL are the statements before an insert.
func (in *confInsert) tableSQL(table string) []string {
	create := in.table
	if create == "" {
		create = "CREATE TABLE {t} ENGINE = MergeTree ORDER BY tuple() EMPTY AS " + in.rows
	}
	var all []string
	for _, sql := range append([]string{create}, in.before...) {
		all = append(all, in.of(table, sql))
	}
	return all
}

func (in *confInsert) target(table string) string {
	if in.into != "" {
		return in.of(table, in.into)
	}
	return "INSERT INTO " + table
}

func (in *confInsert) showSQL(table string) string {
	if in.show != "" {
		return in.of(table, in.show)
	}
	return "SELECT * FROM " + table
}

// insert makes an insert on the engine itself, and returns the table's rows, or the refusal, and the data if it has any.
func (d direct) insert(must func(string), in *confInsert, table string) (answer, []byte) {
	c := d.connect()
	defer c.Close()
	settings := []string{"allow_suspicious_low_cardinality_types = 1", "flatten_nested = 0"}
	for n, v := range in.settings {
		settings = append(settings, n+" = '"+v+"'")
	}
	for _, sql := range append([]string{"SET " + strings.Join(settings, ", ")}, in.tableSQL(table)...) {
		if _, err := c.Query(sql, "Null", nil); err != nil {
			d.t.Fatalf("insert %s: %s: %v", in.id, sql, err)
		}
	}
	var body []byte
	var err error
	switch {
	case in.rows != "":
		_, err = c.Query(in.target(table)+" "+in.rows, "Null", nil)
	case in.format != "":
		if body, err = c.Query(in.query, in.format, nil); err != nil {
			d.t.Fatalf("insert %s: %v", in.id, err)
		}
		err = c.Insert(in.target(table), in.format, body)
	default:
		for _, sql := range in.sql {
			if _, err = c.Query(in.of(table, strings.TrimSuffix(sql, ";")), "Null", nil); err != nil {
				break
			}
		}
	}
	if err != nil {
		return refused(err), body
	}
	out, err := c.Query(in.showSQL(table), rowsFormat, nil)
	if err != nil {
		return refused(err), body
	}
	return parseRows(out), body
}

// fixtures makes a database, and returns who made it.
func (c *conformance) fixtures(t *testing.T, database string) clickhouse.Conn {
	mustExec(t, open(t, c.server), "CREATE DATABASE "+database)
	admin := open(t, c.server, func(o *clickhouse.Options) {
		o.Auth.Database, o.MaxOpenConns = database, 1
		o.Settings = clickhouse.Settings{"allow_suspicious_low_cardinality_types": 1, "flatten_nested": 0}
	})
	for _, sql := range fixtures {
		mustExec(t, admin, sql)
	}
	return admin
}

// run runs all cases one way. The first way tries those, too, that the client is said not to know: it must not.
func (c *conformance) run(t *testing.T, w way) {
	database := "conf_db_" + w.name
	admin := c.fixtures(t, database)
	client := w.open(t, database)
	var n tally
	for i := range c.queries {
		q := &c.queries[i]
		reason := q.unknown[w.client]
		switch {
		case w.skips(i, q.once || reason != ""):
			continue
		case reason != "":
			n.unknownQueries++
		default:
			n.queries++
		}
		switch diff := c.query(t, w, client, i); {
		case diff != "" && reason == "":
			t.Errorf("query %s\n%s\n%s", q.id, clipValue(q.sql), diff)
		case diff == "" && reason != "":
			t.Errorf("query %s: the client runs it, although %s", q.id, reason)
		}
	}
	for i := range c.inserts {
		in := &c.inserts[i]
		reason := in.unknown[w.client]
		switch {
		case w.skips(i, in.once || reason != "" || i%3 != 0):
			continue
		case reason != "":
			n.unknownInserts++
		default:
			n.inserts++
		}
		for _, sql := range in.tableSQL(tableOf(i)) {
			mustExec(t, admin, sql)
		}
		switch diff := c.insert(t, client, database, i); {
		case diff != "" && reason == "":
			t.Errorf("insert %s\n%s", in.id, diff)
		case diff == "" && reason != "":
			t.Errorf("insert %s: the client makes it, although %s", in.id, reason)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.again {
		c.ran[w.client] = &n
	}
}

// query runs a query and says how the answer differs from the engine's own.
func (c *conformance) query(t *testing.T, w way, client confClient, i int) string {
	got, want := client.ask(t.Context(), &c.queries[i]), c.answers[i]
	switch {
	case w.client == goHTTPName && got.err == nil && got.count == 0:
		got.cols = want.cols // Native over HTTP is empty without rows
	case w.client == cliName:
		got.likeOf(want)
	}
	return differ(&c.queries[i], got, want)
}

// insert makes an insert and says how what is stored then differs from what the engine itself stored.
func (c *conformance) insert(t *testing.T, client confClient, database string, i int) string {
	in, table, want := &c.inserts[i], tableOf(i), c.stored[i]
	ctx := t.Context()
	var refused *refusal
	switch {
	case in.rows != "":
		refused = client.copyRows(ctx, in.rows, in.target(table), in.settings)
	case in.format != "":
		refused = client.send(ctx, in.target(table), in.format, c.bodies[i], in.settings)
	default:
		for _, sql := range in.sql {
			if refused = client.exec(ctx, in.of(table, sql), in.settings); refused != nil {
				break
			}
		}
	}
	if refused != nil && (want.err == nil || want.err.code != refused.code) || refused == nil && want.err != nil {
		return fmt.Sprintf("got %v, want %s", refused, want.short())
	}
	if refused != nil {
		return ""
	}
	values := url.Values{"database": {database}, "default_format": {rowsFormat}, "query": {in.showSQL(table)}}
	resp, err := http.Get("http://" + c.server.HTTPAddr() + "/?" + values.Encode())
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %v: %s", resp.Status, err, clipValue(string(body)))
	}
	got := parseRows(body)
	if got.sum == want.sum && got.count == want.count {
		got.rows = want.rows // in another order, perhaps
	}
	return differ(&confQuery{}, got, want)
}
