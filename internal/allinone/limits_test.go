package allinone_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/listen"
	"github.com/huoma/huoma/internal/role"
)

// The values in docs/limits.md are the code's.
func TestDocumentedLimits(t *testing.T) {
	b, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)<!-- limits: (\w+) -->\n(.*?)<!-- end of limits -->`).FindAllStringSubmatch(string(b), -1) {
		rows := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(m[2]), "\n")[2:] {
			cells := strings.Split(line, " | ")
			rows[strings.TrimPrefix(cells[0], "| ")] = cells[1]
		}
		documented[m[1]] = rows
	}
	bytes := func(n int64) string {
		if n%(1<<20) == 0 {
			return fmt.Sprintf("%d MiB", n>>20)
		}
		return fmt.Sprintf("%d KiB", n>>10)
	}
	listener := func(l listen.Limits, connections int) map[string]any {
		l = l.WithDefaults()
		return map[string]any{
			"connections": connections, "time for a header": l.ReadHeader, "time for a request with its body": l.Read, "time for an answer": l.Write, "idle connection": l.Idle,
			"vanished peer": l.Vanished, "request line and header": bytes(int64(l.HeaderBytes)), "header fields": l.HeaderFields,
		}
	}
	g := gateway.DefaultLimits()
	ofGateway := listener(g.Listener, listen.DefaultConnections)
	for name, value := range map[string]any{
		"body of an admin call": bytes(g.Body), "body of events and of a mint of many": bytes(g.BatchBody), "all bodies together": bytes(g.Bodies),
		"events in a batch": events.MaxBatch, "content encoding": "none", "time to store": g.Store, "time to store a flush, as a target": g.FlushTarget,
		"events waiting to be stored": g.QueuedEvents, "their bytes": bytes(int64(g.QueuedBytes)), "alerts kept for `GET /v1/alerts`": g.Alerts,
		"alerts a reader of the stream may be behind": gateway.ReaderBehind, "time for a reader of the stream to take what is sent": gateway.WriteWithin,
	} {
		ofGateway[name] = value
	}
	ofEngine := listener(chembed.HTTPLimits, chembed.HTTPLimits.Connections)
	for _, name := range []string{"time for a request with its body", "time for an answer", "vanished peer"} { // settings of a query; and loopback does not vanish
		delete(ofEngine, name)
	}
	ofEngine["requests at a time"] = chembed.MaxHTTPRequests
	places := map[string]any{
		"scans": fmt.Sprintf("%d to %d, as many as the log keeps up with", g.LeastScans, g.MostScans), "events, mints": fmt.Sprintf("%d, fewer while flushes take long, one while scans are refused", gateway.BulkPlaces),
		"other admin calls, pictures, renewal links": "8 a processor, at least 32", "streams of alerts": g.Streams, "screens with live pictures": g.Screens, "`/healthz`, `/readyz`": "always let in", "`/metrics`": 16,
	}
	for section, values := range map[string]map[string]any{
		"gateway": ofGateway, "health": listener(role.HealthLimits, role.HealthLimits.Connections), "clickhouse": ofEngine, "places": places,
	} {
		for name, value := range values {
			want := fmt.Sprint(value)
			if strings.HasSuffix(want, "m0s") {
				want = strings.TrimSuffix(want, "0s")
			}
			if got := documented[section][name]; got != want {
				t.Errorf("%s: %s is %q in docs/limits.md, want %q", section, name, got, want)
			}
		}
		for name := range documented[section] {
			if _, ok := values[name]; !ok {
				t.Errorf("%s: docs/limits.md has the limit %q, which this test does not know", section, name)
			}
		}
	}
}
