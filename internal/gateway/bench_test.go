package gateway

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
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
		s, err := parseStored(raw)
		if err != nil {
			b.Fatal(err)
		}
		m.define(id, intern(&s.Def), now)
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
