package main

import (
	"math"
	"slices"
	"strings"
)

// sample is everything that was read at one moment.
type sample struct {
	seconds float64            // since the traffic began
	codes   float64            // minted so far
	events  float64            // stored so far
	values  map[string]float64 // by name, such as "gateway-1 goroutines"
}

// rule says how much a value may grow over half a run.
type rule struct {
	slack    float64 // whatever happens: noise, caches, what is allocated in blocks
	perCode  float64 // for each new code
	perEvent float64 // for each new event
	share    float64 // of its size in the middle
	steady   bool    // it is proportional to events: the growth of the first half, for each event, and a quarter more
	why      string
}

// finding is one value with its verdict.
type finding struct {
	Name    string  `json:"name"`
	First   float64 `json:"first"`
	Middle  float64 `json:"middle"`
	Last    float64 `json:"last"`
	Grew    float64 `json:"grew"` // by the trend of the second half
	May     float64 `json:"may"`
	Verdict string  `json:"verdict"` // flat, in proportion or leaks
	Why     string  `json:"why,omitempty"`
}

const (
	flat       = "flat"
	proportion = "in proportion"
	leaks      = "leaks"
)

// judge holds every value that was sampled to its rule. A value whose name no rule knows is a leak of the rules and is said to be one.
func judge(samples []sample, rules []namedRule) []finding {
	names := map[string]bool{}
	for _, s := range samples {
		for name := range s.values {
			names[name] = true
		}
	}
	var out []finding
	for name := range names {
		var list []sample
		for _, s := range samples {
			if _, ok := s.values[name]; ok {
				list = append(list, s)
			}
		}
		out = append(out, judgeOne(name, list, ruleOf(rules, name)))
	}
	slices.SortFunc(out, func(a, b finding) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func judgeOne(name string, list []sample, r *rule) finding {
	at := func(i int) float64 { return list[i].values[name] }
	half := len(list) / 2
	f := finding{Name: name, First: at(0), Middle: at(half), Last: at(len(list) - 1)}
	if r == nil {
		f.Verdict, f.Why = leaks, "nothing says how it may grow: give it a rule in internal/soak/rules.go"
		return f
	}
	f.Why = r.why
	second := list[half:]
	f.Grew = trend(second, name) * (second[len(second)-1].seconds - second[0].seconds)
	codes, events := second[len(second)-1].codes-second[0].codes, second[len(second)-1].events-second[0].events
	f.May = r.slack + r.perCode*codes + r.perEvent*events + r.share*f.Middle
	if before := list[half].events - list[0].events; r.steady && before > 0 {
		f.May += 1.25 * math.Max(f.Middle-f.First, 0) / before * events
	}
	switch {
	case f.Grew > f.May:
		f.Verdict = leaks
	case f.Grew > r.slack:
		f.Verdict = proportion
	default:
		f.Verdict = flat
	}
	return f
}

// trend is the median of the slopes between all pairs of samples (Theil and Sen): a few samples in the middle of something do not
// bend it.
func trend(list []sample, name string) float64 {
	var slopes []float64
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if dt := list[j].seconds - list[i].seconds; dt > 0 {
				slopes = append(slopes, (list[j].values[name]-list[i].values[name])/dt)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	n := len(slopes)
	return (slopes[(n-1)/2] + slopes[n/2]) / 2
}

// namedRule is the rule of all values whose name fits: words of it, each with an optional * at its end.
type namedRule struct {
	name string
	rule
}

func ruleOf(rules []namedRule, name string) *rule {
	for i := range rules {
		if fits(rules[i].name, name) {
			return &rules[i].rule
		}
	}
	return nil
}

func fits(pattern, name string) bool {
	want, have := strings.Fields(pattern), strings.Fields(name)
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if stem, open := strings.CutSuffix(want[i], "*"); open && strings.HasPrefix(have[i], stem) || want[i] == have[i] {
			continue
		}
		return false
	}
	return true
}
