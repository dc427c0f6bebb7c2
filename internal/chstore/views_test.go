package chstore

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests

	"github.com/huoma/huoma/internal/chstore/chgen"
	"github.com/huoma/huoma/internal/events"
)

// Every view against an oracle that counts in the plainest way.
func TestViews(t *testing.T) {
	for _, seed := range []uint64{11, 12} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := migrated(t)
			g := chgen.New(seed, 4)
			batches := []events.Batch{g.Batch("a", 30, 25, 0), g.Batch("b", 30, 25, 30)}
			for _, b := range batches {
				put1(t, s, b)
			}
			o, err := newOracle(batches...)
			if err != nil {
				t.Fatal(err)
			}
			same := func(name string, got, want []string) {
				t.Helper()
				slices.Sort(got)
				slices.Sort(want)
				if len(want) == 0 {
					t.Errorf("%s: the oracle has no rows: the data set is too small", name)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %d rows, want %d\n%s", name, len(got), len(want), difference(got, want))
				}
			}
			same("attribution", ask(t, s, "SELECT campaign, source, medium, code_id, day, accepted, unique, joins, leads, sales, toInt64(value * 10000) FROM attribution"), o.attribution())
			same("first_scans", ask(t, s, "SELECT code_id, variant, tracking, first_at, first_event_id, first_device_model, first_province FROM first_scans"), o.firstScans())
			same("verdicts", ask(t, s, "SELECT hour, verdict, rule, sum(scans) FROM verdicts GROUP BY ALL"), o.verdicts())
			same("capacity", ask(t, s, "SELECT code_id, target, is_current, members, members_from, capacity, percent, eta_full FROM capacity"), o.capacity())
			same("heatmap of all codes", ask(t, s, "SELECT * FROM heatmap(tz='UTC', code='')"), o.heatmap("", time.UTC))
			bought := 0
			for _, id := range g.Codes {
				for _, name := range []string{"Asia/Shanghai", "Asia/Kolkata", "America/New_York"} {
					tz, err := time.LoadLocation(name)
					if err != nil {
						t.Fatal(err)
					}
					same("heatmap "+name, ask(t, s, fmt.Sprintf("SELECT * FROM heatmap(tz='%s', code='%s')", name, id)), o.heatmap(id, tz))
				}
				want := o.funnel(id)
				bought += want[3]
				if got := strings.Join(ask(t, s, "SELECT visitors FROM funnel(code='"+id+"') ORDER BY step"), ""); got != fmt.Sprintf("(%d)(%d)(%d)(%d)", want[0], want[1], want[2], want[3]) {
					t.Errorf("funnel of %s: %s, want %v", id, got, want)
				}
				sameArms(t, s, id, o.abTest(id))
			}
			if bought == 0 {
				t.Error("funnel: nobody bought anything: the data set is too small")
			}
		})
	}
}

