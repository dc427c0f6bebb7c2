package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// series makes samples of one value, over ten minutes, with 100 codes and 10 000 events a minute.
func series(name string, value func(minute float64) float64) []sample {
	var out []sample
	for i := range 120 {
		m := float64(i) / 12
		out = append(out, sample{seconds: m * 60, codes: 100 * m, events: 10_000 * m, values: map[string]float64{name: value(m)}})
	}
	return out
}

func TestJudge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(of float64) float64 { return (r.Float64() - 0.5) * 2 * of }
	for name, row := range map[string]struct {
		value func(minute float64) float64
		rule  rule
		want  string
	}{
		"constant":                          {func(float64) float64 { return 40 }, rule{}, flat},
		"noise":                             {func(float64) float64 { return 40 + noise(8) }, rule{slack: 4}, flat},
		"a saw, as a heap":                  {func(m float64) float64 { return 100 + 30*math.Mod(m*7, 1) }, rule{slack: 10}, flat},
		"warming up":                        {func(m float64) float64 { return 100 * (1 - math.Exp(-2*m)) }, rule{slack: 1}, flat},
		"a goroutine a minute":              {func(m float64) float64 { return 40 + m }, rule{slack: 3}, leaks},
		"the same under noise":              {func(m float64) float64 { return 40 + m + noise(3) }, rule{slack: 3}, leaks},
		"falling":                           {func(m float64) float64 { return 40 - m }, rule{}, flat},
		"a spike at the end":                {func(m float64) float64 { return 40 + math.Floor(m/9.8)*500 }, rule{slack: 3}, flat},
		"a kilobyte a code":                 {func(m float64) float64 { return 1e6 + 1000*100*m }, rule{slack: 1e4, perCode: 1024}, proportion},
		"two":                               {func(m float64) float64 { return 1e6 + 2000*100*m }, rule{slack: 1e4, perCode: 1024}, leaks},
		"a hundred bytes an event":          {func(m float64) float64 { return 100 * 10_000 * m }, rule{slack: 1e4, perEvent: 128}, proportion},
		"as fast as before, as a log":       {func(m float64) float64 { return 5e5 * m }, rule{slack: 10, steady: true}, proportion},
		"faster and faster, unlike a log":   {func(m float64) float64 { return 5e4 * m * m }, rule{slack: 10, steady: true}, leaks},
		"a fiftieth more, of what it is":    {func(m float64) float64 { return 1000 + 4*m }, rule{share: 0.03}, proportion},
		"a step in the middle of the first": {func(m float64) float64 { return 40 + 100*math.Min(math.Floor(m/3), 1) }, rule{slack: 3}, flat},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(series("x y", row.value), []namedRule{{"* z", rule{}}, {"x y", row.rule}})
			if len(got) != 1 || got[0].Verdict != row.want {
				t.Errorf("%+v, want %s", got, row.want)
			}
		})
	}
}

func TestWhatNoRuleKnowsIsSaid(t *testing.T) {
	got := judge(series("something new", func(float64) float64 { return 1 }), rules)
	if len(got) != 1 || got[0].Verdict != leaks || !strings.Contains(got[0].Why, "rules.go") {
		t.Errorf("%+v", got)
	}
}

func TestFits(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"* heap", "gateway-1 heap", true}, {"gateway-* heap", "gateway-2 heap", true}, {"gateway-* heap", "scan-worker-1 heap", false},
		{"table * parts", "table scans parts", true}, {"table * parts", "table parts", false}, {"* fds", "gateway-1 heap", false},
	} {
		if got := fits(row.pattern, row.name); got != row.want {
			t.Errorf("fits(%q, %q) = %t", row.pattern, row.name, got)
		}
	}
}

// The day has its noon and its evening, and as much traffic as it is said to have.
func TestCurve(t *testing.T) {
	for _, hours := range []int{1, 6, 24} {
		sum := 0.0
		for h := range hours {
			sum += curve(h, hours)
		}
		if hours == 24 && (sum < 22 || sum > 26 || curve(20, 24) < 5*curve(4, 24)) {
			t.Errorf("%d hours: %f in all, %f in the evening and %f at night", hours, sum, curve(20, 24), curve(4, 24))
		}
		if sum <= 0 {
			t.Errorf("%d hours have no traffic", hours)
		}
	}
}

func TestHuman(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 12: "12", 12.34: "12.3", 9999: "9999", 23_400: "23.4 k", 5.6e6: "5.6 M", -5.6e6: "-5.6 M", 1.2e9: "1.2 G"} {
		if got := human(v); got != want {
			t.Errorf("human(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := report{Seed: 7, Events: 10, Findings: judge(series("gateway-1 goroutines", func(m float64) float64 { return 40 + 10*m }), rules), Leaks: 1}
	var text bytes.Buffer
	if err := r.print(&text); err != nil || !strings.Contains(text.String(), "gateway-1 goroutines  40") || !strings.Contains(text.String(), "leaks") {
		t.Errorf("%v\n%s", err, &text)
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"verdict":"leaks"`) {
		t.Errorf("%v %s", err, b)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-duration", "1s"}, {"-hours", "0"}, {"-events", "3"}, {"-churn", "0"}, {"-no-such"}} {
		var out, complaints bytes.Buffer
		if err := command(t.Context(), args, &out, &complaints); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%v: no error", args)
		}
	}
	var out, complaints bytes.Buffer
	err := command(t.Context(), []string{"-script", "/nowhere/production.sh"}, &out, &complaints)
	if err == nil || !strings.Contains(fmt.Sprint(err), "/nowhere/production.sh") {
		t.Errorf("without the script: %v", err)
	}
}
