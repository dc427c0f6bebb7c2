package chembed_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// statistics are what two runs of one query need not have in common.
var statistics = regexp.MustCompile(`("(?:elapsed|rows_read|bytes_read)": |<(?:elapsed|rows_read|bytes_read)>)[0-9.e+-]+`)

// TestHTTPStitched compares what is stitched of the engine's chunks with what it makes of the same query as a whole, which the word
// extremes asks for.
func TestHTTPStitched(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	const columns = "SELECT number AS `n`, concat('a\tb\n\"c\"\\\\', toString(number)) AS `x\n\"y\",\t'`, [number, 1] AS arr, " +
		"if(number % 3 = 0, NULL, number) AS `data`, CAST((1, 'q'), 'Tuple(a UInt8, b String)') AS tup FROM numbers"
	for _, format := range []string{
		"TabSeparated", "TSV", "TSVRaw", "TSVWithNames", "TabSeparatedWithNamesAndTypes", "TSKV", "LineAsString", "CSV", "CSVWithNames", "CSVWithNamesAndTypes",
		"RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes", "MsgPack", "BSONEachRow", "Values", "Native",
		"JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow", "JSONCompactEachRow", "JSONCompactEachRowWithNames", "JSONCompactEachRowWithNamesAndTypes",
		"JSONCompactStringsEachRow", "JSONCompactStringsEachRowWithNames", "JSONCompactStringsEachRowWithNamesAndTypes",
		"JSON", "JSONCompact", "JSONStrings", "JSONCompactStrings",
		"TSVRawWithNames", "XML", "JSONColumns", "Markdown", "SQLInsert", "CustomSeparatedWithNames", // as a whole either way
	} {
		for _, rows := range []int{0, 1, 100} {
			query := columns + fmt.Sprintf("(%d)", rows)
			set := []string{"default_format", format, "max_block_size", "7", "max_threads", "1", "output_format_csv_crlf_end_of_line", fmt.Sprint(rows % 3)}
			_, got := do(t, s, "GET", q(query, set...), "")
			_, want := do(t, s, "GET", q(query+" SETTINGS extremes = 0", set...), "")
			got, want = statistics.ReplaceAllString(got, "$1"), statistics.ReplaceAllString(want, "$1")
			if got != want {
				t.Errorf("%s, %d rows: got %q, want %q", format, rows, got, want)
			}
			if rows > 0 && format != "Null" && want == "" {
				t.Errorf("%s, %d rows: nothing came", format, rows)
			}
		}
	}
}

