package simulate

import (
	"container/heap"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/huoma/huoma/internal/events"
)

// Kind is the truth about an event: who really caused it.
type Kind string

// The kinds of events.
const (
	Person    Kind = "person"    // somebody scanning, joining, leaving, buying
	Abuser    Kind = "abuser"    // one visitor scanning one code in a burst
	Preview   Kind = "preview"   // a link unfurler, a prefetch, a HEAD
	Bot       Kind = "bot"       // a robot that says so
	Duplicate Kind = "duplicate" // a person's event which its producer published twice
)

// Via is how an event reaches the installation.
type Via string

// The ways there are.
const (
	ViaBatch Via = "batch" // POST /v1/events
	ViaScan  Via = "scan"  // GET or HEAD /s/{token}, as a browser would
	ViaNATS  Via = "nats"  // published to huoma.in.<kind>.<code>
)

// Options say what to generate. Events, Start and Span are required.
type Options struct {
	Events int       // distinct events, at least 1
	Seed   uint64    // what happens
	Run    string    // which run of it: part of every event id
	Start  time.Time // time of the first event
	Span   time.Duration
	Codes  int     // 0: chosen by Events
	Direct float64 // share of people who scan through the gateway, 0 to 1
	Stream float64 // share of the other events that go by NATS, 0 to 1

	// History is the share of scans that are imported from the four weeks
	// before Start, 0 to 1: they are marked as historical and cause nothing.
	History float64
}

// Item is one event and how it is to be published.
type Item struct {
	N     int // from 0
	Code  int // index into Codes
	Kind  Kind
	Via   Via
	Event *events.Event // Subject is empty: whoever minted the code knows its id; ID too when Via is ViaScan
	Visit Visit         // when Via is ViaScan
}

// Visit is one HTTP scan.
type Visit struct {
	Method    string // GET or HEAD
	Agent     string
	Prefetch  bool   // sends Sec-Purpose: prefetch
	Address   string // for X-Forwarded-For
	Visitor   uint64 // whose cookies it carries; 0: nobody's
	RefererOf string // host it comes from
}

// Generator makes the events of one run. It is not safe for concurrent use.
type Generator struct {
	o       Options
	rng     *rand.Rand
	ids     *rand.Rand
	worlds  []world
	popular []float64
	rhythm  rhythm
	day     rhythm // one day from Start's hour on
	now     time.Time
	n       int
	people  uint64
	later   queue
	burst   []Item
	order   int
}

// person is somebody with a device, in a place.
type person struct {
	id            uint64
	device, place int
	net           int
	direct        bool // scans through the gateway, not a producer
	openid        bool // the producer knows their OpenID
}

// New makes a generator. It panics when Events is below 1 or Span not positive.
func New(o Options) *Generator {
	if o.Events < 1 || o.Span <= 0 {
		panic("simulate: Events and Span must be positive")
	}
	if o.Codes == 0 {
		o.Codes = codesFor(o.Events)
	}
	g := &Generator{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x68756f6d61)), rhythm: newRhythm(o.Start.UTC(), o.Span), day: newRhythm(o.Start.UTC(), 24*time.Hour)}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", o.Seed, o.Run))
	g.ids = rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])))
	g.worlds, g.popular = makeWorlds(g.rng, o.Codes, o.Events)
	return g
}

// Codes are the codes to mint, in the order Item.Code counts them.
func (g *Generator) Codes() []CodeSpec {
	out := make([]CodeSpec, len(g.worlds))
	for i := range g.worlds {
		out[i] = g.worlds[i].spec
	}
	return out
}

// Next returns the next event, and false after Options.Events of them.
func (g *Generator) Next() (Item, bool) {
	if g.n >= g.o.Events {
		return Item{}, false
	}
	g.now = g.rhythm.at((float64(g.n) + g.rng.Float64()) / float64(g.o.Events)).Truncate(time.Millisecond)
	it := g.next()
	it.N = g.n
	g.n++
	return it, true
}

