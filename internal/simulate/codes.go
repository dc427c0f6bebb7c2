package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// CodeSpec is one code to mint, in the spelling of POST /v1/codes.
type CodeSpec struct {
	Name     string        `json:"name"`
	Profile  string        `json:"profile"`
	Targets  []TargetSpec  `json:"targets"`
	Campaign string        `json:"campaign"`
	Source   string        `json:"source"`
	Medium   string        `json:"medium"`
	Content  string        `json:"content"`
	Owner    string        `json:"owner"`
	MaxScans int64         `json:"max_scans,omitempty"`
	Validity string        `json:"validity,omitempty"`
	Renewal  string        `json:"renewal_every,omitempty"`
	Variants []VariantSpec `json:"variants,omitempty"`
}

// TargetSpec is one target of a CodeSpec; exactly one of URL and Picture is set.
type TargetSpec struct {
	URL      string `json:"url,omitempty"`
	Picture  string `json:"picture,omitempty"`
	Capacity int64  `json:"capacity,omitempty"`
}

// VariantSpec is one rendering of an experiment.
type VariantSpec struct {
	Name string `json:"name"`
	FG   string `json:"fg,omitempty"`
}

// world is a code with what the generator knows of its life.
type world struct {
	spec    CodeSpec
	convert float64  // share of scans that join
	members []int64  // by target
	scans   int64    // persons' scans so far
	recent  []caller // people who scanned lately
	next    int      // place in recent to fill
}

// caller is a person with how often they scanned one code.
type caller struct {
	who   person
	scans int
}

// mostScans is how often one person scans one code: below the default lockout
// of five, since a run may press a day into seconds of the broker's time.
const mostScans = 3

// room is the first target with room, or -1: where the platform would lead to.
func (w *world) room() int {
	for i, t := range w.spec.Targets {
		if t.Capacity == 0 || w.members[i] < t.Capacity {
			return i
		}
	}
	return -1
}

// capped reports whether the code's scans are used up.
func (w *world) capped() bool { return w.spec.MaxScans > 0 && w.scans >= w.spec.MaxScans }

// codesFor is how many codes a run of n events has unless it is told: enough
// for a long tail, few enough for the busy ones to fill their groups.
func codesFor(n int) int { return min(max(n/400, 6), 500) }

// makeWorlds plans the codes and the cumulated popularity of each, the last is
// 1. Popularity is Zipf-like: the busiest tenth of the codes gets most scans.
func makeWorlds(rng *rand.Rand, codes, events int) ([]world, []float64) {
	out := make([]world, codes)
	share := make([]float64, codes)
	total := 0.0
	for i := range share {
		share[i] = 1 / math.Pow(float64(i+1), 1.07)
		total += share[i]
	}
	for i := range out {
		share[i] /= total
		out[i] = makeWorld(rng, i, share[i]*float64(events))
	}
	for i := 1; i < codes; i++ {
		share[i] += share[i-1]
	}
	share[codes-1] = 1
	return out, share
}

// makeWorld plans the code of one rank, which expects about that many events.
func makeWorld(rng *rand.Rand, rank int, expect float64) world {
	c := campaigns[rng.IntN(len(campaigns))]
	spec := CodeSpec{
		Name: fmt.Sprintf("%s-%04d", c.name, rank+1), Profile: "wecom-group",
		Campaign: c.name, Source: c.source, Medium: c.medium, Content: c.content, Owner: fmt.Sprintf("operator-%d", 1+rng.IntN(12)),
	}
	// The small profiles allow a hundred scans: they are for the tail. Below the
	// busiest third, some of them run into their cap, as in life.
	if expect < 400 {
		switch p := rng.Float64(); {
		case p < 0.35:
			spec.Profile, spec.MaxScans = "wechat-group", 100
		case p < 0.6:
			spec.Profile, spec.MaxScans = "wechat-static", 100
		case p < 0.65:
			spec.Profile = "miniprogram"
		}
		// A few run out within minutes, so that a run of some length has
		// reminders, renewals overdue and expired codes.
		if soon := rng.Float64() < 0.25; soon && spec.Profile == "wechat-group" {
			spec.Renewal = "90s"
		} else if soon && spec.Profile == "wechat-static" {
			spec.Validity = "2m"
		}
	}
	w := world{convert: c.convert * (0.7 + 0.6*rng.Float64())}
	groups := 1 + rng.IntN(3)
	joins := expect * 0.7 * w.convert
	for g := range groups {
		t := TargetSpec{URL: fmt.Sprintf("https://example.com/%s/%04d/group-%d", c.name, rank+1, g+1)}
		if rng.Float64() < 0.15 {
			t = TargetSpec{Picture: fmt.Sprintf("https://example.com/%s/%04d/group-%d.png", c.name, rank+1, g+1)}
		}
		// From far too small to comfortable: warnings, rotations and full codes.
		t.Capacity = int64(min(max(joins*(0.3+1.4*rng.Float64())/float64(groups), 10), 2000))
		switch spec.Profile {
		case "wechat-group", "wechat-static":
			t.Capacity = min(t.Capacity, 200)
		case "miniprogram":
			t.Capacity = 0 // it leads into a program, not a group
		}
		spec.Targets = append(spec.Targets, t)
	}
	if rng.Float64() < 0.25 {
		for v, name := range []string{"classic", "warm", "bold"}[:2+rng.IntN(2)] {
			spec.Variants = append(spec.Variants, VariantSpec{Name: name, FG: []string{"#000000", "#7a1f1f", "#123a6b"}[v]})
		}
	}
	w.spec, w.members = spec, make([]int64, len(spec.Targets))
	return w
}
