// Package plan draws what a run does from its seed: the shape of the installation, and which fault befalls whom, when and for how
// long. The same seed and size give the same plan on every machine; what a machine cannot do is marked and never drawn anew.
//
// Start with New. The package starts nothing and reads no clock.
package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Shape is what an installation is made of.
type Shape string

// The shapes there are.
const (
	Single   Shape = "single"     // one NATS server that syncs always, each role a process
	Cluster  Shape = "cluster"    // three NATS servers and three copies of everything, each role a process
	AllInOne Shape = "all-in-one" // huoma up
)

// Shapes are all shapes, in the order in which seeds take them.
var Shapes = []Shape{AllInOne, Cluster, Single}

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Kill        Kind = "kill"        // SIGKILL; started again after For
	Pause       Kind = "pause"       // SIGSTOP; SIGCONT after For
	InFlight    Kind = "in-flight"   // what a process says is held, then it is killed and what was on its way is lost with it; started again after For
	MidInsert   Kind = "mid-insert"  // ClickHouse is killed while an insert is on its way to it; started again after For
	Leader      Kind = "leader"      // the server that leads a stream is killed; started again after For
	Minority    Kind = "minority"    // one server of three is cut off from the others for For
	Majority    Kind = "majority"    // two servers of three are killed; started again after For
	DiskFull    Kind = "disk-full"   // no byte more fits on the disk of a NATS server for For
	EngineFull  Kind = "engine-full" // the same of ClickHouse; drawn only when asked for, see docs/chaos.md
	DiskSlow    Kind = "disk-slow"   // every sync takes Much longer for For
	Cut         Kind = "cut"         // connections of a process end and no new one is let through for For
	Delay       Kind = "delay"       // what passes takes Much longer for For
	Hold        Kind = "hold"        // connections live, and one direction carries nothing for For
	Duplicate   Kind = "duplicate"   // messages of a process arrive twice for For
	LoseAcks    Kind = "lose-acks"   // acknowledgements to a process get lost for For
	Clock       Kind = "clock"       // the wall clock of a process jumps by Much, and back after For
	StaleOwner  Kind = "stale-owner" // an owner of partitions stands still for For, longer than it takes others to take over, and goes on
	RollingStop Kind = "rolling"     // everything is restarted, one process after the other, each ready before the next
	Upgrade     Kind = "upgrade"     // the schema is brought from the previous version to the newest, and its workers with it
)

// Kinds are all that a seed may draw.
var Kinds = []Kind{Kill, Pause, InFlight, MidInsert, Leader, Minority, Majority, DiskFull, EngineFull, DiskSlow, Cut, Delay, Hold, Duplicate, LoseAcks, Clock, StaleOwner, RollingStop, Upgrade}

// Lanes: the faults of one lane follow one another, the lanes run beside each other.
const (
	Servers = iota // NATS, ClickHouse
	Roles          // everything else
	lanes
)

// Fault is one fault of a plan.
type Fault struct {
	N      int           `json:"n"`     // from 1
	Lane   int           `json:"lane"`  // Servers or Roles
	After  int           `json:"after"` // events acknowledged before it is injected
	Kind   Kind          `json:"kind"`
	Target string        `json:"target,omitempty"`  // a process; for links whose
	To     string        `json:"to,omitempty"`      // for links: nats or clickhouse; for a leader: its stream
	Answer bool          `json:"answers,omitempty"` // for Hold: what is held is what the server says
	For    time.Duration `json:"for,omitempty"`
	Much   time.Duration `json:"much,omitempty"`
	Not    string        `json:"left_out,omitempty"` // why it is not injected here
}

// String is a line of the plan.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%3d  after %8d  %-11s", f.N, f.After, f.Kind)
	if f.Target != "" {
		fmt.Fprintf(&b, " %s", f.Target)
	}
	switch {
	case f.Kind == Hold && f.Answer:
		fmt.Fprintf(&b, " from %s", f.To)
	case f.To != "":
		fmt.Fprintf(&b, " to %s", f.To)
	}
	if f.Much != 0 {
		fmt.Fprintf(&b, " by %s", f.Much)
	}
	if f.For != 0 {
		fmt.Fprintf(&b, " for %s", f.For)
	}
	if f.Not != "" {
		fmt.Fprintf(&b, "  LEFT OUT: %s", f.Not)
	}
	return b.String()
}

// Options say how large a run is. Events and Faults are required.
type Options struct {
	Seed   uint64
	Events int
	Faults int           // at least; every kind that the shape knows is drawn once at least when there is room for it
	Shape  Shape         // "": the seed chooses
	Only   []Kind        // nil: all
	Short  time.Duration // most that a fault lasts; 0: as long as usual
	Can    func(Kind) string
}