func (g *Generator) next() Item {
	if len(g.burst) > 0 {
		it := g.burst[0]
		g.burst = g.burst[1:]
		return it
	}
	for len(g.later) > 0 && !g.later[0].due.After(g.now) {
		p := heap.Pop(&g.later).(planned)
		if it, ok := p.make(p.due); ok {
			return it
		}
	}
	c := sort.SearchFloat64s(g.popular, g.rng.Float64())
	switch r := g.rng.Float64(); {
	case r < 0.035:
		return g.preview(c)
	case r < 0.055:
		return g.robot(c)
	case r < 0.0585:
		return g.abuse(c)
	}
	if g.o.History > 0 && g.rng.Float64() < g.o.History {
		return g.imported(c)
	}
	return g.scan(c)
}

// imported is a scan of some time in the four weeks before the run.
func (g *Generator) imported(c int) Item {
	who := g.newPerson()
	who.direct = false
	day := g.o.Start.UTC().Add(-time.Duration(1+g.rng.IntN(28)) * 24 * time.Hour)
	at := g.day.at(g.rng.Float64()).Sub(g.day.start)
	it := g.scanItem(c, who, day.Add(at).Truncate(time.Millisecond))
	it.Event.Historical = true
	return it
}

// scan is a person scanning, and plans what may come of it.
func (g *Generator) scan(c int) Item {
	w := &g.worlds[c]
	who := g.caller(w)
	w.scans++
	it := g.scanItem(c, who, g.now)
	if w.room() < 0 || w.capped() {
		return it
	}
	visitor, click := "", ""
	if s, ok := it.Event.Data.(*events.Scan); ok && !who.direct {
		visitor, click = s.Visitor, s.ClickID
	}
	if g.rng.Float64() < w.convert {
		g.plan(g.between(15*time.Second, 8*time.Minute), func(at time.Time) (Item, bool) { return g.join(c, visitor, click, at) })
	}
	if it.Via == ViaScan {
		return it
	}
	// A producer that was offline publishes what happened later.
	if g.rng.Float64() < 0.012 {
		late := it
		g.plan(g.between(5*time.Minute, 3*time.Hour), func(time.Time) (Item, bool) { return late, true })
		return g.next()
	}
	return g.maybeTwice(it)
}

// caller is who scans w next: often somebody new, sometimes somebody again, now
// and then somebody who scanned another code before.
func (g *Generator) caller(w *world) person {
	if n := len(w.recent); n > 0 && g.rng.Float64() < 0.22 {
		if c := &w.recent[g.rng.IntN(n)]; c.scans < mostScans {
			c.scans++
			return c.who
		}
	}
	who, scans := g.newPerson(), 1
	if other := &g.worlds[g.rng.IntN(len(g.worlds))]; other != w && len(other.recent) > 0 && g.rng.Float64() < 0.12 {
		who, scans = other.recent[g.rng.IntN(len(other.recent))].who, mostScans
		for i := range w.recent {
			if w.recent[i].who.id == who.id { // known here as well: a scan too many might lock them
				who = g.newPerson()
				break
			}
		}
	}
	const keep = 48
	if len(w.recent) < keep {
		w.recent = append(w.recent, caller{who, scans})
	} else {
		w.recent[w.next] = caller{who, scans}
		w.next = (w.next + 1) % keep
	}
	return who
}

func (g *Generator) newPerson() person {
	g.people++
	return person{
		id: g.people, device: deviceOdds.pick(g.rng), place: placeOdds.pick(g.rng), net: g.rng.IntN(networksPerPlace),
		direct: g.rng.Float64() < g.o.Direct, openid: g.rng.Float64() < 0.3,
	}
}

