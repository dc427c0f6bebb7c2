package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// store is an installation in memory: it takes batches, scans and messages,
// and fails when it is told to.
type store struct {
	mu     sync.Mutex
	minted map[string]CodeSpec
	seen   map[string]int // event ids, how often
	fail   func(call int) error
	calls  int
	batch  int // largest
	url    string
}

func newStore() *store { return &store{minted: map[string]CodeSpec{}, seen: map[string]int{}} }

func (s *store) call() error {
	s.calls++
	if s.fail != nil {
		return s.fail(s.calls)
	}
	return nil
}

func (s *store) Mint(_ context.Context, key string, spec CodeSpec) (Minted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(); err != nil {
		return Minted{}, err
	}
	s.minted[key] = spec
	return Minted{ID: fmt.Sprintf("code%d", len(s.minted)), ScanURL: s.url}, nil
}

func (s *store) Publish(_ context.Context, batch []byte, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(); err != nil {
		return err
	}
	list, err := events.ParseBatch(batch)
	if err != nil || len(list) != n {
		return fmt.Errorf("a batch of %d, told %d: %w", len(list), n, err)
	}
	s.batch = max(s.batch, n)
	for _, e := range list {
		s.seen[e.ID]++
	}
	return nil
}

type stream struct{ *store }

func (s stream) Publish(_ context.Context, subject, id string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(); err != nil {
		return err
	}
	e, err := events.Parse(b)
	if err != nil || e.ID != id || subject != events.InSubject(events.InKind(e.Type), e.Subject) {
		return fmt.Errorf("%s on %s: %w", id, subject, err)
	}
	s.seen[e.ID]++
	return nil
}

func TestRunStoresExactlyItsEventsWhateverFails(t *testing.T) {
	for _, row := range []struct {
		name string
		fail func(call int) error
	}{
		{"nothing fails", nil},
		{"every third call fails", func(n int) error {
			if n%3 == 0 {
				return away{errors.New("away")}
			}
			return nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore()
				s.fail = row.fail
				o := options(3000)
				o.Direct, o.Codes = 0, 9
				var out bytes.Buffer
				var last Progress
				sum, err := Run(t.Context(), RunOptions{Generate: o, Gateway: s, Stream: stream{s}, Labels: &out, Report: func(p Progress) { last = p }})
				if err != nil {
					t.Fatal(err)
				}
				repeats := 0
				for _, n := range s.seen {
					repeats += n - 1
				}
				if len(s.seen) != 3000 || sum.Events != 3000 || sum.Duplicates != repeats || sum.Published != 3000+repeats || repeats == 0 || sum.Kinds[Duplicate] != repeats {
					t.Errorf("%d ids, %d repeats, summary %+v", len(s.seen), repeats, sum)
				}
				if len(s.minted) != 9 || sum.Codes != 9 || s.batch > 1000 {
					t.Errorf("%d codes, a batch of %d", len(s.minted), s.batch)
				}
				if last != (Progress{Minted: 9, Codes: 9, Done: 3000, Events: 3000}) {
					t.Errorf("last progress %+v", last)
				}
				byType := 0
				for _, n := range sum.Stored {
					byType += n
				}
				labels := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				if byType != 3000 || len(labels) != 3000 {
					t.Errorf("%d by type, %d labels", byType, len(labels))
				}
				for _, line := range labels {
					var l label
					if err := json.Unmarshal([]byte(line), &l); err != nil || s.seen[l.ID] == 0 || (l.Kind == Duplicate) != (s.seen[l.ID] == 2) {
						t.Fatalf("label %s: %v, published %d times", line, err, s.seen[l.ID])
					}
				}
			})
		})
	}
}

