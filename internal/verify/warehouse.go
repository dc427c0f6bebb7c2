package verify

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/huoma/huoma/internal/events"
)

func (t *table) text() string {
	list := make([]string, len(t.columns))
	for i, c := range t.columns {
		list[i] = c.sql
	}
	return "concatWithSeparator('\\0', " + strings.Join(list, ", ") + ")"
}

// differences are the columns in which two rows' texts differ.
func (t *table) differences(want, got string) (out []difference) {
	w, g := strings.Split(want, "\x00"), strings.Split(got, "\x00")
	if len(w) != len(g) || len(w) != len(t.columns) {
		return []difference{{"row", fmt.Sprintf("%d columns", len(w)), fmt.Sprintf("%d columns", len(g))}}
	}
	for i := range w {
		if w[i] != g[i] {
			out = append(out, difference{t.columns[i].name, shown("data."+t.columns[i].name, w[i]), shown("data."+t.columns[i].name, g[i])})
		}
	}
	return out
}

// flush compares the rows held, and all that the warehouse has between them, and lets them go.
func (s *side) flush(ctx context.Context) error {
	if s.commit == 0 {
		return nil // nothing has been decided, and what is now comes after the end
	}
	for i := range tables {
		if s.v.Warehouse != nil {
			if err := s.flushTable(ctx, &tables[i], s.held[i]); err != nil {
				return err
			}
		}
		s.held[i] = s.held[i][:0]
	}
	s.rows, s.from, s.fromSeq = 0, s.reached, s.commit
	return nil
}

func (s *side) flushTable(ctx context.Context, t *table, want []row) error {
	// All from the place after the last flush up to where the records compared have come, both by input or by record.
	where := fmt.Sprintf("partition = %d AND %s > %d AND %s <= %d", s.p, t.seq, s.fromSeq, t.seq, s.commit)
	if !t.commits {
		where = fmt.Sprintf("partition = %d AND %s AND %s", s.p, after(s.from), upto(s.reached))
	}
	check := s.v.check(t.name)
	check.Expected += int64(len(want))
	sql := fmt.Sprintf("SELECT toUInt64(%s) AS place_seq, toUInt32(%s) AS place_idx, %s AS place_row FROM %s WHERE %s ORDER BY place_seq, place_idx, place_row", t.seq, t.idx, t.text(), t.name, where)
	err := s.v.Warehouse.Select(ctx, "read the rows of "+t.name, sql, func(scan func(...any) error) error {
		var got row
		if err := scan(&got.seq, &got.idx, &got.text); err != nil {
			return err
		}
		check.Found++
		at := place(s.p, got.seq, int(got.idx))
		for len(want) > 0 && want[0].before(&got) {
			s.absent(check, &want[0])
			want = want[1:]
		}
		switch {
		case len(want) > 0 && !got.before(&want[0]):
			if want[0].text != got.text {
				check.different(at, idOf(want[0].text), t.differences(want[0].text, got.text)...)
			}
			want = want[1:]
		default: // nothing stands there, or it has been seen
			check.extra(at, idOf(got.text))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range want {
		s.absent(check, &want[i])
	}
	return nil
}

// absent counts a row that the warehouse does not have.
func (s *side) absent(check *Result, r *row) {
	if r.old {
		check.Expected--
		return
	}
	check.missing(place(s.p, r.seq, int(r.idx)), idOf(r.text))
}

func (r *row) before(other *row) bool {
	return cmp.Or(cmp.Compare(r.seq, other.seq), cmp.Compare(r.idx, other.idx)) < 0
}

// idOf is the first column of a row.
func idOf(text string) string {
	id, _, _ := strings.Cut(text, "\x00")
	return id
}

// after and upto are conditions on a row's place in the input.
func after(p events.Place) string {
	switch {
	case p.Seq == 0:
		return "true"
	case p.More:
		return fmt.Sprintf("(stream_seq > %d OR stream_seq = %d AND idx > %d)", p.Seq, p.Seq, p.Idx)
	}
	return fmt.Sprintf("stream_seq > %d", p.Seq)
}

func upto(p events.Place) string {
	if p.More {
		return fmt.Sprintf("(stream_seq < %d OR stream_seq = %d AND idx <= %d)", p.Seq, p.Seq, p.Idx)
	}
	return fmt.Sprintf("stream_seq <= %d", p.Seq)
}

// foreignRows looks for rows of partitions that the installation does not have.
func (v *verifier) foreignRows(ctx context.Context) error {
	for i := range tables {
		var n uint64
		sql := fmt.Sprintf("SELECT count() FROM %s WHERE toInt64(partition) >= %d", tables[i].name, v.Partitions)
		err := v.Warehouse.Select(ctx, "look for strange rows in "+tables[i].name, sql, func(scan func(...any) error) error { return scan(&n) })
		if err != nil {
			return err
		}
		check := v.check(tables[i].name)
		check.Found += int64(n)
		for range n {
			check.extra(fmt.Sprintf("beyond partition %d", v.Partitions-1), "")
		}
	}
	return nil
}