// scanItem is one scan of a person or abuser at a moment.
func (g *Generator) scanItem(c int, who person, at time.Time) Item {
	w := &g.worlds[c]
	agent := devices[who.device].agent
	prefix, address := network(who.place, who.net, byte(1+who.id%250))
	variant := 1 + g.rng.IntN(max(len(w.spec.Variants), 1))
	it := Item{Code: c, Kind: Person, Via: g.via()}
	s := &events.Scan{
		Variant: variant, UserAgent: agent, Network: prefix, Country: "CN",
		Province: places[who.place].province, City: places[who.place].city, RefererHost: refererOf(agent),
	}
	if who.direct {
		s.Variant = 1 // the mint's own picture
		it.Via = ViaScan
		it.Visit = Visit{Method: "GET", Agent: agent, Address: address, Visitor: who.id, RefererOf: s.RefererHost}
		it.Event = g.event(events.TypeScan, at, s, false)
		return it
	}
	if who.openid {
		s.OpenID = g.openID(who.id)
	} else {
		s.Visitor = g.visitor(who.id)
	}
	s.ClickID = g.id(at)
	if g.rng.Float64() < 0.3 {
		s.UTM = &events.UTM{Source: w.spec.Source, Medium: w.spec.Medium, Campaign: w.spec.Campaign, Content: w.spec.Content}
	}
	it.Event = g.event(events.TypeScan, at, s, true)
	return it
}

// preview is a link unfurler, a browser's prefetch or a HEAD probe.
func (g *Generator) preview(c int) Item {
	who := g.newPerson()
	who.direct = who.direct || g.o.Direct > 0 && g.rng.Float64() < 0.5 // only a request can be a HEAD or a prefetch
	it := g.scanItem(c, who, g.now)
	agent := previewAgents[g.rng.IntN(len(previewAgents))]
	it.Kind = Preview
	if it.Via != ViaScan {
		s := it.Event.Data.(*events.Scan)
		s.UserAgent, s.Visitor, s.OpenID, s.ClickID = agent, "", "", ""
		return it
	}
	it.Visit.Visitor = 0
	switch g.rng.IntN(3) {
	case 0:
		it.Visit.Method = "HEAD"
	case 1:
		it.Visit.Prefetch = true
	default:
		it.Visit.Agent = agent
	}
	return it
}

// robot is a program that says so.
func (g *Generator) robot(c int) Item {
	it := g.scanItem(c, g.newPerson(), g.now)
	it.Kind = Bot
	agent := robotAgents[g.rng.IntN(len(robotAgents))]
	it.Visit.Visitor, it.Visit.Agent, it.Visit.RefererOf = 0, agent, ""
	s := it.Event.Data.(*events.Scan)
	s.UserAgent, s.Visitor, s.OpenID, s.ClickID, s.RefererHost, s.UTM = agent, "", "", "", "", nil
	return it
}

// abuse is one visitor scanning one code again and again, 8 to 24 times.
func (g *Generator) abuse(c int) Item {
	who := g.newPerson()
	at := g.now
	for range 8 + g.rng.IntN(17) {
		it := g.scanItem(c, who, at)
		it.Kind = Abuser
		if it.Via == ViaNATS {
			it.Via = ViaBatch // in one place, so that the burst stays one
		}
		g.burst = append(g.burst, it)
		at = at.Add(time.Duration(200+g.rng.IntN(900)) * time.Millisecond)
	}
	return g.next()
}

func (g *Generator) join(c int, visitor, click string, at time.Time) (Item, bool) {
	w := &g.worlds[c]
	target := w.room()
	if target < 0 {
		return Item{}, false
	}
	w.members[target]++
	it := g.fact(c, events.TypeMemberJoined, at, &events.Member{Target: &target, Visitor: visitor, ClickID: click})
	if g.rng.Float64() < 0.12 {
		g.plan(g.between(10*time.Minute, 9*time.Hour), func(at time.Time) (Item, bool) {
			w.members[target]--
			return g.fact(c, events.TypeMemberLeft, at, &events.Member{Target: &target, Visitor: visitor, ClickID: click}), true
		})
	}
	if g.rng.Float64() < 0.008 {
		g.plan(g.between(time.Minute, time.Hour), func(at time.Time) (Item, bool) {
			count := w.members[target]
			return g.fact(c, events.TypeMemberSnapshot, at, &events.MemberSnapshot{Target: &target, Count: &count}), true
		})
	}
	if click != "" && g.rng.Float64() < 0.3 {
		g.plan(g.between(2*time.Minute, 4*time.Hour), func(at time.Time) (Item, bool) { return g.lead(c, visitor, click, at), true })
	}
	return it, true
}

