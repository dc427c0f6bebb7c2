package chembed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// httpCompressions are what clickhouse-go has over HTTP: two of ClickHouse's own, three of HTTP's.
func httpCompressions() map[string]*clickhouse.Compression {
	all := compressions()
	all["gzip"] = &clickhouse.Compression{Method: clickhouse.CompressionGZIP, Level: 3}
	all["deflate"] = &clickhouse.Compression{Method: clickhouse.CompressionDeflate, Level: 3}
	all["br"] = &clickhouse.Compression{Method: clickhouse.CompressionBrotli, Level: 3}
	return all
}

// openHTTP connects clickhouse-go over HTTP.
func openHTTP(t testing.TB, s *chembed.Server, comp *clickhouse.Compression) clickhouse.Conn {
	t.Helper()
	return open(t, s, func(o *clickhouse.Options) {
		o.Protocol, o.Addr, o.Compression = clickhouse.HTTP, []string{s.HTTPAddr()}, comp
	})
}

// TestClickHouseGoOverHTTP has that client do all it can, whatever the compression.
func TestClickHouseGoOverHTTP(t *testing.T) {
	t.Parallel()
	for name, comp := range httpCompressions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := chtest.Start(t)
			c := openHTTP(t, s, comp)
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v, err := c.ServerVersion(); err != nil || v.Version.Major != 26 {
				t.Fatalf("version %v, %v", v, err)
			}
			everyTypeThere(t, c)
			httpParameters(t, c)
			httpErrors(t, c)
			httpTables(t, c)
			httpLarge(t, c)
			httpFormats(t, c)
		})
	}
}

