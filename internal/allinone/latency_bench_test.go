package allinone_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// percentile is the nearest-rank p-th percentile of list.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[(len(list)*p+99)/100-1]
}

func report(b *testing.B, what string, list []time.Duration) {
	b.Helper()
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(percentile(list, p).Microseconds())/1000, fmt.Sprintf("%s-p%d-ms", what, p))
	}
}

// BenchmarkVisible is the time from a scan's answer to its row in the
// warehouse, at 200 scans a second: each op is one second of traffic. Embedded
// servers, every write synced.
func BenchmarkVisible(b *testing.B) {
	in := start(b, b.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/", "capacity": 1 << 30}}})
	const rate = 200
	var mu sync.Mutex
	answered, visible := map[string]time.Time{}, map[string]time.Time{}
	see := func() int {
		list := in.query("SELECT event_id FROM scans WHERE code_id = '" + code.ID + "'")
		now := time.Now()
		ids := strings.Fields(list)
		for _, id := range ids {
			if _, ok := visible[id]; !ok {
				visible[id] = now
			}
		}
		return len(ids)
	}
	var wg sync.WaitGroup
	sent := 0
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for b.Loop() {
		for range rate {
			<-tick.C
			sent++
			wg.Go(func() {
				resp := in.person().scan(code.ScanURL)
				mu.Lock()
				defer mu.Unlock()
				answered[resp.Header.Get("Huoma-Event")] = time.Now()
			})
			if sent%10 == 0 {
				see()
			}
		}
	}
	wg.Wait()
	until(b, "rows", sent, see)
	var took []time.Duration
	for id, at := range answered {
		took = append(took, visible[id].Sub(at))
	}
	report(b, "visible", took)
}

// BenchmarkLocked is the time from the answer to a visitor's fifth scan to the
// first refusal: each op is one visitor.
func BenchmarkLocked(b *testing.B) {
	in := start(b, b.TempDir())
	code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/"}}})
	var took []time.Duration
	for b.Loop() {
		visitor := in.person()
		for range 5 {
			visitor.scan(code.ScanURL)
		}
		fifth := time.Now()
		for visitor.scan(code.ScanURL).StatusCode != http.StatusTooManyRequests {
			if time.Since(fifth) > within {
				b.Fatalf("not refused after %s", within)
			}
		}
		took = append(took, time.Since(fifth))
	}
	report(b, "locked", took)
}

// BenchmarkWarned is the time from the eighth of ten members to the capacity
// warning on NATS: each op is one group.
func BenchmarkWarned(b *testing.B) {
	in := start(b, b.TempDir())
	nc, alerts := in.listen("huoma.alert.capacity.>")
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		code := in.mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/", "capacity": 10}}})
		for i := range 8 {
			e := cloudEvent("huoma.member.joined.v1", fmt.Sprintf("%d-%d", n, i), code.ID, `{"target":0}`)
			if err := nc.Publish("huoma.in.member."+code.ID, []byte(e)); err != nil {
				b.Fatal(err)
			}
		}
		eighth := time.Now()
		for len(alerts()) < n {
			if time.Since(eighth) > within {
				b.Fatalf("no warning after %s", within)
			}
		}
		took = append(took, time.Since(eighth))
	}
	report(b, "warned", took)
}
