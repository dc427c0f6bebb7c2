package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/huoma/huoma/internal/events"
)

// Why an event was not queued or not stored.
var (
	errBusy      = errors.New("too many events wait to be stored")
	errStopping  = errors.New("the gateway is stopping")
	errNotStored = errors.New("the event could not be stored")
)

// What cannot be done while the log is away.
var (
	errFull = errors.New("the spool is full")
	errAway = errors.New("NATS cannot be reached")
)

// flusher makes events durable by group commit. Callers add events to the
// batch that is filling and wait for it; one goroutine takes the batch, stores
// it as one record a partition (more when one would be too large), releases
// everybody who waited, and takes the next, which filled meanwhile.
//
// Durable is stored in the log or, when the log does not take them, written
// into the spool and synced; see spooling.
//
// Records are numbered from 1 without gaps per (producer, partition), so that
// a worker can tell a repeated record. A record that was neither
// stored nor spooled may have been stored all the same, so its number is never
// used again: the flusher goes on under a new producer name, from 1.
type flusher struct {
	records  Records
	limits   Limits
	name     string // of the gateway's instance
	observe  func(flushed)
	log      *slog.Logger
	producer string
	numbers  []uint64      // last used, by partition
	spool    *spooling     // nil: none
	ended    chan struct{} // closed when run has ended
	stopping chan struct{}
	crash    crash

	mu      sync.Mutex
	filling *batch
	events  int // waiting or being stored
	bytes   int
	expect  int // bytes of a partition's share, by the last flush
	stopped bool
	wake    chan struct{} // capacity 1
}

// flushed says what a flush did and why it began.
type flushed struct {
	reason          string // "idle": nothing was in flight; "next": it filled during the one before; "drain"
	events, records int
	bytes           int
	took            time.Duration
	spooled         bool
	err             error
}

// batch is events on their way. done is closed when they are stored, or not: err.
type batch struct {
	parts  map[int]*part
	events int
	bytes  int
	done   chan struct{}
	err    error

	spooled bool // when done: it is in the spool, not in the log
}

// part is a partition's share: JSON arrays, all but the last closed.
type part struct {
	full []payload
	open payload
}

type payload struct {
	json   []byte
	events int
}

// all closes the last array.
func (p *part) all() []payload {
	return append(p.full, payload{append(p.open.json, ']'), p.open.events})
}

func newBatch() *batch { return &batch{parts: make(map[int]*part, 1), done: make(chan struct{})} }

func newFlusher(records Records, partitions int, instance string, limits Limits, log *slog.Logger, observe func(flushed)) *flusher {
	return &flusher{
		records: records, limits: limits, name: instance, producer: instance, observe: observe, log: log,
		numbers: make([]uint64, partitions), filling: newBatch(), wake: make(chan struct{}, 1),
		ended: make(chan struct{}), stopping: make(chan struct{}),
	}
}

// encoded is one event ready to be stored.
type encoded struct {
	partition int
	json      []byte
}

// add queues list and returns the batch to wait for. It does not block. All of
// list goes into one batch. The errors are errBusy and errStopping.
func (f *flusher) add(list ...encoded) (*batch, error) {
	size := 0
	for _, e := range list {
		size += len(e.json) + 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped:
		return nil, errStopping
	case f.events > 0 && (f.events+len(list) > f.limits.QueuedEvents || f.bytes+size > f.limits.QueuedBytes):
		return nil, errBusy
	}
	b := f.filling
	for _, e := range list {
		p := b.parts[e.partition]
		if p == nil {
			p = new(part)
			b.parts[e.partition] = p
		}
		p.add(e.json, f.limits.RecordBytes, f.expect)
	}
	b.events += len(list)
	b.bytes += size
	f.events += len(list)
	f.bytes += size
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return b, nil
}

