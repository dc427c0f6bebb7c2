package chembed_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

type confClient interface {
	ask(context.Context, *confQuery) answer
}

func allQueries() []confQuery {
	var all []confQuery
	for _, s := range samples {
		all = append(all, confQuery{id: "type " + s.id, sql: s.sql, settings: s.settings, unknown: s.unknown})
	}
	return append(all, queries...)
}

func TestConformance(t *testing.T) {
	oracle, err := chembed.OpenOracle(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(oracle.Close)
	conn, err := oracle.Connect()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append([]string{"CREATE DATABASE " + oracleDatabase, "USE " + oracleDatabase}, fixtures...) {
		if _, err := conn.Query(s, "Null", nil); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	conn.Close()
	d := direct{t, oracle}
	want := map[string]answer{}
	all := allQueries()
	for i := range all {
		q := &all[i]
		if _, ok := want[q.id]; ok {
			t.Fatalf("two queries are called %s", q.id)
		}
		a := d.ask(q)
		want[q.id] = a
		if (a.err != nil) != (q.compare == byException) || a.err != nil && a.err.code != q.code {
			t.Errorf("%s: the engine itself answers %s", q.id, a.short())
		}
	}
	s := chtest.Start(t)
	js := startJS(t)
	began := time.Now()
	for _, v := range []struct {
		name   string
		suffix string
		open   func(t testing.TB, database string) confClient
	}{
		{goName, "native_lz4", func(t testing.TB, db string) confClient {
			return newGoClient(t, s, clickhouse.Native, clickhouse.CompressionLZ4, db)
		}},
		{chgoName, "chgo_lz4", func(t testing.TB, db string) confClient {
			c := newChgoClient(s, ch.CompressionLZ4, db)
			t.Cleanup(c.close)
			return c
		}},
		{cliName, "cli", func(t testing.TB, db string) confClient { return newCLIClient(t, s, db) }},
		{curlName, "curl", func(t testing.TB, db string) confClient { return newCurlClient(t, s, db) }},
		{jsName, "js", func(t testing.TB, db string) confClient { return newJSClient(js, s, false, db) }},
		{goHTTPName, "http_none", func(t testing.TB, db string) confClient {
			return newGoClient(t, s, clickhouse.HTTP, clickhouse.CompressionNone, db)
		}},
	} {
		t.Run(v.suffix, func(t *testing.T) {
			t.Parallel()
			db := "conf_db_" + v.suffix
			setUp(t, s, db)
			c := v.open(t, db)
			defer func() { t.Log(time.Since(began)) }()
			for i := range all {
				q := &all[i]
				if q.unknown[v.name] != "" {
					continue
				}
				if diff := differ(q, c.ask(t.Context(), q), want[q.id]); diff != "" {
					t.Errorf("%s\n%s\n%s", q.id, clipValue(q.sql), strings.ReplaceAll(diff, "\n", "\n    "))
				}
			}
		})
	}
}

func setUp(t testing.TB, s *chembed.Server, database string) {
	t.Helper()
	mustExec(t, open(t, s), "CREATE DATABASE "+database)
	c := open(t, s, func(o *clickhouse.Options) { o.Auth.Database = database })
	for _, sql := range fixtures {
		mustExec(t, c, sql)
	}
	_ = fmt.Sprint
}
