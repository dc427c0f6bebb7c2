package chembed_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/huoma/huoma/internal/chembed"
)

const chgoName = "ch-go"

// chgoClient is ch-go, with the columns that it can make itself from a type's name.
type chgoClient struct {
	opts ch.Options
	conn *ch.Client
}

func newChgoClient(s *chembed.Server, compression ch.Compression, database string) *chgoClient {
	return &chgoClient{opts: ch.Options{Address: s.Addr(), Database: database, Compression: compression, ReadTimeout: time.Minute}}
}

// connect returns the client's connection, or one that has served nobody else.
func (c *chgoClient) connect(ctx context.Context, own bool) (*ch.Client, error) {
	if own || c.conn == nil || c.conn.IsClosed() {
		conn, err := ch.Dial(ctx, c.opts)
		if err != nil || own {
			return conn, err
		}
		c.conn = conn
	}
	return c.conn, nil
}

func (c *chgoClient) close() {
	if c.conn != nil {
		c.conn.Close()
	}
}

func (c *chgoClient) ask(ctx context.Context, q *confQuery) answer {
	conn, err := c.connect(ctx, q.inSession())
	if err != nil {
		return failed(err)
	}
	if conn != c.conn {
		defer conn.Close()
	}
	for _, s := range q.before {
		var skip chgoResult
		if err := conn.Do(ctx, ch.Query{Body: s, Result: &skip, OnResult: skip.take}); err != nil {
			return failed(fmt.Errorf("%s: %w", s, err))
		}
	}
	var r chgoResult
	query := ch.Query{Body: q.sql, Result: &r, OnResult: r.take, Settings: chgoSettings(q.settings)}
	if len(q.params) > 0 {
		params := map[string]any{}
		for _, p := range q.params {
			params[p.name] = quoteEscaper.Replace(p.value) // it puts quotes around, and escapes nothing
		}
		query.Parameters = ch.Parameters(params)
	}
	if e := q.external; e != nil {
		query.ExternalTable = e.name
		if query.ExternalData, err = chgoExternal(e); err != nil {
			return failed(err)
		}
	}
	if err := conn.Do(ctx, query); err != nil {
		if !ch.IsException(err) {
			conn.Close() // what it did not understand is in the way of the next query
		}
		return chgoRefused(err)
	}
	if q.compare == byTotals && strings.Contains(q.sql, "WITH TOTALS") && len(r.rows) > 0 {
		// The client does not tell a block of totals from others: it is the last.
		r.totals = r.rows[len(r.rows)-1]
		r.rows, r.count = r.rows[:len(r.rows)-1], r.count-1
	}
	return r.answer
}

func chgoRefused(err error) answer {
	var ex *ch.Exception
	if errors.As(err, &ex) {
		return answer{err: &refusal{int(ex.Code), ex.Message}}
	}
	return failed(err)
}

// chgoResult takes the blocks of a result, whatever their types, and renders their rows.
type chgoResult struct {
	answer
	types []*chType
	data  []proto.Column
}

// DecodeResult makes the columns as proto.Results.Auto does, and keeps their types' whole names.
func (r *chgoResult) DecodeResult(src *proto.Reader, version int, b proto.Block) error {
	for i := range b.Columns {
		name, err := src.Str()
		if err != nil {
			return err
		}
		typ, err := src.Str()
		if err != nil {
			return err
		}
		if proto.FeatureCustomSerialization.In(version) {
			if custom, err := src.Bool(); err != nil || custom {
				return errors.Join(err, fmt.Errorf("column %s: custom serialization: %v", name, custom))
			}
		}
		if i == len(r.data) {
			col := &proto.ColAuto{}
			if err := chgoInfer(col, typ); err != nil {
				return err
			}
			r.data, r.types = append(r.data, col.Data), append(r.types, parseCHType(typ))
			r.cols = append(r.cols, name+" "+typ)
		}
		col := r.data[i]
		col.Reset()
		if b.Rows == 0 {
			continue
		}
		if s, ok := col.(proto.Stateful); ok {
			if err := s.DecodeState(src); err != nil {
				return err
			}
		}
		if err := col.DecodeColumn(src, b.Rows); err != nil {
			return err
		}
	}
	return nil
}

