package natsjs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// quiet checks that a claim gets nothing for a while.
func quiet(t testing.TB, cl *Claim, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if run, err := cl.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next of who is not the owner: got %d messages, error %v", len(run), err)
	}
}

func TestOneOfTwoOwns(t *testing.T) {
	t.Parallel()
	s, c1 := install(t, 1)
	c2 := connect(t, s.URL())
	first := claim(t, c1, ClaimOptions{})
	appendRecords(t, c1, 0, 1, 10)
	rewound(t, first, 1)
	inOrder(t, read(t, first, 10), 1)
	second := claim(t, c2, ClaimOptions{})
	appendRecords(t, c1, 0, 11, 20)
	quiet(t, second, 3*time.Second) // well past the pin's lifetime
	inOrder(t, read(t, first, 10), 11)
}

// An owner whose program takes its time is the owner still.
func TestSlowOwnerStaysOwner(t *testing.T) {
	t.Parallel()
	s, c1 := install(t, 1)
	first := claim(t, c1, ClaimOptions{RunMessages: 4})
	appendRecords(t, c1, 0, 1, 500)
	rewound(t, first, 1)
	inOrder(t, read(t, first, 4), 1)
	second := claim(t, connect(t, s.URL()), ClaimOptions{})
	quiet(t, second, 3*time.Second)
	inOrder(t, read(t, first, 496), 5)
}

func TestCloseHandsOverAtOnce(t *testing.T) {
	s, c1 := install(t, 1)
	// It has fetched all there is: nothing is left to deliver but what it gives back.
	first := claim(t, c1, ClaimOptions{PinnedTTL: 30 * time.Second})
	appendRecords(t, c1, 0, 1, 100)
	rewound(t, first, 1)
	got := read(t, first, 100)
	if err := first.Ack(t.Context(), got[19].Seq); err != nil {
		t.Fatal(err)
	}
	second := claim(t, connect(t, s.URL()), ClaimOptions{PinnedTTL: 30 * time.Second})
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if _, err := first.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	start := time.Now()
	rewound(t, second, got[20].Seq)
	inOrder(t, read(t, second, 80), 21)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took over after %s", d)
	}
}

// The owner vanishes with messages it had and did not do. Nothing new comes:
// what it had must come to the other one all the same.
func TestVanishedOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	for _, more := range []bool{false, true} {
		t.Run(map[bool]string{false: "quiet", true: "busy"}[more], func(t *testing.T) {
			t.Parallel()
			s, c1 := install(t, 1)
			wire := natstest.NewProxy(t, s.URL())
			// It has fetched all there is, so that nothing is left to deliver.
			first := claim(t, connect(t, wire.URL()), ClaimOptions{PinnedTTL: DefaultPinnedTTL})
			appendRecords(t, c1, 0, 1, 300)
			rewound(t, first, 1)
			got := read(t, first, 300)
			if err := first.Ack(t.Context(), got[24].Seq); err != nil {
				t.Fatal(err)
			}
			second := claim(t, connect(t, s.URL()), ClaimOptions{PinnedTTL: DefaultPinnedTTL})
			eventually(t, 5*time.Second, "ack floor", func() bool {
				cons, err := c1.js.Consumer(t.Context(), events.StreamEvents, "scan-0")
				return err == nil && cons.CachedInfo().AckFloor.Stream == got[24].Seq
			})
			wire.Cut()
			start := time.Now()
			want := 300
			if more {
				appendRecords(t, c1, 0, 301, 400)
				want = 400
			}
			rewound(t, second, got[25].Seq)
			took := time.Since(start)
			t.Logf("took over after %s", took)
			if took > DefaultPinnedTTL+1500*time.Millisecond {
				t.Errorf("took over after %s", took)
			}
			inOrder(t, read(t, second, want-25), 26)
			// The first one comes back and waits its turn.
			wire.Mend()
			appendRecords(t, c1, 0, want+1, want+10)
			inOrder(t, read(t, second, 10), want+1)
			drain(t, first)
			quiet(t, first, 2*time.Second)
			if err := second.Close(); err != nil {
				t.Fatal(err)
			}
			rewound(t, first, got[25].Seq)
			inOrder(t, read(t, first, want+10-25), 26)
		})
	}
}

// drain takes what a former owner had fetched ahead, until it waits.
func drain(t testing.TB, cl *Claim) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := cl.Next(ctx)
		cancel()
		switch {
		case err == nil:
		case errors.Is(err, events.ErrRewind):
			// It reconnected and does not know better yet: it asks its
			// program to find out where it stands.
			if err := cl.Rewind(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		default:
			return
		}
	}
}

// The wire is cut for less than the pin lives: the owner stays the owner, and
// does not trust what it may have missed.
func TestShortCutMeansRewind(t *testing.T) {
	s, c := install(t, 1)
	wire := natstest.NewProxy(t, s.URL())
	cl := claim(t, connect(t, wire.URL()), ClaimOptions{PinnedTTL: 30 * time.Second})
	appendRecords(t, c, 0, 1, 10)
	rewound(t, cl, 1)
	got := read(t, cl, 10)
	wire.Cut()
	appendRecords(t, c, 0, 11, 20)
	wire.Mend()
	start := time.Now()
	rewound(t, cl, got[9].Seq+1)
	inOrder(t, read(t, cl, 10), 11)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("went on after %s", d)
	}
}

func TestServerRestartMeansRewind(t *testing.T) {
	s, c := install(t, 1)
	cl := claim(t, c, ClaimOptions{})
	appendRecords(t, c, 0, 1, 100)
	rewound(t, cl, 1)
	got := read(t, cl, 100)
	s.Restart()
	appendRecords(t, c, 0, 101, 200)
	rewound(t, cl, got[99].Seq+1)
	ctx := testContext(t)
	var after []events.Message
	for len(after) < 100 {
		run, err := cl.Next(ctx)
		if errors.Is(err, events.ErrRewind) { // the old pin was found out about late
			after = nil
			if err := cl.Rewind(ctx, got[99].Seq+1); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, run...)
	}
	inOrder(t, after, 101)
}

// Somebody resets the consumer behind the owner's back: it must notice.
func TestForeignResetIsNoticed(t *testing.T) {
	_, c := install(t, 1)
	cl := claim(t, c, ClaimOptions{})
	appendRecords(t, c, 0, 1, 100)
	rewound(t, cl, 1)
	inOrder(t, read(t, cl, 100), 1)
	for _, seq := range []uint64{50, 90} {
		if _, err := c.js.ResetConsumerToSequence(t.Context(), events.StreamEvents, "scan-0", seq); err != nil {
			t.Fatal(err)
		}
		rewound(t, cl, 60)
		inOrder(t, read(t, cl, 41), 60)
	}
}

// A consumer somebody deleted is made anew.
func TestDeletedConsumerIsMadeAnew(t *testing.T) {
	_, c := install(t, 1)
	cl := claim(t, c, ClaimOptions{})
	appendRecords(t, c, 0, 1, 10)
	rewound(t, cl, 1)
	inOrder(t, read(t, cl, 10), 1)
	if err := c.js.DeleteConsumer(t.Context(), events.StreamEvents, "scan-0"); err != nil {
		t.Fatal(err)
	}
	rewound(t, cl, 6)
	inOrder(t, read(t, cl, 5), 6)
}
