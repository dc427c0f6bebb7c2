package gateway

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A burst is served: who finds no place waits for one.
func TestAPlaceIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, 4, scanPatience)
		if !p.enter(t.Context()) {
			t.Fatal("the first has no place")
		}
		got := make(chan int, 4)
		for i := range 4 {
			go func() {
				if p.enter(t.Context()) {
					got <- i
				}
			}()
			synctest.Wait() // one after the other
		}
		if p.enter(t.Context()) {
			t.Error("one more than may wait got a place")
		}
		for want := range 4 {
			<-time.After(10 * time.Millisecond)
			p.leave()
			if i := <-got; i != want {
				t.Errorf("the place went to %d, want %d, who waited longest", i, want)
			}
		}
		p.leave()
		if p.in.Load() != 0 || p.waiting.Load() != 0 || p.refused.Load() != 1 {
			t.Errorf("%d in, %d waiting, %d refused at the end", p.in.Load(), p.waiting.Load(), p.refused.Load())
		}
	})
}

// Whoever waited in vain makes those after it weary: for a second nobody waits for longer than a moment.
func TestOthersDoNotWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, 4, scanPatience)
		p.enter(t.Context())
		waited := func() time.Duration {
			begun := time.Now()
			if p.enter(t.Context()) {
				t.Error("got a place")
			}
			return time.Since(begun)
		}
		if first, second := waited(), waited(); first != scanPatience || second != weary {
			t.Errorf("waited for %s, then %s", first, second)
		}
		<-time.After(wearyFor)
		if third := waited(); third != scanPatience {
			t.Errorf("a second later: %s", third)
		}
	})
}

func TestWhoLeavesTheQueueHasNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, 4, scanPatience)
		p.enter(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan bool)
		go func() { gone <- p.enter(ctx) }()
		synctest.Wait()
		cancel()
		if <-gone {
			t.Error("one that has gone got a place")
		}
		p.leave()
		if !p.enter(t.Context()) || p.in.Load() != 1 || p.refused.Load() != 0 {
			t.Errorf("%d in, %d refused", p.in.Load(), p.refused.Load())
		}
	})
}

// However requests come and go, there are never more in than places, and in the end all places are free and nobody waits.
func TestPoolNeverOverflows(t *testing.T) {
	p := newPool(7, 30, time.Millisecond)
	var in, most, served atomic.Int64
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			for range 300 {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if rand.IntN(5) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(800))*time.Microsecond)
				}
				if p.enter(ctx) {
					most.Store(max(most.Load(), in.Add(1)))
					runtime.Gosched()
					in.Add(-1)
					p.leave()
					served.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if most.Load() > 7 || p.in.Load() != 0 || p.waiting.Load() != 0 || len(p.queue) != 0 || served.Load() == 0 {
		t.Errorf("at most %d in, at the end %d in and %d waiting, %d served", most.Load(), p.in.Load(), p.waiting.Load(), served.Load())
	}
}

// A log of a speed of its own, and ten times what it stores: however fast it is, a flush ends up between half the target and the target
// with a little on top, and when the log is quick again the places come back.
func TestPlacesFollowTheLog(t *testing.T) {
	for _, perSecond := range []float64{200, 2_000, 20_000} {
		a := newAdmission(Limits{}.withDefaults())
		now := time.Unix(0, 0)
		// A flush takes what was let in while the one before was under way: half the places.
		flush := func(speed float64) time.Duration {
			n := max(a.scans.limit.Load()/2, 1)
			took := 500*time.Microsecond + time.Duration(float64(n)/speed*float64(time.Second))
			now = now.Add(took)
			a.scans.wanting.Store(true)
			a.flushed(int(n), took, now)
			return took
		}
		for range 200 {
			flush(perSecond)
		}
		for range 20 {
			took := flush(perSecond)
			places := a.scans.limit.Load()
			if took > a.target*5/4 || took < a.target/4 && places < a.most {
				t.Errorf("at %.0f/s a flush takes %s with %d places", perSecond, took, places)
			}
		}
		was := now
		for a.scans.limit.Load() < a.most {
			flush(100_000)
			if now.Sub(was) > 5*time.Second {
				t.Fatalf("at %.0f/s: %d places 5 s after the log was quick again", perSecond, a.scans.limit.Load())
			}
		}
		// The log is away: every flush fails after five seconds.
		for range 20 {
			a.flushed(10, 5*time.Second, now)
		}
		if got := a.scans.limit.Load(); got != a.least {
			t.Errorf("%d places while the log is away, want %d", got, a.least)
		}
	}
}

