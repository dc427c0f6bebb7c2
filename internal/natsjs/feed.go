package natsjs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

const (
	feedBatch   = 1024
	feedBytes   = 4 << 20
	feedExpires = 5 * time.Second
	feedLook    = 500 * time.Millisecond
	// feedKeep is how long the server keeps a feed's consumer after the last
	// request, should we vanish.
	feedKeep = time.Minute
)

// feed reads a stream's messages in order and remembers where it is.
type feed struct {
	stream     string
	filters    []string
	next       uint64 // first stream sequence wanted
	caught     func() // called once, when all that was there has been read; may be nil
	isCaughtUp bool
}

// errRestart: the feed's consumer is gone or had a gap: make another.
var errRestart = errors.New("the feed starts anew")

// errDone ends a feed from its callback.
var errDone = errors.New("done")

// follow calls fn with each message from f.next on, in order and each once, on
// the caller's goroutine, until fn fails or ctx ends.
func (c *Conn) follow(ctx context.Context, f *feed, fn func(*delivery) error) error {
	what := "read " + f.stream
	for attempt := 0; ; attempt++ {
		before := f.next
		err := c.followOnce(ctx, f, fn)
		var failed callbackError
		switch {
		case errors.As(err, &failed):
			if errors.Is(failed.error, errDone) {
				return nil
			}
			return failed.error
		case c.ended():
			return fmt.Errorf("%s: %w", what, ErrClosed)
		case ctx.Err() != nil:
			return ctx.Err()
		case !passing(err) && !errors.Is(err, errRestart):
			return notFound(what, err)
		}
		if f.next != before {
			attempt = 0
		}
		if !c.pause(ctx, attempt) {
			continue // the reason is seen above
		}
	}
}

// callbackError is an error of the callback, which is not ours to retry.
type callbackError struct{ error }

