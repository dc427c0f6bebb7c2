package natsjs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/events"
)

const (
	claimGroup = "owner" // the priority group of every claim's consumer

	// DefaultPinnedTTL is after how long without a sign of life an owner
	// loses its partition.
	DefaultPinnedTTL = 4 * time.Second
	// DefaultRunBytes bounds what is fetched ahead.
	DefaultRunBytes = 8 << 20
	// DefaultRunMessages bounds what Next returns at once.
	DefaultRunMessages = 4096
	// redeliverAfter is when the server gives up on what it delivered and we
	// did not acknowledge. It only matters when messages got lost between
	// server and client without either noticing.
	redeliverAfter = time.Minute
)

// ClaimOptions name what to own. Stream, Durable and Filters are required.
type ClaimOptions struct {
	Stream  string
	Durable string   // the consumer: one a partition and purpose, shared by all who want to own it
	Filters []string // subjects

	PinnedTTL   time.Duration // default DefaultPinnedTTL, at least 1 s
	RunMessages int           // most messages Next returns; default DefaultRunMessages
	RunBytes    int           // most bytes fetched ahead; default DefaultRunBytes
}

// Claim is one process's claim on a partition. Of all processes that claim it,
// the server gives messages to one: the owner. When the owner closes its claim
// another gets messages at once; when it vanishes, after PinnedTTL. An owner
// that is slow, or does nothing, stays the owner as long as its process and
// connection live.
//
// Being the owner is not exclusive in the strict sense: one that lost its
// partition may not know yet. The fence of AppendCommit is what excludes.
//
// Next, Rewind and Ack are for one goroutine; Close may be called from any.
type Claim struct {
	c *Conn
	o ClaimOptions

	stop chan struct{} // closed by Close
	done chan struct{} // closed when the keeper has ended

	wake chan struct{} // something has changed for Next

	mu         sync.Mutex
	p          *puller
	gen        int    // of p
	pin        string // ours; "": another process is the owner, or nobody
	dirty      bool   // owner, and has to rewind
	from       uint64 // first stream sequence wanted, by the last Rewind
	expect     uint64 // next consumer sequence
	lastSeq    uint64 // newest stream sequence taken
	queue      []*delivery
	bytes      int // of queue
	pull       uint64
	pulling    bool
	left       int // messages the request under way may still bring
	deadline   time.Time
	signed     time.Time // when we last gave a sign of life
	reconnects uint64
	gone       bool // the consumer is not there

	unacked []ackPoint
	closed  bool
}

// ackPoint is a message handed out and not acknowledged.
type ackPoint struct {
	seq   uint64
	reply string
}

// Claim starts to claim. The consumer is made when it is not there. Close the
// claim when done.
func (c *Conn) Claim(ctx context.Context, o ClaimOptions) (*Claim, error) {
	if o.PinnedTTL == 0 {
		o.PinnedTTL = DefaultPinnedTTL
	}
	o.PinnedTTL = max(o.PinnedTTL, time.Second)
	if o.RunMessages <= 0 {
		o.RunMessages = DefaultRunMessages
	}
	if o.RunBytes <= 0 {
		o.RunBytes = DefaultRunBytes
	}
	// One message of the largest size must always fit a request.
	o.RunBytes = max(o.RunBytes, 2*(c.MaxPayload()+64<<10))
	cl := &Claim{
		c: c, o: o, reconnects: c.nc.Stats().Reconnects,
		stop: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if err := cl.ensureConsumer(ctx); err != nil {
		return nil, err
	}
	if err := cl.open(); err != nil {
		return nil, err
	}
	cl.mu.Lock()
	cl.ask()
	cl.mu.Unlock()
	go cl.keep()
	return cl, nil
}

// ClaimPartition claims a partition of the events for a scan worker. The
// messages come with their stored subjects. Partition 0 also has what
// producers publish below huoma.in and no partition can be told for.
func (c *Conn) ClaimPartition(ctx context.Context, partition int) (*Claim, error) {
	return c.Claim(ctx, ClaimOptions{
		Stream: events.StreamEvents, Durable: scanDurable(partition), Filters: partitionFilters(partition),
	})
}

// scanDurable is the consumer of a partition of the events.
func scanDurable(partition int) string { return "scan-" + strconv.Itoa(partition) }

// ClaimCommits claims a partition's commit records for an analytics worker.
func (c *Conn) ClaimCommits(ctx context.Context, partition int) (*Claim, error) {
	return c.Claim(ctx, ClaimOptions{
		Stream: events.StreamDecisions, Durable: "analytics-" + strconv.Itoa(partition), Filters: []string{events.CommitSubject(partition)},
	})
}

// partitionFilters is all that is a partition's own. What the transform does
// not match, deeper or shorter subjects, keeps its subject and is partition 0's.
func partitionFilters(partition int) []string {
	if partition == 0 {
		return []string{events.PartitionFilter(0), events.SubjectIn}
	}
	return []string{events.PartitionFilter(partition)}
}

func (cl *Claim) what() string { return "claim " + cl.o.Durable }

// open starts to listen under a new inbox: whatever is still on its way to the
// one before is not heard any more.
func (cl *Claim) open() error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return fmt.Errorf("%s: %w", cl.what(), ErrClosed)
	}
	gen := cl.gen + 1
	p, err := cl.c.newPuller(cl.o.Stream, cl.o.Durable,
		func(d *delivery) { cl.take(gen, d) },
		func(s status) { cl.answered(gen, s) })
	if err != nil {
		return fmt.Errorf("%s: %w", cl.what(), err)
	}
	if cl.p != nil {
		cl.p.close()
	}
	cl.p, cl.gen, cl.pulling = p, gen, false
	return nil
}

