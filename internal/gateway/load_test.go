package gateway_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
)

// BenchmarkScans sends scans over loopback to a gateway whose log syncs every
// write, from as many connections as -cpu and parallelism give.
func BenchmarkScans(b *testing.B) {
	server := natstest.New(b, natstest.WithSync())
	conn, err := natsjs.Connect(b.Context(), natsjs.Options{URL: server.URL(), Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Ensure(b.Context(), natsjs.Config{Partitions: 1}); err != nil {
		b.Fatal(err)
	}
	h := newGateway(b, conn, func(o *gateway.Options) { o.Partitions = 1 })
	c := h.mint(`"max_scans":1000000000,"targets":[{"url":"https://example.com/a","capacity":1000000000}]`)
	address := h.url + "/s/" + c["token"].(string)
	many := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 512},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), "GET", address, nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("User-Agent", iPhone)
			resp, err := many.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusFound {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}
