package chembed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// TestParameters gives values to {name:Type} of many types.
func TestParameters(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for name, comp := range compressions() {
		c := open(t, s, func(o *clickhouse.Options) { o.Compression = comp })
		for _, row := range []struct{ expr, value, want string }{
			{"{x:UInt8}", "7", "7"},
			{"{x:String}", "it's 值 \" and so on", "it's 值 \" and so on"},
			{"{x:String}", "", ""},
			{"{x:Array(UInt8)}", "[1,2]", "[1,2]"},
			{"{x:Map(String, Int8)}", "{'a':1}", "{'a':1}"},
			{"{x:DateTime('UTC')}", "2026-07-01 01:02:03", "2026-07-01 01:02:03"},
			{"(SELECT count() FROM system.{x:Identifier})", "one", "1"},
		} {
			ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"x": row.value}))
			var got string
			if err := c.QueryRow(ctx, "SELECT toString("+row.expr+")").Scan(&got); err != nil || got != row.want {
				t.Errorf("%s, %s of %q: got %q, %v", name, row.expr, row.value, got, err)
			}
		}
		err := c.Exec(t.Context(), "SELECT {missing:UInt8}")
		if ex := (*clickhouse.Exception)(nil); !errors.As(err, &ex) || ex.Code != 456 {
			t.Errorf("%s, no value: %v", name, err)
		}
	}
}

