package chembed_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// open connects clickhouse-go to the server as the project does.
func open(t testing.TB, s *chembed.Server, change ...func(*clickhouse.Options)) clickhouse.Conn {
	t.Helper()
	opts := &clickhouse.Options{
		Addr:        []string{s.Addr()},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
	}
	for _, f := range change {
		f(opts)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustExec(t testing.TB, c clickhouse.Conn, sql string, args ...any) {
	t.Helper()
	if err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, c clickhouse.Conn, sql string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func compressions() map[string]*clickhouse.Compression {
	return map[string]*clickhouse.Compression{
		"none": nil,
		"lz4":  {Method: clickhouse.CompressionLZ4},
		"zstd": {Method: clickhouse.CompressionZSTD},
	}
}

// everyType is one row of every type that the project's tables and views may have.
type everyType struct {
	U8   uint8                       `ch:"u8"`
	U16  uint16                      `ch:"u16"`
	U32  uint32                      `ch:"u32"`
	U64  uint64                      `ch:"u64"`
	U256 *big.Int                    `ch:"u256"`
	I8   int8                        `ch:"i8"`
	I64  int64                       `ch:"i64"`
	F32  float32                     `ch:"f32"`
	F64  float64                     `ch:"f64"`
	B    bool                        `ch:"b"`
	S    string                      `ch:"s"`
	FS   string                      `ch:"fs"`
	LC   string                      `ch:"lc"`
	NS   *string                     `ch:"ns"`
	LCN  *string                     `ch:"lcn"`
	E    string                      `ch:"e"`
	D    time.Time                   `ch:"d"`
	DT   time.Time                   `ch:"dt"`
	DT64 time.Time                   `ch:"dt64"`
	DTSH time.Time                   `ch:"dtsh"`
	ID   uuid.UUID                   `ch:"id"`
	Dec  decimal.Decimal             `ch:"dec"`
	Dec3 decimal.Decimal             `ch:"dec3"`
	IP4  net.IP                      `ch:"ip4"`
	IP6  net.IP                      `ch:"ip6"`
	A    []string                    `ch:"a"`
	AA   [][]uint32                  `ch:"aa"`
	ALC  []string                    `ch:"alc"`
	AN   []*int64                    `ch:"an"`
	M    map[string]uint64           `ch:"m"`
	MLC  map[string]string           `ch:"mlc"`
	MA   map[string][]string         `ch:"ma"`
	T    []any                       `ch:"t"`
	TN   map[string]any              `ch:"tn"`
	Sum  uint64                      `ch:"ssum"`
	Geo  map[string]map[string]int32 `ch:"mm"`
}

const everyColumn = `u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, u256 UInt256, i8 Int8, i64 Int64, f32 Float32, f64 Float64, b Bool,
	s String, fs FixedString(4), lc LowCardinality(String), ns Nullable(String), lcn LowCardinality(Nullable(String)),
	e Enum8('accepted' = 1, 'it''s, (odd)' = 2), d Date, dt DateTime('UTC'), dt64 DateTime64(3, 'UTC'), dtsh DateTime64(6, 'Asia/Shanghai'),
	id UUID, dec Decimal(18, 4), dec3 Decimal(38, 10), ip4 IPv4, ip6 IPv6, a Array(String), aa Array(Array(UInt32)),
	alc Array(LowCardinality(String)), an Array(Nullable(Int64)), m Map(String, UInt64), mlc Map(LowCardinality(String), LowCardinality(String)),
	ma Map(String, Array(String)), t Tuple(String, UInt8), tn Tuple(name String, num Int32), ssum SimpleAggregateFunction(sum, UInt64),
	mm Map(String, Map(String, Int32))`

func everyRow(i int) everyType {
	str := fmt.Sprintf("值 %d", i)
	n := int64(-i)
	row := everyType{
		U8: uint8(i), U16: uint16(i), U32: uint32(i), U64: 1<<63 + uint64(i), U256: new(big.Int).Lsh(big.NewInt(int64(i+1)), 200),
		I8: int8(-i), I64: -1 << 40, F32: 1.5, F64: float64(i) / 3, B: i%2 == 0, S: strings.Repeat("\x00é", i%7), FS: "abcd",
		LC: fmt.Sprint("lc", i%3), E: "it's, (odd)", D: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
		DT:   time.Date(2026, 7, 1, 12, 30, i%60, 0, time.UTC),
		DT64: time.Date(2026, 7, 1, 12, 30, 59, 123e6, time.UTC),
		ID:   uuid.NewSHA1(uuid.Nil, []byte(str)), Dec: decimal.New(123456, -4), Dec3: decimal.New(-987654321, -10),
		IP4: net.IPv4(10, 0, 0, byte(i)).To4(), IP6: net.ParseIP("2001:db8::1"),
		A: []string{"", str}[:i%3%2+1], AA: [][]uint32{{1, 2}, {}, {uint32(i)}}, ALC: []string{"x", str}, AN: []*int64{nil, &n},
		M: map[string]uint64{str: 7}, MLC: map[string]string{"k": str}, MA: map[string][]string{"k": {"a", str}},
		T: []any{str, uint8(3)}, TN: map[string]any{"name": str, "num": int32(i)}, Sum: 5,
		Geo: map[string]map[string]int32{"a": {"b": int32(i)}},
	}
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		panic(err)
	}
	row.DTSH = time.Date(2026, 7, 1, 20, 30, 59, 123456e3, zone)
	if i%2 == 1 {
		row.NS, row.LCN = &str, &str
	}
	return row
}

// TestEveryType inserts a row of every type and reads it back, whatever the compression.
func TestEveryType(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for name, comp := range compressions() {
		t.Run(name, func(t *testing.T) {
			c := open(t, s, func(o *clickhouse.Options) { o.Compression = comp })
			everyTypeThere(t, c)
		})
	}
}

// everyTypeThere inserts rows of every type and reads them back.
func everyTypeThere(t testing.TB, c clickhouse.Conn) {
	t.Helper()
	mustExec(t, c, "DROP TABLE IF EXISTS t")
	mustExec(t, c, "CREATE TABLE t ("+everyColumn+") ENGINE = MergeTree ORDER BY u32")
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const rows = 300
	for i := range rows {
		row := everyRow(i)
		if err := b.AppendStruct(&row); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	var got []everyType
	if err := c.Select(t.Context(), &got, "SELECT * FROM t ORDER BY u32"); err != nil {
		t.Fatal(err)
	}
	if len(got) != rows {
		t.Fatalf("got %d rows, want %d", len(got), rows)
	}
	for i := range rows {
		g, w := reflect.ValueOf(got[i]), reflect.ValueOf(everyRow(i))
		for f := range g.NumField() {
			if gf, wf := fmt.Sprint(show(g.Field(f))), fmt.Sprint(show(w.Field(f))); gf != wf {
				t.Fatalf("row %d, column %s: got %s, want %s", i, g.Type().Field(f).Tag.Get("ch"), gf, wf)
			}
		}
	}
	// The engine itself must see what was sent, not only what comes back.
	if n := count(t, c, "SELECT count() FROM t WHERE lc = concat('lc', toString(u32 % 3)) AND toString(dtsh) = '2026-07-01 20:30:59.123456' AND mlc['k'] = concat('值 ', toString(u32)) AND length(an) = 2"); n != rows {
		t.Errorf("the engine finds %d of %d rows", n, rows)
	}
}

// show makes pointers comparable as text.
func show(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Pointer:
		var all []any
		for i := range v.Len() {
			all = append(all, show(v.Index(i)))
		}
		return all
	case v.Type() == reflect.TypeFor[*string](), v.Type() == reflect.TypeFor[*int64]():
		return v.Elem().Interface()
	}
	return v.Interface()
}

// TestExpressions reads results of types that no table column here has.
func TestExpressions(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	for _, row := range []struct{ sql, want string }{
		{"SELECT NULL", "<nil>"},
		{"SELECT [] ", "[]"},
		{"SELECT toIntervalDay(3)", "3 Days"},
		{"SELECT toDecimal256('1.5', 3)", "1.5"},
		{"SELECT uniqCombined64(number) FROM numbers(1000)", "1000"},
		{"SELECT finalizeAggregation(s) FROM (SELECT uniqCombined64State(number) AS s FROM numbers(10))", "10"},
		{"SELECT toLowCardinality(materialize('x'))", "x"},
		{"SELECT quantile(0.5)(number) FROM numbers(11)", "5"},
		{"SELECT count() FROM numbers(10) WHERE number > 100 -- a comment at the end", "0"},
		{"SELECT 1 FORMAT JSON", "1"},
		{"SELECT 2 SETTINGS max_threads = 1;", "2"},
		{"WITH 3 AS x SELECT x /* with; a semicolon */", "3"},
		{"(SELECT 4)", "4"},
		{"SHOW DATABASES LIKE 'defa%'", "default"},
		{"EXISTS system.one", "1"},
		{"SELECT format FROM (SELECT 5 AS format)", "5"},
		{"SELECT 'INTO OUTFILE; FORMAT x'", "INTO OUTFILE; FORMAT x"},
		{"SELECT timezone()", "UTC"},
	} {
		rows, err := c.Query(t.Context(), row.sql)
		if err != nil {
			t.Errorf("%s: %v", row.sql, err)
			continue
		}
		if !rows.Next() {
			t.Errorf("%s: no row: %v", row.sql, rows.Err())
			continue
		}
		dest := reflect.New(rows.ColumnTypes()[0].ScanType())
		if err := rows.Scan(dest.Interface()); err != nil {
			t.Errorf("%s: %v", row.sql, err)
		} else if got := fmt.Sprint(show(dest.Elem())); got != row.want {
			t.Errorf("%s: got %s, want %s", row.sql, got, row.want)
		}
		rows.Close()
	}
}

// TestEmptyResults: a result without rows still has its columns.
func TestEmptyResults(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	for _, row := range []struct{ sql, want string }{
		{"SELECT 1 AS a, 'x' AS b WHERE 0", "[a b]"},
		{"SELECT 1 AS a WHERE 0 FORMAT TabSeparated;", "[a]"},
		{"SELECT toString(number) AS n FROM numbers(10) WHERE number > 10 -- none", "[n]"},
		{"SHOW TABLES LIKE 'nothing'", "[name]"},
	} {
		rows, err := c.Query(t.Context(), row.sql)
		if err != nil {
			t.Errorf("%s: %v", row.sql, err)
			continue
		}
		if got := fmt.Sprint(rows.Columns()); got != row.want {
			t.Errorf("%s: columns %s, want %s", row.sql, got, row.want)
		}
		if rows.Next() || rows.Err() != nil {
			t.Errorf("%s: a row, or %v", row.sql, rows.Err())
		}
		rows.Close()
	}
}

// TestExceptions: the engine's own code and text reach the client, and the connection lives on.
func TestExceptions(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t), func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	mustExec(t, c, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
	for _, row := range []struct {
		sql  string
		code int32
		text string
	}{
		{"SELECT * FROM nope", 60, "nope"},
		{"SELECT nope FROM t", 47, "nope"},
		{"SELEC 1", 62, "Syntax error"},
		{"SELECT 1; SELECT 2", 62, "Multi-statements"},
		{"", 62, "Empty query"},
		{"CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", 57, "already exists"},
		{"SELECT * FROM nodb.t", 81, "nodb"},
		{"INSERT INTO t VALUES (1, 2)", 62, ""},
		{"INSERT INTO t VALUES ('x')", 0, ""},
		{"INSERT INTO nope VALUES (1)", 60, "nope"},
		{"SELECT throwIf(number = 3, 'boom') FROM numbers(10)", 395, "boom"},
		{"SELECT throwIf(number = 900000, 'late') FROM numbers(1000000) SETTINGS max_block_size = 1000", 395, "late"},
		{"SELECT 1 SETTINGS nosuch = 1", 115, "nosuch"},
		{"SELECT 1 INTO OUTFILE 'x'", 48, "OUTFILE"},
		{"SET nosuch = 1", 115, "nosuch"},
		{"SELECT sleep(3) SETTINGS max_execution_time = 0.2", 159, ""},
		{"CREATE TABLE r (a UInt8) ENGINE = ReplicatedMergeTree('/x', 'r') ORDER BY a", 0, ""},
	} {
		rows, err := c.Query(t.Context(), row.sql)
		for err == nil && rows.Next() {
		}
		if err == nil {
			err = rows.Err()
			rows.Close()
		}
		var ex *clickhouse.Exception
		if !errors.As(err, &ex) {
			t.Errorf("%q: got %v, want an exception", row.sql, err)
			continue
		}
		if row.code != 0 && ex.Code != row.code || !strings.Contains(ex.Message, row.text) || strings.Contains(ex.Message, "Code:") {
			t.Errorf("%q: got code %d, %q; want %d and %q", row.sql, ex.Code, ex.Message, row.code, row.text)
		}
	}
	if n := count(t, c, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows came from refused inserts", n)
	}
}

// TestRefusedInserts: a refused batch says why, and its connection can be used again.
func TestRefusedInserts(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t), func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	mustExec(t, c, "CREATE TABLE t (a UInt8, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a")
	for _, row := range []struct {
		sql  string
		code int32
	}{
		{"INSERT INTO t (b)", 16},
		{"INSERT INTO nope", 60},
		{"INSERT INTO t SETTINGS nosuch = 1", 115},
	} {
		_, err := c.PrepareBatch(t.Context(), row.sql)
		var ex *clickhouse.Exception
		if !errors.As(err, &ex) || ex.Code != row.code {
			t.Errorf("%s: got %v, want code %d", row.sql, err, row.code)
		}
	}
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Append(uint8(200)); err != nil {
		t.Fatal(err)
	}
	var ex *clickhouse.Exception
	if err := b.Send(); !errors.As(err, &ex) || ex.Code != 469 {
		t.Errorf("a row against a constraint: got %v, want code 469", err)
	}
	// Refused at the first of many blocks, while the others are still coming.
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"min_insert_block_size_rows": 1, "min_insert_block_size_bytes": 1, "max_insert_block_size": 1}))
	many, err := c.PrepareBatch(ctx, "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer many.Close()
	for range 50 {
		for range 1000 {
			if err := many.Append(uint8(200)); err != nil {
				t.Fatal(err)
			}
		}
		if err = many.Flush(); err != nil {
			break
		}
	}
	if err == nil {
		err = many.Send()
	}
	if !errors.As(err, &ex) || ex.Code != 469 {
		t.Errorf("many blocks against a constraint: got %v, want code 469", err)
	}
	insert(t, c, "t", 0, 3)
	if n := count(t, c, "SELECT count() FROM t"); n != 3 {
		t.Errorf("got %d rows, want 3", n)
	}
}

