package chstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// One engine serves all tests of this package, each in a database of its own.
var server *chembed.Server

func TestMain(m *testing.M) { chtest.MainShared(m, func(s *chembed.Server) { server = s }) }

var databases atomic.Int64

// open returns a store on a database of its own, which Migrate has not seen.
func open(t testing.TB, days int) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: fmt.Sprintf("clickhouse://%s/test_%d", server.Addr(), databases.Add(1)), RetentionDays: days})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func migrated(t testing.TB) *Store {
	t.Helper()
	s := open(t, 0)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask returns the rows of a query, each written as a tuple.
func ask(t testing.TB, s *Store, sql string, args ...any) []string {
	t.Helper()
	var out []string
	rows, err := s.Conn().Query(t.Context(), "SELECT toString(tuple(*)) FROM ("+sql+")", args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func askOne(t testing.TB, s *Store, sql string, args ...any) string {
	t.Helper()
	lines := ask(t, s, sql, args...)
	if len(lines) != 1 {
		t.Fatalf("%s: %d rows, want 1", sql, len(lines))
	}
	return lines[0]
}

func exec(t testing.TB, s *Store, sql string) {
	t.Helper()
	if err := s.Conn().Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestMigrate(t *testing.T) {
	s := open(t, 0)
	if v, err := s.SchemaVersion(t.Context()); err != nil || v != 0 {
		t.Fatalf("version of nothing: %d, %v", v, err)
	}
	if err := s.Check(t.Context()); ClassOf(err) != Never || !strings.Contains(fmt.Sprint(err), "huoma migrate") {
		t.Fatalf("check of nothing: %v", err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for range 4 { // several workers at once
		wg.Go(func() { errs <- s.Migrate(t.Context()) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	tables := askOne(t, s, "SELECT count(), uniqExact(name) FROM system.tables WHERE database = ?", s.Database())
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatalf("again: %v", err)
	}
	if again := askOne(t, s, "SELECT count(), uniqExact(name) FROM system.tables WHERE database = ?", s.Database()); again != tables {
		t.Errorf("migrating again changed the tables: %s, then %s", tables, again)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	// Every table, view and column says what it is.
	for _, line := range ask(t, s, "SELECT name FROM system.tables WHERE database = ? AND comment = '' AND name != 'schema_migrations'", s.Database()) {
		t.Errorf("%s has no comment", line)
	}
	for _, line := range ask(t, s, `SELECT table, name FROM system.columns WHERE database = ? AND comment = '' AND table != 'schema_migrations'
		AND table IN (SELECT name FROM system.tables WHERE database = ? AND engine LIKE '%MergeTree')`, s.Database(), s.Database()) {
		t.Errorf("column %s has no comment", line)
	}
	// A retried insert must be known in every table and behind every view.
	for _, line := range ask(t, s, `SELECT name FROM system.tables WHERE database = ? AND engine LIKE '%MergeTree' AND name != 'schema_migrations'
		AND engine_full NOT LIKE '%non_replicated_deduplication_window = 10000%'`, s.Database()) {
		t.Errorf("%s forgets its inserts", line)
	}
}

func TestMigrateRetention(t *testing.T) {
	s := open(t, 30)
	engine := func() string {
		return askOne(t, s, "SELECT extract(engine_full, 'TTL.*SETTINGS') FROM system.tables WHERE database = ? AND name = 'scans'", s.Database())
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := engine(), "('TTL toDateTime(ingested_at) + toIntervalDay(30) SETTINGS')"; got != want {
		t.Errorf("fresh: %s, want %s", got, want)
	}
	s.opts.RetentionDays = 90
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := engine(), "('TTL toDateTime(ingested_at) + toIntervalDay(90) SETTINGS')"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
	s.opts.RetentionDays = 0
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := engine(), "('')"; got != want {
		t.Errorf("for ever: %s, want %s", got, want)
	}
}

func TestMigrateNewerSchema(t *testing.T) {
	s := migrated(t)
	exec(t, s, "INSERT INTO schema_migrations (version_id, is_applied) VALUES (99999, 1)")
	for name, err := range map[string]error{"check": s.Check(t.Context()), "migrate": s.Migrate(t.Context())} {
		if !errors.Is(err, ErrSchemaNewer) || !strings.Contains(err.Error(), "upgrade the program") {
			t.Errorf("%s on a newer schema: %v", name, err)
		}
	}
}

// What the owner of a database is handed makes the same schema as the program would.
func TestMigrationSQL(t *testing.T) {
	ours, theirs := migrated(t), open(t, 0)
	admin, err := theirs.asAdmin()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for stmt := range strings.SplitSeq(strings.ReplaceAll(MigrationSQL(theirs.Database(), 0), "USE ", "SELECT 1; -- "), ";\n") {
		c := admin
		if !strings.Contains(stmt, "CREATE DATABASE") {
			c = theirs
		}
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		exec(t, c, stmt)
	}
	if err := theirs.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := func(s *Store) string {
		lines := ask(t, s, "SELECT name, replaceAll(create_table_query, database, 'db') FROM system.tables WHERE database = ? AND name != 'schema_migrations' ORDER BY name", s.Database())
		return strings.Join(lines, "\n")
	}
	if got, want := list(theirs), list(ours); got != want {
		t.Errorf("the owner's schema differs:\n%s\nwant\n%s", got, want)
	}
}

func TestErrors(t *testing.T) {
	s := open(t, 0)
	denied := s.migrateError("create the database", &proto.Exception{Code: codeAccessDenied, Message: "not enough privileges"})
	if !errors.Is(denied, ErrNotOurs) || !strings.Contains(denied.Error(), "huoma migrate --print") {
		t.Errorf("refused CREATE: %v", denied)
	}
	if err := checkVersion(24, 12, "24.12.1"); !errors.Is(err, ErrTooOld) || !strings.Contains(err.Error(), "25.8") {
		t.Errorf("old server: %v", err)
	}
	if err := checkVersion(MinVersion[0], MinVersion[1], ""); err != nil {
		t.Errorf("oldest server: %v", err)
	}
	for _, row := range []struct {
		name string
		err  error
		want Class
	}{
		{"too many parts", &proto.Exception{Code: 252}, RetryLater},
		{"memory", &proto.Exception{Code: 241}, RetryLater},
		{"a code nobody has thought of", &proto.Exception{Code: 9999}, RetryLater},
		{"timeout on the server", &proto.Exception{Code: 159}, RetryNow},
		{"connection lost", io.EOF, RetryNow},
		{"our own timeout", context.DeadlineExceeded, RetryNow},
		{"no such column", &proto.Exception{Code: 16}, Never},
		{"wrong password", &proto.Exception{Code: 516}, Never},
		{"constraint", &proto.Exception{Code: 469}, Refused},
		{"type", &proto.Exception{Code: 53}, Refused},
	} {
		if got := ClassOf(s.wrap("x", row.err)); got != row.want {
			t.Errorf("%s: class %s, want %s", row.name, got, row.want)
		}
	}
	gone, err := Open(t.Context(), Options{URL: "clickhouse://127.0.0.1:1/huoma"})
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	if err := gone.Ping(t.Context()); ClassOf(err) == Never || !strings.Contains(fmt.Sprint(err), "127.0.0.1:1") {
		t.Errorf("ping of nobody: %v", err)
	}
}

func TestURL(t *testing.T) {
	for _, row := range []struct{ name, url, addr, database, bad string }{
		{"one host", "clickhouse://u:p@ch1:9001/huoma", "ch1:9001", "huoma", ""},
		{"defaults", "clickhouse://ch1", "ch1:9000", "huoma", ""},
		{"hosts, secure", "clickhouse://u:p@ch1,ch2:9441/log?secure=true", "ch1:9440 ch2:9441", "log", ""},
		{"scheme", "http://u:secret@ch1/huoma", "", "", "scheme is http"},
		{"no scheme", "u:secret@ch1/huoma", "", "", "scheme is none"},
		{"not an address", "clickhouse://u:secret@ch1:%zz/huoma", "", "", "cannot be read"},
		{"database name", "clickhouse://u:secret@ch1/a;DROP", "", "", "database name"},
		{"empty host", "clickhouse://u:secret@ch1,,ch2/huoma", "", "", "cannot be read"},
	} {
		ch, err := parseURL(row.url)
		if row.bad != "" {
			if err == nil || !strings.Contains(err.Error(), row.bad) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %q without the password", row.name, err, row.bad)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got := strings.Join(ch.Addr, " "); got != row.addr || ch.Auth.Database != row.database {
			t.Errorf("%s: %s %s, want %s %s", row.name, got, ch.Auth.Database, row.addr, row.database)
		}
	}
	for _, u := range []string{"clickhouse://u:secret@h/huoma", "clickhouse://h/huoma?username=u&password=secret", "clickhouse://u:sec%zzret@h"} {
		if got := Redact(u); strings.Contains(got, "sec") && !strings.Contains(got, "secure") {
			t.Errorf("Redact(%s) = %s", u, got)
		}
	}
}
