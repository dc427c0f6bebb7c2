package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Row is one result: ours beside the bare part.
type Row struct {
	Section string             `json:"section"`
	Name    string             `json:"name"`
	Unit    string             `json:"unit"`
	Ours    float64            `json:"ours"`
	Bare    float64            `json:"bare,omitempty"`
	Ratio   float64            `json:"ratio,omitempty"`  // median of the rounds' ours/bare
	Spread  float64            `json:"spread,omitempty"` // highest of the rounds' ratios less the lowest
	Rounds  int                `json:"rounds,omitempty"`
	CPU     map[string]float64 `json:"cpu_us,omitempty"` // microseconds of CPU a unit, by process; "bare …" are the other side's
	Bound   string             `json:"bound,omitempty"`
	OK      *bool              `json:"ok,omitempty"` // whether the bound is kept

	bound *bound
}

// judge holds the row against its bound.
func (r *Row) judge() {
	i := slices.IndexFunc(bounds, func(b bound) bool { return b.Section == r.Section && b.Name == r.Name })
	if i < 0 {
		return
	}
	r.bound = &bounds[i]
	r.Bound = r.bound.String()
	ok := r.bound.keeps(r)
	r.OK = &ok
}

// compared is one side by side measurement, in rounds.
type compared struct {
	ours, bare []float64
}

func (c *compared) add(ours, bare float64) {
	c.ours, c.bare = append(c.ours, ours), append(c.bare, bare)
}

// row makes the result of the rounds.
func (c *compared) row(section, name, unit string, cpu map[string]float64) Row {
	ratios := make([]float64, len(c.ours))
	for i := range ratios {
		ratios[i] = c.ours[i] / c.bare[i]
	}
	return Row{
		Section: section, Name: name, Unit: unit, Ours: median(c.ours), Bare: median(c.bare), Ratio: median(ratios),
		Spread: slices.Max(ratios) - slices.Min(ratios), Rounds: len(ratios), CPU: cpu,
	}
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// spent adds up CPU a unit, by process.
type spent struct {
	cpu   map[string]float64 // seconds
	units map[string]float64
}

func (s *spent) add(who string, cpu, units float64) {
	if s.cpu == nil {
		s.cpu, s.units = map[string]float64{}, map[string]float64{}
	}
	s.cpu[who] += cpu
	s.units[who] += units
}

func (s *spent) each() map[string]float64 {
	out := make(map[string]float64, len(s.cpu))
	for who, cpu := range s.cpu {
		out[who] = math.Round(cpu/s.units[who]*1e8) / 100
	}
	return out
}

// printer writes rows as they come.
type printer struct {
	out  io.Writer
	json bool
	head bool
}

func (p *printer) machine(m machine) error {
	if p.json {
		return p.encode(map[string]machine{"machine": m})
	}
	_, err := fmt.Fprintln(p.out, m)
	return err
}

func (p *printer) encode(v any) error {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false) // for people too
	return e.Encode(v)
}

func (p *printer) row(r Row) error {
	if p.json {
		return p.encode(r)
	}
	if !p.head {
		p.head = true
		if _, err := fmt.Fprintf(p.out, "%-58s %12s %12s %7s %7s  %-12s %s\n", "", "ours", "bare", "ratio", "spread", "bound", "CPU µs a unit"); err != nil {
			return err
		}
	}
	c := r.cells()
	_, err := fmt.Fprintf(p.out, "%-58s %12s %12s %7s %7s  %-12s %s\n", "("+r.Section+") "+c[1], c[2], c[3], c[4], c[5], c[6], c[7])
	return err
}

// cells are a row as people read it: section, name with unit, ours, bare, ratio, spread, bound, CPU.
func (r *Row) cells() [8]string {
	c := [8]string{r.Section, r.Name + ", " + r.Unit, number(r.Ours), "", "", "", "", ""}
	if r.Bare != 0 {
		c[3], c[4] = number(r.Bare), fmt.Sprintf("%.2f", r.Ratio)
	}
	if r.Rounds > 1 && r.Bare != 0 {
		c[5] = fmt.Sprintf("%.2f", r.Spread)
	}
	if r.OK != nil {
		c[6] = r.Bound
		if !*r.OK {
			c[6] += " MISSED"
		}
	}
	var cpu []string
	for _, who := range slices.SortedFunc(maps.Keys(r.CPU), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(strings.Fields(a)), len(strings.Fields(b))), cmp.Compare(a, b))
	}) {
		cpu = append(cpu, who+" "+number(r.CPU[who]))
	}
	c[7] = strings.Join(cpu, ", ")
	return c
}

// number writes what people can compare: three significant digits, and all those before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + " " + s[i:]
		}
		return s
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
