package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// admission decides who is let in, before any work is done for them. Each class of requests has a pool of places of its own, so
// that none can keep another out:
//
//	scan            as many places as the log keeps up with, see flushed
//	events, mint    few, and they give way to scans; their bodies count too
//	stream          as many as streams may be open
//	ops, none       always let in
//	all the others  a few a processor
//
// docs/adr/0016-admission.md has the reasons.
type admission struct {
	scans, bulk, others, streams *pool

	target time.Duration // for a flush
	least  int64         // places for scans
	most   int64

	bodies   atomic.Int64 // bytes that bodies under way may take
	bodyRoom int64

	// Of flushed, which one goroutine calls.
	slow  int       // flushes one after the other that took longer than the target
	since time.Time // of the first of them

	page map[string][]byte // for people who are not let in, by language
}

// Bounds of the pools.
const (
	firstScans   = 256
	bulkPlaces   = 16
	scanPatience = 250 * time.Millisecond
	bulkPatience = time.Second
	// weary is how long a request waits for a place while others have just waited in vain.
	weary = 10 * time.Millisecond
	// wearyFor is how long after the last that was refused.
	wearyFor = time.Second
)

func newAdmission(l Limits) *admission {
	cpus := int64(runtime.GOMAXPROCS(0))
	least := int64(min(l.LeastScans, l.MostScans))
	return &admission{
		scans:   newPool(min(max(firstScans, least), int64(l.MostScans)), l.MostScans, scanPatience),
		bulk:    newPool(bulkPlaces, 4*bulkPlaces, bulkPatience),
		others:  newPool(max(8*cpus, 32), 256, bulkPatience),
		streams: newPool(int64(l.Streams), 0, 0),
		target:  l.FlushTarget, least: least, most: int64(l.MostScans), bodyRoom: l.Bodies,
	}
}

// of is the pool of a class of routes; nil where everybody is let in.
func (a *admission) of(class string) *pool {
	switch class {
	case "scan":
		return a.scans
	case "events", "mint":
		return a.bulk
	case "stream":
		return a.streams
	case "ops", "none":
		return nil
	}
	return a.others
}

// flushed learns from a flush how many scans the log keeps up with. A scan waits for one flush, or for the rest of one and the next,
// so what bounds the time of a flush bounds the latency of scans. The time of a flush grows with what is in it, and what is in it is
// what was let in: too long for half a second, or much too long once, and there are fewer places, in proportion; within half the
// target, while places were wanting, and there are more. Producers and mints give way first.
func (a *admission) flushed(took time.Duration, now time.Time) {
	if took <= a.target {
		a.slow = 0
		if took > a.target/2 {
			return
		}
		if a.scans.wanting.Swap(false) {
			n := a.scans.limit.Load()
			a.scans.resize(min(n+n/4+8, a.most))
		}
		if n := a.bulk.limit.Load(); n < bulkPlaces && !a.scans.pressed(now) {
			a.bulk.resize(n + 1)
		}
		return
	}
	if a.slow++; a.slow == 1 {
		a.since = now
	}
	if took < 4*a.target && (a.slow < 3 || now.Sub(a.since) < 500*time.Millisecond) {
		return
	}
	a.slow = 0
	if n := a.bulk.limit.Load(); n > 1 && a.bulk.used.Swap(false) {
		a.bulk.resize(max(n/4, 1))
		return
	}
	n := a.scans.limit.Load()
	share := min(max(float64(a.target)/float64(took), 0.25), 0.9)
	a.scans.resize(max(int64(float64(n)*share), a.least))
}

// takeBody sets aside room for a body of so many bytes; -1 is unknown, and at
// most counted as most. What it returns gives the room back; nil: there is none.
func (a *admission) takeBody(length, most int64) (release func()) {
	if length < 0 || length > most {
		length = most
	}
	if a.bodies.Add(length) > a.bodyRoom {
		a.bodies.Add(-length)
		return nil
	}
	return func() { a.bodies.Add(-length) }
}

// pool is a number of places and a short queue for them.
type pool struct {
	limit atomic.Int64
	in    atomic.Int64

	waiting  atomic.Int64
	refused  atomic.Uint64
	wanting  atomic.Bool // somebody found no place since this was last looked at
	used     atomic.Bool // somebody got one
	patience time.Duration

	mu          sync.Mutex
	queue       []*waiter // oldest first
	mostWaiting int
	lastRefused time.Time
}

// waiter is one request that waits; place is closed when it has got one.
type waiter struct{ place chan struct{} }

func newPool(limit int64, mostWaiting int, patience time.Duration) *pool {
	p := &pool{patience: patience, mostWaiting: mostWaiting}
	p.limit.Store(limit)
	return p
}