func TestRunGivesUp(t *testing.T) {
	refused := errors.New("refused")
	for _, row := range []struct {
		name string
		fail func(call int) error
		want string
	}{
		{"refused at minting", func(int) error { return refused }, "mint code"},
		{"refused at publishing", func(n int) error {
			if n > 4 {
				return refused
			}
			return nil
		}, "publish"},
		{"away for too long", func(int) error { return away{errors.New("nobody there")} }, "gave up after 1m0s: nobody there"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore()
				s.fail = row.fail
				o := options(2000)
				o.Direct, o.Codes = 0, 4
				sum, err := Run(t.Context(), RunOptions{Generate: o, Gateway: s, Stream: stream{s}, Patience: time.Minute})
				if err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("error %v, want %q", err, row.want)
				}
				if sum.Events != len(s.seen) {
					t.Errorf("summary says %d, stored are %d", sum.Events, len(s.seen))
				}
			})
		})
	}
}

func TestRunKeepsItsRateAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		o := options(1000)
		o.Direct, o.Codes = 0, 4
		begin := time.Now()
		if _, err := Run(t.Context(), RunOptions{Generate: o, Gateway: s, Rate: 100}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("1000 events at 100 a second took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		sum, err := Run(ctx, RunOptions{Generate: o, Gateway: s, Rate: 100})
		if !errors.Is(err, context.DeadlineExceeded) || sum.Events < 400 || sum.Events > 600 {
			t.Errorf("stopped after 5 s with %d events: %v", sum.Events, err)
		}
	})
}

// A scan is answered before its visitor scans again, with the cookie of the
// first answer; what was not answered is sent again and said.
func TestScansAreABrowsers(t *testing.T) {
	var mu sync.Mutex
	busy, visitors, n, failed := map[string]bool{}, map[string]bool{}, 0, 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		id := fmt.Sprintf("e%d", n)
		fail := n%50 == 0
		if fail {
			failed++
		}
		c, err := r.Cookie("v")
		if err == nil {
			if !visitors[c.Value] || busy[c.Value] {
				t.Errorf("cookie %s: known %v, busy %v", c.Value, visitors[c.Value], busy[c.Value])
			}
			busy[c.Value] = true
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				delete(busy, c.Value)
			}
		}()
		if r.UserAgent() == "" || r.Header.Get("X-Forwarded-For") == "" {
			t.Error("no browser, no address")
		}
		if fail {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err != nil && r.Header.Get("Sec-Purpose") == "" && r.Method == http.MethodGet {
			mu.Lock()
			visitors[id] = true
			mu.Unlock()
			http.SetCookie(w, &http.Cookie{Name: "v", Value: id})
		}
		w.Header().Set("Huoma-Event", id)
		w.Header().Set("Huoma-Verdict", "accepted")
		w.Header().Set("Location", "https://example.com/never-followed")
		w.WriteHeader(http.StatusFound)
	}))
	defer web.Close()
	s := newStore()
	s.url = web.URL + "/s/T"
	o := options(1500)
	o.Direct, o.Codes = 1, 4
	sum, err := Run(t.Context(), RunOptions{Generate: o, Gateway: s, HTTP: web.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Events != 1500 || sum.Via[ViaScan] < 800 || sum.Answers["accepted"] != sum.Via[ViaScan] || sum.Unsure != failed || failed == 0 {
		t.Errorf("summary %+v, failed %d", sum, failed)
	}
	people, strangers := map[uint64]bool{}, 0
	for _, it := range all(o) {
		switch v := it.Visit; {
		case it.Via != ViaScan:
		case v.Visitor != 0:
			people[v.Visitor] = true
		case v.Method == http.MethodGet && !v.Prefetch:
			strangers++ // robots and unfurlers keep no cookies
		}
	}
	if len(visitors) != len(people)+strangers {
		t.Errorf("%d cookies were given to %d people and %d others", len(visitors), len(people), strangers)
	}
	if n != sum.Via[ViaScan]+failed {
		t.Errorf("%d requests for %d scans and %d failures", n, sum.Via[ViaScan], failed)
	}
	// Another server is no gateway.
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	s.url = other.URL
	if _, err := Run(t.Context(), RunOptions{Generate: o, Gateway: s}); err == nil || !strings.Contains(err.Error(), "is --gateway the address of a gateway") {
		t.Errorf("error %v", err)
	}
}
