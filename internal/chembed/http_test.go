package chembed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// do sends one request: a query in the URL if given, a body if given.
func do(t testing.TB, s *chembed.Server, method, params, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTPAddr()+params, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func q(sql string, more ...string) string {
	v := url.Values{"query": {sql}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return "/?" + v.Encode()
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for _, row := range []struct {
		name, method, url, body string
		header                  []string
		status                  int
		want                    string // the whole body, or with … at its end the beginning
	}{
		{name: "ping", method: "GET", url: "/ping", status: 200, want: "Ok.\n"},
		{name: "root", method: "GET", url: "/", status: 200, want: "Ok.\n"},
		{name: "no such path", method: "GET", url: "/nope", status: 404, want: "There is no handle…"},
		{name: "no web page", method: "GET", url: "/play", status: 404, want: "The embedded ClickHouse has no web pages…"},
		{name: "options", method: "OPTIONS", url: "/", status: 204, want: ""},
		{name: "header over parameter", method: "GET", url: q("SELECT 1 AS a", "default_format", "CSV"), header: []string{"X-ClickHouse-Format", "JSONEachRow"}, status: 200, want: "{\"a\":1}\n"},
		{name: "body of a GET", method: "GET", url: "/?query=SELECT+1+%2B", body: "2", status: 200, want: "3\n"},
		{name: "method", method: "DELETE", url: q("SELECT 1"), status: 405, want: "Use GET…"},
		{name: "query in the URL", method: "GET", url: q("SELECT 1"), status: 200, want: "1\n"},
		{name: "query in the body", method: "POST", url: "/", body: "SELECT 2, 'a'", status: 200, want: "2\ta\n"},
		{name: "query in both", method: "POST", url: q("SELECT 3 +"), body: "4", status: 200, want: "7\n"},
		{name: "format in the query", method: "GET", url: q("SELECT 1 AS a FORMAT JSONEachRow"), status: 200, want: "{\"a\":1}\n"},
		{name: "default_format", method: "GET", url: q("SELECT 1 AS a", "default_format", "CSVWithNames"), status: 200, want: "\"a\"\n1\n"},
		{name: "format header", method: "GET", url: q("SELECT 1 AS a"), header: []string{"X-ClickHouse-Format", "JSONEachRow"}, status: 200, want: "{\"a\":1}\n"},
		{name: "setting", method: "GET", url: q("SELECT getSetting('max_threads')", "max_threads", "3"), status: 200, want: "3\n"},
		{name: "setting on GET that says it is read-only", method: "GET", url: q("SELECT getSetting('readonly')"), status: 200, want: "2\n"},
		{name: "parameter", method: "GET", url: q("SELECT {n:UInt8} + 1, {s:String}", "param_n", "4", "param_s", "it's"), status: 200, want: "5\tit\\'s\n"},
		{name: "empty result", method: "GET", url: q("SELECT 1 WHERE 0"), status: 200, want: ""},
		{name: "empty JSON result", method: "GET", url: q("SELECT 1 AS a WHERE 0 FORMAT JSONCompact", "output_format_json_pretty_print", "1"), status: 200, want: "{\n\t\"meta\"…"},
		{name: "create on GET", method: "GET", url: q("CREATE TABLE x (a UInt8) ENGINE = Memory"), status: 500, want: "Code: 164. DB::Exception: …"},
		{name: "create", method: "POST", url: q("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a"), status: 200, want: ""},
		{name: "insert: query in the URL, data in the body", method: "POST", url: q("INSERT INTO t FORMAT CSV"), body: "1,a\n2,\"b\n\nc\"\n", status: 200, want: ""},
		{name: "insert: both in the body", method: "POST", url: "/", body: "INSERT INTO t FORMAT TSV\n3\tx\n4\ty\n", status: 200, want: ""},
		{name: "insert: values", method: "POST", url: "/", body: "INSERT INTO t (a, b) VALUES (5, 'v'), (6, 'w');", status: 200, want: ""},
		{name: "insert: values in the URL and body", method: "POST", url: q("INSERT INTO t VALUES (7, 'v'),"), body: "(8, 'w')", status: 200, want: ""},
		{name: "insert: select", method: "POST", url: q("INSERT INTO t SELECT number + 9, 's' FROM numbers(2)"), status: 200, want: ""},
		{name: "insert: nothing", method: "POST", url: q("INSERT INTO t FORMAT JSONEachRow"), status: 200, want: ""},
		{name: "insert on GET", method: "GET", url: q("INSERT INTO t VALUES (1, 'v')"), status: 500, want: "Code: 164. …"},
		{name: "insert: bad data", method: "POST", url: q("INSERT INTO t FORMAT CSV"), body: "foo,1\n", status: 400, want: "Code: 27. DB::Exception: Cannot parse input…"},
		{name: "what came", method: "GET", url: q("SELECT count(), sum(a), any(b) FROM t WHERE a != 2"), status: 200, want: "9\t53\ta\n"},
		{name: "what came, exactly", method: "GET", url: q("SELECT b FROM t WHERE a = 2 FORMAT JSONEachRow"), status: 200, want: "{\"b\":\"b\\n\\nc\"}\n"},
		{name: "database", method: "GET", url: q("SELECT currentDatabase() FROM one", "database", "system"), status: 200, want: "system\n"},
		{name: "database header", method: "GET", url: q("SELECT currentDatabase()"), header: []string{"X-ClickHouse-Database", "system"}, status: 200, want: "system\n"},
		{name: "unknown database", method: "GET", url: q("SELECT 1", "database", "nodb"), status: 404, want: "Code: 81. …"},
		{name: "unknown table", method: "GET", url: q("SELECT * FROM nope"), status: 404, want: "Code: 60. DB::Exception: Unknown table…"},
		{name: "unknown setting", method: "GET", url: q("SELECT 1", "nosuch", "1"), status: 404, want: "Code: 115. DB::Exception: Unknown setting 'nosuch' (UNKNOWN_SETTING) (version 26.7…"},
		{name: "unknown format", method: "GET", url: q("SELECT 1 FORMAT Nope"), status: 404, want: "Code: 73. …"},
		{name: "syntax", method: "POST", url: "/", body: "SELEC", status: 400, want: "Code: 62. …"},
		{name: "empty query", method: "POST", url: "/", body: " ", status: 400, want: "Code: 62. DB::Exception: Empty query…"},
		{name: "two statements", method: "POST", url: "/", body: "SELECT 1; SELECT 2", status: 400, want: "Code: 62. …"},
		{name: "user", method: "GET", url: q("SELECT 1", "user", "alice"), status: 403, want: "Code: 516. …"},
		{name: "time limit", method: "GET", url: q("SELECT sleep(3)", "max_execution_time", "0.1"), status: 408, want: "Code: 159. …"},
		{name: "show", method: "GET", url: q("SHOW TABLES"), status: 200, want: "t\n"},
		{name: "a page elsewhere", method: "POST", url: q("DROP TABLE t"), header: []string{"Origin", "https://example.com"}, status: 403, want: "The embedded ClickHouse does not…"},
		{name: "a page elsewhere reads", method: "GET", url: q("SELECT 1"), header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, want: "The embedded ClickHouse does not…"},
		{name: "a name that was made to lead here", method: "GET", url: q("SELECT 1"), header: []string{"Host", "example.com:8123"}, status: 403, want: "The embedded ClickHouse answers on this machine only…"},
		{name: "readonly of the client's", method: "GET", url: q("SELECT getSetting('readonly')", "readonly", "1"), status: 200, want: "1\n"},
		{name: "readonly cannot be lifted", method: "GET", url: q("DROP TABLE t", "readonly", "0"), status: 500, want: "Code: 164. …"},
		{name: "readonly cannot be lifted in the query", method: "GET", url: q("SELECT 1 SETTINGS readonly = 0"), status: 500, want: "Code: 164. …"},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, body := do(t, s, row.method, row.url, row.body, row.header...)
			want, prefix := strings.CutSuffix(row.want, "…")
			if resp.StatusCode != row.status || prefix && !strings.HasPrefix(body, want) || !prefix && body != want {
				t.Errorf("got %d %.300q, want %d %q", resp.StatusCode, body, row.status, row.want)
			}
			if code := resp.Header.Get("X-ClickHouse-Exception-Code"); (code != "") != strings.HasPrefix(body, "Code: ") || code != "" && !strings.HasPrefix(body, "Code: "+code+".") {
				t.Errorf("exception code header %q for %.100q", code, body)
			}
		})
	}
}

