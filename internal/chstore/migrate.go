package chstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	"github.com/huoma/huoma/schemas"
)

// versionTable is where goose keeps which migrations have run.
const versionTable = "schema_migrations"

// dedupWindow is how many inserts a table remembers by their tokens: at four a second over half an hour, a few hundred kilobytes.
const dedupWindow = 10000

// ttlTables are those whose rows expire.
var ttlTables = []string{"scans", "members", "conversions", "alerts", "decisions", "forged", "commits"}

// migrations returns the migration files with their variables filled in.
func migrations(database string, retentionDays int) (fs.FS, error) {
	files, err := fs.Sub(schemas.ClickHouse, "clickhouse")
	if err != nil {
		return nil, err
	}
	return filled{files, strings.NewReplacer("${database}", database, "${ttl}", ttlClause(retentionDays), "${window}", strconv.Itoa(dedupWindow))}, nil
}

// filled are files whose text has its variables replaced.
type filled struct {
	fs.FS
	fill *strings.Replacer
}

// Open implements fs.FS.
func (f filled) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return file, err
	}
	b, err := io.ReadAll(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return filledFile{file, strings.NewReader(f.fill.Replace(string(b)))}, nil
}

type filledFile struct {
	fs.File
	text *strings.Reader
}

func (f filledFile) Read(b []byte) (int, error) { return f.text.Read(b) }

func ttlClause(days int) string {
	if days <= 0 {
		return ""
	}
	return fmt.Sprintf("TTL toDateTime(ingested_at) + toIntervalDay(%d)", days)
}

// latestSchema is the version of the newest migration this program knows.
func latestSchema() int64 {
	names, _ := fs.Glob(schemas.ClickHouse, "clickhouse/*.sql")
	var latest int64
	for _, n := range names {
		num, _, _ := strings.Cut(path.Base(n), "_")
		if v, err := strconv.ParseInt(num, 10, 64); err == nil {
			latest = max(latest, v)
		}
	}
	return latest
}

// SchemaVersion is the newest migration that has run here; 0 when there is no schema yet.
func (s *Store) SchemaVersion(ctx context.Context) (int64, error) {
	var v int64
	err := s.conn.QueryRow(ctx, "SELECT max(version_id) FROM "+versionTable+" WHERE is_applied").Scan(&v)
	switch {
	case isCode(err, codeUnknownTable), isCode(err, codeUnknownDatabase):
		return 0, nil
	case err != nil:
		return 0, s.wrap("read the schema's version", err)
	}
	return v, nil
}

// Migrate brings the schema to the version this program knows, creating the database if need be, and the retention to what
// Options say. It is safe to run from several processes at once, as every statement of a migration may run twice. A schema of this
// version already is no work and needs no rights. Where the server refuses to create, the error is ErrNotOurs and says where the
// SQL for the owner is.
func (s *Store) Migrate(ctx context.Context) error {
	admin, err := s.asAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.Version(ctx); err != nil {
		return err
	}
	have, err := s.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	want := latestSchema()
	if have > want {
		return checkSchema(have, want, s.database)
	}
	if have < want {
		if err := admin.conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+s.database); err != nil {
			// It may be there without our having the right to create one.
			if perr := s.Ping(ctx); perr != nil {
				return s.migrateError("create the database", err)
			}
		}
		if err := s.up(ctx); err != nil {
			return err
		}
	}
	return s.retain(ctx)
}

// asAdmin is a store on the server's own database: ours may not exist.
func (s *Store) asAdmin() (*Store, error) {
	ch := *s.ch
	ch.Auth.Database = "default"
	conn, err := clickhouse.Open(&ch)
	if err != nil {
		return nil, fmt.Errorf("clickhouse address: %w", err)
	}
	return &Store{opts: s.opts, ch: &ch, conn: conn, database: s.database, log: s.log}, nil
}