// take takes a message from the server.
func (cl *Claim) take(gen int, d *delivery) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed || cl.gen != gen {
		return
	}
	if cl.left--; cl.left <= 0 {
		cl.pulling = false
	}
	switch {
	case d.pin != cl.pin:
		// Only a request without a pin brings a new one: we are the owner now.
		cl.c.log.Info("owner", "consumer", cl.o.Durable)
		cl.pin, cl.dirty, cl.signed, cl.unacked = d.pin, true, time.Now(), nil
		cl.drop()
		signal(cl.wake)
		return
	case cl.dirty:
		return // nothing counts before Rewind
	case d.consumer != cl.expect || d.delivered > 1 || d.Seq < cl.from || d.Seq <= cl.lastSeq:
		// What has been taken so far is right, and Next returns it first.
		cl.c.log.Info("delivery starts anew", "consumer", cl.o.Durable, "seq", d.Seq)
		cl.dirty = true
		signal(cl.wake)
		return
	}
	cl.expect++
	cl.lastSeq = d.Seq
	cl.queue = append(cl.queue, d)
	cl.bytes += d.size()
	signal(cl.wake)
	cl.ask()
}

// answered takes a status from the server.
func (cl *Claim) answered(gen int, s status) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed || cl.gen != gen {
		return
	}
	switch {
	case s.code == statusPin:
		if cl.pin != "" {
			cl.c.log.Info("no longer the owner", "consumer", cl.o.Durable)
		}
		cl.pin, cl.dirty, cl.pulling, cl.unacked = "", false, false, nil
		cl.drop()
		cl.ask()
	case s.deleted():
		cl.pulling, cl.gone = false, true
	case s.pull != cl.pull:
		// An older request, or a sign of life: its end means nothing.
	case s.finished():
		cl.pulling = false
		cl.ask()
	default:
		// The keeper asks again: at once could be again and again.
		cl.pulling = false
		if s.code == statusRequest {
			cl.c.log.Error("pull", "consumer", cl.o.Durable, "status", s.code, "cause", s.text)
		}
	}
}

// drop forgets what was fetched ahead. cl.mu is held.
func (cl *Claim) drop() { cl.queue, cl.bytes = nil, 0 }

// ask sends the next request when there is none under way and there is room.
// cl.mu is held.
func (cl *Claim) ask() {
	if cl.closed || cl.pulling || cl.dirty {
		return
	}
	r := pullRequest{Expires: cl.o.PinnedTTL / 2, Batch: 1, Group: claimGroup, Pin: cl.pin}
	if cl.pin != "" {
		// Half the room at a time, so that the next request is out while the
		// caller works on what the one before brought.
		if cl.bytes > cl.o.RunBytes/2 || len(cl.queue) > 2*cl.o.RunMessages {
			return
		}
		r.Batch, r.MaxBytes = cl.o.RunMessages, cl.o.RunBytes/2
	}
	n, err := cl.p.request(r)
	if err != nil {
		return // disconnected: the keeper asks again
	}
	now := time.Now()
	cl.pull, cl.pulling, cl.left, cl.signed = n, true, r.Batch, now
	cl.deadline = now.Add(r.Expires + time.Second)
}

