package importtest

import (
	"errors"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/importing"
)

// Conform holds an empty importing.Log to what the interface promises.
func Conform(t testing.TB, l importing.Log) {
	t.Helper()
	ctx := t.Context()
	if key, err := l.Key(ctx, false); err != nil || key != nil {
		t.Fatalf("an empty log has the key %x, %v", key, err)
	}
	key, err := l.Key(ctx, true)
	if err != nil || len(key) != 32 {
		t.Fatalf("drew the key %x, %v", key, err)
	}
	for _, create := range []bool{true, false} {
		if again, err := l.Key(ctx, create); err != nil || string(again) != string(key) {
			t.Errorf("the key is another: %v", err)
		}
	}
	read := func(from uint64, s importing.Scope) (list []events.ImportEntry, last uint64) {
		t.Helper()
		last, now, err := l.Read(ctx, from, s, func(e events.ImportEntry) error { list = append(list, e); return nil })
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if d := time.Since(now); d < -time.Minute || d > time.Minute {
			t.Errorf("the log's clock is off by %s", d)
		}
		return list, last
	}
	none, start := read(1, importing.Scope{})
	if len(none) != 0 {
		t.Fatalf("an empty log has %d entries", len(none))
	}
	ids := func(b byte, n int) []byte {
		out := make([]byte, 16*n)
		for i := range out {
			out[i] = b
		}
		return out
	}
	first := []events.ImportEntry{{Run: "a", Chunk: 1, Day: 20000, IDs: ids(1, 3)}, {Run: "a", Chunk: 1, Day: -40001, IDs: ids(2, 1)}}
	last, err := l.Announce(ctx, start, first)
	if err != nil || last != start+2 {
		t.Fatalf("announced up to %d, %v; want %d", last, err, start+2)
	}
	if _, err := l.Announce(ctx, start, []events.ImportEntry{{Run: "b", Chunk: 1, Day: 20000, IDs: ids(3, 1)}}); !errors.Is(err, events.ErrConflict) {
		t.Errorf("behind the fence: %v", err)
	}
	seq, err := l.Close(ctx, events.ImportEntry{Run: "a", Closes: []uint64{start + 1, start + 2}, IDs: ids(1, 1)})
	if err != nil || seq != last+1 {
		t.Errorf("closed at %d, %v; want %d", seq, err, last+1)
	}
	var many []events.ImportEntry
	var days []importing.Day
	for d := range 600 {
		many = append(many, events.ImportEntry{Run: "b", Chunk: 7, Day: int32(d), IDs: ids(9, 1)})
		days = append(days, importing.Day(d))
	}
	if last, err = l.Announce(ctx, seq, many); err != nil || last != seq+600 {
		t.Fatalf("announced up to %d, %v; want %d", last, err, seq+600)
	}
	for _, row := range []struct {
		what  string
		from  uint64
		scope importing.Scope
		n     int
	}{
		{"everything", 1, importing.Scope{}, 603},
		{"from a place on", seq, importing.Scope{}, 601},
		{"closings", 1, importing.Scope{Closings: true}, 1},
		{"a day", 1, importing.Scope{Days: []importing.Day{20000}}, 1},
		{"a day before all days", 1, importing.Scope{Days: []importing.Day{-40001}}, 1},
		{"a day without any", 1, importing.Scope{Days: []importing.Day{30000}}, 0},
		{"many days", 1, importing.Scope{Days: days}, 600},
		{"what is not there yet", last + 1, importing.Scope{}, 0},
	} {
		got, end := read(row.from, row.scope)
		if len(got) != row.n || end != last {
			t.Errorf("%s: %d entries up to %d, want %d up to %d", row.what, len(got), end, row.n, last)
		}
	}
	list, _ := read(1, importing.Scope{})
	a, c := list[0], list[2]
	if a.Seq != start+1 || a.Run != "a" || a.Chunk != 1 || a.Day != 20000 || string(a.IDs) != string(ids(1, 3)) || time.Since(a.At) > time.Minute {
		t.Errorf("announced: %+v", a)
	}
	if list[1].Day != -40001 {
		t.Errorf("a day before all days became %d", list[1].Day)
	}
	if c.Seq != seq || len(c.Closes) != 2 || c.Closes[0] != start+1 || c.Closes[1] != start+2 || string(c.IDs) != string(ids(1, 1)) {
		t.Errorf("closed: %+v", c)
	}
	closes := make([]uint64, 2000) // as many as a ledger closes at once, of the longest sequences
	for i := range closes {
		closes[i] = 1<<64 - 1 - uint64(i)
	}
	if _, err := l.Close(ctx, events.ImportEntry{Run: "a", Closes: closes, IDs: ids(3, 8192)}); err != nil {
		t.Errorf("closing many: %v", err)
	}
	stop := errors.New("stop")
	if _, _, err := l.Read(ctx, 1, importing.Scope{}, func(events.ImportEntry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error became %v", err)
	}
}