// Plan is what a run does.
type Plan struct {
	Seed       uint64  `json:"seed"`
	Shape      Shape   `json:"shape"`
	Partitions int     `json:"partitions"`
	Events     int     `json:"events"`
	Upgrade    bool    `json:"upgrade,omitempty"` // it begins with the previous schema
	Faults     []Fault `json:"faults"`
}

// roster is who there is to be hurt, by shape.
type roster struct {
	gateways, scanners, writers, nats, clickhouse []string
}

func rosterOf(s Shape) roster {
	if s == AllInOne {
		return roster{gateways: []string{"huoma"}, clickhouse: []string{"engine"}}
	}
	r := roster{gateways: names("gateway", 2), scanners: names("scan-worker", 3), writers: names("analytics-worker", 2), nats: []string{"nats-1"}, clickhouse: []string{"clickhouse"}}
	if s == Cluster {
		r.nats = names("nats", 3)
	}
	return r
}

func names(kind string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s-%d", kind, i+1))
	}
	return list
}

// New draws the plan of a seed.
func New(o Options) Plan {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6368616f73))
	p := Plan{Seed: o.Seed, Shape: o.Shape, Events: o.Events, Partitions: []int{2, 4, 8}[rng.IntN(3)]}
	if p.Shape == "" {
		p.Shape = Shapes[o.Seed%uint64(len(Shapes))]
	}
	if p.Shape == AllInOne {
		p.Partitions = 1
	}
	deck := deckOf(p.Shape, o.Only)
	if len(deck) == 0 {
		return p
	}
	d := &drawer{rng: rng, shape: p.Shape, who: rosterOf(p.Shape), short: o.Short}
	var drawn []Fault
	var rest []Kind
	for before := -1; len(drawn) < o.Faults; {
		if len(rest) == 0 {
			if len(drawn) == before {
				break // nothing of the deck may be drawn again
			}
			before = len(drawn)
			rest = slices.Clone(deck)
			rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		}
		k := rest[0]
		rest = rest[1:]
		if k == Upgrade && p.Upgrade || k == RollingStop && d.rolled >= 1+o.Faults/40 {
			continue // once is enough
		}
		f := d.draw(k)
		if k == Upgrade {
			p.Upgrade = true
		}
		drawn = append(drawn, f)
	}
	// Even steps with some play, after the first hundredth and before the last.
	for i := range drawn {
		f := &drawn[i]
		f.N = i + 1
		step := float64(o.Events) * 0.97 / float64(len(drawn))
		f.After = int(float64(o.Events)*0.01 + step*(float64(i)+0.6*rng.Float64()))
		if o.Can != nil {
			f.Not = o.Can(f.Kind)
		}
		if f.Kind == Upgrade && f.Not != "" {
			p.Upgrade = false
		}
	}
	p.Faults = drawn
	return p
}

// deckOf are the kinds a shape knows, in a fixed order; what hurts most often
// in the field is there more than once.
func deckOf(s Shape, only []Kind) (deck []Kind) {
	all := []Kind{Kill, Kill, Kill, Kill, Pause, Pause, InFlight, InFlight, InFlight, MidInsert, DiskFull, DiskSlow, Cut, Cut, Delay, Hold, Duplicate, Duplicate, LoseAcks, LoseAcks, Clock, StaleOwner, RollingStop, Upgrade}
	switch s {
	case Cluster:
		all = append(all, Leader, Leader, Minority, Majority)
	case AllInOne:
		all = []Kind{Kill, Kill, Kill, Kill, Kill, Pause, DiskFull, DiskSlow, Cut, Delay, Hold, Duplicate, LoseAcks, Clock, RollingStop}
	}
	if s != AllInOne && slices.Contains(only, EngineFull) {
		all = append(all, EngineFull)
	}
	for _, k := range all {
		if only == nil || slices.Contains(only, k) {
			deck = append(deck, k)
		}
	}
	return deck
}

// Draw of one fault after the other.
type drawer struct {
	rng    *rand.Rand
	shape  Shape
	who    roster
	short  time.Duration
	rolled int
}

func (d *drawer) pick(lists ...[]string) string {
	all := slices.Concat(lists...)
	return all[d.rng.IntN(len(all))]
}

// span is a duration from a to b, in steps of 50 ms.
func (d *drawer) span(a, b time.Duration) time.Duration {
	s := a + time.Duration(d.rng.Int64N(int64(b-a)+1))
	if d.short > 0 {
		s = min(s, d.short)
	}
	return s.Truncate(50 * time.Millisecond)
}