// chgoInfer makes the column of a type. FixedString wants to be told its size.
func chgoInfer(col *proto.ColAuto, typ string) error {
	if n, ok := strings.CutPrefix(typ, "FixedString("); ok {
		size, err := strconv.Atoi(strings.TrimSuffix(n, ")"))
		if err != nil {
			return err
		}
		col.Data = &proto.ColFixedStr{Size: size}
		return nil
	}
	if typ == "Point" {
		col.Data = new(proto.ColPoint)
		return nil
	}
	return col.Infer(proto.ColumnType(typ))
}

func (r *chgoResult) take(_ context.Context, b proto.Block) error {
	row := make([]string, len(r.data))
	var get []func(int) string
	for i, col := range r.data {
		get = append(get, chgoGetter(r.types[i], col))
	}
	for n := range b.Rows {
		for i := range row {
			row[i] = get[i](n)
		}
		r.add(row)
	}
	return nil
}

// chgoGetter returns what renders a column's value by its row.
func chgoGetter(t *chType, col proto.Column) func(int) string {
	switch c := col.(type) {
	case *proto.ColUInt64:
		return func(i int) string { return strconv.FormatUint(c.Row(i), 10) }
	case *proto.ColStr:
		return c.Row
	}
	row := reflect.ValueOf(col).MethodByName("Row")
	return func(i int) string {
		return renderValue(t, row.Call([]reflect.Value{reflect.ValueOf(i)})[0], false)
	}
}

// chgoExternal is an external table's columns.
func chgoExternal(e *confExternal) ([]proto.InputColumn, error) {
	var cols []proto.InputColumn
	for _, c := range strings.Split(e.structure, ", ") {
		name, typ, _ := strings.Cut(c, " ")
		if typ == "UInt32" {
			cols = append(cols, proto.InputColumn{Name: name, Data: new(proto.ColUInt32)})
		} else {
			cols = append(cols, proto.InputColumn{Name: name, Data: new(proto.ColStr)})
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(e.rows), "\n") {
		for i, v := range strings.Split(line, "\t") {
			switch c := cols[i].Data.(type) {
			case *proto.ColUInt32:
				n, err := strconv.ParseUint(v, 10, 32)
				if err != nil {
					return nil, err
				}
				c.Append(uint32(n))
			case *proto.ColStr:
				c.Append(v)
			}
		}
	}
	return cols, nil
}

func chgoSettings(settings map[string]string) (all []ch.Setting) {
	for n, v := range settings {
		all = append(all, ch.Setting{Key: n, Value: v, Important: true})
	}
	return all
}

func (c *chgoClient) exec(ctx context.Context, sql string, settings map[string]string) *refusal {
	conn, err := c.connect(ctx, false)
	if err != nil {
		return failed(err).err
	}
	if err := conn.Do(ctx, ch.Query{Body: sql, Settings: chgoSettings(settings)}); err != nil {
		if !ch.IsException(err) {
			conn.Close()
		}
		return chgoRefused(err).err
	}
	return nil
}

// copyRows gives the columns of each block that comes as the block of an insert on another connection.
func (c *chgoClient) copyRows(ctx context.Context, query, into string, settings map[string]string) *refusal {
	reader, err := c.connect(ctx, true)
	if err != nil {
		return failed(err).err
	}
	defer reader.Close()
	writer, err := c.connect(ctx, true)
	if err != nil {
		return failed(err).err
	}
	defer writer.Close()
	var r chgoResult
	insert := func(ctx context.Context) error {
		var input proto.Input
		for i, col := range r.data {
			name, typ, _ := strings.Cut(r.cols[i], " ")
			if strings.Contains(typ, "Decimal") {
				col = &proto.ColAuto{Data: col, DataType: proto.ColumnType(typ)} // its own name has no scale
			}
			input = append(input, proto.InputColumn{Name: name, Data: col})
		}
		return writer.Do(ctx, ch.Query{Body: into + " VALUES", Input: input, Settings: chgoSettings(settings)})
	}
	err = reader.Do(ctx, ch.Query{Body: query, Result: &r, Settings: chgoSettings(settings), OnResult: func(ctx context.Context, b proto.Block) error {
		if b.Rows == 0 {
			return nil
		}
		return insert(ctx)
	}})
	if err != nil {
		return chgoRefused(err).err
	}
	return nil
}

func (c *chgoClient) send(context.Context, string, string, []byte, map[string]string) *refusal {
	return &refusal{text: "ch-go takes columns"}
}
