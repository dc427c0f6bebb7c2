package importing

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// flight is a chunk on its way.
type flight struct {
	Chunk
	c *chunk

	mu      sync.Mutex
	left    int // batches
	refused []EventID
}

// batch is some of a flight's events, of codes of one lane.
type batch struct {
	f    *flight
	b    []byte // the events, one behind the other
	ends []int
	ids  []EventID
	of   []int // event → item
}

// launch encodes what is to be kept of a chunk and hands it to the lanes.
func (r *runner) launch(ctx context.Context, f *flight, list []idOf, of []int, keep []bool) error {
	var parts [lanes]struct{ events []int }
	for i := range list {
		if !keep[i] {
			r.count.already.Add(1)
			continue
		}
		p := &parts[laneOf(f.c.items[of[i]].Code)]
		p.events = append(p.events, i)
	}
	most := r.batchSize()
	var out [lanes][]*batch
	for lane := range parts {
		n := len(parts[lane].events)
		batches := (n + most - 1) / most
		for k := range batches { // of nearly the same size
			b := &batch{f: f}
			for _, i := range parts[lane].events[k*n/batches : (k+1)*n/batches] {
				var err error
				if b.b, err = f.c.items[of[i]].Append(b.b, list[i].id, r.o.Mapping.Source); err != nil {
					return err
				}
				b.ends, b.ids, b.of = append(b.ends, len(b.b)), append(b.ids, list[i].id), append(b.of, of[i])
			}
			out[lane] = append(out[lane], b)
			f.left++
		}
	}
	r.flying++
	if f.left == 0 {
		r.ended <- f // has room for all flights
		return nil
	}
	for lane := range out {
		for _, b := range out[lane] {
			select {
			case r.lanes[lane] <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// laneOf gives every code its lane.
func laneOf(code string) int {
	h := uint32(2166136261)
	for i := range len(code) {
		h = (h ^ uint32(code[i])) * 16777619
	}
	return int(h>>8) % lanes
}

// lane publishes batches, one after the other.
func (r *runner) lane(ctx context.Context, in <-chan *batch) error {
	for {
		select {
		case b, ok := <-in:
			if !ok {
				return nil
			}
			if err := r.publish(ctx, b); err != nil {
				return err
			}
			b.f.mu.Lock()
			b.f.left--
			last := b.f.left == 0
			b.f.mu.Unlock()
			if last {
				r.ended <- b.f // has room for all flights
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publish stores a batch, without the events that the gateway refuses.
func (r *runner) publish(ctx context.Context, b *batch) error {
	if err := r.limit.WaitN(ctx, len(b.ids)); err != nil {
		return err
	}
	var body []byte
	for len(b.ids) > 0 {
		body = b.body(body[:0])
		err := r.patiently(ctx, func() error {
			if !r.o.Now().Before(b.f.Expires) {
				return errors.New("the installation was away for a day, and what is under way can no longer be sent on trust: run the same command again")
			}
			if err := r.at(BeforePublish); err != nil {
				return err
			}
			return r.o.Gateway.Publish(ctx, body)
		})
		var refused *Refused
		switch {
		case err == nil:
			r.count.imported.Add(int64(len(b.ids)))
			return r.at(AfterPublish)
		case !errors.As(err, &refused):
			return err
		case refused.Index < 0 || refused.Index >= len(b.ids):
			return fmt.Errorf("the gateway refuses a batch: %w", err)
		}
		it := &b.f.c.items[b.of[refused.Index]]
		r.bad(BadLine{File: b.f.c.file, Line: it.line, Reason: refused.Reason, Raw: it.raw, Head: b.f.c.head})
		b.f.mu.Lock()
		b.f.refused = append(b.f.refused, b.ids[refused.Index])
		b.f.mu.Unlock()
		b.drop(refused.Index)
	}
	return nil
}

// body writes the batch as a JSON array.
func (b *batch) body(out []byte) []byte {
	out = append(out, '[')
	from := 0
	for i, end := range b.ends {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, b.b[from:end]...)
		from = end
	}
	return append(out, ']')
}

// drop takes event i out.
func (b *batch) drop(i int) {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	n := b.ends[i] - from
	b.b = append(b.b[:from], b.b[b.ends[i]:]...)
	b.ends = append(b.ends[:i], b.ends[i+1:]...)
	for j := i; j < len(b.ends); j++ {
		b.ends[j] -= n
	}
	b.ids = append(b.ids[:i], b.ids[i+1:]...)
	b.of = append(b.of[:i], b.of[i+1:]...)
}