// TestDynamicTypes reads and inserts columns whose layout only their data tells.
func TestDynamicTypes(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for name, comp := range compressions() {
		t.Run(name, func(t *testing.T) {
			c := open(t, s, func(o *clickhouse.Options) { o.Compression = comp })
			mustExec(t, c, "DROP TABLE IF EXISTS d")
			mustExec(t, c, `CREATE TABLE d (n UInt32, few JSON(max_dynamic_paths = 1), j JSON(max_dynamic_paths = 16, t UInt8), dy Dynamic, v Variant(String, UInt64, Array(LowCardinality(String))),
				aj Array(JSON), mv Map(String, Variant(String, UInt64)), s String) ENGINE = MergeTree ORDER BY n`)
			const rows = 500
			mustExec(t, c, `INSERT INTO d SELECT number, '{"a":1,"b":2,"c":[{"d":1}]}', concat('{"t":1,"k', toString(number % 5), '":', toString(number), ',"s":"x","deep":{"a":[1,2]}}'),
				multiIf(number % 6 = 0, NULL, number % 6 = 1, number::Dynamic, number % 6 = 2, toString(number)::Dynamic, number % 6 = 3, [number]::Dynamic, number % 6 = 4, toDate('2026-01-01')::Dynamic, 1.5::Dynamic),
				multiIf(number % 4 = 0, NULL, number % 4 = 1, number::Variant(String, UInt64, Array(LowCardinality(String))), number % 4 = 2, toString(number)::Variant(String, UInt64, Array(LowCardinality(String))),
					['a', toString(number)]::Array(LowCardinality(String))::Variant(String, UInt64, Array(LowCardinality(String)))),
				[concat('{"z":', toString(number), '}')]::Array(JSON), map('a', number::Variant(String, UInt64), 'b', 'x'::Variant(String, UInt64)), 'end' FROM numbers(`+fmt.Sprint(rows)+`)`)
			for _, flat := range []int{0, 1} {
				ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"output_format_native_use_flattened_dynamic_and_json_serialization": flat}))
				columns := "n, j, dy, v, aj, mv, s"
				if flat == 1 {
					// In the other form this client does not understand paths that have no column of their own.
					columns += ", few"
				}
				r, err := c.Query(ctx, "SELECT "+columns+" FROM d ORDER BY n")
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for r.Next() {
					var id uint32
					var j clickhouse.JSON
					var dy clickhouse.Dynamic
					var v clickhouse.Variant
					var aj []clickhouse.JSON
					var mv map[string]clickhouse.Variant
					var end string
					var few clickhouse.JSON
					dest := []any{&id, &j, &dy, &v, &aj, &mv, &end}
					if flat == 1 {
						dest = append(dest, &few)
					}
					if err := r.Scan(dest...); err != nil {
						t.Fatal(err)
					}
					k, _ := clickhouse.ExtractJSONPathAs[int64](&j, fmt.Sprint("k", id%5))
					z, _ := clickhouse.ExtractJSONPathAs[int64](&aj[0], "z")
					if int(id) != n || end != "end" || z != int64(n) || fmt.Sprint(mv["a"].Any()) != fmt.Sprint(n) {
						t.Fatalf("flat %d, row %d: %d, k %d, z %d, %v, %q", flat, n, id, k, z, mv, end)
					}
					if n%4 == 1 && fmt.Sprint(v.Any()) != fmt.Sprint(n) || n%4 == 0 && v.Any() != nil {
						t.Fatalf("flat %d, row %d: variant %v", flat, n, v)
					}
					if n%6 == 2 && fmt.Sprint(dy.Any()) != fmt.Sprint(n) || n%6 == 0 && dy.Any() != nil {
						t.Fatalf("flat %d, row %d: dynamic %v", flat, n, dy)
					}
					n++
				}
				if err := r.Err(); err != nil || n != rows {
					t.Fatalf("flat %d: %d rows, %v", flat, n, err)
				}
			}
			// As the client sends them.
			b, err := c.PrepareBatch(t.Context(), "INSERT INTO d (n, j, dy, v, s)")
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for i := range 50 {
				j := clickhouse.NewJSON()
				j.SetValueAtPath("t", uint8(2))
				j.SetValueAtPath(fmt.Sprint("p", i%7), int64(i))
				if err := b.Append(uint32(1000+i), j, clickhouse.NewDynamicWithType(int64(i), "Int64"), clickhouse.NewVariant(uint64(i)), "sent"); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Send(); err != nil {
				t.Fatal(err)
			}
			if n := count(t, c, "SELECT count() FROM d WHERE s = 'sent' AND j.t = 2 AND dy.Int64 = n - 1000 AND v.UInt64 = n - 1000"); n != 50 {
				t.Errorf("the engine finds %d of 50 rows", n)
			}
			if n := count(t, c, "SELECT toUInt64(sum(j.p3::Int64)) FROM d WHERE s = 'sent' AND j.p3 IS NOT NULL"); n != 3+10+17+24+31+38+45 {
				t.Errorf("the sum of a path is %d", n)
			}
			mustExec(t, c, "CREATE OR REPLACE TABLE js (j JSON) ENGINE = Memory")
			b, err = c.PrepareBatch(t.Context(), "INSERT INTO js")
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := b.Append(`{"a":{"b":7}}`); err != nil {
				t.Fatal(err)
			}
			if err := b.Send(); err != nil {
				t.Fatal(err)
			}
			if n := count(t, c, "SELECT toUInt64(j.a.b::Int64) FROM js"); n != 7 {
				t.Errorf("JSON as text became %d", n)
			}
		})
	}
}

// TestAggregateStates: states are read as the last column, and elsewhere their reader is told what to do.
func TestAggregateStates(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	raw := rawDialRevision(t, s, 54460)
	raw.send(rawQueryRevision("SELECT 1 AS a, uniqState(number) AS u FROM numbers(3)", 54460), rawEnd())
	if ex := raw.until(proto.ServerCodeData); ex != nil {
		t.Errorf("as the last column: %v", ex)
	}
	raw = rawDialRevision(t, s, 54460)
	raw.send(rawQueryRevision("SELECT uniqState(number) AS u, 1 AS a FROM numbers(3)", 54460), rawEnd())
	if ex := raw.until(proto.ServerCodeException); ex == nil || ex.Code != 50 || !strings.Contains(ex.Message, "finalizeAggregation") {
		t.Errorf("as the first column: %v", ex)
	}
}

