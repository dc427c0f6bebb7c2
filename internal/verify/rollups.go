package verify

import (
	"context"
	"fmt"
	"math/big"
	"strings"
)

// uniqCombined64 keeps up to exactPersons hashes as they are, and counts by HyperLogLog in 2¹⁷ registers beyond: a standard error of
// 1.04/√2¹⁷ = 0.29 %. Five of those are allowed, which one honest count in 1.7 million exceeds.
const (
	exactPersons = 4096
	registers    = 1 << 17
	allowed      = 5 * 1.04 / 362.0386719675123 // 5 · 1.04/√2¹⁷
)

// rollups compares the hourly counts. An hour's row to which something has been added after the end may count more.
func (v *verifier) rollups(ctx context.Context) error {
	for i := range rollups {
		for {
			r, err := v.rollup(ctx, i)
			if err != nil {
				return err
			}
			if r.Differences() > 0 && v.wait(ctx) {
				continue // a batch may be on its way
			}
			*v.check(r.Check) = *r
			break
		}
	}
	return ctx.Err()
}

func (v *verifier) rollup(ctx context.Context, i int) (*Result, error) {
	t := &rollups[i]
	key := "concatWithSeparator('\\0', %s"
	for _, c := range t.key {
		key += ", " + c.sql
	}
	key += ")"
	value := "''"
	if t.value != "" {
		value = "toString(sum(" + t.value + "))"
	}
	out := &Result{Check: t.name, Expected: int64(len(v.expect.hourly[i]))}
	type got struct {
		n, persons uint64
		value      string
	}
	rows := make(map[string]got)
	sql := fmt.Sprintf("SELECT %s AS k, toUInt64(%s), %s, uniqCombined64Merge(%s) FROM %s GROUP BY k", fmt.Sprintf(key, "toString(toUInt32(hour))"), t.count, value, t.persons, t.name)
	err := v.Warehouse.Select(ctx, "read "+t.name, sql, func(scan func(...any) error) error {
		var k string
		var g got
		err := scan(&k, &g.n, &g.value, &g.persons)
		rows[k] = g
		return err
	})
	if err != nil {
		return nil, err
	}
	later := make(map[string]bool)
	sql = fmt.Sprintf("SELECT DISTINCT %s AS k FROM %s WHERE %s", fmt.Sprintf(key, "toString(toUInt32(toStartOfHour(ts)))"), t.from, v.beyond())
	err = v.Warehouse.Select(ctx, "look what has come since", sql, func(scan func(...any) error) error {
		var k string
		err := scan(&k)
		later[k] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	for k, want := range v.expect.hourly[i] {
		name := strings.ReplaceAll(k, "\x00", "|")
		g, ok := rows[k]
		if !ok {
			out.missing(name, "")
			continue
		}
		out.Found++
		delete(rows, k)
		var wrong []difference
		if int64(g.n) != want.n && !(later[k] && int64(g.n) > want.n) {
			wrong = append(wrong, difference{"count", fmt.Sprint(want.n), fmt.Sprint(g.n)})
		}
		if t.value != "" && !later[k] {
			sum := want.value
			if sum == nil {
				sum = new(big.Int)
			}
			if w := decimal(sum); w != g.value {
				wrong = append(wrong, difference{"value", w, g.value})
			}
		}
		if n := uint64(len(want.persons)); !near(n, g.persons) && !(later[k] && g.persons > n) {
			wrong = append(wrong, difference{t.persons, fmt.Sprint(n), fmt.Sprint(g.persons)})
		}
		if len(wrong) > 0 {
			out.different(name, "", wrong...)
		}
	}
	for k := range rows {
		if later[k] {
			continue
		}
		out.Found++
		out.extra(strings.ReplaceAll(k, "\x00", "|"), "")
	}
	return out, nil
}

// near reports whether got may be what uniqCombined64 says of want distinct values.
func near(want, got uint64) bool {
	if want <= exactPersons {
		return want == got
	}
	off := float64(want) - float64(got)
	return max(off, -off) <= allowed*float64(want)
}

// beyond is the condition on rows of the input that are after the end.
func (v *verifier) beyond() string {
	var partitions, ends []string
	for p, e := range v.ends {
		last := e.reached.Seq
		if e.reached.More {
			last-- // a row of the last message's earlier part is not, but then its key is allowed a little more
		}
		partitions, ends = append(partitions, fmt.Sprint(p)), append(ends, fmt.Sprint(last))
	}
	return fmt.Sprintf("stream_seq > transform(toUInt64(partition), CAST([%s] AS Array(UInt64)), CAST([%s] AS Array(UInt64)), toUInt64(0))", strings.Join(partitions, ","), strings.Join(ends, ","))
}

// reconcile asks the warehouse's own account, all columns of which must be zero.
func (v *verifier) reconcile(ctx context.Context) error {
	for {
		r := &Result{Check: "reconcile"}
		err := v.Warehouse.Select(ctx, "read reconcile", "SELECT toInt64(partition), toInt64(gaps), toInt64(missing), toInt64(doubled), toInt64(unknown) FROM reconcile ORDER BY partition", func(scan func(...any) error) error {
			var p int64
			var n [4]int64
			if err := scan(&p, &n[0], &n[1], &n[2], &n[3]); err != nil {
				return err
			}
			for i, name := range []string{"gaps", "missing", "doubled", "unknown"} {
				same(r, fmt.Sprintf("partition %d", p), name, 0, n[i])
			}
			return nil
		})
		if err != nil {
			return err
		}
		if r.Differences() > 0 && v.wait(ctx) {
			continue
		}
		*v.check(r.Check) = *r
		return ctx.Err()
	}
}