func httpParameters(t *testing.T, c clickhouse.Conn) {
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"s": "it's 值", "n": "7"}),
		clickhouse.WithSettings(clickhouse.Settings{"max_threads": 3}), clickhouse.WithQueryID("mine"))
	var s, threads string
	var n uint8
	if err := c.QueryRow(ctx, "SELECT {s:String}, {n:UInt8}, toString(getSetting('max_threads'))").Scan(&s, &n, &threads); err != nil || s != "it's 值" || n != 7 || threads != "3" {
		t.Errorf("parameters: got %q, %d, %s, %v", s, n, threads, err)
	}
	if err := c.QueryRow(t.Context(), "SELECT @a, @b", clickhouse.Named("a", "x"), clickhouse.Named("b", "y")).Scan(&s, &threads); err != nil || s != "x" || threads != "y" {
		t.Errorf("bound: got %q, %q, %v", s, threads, err)
	}
	// Types that only their data tell, and an empty result.
	for _, row := range []struct{ sql, want string }{
		{"SELECT '{\"a\":1}'::JSON::String", `{"a":1}`}, {"SELECT 1::Variant(UInt8, String)::String", "1"}, {"SELECT 'x'::Dynamic::String", "x"},
		{"SELECT toString(toDateTime('2026-01-02 03:04:05', 'Asia/Shanghai'))", "2026-01-02 03:04:05"},
	} {
		var got string
		if err := c.QueryRow(t.Context(), row.sql).Scan(&got); err != nil || got != row.want {
			t.Errorf("%s: got %q, %v", row.sql, got, err)
		}
	}
	for _, sql := range []string{"SELECT '{\"a\":1}'::JSON", "SELECT number::Variant(UInt64, String) FROM numbers(3)", "SELECT 'x'::Dynamic", "SELECT [NULL, 1]", "SELECT NULL", "SELECT uniqState(number) FROM numbers(3) FORMAT Null"} {
		rows, err := c.Query(t.Context(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		for rows.Next() {
			if err := rows.Scan(reflect.New(rows.ColumnTypes()[0].ScanType()).Interface()); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		rows.Close()
	}
	var none []struct{ A uint8 }
	if err := c.Select(t.Context(), &none, "SELECT 1 AS a WHERE 0"); err != nil || len(none) != 0 {
		t.Errorf("empty: %v, %v", none, err)
	}
}

func httpErrors(t *testing.T, c clickhouse.Conn) {
	for _, row := range []struct {
		sql    string
		code   int32
		status int // 0: in the middle of the result
		text   string
	}{
		{"SELECT * FROM nope", 60, 404, "nope"},
		{"SELEC 1", 62, 400, "Syntax error"},
		{"SELECT throwIf(number = 3, 'boom') FROM numbers(10)", 395, 500, "boom"},
		{"SELECT throwIf(number = 100000, 'late'), rand(), rand64(1) FROM numbers(200000) SETTINGS max_block_size = 1000", 395, 0, "late"},
		{"SELECT sleep(3) SETTINGS max_execution_time = 0.2", 159, 408, ""},
		{"GRANT SELECT ON t TO alice", 344, 500, "no users"},
	} {
		rows, err := c.Query(t.Context(), row.sql)
		for err == nil && rows.Next() {
		}
		if err == nil {
			err = rows.Err()
			rows.Close()
		}
		var ex *clickhouse.Exception
		var he *clickhouse.HTTPError
		status := 0
		if errors.As(err, &he) {
			status = he.StatusCode
		}
		if !errors.As(err, &ex) || ex.Code != row.code || status != row.status || !strings.Contains(ex.Message, row.text) {
			t.Errorf("%q: got status %d, %v; want code %d, status %d, %q", row.sql, status, err, row.code, row.status, row.text)
		}
	}
	mustExec(t, c, "CREATE TABLE small (a UInt8, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a")
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO small")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Append(uint8(200)); err != nil {
		t.Fatal(err)
	}
	var ex *clickhouse.Exception
	if err := b.Send(); !errors.As(err, &ex) || ex.Code != 469 {
		t.Errorf("a refused batch: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.QueryRow(ctx, "SELECT sum(sleepEachRow(0.05)) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1").Err()
	}()
	const running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
	until(t, func() bool { return count(t, c, running) == 1 })
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled query ends well")
	}
	until(t, func() bool { return count(t, c, running) == 0 })
}

func httpTables(t *testing.T, c clickhouse.Conn) {
	table, err := ext.NewTable("ext", ext.Column("a", "UInt32"), ext.Column("s", "LowCardinality(String)"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := table.Append(uint32(i), fmt.Sprint("s", i%3)); err != nil {
			t.Fatal(err)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithExternalTable(table))
	if n := uint64(0); c.QueryRow(ctx, "SELECT sum(a) FROM ext WHERE s = 's1'").Scan(&n) != nil || n != 1617 {
		t.Errorf("an external table: got %d, want 1617", n)
	}
}

func httpLarge(t *testing.T, c clickhouse.Conn) {
	mustExec(t, c, "CREATE TABLE large (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO large")
	if err != nil {
		t.Fatal(err)
	}
	const rows = 50_000
	for i := range rows {
		if err := b.Append(uint64(i), fmt.Sprint("row ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Query(t.Context(), "SELECT a, s FROM large ORDER BY a SETTINGS max_block_size = 3000")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for ; r.Next(); n++ {
		var a uint64
		var s string
		if err := r.Scan(&a, &s); err != nil || a != uint64(n) || s != fmt.Sprint("row ", n) {
			t.Fatalf("row %d: %d, %q, %v", n, a, s, err)
		}
	}
	if err := r.Err(); err != nil || n != rows {
		t.Errorf("%d rows, %v", n, err)
	}
}

func httpFormats(t *testing.T, c clickhouse.Conn) {
	mustExec(t, c, "CREATE TABLE f (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
	if err := c.InsertFormat(t.Context(), "CSV", "INSERT INTO f", strings.NewReader("1,\"x\"\n2,\"y\"\n")); err != nil {
		t.Fatal(err)
	}
	r, err := c.QueryFormat(t.Context(), "JSONEachRow", "SELECT * FROM f ORDER BY a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "{\"a\":1,\"s\":\"x\"}\n{\"a\":2,\"s\":\"y\"}\n" {
		t.Errorf("a format of its own: got %q, %v", b, err)
	}
	late, err := c.QueryFormat(t.Context(), "CSV", "SELECT throwIf(number = 40000, 'late'), rand(), rand64(1), repeat('x', 20) FROM numbers(200000) SETTINGS max_block_size = 1000")
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	var ex *clickhouse.Exception
	if _, err := io.Copy(io.Discard, late); !errors.As(err, &ex) || ex.Code != 395 {
		t.Errorf("a late error in a format of its own: %v", err)
	}
}

// TestNativeOverHTTP has blocks as clients of several revisions read them.
func TestNativeOverHTTP(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	const block = "\x01\x01\x01a\x05UInt8\x07" // columns, rows, name, type, value
	for _, row := range []struct{ revision, want string }{
		{"", block}, {"0", block},
		{"54429", "\x01\x00\x02\xff\xff\xff\xff\x00" + block},
		{"54460", "\x01\x00\x02\xff\xff\xff\xff\x00\x01\x01\x01a\x05UInt8\x00\x07"},
	} {
		for _, query := range []string{"SELECT 7::UInt8 AS a", "SELECT 7::UInt8 AS a SETTINGS extremes = 0"} {
			params := []string{"default_format", "Native"}
			if row.revision != "" {
				params = append(params, "client_protocol_version", row.revision)
			}
			if _, body := do(t, s, "GET", q(query, params...), ""); body != row.want {
				t.Errorf("revision %s, %s: got %q, want %q", row.revision, query, body, row.want)
			}
		}
	}
	// What comes out goes in again: inserts are of revision 0.
	do(t, s, "POST", q("CREATE TABLE t (a UInt8) ENGINE = Memory"), "")
	do(t, s, "POST", q("INSERT INTO t FORMAT Native", "client_protocol_version", "54460"), block+block)
	if _, got := do(t, s, "GET", q("SELECT sum(a) FROM t"), ""); got != "14\n" {
		t.Errorf("inserted: %q", got)
	}
	resp := get(t, s, q("SELECT number FROM numbers(100000)", "default_format", "Native", "max_block_size", "1000", "compress", "1", "client_protocol_version", "54460"))
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if got := decode(t, "", true, raw); err != nil || bytes.Count(got, []byte("\x06number\x06UInt64\x00")) != 100 {
		t.Errorf("%d blocks, %v", bytes.Count(got, []byte("\x06number\x06UInt64\x00")), err)
	}
}