// TestExternalTables sends tables along with a query; they are gone after it.
func TestExternalTables(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for name, comp := range compressions() {
		c := open(t, s, func(o *clickhouse.Options) { o.Compression = comp })
		a, err := ext.NewTable("a", ext.Column("k", "UInt8"), ext.Column("v", "Nullable(String)"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := ext.NewTable("b", ext.Column("k", "UInt8"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			v := fmt.Sprint("v", i)
			if err := errors.Join(a.Append(uint8(i), &v), b.Append(uint8(2*i))); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second query brings them again
			ctx := clickhouse.Context(t.Context(), clickhouse.WithExternalTable(a, b))
			var got string
			if err := c.QueryRow(ctx, "SELECT arrayStringConcat(groupArray(v), ',') FROM (SELECT v FROM a WHERE k IN (SELECT k FROM b) ORDER BY k)").Scan(&got); err != nil || got != "v0,v2,v4,v6,v8" {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
		if err := c.Exec(t.Context(), "SELECT * FROM a"); err == nil {
			t.Errorf("%s: the table is still there", name)
		}
	}
	// What cannot be made is an error of that query alone.
	raw := rawDial(t, s)
	raw.hello()
	raw.send(rawQuery("SELECT 1", 0), []byte{2, 1, 'x', 1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 1, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 7})
	raw.send([]byte{2, 1, 'x', 1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 1, 1, 'a', 5, 'U', 'I', 'n', 't', '8', 7}, rawEnd())
	if ex := raw.until(proto.ServerCodeException); ex == nil || ex.Code != 57 {
		t.Errorf("the same table twice: %v", ex)
	}
	raw.send([]byte{byte(proto.ClientCodePing)})
	if code := raw.code(); code != proto.ServerCodePong {
		t.Errorf("ping answered with packet %d", code)
	}
}

// TestTotals: WITH TOTALS and extremes come in packets of their own.
func TestTotals(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for name, comp := range compressions() {
		c := open(t, s, func(o *clickhouse.Options) { o.Compression = comp })
		const columns = "toDateTime64('2026-10-25 01:30:00.5', 3, 'Europe/Berlin') AS dt, NULL AS n, ['a', NULL] AS a, map('k', 1.5) AS m, " +
			"'tab\t\n\\0\\xff\"' AS str, true AS b, toLowCardinality('lc') AS lc, toUUID('00000000-0000-0000-0000-000000000001') AS id, (1, 'x') AS tup, inf AS f, toDecimal64(1.25, 4) AS dec, toIntervalDay(3) AS iv"
		r, err := c.Query(t.Context(), "SELECT number % 3 AS k, count() AS c, "+columns+" FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		types := r.ColumnTypes()
		var rows []string
		for r.Next() {
			vals := make([]any, len(r.Columns()))
			for i, ct := range types {
				vals[i] = reflect.New(ct.ScanType()).Interface()
			}
			if err := r.Scan(vals...); err != nil {
				t.Fatal(err)
			}
			var row []string
			for _, v := range vals {
				row = append(row, fmt.Sprint(reflect.ValueOf(v).Elem()))
			}
			rows = append(rows, strings.Join(row[:2], " ")+fmt.Sprintf(" %q", row[6]))
		}
		if err := r.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := strings.Join(rows, "; "), `0 4 "tab\t\n\x00\xff\""; 1 3 "tab\t\n\x00\xff\""; 2 3 "tab\t\n\x00\xff\""`; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		var k uint8
		var sum uint64
		dest := []any{&k, &sum}
		for _, ct := range types[2:] {
			dest = append(dest, reflect.New(ct.ScanType()).Interface())
		}
		if err := r.Totals(dest...); err != nil || k != 0 || sum != 10 {
			t.Errorf("%s: totals %d %d, %v", name, k, sum, err)
		}
		r.Close()
		// A result without rows has totals, and its columns, too.
		r, err = c.Query(t.Context(), "SELECT number AS k, count() AS c FROM numbers(10) WHERE number > 20 GROUP BY k WITH TOTALS")
		if err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			t.Errorf("%s: a row", name)
		}
		if got := fmt.Sprint(r.Columns(), r.Err()); got != "[k c] <nil>" {
			t.Errorf("%s: %s", name, got)
		}
		r.Close()
	}
	raw := rawDialRevision(t, s, 54460)
	raw.send(rawQueryRevision("SELECT number FROM numbers(5) SETTINGS extremes = 1", 54460), rawEnd())
	if ex := raw.until(proto.ServerCodeExtremes); ex != nil {
		t.Fatal(ex)
	}
	if got, want := raw.u64s(2), []uint64{0, 4}; !reflect.DeepEqual(got, want) {
		t.Errorf("extremes %v, want %v", got, want)
	}
}

// TestProgressAndProfile: a long query tells how far it is, and at its end what it cost.
func TestProgressAndProfile(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	var reads, total atomic.Uint64
	var calls atomic.Int64
	var rows, blocks uint64
	events := map[string]int64{}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithProgress(func(p *clickhouse.Progress) {
		calls.Add(1)
		reads.Add(p.Rows)
		total.Add(p.TotalRows)
	}), clickhouse.WithProfileInfo(func(p *clickhouse.ProfileInfo) { rows, blocks = p.Rows, p.Blocks }), clickhouse.WithProfileEvents(func(list []clickhouse.ProfileEvent) {
		for _, e := range list {
			events[e.Name] += e.Value
		}
	}))
	if err := c.QueryRow(ctx, "SELECT sum(sleepEachRow(0.005)) + count() FROM numbers(150) SETTINGS max_block_size = 10, max_threads = 1").Scan(new(uint64)); err != nil {
		t.Fatal(err)
	}
	if reads.Load() != 150 || calls.Load() < 3 {
		t.Errorf("%d rows of progress in %d calls; want 150 in several", reads.Load(), calls.Load())
	}
	if total.Load() != 150 {
		t.Errorf("%d rows to read, want 150", total.Load())
	}
	if rows != 1 || blocks != 1 {
		t.Errorf("profile of %d rows in %d blocks, want 1 in 1", rows, blocks)
	}
	if events["SelectedRows"] != 150 || events["Query"] != 1 {
		t.Errorf("profile events %v", events)
	}
}

// TestReplyCompression: the server compresses as the query asks.
func TestReplyCompression(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	for _, method := range []string{"LZ4", "LZ4HC", "ZSTD", "NONE", "zstd"} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"network_compression_method": method}))
		var n uint64
		if err := c.QueryRow(ctx, "SELECT sum(number) FROM (SELECT number FROM numbers(100000))").Scan(&n); err != nil || n != 4999950000 {
			t.Errorf("%s: %d, %v", method, n, err)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"network_compression_method": "snappy"}))
	if err := c.Exec(ctx, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "LZ4HC, ZSTD and NONE") {
		t.Errorf("an unknown method: %v", err)
	}
}

