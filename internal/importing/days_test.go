package importing

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func TestDays(t *testing.T) {
	for _, row := range []struct {
		at   string
		want string
	}{
		{"1970-01-01T00:00:00Z", "19700101"}, {"2026-01-31T23:59:59.999Z", "20260131"}, {"2026-02-01T00:00:00+08:00", "20260131"},
	} {
		at, err := time.Parse(time.RFC3339Nano, row.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := DayOf(at).String(); got != row.want {
			t.Errorf("%s is on %s, want %s", row.at, got, row.want)
		}
	}
}

// The table of ids is a map, in less memory.
func TestIDTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table idTable
	want := map[EventID]mark{}
	draw := func() (id EventID) {
		if n := rng.IntN(40_000); n > 0 { // else the zero id
			binary.LittleEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
			id[15] = byte(n)
		}
		return id
	}
	for range 200_000 {
		id, add, remove := draw(), mark(rng.IntN(8)), mark(rng.IntN(8))
		if got := table.set(id, add, remove); got != want[id] {
			t.Fatalf("%s had %b, want %b", id, got, want[id])
		}
		want[id] = want[id]&^remove | add
		if id = draw(); table.get(id) != want[id] {
			t.Fatalf("%s has %b, want %b", id, table.get(id), want[id])
		}
	}
	table.forget(markSeen)
	for id, m := range want {
		if got := table.get(id); got != m&^markSeen {
			t.Fatalf("%s has %b, want %b", id, got, m&^markSeen)
		}
	}
	if bytes := 17 * len(table.ids); bytes > 39*table.n {
		t.Errorf("%d bytes for %d ids", bytes, table.n)
	}
}

func BenchmarkIDTable(b *testing.B) {
	var table idTable
	var id EventID
	for i := range b.N {
		binary.LittleEndian.PutUint64(id[:], uint64(i+1)*0x9e3779b97f4a7c15)
		table.set(id, markDone, 0)
	}
	b.ReportMetric(17*float64(len(table.ids))/float64(max(table.n, 1)), "B/id")
}
