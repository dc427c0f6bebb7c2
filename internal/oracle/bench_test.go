package oracle_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
	"github.com/huoma/huoma/internal/risk"
)

var nobody = oracle.Who{
	Visitor: func(id string) string { return id }, Class: func(string) (string, string) { return "", "" }, Network: func(s string) string { return s },
	Picture: func(string, string, time.Time) (oracle.Picture, bool) { return oracle.Picture{}, false }, Device: func(string) (string, string, string) { return "", "", "" },
}

// How many events a second the oracle decides: records of 64 scans, as a busy gateway writes them, of 1 000 codes and 50 000 visitors.
func BenchmarkScans(b *testing.B) {
	const codes, visitors, batch = 1000, 50_000, 64
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	number := 0
	record := func(list []*events.Event) events.Message {
		data, err := events.MarshalBatch(list)
		if err != nil {
			b.Fatal(err)
		}
		number++
		return events.Message{Seq: uint64(number), At: now, Subject: events.StoredSubject(0, events.KindGateway), Data: data, Header: map[string][]string{
			events.HeaderProducer: {"g"}, events.HeaderRecord: {strconv.Itoa(number)},
		}}
	}
	var input []events.Message
	for i := range codes {
		id := fmt.Sprint("c", i)
		input = append(input, record([]*events.Event{{ID: "m" + id, Source: "g", Type: events.TypeCodeMinted, Subject: id, Time: now, Data: &events.CodeData{Definition: code.Definition{
			ID: id, Revision: 1, Profile: "wecom-group", Countdown: code.CountdownNone, Targets: []code.Target{{URL: "https://example.com"}}, MintedAt: now, ChangedAt: now,
			Rules: []risk.Rule{{ID: "frequency", Scope: risk.ScopeVisitor, Limit: 5, Window: span.Span(30 * time.Second), Action: risk.ActionLock, For: span.Span(10 * time.Minute)}},
		}}}}))
	}
	p := oracle.New(0, 1, nobody)
	decide := func(m events.Message) (n int) {
		for r := p.Read(m); ; n++ {
			if _, ok := r.Next(); !ok {
				return n
			}
		}
	}
	for _, m := range input {
		decide(m)
	}
	b.ReportAllocs()
	b.ResetTimer()
	decided := 0
	for i := 0; b.Loop(); {
		b.StopTimer()
		var list []*events.Event
		for range batch {
			i++
			list = append(list, &events.Event{ID: "01M854XHQ28RF7P5EYWSZ" + strconv.Itoa(i), Source: "gateway/1", Type: events.TypeScan, Subject: fmt.Sprint("c", i*7919%codes), Time: now, Data: &events.Scan{
				Visitor: "c2blhumwg6ephzxulxnd2b6b" + strconv.Itoa(i*104729%visitors), Network: "203.0.113.0/24", Answered: "accepted", DeviceModel: "Pixel 9", OS: "Android 15", App: "Chrome",
				UserAgent: "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36", ClickID: "01M854XHQ28RF7P5EYWSZC0EW2",
			}})
		}
		now = now.Add(2 * time.Millisecond)
		m := record(list)
		b.StartTimer()
		decided += decide(m)
	}
	b.ReportMetric(float64(decided)/b.Elapsed().Seconds(), "events/s")
}
