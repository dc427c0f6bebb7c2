package chembed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/huoma/huoma/internal/chembed"
)

const (
	goName     = "clickhouse-go, native protocol"
	goHTTPName = "clickhouse-go, HTTP"
)

// goClient is clickhouse-go. It has one connection, so that what follows is of one session.
type goClient struct {
	opts    clickhouse.Options
	conn    clickhouse.Conn
	session func() (clickhouse.Conn, error) // a session of its own
}

// newGoClient connects by the given protocol.
func newGoClient(t testing.TB, s *chembed.Server, protocol clickhouse.Protocol, method clickhouse.CompressionMethod, database string) *goClient {
	opts := clickhouse.Options{Addr: []string{s.Addr()}, Protocol: protocol, Auth: clickhouse.Auth{Database: database}, MaxOpenConns: 1, MaxIdleConns: 1}
	if protocol == clickhouse.HTTP {
		opts.Addr = []string{s.HTTPAddr()}
	}
	if method != clickhouse.CompressionNone {
		opts.Compression = &clickhouse.Compression{Method: method}
	}
	conn, err := clickhouse.Open(&opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &goClient{conn: conn, opts: opts}
	n := 0
	c.session = func() (clickhouse.Conn, error) {
		own := opts
		if protocol == clickhouse.HTTP {
			n++
			own.Settings = clickhouse.Settings{"session_id": database + "_" + strconv.Itoa(n), "session_timeout": sessionTimeout}
		}
		return clickhouse.Open(&own)
	}
	return c
}

func (c *goClient) ask(ctx context.Context, q *confQuery) answer {
	conn := c.conn
	if q.inSession() {
		own, err := c.session()
		if err != nil {
			return failed(err)
		}
		defer own.Close()
		conn = own
	}
	for _, s := range q.before {
		if err := conn.Exec(ctx, s); err != nil {
			return failed(fmt.Errorf("%s: %w", s, err))
		}
	}
	var opts []clickhouse.QueryOption
	if len(q.settings) > 0 {
		settings := clickhouse.Settings{}
		for n, v := range q.settings {
			settings[n] = v
		}
		opts = append(opts, clickhouse.WithSettings(settings))
	}
	if len(q.params) > 0 {
		params := clickhouse.Parameters{}
		for _, p := range q.params {
			params[p.name] = p.value
		}
		opts = append(opts, clickhouse.WithParameters(params))
	}
	if q.external != nil {
		table, err := goExternal(q.external)
		if err != nil {
			return failed(err)
		}
		opts = append(opts, clickhouse.WithExternalTable(table))
	}
	rows, err := conn.Query(clickhouse.Context(ctx, opts...), q.sql)
	if err != nil {
		return goRefused(err)
	}
	defer rows.Close()
	a := readGoRows(rows, q.compare)
	if n := len(a.rows) - 2; q.settings["extremes"] == "1" && c.opts.Protocol == clickhouse.Native && a.err == nil && a.totals == nil && n >= 0 {
		// The client hands them over as two more rows.
		a.rows, a.extremes, a.count = a.rows[:n], a.rows[n:], n
	}
	return a
}

func readGoRows(rows driver.Rows, compare comparison) answer {
	var a answer
	var types []*chType
	var dest []any
	for _, t := range rows.ColumnTypes() {
		a.cols = append(a.cols, t.Name()+" "+t.DatabaseTypeName())
		types = append(types, parseCHType(t.DatabaseTypeName()))
		dest = append(dest, reflect.New(t.ScanType()).Interface())
	}
	row := make([]string, len(dest))
	render := func() {
		for i := range dest {
			row[i] = renderFast(types[i], dest[i])
		}
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return goRefused(err)
		}
		render()
		a.add(row)
		for i := range dest { // maps and slices would grow into one another
			switch reflect.TypeOf(dest[i]).Elem().Kind() {
			case reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
				reflect.ValueOf(dest[i]).Elem().SetZero()
			}
		}
	}
	if err := rows.Err(); err != nil {
		return goRefused(err)
	}
	if compare == byTotals {
		switch err := rows.Totals(dest...); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return goRefused(err)
		default:
			render()
			a.totals = append([]string(nil), row...)
		}
	}
	return a
}

// renderFast is renderValue, with a short way for what large results are made of.
func renderFast(t *chType, dest any) string {
	switch v := dest.(type) {
	case *uint64:
		return strconv.FormatUint(*v, 10)
	case *string:
		if t.name == "String" {
			return *v
		}
	}
	return renderValue(t, reflect.ValueOf(dest).Elem(), false)
}

func goRefused(err error) answer {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		return answer{err: &refusal{int(ex.Code), ex.Message}}
	}
	// Over HTTP the client hands on the body's text.
	return answer{err: refusedText(err.Error())}
}

// goExternal is an external table as clickhouse-go makes them.
func goExternal(e *confExternal) (*ext.Table, error) {
	var columns []func(*ext.Table) error
	var types []string
	for _, c := range strings.Split(e.structure, ", ") {
		name, typ, _ := strings.Cut(c, " ")
		columns, types = append(columns, ext.Column(name, column.Type(typ))), append(types, typ)
	}
	table, err := ext.NewTable(e.name, columns...)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(strings.TrimSpace(e.rows), "\n") {
		var row []any
		for i, v := range strings.Split(line, "\t") {
			if types[i] == "UInt32" {
				n, err := strconv.ParseUint(v, 10, 32)
				if err != nil {
					return nil, err
				}
				row = append(row, uint32(n))
				continue
			}
			row = append(row, v)
		}
		if err := table.Append(row...); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func (c *goClient) context(ctx context.Context, settings map[string]string) context.Context {
	all := clickhouse.Settings{}
	for n, v := range settings {
		all[n] = v
	}
	return clickhouse.Context(ctx, clickhouse.WithSettings(all))
}

func (c *goClient) exec(ctx context.Context, sql string, settings map[string]string) *refusal {
	if err := c.conn.Exec(c.context(ctx, settings), sql); err != nil {
		return goRefused(err).err
	}
	return nil
}

// copyRows appends to a batch what it has read. The batch needs a connection of its own meanwhile.
func (c *goClient) copyRows(ctx context.Context, query, into string, settings map[string]string) *refusal {
	opts := c.opts
	writer, err := clickhouse.Open(&opts)
	if err != nil {
		return failed(err).err
	}
	defer writer.Close()
	ctx = c.context(ctx, settings)
	rows, err := c.conn.Query(ctx, query)
	if err != nil {
		return goRefused(err).err
	}
	defer rows.Close()
	batch, err := writer.PrepareBatch(ctx, into)
	if err != nil {
		return goRefused(err).err
	}
	defer batch.Close()
	var dest, row []any
	for _, t := range rows.ColumnTypes() {
		dest = append(dest, reflect.New(t.ScanType()).Interface())
	}
	row = make([]any, len(dest))
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return goRefused(err).err
		}
		for i := range dest {
			v := reflect.ValueOf(dest[i]).Elem()
			row[i] = v.Interface()
			switch v.Kind() {
			case reflect.Map, reflect.Slice, reflect.Pointer, reflect.Interface:
				v.SetZero()
			}
		}
		if err := batch.Append(row...); err != nil {
			return goRefused(err).err
		}
	}
	if err := rows.Err(); err != nil {
		return goRefused(err).err
	}
	if err := batch.Send(); err != nil {
		return goRefused(err).err
	}
	return nil
}

func (c *goClient) send(context.Context, string, string, []byte, map[string]string) *refusal {
	return &refusal{text: "clickhouse-go takes values"}
}
