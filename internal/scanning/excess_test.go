package scanning

import "testing"

func TestExcess(t *testing.T) {
	for _, row := range []struct{ owned, partitions, workers, want int }{
		{8, 8, 0, 0}, {8, 8, 1, 0}, {8, 8, 2, 2}, {5, 8, 2, 1}, {4, 8, 2, 0}, {8, 8, 3, 3}, {4, 8, 3, 1}, {3, 8, 3, 0}, {2, 8, 3, 0}, {64, 64, 3, 21}, {2, 2, 5, 1}, {1, 2, 5, 0},
	} {
		if got := excess(row.owned, row.partitions, row.workers); got != row.want {
			t.Errorf("%d of %d among %d: give up %d, want %d", row.owned, row.partitions, row.workers, got, row.want)
		}
	}
}