func (d *drawer) draw(k Kind) Fault {
	f := Fault{Kind: k, Lane: Roles}
	w := d.who
	servers := slices.Concat(w.nats, w.clickhouse)
	onServers := func() {
		if slices.Contains(servers, f.Target) {
			f.Lane = Servers
		}
	}
	// A link is that of a process to NATS or to ClickHouse, or that of all
	// processes of a kind; that of the traffic's own producers is one too.
	link := func() {
		f.Target = d.pick(w.gateways, w.scanners, w.writers, []string{"gateways", "scan-workers", "analytics-workers", "producers"})
		if d.shape == AllInOne {
			f.Target = "producers"
		}
		f.To = "nats"
		if strings.HasPrefix(f.Target, "analytics") && d.rng.IntN(2) == 0 {
			f.To = "clickhouse"
		}
	}
	switch k {
	case Kill:
		f.Target, f.For = d.pick(w.gateways, w.scanners, w.writers, servers), d.span(0, 4*time.Second)
		onServers()
	case Pause:
		f.Target, f.For = d.pick(w.gateways, w.scanners, w.writers, servers), d.span(500*time.Millisecond, 6*time.Second)
		onServers()
	case InFlight:
		f.Target, f.To, f.For = d.pick(w.gateways, w.scanners, w.writers), "nats", d.span(0, 3*time.Second)
		if strings.HasPrefix(f.Target, "analytics") && d.rng.IntN(3) > 0 {
			f.To = "clickhouse"
		}
	case MidInsert:
		f.Target, f.For, f.Lane = w.clickhouse[0], d.span(0, 3*time.Second), Servers
	case Leader:
		f.Target, f.To, f.For, f.Lane = "its leader", []string{"HUOMA_EVENTS", "HUOMA_EVENTS", "HUOMA_DECISIONS"}[d.rng.IntN(3)], d.span(8*time.Second, 14*time.Second), Servers
	case Minority:
		f.Target, f.For, f.Lane = d.pick(w.nats), d.span(3*time.Second, 10*time.Second), Servers
	case Majority:
		i := d.rng.IntN(3)
		f.Target, f.For, f.Lane = w.nats[i]+","+w.nats[(i+1)%3], d.span(2*time.Second, 8*time.Second), Servers
		if d.rng.IntN(2) == 0 {
			f.Target = strings.Join(w.nats, ",") // all three
		}
	case DiskFull:
		f.Target, f.For, f.Lane = "huoma", d.span(time.Second, 4*time.Second), Roles
		if d.shape != AllInOne {
			f.Target, f.Lane = d.pick(w.nats), Servers
		}
	case EngineFull:
		f.Target, f.For, f.Lane = w.clickhouse[0], d.span(time.Second, 4*time.Second), Servers
	case DiskSlow:
		f.Target, f.For, f.Much, f.Lane = "huoma", d.span(2*time.Second, 6*time.Second), d.span(50*time.Millisecond, 400*time.Millisecond), Roles
		if d.shape != AllInOne {
			f.Target, f.Lane = d.pick(w.nats), Servers
		}
	case Cut:
		link()
		f.For = d.span(0, 5*time.Second)
	case Delay:
		link()
		f.For, f.Much = d.span(2*time.Second, 6*time.Second), d.span(20*time.Millisecond, 300*time.Millisecond)
	case Hold:
		link()
		f.For, f.Answer = d.span(time.Second, 7*time.Second), d.rng.IntN(2) == 0
	case Duplicate, LoseAcks:
		link()
		f.To = "nats"
		f.For = d.span(2*time.Second, 6*time.Second)
	case Clock:
		f.Target, f.For = d.pick(w.gateways, w.scanners, w.writers, servers), d.span(2*time.Second, 8*time.Second)
		if f.Target == "engine" {
			f.Target = "huoma"
		}
		f.Much = time.Duration(1+d.rng.IntN(30)) * time.Minute
		if d.rng.IntN(2) == 0 {
			f.Much = -time.Duration(10+d.rng.IntN(200)) * time.Second // less than what an event may be ahead
		}
		onServers()
	case StaleOwner:
		f.Target, f.For = d.pick(w.scanners), d.span(6*time.Second, 9*time.Second)
		if d.short > 0 {
			f.For = max(f.For, 6*time.Second)
		}
	case RollingStop:
		d.rolled++
		f.Target = "everything"
	case Upgrade:
		f.Target = "analytics workers"
	}
	return f
}

// ByLane are the faults of a lane, in order.
func (p Plan) ByLane(lane int) (list []Fault) {
	for _, f := range p.Faults {
		if f.Lane == lane {
			list = append(list, f)
		}
	}
	return list
}

// Lanes is how many lanes there are.
const Lanes = lanes

// String is the plan, a line a fault.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d  shape %s  partitions %d  events %d  faults %d", p.Seed, p.Shape, p.Partitions, p.Events, len(p.Faults))
	if p.Upgrade {
		b.WriteString("  begins with the previous schema")
	}
	b.WriteString("\n")
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "%s\n", f)
	}
	return b.String()
}
