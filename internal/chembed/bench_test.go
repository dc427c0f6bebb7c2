package chembed

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	chproto "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// benchEngine is the engine in this process, without a server before it.
func benchEngine(b *testing.B) *engine {
	b.Helper()
	lib, err := FindLibrary("")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	args, err := engineArgs(dir)
	if err != nil {
		b.Fatal(err)
	}
	eng, err := openEngine(lib, dir, args)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(eng.close)
	return eng
}

// benchServer is the server in a process of its own, and a client of it.
func benchServer(b *testing.B, method clickhouse.CompressionMethod) clickhouse.Conn {
	b.Helper()
	s, err := New(Options{DataDir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close(context.Background()) })
	c, err := clickhouse.Open(&clickhouse.Options{Addr: []string{s.Addr()}, Compression: &clickhouse.Compression{Method: method}, MaxOpenConns: 20, MaxIdleConns: 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// scansDDL is the warehouse's table of scans.
func scansDDL(b *testing.B) string {
	b.Helper()
	sql, err := os.ReadFile("../../schemas/clickhouse/00001_tables.sql")
	if err != nil {
		b.Fatal(err)
	}
	ddl := regexp.MustCompile(`(?s)CREATE TABLE IF NOT EXISTS scans\s.*?;\n`).FindString(string(sql))
	ddl = regexp.MustCompile(`\$\{ttl\}`).ReplaceAllString(ddl, "")
	ddl = regexp.MustCompile(`\$\{window\}`).ReplaceAllString(ddl, "10000")
	if ddl == "" {
		b.Fatal("there is no table scans in the schema")
	}
	return strings.TrimSuffix(strings.TrimSpace(ddl), ";")
}

// scanColumns are rows of the table, like an ordinary day's: some thousands of codes, some words again and again, ids that differ.
func scanColumns(first, rows int) []any {
	words := func(word string, n int) []string {
		list := make([]string, rows)
		for i := range list {
			list[i] = fmt.Sprint(word, (first+i)*7919%n)
		}
		return list
	}
	ids := func(word string) []string {
		list := make([]string, rows)
		for i := range list {
			list[i] = fmt.Sprintf("%s%022X", word, uint64(first+i)*0x9E3779B97F4A7C15)
		}
		return list
	}
	ts, ingested := make([]time.Time, rows), make([]time.Time, rows)
	partition, seq, idx, variant, target := make([]uint16, rows), make([]uint64, rows), make([]uint32, rows), make([]uint8, rows), make([]int32, rows)
	start := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		n := first + i
		ts[i], ingested[i] = start.Add(time.Duration(n)*time.Millisecond), start.Add(time.Hour)
		seq[i], idx[i], variant[i], target[i] = uint64(n/50), uint32(n%50), uint8(n%9), int32(n%3)
	}
	return []any{
		ids("01J"), ts, ingested, words("", 1), words("CODE", 5000), partition, seq, idx, variant, words("T", 5000), ids("v"), words("verdict", 4), words("rule", 3), words("answered", 4), target,
		words("source", 10), words("medium", 5), words("campaign", 50), words("term", 20), words("content", 20), words("country", 3), words("province", 30), words("city", 200),
		words("model", 100), words("os", 10), words("app", 6), words("host", 50), words("10.0.0.", 250), ids("c"),
	}
}

const (
	benchRows  = 1_000_000
	benchBatch = 100_000
)

// BenchmarkInsertScans inserts a million scans in ten batches: the same bytes into the engine, and through clickhouse-go. "of-engine" is the
// client's rate over the engine's from where both have their columns: what clickhouse-go needs to encode, compress and send them
// counts, what it needs to take them from Go's slices is told apart, as "append-s/op".
func BenchmarkInsertScans(b *testing.B) {
	for name, method := range map[string]clickhouse.CompressionMethod{"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4} {
		b.Run(name, func(b *testing.B) { benchInsert(b, method) })
	}
}

func benchInsert(b *testing.B, method clickhouse.CompressionMethod) {
	eng, c, ddl := benchEngine(b), benchServer(b, method), scansDDL(b)
	ctx := b.Context()
	var batches [][]any
	for first := 0; first < benchRows; first += benchBatch {
		batches = append(batches, scanColumns(first, benchBatch))
	}
	if err := c.Exec(ctx, ddl); err != nil {
		b.Fatal(err)
	}
	if _, _, err := eng.first.query(ddl, "Null"); err != nil {
		b.Fatal(err)
	}
	blocks := nativeBlocks(b, c, batches)
	var direct, client, appending time.Duration
	for b.Loop() {
		begun := time.Now()
		for _, block := range blocks {
			ins, err := eng.first.insert("INSERT INTO scans", "Native", nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := ins.Write(block); err != nil {
				b.Fatal(err)
			}
			if _, err := ins.done(); err != nil {
				b.Fatal(err)
			}
		}
		direct += time.Since(begun)
		// What one has inserted must not be merged in the other's time.
		if _, _, err := eng.first.query("TRUNCATE TABLE scans", "Null"); err != nil {
			b.Fatal(err)
		}
		begun = time.Now()
		var ready []driver.Batch
		for _, cols := range batches {
			batch, err := c.PrepareBatch(ctx, "INSERT INTO scans")
			if err != nil {
				b.Fatal(err)
			}
			for i, col := range cols {
				if err := batch.Column(i).Append(col); err != nil {
					b.Fatal(err)
				}
			}
			ready = append(ready, batch)
		}
		appending += time.Since(begun)
		begun = time.Now()
		for _, batch := range ready {
			if err := batch.Send(); err != nil {
				b.Fatal(err)
			}
		}
		client += time.Since(begun)
		var n uint64
		if err := c.QueryRow(ctx, "SELECT count() FROM scans").Scan(&n); err != nil || n != benchRows {
			b.Fatalf("%d rows, %v", n, err)
		}
		if err := c.Exec(ctx, "TRUNCATE TABLE scans"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(appending.Seconds()/float64(b.N), "append-s/op")
	report(b, direct, client)
}

// nativeBlocks are the batches as clickhouse-go sends them, at the engine's own revision.
func nativeBlocks(b *testing.B, c clickhouse.Conn, batches [][]any) (blocks [][]byte) {
	b.Helper()
	r, err := c.Query(b.Context(), "SELECT * FROM scans LIMIT 0")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for _, cols := range batches {
		block := chproto.NewBlock()
		block.ServerContext.Timezone = time.UTC
		for i, ct := range r.ColumnTypes() {
			typ := ct.DatabaseTypeName()
			if err := block.AddColumn(ct.Name(), chcolumn.Type(typ)); err != nil {
				b.Fatal(err)
			}
			if _, err := block.Columns[i].Append(cols[i]); err != nil {
				b.Fatal(err)
			}
		}
		var buf proto.Buffer
		if err := block.Encode(&buf, 0); err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, buf.Buf)
	}
	return blocks
}

// BenchmarkSelect reads ten million rows: from the engine as blocks, and through clickhouse-go.
func BenchmarkSelect(b *testing.B) {
	eng, c := benchEngine(b), benchServer(b, clickhouse.CompressionLZ4)
	const sql = "SELECT number, toString(number), number % 100 AS small FROM numbers(10000000)"
	var direct, client time.Duration
	for b.Loop() {
		begun := time.Now()
		s, err := eng.first.stream(sql, "Native", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.each(func([]byte, stats) error { return nil }); err != nil {
			b.Fatal(err)
		}
		s.close()
		direct += time.Since(begun)
		begun = time.Now()
		r, err := c.Query(b.Context(), sql)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for r.Next() {
			n++
		}
		if r.Close(); r.Err() != nil || n != 10_000_000 {
			b.Fatalf("%d rows, %v", n, r.Err())
		}
		client += time.Since(begun)
	}
	report(b, direct, client)
}

// report gives both times and their ratio.
func report(b *testing.B, direct, client time.Duration) {
	b.ReportMetric(direct.Seconds()/float64(b.N), "engine-s/op")
	b.ReportMetric(client.Seconds()/float64(b.N), "client-s/op")
	b.ReportMetric(direct.Seconds()/client.Seconds(), "of-engine")
}
