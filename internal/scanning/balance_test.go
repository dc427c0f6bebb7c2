package scanning_test

import (
	"testing"
	"time"

	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/scanning"
)

// TestBalance: a worker that has everything gives its share to workers that come later, while traffic goes on, and nothing is lost or decided
// twice.
func TestBalance(t *testing.T) {
	t.Parallel()
	const partitions = 8
	conn := connect(t, natstest.Start(t), partitions)
	s := newStory(t, conn, partitions, 40)
	balanced := func(o *scanning.Options) { o.Claimants, o.BalanceEvery = conn.Claimants, 200*time.Millisecond }
	first, _ := work(t, conn, "first", partitions, balanced)
	eventually(t, func() bool { return first.Owned() == partitions })
	second, _ := work(t, conn, "second", partitions, balanced)
	third, stopThird := work(t, conn, "third", partitions, balanced)
	workers := []*scanning.Worker{first, second, third}
	eventually(t, func() bool {
		s.tell(3)
		total := 0
		for _, w := range workers {
			if !w.Ready() || w.Owned() > 3 {
				return false
			}
			total += w.Owned()
		}
		return total == partitions
	})
	// One that leaves gives what it has to the others, who share it.
	stopThird()
	eventually(t, func() bool {
		s.tell(3)
		return first.Owned() == partitions/2 && second.Owned() == partitions/2
	})
	await(t, conn, partitions, s.sent)
	check(t, conn, partitions, s.sent)
}

// eventually waits for a condition that must come true.
func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !cond(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true within %s", within)
		}
	}
}