// TestLowLevelClient speaks with ch-go, which shows more of the protocol than clickhouse-go.
func TestLowLevelClient(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for _, comp := range []ch.Compression{ch.CompressionDisabled, ch.CompressionLZ4, ch.CompressionZSTD} {
		c, err := ch.Dial(t.Context(), ch.Options{Address: s.Addr(), Compression: comp})
		if err != nil {
			t.Fatal(err)
		}
		var k proto.ColUInt8
		var v proto.ColStr
		k.Append(3)
		v.Append("external")
		var got proto.ColStr
		err = c.Do(t.Context(), ch.Query{
			Body: "SELECT concat(v, {p:String}) AS r FROM mine WHERE k = 3", Parameters: ch.Parameters(map[string]any{"p": "!"}),
			ExternalTable: "mine", ExternalData: proto.Input{{Name: "k", Data: k}, {Name: "v", Data: v}}, Result: proto.Results{{Name: "r", Data: &got}},
		})
		if err != nil || got.Rows() != 1 || got.Row(0) != "external!" {
			t.Errorf("compression %v: %v, %v", comp, got, err)
		}
		c.Close()
	}
}

// TestFlatMemory: ten million rows pass through the server without gathering there.
func TestFlatMemory(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	raw := rawDialRevision(t, s, 54460)
	raw.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	raw.send(rawQueryRevision("SELECT number AS n, repeat('x', 50) AS s, toUInt8(number % 100) AS small FROM numbers(10000000)", 54460), rawEnd())
	const size = 10_000_000 * (8 + 1 + 50 + 1) // numbers, lengths of strings, strings
	most, before := int64(0), int64(0)
	buf := make([]byte, 1<<20)
	for got := 0; got < size; {
		n, err := io.ReadFull(raw.conn, buf[:min(len(buf), size-got)])
		if got += n; err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if before == 0 && got > 10<<20 {
			before = rss(t, s)
		}
		most = max(most, rss(t, s))
	}
	if most-before > 100<<20 {
		t.Errorf("the server grew from %d to %d MiB", before>>20, most>>20)
	}
}

