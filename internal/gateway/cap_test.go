package gateway

import (
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/token"
)

// Scans that the worker has not decided yet hold their place under the cap,
// and give it back when they turn out not to count or are never heard of.
func TestScansOnTheirWayHoldTheirPlace(t *testing.T) {
	id, err := token.ParseCodeID("7zz0kq3m5d8a")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	def := code.Definition{
		ID: id.String(), Revision: 1, Profile: "wechat-group", MintedAt: now, ChangedAt: now, MaxScans: 3, Countdown: code.CountdownNone,
		Targets: []code.Target{{N: 0, URL: "https://example.com/a"}},
	}
	s := code.New(def)
	m := newMirror()
	m.define(id, &def, now)
	held := int64(0)
	room := func(want int, when string) {
		t.Helper()
		got := 0
		for got < 10 && m.admit(id, now, held) {
			got++
		}
		if got != want {
			t.Fatalf("%s: %d scans were let in, want %d", when, got, want)
		}
	}
	scan := func(name string, class code.Verdict) {
		s.Apply(code.Input{ID: name, Scan: &code.Scan{Visitor: name, Class: class}}, now)
	}
	room(3, "at first")
	scan("a", "")
	m.view(id, s.View(), 1)
	room(0, "one was accepted, two are on their way")
	scan("b", code.Bot)
	m.view(id, s.View(), 1)
	room(1, "one did not count")
	m.dismiss(id)
	room(1, "one could not be stored")
	now = now.Add(pendingLife)
	room(0, "the others may still come")
	now = now.Add(2 * time.Second)
	room(2, "nothing was heard of them")
	m.view(id, s.View(), 9)
	room(2, "more were decided than wait")
	m.restore(id, s.Save(), now, false)
	room(2, "after a new start from the snapshot")

	held = forEver
	now = now.Add(time.Hour)
	room(0, "they are in the spool")
	m.restore(id, s.Save(), now, true)
	room(0, "and stay there over a new start of the mirror")
	held = now.Unix()
	now = now.Add(pendingLife)
	room(0, "the spool is empty, and what was in it may still be decided")
	now = now.Add(time.Second)
	room(2, "nothing was heard of them")
}
