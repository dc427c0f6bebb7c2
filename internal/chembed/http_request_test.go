package chembed_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// TestHTTPCodings has bodies and results in every coding.
func TestHTTPCodings(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	do(t, s, "POST", q("CREATE TABLE t (coding String, s String) ENGINE = MergeTree ORDER BY coding"), "")
	value := strings.Repeat("0123456789", 10_000)
	for _, coding := range []string{"", "gzip", "deflate", "br", "zstd", "lz4"} {
		for _, method := range []string{"", "LZ4", "ZSTD", "NONE"} {
			name := coding + "+" + method
			data, params := name+"\t"+value+"\n", []string{}
			if method != "" {
				m := map[string]compress.Method{"LZ4": compress.LZ4, "ZSTD": compress.ZSTD, "NONE": compress.None}[method]
				data, params = blocks(t, m, data, 65_000), []string{"decompress", "1", "compress", "1", "network_compression_method", method}
			}
			resp, body := do(t, s, "POST", q("INSERT INTO t FORMAT TSV", params...), encode(t, coding, data), "Content-Encoding", coding)
			if resp.StatusCode != 200 || body != "" {
				t.Errorf("%s: insert: %d %.200q", name, resp.StatusCode, body)
			}
			query := "SELECT s FROM t WHERE coding = '" + name + "'"
			if method != "" {
				query = blocks(t, compress.LZ4, query, 10)
			}
			req, err := http.NewRequest("POST", "http://"+s.HTTPAddr()+"/?"+strings.TrimPrefix(q("", params...), "/?"), strings.NewReader(encode(t, coding, query)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Encoding", coding)
			req.Header.Set("Accept-Encoding", "identity, "+coding)
			resp, err = http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := string(decode(t, coding, method != "", raw)); err != nil || resp.Header.Get("Content-Encoding") != coding || got != value+"\n" {
				t.Errorf("%s: select: %v, Content-Encoding %q, %d bytes: %.100q", name, err, resp.Header.Get("Content-Encoding"), len(got), got)
			}
			// An error before the first bytes is in the same codings, and its code in the header.
			resp = get(t, s, q("SELECT nope", params...), "Accept-Encoding", "identity, "+coding)
			raw, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := string(decode(t, coding, method != "", raw)); resp.StatusCode != 404 || resp.Header.Get("X-ClickHouse-Exception-Code") != "47" || !strings.HasPrefix(got, "Code: 47. ") {
				t.Errorf("%s: error: %d %.100q", name, resp.StatusCode, got)
			}
		}
	}
	for _, row := range []struct{ accept, enable, want string }{
		{"gzip, deflate, br, zstd", "1", "zstd"}, {"gzip, deflate, br", "1", "br"}, {"gzip, lz4", "1", "lz4"}, {"deflate, gzip;q=0.1", "1", "gzip"},
		{"deflate, gzip;q=0", "1", "deflate"}, {"snappy", "1", ""}, {"gzip", "0", ""}, {"", "1", ""},
	} {
		resp := get(t, s, q("SELECT 1", "enable_http_compression", row.enable), "Accept-Encoding", row.accept)
		resp.Body.Close()
		if got := resp.Header.Get("Content-Encoding"); got != row.want {
			t.Errorf("%q, %s: coded in %q, want %q", row.accept, row.enable, got, row.want)
		}
	}
}

// TestHTTPBadInput has what breaks a rule: each is named, and the server goes on.
func TestHTTPBadInput(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	do(t, s, "POST", q("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a"), "")
	insert := q("INSERT INTO t FORMAT CSV")
	good := blocks(t, compress.LZ4, "1,a\n2,b\n", 100)
	damaged := []byte(good)
	damaged[len(damaged)-1] ^= 1
	cut := encode(t, "gzip", "1,a\n2,b\n")
	for _, row := range []struct {
		name, url, body, encoding, want string
		status                          int
	}{
		{"unknown coding", insert, "x", "snappier", "Code: 48. DB::Exception: Unknown compression method \"snappier\" of the body: use gzip, ", 501},
		{"no gzip", insert, "1,a\n", "gzip", "Code: 354. DB::Exception: the body ", 500},
		{"half a gzip", insert, cut[:len(cut)-9], "gzip", "Code: 354. DB::Exception: the body ends in the middle of its gzip coding", 500},
		{"a damaged gzip", insert, cut[:len(cut)-6] + "xxxxxx", "gzip", "Code: 354. DB::Exception: the body ", 500},
		{"no deflate", insert, "1,a\n", "deflate", "Code: 354. DB::Exception: the body ", 500},
		{"no brotli", insert, "\xff\xff\xff\xff", "br", "Code: 448. DB::Exception: the body ", 500},
		{"no zstd", insert, "1,a\n 1234567890", "zstd", "Code: 561. DB::Exception: the body is not valid zstd, as its Content-Encoding says: ", 500},
		{"no lz4", insert, "1,a\n 1234567890", "lz4", "Code: 618. DB::Exception: the body ", 500},
		{"a query that is no gzip", "/", "SELECT 1", "gzip", "Code: 354. DB::Exception: the body ", 500},
		{"wrong checksum", insert + "&decompress=1", string(damaged), "", "Code: 40. DB::Exception: Checksum doesn't match: corrupted data in a compressed block of the body (CHECKSUM_DOESNT_MATCH)", 500},
		{"half a block", insert + "&decompress=1", good[:len(good)-3], "", "Code: 33. DB::Exception: the body ends in the middle of a compressed block", 500},
		{"a block's header alone", insert + "&decompress=1", good[:25], "", "Code: 33. DB::Exception: the body ends in the middle of a compressed block", 500},
		{"no block", insert + "&decompress=1", strings.Repeat("1,a\n", 100), "", "Code: 271. DB::Exception: Cannot decompress a block of the body, as decompress=1 asks for: ", 500},
		{"unknown method", q("SELECT 1", "compress", "1", "network_compression_method", "GOOD"), "", "", "Code: 89. DB::Exception: Unknown network_compression_method \"GOOD\"", 500},
		{"neither on nor off", q("SELECT 1", "compress", "maybe"), "", "", "Code: 36. DB::Exception: the parameter compress is neither 1 nor 0: \"maybe\"", 400},
		{"no size", q("SELECT 1", "buffer_size", "big"), "", "", "Code: 36. DB::Exception: the parameter buffer_size is no number of bytes: \"big\"", 400},
		{"no revision", q("SELECT 1", "client_protocol_version", "-1"), "", "", "Code: 36. DB::Exception: the parameter client_protocol_version is no revision", 400},
		{"a role", q("SELECT 1", "role", "admin"), "", "", "Code: 511. DB::Exception: the embedded server has no roles: ", 404},
		{"a password", q("SELECT 1", "password", "geheim"), "", "", "Code: 516. DB::Exception: the embedded server has no users and no passwords: ", 403},
		{"unknown parameter", q("SELECT 1", "nosuch", "1"), "", "", "Code: 115. DB::Exception: Unknown setting 'nosuch'", 404},
		{"no value of a setting", q("SELECT 1", "max_threads", "many"), "", "", "Code: ", 400},
		{"NUL in the query", "/", "SELECT 1\x00, 2", "", "Code: 62. DB::Exception: ", 400},
		{"NUL in a parameter", "/?query=SELECT+1&a%00b=1", "", "", "Code: 115. ", 404},
		{"a parameter that cannot be read", "/?query=SELECT+1&a=%zz", "", "", "Code: 36. DB::Exception: the URL's parameters cannot be read: ", 400},
		{"a query of 50 MB", "/", "SELECT '" + strings.Repeat("x", 50<<20) + "'", "", "Code: 229. DB::Exception: a query of more than 16777216 bytes: ", 413},
		{"a small body that is large", "/", encode(t, "zstd", "SELECT '"+strings.Repeat("x", 17<<20)+"'"), "zstd", "Code: 229. ", 413},
		{"a form without a boundary", "/", "x", "form", "Code: 117. DB::Exception: the Content-Type multipart/form-data names no boundary", 400},
		{"input()", q("INSERT INTO t SELECT a, s FROM input('a UInt32, s String') FORMAT CSV"), "1,a\n", "", "Code: 344. DB::Exception: the embedded server has no table function input(): ", 500},
		{"users", q("CREATE USER alice"), "", "", "Code: 344. DB::Exception: the embedded server has no users: ", 500},
	} {
		header := []string{"Content-Encoding", row.encoding}
		if row.encoding == "form" {
			header = []string{"Content-Type", "multipart/form-data"}
		}
		resp, body := do(t, s, "POST", row.url, row.body, header...)
		if !strings.HasPrefix(body, row.want) || resp.StatusCode != row.status || strings.Contains(body, "geheim") {
			t.Errorf("%s: got %d %.300q, want %d %q", row.name, resp.StatusCode, body, row.status, row.want)
		}
	}
	for _, header := range [][]string{
		{"X-ClickHouse-User", "alice"}, {"X-ClickHouse-Key", "geheim"}, {"Authorization", "Basic YWxpY2U6Z2VoZWlt"}, {"Authorization", "Bearer geheim"},
	} {
		resp, body := do(t, s, "GET", q("SELECT 1"), "", header...)
		if resp.StatusCode != 403 || !strings.HasPrefix(body, "Code: 516. ") || !strings.Contains(body, "has no users") || strings.Contains(body, "geheim") {
			t.Errorf("%s: got %d %q", header, resp.StatusCode, body)
		}
	}
	if resp, body := do(t, s, "GET", q("SELECT 1"), "", "Authorization", "Basic ZGVmYXVsdDo="); resp.StatusCode != 200 {
		t.Errorf("default without a password: %q", body)
	}
	if raw := rawHTTP(t, s, "GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 2<<20)+"\r\n\r\n"); !strings.HasPrefix(raw, "HTTP/1.1 431 ") {
		t.Errorf("a large header: got %.100q", raw)
	}
	if _, got := do(t, s, "GET", q("SELECT count() FROM t"), ""); got != "0\n" {
		t.Errorf("of the refused inserts there are %s rows", got)
	}
}

// TestHTTPRefusals sends what docs/clickhouse-http.md says is refused.
func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/clickhouse-http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- refused -->")
	table, _, _ = strings.Cut(table, "<!-- end of refused -->")
	rows := regexp.MustCompile("(?m)^\\| `(.+)` \\| ([0-9]+) \\| `(.+)` \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Fatalf("%d rows in the page", len(rows))
	}
	s := chtest.Start(t)
	for _, row := range rows {
		resp, body := do(t, s, "POST", row[1], "")
		if fmt.Sprint(resp.StatusCode) != row[2] || !strings.Contains(body, row[3]) {
			t.Errorf("%s: got %d %q, want %s and %q", row[1], resp.StatusCode, body, row[2], row[3])
		}
	}
}

// TestHTTPPatience: who stops sending or reading is let go.
func TestHTTPPatience(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	do(t, s, "POST", q("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a"), "")
	for name, request := range map[string]string{
		"insert": "POST " + q("INSERT INTO t FORMAT CSV", "http_receive_timeout", "1") + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n1\n2\n",
		"query":  "POST /?http_receive_timeout=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nSELECT ",
	} {
		raw := rawHTTP(t, s, request)
		if !strings.HasPrefix(raw, "HTTP/1.1 503 ") || !strings.Contains(raw, "Code: 209. DB::Exception: Timeout exceeded while reading the body: nothing came for 1s") || !strings.Contains(raw, "Connection: close") {
			t.Errorf("%s: got %q", name, raw)
		}
	}
	conn, err := net.Dial("tcp", s.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", q("SELECT repeat('x', 1000) FROM numbers(100000000)", "http_send_timeout", "1"))
	watch := open(t, s)
	const running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT repeat%'"
	until(t, func() bool { return count(t, watch, running) == 1 })
	until(t, func() bool { return count(t, watch, running) == 0 })
}

// TestHTTPDeadlines: the time in which one answer must be read is not the next one's, nor the query's.
func TestHTTPDeadlines(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	conn, err := net.Dial("tcp", s.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func(url string) string {
		t.Helper()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", url)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		return string(b)
	}
	if got := ask(q("SELECT 1", "http_send_timeout", "1")); got != "1\n" {
		t.Errorf("got %q", got)
	}
	do(t, s, "GET", q("SELECT sleep(1.2)"), "") // meanwhile
	if got := ask("/ping"); got != "Ok.\n" {
		t.Errorf("got %q", got)
	}
	if got := ask(q("SELECT * FROM (SELECT sleep(1.2) AS s) WHERE s = 1", "http_send_timeout", "1")); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestHTTPStops: a server that is told to stop lets running requests end, also those whose connection it wrote to by hand.
func TestHTTPStops(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	watch := open(t, s)
	slow := []string{"send_progress_in_http_headers", "1", "http_headers_progress_interval_ms", "20", "max_block_size", "1", "max_threads", "1"}
	answers := make(chan string, 2)
	for rows, params := range map[int][]string{40: slow, 10: slow[4:]} {
		go func() {
			answers <- rawHTTP(t, s, "GET "+q(fmt.Sprintf("SELECT sum(sleepEachRow(0.05)) FROM numbers(%d)", rows), params...)+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		}()
	}
	until(t, func() bool {
		return count(t, watch, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'") == 2
	})
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if raw := <-answers; !strings.HasPrefix(raw, "HTTP/1.") || !strings.Contains(raw, " 200 OK\r\n") || !strings.Contains(raw, "\r\n0\n") && !strings.Contains(raw, "\n0\n\r\n0\r\n") {
			t.Errorf("got %q", raw)
		}
	}
}

// TestHTTPForm sends external tables with a query.
func TestHTTPForm(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	type part struct{ name, file, body string }
	send := func(params string, parts ...part) (*http.Response, string) {
		t.Helper()
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, p := range parts {
			if p.file == "" {
				w.WriteField(p.name, p.body)
				continue
			}
			f, err := w.CreateFormFile(p.name, strings.Trim(p.file, "-"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(f, p.body)
		}
		w.Close()
		return do(t, s, "POST", "/?"+params, b.String(), "Content-Type", w.FormDataContentType())
	}
	for _, row := range []struct {
		name, params string
		parts        []part
		want         string
	}{
		{"a table", "query=SELECT+sum(a),max(b)+FROM+ext&ext_structure=a+UInt8,b+String", []part{{"ext", "x.tsv", "1\tp\n2\tq\n"}}, "3\tq\n"},
		{"types alone", "query=SELECT+sum(_1),max(_2)+FROM+ext&ext_types=UInt8,String", []part{{"ext", "x", "1\tp\n2\tq\n"}}, "3\tq\n"},
		{"a format", "query=SELECT+b+FROM+ext&ext_structure=a+UInt8,b+Nullable(String)&ext_format=JSONEachRow", []part{{"ext", "x", `{"a":1,"b":null}`}}, "\\N\n"},
		{"no file name", "query=SELECT+b+FROM+ext&ext_structure=b+String", []part{{"ext", "-", "p\n"}}, "p\n"},
		{"the query in a field", "x_structure=a+Enum8('a,b'%3D1),`c+d`+Tuple(UInt8,String)&x_format=CSV&param_n=3", []part{{"x", "f", "\"a,b\",4,z\n"}, {"query", "", "SELECT a, `c d`, {n:UInt8}, {m:String} FROM x"}, {"param_m", "", "it"}}, "a,b\t(4,'z')\t3\tit\n"},
		{"two tables", "query=SELECT+a,b+FROM+l+JOIN+r+USING+a&l_structure=a+UInt8&r_structure=a+UInt8,b+String", []part{{"l", "f", "1\n2\n"}, {"r", "f", "2\tx\n"}}, "2\tx\n"},
		{"structure in a field", "query=SELECT+a+FROM+l", []part{{"l_structure", "", "a UInt8"}, {"l", "f", "1\n"}}, "1\n"},
		{"a setting that ends so", "query=SELECT+a+FROM+l&l_structure=a+DateTime&date_time_output_format=unix_timestamp", []part{{"l", "f", "2020-01-01 00:00:00\n"}}, "1577836800\n"},
		{"no columns", "query=SELECT+1", []part{{"ext", "x", "1\n"}}, "Code: 36. DB::Exception: neither structure nor types have been provided for external table \"ext\"…"},
		{"bad columns", "query=SELECT+1&ext_structure=a", []part{{"ext", "x", "1\n"}}, "Code: 36. DB::Exception: the columns of the external table \"ext\" are not names and types: \"a\"…"},
		{"open columns", "query=SELECT+1&ext_structure=a+Tuple(", []part{{"ext", "x", "1\n"}}, "Code: 36. DB::Exception: the columns of the external table \"ext\" cannot be read: …"},
		{"bad data", "query=SELECT+1&ext_structure=a+UInt8", []part{{"ext", "x", "one\n"}}, "Code: 27. …"},
		{"gone afterwards", "query=SELECT+a+FROM+ext", nil, "Code: 60. …"},
	} {
		resp, body := send(row.params+"&session_id=s", row.parts...)
		if want, cut := strings.CutSuffix(row.want, "…"); body != want && !(cut && strings.HasPrefix(body, want)) {
			t.Errorf("%s: got %d %.300q, want %q", row.name, resp.StatusCode, body, row.want)
		}
	}
	resp, body := do(t, s, "POST", "/?query=SELECT+1&e_structure=a+UInt8", "--b\r\nContent-Disposition: form-data; name=\"e\"; filename=\"f\"\r\n\r\n1\n", "Content-Type", "multipart/form-data; boundary=b")
	if !strings.HasPrefix(body, "Code: 33. DB::Exception: the form ends before its last boundary") {
		t.Errorf("a form cut short: got %d %.300q", resp.StatusCode, body)
	}
}

// TestHTTPConcurrent sends 64 requests at a time, over and over.
func TestHTTPConcurrent(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	do(t, s, "POST", q("CREATE TABLE t (w UInt32, n UInt32) ENGINE = MergeTree ORDER BY w"), "")
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for n := range 2 {
				resp, err := client.Post("http://"+s.HTTPAddr()+q("INSERT INTO t FORMAT CSV"), "", strings.NewReader(fmt.Sprintf("%d,%d\n", w, n)))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				resp, err = client.Get("http://" + s.HTTPAddr() + q("SELECT count() FROM t WHERE w = {w:UInt32}", "param_w", fmt.Sprint(w)))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(b) != fmt.Sprintf("%d\n", n+1) {
					t.Errorf("worker %d, insert %d: got %q, %v", w, n, b, err)
				}
			}
		})
	}
	wg.Wait()
}
