package natsjs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// How a claim's consumer is made, kept, roused and given up.

// ensureConsumer makes the durable consumer, or checks that the one there is ours.
func (cl *Claim) ensureConsumer(ctx context.Context) error {
	want := jetstream.ConsumerConfig{
		Durable:        cl.o.Durable,
		DeliverPolicy:  jetstream.DeliverAllPolicy, // anything else could not be reset to any sequence
		AckPolicy:      jetstream.AckAllPolicy,
		AckWait:        redeliverAfter,
		MaxDeliver:     -1,
		MaxAckPending:  -1,
		FilterSubjects: cl.o.Filters,
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{claimGroup},
		PinnedTTL:      cl.o.PinnedTTL,
	}
	if len(cl.o.Filters) == 1 {
		want.FilterSubject, want.FilterSubjects = cl.o.Filters[0], nil
	}
	return cl.c.retry(ctx, cl.what(), func(ctx context.Context) error {
		cons, err := cl.c.js.Consumer(ctx, cl.o.Stream, cl.o.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			_, err = cl.c.js.CreateConsumer(ctx, cl.o.Stream, want)
			if !errors.Is(err, jetstream.ErrConsumerExists) {
				return err
			}
			cons, err = cl.c.js.Consumer(ctx, cl.o.Stream, cl.o.Durable)
		}
		if err != nil {
			return err
		}
		have := cons.CachedInfo().Config
		for _, f := range []struct {
			name       string
			have, want any
		}{
			{"deliver policy", have.DeliverPolicy, want.DeliverPolicy},
			{"ack policy", have.AckPolicy, want.AckPolicy},
			{"priority policy", have.PriorityPolicy, want.PriorityPolicy},
			{"filter", fmt.Sprint(filters(have)), fmt.Sprint(filters(want))},
			{"priority groups", fmt.Sprint(have.PriorityGroups), fmt.Sprint(want.PriorityGroups)},
		} {
			if f.have != f.want {
				return &IncompatibleError{Stream: cl.o.Stream, Field: "consumer " + cl.o.Durable + " " + f.name, Have: fmt.Sprint(f.have), Want: fmt.Sprint(f.want),
					Do: "delete the consumer: its place is kept in the commit records"}
			}
		}
		// The rest may be changed. An update only when it changes something,
		// so that claiming does not disturb an owner.
		if have.PinnedTTL != want.PinnedTTL || have.AckWait != want.AckWait || have.MaxAckPending != want.MaxAckPending || have.MaxDeliver != want.MaxDeliver {
			have.PinnedTTL, have.AckWait, have.MaxAckPending, have.MaxDeliver = want.PinnedTTL, want.AckWait, want.MaxAckPending, want.MaxDeliver
			_, err = cl.c.js.UpdateConsumer(ctx, cl.o.Stream, have)
		}
		return err
	})
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return slices.Sorted(slices.Values(c.FilterSubjects))
}

// keep looks after the claim until it is closed: it asks again when an answer
// got lost, keeps the pin while the caller works, and sees to it that what a
// vanished owner left behind is delivered anew.
func (cl *Claim) keep() {
	defer close(cl.done)
	tick := time.NewTicker(min(cl.o.PinnedTTL/8, 500*time.Millisecond))
	defer tick.Stop()
	looked := time.Now()
	for {
		select {
		case <-cl.stop:
			return
		case <-tick.C:
		}
		cl.mu.Lock()
		now := time.Now()
		if r := cl.c.nc.Stats().Reconnects; r != cl.reconnects {
			// What was on its way is lost, and the pin may be too.
			cl.reconnects, cl.pulling = r, false
			if cl.pin != "" && !cl.dirty {
				cl.dirty = true
				signal(cl.wake)
			}
		}
		if cl.pulling && now.After(cl.deadline) {
			cl.pulling = false
		}
		cl.ask()
		if cl.pin != "" && now.Sub(cl.signed) >= cl.o.PinnedTTL/4 {
			// A request that no message fits renews the pin and brings nothing.
			if _, err := cl.p.request(pullRequest{Expires: cl.o.PinnedTTL / 4, Batch: 1, MaxBytes: 1, Group: claimGroup, Pin: cl.pin}); err == nil {
				cl.signed = now
			}
		}
		gone, candidate := cl.gone, cl.pin == ""
		cl.mu.Unlock()
		if gone && cl.c.Connected() {
			cl.restore()
		}
		if candidate && now.Sub(looked) >= min(cl.o.PinnedTTL/4, time.Second) {
			looked = now
			cl.rouse()
		}
	}
}

