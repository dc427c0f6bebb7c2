// Package chgen makes seeded commit records for the tests of what reads them: consistent totals, places and steps, with everything a
// warehouse has to get right in them. Start with New and Next. It refuses nothing and is no simulation of people.
package chgen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// Start is the time of the first event.
var Start = time.Date(2026, 1, 30, 15, 0, 0, 0, time.UTC)

// Gen makes the commit records of one partition, one after the other.
type Gen struct {
	Codes     []string
	Partition int

	rng    *rand.Rand
	now    time.Time
	step   uint64
	seq    uint64 // newest input message
	idx    int    // next place in it
	left   int    // events the message still has
	events int
	totals events.Totals
	clicks []string
	accept map[string]int64
}

// New makes a generator for a number of codes.
func New(seed uint64, codes int) *Gen {
	g := &Gen{rng: rand.New(rand.NewPCG(seed, 1)), now: Start, accept: map[string]int64{}}
	for i := range codes {
		g.Codes = append(g.Codes, fmt.Sprintf("code%08d", i))
	}
	return g
}

// Next is the next step, with n items.
func (g *Gen) Next(n int) *events.Commit {
	g.step++
	c := &events.Commit{Version: events.CommitVersion, Partition: g.Partition, Step: g.step, Owner: "w1"}
	touched := map[string]bool{}
	for range n {
		if g.left == 0 {
			g.seq += 1 + g.rng.Uint64N(3)
			g.idx, g.left = 0, 1+g.rng.IntN(6)
		}
		g.now = g.now.Add(time.Duration(g.rng.IntN(240_000)) * time.Millisecond)
		e := g.event()
		it := events.Item{Seq: g.seq, Idx: g.idx, At: g.now, Event: e}
		g.idx++
		g.left--
		switch e.Data.(type) {
		case *events.Scan:
			g.totals.Scans++
			g.judge(&it)
		case *events.Member, *events.MemberSnapshot:
			g.totals.Members++
		case *events.Conversion:
			g.totals.Conversions++
		case *events.Forged:
			g.totals.Forged++
		}
		if e.Type != events.TypeForged {
			touched[e.Subject] = true
		}
		c.Items = append(c.Items, it)
		if g.rng.IntN(40) == 0 {
			zero := 0
			c.Alerts = append(c.Alerts, &events.Event{ID: g.id("a"), Source: "huoma", Type: events.TypeAlertCapacity, Subject: g.Codes[0], Time: g.now,
				Data: &events.Alert{Code: g.Codes[0], Kind: "capacity", Reason: "crossed", Target: &zero, Percent: 80.5, Cause: []string{e.ID}}})
			g.totals.Alerts++
			c.Decisions = append(c.Decisions, &events.Event{ID: g.id("d"), Source: "huoma", Type: events.TypeDecision, Subject: g.Codes[0], Time: g.now,
				Data: &events.Decision{Code: g.Codes[0], Kind: "lock", Reason: "frequency", Rule: "visitor", Cause: []string{e.ID, "x"}}})
			g.totals.Decisions++
		}
	}
	if g.rng.IntN(10) == 0 {
		c.Dead = append(c.Dead, events.Dead{Seq: g.seq, Idx: g.idx, Reason: events.CodeTooOld})
		g.totals.Dead++
	}
	for i, id := range g.Codes {
		if touched[id] {
			c.Codes = append(c.Codes, g.view(i))
		}
	}
	c.Time = g.now
	c.Reached = events.Place{Seq: g.seq, Idx: max(g.idx-1, 0), More: g.left > 0}
	c.Totals = g.totals
	return c
}

func (g *Gen) id(kind string) string {
	g.events++
	return fmt.Sprintf("%s-%d-%d", kind, g.Partition, g.events)
}

func pick[T any](g *Gen, list ...T) T { return list[g.rng.IntN(len(list))] }

// some is what f makes, in p of 100 cases, else the zero value.
func some[T any](g *Gen, p int, f func() T) (v T) {
	if g.rng.IntN(100) < p {
		return f()
	}
	return v
}

func (g *Gen) visitor() string { return fmt.Sprintf("v%03d", g.rng.IntN(30)) }

