package traffic

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

func TestParseID(t *testing.T) {
	a := &Lane{Name: "n0"}
	if name, n, ok := ParseID(a.ID(1234)); name != "n0" || n != 1234 || !ok {
		t.Errorf("got %q, %d, %v", name, n, ok)
	}
	for _, id := range []string{"", "probe-1", "chaos-n0", "chaos-n0-", "chaos-n0-x", "chaos-n0--1", "01J00000000000000000000000"} {
		if _, _, ok := ParseID(id); ok {
			t.Errorf("%q is taken for one of ours", id)
		}
	}
}

func TestLedger(t *testing.T) {
	l := NewLedger()
	a := l.Lane("n0")
	l.ack(a, 0, 3)
	l.ack(a, 5, 2) // 3 and 4 were refused
	l.scan("x", "accepted")
	l.letter("mark-n0-1.", false)
	l.letter("mark-n0-1.", true)
	if l.Acked() != 6 {
		t.Errorf("%d are acknowledged", l.Acked())
	}
	l.Lanes(func(name string, acked []bool) {
		if want := []bool{true, true, true, false, false, true, true}; name != "n0" || !equal(acked, want) {
			t.Errorf("%s has %v, want %v", name, acked, want)
		}
	})
	if got := l.Malformed()["mark-n0-1."]; got != (Letter{Attempts: 2, Acked: 1}) {
		t.Errorf("the letter is %+v", got)
	}
}

func equal(a, b []bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// What producers send is what the contract takes.
func TestEventsAreWellFormed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := &Code{ID: "k3v9x0c2m5n8", Targets: 3}
	for range 500 {
		kind := kindOf(rng)
		var b bytes.Buffer
		event(&b, rng, "chaos-n0-1", kind, c, time.Now().UTC())
		e, err := events.Parse(b.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if events.InKind(e.Type) != kind {
			t.Errorf("a %s is a %s", kind, e.Type)
		}
	}
}