// restore makes the consumer anew when it is really gone.
func (cl *Claim) restore() {
	ctx, cancel := cl.short()
	defer cancel()
	if err := cl.ensureConsumer(ctx); err != nil {
		cl.c.log.Warn("consumer is gone", "consumer", cl.o.Durable, "cause", err)
		return
	}
	cl.mu.Lock()
	cl.gone = false
	cl.ask()
	cl.mu.Unlock()
}

// rouse puts back what was delivered to an owner that is gone. Without it the
// messages would wait for redeliverAfter, as the server only looks for a new
// owner when it has a message to deliver.
func (cl *Claim) rouse() {
	ctx, cancel := cl.short()
	defer cancel()
	cons, err := cl.c.js.Consumer(ctx, cl.o.Stream, cl.o.Durable)
	if err != nil {
		return // the next look will tell
	}
	info := cons.CachedInfo()
	if info.NumAckPending == 0 || pinned(info) != "" {
		return
	}
	if _, err := cl.c.js.ResetConsumer(ctx, cl.o.Stream, cl.o.Durable); err != nil {
		cl.c.log.Warn("put back what a lost owner had", "consumer", cl.o.Durable, "cause", err)
	}
}

// short is a context for one call of the keeper; Close ends it.
func (cl *Claim) short() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	go func() {
		select {
		case <-cl.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// pinned is the id of the client the consumer is pinned to, or "".
func pinned(info *jetstream.ConsumerInfo) string {
	for _, g := range info.PriorityGroups {
		if g.Group == claimGroup {
			return g.PinnedClientID
		}
	}
	return ""
}

// Claimants is how many processes claim a partition of the events, as far as the server knows: each has a request waiting. An owner with nothing
// to do has a second one, its sign of life, half of the time, so this looks several times, for 1.2 s in all, and returns the least. One that is
// between two requests may not be counted; one that vanished up to two seconds ago is.
func (c *Conn) Claimants(ctx context.Context, partition int) (least int, err error) {
	const looks, between = 4, DefaultPinnedTTL / 10 // a sign of life waits for a quarter of that time
	what := fmt.Sprintf("look who claims partition %d", partition)
	for i := range looks {
		n := 0
		err := c.retry(ctx, what, func(ctx context.Context) error {
			cons, err := c.js.Consumer(ctx, events.StreamEvents, scanDurable(partition))
			if err == nil {
				n = cons.CachedInfo().NumWaiting
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		if least = min(least, n); i == 0 {
			least = n
		}
		if i < looks-1 && !c.wait(ctx, between) {
			return 0, c.gaveUp(ctx, what, nil)
		}
	}
	return least, nil
}

// release puts back what was fetched ahead and lets the pin go.
func (cl *Claim) release(ctx context.Context, pin string) error {
	s, err := cl.c.js.Stream(ctx, cl.o.Stream)
	if err != nil {
		return err
	}
	cons, err := s.Consumer(ctx, cl.o.Durable)
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	if pinned(info) != pin {
		return nil // it is another's already
	}
	if info.NumAckPending > 0 {
		if _, err := s.ResetConsumer(ctx, cl.o.Durable); err != nil {
			return err
		}
	}
	return s.UnpinConsumer(ctx, cl.o.Durable, claimGroup)
}
