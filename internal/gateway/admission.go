package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
)

// admission decides who is let in, before any work is done for them. Each class of requests has a pool of places of its own, so
// that none can keep another out:
//
//	scan            as many places as the log keeps up with, see flushed
//	events, mint    few, and they give way to scans; their bodies count too
//	stream          as many as streams may be open
//	live            as many as screens may be
//	ops, none       always let in
//	all the others  a few a processor
//
// docs/adr/0016-admission.md has the reasons.
type admission struct {
	scans, bulk, others, streams, screens *pool

	target time.Duration // for a flush
	least  int64         // places for scans
	most   int64

	bodies   atomic.Int64 // bytes that bodies under way may take
	bodyRoom int64

	// Of flushed, which one goroutine calls.
	slow  int       // flushes one after the other that took longer than the target
	since time.Time // of the first of them
}

// Bounds of the pools.
const (
	firstScans = 256
	// BulkPlaces is how many requests with events and mints are let in at a time.
	BulkPlaces   = 16
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
		bulk:    newPool(BulkPlaces, 4*BulkPlaces, bulkPatience),
		others:  newPool(max(8*cpus, 32), 256, bulkPatience),
		streams: newPool(int64(l.Streams), 0, 0),
		screens: newPool(int64(l.Screens), 0, 0),
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
	case "live":
		return a.screens
	case "ops", "none":
		return nil
	}
	return a.others
}

// flushed learns from a flush how many scans the log keeps up with. A scan waits for one flush, or for the rest of one and the next,
// so what bounds the time of a flush bounds the latency of scans. The time of a flush grows with what is in it, and what is in it is
// what was let in. So there are as many places as events would have taken the target, at the speed of this flush: fewer, when flushes
// took too long for half a second, or one took much too long; more, when it took less than half the target, places were wanting, and
// this flush shows that more would do. Producers and mints give way first.
func (a *admission) flushed(events int, took time.Duration, now time.Time) {
	places := a.scans.limit.Load()
	fitting := int64(float64(events) * float64(a.target) / float64(max(took, 1)))
	if took <= a.target {
		a.slow = 0
		if took > a.target/2 {
			return
		}
		if fitting > places && a.scans.wanting.Swap(false) {
			a.scans.resize(min(places+places/4+8, fitting, a.most))
		}
		if n := a.bulk.limit.Load(); n < BulkPlaces && !a.scans.pressed(now) {
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
	// A disk that stalls once says little: never by more than three quarters.
	a.scans.resize(max(min(max(fitting, places/4), places*9/10), a.least))
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

// refusal is what those are told who are not let in. It is made in advance, so that refusing takes next to nothing of what the machine
// has too little of already.
type refusal struct {
	json  answerBody            // for programs
	pages map[string]answerBody // for people, by language
	again [3][]string           // Retry-After: they come back at different times
}

// answerBody is a body and its Content-Length.
type answerBody struct {
	body   []byte
	length []string
}

func newRefusal() (r refusal, err error) {
	p := problem(http.StatusServiceUnavailable, "overloaded", "more is asked for than can be answered: nothing was done, try again in a moment")
	text, err := json.Marshal(p)
	if err != nil {
		return r, fmt.Errorf("write problem: %w", err)
	}
	r.json = newAnswerBody(text)
	pages, err := problemPage(p.Code)
	if err != nil {
		return r, err
	}
	r.pages = make(map[string]answerBody, len(pages))
	for lang, page := range pages {
		r.pages[lang] = newAnswerBody(page)
	}
	for i := range r.again {
		r.again[i] = []string{strconv.Itoa(1 + i)}
	}
	return r, nil
}

func newAnswerBody(b []byte) answerBody { return answerBody{b, []string{strconv.Itoa(len(b))}} }

var problemType = []string{"application/problem+json"}

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
	rec.place, rec.keep = p, row.class == "stream" || row.class == "live"
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

// refuseOverloaded answers who was not let in: a scanning person with a page, everybody else with the problem.
func (g *Gateway) refuseOverloaded(rec *recorder, r *http.Request, row route) {
	told, h := &g.refusal, rec.Header()
	answer := told.json
	if row.class == "scan" && !wantsJSON(r) {
		lang := language(r.Header.Get("Accept-Language"))
		answer = told.pages[lang]
		pageHeaders(h, lang)
	} else {
		h["Content-Type"] = problemType
	}
	h["Cache-Control"] = noStore
	h["Retry-After"] = told.again[rand.IntN(len(told.again))]
	h["Content-Length"] = answer.length
	rec.WriteHeader(http.StatusServiceUnavailable)
	_, _ = rec.Write(answer.body) // the client has gone
}