// A flush that takes long now and then, on a disk that others use too, changes nothing.
func TestPlacesDoNotFollowNoise(t *testing.T) {
	a := newAdmission(Limits{}.withDefaults())
	now := time.Unix(0, 0)
	for i := range 1000 {
		took := 3 * time.Millisecond
		if i%10 == 0 {
			took = 600 * time.Millisecond
		}
		now = now.Add(took)
		a.flushed(50, took, now)
	}
	if got := a.scans.limit.Load(); got != firstScans {
		t.Errorf("%d places, want %d", got, firstScans)
	}
}

func TestProducersGiveWayFirst(t *testing.T) {
	a := newAdmission(Limits{}.withDefaults())
	a.bulk.enter(t.Context())
	a.flushed(5000, 2*time.Second, time.Unix(1, 0))
	if scans, bulk := a.scans.limit.Load(), a.bulk.limit.Load(); scans != firstScans || bulk != BulkPlaces/4 {
		t.Errorf("%d places for scans and %d for producers after their flush took long", scans, bulk)
	}
	a.flushed(100, 2*time.Second, time.Unix(3, 0)) // scans alone
	if scans := a.scans.limit.Load(); scans >= firstScans {
		t.Errorf("%d places for scans after a flush of theirs took long", scans)
	}
	for i := range BulkPlaces {
		a.flushed(10, time.Millisecond, time.Unix(int64(10+i), 0))
	}
	if bulk := a.bulk.limit.Load(); bulk != BulkPlaces {
		t.Errorf("%d places for producers when all is quick again", bulk)
	}
}

// quiet is a gateway with nothing behind it.
func quiet(tb testing.TB) *Gateway {
	tb.Helper()
	g := &Gateway{admission: newAdmission(Limits{}.withDefaults())}
	g.opts.Limits = Limits{}.withDefaults()
	var err error
	if g.refusal, err = newRefusal(); err != nil {
		tb.Fatal(err)
	}
	return g
}

// BenchmarkAdmission is what letting a scan in adds to it, and what refusing one costs. A scan that is answered costs some ten thousand
// nanoseconds of processor time.
func BenchmarkAdmission(b *testing.B) {
	g := quiet(b)
	r := httptest.NewRequest("GET", "/s/x", nil)
	row := route{class: "scan"}
	b.Run("in", func(b *testing.B) {
		rec := &recorder{ResponseWriter: httptest.NewRecorder()}
		b.ReportAllocs()
		for b.Loop() {
			if err := g.enter(rec, r, row); err != nil {
				b.Fatal(err)
			}
			rec.leave()
		}
	})
	b.Run("in, from all processors", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			rec := &recorder{ResponseWriter: httptest.NewRecorder()}
			for pb.Next() {
				if err := g.enter(rec, r, row); err != nil {
					b.Error(err)
				}
				rec.leave()
			}
		})
	})
	for name, accept := range map[string]string{"refused, a person": "text/html", "refused, a program": "application/json"} {
		b.Run(name, func(b *testing.B) {
			g := quiet(b)
			g.admission.scans.limit.Store(0)
			g.admission.scans.mostWaiting = 0
			r := httptest.NewRequest("GET", "/s/x", nil)
			r.Header.Set("Accept", accept)
			b.ReportAllocs()
			for b.Loop() {
				rec := &recorder{ResponseWriter: discard{http.Header{}}}
				if g.enter(rec, r, row) == nil {
					b.Fatal("let in")
				}
				g.refuseOverloaded(rec, r, row)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestTheRefusalIsAWholePage(t *testing.T) {
	g := quiet(t)
	for lang, page := range g.refusal.pages {
		if body := string(page.body); !strings.HasSuffix(strings.TrimSpace(body), "</html>") || !strings.Contains(body, words[lang]["overloaded"][1]) {
			t.Errorf("%s: %s", lang, body)
		}
	}
}
