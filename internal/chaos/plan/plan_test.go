package plan

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSameSeedSamePlan(t *testing.T) {
	for seed := range uint64(50) {
		o := Options{Seed: seed, Events: 2_000_000, Faults: 54}
		if a, b := New(o), New(o); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d:\n%s\n%s", seed, a, b)
		}
	}
	if a, b := New(Options{Seed: 1, Events: 100, Faults: 9, Shape: Single}), New(Options{Seed: 2, Events: 100, Faults: 9, Shape: Single}); reflect.DeepEqual(a.Faults, b.Faults) {
		t.Error("two seeds have the same faults")
	}
}

// What a machine cannot do is marked, and nothing else changes by it.
func TestLeftOutIsMarked(t *testing.T) {
	o := Options{Seed: 3, Events: 100_000, Faults: 40, Shape: Cluster}
	all := New(o)
	o.Can = func(k Kind) string {
		if k == DiskFull || k == Upgrade {
			return "not here"
		}
		return ""
	}
	some := New(o)
	if some.Upgrade {
		t.Error("it begins with a schema that is never upgraded")
	}
	marked := 0
	for i, f := range some.Faults {
		if (f.Not != "") != (f.Kind == DiskFull || f.Kind == Upgrade) {
			t.Errorf("%s", f)
		}
		if f.Not != "" {
			marked++
			if !strings.Contains(f.String(), "LEFT OUT: not here") {
				t.Errorf("the line does not say so: %s", f)
			}
		}
		if f.Not = ""; f != all.Faults[i] {
			t.Errorf("fault %d is %s, want %s", i+1, f, all.Faults[i])
		}
	}
	if marked == 0 {
		t.Error("nothing was left out")
	}
}

func TestPlansOfTheLongForm(t *testing.T) {
	shapes := map[Shape]int{}
	for seed := range uint64(60) {
		p := New(Options{Seed: seed, Events: 2_000_000, Faults: 54})
		shapes[p.Shape]++
		if len(p.Faults) < 50 {
			t.Errorf("seed %d has %d faults", seed, len(p.Faults))
		}
		who := rosterOf(p.Shape)
		known := slices.Concat(who.gateways, who.scanners, who.writers, who.nats, who.clickhouse,
			[]string{"gateways", "scan-workers", "analytics-workers", "producers", "everything", "its leader", "analytics workers"})
		seen := map[Kind]bool{}
		last := [lanes]int{}
		for i, f := range p.Faults {
			seen[f.Kind] = true
			if f.N != i+1 || f.After < last[f.Lane] || f.After > p.Events || f.Lane != Servers && f.Lane != Roles {
				t.Errorf("seed %d: %s after one at %d of lane %d", seed, f, last[f.Lane], f.Lane)
			}
			last[f.Lane] = f.After
			for name := range strings.SplitSeq(f.Target, ",") {
				if !slices.Contains(known, name) {
					t.Errorf("seed %d: there is no %q in %s: %s", seed, name, p.Shape, f)
				}
			}
			if f.For < 0 || f.For > 20*time.Second {
				t.Errorf("seed %d: %s", seed, f)
			}
			if f.Kind == Clock && (f.Much == 0 || f.Much < -4*time.Minute) {
				t.Errorf("seed %d: events would be refused as being ahead: %s", seed, f)
			}
			if f.Kind == StaleOwner && f.For < 5*time.Second {
				t.Errorf("seed %d: nobody takes over within %s", seed, f.For)
			}
		}
		for _, k := range deckOf(p.Shape, nil) {
			if !seen[k] {
				t.Errorf("seed %d, %s: no %s", seed, p.Shape, k)
			}
		}
		if p.Upgrade != seen[Upgrade] {
			t.Errorf("seed %d: upgrade %v", seed, p.Upgrade)
		}
		if got := len(p.ByLane(Servers)) + len(p.ByLane(Roles)); got != len(p.Faults) {
			t.Errorf("seed %d: the lanes have %d faults of %d", seed, got, len(p.Faults))
		}
		if lines := strings.Count(p.String(), "\n"); lines != len(p.Faults)+1 {
			t.Errorf("seed %d: %d lines", seed, lines)
		}
	}
	for _, s := range Shapes {
		if shapes[s] == 0 {
			t.Errorf("no seed has the shape %s", s)
		}
	}
}

func TestShapeAndKindsAsked(t *testing.T) {
	p := New(Options{Seed: 9, Events: 1000, Faults: 20, Shape: Cluster, Only: []Kind{Leader, Kill}})
	if p.Shape != Cluster || len(p.Faults) != 20 {
		t.Errorf("%s", p)
	}
	for _, f := range p.Faults {
		if f.Kind != Leader && f.Kind != Kill {
			t.Errorf("%s", f)
		}
	}
	// What may be drawn once only, however many are asked for.
	if p := New(Options{Seed: 9, Events: 1000, Faults: 20, Shape: Single, Only: []Kind{Upgrade}}); len(p.Faults) != 1 {
		t.Errorf("%s", p)
	}
	if p := New(Options{Seed: 9, Events: 1000, Faults: 20, Shape: Single, Only: []Kind{Leader}}); len(p.Faults) != 0 {
		t.Errorf("one server has no leader to lose: %s", p)
	}
	if p := New(Options{Seed: 9, Events: 1000, Faults: 30, Shape: Single, Short: time.Second, Only: []Kind{Pause, Cut, Hold}}); slices.ContainsFunc(p.Faults, func(f Fault) bool { return f.For > time.Second }) {
		t.Errorf("longer than a second: %s", p)
	}
}