func sameArms(t *testing.T, s *Store, id string, want []arm) {
	t.Helper()
	rows, err := s.Conn().Query(t.Context(), `SELECT toInt64(variant), toInt64(scans), toInt64(unique), toInt64(trials), toInt64(joins),
		conversion, lift, lift_low, lift_high, z_score, p_value, split_chi2, split_p_value, split_suspicious, impressions IS NULL FROM ab_test(code='`+id+`')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	i := 0
	for ; rows.Next(); i++ {
		var n [5]int64
		var f [8]*float64
		var suspicious, unknown uint8
		if err := rows.Scan(&n[0], &n[1], &n[2], &n[3], &n[4], &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6], &f[7], &suspicious, &unknown); err != nil {
			t.Fatal(err)
		}
		if i >= len(want) {
			continue
		}
		w := want[i]
		if n != [5]int64{int64(w.variant), int64(w.scans), int64(w.unique), int64(w.trials), int64(w.joins)} || unknown != 1 {
			t.Errorf("ab_test of %s, arm %d: %v, want %+v", id, i, n, w)
		}
		for k, v := range []float64{w.conversion, w.lift, w.low, w.high, w.z, w.p, w.chi2, w.q} {
			if (f[k] == nil) != math.IsNaN(v) || f[k] != nil && math.Abs(*f[k]-v) > 1e-9*max(1, math.Abs(v)) {
				got := "NULL"
				if f[k] != nil {
					got = fmt.Sprint(*f[k])
				}
				t.Errorf("ab_test of %s, arm %d, number %d: %s, want %v", id, i, k, got, v)
			}
		}
		if (suspicious == 1) != (w.q < 0.001) {
			t.Errorf("ab_test of %s: split suspicious %d at p = %v", id, suspicious, w.q)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if i != len(want) {
		t.Errorf("ab_test of %s: %d arms, want %d", id, i, len(want))
	}
}

// Numbers from outside: Fleiss' test as proportionsZTest of ClickHouse has it, and known points of the chi-square distribution.
func TestABTestNumbers(t *testing.T) {
	s := migrated(t)
	fill := func(id string, arms ...[2]int) {
		for v, a := range arms {
			exec(t, s, fmt.Sprintf(`INSERT INTO scans (event_id, ts, code_id, variant, visitor, verdict, stream_seq) SELECT '', toDateTime64('2026-01-01 00:00:00', 3, 'UTC'), '%s', %d, '%d-' || toString(number), 'accepted', number FROM numbers(%d)`, id, v+1, v, a[0]))
			exec(t, s, fmt.Sprintf(`INSERT INTO members (ts, code_id, kind, visitor, stream_seq) SELECT toDateTime64('2026-01-01 00:00:00', 3, 'UTC'), '%s', 'joined', '%d-' || toString(number), number FROM numbers(%d)`, id, v, a[1]))
		}
	}
	fill("two", [2]int{1000, 100}, [2]int{1100, 157})
	for _, row := range []struct{ sql, want string }{
		{"SELECT round(z_score, 10), round(p_value, 12) FROM ab_test(code='two') WHERE variant = 2",
			"SELECT round(-proportionsZTest(100, 157, 1000, 1100, 0.95, 'pooled').1, 10), round(proportionsZTest(100, 157, 1000, 1100, 0.95, 'pooled').2, 12)"},
	} {
		if got, want := askOne(t, s, row.sql), askOne(t, s, row.want); got != want {
			t.Errorf("%s: %s, want %s", row.sql, got, want)
		}
	}
	// Upper 5 % points of chi-square for 1 to 7 degrees of freedom (any table of it), through splits made to have about that statistic.
	for _, row := range []struct {
		id     string
		arms   [][2]int
		low    float64
		high   float64
		suspic string
	}{
		{"even", [][2]int{{500, 5}, {500, 5}}, 1, 1, "false"},
		{"df1", [][2]int{{531, 5}, {469, 5}}, 0.0499, 0.0500, "false"},                                                           // 3.844
		{"df2", [][2]int{{1045, 5}, {1000, 5}, {955, 5}}, 0.131, 0.133, "false"},                                                 // 4.05: e^-2.025
		{"skew", [][2]int{{700, 5}, {300, 5}}, 0, 1e-30, "true"},                                                                 //
		{"nobody", [][2]int{{500, 0}, {500, 0}}, 1, 1, "false"},                                                                  // no joins: no lift, no p-value
		{"alone", [][2]int{{500, 10}}, math.NaN(), math.NaN(), "false"},                                                          // one arm: nothing to compare
		{"eight", [][2]int{{100, 1}, {100, 1}, {100, 1}, {100, 1}, {100, 1}, {100, 1}, {100, 1}, {138, 1}}, 0.098, 0.1, "false"}, // 12.06 at 7 degrees; the 10 % point is 12.02
	} {
		fill(row.id, row.arms...)
		sql := "SELECT ifNull(any(split_p_value), nan), any(split_suspicious) FROM ab_test(code='" + row.id + "')"
		var p float64
		var suspicious bool
		if err := s.Conn().QueryRow(t.Context(), sql).Scan(&p, &suspicious); err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(p) != math.IsNaN(row.low) || p < row.low || p > row.high+1e-12 || fmt.Sprint(suspicious) != row.suspic {
			t.Errorf("%s: p %v, suspicious %v; want %v to %v, %s", row.id, p, suspicious, row.low, row.high, row.suspic)
		}
	}
	if got := askOne(t, s, "SELECT lift, lift_low, p_value FROM ab_test(code='nobody') WHERE variant = 2"); got != "(NULL,NULL,NULL)" {
		t.Errorf("no joins at all: %s", got)
	}
}

func difference(got, want []string) string {
	var b strings.Builder
	for _, w := range want {
		if !slices.Contains(got, w) {
			fmt.Fprintln(&b, "missing", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			fmt.Fprintln(&b, "extra  ", g)
		}
	}
	out := b.String()
	if len(out) > 2000 {
		out = out[:2000] + "…"
	}
	return out
}