func (c *Conn) followOnce(ctx context.Context, f *feed, fn func(*delivery) error) error {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(f.next, 1),
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: feedKeep,
		FilterSubjects:    f.filters,
	}
	if len(f.filters) == 1 {
		cfg.FilterSubject, cfg.FilterSubjects = f.filters[0], nil
	}
	once, cancel := c.attempt(ctx)
	cons, err := c.js.CreateConsumer(once, f.stream, cfg)
	if err != nil && once.Err() != nil {
		err = context.Cause(once)
	}
	cancel()
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	defer c.forget(f.stream, info.Name)

	r := reader{wake: make(chan struct{}, 1), expect: 1, room: max(feedBytes, c.MaxPayload()+64<<10)}
	r.p, err = c.newPuller(f.stream, info.Name, r.take, r.answered)
	if err != nil {
		return err
	}
	defer r.p.close()
	reconnects := c.nc.Stats().Reconnects
	if info.NumPending == 0 {
		f.caughtUp()
	}
	look := time.NewTicker(feedLook)
	defer look.Stop()
	for {
		run, err := r.next()
		for _, d := range run {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(d); err != nil {
				return callbackError{err}
			}
			f.next = d.Seq + 1
			if d.pending == 0 {
				f.caughtUp()
			}
		}
		if err != nil {
			return err
		}
		if len(run) > 0 {
			continue
		}
		select {
		case <-r.wake:
		case <-look.C:
			if c.nc.Stats().Reconnects != reconnects {
				return errRestart // what was on its way is lost
			}
		case <-c.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) caughtUp() {
	if f.caught != nil && !f.isCaughtUp {
		f.isCaughtUp = true
		f.caught()
	}
}

// forget deletes a consumer that is not needed any more. When that fails the
// server does it after feedKeep.
func (c *Conn) forget(stream, consumer string) {
	if !c.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	go func() {
		defer cancel()
		_ = c.js.DeleteConsumer(ctx, stream, consumer)
	}()
}

// reader takes what a feed's consumer delivers.
type reader struct {
	p    *puller
	wake chan struct{}
	room int // most bytes fetched ahead

	mu       sync.Mutex
	queue    []*delivery
	bytes    int
	expect   uint64
	pull     uint64
	pulling  bool
	left     int
	deadline time.Time
	missed   int
	err      error
}

func (r *reader) take(d *delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if r.left--; r.left <= 0 {
		r.pulling = false
	}
	if d.consumer != r.expect {
		r.err = errRestart
		signal(r.wake)
		return
	}
	r.expect++
	r.missed = 0
	r.queue = append(r.queue, d)
	r.bytes += d.size()
	r.ask()
	signal(r.wake)
}

func (r *reader) answered(s status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed = 0
	switch {
	case s.deleted():
		r.err = errRestart
		signal(r.wake)
	case s.pull != r.pull:
	case s.finished():
		r.pulling = false
		r.ask()
	default:
		r.pulling = false // asked again at the next look
	}
}

// ask sends the next request when there is room. r.mu is held.
func (r *reader) ask() {
	if r.pulling || r.bytes > r.room/2 {
		return
	}
	n, err := r.p.request(pullRequest{Expires: feedExpires, Batch: feedBatch, MaxBytes: r.room})
	if err != nil {
		return
	}
	r.pull, r.pulling, r.left, r.deadline = n, true, feedBatch, time.Now().Add(feedExpires+time.Second)
}

// next returns what has come, and an error when nothing more will.
func (r *reader) next() ([]*delivery, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulling && time.Now().After(r.deadline) {
		r.pulling = false
		if r.missed++; r.missed > 1 {
			r.err = errRestart
		}
	}
	run := r.queue
	r.queue, r.bytes = nil, 0
	if r.err == nil {
		r.ask()
	}
	return run, r.err
}

// Replay calls fn with what is stored for a partition of the events from one
// stream sequence to another, both included, in order, and returns when it is
// through. What retention has removed is not there. It returns what fn
// returns, or ctx's error.
func (c *Conn) Replay(ctx context.Context, partition int, from, to uint64, fn func(events.Message) error) error {
	return c.Stored(ctx, events.StreamEvents, partitionFilters(partition), from, to, fn)
}

// Stored calls fn with the messages of a stream that fit a filter (none: with
// all), from one stream sequence to another, as Replay does.
func (c *Conn) Stored(ctx context.Context, stream string, filters []string, from, to uint64, fn func(events.Message) error) error {
	if from > to {
		return nil
	}
	// A message that is not stored yet must not be waited for.
	info, err := c.streamInfo(ctx, stream)
	if err != nil {
		return err
	}
	to = min(to, info.State.LastSeq)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	through := false
	f := feed{stream: stream, filters: filters, next: from, caught: func() { through = true; cancel() }}
	err = c.follow(ctx, &f, func(d *delivery) error {
		if d.Seq > to {
			return errDone
		}
		if err := fn(d.Message); err != nil {
			return err
		}
		if d.Seq == to {
			return errDone
		}
		return nil
	})
	if through && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// StreamState is how much a stream holds, and how long it is kept.
func (c *Conn) StreamState(ctx context.Context, stream string) (events.StreamState, error) {
	info, err := c.streamInfo(ctx, stream)
	if err != nil {
		return events.StreamState{}, err
	}
	st := info.State
	return events.StreamState{
		First: st.FirstSeq, Last: st.LastSeq, Messages: st.Msgs, FirstAt: st.FirstTime.UTC(), MaxAge: info.Config.MaxAge, Bounded: info.Config.MaxBytes > 0 || info.Config.MaxMsgs > 0,
	}, nil
}

// Alerts calls fn with the newest alerts stored, oldest of them first, at most
// last, and goes on with new ones as they come, over disconnects. It returns
// what fn returns, or ctx's error when it ends.
func (c *Conn) Alerts(ctx context.Context, last int, fn func(*events.Event) error) error {
	f := feed{stream: events.StreamAlerts, filters: []string{"huoma.alert.>"}}
	err := c.retry(ctx, "read alerts", func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, events.StreamAlerts)
		if err != nil {
			return err
		}
		st := s.CachedInfo().State
		f.next = st.LastSeq + 1 - min(uint64(max(last, 0)), st.Msgs)
		return nil
	})
	if err != nil {
		return err
	}
	return c.follow(ctx, &f, func(d *delivery) error {
		e, err := events.Parse(d.Data)
		if err != nil {
			c.log.Warn("an alert cannot be read", "seq", d.Seq, "cause", err)
			return nil
		}
		return fn(e)
	})
}
