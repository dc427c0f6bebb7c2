package verify

import (
	"math"
	"testing"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/chstore"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// What is said of uniqCombined64 is so: exact up to exactPersons, also when put together from several hours, and near beyond.
func TestHowExactlyTheWarehouseCounts(t *testing.T) {
	ch := chtest.Start(t)
	store, err := chstore.Open(t.Context(), chstore.Options{URL: "clickhouse://" + ch.Addr() + "/default"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, n := range []uint64{1, 16, 17, 1000, exactPersons, exactPersons + 1, 20_000, 200_000} {
		var got uint64
		// Each visitor is in two of four parts.
		sql := "SELECT uniqCombined64Merge(s) FROM (SELECT uniqCombined64State(toString(sipHash64(number % toUInt64(?)))) AS s FROM numbers(toUInt64(?)) GROUP BY number % 4)"
		err := store.Select(t.Context(), "count", sql, func(scan func(...any) error) error { return scan(&got) }, n, 2*n)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d visitors are counted as %d (%+.3f %%)", n, got, 100*(float64(got)/float64(n)-1))
		if !near(n, got) {
			t.Errorf("%d visitors are counted as %d, which is called a difference", n, got)
		}
	}
	if math.Abs(allowed-5*1.04/math.Sqrt(registers)) > 1e-12 {
		t.Errorf("allowed is %v", allowed)
	}
	for _, row := range []struct {
		want, got uint64
		ok        bool
	}{{0, 0, true}, {0, 1, false}, {exactPersons, exactPersons - 1, false}, {100_000, 101_400, true}, {100_000, 101_600, false}, {100_000, 98_400, false}} {
		if near(row.want, row.got) != row.ok {
			t.Errorf("%d counted as %d: %v", row.want, row.got, !row.ok)
		}
	}
}

func TestDecimals(t *testing.T) {
	for text, want := range map[string]string{"": "0", "0": "0", "12.50": "12.5", "-0.5": "-0.5", "-12.3456": "-12.3456", "1000": "1000", "99999999999999.9999": "99999999999999.9999", "0.0001": "0.0001", "-0": "0"} {
		if got := decimal(fourths(text)); got != want {
			t.Errorf("%q is written %s, want %s", text, got, want)
		}
	}
}
