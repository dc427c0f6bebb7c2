package natsjs

import (
	"errors"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// rewound reads the claim's first answer, which must be to rewind, and does.
func rewound(t testing.TB, cl *Claim, from uint64) {
	t.Helper()
	ctx := testContext(t)
	if _, err := cl.Next(ctx); !errors.Is(err, events.ErrRewind) {
		t.Fatalf("next: got %v, want %v", err, events.ErrRewind)
	}
	if err := cl.Rewind(ctx, from); err != nil {
		t.Fatalf("rewind: %v", err)
	}
}

// read reads n messages.
func read(t testing.TB, cl *Claim, n int) []events.Message {
	t.Helper()
	ctx := testContext(t)
	var got []events.Message
	for len(got) < n {
		run, err := cl.Next(ctx)
		if err != nil {
			t.Fatalf("next after %d of %d: %v", len(got), n, err)
		}
		got = append(got, run...)
	}
	return got
}

// inOrder checks that messages are records from first on, none missing.
func inOrder(t testing.TB, got []events.Message, first int) {
	t.Helper()
	for i, m := range got {
		if want := string(record(0, first+i).Payload); string(m.Data) != want {
			t.Fatalf("message %d (seq %d): got %s, want %s", i, m.Seq, m.Data, want)
		}
		if m.Get(events.HeaderProducer) != "gw" || m.At.IsZero() || m.At.Location() != time.UTC {
			t.Fatalf("message %d: header %v at %v", i, m.Header, m.At)
		}
	}
}

func claim(t testing.TB, c *Conn, o ClaimOptions) *Claim {
	t.Helper()
	if o.Stream == "" {
		o.Stream, o.Durable, o.Filters = events.StreamEvents, "scan-0", partitionFilters(0)
	}
	if o.PinnedTTL == 0 {
		o.PinnedTTL = time.Second
	}
	cl, err := c.Claim(testContext(t), o)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func TestClaimReadsInOrder(t *testing.T) {
	_, c := install(t, 1)
	appendRecords(t, c, 0, 1, 2000)
	cl := claim(t, c, ClaimOptions{RunMessages: 100})
	rewound(t, cl, 1)
	got := read(t, cl, 2000)
	inOrder(t, got, 1)
	if err := cl.Ack(t.Context(), got[1500].Seq); err != nil {
		t.Fatalf("ack: %v", err)
	}
	eventually(t, 5*time.Second, "ack floor at 1501", func() bool {
		cons, err := c.js.Consumer(t.Context(), events.StreamEvents, "scan-0")
		return err == nil && cons.CachedInfo().AckFloor.Stream == got[1500].Seq && cons.CachedInfo().NumAckPending == 499
	})
	// What comes later goes on without a rewind.
	appendRecords(t, c, 0, 2001, 2010)
	inOrder(t, read(t, cl, 10), 2001)
	// And a rewind in the middle starts exactly there.
	if err := cl.Rewind(t.Context(), got[700].Seq); err != nil {
		t.Fatal(err)
	}
	inOrder(t, read(t, cl, 2010-700), 701)
}

// The server is asked who claims a partition: however its owner gives signs of life, each process counts once.
func TestClaimants(t *testing.T) {
	t.Parallel()
	_, c := install(t, 1)
	appendRecords(t, c, 0, 1, 1)
	owner := claim(t, c, ClaimOptions{PinnedTTL: DefaultPinnedTTL})
	rewound(t, owner, 1)
	read(t, owner, 1)
	for range 2 {
		claim(t, c, ClaimOptions{PinnedTTL: DefaultPinnedTTL})
	}
	most := 0
	for begun := time.Now(); time.Since(begun) < 2*DefaultPinnedTTL; { // so that signs of life are among what is seen
		n, err := c.Claimants(testContext(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		if most = max(most, n); n > 3 {
			t.Errorf("%d claim the partition, want 3", n)
		}
	}
	if most != 3 {
		t.Errorf("at most %d were seen to claim the partition, want 3", most)
	}
}
