package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// insertSpec says which rows go where.
type insertSpec struct {
	Addr  string
	From  string   // database.table whose rows are taken
	To    []string // database.table, one after the other
	Rows  int      // how many From has
	Batch int      // rows an insert
}

// insertRows reads the rows of a table into memory and inserts them into
// others, with clickhouse-go alone. The result is one a table.
func insertRows(s insertSpec) ([]taskResult, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	defer cancel()
	conn, err := openClickHouse(s.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	names, columns, err := readColumns(ctx, conn, s.From)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 || columns[0].Len() != s.Rows {
		return nil, fmt.Errorf("%s does not have the %d rows that were decided", s.From, s.Rows)
	}
	var out []taskResult
	for _, to := range s.To {
		sql := "INSERT INTO " + to + " (" + strings.Join(names, ", ") + ")"
		r, err := timed(func() (int, error) {
			for i := 0; i < s.Rows; i += s.Batch {
				if err := insertBatch(ctx, conn, sql, columns, i, min(i+s.Batch, s.Rows)); err != nil {
					return i, err
				}
			}
			return s.Rows, nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func openClickHouse(addr string) (driver.Conn, error) {
	return clickhouse.Open(&clickhouse.Options{
		Addr: []string{addr}, DialTimeout: 5 * time.Second, ReadTimeout: answersWithin,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4}, // as the analytics worker does
	})
}

func insertBatch(ctx context.Context, conn driver.Conn, sql string, columns []reflect.Value, from, to int) error {
	b, err := conn.PrepareBatch(ctx, sql)
	if err != nil {
		return err
	}
	defer b.Close()
	for i, c := range columns {
		if err := b.Column(i).Append(c.Slice(from, to).Interface()); err != nil {
			return err
		}
	}
	return b.Send()
}

// readColumns reads a table into one slice a column, in the log's order.
func readColumns(ctx context.Context, conn driver.Conn, table string) (names []string, columns []reflect.Value, err error) {
	rows, err := conn.Query(ctx, "SELECT * FROM "+table+" ORDER BY stream_seq, idx")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	names = rows.Columns()
	into := make([]any, len(names))
	for i, t := range rows.ColumnTypes() {
		columns = append(columns, reflect.New(reflect.SliceOf(t.ScanType())).Elem())
		into[i] = reflect.New(t.ScanType()).Interface()
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		for i := range columns {
			columns[i].Set(reflect.Append(columns[i], reflect.ValueOf(into[i]).Elem()))
		}
	}
	return names, columns, rows.Err()
}
