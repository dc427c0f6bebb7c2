package chstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DefaultDatabase is where the tables are unless the address names another.
const DefaultDatabase = "huoma"

// MinVersion is the oldest ClickHouse this program runs on: the first long-term release in which a retried insert is also dropped
// in the targets of materialized views by its token.
var MinVersion = [2]uint64{25, 8}

// Options say where the warehouse is.
type Options struct {
	// URL is clickhouse://user:password@host:9000,host2:9000/database?secure=true. Several hosts are tried in order.
	URL string

	// RetentionDays is how long rows of the log are kept after they came in; 0 keeps them for ever. Rollups and codes stay.
	RetentionDays int

	DialTimeout time.Duration // 0: 5 s
	MaxConns    int           // 0: 8
	Log         *slog.Logger  // nil: discards
}

// Store is a warehouse. It is safe for concurrent use.
type Store struct {
	opts     Options
	ch       *clickhouse.Options
	conn     driver.Conn
	database string
	log      *slog.Logger
	starts   starts
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Open reads the address and makes a pool of connections. It connects to nothing yet, so that a service may start before its
// warehouse does; call Ping, Check or Migrate. Errors never quote the password.
func Open(_ context.Context, o Options) (*Store, error) {
	ch, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	ch.DialTimeout = cmp.Or(o.DialTimeout, 5*time.Second)
	ch.MaxOpenConns = cmp.Or(o.MaxConns, 8)
	ch.MaxIdleConns = ch.MaxOpenConns
	ch.ConnMaxLifetime = 30 * time.Minute
	ch.ConnOpenStrategy = clickhouse.ConnOpenInOrder
	ch.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	ch.ClientInfo.Products = append(ch.ClientInfo.Products, struct{ Name, Version string }{"huoma", "1"})
	conn, err := clickhouse.Open(ch)
	if err != nil {
		return nil, fmt.Errorf("clickhouse address: %w", err)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{opts: o, ch: ch, conn: conn, database: ch.Auth.Database, log: log}, nil
}

func parseURL(raw string) (*clickhouse.Options, error) {
	const help = "write clickhouse://user:password@host:9000,host2:9000/huoma?secure=true"
	if !strings.HasPrefix(raw, "clickhouse://") {
		// The scheme only: what else stands there may hold a password.
		scheme, _, found := strings.Cut(raw, "://")
		if !found || strings.ContainsAny(scheme, ":@/") {
			scheme = "none"
		}
		return nil, fmt.Errorf("clickhouse address: the scheme is %s; %s", scheme, help)
	}
	ch, err := clickhouse.ParseDSN(raw)
	if err != nil {
		return nil, fmt.Errorf("clickhouse address: it cannot be read; %s", help)
	}
	for i, a := range ch.Addr {
		if a == "" {
			return nil, fmt.Errorf("clickhouse address: host %d is empty; %s", i+1, help)
		}
		if !strings.Contains(strings.TrimPrefix(a, "["), ":") {
			port := ":9000"
			if ch.TLS != nil {
				port = ":9440"
			}
			ch.Addr[i] = a + port
		}
	}
	if ch.Auth.Database == "" {
		ch.Auth.Database = DefaultDatabase
	}
	if !databaseName.MatchString(ch.Auth.Database) {
		return nil, errors.New("clickhouse address: a database name has letters, digits and _ only")
	}
	return ch, nil
}

// Redact returns the address without its password, for logs.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "clickhouse://…"
	}
	q := u.Query()
	if q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// Conn is the pool, for queries. Unqualified names are those of the store's database.
func (s *Store) Conn() driver.Conn { return s.conn }

// Database is the name of the store's database.
func (s *Store) Database() string { return s.database }

// Close closes every connection.
func (s *Store) Close() error { return s.conn.Close() }

// Ping asks whether the server is there and its database exists.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return s.wrap("reach ClickHouse at "+strings.Join(s.ch.Addr, ", "), err)
	}
	return nil
}

// Version returns the server's version and, when it is older than MinVersion, an error that is ErrTooOld.
func (s *Store) Version(ctx context.Context) (string, error) {
	v, err := s.conn.ServerVersion()
	if err != nil {
		return "", s.wrap("ask ClickHouse for its version", err)
	}
	name := fmt.Sprintf("%d.%d.%d", v.Version.Major, v.Version.Minor, v.Version.Patch)
	return name, checkVersion(v.Version.Major, v.Version.Minor, name)
}

func checkVersion(major, minor uint64, name string) error {
	if major < MinVersion[0] || major == MinVersion[0] && minor < MinVersion[1] {
		return fmt.Errorf("%w: it is %s, version %d.%d or newer is needed; upgrade the server", ErrTooOld, name, MinVersion[0], MinVersion[1])
	}
	return nil
}

// Check tells whether this program can work here: the server answers, is new enough, and has the schema this program knows.
func (s *Store) Check(ctx context.Context) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	if _, err := s.Version(ctx); err != nil {
		return err
	}
	have, err := s.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	return checkSchema(have, latestSchema(), s.database)
}

func checkSchema(have, want int64, database string) error {
	switch {
	case have > want:
		return fmt.Errorf("%w: database %s has version %d, this program knows %d; upgrade the program", ErrSchemaNewer, database, have, want)
	case have < want:
		return fmt.Errorf("%w: database %s has version %d, this program needs %d; run `huoma migrate`", ErrSchemaOlder, database, have, want)
	}
	return nil
}
