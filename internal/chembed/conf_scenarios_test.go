package chembed_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// cancels: a client that gives a query up stops it in the engine, whichever client it is.
func (c *conformance) cancels(t *testing.T, js *jsRunner) {
	watch := open(t, c.server)
	for i, w := range []struct {
		name string
		run  func(ctx context.Context, sql string)
	}{
		{goName, func(ctx context.Context, sql string) {
			client := newGoClient(t, c.server, clickhouse.Native, clickhouse.CompressionLZ4, "default")
			client.ask(ctx, &confQuery{sql: sql})
		}},
		{goHTTPName, func(ctx context.Context, sql string) {
			client := newGoClient(t, c.server, clickhouse.HTTP, clickhouse.CompressionNone, "default")
			client.ask(ctx, &confQuery{sql: sql})
		}},
		{chgoName, func(ctx context.Context, sql string) {
			client := newChgoClient(c.server, ch.CompressionLZ4, "default")
			defer client.close()
			client.ask(ctx, &confQuery{sql: sql})
		}},
		{cliName, func(ctx context.Context, sql string) {
			newCLIClient(t, c.server, "default").ask(ctx, &confQuery{sql: sql})
		}},
		{curlName, func(ctx context.Context, sql string) {
			newCurlClient(t, c.server, "default").ask(ctx, &confQuery{sql: sql})
		}},
		{jsName, func(ctx context.Context, sql string) {
			base := jsCase{URL: "http://" + c.server.HTTPAddr(), Database: "default", Query: sql, Format: rowsFormat}
			begin, abort := base, base
			begin.Do, abort.Do = "cancellable", "abort"
			var both sync.WaitGroup
			both.Go(func() { js.run(begin, func(string) {}) })
			<-ctx.Done()
			js.run(abort, func(string) {})
			both.Wait()
		}},
	} {
		mark := fmt.Sprintf("given up %d", i)
		sql := "SELECT number, sleepEachRow(0.05), '" + mark + "' FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1"
		running := "SELECT count() FROM system.processes WHERE query LIKE '%" + mark + "%' AND query NOT LIKE '%system.processes%'"
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { w.run(ctx, sql) })
		t.Run(w.name, func(t *testing.T) {
			until(t, func() bool { return count(t, watch, running) == 1 })
			cancel()
			until(t, func() bool { return count(t, watch, running) == 0 })
		})
		cancel()
		over.Wait()
	}
}

// progress: a client that asks is told what has been read.
func (c *conformance) progress(t *testing.T) {
	const rows = 3_000_000
	const sql = "SELECT sum(number) FROM numbers(3000000)"
	t.Run(goName, func(t *testing.T) {
		var read, profiled uint64
		var events int
		ctx := clickhouse.Context(t.Context(),
			clickhouse.WithProgress(func(p *clickhouse.Progress) { read += p.Rows }),
			clickhouse.WithProfileInfo(func(p *clickhouse.ProfileInfo) { profiled += p.Rows }),
			clickhouse.WithProfileEvents(func(e []clickhouse.ProfileEvent) { events += len(e) }))
		if n := readAll(t, open(t, c.server), ctx, sql); n != 1 || read != rows || profiled != 1 || events == 0 {
			t.Errorf("%d rows, progress of %d rows, a profile of %d, %d events", n, read, profiled, events)
		}
	})
	t.Run(chgoName, func(t *testing.T) {
		conn, err := ch.Dial(t.Context(), ch.Options{Address: c.server.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var read, profiled uint64
		var r chgoResult
		err = conn.Do(t.Context(), ch.Query{
			Body: sql, Result: &r, OnResult: r.take,
			OnProgress: func(_ context.Context, p proto.Progress) error { read += p.Rows; return nil },
			OnProfile:  func(_ context.Context, p proto.Profile) error { profiled += p.Rows; return nil },
		})
		if err != nil || read != rows || profiled != 1 {
			t.Errorf("progress of %d rows, a profile of %d: %v", read, profiled, err)
		}
	})
	t.Run(curlName, func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--noproxy", "*", "--dump-header", "-", "--data-binary", sql,
			"http://"+c.server.HTTPAddr()+"/?wait_end_of_query=1").Output()
		if want := fmt.Sprintf(`"read_rows":"%d"`, rows); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("no %s in %s: %v", want, out, err)
		}
	})
}

func readAll(t *testing.T, conn clickhouse.Conn, ctx context.Context, sql string) (n int) {
	t.Helper()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// crowd: 64 connections of both protocols insert and read at once, each sees its own rows and no session meets another.
func (c *conformance) crowd(t *testing.T) {
	const clients, rounds = 64, 5
	admin := open(t, c.server)
	mustExec(t, admin, "CREATE TABLE default.crowd (who UInt8, n UInt32) ENGINE = MergeTree ORDER BY who")
	var all sync.WaitGroup
	for who := range clients {
		all.Go(func() {
			protocol := clickhouse.Native
			if who%4 == 3 {
				protocol = clickhouse.HTTP
			}
			client := newGoClient(t, c.server, protocol, clickhouse.CompressionLZ4, "default")
			for round := range rounds {
				into := fmt.Sprintf("INSERT INTO crowd SELECT %d, %d + number FROM numbers(10)", who, round*10)
				if refused := client.exec(t.Context(), into, map[string]string{"max_insert_threads": fmt.Sprint(1 + who%2)}); refused != nil {
					t.Errorf("client %d: %v", who, refused)
					return
				}
				q := confQuery{sql: fmt.Sprintf("SELECT count(), sum(n), getSetting('max_block_size') FROM crowd WHERE who = %d", who), settings: map[string]string{"max_block_size": fmt.Sprint(1000 + who)}}
				n := (round + 1) * 10
				want := fmt.Sprintf("[%d %d %d]", n, n*(n-1)/2, 1000+who)
				if a := client.ask(t.Context(), &q); a.err != nil || len(a.rows) != 1 || fmt.Sprint(a.rows[0]) != want {
					t.Errorf("client %d: got %v, %q, want %s", who, a.err, a.rows, want)
				}
			}
		})
	}
	all.Wait()
	if n := count(t, admin, "SELECT count() FROM default.crowd"); n != clients*rounds*10 {
		t.Errorf("got %d rows of %d", n, clients*rounds*10)
	}
}