// TestBeyond: what only a server of one's own has is refused in words that say so, and nothing can end the engine's process.
func TestBeyond(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	pid := s.PID()
	for _, row := range []struct{ sql, want string }{
		{"CREATE USER u", "no users"}, {"create or replace user u IDENTIFIED BY 'x'", "no users"}, {"DROP ROLE r", "no roles"}, {"ALTER USER default IDENTIFIED BY 'x'", "no users"},
		{"CREATE ROW POLICY p ON t", "no row policies"}, {"CREATE QUOTA q", "no quotas"}, {"CREATE SETTINGS PROFILE p", "no settings profiles"},
		{"GRANT SELECT ON *.* TO u", "no users"}, {"REVOKE ALL ON *.* FROM u", "no users"}, {"SHOW USERS", "no users"}, {"SHOW CURRENT ROLES", "no roles"}, {"SHOW CREATE USER default", "no users"},
		{"CREATE TABLE r (a UInt8) ENGINE = ReplicatedMergeTree('/a', 'b') ORDER BY a", "no Keeper"},
		{"CREATE DATABASE r ENGINE = Replicated('/a', 's', 'r')", "no Keeper"},
		{"CREATE TABLE r ON CLUSTER c (a UInt8) ENGINE = MergeTree ORDER BY a", "no cluster"},
		{"SELECT * FROM cluster('c', system.one)", "no cluster"},
		{"SYSTEM SHUTDOWN", "stops with Huoma"}, {"system /* now */ kill", "stops with Huoma"}, {"SYSTEM SUSPEND FOR 5 SECOND", "stops with Huoma"},
		{"SYSTEM SYNC REPLICA t", "no replication"}, {"SYSTEM RELOAD CONFIG", "no configuration"},
	} {
		if err := c.Exec(t.Context(), row.sql); err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "Huoma") && !strings.Contains(err.Error(), "--clickhouse-url") {
			t.Errorf("%s: %v", row.sql, err)
		}
	}
	for _, sql := range []string{
		"CREATE TABLE user (role UInt8) ENGINE = Memory", "SELECT role FROM user", "DROP TABLE user", "SHOW SETTINGS LIKE 'max_threads'", "SHOW GRANTS", "SYSTEM FLUSH LOGS",
	} {
		if err := c.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if s.PID() != pid {
		t.Error("the engine was started again")
	}
	for name, auth := range map[string]clickhouse.Auth{"user": {Username: "someone"}, "password": {Username: "default", Password: "secret"}} {
		c := open(t, s, func(o *clickhouse.Options) { o.Auth = auth })
		if err := c.Ping(context.Background()); err == nil || !strings.Contains(err.Error(), "no users and no passwords") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusedPage holds the page that lists what there is not against the server.
func TestRefusedPage(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	mustExec(t, c, "CREATE DATABASE huoma")
	mustExec(t, c, "CREATE TABLE huoma.scans (a UInt8) ENGINE = MergeTree ORDER BY a")
	page, err := os.ReadFile("../../docs/clickhouse.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- refused -->")
	table, _, _ = strings.Cut(table, "<!-- end of refused -->")
	rows := regexp.MustCompile("(?m)^\\| `(.*)` \\| `(.*)` \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 15 {
		t.Fatalf("the page has %d statements", len(rows))
	}
	for _, row := range rows {
		if err := c.Exec(t.Context(), row[1]); err == nil || !strings.Contains(err.Error(), row[2]) {
			t.Errorf("native, %s: got %v, want %s", row[1], err, row[2])
		}
		if _, body := do(t, s, http.MethodPost, "/", row[1]); !strings.Contains(body, row[2]) {
			t.Errorf("HTTP, %s: got %s, want %s", row[1], body, row[2])
		}
	}
}

// TestTimeout: a query may take as long as its settings say.
func TestTimeout(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_execution_time": 1}))
	begun := time.Now()
	err := c.Exec(ctx, "SELECT sleepEachRow(0.05) FROM numbers(1000) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
	if ex := (*clickhouse.Exception)(nil); !errors.As(err, &ex) || ex.Code != 159 || time.Since(begun) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	if n := count(t, c, "SELECT count() FROM system.processes"); n != 1 {
		t.Errorf("%d queries run", n)
	}
}

// TestZones: a DateTime has its zone, wherever its table is.
func TestZones(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s, func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	mustExec(t, c, "CREATE TABLE z (d DateTime('Asia/Shanghai'), e DateTime('Asia/Tokyo'), n DateTime) ENGINE = Memory")
	mustExec(t, c, "INSERT INTO z VALUES ('2026-01-01 08:00:00', '2026-01-01 09:00:00', '2026-01-01 00:00:00')")
	mustExec(t, c, "CREATE TEMPORARY TABLE mine AS SELECT * FROM z")
	mustExec(t, c, "CREATE TEMPORARY TABLE shadowed (d DateTime('Europe/Berlin'), e DateTime('Asia/Tokyo'), n DateTime)")
	mustExec(t, c, "CREATE TABLE shadowed (d DateTime('Europe/Berlin')) ENGINE = Memory")
	mustExec(t, c, "INSERT INTO shadowed SELECT * FROM z")
	for _, row := range []struct{ sql, want string }{
		{"SELECT d, e, n FROM z", "DateTime('Asia/Shanghai') DateTime('Asia/Tokyo') DateTime 2026-01-01 08:00:00 +0800 CST"},
		{"SELECT d, e, n FROM z WHERE n > {from:DateTime} -- all", "DateTime('Asia/Shanghai') DateTime('Asia/Tokyo') DateTime 2026-01-01 08:00:00 +0800 CST"},
		{"SELECT d, e, n FROM mine", "DateTime('Asia/Shanghai') DateTime('Asia/Tokyo') DateTime 2026-01-01 08:00:00 +0800 CST"},
		{"SELECT d, e, n FROM shadowed", "DateTime('Europe/Berlin') DateTime('Asia/Tokyo') DateTime 2026-01-01 01:00:00 +0100 CET"},
		{"SELECT d, e, n FROM z WHERE n > now() + 1000000000", "DateTime('Asia/Shanghai') DateTime('Asia/Tokyo') DateTime"},
	} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"from": "2020-01-01 00:00:00"}))
		r, err := c.Query(ctx, row.sql)
		if err != nil {
			t.Errorf("%s: %v", row.sql, err)
			continue
		}
		var got []string
		for _, ct := range r.ColumnTypes() {
			got = append(got, ct.DatabaseTypeName())
		}
		for r.Next() {
			var d, e, n time.Time
			if err := r.Scan(&d, &e, &n); err != nil {
				t.Fatal(err)
			}
			got = append(got, d.String())
			if !d.Equal(e) || !d.Equal(n) {
				t.Errorf("%s: %v, %v, %v", row.sql, d, e, n)
			}
		}
		if got := strings.Join(got, " "); got != row.want || r.Err() != nil {
			t.Errorf("%s: got %s, %v, want %s", row.sql, got, r.Err(), row.want)
		}
		r.Close()
	}
	web := open(t, s, func(o *clickhouse.Options) { o.Protocol, o.Addr = clickhouse.HTTP, []string{s.HTTPAddr()} })
	r, err := web.Query(t.Context(), "SELECT d, n FROM z")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.ColumnTypes()[0].DatabaseTypeName() + " " + r.ColumnTypes()[1].DatabaseTypeName(); got != "DateTime('Asia/Shanghai') DateTime" {
		t.Errorf("over HTTP: %s", got)
	}
}
