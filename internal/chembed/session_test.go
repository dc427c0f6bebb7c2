package chembed_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// TestSettings: a query's settings hold for that query, a SET for the connection, and deduplication tokens work.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s, func(o *clickhouse.Options) {
		o.MaxOpenConns = 1
		o.Settings = clickhouse.Settings{"max_block_size": 1234}
	})
	value := func(name string, opts ...clickhouse.QueryOption) (v string) {
		t.Helper()
		ctx := clickhouse.Context(t.Context(), opts...)
		if err := c.QueryRow(ctx, "SELECT toString(getSetting('"+name+"'))").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	with := func(s clickhouse.Settings) clickhouse.QueryOption { return clickhouse.WithSettings(s) }
	for _, step := range []struct{ got, want string }{
		{value("max_block_size"), "1234"},
		{value("max_block_size", with(clickhouse.Settings{"max_block_size": 99})), "99"},
		{value("max_block_size"), "1234"},
		{value("max_threads", with(clickhouse.Settings{"max_threads": 1})), "1"},
		{value("async_insert"), "false"},
		{value("async_insert", with(clickhouse.Settings{"async_insert": 1})), "true"},
		{value("async_insert"), "false"},
		{value("readonly", with(clickhouse.Settings{"readonly": 1, "max_threads": 2})), "1"},
		{value("readonly"), "0"},
		{value("max_block_size", with(clickhouse.Settings{"log_comment": "mine"})), "1234"},
	} {
		if step.got != step.want {
			t.Errorf("got %s, want %s", step.got, step.want)
		}
	}
	mustExec(t, c, "SET max_result_rows = 77")
	if v := value("max_result_rows", with(clickhouse.Settings{"max_result_rows": 78})); v != "78" {
		t.Errorf("a query's setting over a SET: %s", v)
	}
	if v := value("max_result_rows"); v != "77" {
		t.Errorf("after that query the SET is gone: %s", v)
	}
	other := open(t, s)
	var v string
	if err := other.QueryRow(t.Context(), "SELECT toString(getSetting('max_result_rows'))").Scan(&v); err != nil || v != "0" {
		t.Errorf("another connection sees the SET: %s, %v", v, err)
	}
	for _, bad := range []clickhouse.Settings{
		{"max_threads": "many"},
		{"not_a_setting": 5},
		{"max_block_size": 10, "not_a_setting": clickhouse.CustomSetting{Value: "x"}},
	} {
		_, err := c.Query(clickhouse.Context(t.Context(), with(bad)), "SELECT 1")
		var ex *clickhouse.Exception
		if !errors.As(err, &ex) {
			t.Errorf("settings %v: %v", bad, err)
		}
	}
	if v := value("max_block_size"); v != "1234" {
		t.Errorf("after a refused setting: %s", v)
	}

	mustExec(t, c, "CREATE TABLE d (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	mustExec(t, c, "CREATE TABLE target (a UInt8, n UInt64) ENGINE = SummingMergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	mustExec(t, c, "CREATE MATERIALIZED VIEW mv TO target AS SELECT a, count() AS n FROM d GROUP BY a")
	for i, token := range []string{"one", "one", "two"} {
		insert(t, c, "d", i, 10, with(clickhouse.Settings{"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0}))
	}
	if n := count(t, c, "SELECT count() FROM d"); n != 20 {
		t.Errorf("three inserts with two tokens: %d rows, want 20", n)
	}
	if n := count(t, c, "SELECT sum(n) FROM target"); n != 20 {
		t.Errorf("in the view's target: %d, want 20", n)
	}
}

// TestViews: parameterised views, as the contract's, and sessions' own temporary tables.
func TestViews(t *testing.T) {
	t.Parallel()
	c := open(t, chtest.Start(t), func(o *clickhouse.Options) { o.MaxOpenConns = 1 })
	mustExec(t, c, "CREATE VIEW v AS SELECT toHour(toTimeZone(toDateTime('2026-07-01 00:00:00', 'UTC'), {tz:String})) AS h")
	var h uint8
	if err := c.QueryRow(t.Context(), "SELECT h FROM v(tz='Asia/Shanghai')").Scan(&h); err != nil || h != 8 {
		t.Errorf("got %d, %v", h, err)
	}
	if err := c.QueryRow(t.Context(), "SELECT h FROM v(tz=?)", "UTC").Scan(&h); err != nil || h != 0 {
		t.Errorf("got %d, %v", h, err)
	}
	mustExec(t, c, "CREATE TEMPORARY TABLE tmp (a UInt8)")
	insert(t, c, "tmp", 0, 5)
	if n := count(t, c, "SELECT count() FROM tmp"); n != 5 {
		t.Errorf("temporary table: %d rows", n)
	}
	if n := count(t, c, "SELECT count() FROM system.numbers WHERE number = @n LIMIT 1", clickhouse.Named("n", 3)); n != 1 {
		t.Errorf("named argument: %d", n)
	}
}

// TestMigrations runs goose over database/sql, as `huoma migrate` does.
func TestMigrations(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	db, err := sql.Open("clickhouse", "clickhouse://default@"+s.Addr()+"/default")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files := fstest.MapFS{
		"0001_a.sql": {Data: []byte("-- +goose Up\nCREATE DATABASE IF NOT EXISTS shop;\nCREATE TABLE shop.t (a UInt32) ENGINE = MergeTree ORDER BY a;\n-- +goose Down\nDROP TABLE shop.t;\n")},
		"0002_b.sql": {Data: []byte("-- +goose Up\nALTER TABLE shop.t ADD COLUMN b String;\n-- +goose Down\nALTER TABLE shop.t DROP COLUMN b;\n")},
	}
	p, err := goose.NewProvider(goose.DialectClickHouse, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Up(t.Context()); err != nil || len(again) != 0 {
		t.Fatalf("again: %v, %v", again, err)
	}
	if v, err := p.GetDBVersion(t.Context()); err != nil || v != 2 {
		t.Fatalf("version %d, %v", v, err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stmt, err := tx.PrepareContext(t.Context(), "INSERT INTO shop.t (a, b)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := stmt.ExecContext(t.Context(), uint32(i), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count() FROM shop.t WHERE b = toString(a) AND a < ?", 5).Scan(&n); err != nil || n != 5 {
		t.Errorf("got %d, %v", n, err)
	}
	if err := db.QueryRowContext(t.Context(), "SELECT a FROM shop.t WHERE a = 99").Scan(&n); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row: %v", err)
	}
	in := open(t, s, func(o *clickhouse.Options) { o.Auth.Database = "shop" })
	if n := count(t, in, "SELECT count() FROM t"); n != 10 {
		t.Errorf("with a database of its own: %d", n)
	}
}

// TestHandshake: what is refused at the door, and what is not.
func TestHandshake(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	for _, row := range []struct {
		auth clickhouse.Auth
		code int32
	}{
		{clickhouse.Auth{}, 0},
		{clickhouse.Auth{Database: "system"}, 0},
		{clickhouse.Auth{Database: "nodb"}, 81},
		{clickhouse.Auth{Username: "alice", Password: "x"}, 516},
	} {
		c := open(t, s, func(o *clickhouse.Options) { o.Auth = row.auth })
		err := c.Ping(t.Context())
		var ex *clickhouse.Exception
		if row.code == 0 && err != nil || row.code != 0 && (!errors.As(err, &ex) || ex.Code != row.code) {
			t.Errorf("%+v: got %v, want code %d", row.auth, err, row.code)
		}
	}
	v, err := open(t, s).ServerVersion()
	if err != nil || v.Version.Major < 26 || v.Timezone.String() != "UTC" || v.Revision != 54460 {
		t.Errorf("server version %v, %v", v, err)
	}
}
