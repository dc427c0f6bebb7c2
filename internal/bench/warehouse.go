package main

import (
	"context"
	"fmt"

	"github.com/huoma/huoma/internal/chstore"
)

const (
	analyticsName = "analytics worker, tables with their views"
	plainName     = "analytics worker, beside one table without views"
)

// insertBatchRows is how many rows the bare side inserts at once.
const insertBatchRows = 50_000

// warehouse is (c): the analytics worker against bare inserts of its very rows.
func (b *bench) warehouse() (err error) {
	scans := few(b, 10_000, 500_000)
	in, err := b.install(b.ctx, 1000, packed, scans)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	var unused spent
	if _, err := in.decide(b.ctx, scans, &unused); err != nil {
		return err
	}
	if err := in.startClickHouse(); err != nil {
		return err
	}
	conn, err := openClickHouse(in.clickhouse.addr)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, conn.Close()) }()
	var viewed, plain compared
	var cpu spent
	for round := range few(b, 1, 3) {
		ours, bare := fmt.Sprintf("ours_%d", round), fmt.Sprintf("bare_%d", round)
		for _, database := range []string{ours, bare} {
			if err := in.migrate(b.ctx, database); err != nil {
				return err
			}
		}
		if err := conn.Exec(b.ctx, "CREATE TABLE "+bare+".plain AS "+bare+".scans"); err != nil {
			return err
		}
		if err := in.unread(b.ctx); err != nil {
			return err
		}
		rate, err := in.analyse(b.ctx, ours, scans, &cpu)
		if err != nil {
			return err
		}
		meter, err := measure(map[string]*process{"bare clickhouse": in.clickhouse})
		if err != nil {
			return err
		}
		var inserted []taskResult
		spec := insertSpec{Addr: in.clickhouse.addr, From: ours + ".scans", To: []string{bare + ".scans"}, Rows: scans, Batch: insertBatchRows}
		if err := b.do(b.ctx, "insert", spec, &inserted); err != nil {
			return err
		}
		cpu.add("bare client", inserted[0].CPU, float64(scans))
		if err := meter(&cpu, float64(scans)); err != nil {
			return err
		}
		viewed.add(rate, inserted[0].rate())
		spec.To = []string{bare + ".plain"}
		if err := b.do(b.ctx, "insert", spec, &inserted); err != nil {
			return err
		}
		plain.add(rate, inserted[0].rate())
		for _, database := range []string{ours, bare} {
			if err := conn.Exec(b.ctx, "DROP DATABASE "+database); err != nil {
				return err
			}
		}
	}
	if err := b.report(viewed.row("c", analyticsName, "rows/s", cpu.each())); err != nil {
		return err
	}
	return b.report(plain.row("c", plainName, "rows/s", nil))
}

// migrate makes a database of ours.
func (in *installation) migrate(ctx context.Context, database string) error {
	store, err := chstore.Open(ctx, chstore.Options{URL: in.clickhouseURL(database)})
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Migrate(ctx)
}

// analyse starts an analytics worker on the commit records there are and
// returns how many scans it stored a second, from its first batch to its last.
func (in *installation) analyse(ctx context.Context, database string, scans int, cpu *spent) (rate float64, err error) {
	if err := in.startAnalytics(ctx, database); err != nil {
		return 0, err
	}
	defer func() { err = keep(err, stopped(&in.analytics)) }()
	servers := map[string]*process{"analytics worker": in.analytics, "clickhouse": in.clickhouse, "nats": in.nats}
	profiles := in.b.profiling(true, "analyse", servers)
	rate, err = in.analytics.paced(ctx, "huoma_analytics_rows_total", `table="scans"`, scans, servers, cpu)
	return rate, keep(err, profiles())
}