func (g *Gen) event() *events.Event {
	e := &events.Event{ID: g.id("e"), Source: "test", Subject: pick(g, g.Codes...), Time: g.now.Add(-time.Duration(g.rng.IntN(3000)) * time.Millisecond)}
	click := func() string {
		if len(g.clicks) == 0 {
			return "none"
		}
		// Mostly a recent one, sometimes of another code.
		return g.clicks[max(0, len(g.clicks)-1-g.rng.IntN(60))]
	}
	n := g.rng.IntN(3)
	switch r := g.rng.IntN(100); {
	case r < 55:
		e.Type = events.TypeScan
		id := some(g, 70, func() string { return g.id("k") })
		if id != "" {
			g.clicks = append(g.clicks, id)
		}
		s := &events.Scan{
			Variant: g.rng.IntN(4), Tracking: fmt.Sprintf("TRACK%03d", g.rng.IntN(5)), Visitor: some(g, 85, g.visitor), ClickID: id,
			Network: "203.0.113.0/24", Country: "CN", Province: pick(g, "广东", "浙江", ""), City: pick(g, "深圳", "杭州"),
			DeviceModel: pick(g, "Mate 60", "iPhone15,2"), OS: pick(g, "Android", "iOS", "HarmonyOS"), App: "WeChat", RefererHost: "example.com",
			Answered: string(code.Accepted),
		}
		if g.rng.IntN(3) > 0 {
			s.UTM = &events.UTM{Source: pick(g, "poster", "flyer", ""), Medium: pick(g, "print", ""), Campaign: pick(g, "spring", "summer", ""), Term: "t", Content: "c"}
		}
		if g.rng.IntN(30) == 0 {
			e.Historical, e.Time = true, e.Time.AddDate(0, -g.rng.IntN(4), 0)
		}
		e.Data = s
	case r < 70:
		e.Type, e.Data = events.TypeMemberJoined, &events.Member{Target: &n, Visitor: some(g, 60, g.visitor), ClickID: some(g, 60, click)}
	case r < 73:
		e.Type, e.Data = events.TypeMemberLeft, &events.Member{Target: &n, Visitor: some(g, 60, g.visitor)}
	case r < 76:
		count := int64(g.rng.IntN(200))
		e.Type, e.Data = events.TypeMemberSnapshot, &events.MemberSnapshot{Target: &n, Count: &count}
	case r < 97:
		d := &events.Conversion{Name: pick(g, "lead", "sale", "sale", "lead", "trial"), ClickID: some(g, 60, click), Visitor: some(g, 70, g.visitor)}
		if d.ClickID == "" && d.Visitor == "" {
			d.Visitor = g.visitor()
		}
		if g.rng.IntN(2) == 0 {
			d.Value, d.Currency = events.Decimal(fmt.Sprintf("%d.%04d", g.rng.IntN(500), g.rng.IntN(10000))), pick(g, "CNY", "CNY", "CNY", "USD")
		}
		e.Type, e.Data = events.TypeConversion, d
	default:
		e.Type, e.Subject, e.Data = events.TypeForged, "forged", &events.Forged{Network: "198.51.100.0/24", Count: 1 + int64(g.rng.IntN(50))}
	}
	return e
}

func (g *Gen) judge(it *events.Item) {
	it.Verdict, it.Rule = code.Accepted, "open"
	switch r := g.rng.IntN(20); {
	case r < 2:
		it.Verdict, it.Rule = code.Preview, "head"
	case r < 3:
		it.Verdict, it.Rule = code.Duplicate, "dedupe"
	case r < 4:
		it.Verdict, it.Rule = code.Locked, "visitor"
	}
	if it.Verdict.Redirected() {
		n := g.rng.IntN(2)
		it.Target = &n
	}
	if it.Verdict == code.Accepted {
		g.accept[it.Event.Subject]++
	}
}

func (g *Gen) view(i int) code.View {
	id := g.Codes[i]
	v := code.View{
		ID: id, Tenant: "acme", Revision: 1, Name: strings.ToUpper(id), Profile: "wechat-group", Status: code.StatusActive,
		Campaign: pick(g, "base")[:4*(i%2)], Source: "shop", MintedAt: Start, ExpiresAt: Start.Add(48 * time.Hour), MaxScans: 100, Current: 1, Consumed: g.accept[id],
		Unique: 3,
		Targets: []code.TargetView{
			{N: 0, Members: 200, MembersFrom: "members", Capacity: 200, Scans: 210},
			{N: 1, Members: g.accept[id], MembersFrom: "scans", Capacity: 500, Scans: g.accept[id], PerHour: 2.5, EtaFull: g.now.Add(time.Hour).Truncate(time.Millisecond)},
		},
	}
	v.Counts.Set(code.Accepted, g.accept[id])
	if i%3 == 0 {
		v.Targets = v.Targets[:1]
		v.Targets[0].Capacity = 0
		v.Current = 0
	}
	return v
}

// Batch makes a batch of n steps of items each; seq is the sequence of the record before its first.
func (g *Gen) Batch(token string, n, items int, seq uint64) events.Batch {
	b := events.Batch{Partition: g.Partition, Token: token, At: time.Now().UTC().Truncate(time.Millisecond)}
	for i := range n {
		b.Commits = append(b.Commits, events.StoredCommit{Seq: seq + uint64(i) + 1, Commit: g.Next(items)})
	}
	return b
}