func (g *Generator) lead(c int, visitor, click string, at time.Time) Item {
	it := g.fact(c, events.TypeConversion, at, &events.Conversion{ClickID: click, Visitor: visitor, Name: "lead"})
	if g.rng.Float64() < 0.35 {
		g.plan(g.between(10*time.Minute, 10*time.Hour), func(at time.Time) (Item, bool) {
			cents := 990 + g.rng.IntN(90_000)
			value := events.Decimal(fmt.Sprintf("%d.%02d", cents/100, cents%100))
			return g.fact(c, events.TypeConversion, at, &events.Conversion{ClickID: click, Visitor: visitor, Name: "sale", Value: value, Currency: "CNY"}), true
		})
	}
	return it
}

// fact is a member event or a conversion.
func (g *Generator) fact(c int, typ string, at time.Time, data events.Data) Item {
	return g.maybeTwice(Item{Code: c, Kind: Person, Via: g.via(), Event: g.event(typ, at.Truncate(time.Millisecond), data, true)})
}

// maybeTwice makes one event in a hundred one that is published twice.
func (g *Generator) maybeTwice(it Item) Item {
	if g.rng.Float64() < 0.01 {
		it.Kind = Duplicate
	}
	return it
}

func (g *Generator) via() Via {
	if g.rng.Float64() < g.o.Stream {
		return ViaNATS
	}
	return ViaBatch
}

func (g *Generator) event(typ string, at time.Time, data events.Data, named bool) *events.Event {
	e := &events.Event{Source: "huoma/simulate", Type: typ, Time: at.UTC(), Data: data}
	if named {
		e.ID = g.id(at)
	}
	return e
}

// id is a ULID of the moment.
func (g *Generator) id(at time.Time) string {
	var u ulid.ULID
	_ = u.SetTime(uint64(at.UnixMilli())) // fails after the year 10889
	binary.BigEndian.PutUint64(u[6:], g.ids.Uint64())
	binary.BigEndian.PutUint16(u[14:], uint16(g.ids.Uint32()))
	return u.String()
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// visitor is the hash a producer knows a person by.
func (g *Generator) visitor(id uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "visitor %d %d", g.o.Seed, id))
	return lowerBase32.EncodeToString(sum[:16])
}

// openID has the shape of a WeChat OpenID: 28 characters that start with o.
func (g *Generator) openID(id uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "openid %d %d", g.o.Seed, id))
	return "o" + lowerBase32.EncodeToString(sum[:])[:27]
}

func (g *Generator) between(from, to time.Duration) time.Duration {
	return from + time.Duration(g.rng.Float64()*float64(to-from))
}

// planned is something that will happen when the simulated time comes.
type planned struct {
	due   time.Time
	order int
	make  func(at time.Time) (Item, bool)
}

func (g *Generator) plan(after time.Duration, make func(at time.Time) (Item, bool)) {
	g.order++
	heap.Push(&g.later, planned{g.now.Add(after), g.order, make})
}

// queue is a heap of planned things, the earliest first.
type queue []planned

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].order < q[j].order
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(planned)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// odds are cumulated weights, to pick by.
type odds []float64

func oddsOf[T any](list []T, weight func(T) float64) odds {
	out, total := make(odds, len(list)), 0.0
	for i, x := range list {
		total += weight(x)
		out[i] = total
	}
	return out
}

func (o odds) pick(rng *rand.Rand) int {
	return min(sort.SearchFloat64s(o, rng.Float64()*o[len(o)-1]), len(o)-1)
}

var (
	deviceOdds = oddsOf(devices, func(d device) float64 { return d.weight })
	placeOdds  = oddsOf(places, func(p place) float64 { return p.weight })
)

// refererOf is the host an app's browser names, where it names one.
func refererOf(agent string) string {
	switch {
	case strings.Contains(agent, "wxwork"):
		return "work.weixin.qq.com"
	case strings.Contains(agent, "MicroMessenger"):
		return "weixin.qq.com"
	}
	return ""
}
