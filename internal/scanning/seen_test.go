package scanning

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/events"
)

// The memory of ids is held against one that keeps everything.
func TestSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type added struct {
			id string
			at int64
		}
		var kept []added
		s := newSeen(nil)
		now := int64(0)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch now += int64(rapid.IntRange(0, 3).Draw(t, "pause")); rapid.IntRange(0, 9).Draw(t, "what") {
			default:
				for range rapid.IntRange(1, 60).Draw(t, "events") {
					id := fmt.Sprint(rapid.IntRange(0, 5000).Draw(t, "id"))
					want := !slices.ContainsFunc(kept, func(a added) bool { return a.id == id })
					if got := s.add(&events.Event{Source: "s", ID: id, Subject: "c"}, now); got != want {
						t.Fatalf("event %s is new: %v, want %v", id, got, want)
					}
					if want {
						kept = append(kept, added{id, now})
					}
				}
			case 8:
				s.forget(now - 40)
				kept = slices.DeleteFunc(kept, func(a added) bool { return a.at < now-40 })
			case 9:
				s = newSeen(slices.Clone(s.list()))
			}
			if len(s.list()) != len(kept) || len(s.ids) != len(kept) {
				t.Fatalf("%d and %d are remembered, want %d", len(s.list()), len(s.ids), len(kept))
			}
		}
		for i, x := range s.list() {
			if x.At != kept[i].at || x.ID != eventKey(&events.Event{Source: "s", ID: kept[i].id, Subject: "c"}) {
				t.Fatalf("place %d has %+v, want %+v", i, x, kept[i])
			}
		}
	})
}