// insert sends rows numbered from first to table, whose one column is unsigned.
func insert(t testing.TB, c clickhouse.Conn, table string, first, rows int, opts ...clickhouse.QueryOption) {
	t.Helper()
	b, err := c.PrepareBatch(clickhouse.Context(t.Context(), opts...), "INSERT INTO "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range rows {
		if err := b.Append(uint8(first + i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
}

// TestInsertForms: column lists, defaults, inline rows, INSERT … SELECT, and a batch sent in several blocks.
func TestInsertForms(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	mustExec(t, c, "CREATE TABLE t (a UInt32, `b c` String DEFAULT 'd', m UInt32 MATERIALIZED a + 1, al UInt32 ALIAS a, e UInt8 EPHEMERAL 7, f UInt32 DEFAULT e) ENGINE = MergeTree ORDER BY a")
	send := func(sql string, rows ...[]any) {
		t.Helper()
		b, err := c.PrepareBatch(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		defer b.Close()
		for _, r := range rows {
			if err := b.Append(r...); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		if err := b.Send(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	send("INSERT INTO t", []any{uint32(1), "x", uint32(9)})
	send("INSERT INTO t (a)", []any{uint32(2)})
	send("INSERT INTO default.t (`b c`, a) VALUES", []any{"y", uint32(3)})
	send("INSERT INTO `default`.`t` (a, `b c`) FORMAT Native", []any{uint32(4), "z"})
	send("INSERT INTO t (a, e) SETTINGS max_threads = 1", []any{uint32(5), uint8(8)})
	send("INSERT INTO t (a)")
	mustExec(t, c, "INSERT INTO t (a, `b c`) VALUES (6, 'in; line'), (3 + 4, 'it''s')")
	mustExec(t, c, "INSERT INTO t (a, `b c`) VALUES (?, ?)", 8, "bound 'value'")
	mustExec(t, c, "INSERT INTO t (a) FORMAT JSONEachRow {\"a\": 9}\n\n{\"a\": 10}")
	mustExec(t, c, "INSERT INTO t (a) SELECT number + 11 FROM numbers(2)")
	mustExec(t, c, "INSERT INTO t (a) WITH 13 AS x SELECT x;")
	mustExec(t, c, "INSERT INTO FUNCTION null('a UInt32') SELECT 1")
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO t (a)")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range 3 {
		if err := b.Column(0).Append([]uint32{uint32(14 + i)}); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	type row struct {
		A uint32 `ch:"a"`
		B string `ch:"b c"`
		M uint32 `ch:"m"`
		F uint32 `ch:"f"`
	}
	var got []row
	if err := c.Select(t.Context(), &got, "SELECT a, `b c`, m, f FROM t ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	want := []row{{1, "x", 2, 9}, {2, "d", 3, 7}, {3, "y", 4, 7}, {4, "z", 5, 7}, {5, "d", 6, 8}, {6, "in; line", 7, 7}, {7, "it's", 8, 7}, {8, "bound 'value'", 9, 7}}
	for i := 9; i <= 16; i++ {
		want = append(want, row{uint32(i), "d", uint32(i + 1), 7})
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestLargeBatch: 100 000 rows in one batch, and a large result.
func TestLargeBatch(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t))
	mustExec(t, c, "CREATE TABLE t (a UInt64, s String, l LowCardinality(String), ts DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY a")
	const rows = 100_000
	b, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var a []uint64
	var str, l []string
	var ts []time.Time
	for i := range rows {
		a, str, l, ts = append(a, uint64(i)), append(str, strings.Repeat("x", i%300)), append(l, fmt.Sprint(i%1000)), append(ts, time.UnixMilli(int64(i)).UTC())
	}
	for i, col := range []any{a, str, l, ts} {
		if err := b.Column(i).Append(col); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, c, "SELECT count() FROM t WHERE length(s) = a % 300 AND l = toString(a % 1000) AND toUnixTimestamp64Milli(ts) = a"); n != rows {
		t.Errorf("the engine finds %d of %d rows as sent", n, rows)
	}
	var got, sum uint64
	r, err := c.Query(t.Context(), "SELECT number, toString(number) FROM numbers(2000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.Next() {
		var n uint64
		var s string
		if err := r.Scan(&n, &s); err != nil {
			t.Fatal(err)
		}
		got, sum = got+1, sum+n
	}
	if r.Err() != nil || got != 2_000_000 || sum != 1_999_999*1_000_000 {
		t.Errorf("got %d rows with sum %d, %v", got, sum, r.Err())
	}
}

// TestCancel: a cancelled context stops the query in the engine, at once.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c, watch := open(t, s), open(t, s)
	const running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
	for _, sql := range []string{
		"SELECT sum(sleepEachRow(0.05)) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1",
		"SELECT number, sleepEachRow(0.05) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1",
		"INSERT INTO FUNCTION null('a UInt8') SELECT sleepEachRow(0.05) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			rows, err := c.Query(ctx, sql)
			for err == nil && rows.Next() {
			}
			if err == nil {
				err = rows.Err()
			}
			done <- err
		}()
		until(t, func() bool { return count(t, watch, running) == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", sql, err)
		}
		until(t, func() bool { return count(t, watch, running) == 0 })
	}
}

// until waits for a condition that must come true.
func until(t testing.TB, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come true within 10 s")
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestManyConnections: 64 clients insert and read at once.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t), func(o *clickhouse.Options) { o.MaxOpenConns, o.MaxIdleConns = 64, 64 })
	mustExec(t, c, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 3 {
				b, err := c.PrepareBatch(t.Context(), "INSERT INTO t")
				if err != nil {
					t.Error(err)
					return
				}
				for i := range 100 {
					b.Append(uint8(i))
				}
				if err := b.Send(); err != nil {
					t.Error(err)
				}
				var n uint64
				if err := c.QueryRow(t.Context(), "SELECT count() FROM t WHERE a < 50").Scan(&n); err != nil || n%50 != 0 {
					t.Error(n, err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, c, "SELECT count() FROM t"); n != 64*3*100 {
		t.Errorf("got %d rows", n)
	}
}