// TestHTTPWhole has results with more than rows in them, which only the whole tells.
func TestHTTPWhole(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	const grouped = "SELECT number % 2 AS a, count() AS c FROM numbers(5) GROUP BY a WITH TOTALS ORDER BY a"
	for _, row := range []struct {
		name, url string
		want      []string
	}{
		{"totals", q(grouped, "default_format", "TSVWithNames"), []string{"a\tc\n0\t3\n1\t2\n\n0\t5\n"}},
		{"totals in JSON", q(grouped, "default_format", "JSON"), []string{"\t\"totals\":\n"}},
		{"extremes", q("SELECT number AS a FROM numbers(3)", "extremes", "1", "default_format", "CSV"), []string{"0\n1\n2\n\n0\n2\n"}},
		{"extremes in JSON", q("SELECT number AS a FROM numbers(3) SETTINGS extremes = 1 FORMAT JSONCompact"), []string{"\t\"extremes\":\n", "\t\t\"max\": [2]"}},
		{"rows before the limit", q("SELECT number AS a FROM numbers(30) ORDER BY a LIMIT 2 FORMAT JSON"), []string{"\t\"rows\": 2,\n\n\t\"rows_before_limit_at_least\": 30,"}},
		{"an array of rows", q("SELECT number AS a FROM numbers(2)", "default_format", "JSONEachRow", "output_format_json_array_of_rows", "1", "max_block_size", "1"),
			[]string{"[\n{\"a\":0},\n{\"a\":1}\n]\n"}},
		{"what was read", q("SELECT number AS a FROM numbers(20)", "default_format", "JSON", "max_block_size", "3"), []string{"\t\t\"rows_read\": 20,", "\t\t\"bytes_read\": 160\n"}},
		{"without statistics", q("SELECT number AS a FROM numbers(20)", "default_format", "JSON", "max_block_size", "3", "output_format_write_statistics", "0"),
			[]string{"\t\"rows\": 20\n}\n"}},
	} {
		if _, body := do(t, s, "GET", row.url, ""); !containsAll(body, row.want) {
			t.Errorf("%s: got %q, want %q in it", row.name, body, row.want)
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// TestHTTPFlat: the engine's memory does not grow with a result, whatever the format it is streamed in.
func TestHTTPFlat(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	read := func(format string, rows int) {
		t.Helper()
		resp := get(t, s, q(fmt.Sprintf("SELECT number, repeat('x', 500) AS s FROM numbers(%d)", rows), "default_format", format, "max_block_size", "5000"), "Accept-Encoding", "identity")
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < int64(rows)*500 {
			t.Errorf("%s: %d bytes, %v", format, n, err)
		}
	}
	for _, format := range []string{"JSON", "Native"} {
		read(format, 50_000) // what any result needs
		before := rss(t, s)
		read(format, 400_000)
		if after := rss(t, s); after-before > 100<<20 {
			t.Errorf("%s: the engine grew from %d to %d MiB", format, before>>20, after>>20)
		}
	}
	// As a whole, the engine's memory limit holds.
	_, body := do(t, s, "GET", q("SELECT number, repeat('x', 1000) AS s FROM numbers(100000000) FORMAT XML", "max_memory_usage", "200000000"), "")
	if !strings.HasPrefix(body, "Code: 241. DB::Exception: ") {
		t.Errorf("more than the memory holds: got %.200q", body)
	}
}

// TestHTTPWaitsForEnd: with wait_end_of_query an error has its status however late it comes, the summary is complete, and no file is left.
func TestHTTPWaitsForEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := chtest.StartDir(t, dir)
	for _, params := range [][]string{{"wait_end_of_query", "1"}, {"http_wait_end_of_query", "1"}, {"wait_end_of_query", "1", "buffer_size", "100000000"}, {"wait_end_of_query", "1", "compress", "1"}} {
		set := append([]string{"max_block_size", "1000"}, params...)
		resp, body := do(t, s, "GET", q("SELECT throwIf(number = 60000, 'late'), repeat('x', 50) FROM numbers(1000000)", set...), "")
		if resp.StatusCode != 500 || resp.Header.Get("X-ClickHouse-Exception-Code") != "395" || !strings.Contains(body, "Code: 395. DB::Exception: late") {
			t.Errorf("%v: got %d %.200q", params, resp.StatusCode, body)
		}
		resp, body = do(t, s, "GET", q("SELECT number, repeat('x', 50) FROM numbers(60000)", set[:4]...), "")
		var sum map[string]string
		if err := json.Unmarshal([]byte(resp.Header.Get("X-ClickHouse-Summary")), &sum); err != nil || sum["result_rows"] != "60000" || len(sum["read_rows"]) != 5 {
			t.Errorf("%v: summary %v, %v", params, sum, err)
		}
		if n := strings.Count(body, "\n"); n != 60000 {
			t.Errorf("%v: %d rows", params, n)
		}
	}
	// buffer_size alone holds back so much and no more.
	const late = "SELECT throwIf(number = 60000, 'late'), repeat('x', 50) FROM numbers(100000)"
	resp, _ := do(t, s, "GET", q(late, "max_block_size", "1000", "buffer_size", "8000000"), "")
	if resp.StatusCode != 500 {
		t.Errorf("within the buffer: got %d", resp.StatusCode)
	}
	if resp, body := broken(t, s, q(late, "max_block_size", "1000", "buffer_size", "2000000")); resp.StatusCode != 200 || !strings.Contains(body, "\r\n__exception__\r\n") {
		t.Errorf("past the buffer: got %d %.200q", resp.StatusCode, body)
	}
	noHeldFiles(t, dir)
}

// TestHTTPSummary has the headers of a query that ends before its first bytes go out, and of an insert.
func TestHTTPSummary(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	summary := func(resp *http.Response) (sum map[string]string) {
		t.Helper()
		if err := json.Unmarshal([]byte(resp.Header.Get("X-ClickHouse-Summary")), &sum); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows", "result_bytes", "elapsed_ns", "memory_usage"} {
			if _, ok := sum[name]; !ok {
				t.Errorf("summary without %s: %v", name, sum)
			}
		}
		return sum
	}
	resp, _ := do(t, s, "GET", q("SELECT number FROM numbers(100)"), "")
	if sum := summary(resp); sum["read_rows"] != "100" || sum["read_bytes"] != "800" || sum["result_rows"] != "100" || sum["total_rows_to_read"] != "100" || sum["elapsed_ns"] == "0" {
		t.Errorf("select: %v", sum)
	}
	do(t, s, "POST", q("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a"), "")
	resp, _ = do(t, s, "POST", q("INSERT INTO t FORMAT CSV"), "1\n2\n")
	if sum := summary(resp); sum["written_rows"] != "2" || sum["written_bytes"] != "16" {
		t.Errorf("insert: %v", sum)
	}
	resp, _ = do(t, s, "POST", q("INSERT INTO t SELECT number FROM numbers(7)"), "")
	if sum := summary(resp); sum["written_rows"] != "7" || sum["read_rows"] != "7" {
		t.Errorf("insert select: %v", sum)
	}
	resp, body := do(t, s, "HEAD", q("SELECT number FROM numbers(100) FORMAT JSON"), "")
	if resp.StatusCode != 200 || body != "" || resp.Header.Get("X-ClickHouse-Format") != "JSON" || summary(resp)["result_rows"] != "100" {
		t.Errorf("HEAD: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	// Names as ClickHouse writes them, for those who look without regard to HTTP's own rule.
	raw := rawHTTP(t, s, "GET "+q("SELECT 1")+" HTTP/1.0\r\nHost: localhost\r\n\r\n")
	for _, line := range []string{"X-ClickHouse-Summary: {\"read_rows\":\"1\"", "X-ClickHouse-Query-Id: ", "X-ClickHouse-Exception-Tag: ", "X-ClickHouse-Format: TabSeparated\r\n", "\r\n\r\n1\n"} {
		if !strings.Contains(raw, line) {
			t.Errorf("no %q in %q", line, raw)
		}
	}
}

// TestHTTPProgress: with send_progress_in_http_headers the header grows while the query runs.
func TestHTTPProgress(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	slow := "SELECT number, sleepEachRow(0.02) FROM numbers(40)"
	params := []string{"send_progress_in_http_headers", "1", "http_headers_progress_interval_ms", "50", "max_block_size", "2", "max_threads", "1"}
	raw := rawHTTP(t, s, "GET "+q(slow, params...)+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	if n := strings.Count(head, "\r\nX-ClickHouse-Progress: {\"read_rows\":\""); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || n < 3 {
		t.Errorf("%d progress lines in %q", n, head)
	}
	for _, line := range []string{"\r\nX-ClickHouse-Summary: {\"read_rows\":\"40\"", "\r\nConnection: close", "\r\nTransfer-Encoding: chunked", "\r\nX-ClickHouse-Format: TabSeparated", "\r\nX-ClickHouse-Query-Id: "} {
		if !strings.Contains(head, line) {
			t.Errorf("no %q in %q", line, head)
		}
	}
	if !strings.HasSuffix(body, "\r\n0\r\n\r\n") || !strings.Contains(body, "39\t0\n") {
		t.Errorf("body %q", body)
	}
	// A client that knows HTTP reads the same.
	resp, body := do(t, s, "GET", q(slow, params...), "")
	if n := strings.Count(body, "\n"); resp.StatusCode != 200 || n != 40 || len(resp.Header["X-Clickhouse-Progress"]) < 3 {
		t.Errorf("got %d, %d rows, %v", resp.StatusCode, n, resp.Header)
	}
	// An error after the first line cannot have a status any more: it is marked.
	resp, body = broken(t, s, q("SELECT throwIf(number = 39, 'late'), sleepEachRow(0.02) FROM numbers(40)", params...))
	if resp.StatusCode != 200 || resp.Header.Get("X-ClickHouse-Exception-Code") != "395" || !strings.HasPrefix(body, "\r\n__exception__\r\n") && !strings.Contains(body, "\r\n__exception__\r\n") {
		t.Errorf("error: got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	// One before it has.
	if resp, _ = do(t, s, "GET", q("SELECT nope", params...), ""); resp.StatusCode != 404 {
		t.Errorf("early error: got %d", resp.StatusCode)
	}
}

// TestHTTPException has errors after the first bytes, in every coding.
func TestHTTPException(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	url := q("SELECT throwIf(number = 40000, 'late'), rand(), rand64(1), repeat('x', 20) FROM numbers(1000000)", "max_block_size", "1000")
	for _, coding := range []string{"identity", "gzip", "deflate", "br", "zstd", "lz4"} {
		for _, compress := range []string{"", "&compress=1", "&compress=1&network_compression_method=ZSTD", "&compress=1&network_compression_method=NONE"} {
			t.Run(coding+compress, func(t *testing.T) {
				t.Parallel()
				resp := get(t, s, url+compress, "Accept-Encoding", coding)
				raw, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil {
					t.Error("the transfer ends well")
				}
				if enc := resp.Header.Get("Content-Encoding"); enc != coding && coding != "identity" {
					t.Fatalf("Content-Encoding %q", enc)
				}
				body := decode(t, coding, compress != "", raw)
				tag := resp.Header.Get("X-ClickHouse-Exception-Tag")
				_, block, found := bytes.Cut(body, []byte("\r\n__exception__\r\n"+tag+"\r\n"))
				text, rest, _ := strings.Cut(string(block), "\n")
				want := fmt.Sprintf("%d %s\r\n__exception__\r\n", len(text)+1, tag)
				if !found || len(tag) != 16 || rest != want || !strings.HasPrefix(text, "Code: 395. DB::Exception: late: ") || !strings.Contains(text, "(version 26.7") {
					t.Errorf("got %q", body[max(0, len(body)-500):])
				}
				if resp.Header.Get("X-ClickHouse-Exception-Code") != "" {
					t.Error("the header had the code already")
				}
			})
		}
	}
}

// TestHTTPTotalsOfNothing: a result with totals and no rows is a document as well.
func TestHTTPTotalsOfNothing(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for _, row := range []struct{ format, data, totals string }{
		{"JSON", "[]", `{"c":"0","k":"0"}`},
		{"JSONCompact", "[]", `["0","0"]`},
		{"JSONStrings", "[]", `{"c":"0","k":"0"}`},
		{"JSONCompactStrings", "[]", `["0","0"]`},
	} {
		_, body := do(t, s, http.MethodPost, "/", "SELECT number AS k, count() AS c FROM numbers(5) WHERE number > 9 GROUP BY k WITH TOTALS FORMAT "+row.format+" SETTINGS output_format_json_quote_64bit_integers = 1")
		var doc struct {
			Meta, Data, Totals any
			Rows               *int
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Errorf("%s: %v in %s", row.format, err, body)
			continue
		}
		data, _ := json.Marshal(doc.Data)
		totals, _ := json.Marshal(doc.Totals)
		if string(data) != row.data || string(totals) != row.totals || doc.Rows == nil || *doc.Rows != 0 {
			t.Errorf("%s: data %s, totals %s, rows %v", row.format, data, totals, doc.Rows)
		}
	}
}