// TestHTTPOneDocument has results that the engine makes in several chunks: whatever the format, they are one document.
func TestHTTPOneDocument(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for _, row := range []struct{ format, want string }{
		{"TSV", "1\n2\n"},
		{"TSVWithNames", "a\n1\n2\n"},
		{"CSVWithNames", "\"a\"\n1\n2\n"},
		{"Values", "(1),(2)"},
		{"Markdown", "| a |\n|-:|\n| 1 |\n| 2 |\n"},
		{"JSONEachRow", "{\"a\":1}\n{\"a\":2}\n"},
		{"JSONEachRow SETTINGS output_format_json_array_of_rows = 1", "[\n{\"a\":1},\n{\"a\":2}\n]\n"},
		{"JSONColumns SETTINGS output_format_json_pretty_print = 0", "{\n\t\"a\": [1, 2]\n}\n"},
	} {
		_, body := do(t, s, http.MethodPost, "/", "SELECT a FROM (SELECT 1 AS a UNION ALL SELECT 2 + sleepEachRow(0.2)) FORMAT "+row.format)
		if body != row.want {
			t.Errorf("%s: got %q, want %q", row.format, body, row.want)
		}
	}
	_, body := do(t, s, http.MethodPost, q("SELECT 1 AS a UNION ALL SELECT 2", "default_format", "JSON"), "")
	var doc struct {
		Data []map[string]int
		Rows int
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Rows != 2 || len(doc.Data) != 2 {
		t.Errorf("JSON: %v in %s", err, body)
	}
}

func TestHTTPHeaders(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	resp, _ := do(t, s, "GET", q("SELECT 1 FORMAT JSON", "query_id", "mine"), "")
	for name, want := range map[string]string{
		"X-ClickHouse-Query-Id": "mine", "X-ClickHouse-Format": "JSON", "Content-Type": "application/json; charset=UTF-8",
		"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Server-Display-Name": "huoma",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	do(t, s, "POST", q("CREATE TABLE t (a UInt8) ENGINE = Memory"), "")
	resp, _ = do(t, s, "POST", q("INSERT INTO t FORMAT CSV"), "1\n2\n")
	if got := resp.Header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"written_rows":"2"`) {
		t.Errorf("summary %q", got)
	}
	if got := resp.Header.Get("X-ClickHouse-Query-Id"); got == "" {
		t.Error("no query id")
	}
}

// TestHTTPOrigin: add_http_cors_header lets in nobody but who is let in anyway.
func TestHTTPOrigin(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	own := "http://" + s.HTTPAddr()
	for _, row := range []struct{ origin, set, want string }{{own, "1", own}, {own, "0", ""}, {"https://example.com", "1", ""}} {
		resp, _ := do(t, s, "GET", q("SELECT 1", "add_http_cors_header", row.set), "", "Origin", row.origin)
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != row.want {
			t.Errorf("%s, %s: got %q, want %q", row.origin, row.set, got, row.want)
		}
	}
}

// TestHTTPLarge streams a large result out and a large insert in, and a result that fails after its first bytes is broken off.
func TestHTTPLarge(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	before := rss(t, s)
	resp := get(t, s, q("SELECT number, repeat('x', 90) FROM numbers(1500000)"), "Accept-Encoding", "identity")
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < 145e6 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	do(t, s, "POST", q("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a"), "")
	in, out := io.Pipe()
	go func() {
		var b bytes.Buffer
		fmt.Fprint(&b, "INSERT INTO t FORMAT TSV\n")
		for i := range 1_000_000 {
			fmt.Fprintf(&b, "%d\t%s\n", i, "0123456789012345678901234567890123456789")
			if b.Len() > 1<<20 {
				out.Write(b.Bytes())
				b.Reset()
			}
		}
		out.Write(b.Bytes())
		out.Close()
	}()
	resp, err = http.Post("http://"+s.HTTPAddr()+"/", "", in)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, got := do(t, s, "GET", q("SELECT count(), sum(a) FROM t WHERE length(s) = 40"), ""); got != "1000000\t499999500000\n" {
		t.Errorf("got %q", got)
	}
	if after := rss(t, s); after-before > 500<<20 {
		t.Errorf("the engine grew from %d to %d MiB", before>>20, after>>20)
	}

	resp, err = http.Get("http://" + s.HTTPAddr() + q("SELECT throwIf(number = 900000, 'late') FROM numbers(1000000) SETTINGS max_block_size = 1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil || !bytes.Contains(body, []byte("Code: 395. DB::Exception: late")) {
		t.Errorf("a late exception: %v, …%.200q", err, body[max(0, len(body)-200):])
	}
}

// TestHTTPCancel: a client that leaves stops its query.
func TestHTTPCancel(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	watch := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.HTTPAddr()+q("SELECT sum(sleepEachRow(0.05)) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	const running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
	until(t, func() bool { return count(t, watch, running) == 1 })
	cancel()
	<-done
	until(t, func() bool { return count(t, watch, running) == 0 })

	// Unless it is told to go on.
	ctx, cancel = context.WithCancel(t.Context())
	req = req.Clone(ctx)
	req.URL.RawQuery += "&cancel_http_readonly_queries_on_client_close=0"
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	until(t, func() bool { return count(t, watch, running) == 1 })
	cancel()
	<-done
	do(t, s, "GET", q("SELECT sleep(0.5)"), "") // meanwhile
	if n := count(t, watch, running); n != 1 {
		t.Errorf("%d queries run on", n)
	}
	mustExec(t, watch, "KILL QUERY WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%' AND query NOT LIKE 'KILL%' SYNC")
}

// rss is the resident memory of the engine's process, in bytes; 0 where the system does not tell.
func rss(t testing.TB, s *chembed.Server) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	return residentMemory(t, s.PID())
}
