package natsjs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

func TestCommitFence(t *testing.T) {
	_, c := install(t, 2)
	ctx := testContext(t)
	if _, _, err := c.LastCommit(ctx, 0); !errors.Is(err, events.ErrNotFound) {
		t.Fatalf("last commit of none: %v", err)
	}
	one, err := c.AppendCommit(ctx, 0, 0, []byte("a1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AppendCommit(ctx, 1, 0, []byte("other partition")); err != nil {
		t.Fatal(err)
	}
	two, err := c.AppendCommit(ctx, 0, one, []byte("a2"))
	if err != nil || two <= one {
		t.Fatalf("second: %d, %v", two, err)
	}
	for _, stale := range []uint64{0, one, two + 7} {
		_, err = c.AppendCommit(ctx, 0, stale, []byte("b"))
		wantErr(t, err, events.ErrFenced)
	}
	// The same record once more is the outcome that got lost.
	if again, err := c.AppendCommit(ctx, 0, one, []byte("a2")); err != nil || again != two {
		t.Errorf("repeat: %d, %v", again, err)
	}
	got, seq, err := c.LastCommit(ctx, 0)
	if err != nil || seq != two || string(got) != "a2" {
		t.Errorf("last: %q at %d, %v", got, seq, err)
	}
}

func TestCommitTooLarge(t *testing.T) {
	s := natstest.New(t, natstest.WithMaxPayload(64<<10))
	c := connect(t, s.URL())
	if _, err := c.Ensure(testContext(t), Config{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.AppendCommit(t.Context(), 0, 0, make([]byte, 64<<10))
	wantErr(t, err, ErrTooLarge)
	err = c.AppendRecords(t.Context(), []events.Record{record(0, 1), {Payload: make([]byte, 64<<10), Producer: "gw", Number: 2}})
	wantErr(t, err, ErrTooLarge)
	if !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("says not what to do: %v", err)
	}
	if info, err := c.streamInfo(t.Context(), events.StreamEvents); err != nil || info.State.Msgs != 0 {
		t.Errorf("stored some: %v, %v", info.State.Msgs, err)
	}
}

// Two owners race for every step while the server restarts: exactly one wins
// each, and the winner knows.
func TestTwoOwnersRace(t *testing.T) {
	s, c1 := install(t, 1)
	const steps = 60
	var mu sync.Mutex
	won := map[uint64]string{} // sequence → record
	var wg sync.WaitGroup
	for i, c := range []*Conn{c1, connect(t, s.URL())} {
		wg.Go(func() {
			ctx := testContext(t)
			name := string(rune('a' + i))
			for step := 0; ; {
				last, seq, err := c.LastCommit(ctx, 0)
				if err == nil {
					_, n, _ := strings.Cut(string(last), " ")
					step, _ = strconv.Atoi(n)
				} else if !errors.Is(err, events.ErrNotFound) {
					t.Errorf("last: %v", err)
					return
				}
				if step >= steps {
					return
				}
				mine := fmt.Sprintf("%s %d", name, step+1)
				at, err := c.AppendCommit(ctx, 0, seq, []byte(mine))
				if errors.Is(err, events.ErrFenced) {
					continue
				}
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				if other, twice := won[at]; twice {
					t.Errorf("%d is both %q and %q", at, mine, other)
				}
				won[at] = mine
				mu.Unlock()
			}
		})
	}
	for n := 20; n < steps; n += 20 {
		eventually(t, 20*time.Second, "progress", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(won) >= n
		})
		s.Restart()
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(testContext(t))
	n := 0
	err := c1.Commits(ctx, 0, 0, func(payload []byte, seq uint64) error {
		n++
		if won[seq] != string(payload) {
			t.Errorf("stored at %d is %q, who thought to have won is %q", seq, payload, won[seq])
		}
		if !strings.HasSuffix(string(payload), " "+strconv.Itoa(n)) {
			t.Errorf("%d-th record is %q", n, payload)
		}
		if n == steps {
			cancel()
		}
		return nil
	})
	wantErr(t, err, context.Canceled)
	if len(won) != steps {
		t.Errorf("%d steps were won, want %d", len(won), steps)
	}
}

// A feed neither loses nor repeats while the server restarts.
func TestCommitsFeedOverRestarts(t *testing.T) {
	s, c := install(t, 2)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	const each, rounds = 300, 4
	var mu sync.Mutex
	var got []string
	var seqs []uint64
	done := make(chan error, 1)
	reader := connect(t, s.URL())
	go func() {
		done <- reader.Commits(ctx, 1, 0, func(p []byte, seq uint64) error {
			mu.Lock()
			defer mu.Unlock()
			got, seqs = append(got, string(p)), append(seqs, seq)
			return nil
		})
	}()
	var last, noise uint64
	for r := range rounds {
		for i := range each {
			var err error
			if last, err = c.AppendCommit(ctx, 1, last, []byte(strconv.Itoa(r*each+i))); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				if noise, err = c.AppendCommit(ctx, 0, noise, fmt.Append(nil, "noise", r, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r < rounds-1 {
			s.Restart()
		}
	}
	eventually(t, 20*time.Second, "all read", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= each*rounds })
	cancel()
	wantErr(t, <-done, context.Canceled)
	for i, g := range got {
		if g != strconv.Itoa(i) || i > 0 && seqs[i] <= seqs[i-1] {
			t.Fatalf("record %d is %q at %d", i, g, seqs[i])
		}
	}
	// From the middle.
	want := errors.New("enough")
	n := 500
	err := c.Commits(testContext(t), 1, seqs[n-1], func(p []byte, seq uint64) error {
		if string(p) != strconv.Itoa(n) || seq != seqs[n] {
			t.Errorf("after %d came %q at %d", seqs[n-1], p, seq)
		}
		return want
	})
	wantErr(t, err, want)
}

// A wire that is cut for a moment costs a feed nothing, and little time.
func TestCommitsFeedOverCuts(t *testing.T) {
	s, c := install(t, 1)
	wire := natstest.NewProxy(t, s.URL())
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	got := make(chan string, 100)
	done := make(chan error, 1)
	reader := connect(t, wire.URL())
	go func() {
		done <- reader.Commits(ctx, 0, 0, func(p []byte, _ uint64) error { got <- string(p); return nil })
	}()
	var last uint64
	for i := range 30 {
		var err error
		if last, err = c.AppendCommit(ctx, 0, last, []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if i%10 == 5 {
			wire.Cut()
		}
		if i%10 == 9 {
			wire.Mend()
			start := time.Now()
			for k := i - 9; k <= i; k++ {
				select {
				case g := <-got:
					if g != strconv.Itoa(k) {
						t.Fatalf("got %s, want %d", g, k)
					}
				case <-ctx.Done():
					t.Fatalf("%d did not come", k)
				}
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("went on after %s", d)
			}
		}
	}
	cancel()
	wantErr(t, <-done, context.Canceled)
}

// The whole of it: two workers own a partition in turn over wires that are cut
// at random, and the server restarts. Every input is decided once, in order.
func TestOwnersUnderFaults(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s, c := install(t, 1)
	const inputs = 4000
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var wires []*natstest.Proxy
	var workers sync.WaitGroup
	for i := range 2 {
		wire := natstest.NewProxy(t, s.URL())
		wires = append(wires, wire)
		wc := connect(t, wire.URL())
		workers.Go(func() {
			err := work(ctx, wc, fmt.Sprint("worker", i), inputs)
			if err != nil && ctx.Err() == nil {
				t.Errorf("worker %d: %v", i, err)
			}
			cancel()
		})
	}
	const faults, each = 25, inputs / 25
	for n := range faults {
		switch w := wires[rnd.IntN(2)]; rnd.IntN(8) {
		case 0, 1, 2:
			w.Cut()
		case 3:
			s.Restart()
		default:
			wires[0].Mend()
			wires[1].Mend()
		}
		// In small portions, so that a fault finds work under way.
		for i := n*each + 1; i <= (n+1)*each; i += 20 {
			appendRecords(t, c, 0, i, i+19)
		}
	}
	for _, w := range wires {
		w.Mend()
	}
	workers.Wait()
	next, enough := 1, errors.New("enough")
	err := c.Commits(testContext(t), 0, 0, func(p []byte, _ uint64) error {
		f := strings.Fields(string(p)) // owner, reached, inputs …
		for _, in := range f[2:] {
			if in != string(record(0, next).Payload) {
				return fmt.Errorf("input %d: got %s", next, in)
			}
			next++
		}
		if next > inputs {
			return enough
		}
		return nil
	})
	wantErr(t, err, enough)
}

// work is a scan worker in small: it commits the inputs of each run, starting
// anew whenever it is told to, until the last input is committed.
func work(ctx context.Context, c *Conn, name string, inputs int) error {
	cl, err := c.Claim(ctx, ClaimOptions{
		Stream: events.StreamEvents, Durable: "scan-0", Filters: partitionFilters(0), PinnedTTL: time.Second, RunMessages: 7,
	})
	if err != nil {
		return err
	}
	defer cl.Close()
	var last, reached uint64
	for {
		run, err := cl.Next(ctx)
		if err == nil {
			b := bytes.NewBufferString(fmt.Sprint(name, " ", run[len(run)-1].Seq))
			for _, m := range run {
				if m.Seq <= reached {
					return fmt.Errorf("sequence %d again after %d", m.Seq, reached)
				}
				fmt.Fprint(b, " ", string(m.Data))
			}
			var seq uint64
			if seq, err = c.AppendCommit(ctx, 0, last, b.Bytes()); err == nil {
				last, reached = seq, run[len(run)-1].Seq
				if err := cl.Ack(ctx, reached); err != nil {
					return err
				}
				if bytes.HasSuffix(b.Bytes(), record(0, inputs).Payload) {
					return nil
				}
				continue
			}
		}
		if !errors.Is(err, events.ErrFenced) && !errors.Is(err, events.ErrRewind) {
			return err
		}
		p, seq, err := c.LastCommit(ctx, 0)
		if err != nil && !errors.Is(err, events.ErrNotFound) {
			return err
		}
		last, reached = seq, 0
		if len(p) > 0 {
			reached, _ = strconv.ParseUint(strings.Fields(string(p))[1], 10, 64)
		}
		if err := cl.Rewind(ctx, reached+1); err != nil {
			return err
		}
	}
}