func (s *Store) up(ctx context.Context) error {
	files, err := migrations(s.database, s.opts.RetentionDays)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	db := clickhouse.OpenDB(s.ch)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectClickHouse, db, files, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	done, err := p.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		done = partial.Applied
	}
	for _, r := range done {
		s.log.Info("schema migrated", "database", s.database, "migration", path.Base(r.Source.Path), "took", r.Duration)
	}
	if err != nil {
		return s.migrateError("migrate the schema", err)
	}
	return nil
}

func (s *Store) migrateError(op string, err error) error {
	if isCode(err, codeAccessDenied) || isCode(err, codeReadonly) {
		return fmt.Errorf("%w %s: hand its owner the SQL that `huoma migrate --print` writes, then run again (%w)", ErrNotOurs, s.database, err)
	}
	return s.wrap(op, err)
}

var ttlDays = regexp.MustCompile(`toIntervalDay\((\d+)\)`)

// retain sets the tables' expiry where it is not what Options say. A user without the right to is told in the log only: what is
// kept too long is no reason to stop.
func (s *Store) retain(ctx context.Context) error {
	for _, t := range ttlTables {
		var engine string
		if err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?", s.database, t).Scan(&engine); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return &Error{Op: "look at the tables", Class: Never, Err: fmt.Errorf("table %s.%s is gone; restore it, or drop the database and run `huoma migrate`", s.database, t)}
			}
			return s.wrap("read the expiry of "+t, err)
		}
		days := 0
		if m := ttlDays.FindStringSubmatch(engine); m != nil {
			days, _ = strconv.Atoi(m[1])
		}
		if days == max(s.opts.RetentionDays, 0) {
			continue
		}
		change := "REMOVE TTL"
		if c := ttlClause(s.opts.RetentionDays); c != "" {
			change = "MODIFY " + c
		}
		if err := s.conn.Exec(ctx, "ALTER TABLE "+t+" "+change); err != nil {
			if isCode(err, codeAccessDenied) || isCode(err, codeReadonly) {
				s.log.Warn("the retention cannot be changed by this user: the owner of the database has to", "table", t, "days", s.opts.RetentionDays, "statement", "ALTER TABLE "+s.database+"."+t+" "+change)
				continue
			}
			return s.wrap("change the expiry of "+t, err)
		}
		s.log.Info("retention changed", "table", t, "days", s.opts.RetentionDays)
	}
	return nil
}

// MigrationSQL is everything Migrate would do in an empty place, as SQL for the owner of a database that is not ours to create: run
// with clickhouse-client --multiquery. An empty database name means DefaultDatabase.
func MigrationSQL(database string, retentionDays int) string {
	if database == "" {
		database = DefaultDatabase
	}
	files, err := migrations(database, retentionDays)
	if err != nil {
		return "-- " + err.Error() + "\n" // embedded files are always readable
	}
	var b strings.Builder
	fmt.Fprintf(&b, `-- The schema of Huoma, version %d. Run it with clickhouse-client --multiquery.
-- The program's own user then needs no more than:
--   GRANT SELECT, INSERT ON %s.* TO <user>

CREATE DATABASE IF NOT EXISTS %s;
USE %s;

CREATE TABLE IF NOT EXISTS %s (version_id Int64, is_applied UInt8, date Date DEFAULT now(), tstamp DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY version_id;
INSERT INTO %s (version_id, is_applied) VALUES (0, 1);
`, latestSchema(), database, database, database, versionTable, versionTable)
	names, _ := fs.Glob(files, "*.sql")
	for _, n := range names {
		sql, err := fs.ReadFile(files, n)
		if err != nil {
			return "-- " + err.Error() + "\n"
		}
		num, _, _ := strings.Cut(n, "_")
		v, _ := strconv.ParseInt(num, 10, 64)
		b.WriteString("\n")
		for line := range strings.Lines(string(sql)) {
			if !strings.HasPrefix(line, "-- +goose") {
				b.WriteString(line)
			}
		}
		fmt.Fprintf(&b, "\nINSERT INTO %s (version_id, is_applied) VALUES (%d, 1);\n", versionTable, v)
	}
	return b.String()
}