// Next waits until there is input and returns it: messages in log order, each
// once, none left out since what it returned before, at most RunMessages.
// events.ErrRewind: this process has just become the owner, or delivery had a
// gap or a redelivery; nothing comes until Rewind. ErrClosed after Close.
// While another process is the owner, Next waits.
func (cl *Claim) Next(ctx context.Context) ([]events.Message, error) {
	for {
		cl.mu.Lock()
		switch {
		case cl.closed:
			cl.mu.Unlock()
			return nil, fmt.Errorf("%s: %w", cl.what(), ErrClosed)
		case len(cl.queue) > 0:
			run := cl.hand()
			cl.ask()
			cl.mu.Unlock()
			return run, nil
		case cl.dirty:
			cl.mu.Unlock()
			return nil, events.ErrRewind
		}
		cl.mu.Unlock()
		select {
		case <-cl.wake:
		case <-cl.stop:
		case <-cl.c.closed:
			return nil, fmt.Errorf("%s: %w", cl.what(), ErrClosed)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hand takes a run out of the queue. cl.mu is held.
func (cl *Claim) hand() []events.Message {
	n := min(len(cl.queue), cl.o.RunMessages)
	run := make([]events.Message, n)
	for i, d := range cl.queue[:n] {
		run[i] = d.Message
		cl.bytes -= d.size()
		cl.unacked = append(cl.unacked, ackPoint{d.Seq, d.reply})
	}
	if cl.queue = cl.queue[n:]; len(cl.queue) == 0 {
		cl.queue = nil // let the array go
	}
	return run
}

// Rewind makes a stream sequence the next to be delivered; Next goes on with
// the first message of the partition at or after it. Everything before counts
// as done. When the partition has gone to another owner meanwhile, Next waits,
// and says events.ErrRewind when it has come back.
func (cl *Claim) Rewind(ctx context.Context, from uint64) error {
	from = max(from, 1)
	cl.mu.Lock()
	pin := cl.pin
	if pin != "" {
		cl.drop()
		cl.dirty = true
	}
	cl.mu.Unlock()
	if pin == "" {
		return nil // resetting now would only disturb who is the owner
	}
	// First stop listening, so that nothing from before the reset is heard after.
	if err := cl.open(); err != nil {
		return err
	}
	lost := false
	err := cl.c.retry(ctx, fmt.Sprintf("%s: rewind to %d", cl.what(), from), func(ctx context.Context) error {
		cons, err := cl.c.js.Consumer(ctx, cl.o.Stream, cl.o.Durable)
		if err != nil {
			return err
		}
		if p := pinned(cons.CachedInfo()); p != "" && p != pin {
			lost = true // while we were disconnected, say
			return nil
		}
		_, err = cl.c.js.ResetConsumerToSequence(ctx, cl.o.Stream, cl.o.Durable, from)
		return err
	})
	if err != nil {
		return err
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return fmt.Errorf("%s: %w", cl.what(), ErrClosed)
	}
	if lost && cl.pin == pin {
		cl.c.log.Info("no longer the owner", "consumer", cl.o.Durable)
		cl.pin = ""
	}
	if cl.pin != pin && cl.pin != "" {
		return nil // lost and won again in between: Next says so
	}
	cl.from, cl.expect, cl.lastSeq, cl.unacked = from, 1, 0, nil
	cl.dirty = false
	cl.ask()
	return nil
}

// Ack says that everything up to a stream sequence is done. It does not wait
// for the server: an acknowledgement that gets lost is made good by the next,
// and where a new owner starts is in the commit records, not here.
func (cl *Claim) Ack(_ context.Context, upto uint64) error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return fmt.Errorf("%s: %w", cl.what(), ErrClosed)
	}
	n, _ := slices.BinarySearchFunc(cl.unacked, upto+1, func(a ackPoint, seq uint64) int {
		switch {
		case a.seq < seq:
			return -1
		case a.seq > seq:
			return 1
		}
		return 0
	})
	if n == 0 {
		return nil
	}
	if err := cl.c.nc.Publish(cl.unacked[n-1].reply, nil); err != nil {
		return nil // disconnected: kept, and covered by the next
	}
	if cl.unacked = cl.unacked[n:]; len(cl.unacked) == 0 {
		cl.unacked = nil
	}
	return nil
}

// Close gives the partition up: what was not acknowledged is delivered to the
// next owner, at once. Next returns ErrClosed.
func (cl *Claim) Close() error {
	cl.mu.Lock()
	if cl.closed {
		cl.mu.Unlock()
		return nil
	}
	cl.closed = true
	pin, p := cl.pin, cl.p
	cl.drop()
	cl.mu.Unlock()
	close(cl.stop)
	<-cl.done
	p.close()
	if pin == "" || !cl.c.Connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	if err := cl.release(ctx, pin); err != nil {
		return fmt.Errorf("%s: give it up (another owner takes over after %s): %w", cl.what(), cl.o.PinnedTTL, err)
	}
	return nil
}

// signal says that something has changed; saying it twice is saying it once.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
