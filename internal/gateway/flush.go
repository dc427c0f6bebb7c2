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

// flusher makes events durable by group commit. Callers add events to the
// batch that is filling and wait for it; one goroutine takes the batch, stores
// it as one record a partition (more when one would be too large), releases
// everybody who waited, and takes the next, which filled meanwhile.
//
// Records are numbered from 1 without gaps per (producer, partition), so that
// a worker can tell a repeated record and a missing one. After a failure it is
// unknown which records were stored, so their numbers are never used again:
// the flusher goes on under a new producer name, from 1.
type flusher struct {
	records  Records
	limits   Limits
	name     string // of the gateway's instance
	observe  func(flushed)
	log      *slog.Logger
	producer string
	numbers  []uint64 // last used, by partition

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
	err             error
}

// batch is events on their way. done is closed when they are stored, or not: err.
type batch struct {
	parts  map[int]*part
	events int
	bytes  int
	done   chan struct{}
	err    error
}

// part is a partition's share: JSON arrays, all but the last closed.
type part struct {
	full [][]byte
	open []byte
}

func newBatch() *batch { return &batch{parts: make(map[int]*part, 1), done: make(chan struct{})} }

func newFlusher(records Records, partitions int, instance string, limits Limits, log *slog.Logger, observe func(flushed)) *flusher {
	return &flusher{
		records: records, limits: limits, name: instance, producer: instance, observe: observe, log: log,
		numbers: make([]uint64, partitions), filling: newBatch(), wake: make(chan struct{}, 1),
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
	if p.open != nil && len(p.open)+len(event)+2 > most {
		p.full = append(p.full, append(p.open, ']'))
		p.open = nil
	}
	if p.open == nil {
		p.open = make([]byte, 0, max(len(event)+2, min(expect, most), 4<<10))
		p.open = append(p.open, '[')
	} else {
		p.open = append(p.open, ',')
	}
	p.open = append(p.open, event...)
}

// store queues list and waits until it is stored durably, or ctx ends: the
// events may then be stored all the same.
func (f *flusher) store(ctx context.Context, list ...encoded) error {
	if len(list) == 0 {
		return nil
	}
	b, err := f.add(list...)
	if err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNotStored, context.Cause(ctx))
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
	f.stopped = true
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run flushes until stop. Storing is bounded by Limits.Store a flush and does
// not depend on any caller.
func (f *flusher) run() {
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
	}
}

func (f *flusher) flush(b *batch, reason string) {
	var records []events.Record
	for partition, p := range b.parts {
		for _, payload := range append(p.full, append(p.open, ']')) {
			f.numbers[partition]++
			records = append(records, events.Record{Partition: partition, Payload: payload, Producer: f.producer, Number: f.numbers[partition]})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.limits.Store)
	begun := time.Now()
	err := f.records.AppendRecords(ctx, records)
	took := time.Since(begun)
	cancel()
	if err != nil {
		f.log.Error("events not stored", "events", b.events, "records", len(records), "err", err)
		f.producer = f.name + "-" + ulid.Make().String()
		clear(f.numbers)
		b.err = fmt.Errorf("%w: %w", errNotStored, err)
	}
	f.observe(flushed{reason: reason, events: b.events, records: len(records), bytes: b.bytes, took: took, err: err})
	close(b.done)
}