// enter takes a place, waiting a moment for one when there is none. Whoever gets true calls leave.
func (p *pool) enter(ctx context.Context) bool {
	if p.in.Add(1) <= p.limit.Load() {
		if !p.used.Load() {
			p.used.Store(true)
		}
		return true
	}
	p.leave()
	return p.wait(ctx)
}

// leave gives a place back.
func (p *pool) leave() {
	p.in.Add(-1)
	if p.waiting.Load() > 0 {
		p.mu.Lock()
		p.hand()
		p.mu.Unlock()
	}
}

// hand gives free places to those who have waited longest. p.mu is held.
func (p *pool) hand() {
	for len(p.queue) > 0 && p.take() {
		w := p.queue[0]
		p.queue[0], p.queue = nil, p.queue[1:]
		p.waiting.Add(-1)
		close(w.place)
	}
}

// take takes a place if there is one.
func (p *pool) take() bool {
	for {
		n := p.in.Load()
		if n >= p.limit.Load() {
			return false
		}
		if p.in.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// wait waits for a place: for a moment, so that a burst is served, and hardly at all when others have just waited in vain.
func (p *pool) wait(ctx context.Context) bool {
	p.wanting.Store(true)
	p.mu.Lock()
	patience := p.patience
	if time.Since(p.lastRefused) < wearyFor {
		patience = min(patience, weary)
	}
	if len(p.queue) >= p.mostWaiting || patience == 0 {
		p.turnDown()
		p.mu.Unlock()
		return false
	}
	w := &waiter{place: make(chan struct{})}
	p.queue = append(p.queue, w)
	p.waiting.Add(1)
	p.hand() // who left meanwhile did not see us
	p.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.place:
		p.used.Store(true)
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, one := range p.queue {
		if one == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.waiting.Add(-1)
			if ctx.Err() == nil {
				p.turnDown()
			}
			return false
		}
	}
	p.used.Store(true)
	return true // handed over at the last moment
}

// turnDown notes a refusal. p.mu is held.
func (p *pool) turnDown() {
	p.lastRefused = time.Now()
	p.refused.Add(1)
}

// pressed says that somebody was refused within the last second.
func (p *pool) pressed(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.lastRefused) < wearyFor
}

// resize sets the number of places and lets in who may come now.
func (p *pool) resize(n int64) {
	p.limit.Store(n)
	if p.waiting.Load() > 0 {
		p.mu.Lock()
		p.hand()
		p.mu.Unlock()
	}
}

// errOverloaded is a request that was not let in. Nothing was done for it.
var errOverloaded = errors.New("there was no place")

// overloaded is what they are told. They come back at different times.
func overloaded() *Problem {
	return problem(http.StatusServiceUnavailable, "overloaded", "more is asked for than can be answered: nothing was done, try again in a moment").
		retry(time.Duration(1+rand.IntN(3)) * time.Second)
}

// enter lets a request in, or returns errOverloaded. rec gives the place back when the answer begins, or at the end.
func (g *Gateway) enter(rec *recorder, r *http.Request, row route) error {
	p := g.admission.of(row.class)
	if p == nil {
		return nil
	}
	if p == g.admission.bulk && g.admission.scans.pressed(time.Now()) && p.in.Load() > 0 {
		p.mu.Lock()
		p.turnDown()
		p.mu.Unlock()
		return errOverloaded
	}
	if !p.enter(r.Context()) {
		return errOverloaded
	}
	rec.place, rec.keep = p, row.class == "stream"
	if r.ContentLength == 0 {
		return nil
	}
	if row.access != admin { // nobody reads it, so nobody waits for it either
		_ = http.NewResponseController(rec).SetReadDeadline(time.Now().Add(time.Second)) // there is none in tests
		return nil
	}
	most := g.opts.Limits.Body
	if p == g.admission.bulk {
		most = g.opts.Limits.BatchBody
	}
	if rec.body = g.admission.takeBody(r.ContentLength, most); rec.body == nil {
		p.mu.Lock()
		p.turnDown()
		p.mu.Unlock()
		return errOverloaded
	}
	return nil
}

// refuseOverloaded answers who was not let in, at little cost: a scanning person has a page made in advance.
func (g *Gateway) refuseOverloaded(rec *recorder, r *http.Request, row route) {
	p := overloaded()
	if row.class != "scan" || wantsJSON(r) {
		p.write(rec)
		return
	}
	lang := language(r.Header.Get("Accept-Language"))
	p.headers(rec.Header())
	pageHeaders(rec.Header(), lang)
	body := g.admission.page[lang]
	rec.WriteHeader(p.Status)
	_, _ = rec.Write(body) // the client has gone
}
