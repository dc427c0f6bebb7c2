package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

// BenchmarkMirror reports what a code costs in memory, and a decision in time.
func BenchmarkMirror(b *testing.B) {
	const codes = 100_000
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	m := newMirror()
	for i := range codes {
		id := token.CodeID(uint64(i) * 0x9e3779b97f4a7 & (1<<60 - 1))
		url := fmt.Sprintf("https://example.com/group/%d", i)
		q := &codeRequest{Targets: &[]targetRequest{{URL: &url}}}
		profile, name, campaign := "wechat-group", fmt.Sprintf("spring-%06d", i), fmt.Sprintf("spring-%d", i%50)
		q.Profile, q.Name, q.Campaign = &profile, &name, &campaign
		def, err := q.newDefinition(policy{}, id.String(), now)
		if err != nil {
			b.Fatal(err)
		}
		raw, err := (&stored{Version: storedVersion, Event: "e", Source: "s", Type: "t", Def: def}).marshal()
		if err != nil {
			b.Fatal(err)
		}
		s, err := parseStored(id.String(), raw)
		if err != nil {
			b.Fatal(err)
		}
		m.define(id, m.intern(&s.Def), now)
		m.view(id, code.New(s.Def).View(), 0)
	}
	perCode := float64(heap()-before) / codes
	who := risk.Subject{Visitor: "v", Network: "203.0.113.0/24"}
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		if _, ok := m.decide(token.CodeID(i%codes*0x9e3779b97f4a7&(1<<60-1)), "", "", who, "red", now); !ok {
			b.Fatal("a code is missing")
		}
		i++
	}
	b.ReportMetric(perCode, "B/code")
}

// instant is a log that stores at once.
type instant struct{ Backend }

func (instant) AppendRecords(context.Context, []events.Record) error { return nil }
func (instant) Connected() bool                                      { return true }

// discarded is an answer that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}

// BenchmarkScan is what the gateway itself does for a scan, from the parsed
// request to the answer: all but net/http and the log.
func BenchmarkScan(b *testing.B) {
	ring, err := token.NewKeyring(rand.Reader, time.Unix(1_700_000_000, 0))
	if err != nil {
		b.Fatal(err)
	}
	g, err := New(Options{Addr: "127.0.0.1:0", APIKey: "bench-key-that-is-long-enough", Keyring: ring, Backend: instant{}, Partitions: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close(b.Context())
	go g.flusher.run()
	defer g.flusher.stop()
	id := token.CodeID(12345)
	url, profile := "https://example.com/group", "wecom-group"
	q := &codeRequest{Profile: &profile, Targets: &[]targetRequest{{URL: &url}}}
	def, err := q.newDefinition(policy{}, id.String(), g.now())
	if err != nil {
		b.Fatal(err)
	}
	g.mirror.define(id, g.mirror.intern(&def), g.now())
	g.behind.Store(0)
	text, err := ring.Seal(token.Picture{Code: id, Variant: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := httptest.NewRequest(http.MethodGet, "/s/"+text, nil)
		r.Header.Set("User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN")
		r.Header.Set("Cookie", "hm_v=AAAAAAAAAAAAAAAAAAAAAA")
		w := &discarded{make(http.Header)}
		for pb.Next() {
			clear(w.header)
			g.handler.ServeHTTP(w, r)
			if w.header.Get("Huoma-Verdict") != "accepted" {
				b.Error("not accepted")
				return
			}
		}
	})
}