// add copies event to the end of p. A record that is begun has room for expect bytes.
func (p *part) add(event []byte, most, expect int) {
	if p.open.json != nil && len(p.open.json)+len(event)+2 > most {
		p.full = p.all()
		p.open = payload{}
	}
	if p.open.json == nil {
		p.open.json = make([]byte, 0, max(len(event)+2, min(expect, most), 4<<10))
		p.open.json = append(p.open.json, '[')
	} else {
		p.open.json = append(p.open.json, ',')
	}
	p.open.json = append(p.open.json, event...)
	p.open.events++
}

// store queues list and waits until it is stored durably, or ctx ends: the
// events may then be stored all the same.
func (f *flusher) store(ctx context.Context, list ...encoded) error {
	_, err := f.keep(ctx, list...)
	return err
}

// keep is store, and says whether the events are in the spool.
func (f *flusher) keep(ctx context.Context, list ...encoded) (spooled bool, err error) {
	if len(list) == 0 {
		return false, nil
	}
	b, err := f.add(list...)
	if err != nil {
		return false, err
	}
	select {
	case <-b.done:
		return b.spooled, b.err
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", errNotStored, context.Cause(ctx))
	}
}

// queued is how many events wait or are being stored.
func (f *flusher) queued() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events
}

// stop lets nothing in any more; run ends when what is queued has been dealt with.
func (f *flusher) stop() {
	f.mu.Lock()
	if !f.stopped {
		f.stopped = true
		close(f.stopping)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run flushes until stop. Storing is bounded by Limits.Store a flush and does
// not depend on any caller.
func (f *flusher) run() {
	defer close(f.ended)
	reason := "idle"
	for {
		f.mu.Lock()
		b, stopped := f.filling, f.stopped
		empty := b.events == 0
		if !empty {
			f.filling = newBatch() // b is ours alone from here on
		}
		f.mu.Unlock()
		if empty {
			if stopped {
				return
			}
			<-f.wake
			reason = "idle"
			continue
		}
		if stopped {
			reason = "drain"
		}
		f.flush(b, reason)
		f.mu.Lock()
		f.events -= b.events
		f.bytes -= b.bytes
		f.expect = b.bytes / len(b.parts) * 9 / 8 // room for a little more, so that a record seldom moves while it grows
		f.mu.Unlock()
		reason = "next"
		f.pause(b)
	}
}

// pause lets the replay keep ahead of what is spooled meanwhile.
func (f *flusher) pause(b *batch) {
	if !b.spooled {
		return
	}
	select {
	case <-time.After(f.spool.pace(len(b.parts))):
	case <-f.stopping:
	}
}

func (f *flusher) flush(b *batch, reason string) {
	var records []events.Record
	used := make(map[int]uint64, len(b.parts))
	for partition, p := range b.parts {
		used[partition] = f.numbers[partition]
		for _, l := range p.all() {
			f.numbers[partition]++
			records = append(records, events.Record{
				Partition: partition, Payload: l.json, Producer: f.producer, Number: f.numbers[partition], Events: l.events,
			})
		}
	}
	begun := time.Now()
	spooled, err := f.put(records)
	switch {
	case err == nil:
	case errors.Is(err, errFull):
		for partition, n := range used { // none of them is anywhere
			f.numbers[partition] = n
		}
	default:
		f.producer = f.name + "-" + ulid.Make().String()
		clear(f.numbers)
	}
	if err != nil {
		f.log.Error("events not stored", "events", b.events, "records", len(records), "err", err)
		if b.err = err; !errors.Is(err, errFull) {
			b.err = fmt.Errorf("%w: %w", errNotStored, err)
		}
	}
	b.spooled = spooled
	f.observe(flushed{reason: reason, events: b.events, records: len(records), bytes: b.bytes, took: time.Since(begun), spooled: spooled, err: err})
	close(b.done)
}

// put makes records durable. After errFull none of them is stored or ever
// will be; after another error any may be.
func (f *flusher) put(records []events.Record) (spooled bool, err error) {
	if f.spool != nil {
		return f.spool.put(records)
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.limits.Store)
	defer cancel()
	if err := f.crash.at(BeforeStore); err != nil {
		return false, err
	}
	if err := f.records.AppendRecords(ctx, records); err != nil {
		return false, err
	}
	return false, f.crash.at(AfterStore)
}
