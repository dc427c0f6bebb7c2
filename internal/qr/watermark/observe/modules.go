package observe

import (
	"math"
	"slices"
)

// modules are the mean brightnesses of a symbol's modules.
type modules struct {
	value []float64 // NaN: outside the picture
	light []bool
}

// sample takes the mean over the middle part of each module, part of its width.
func sample(g *plane, h homography, n int, part float64) modules {
	m := modules{value: make([]float64, n*n), light: make([]bool, n*n)}
	a, b := h.apply(point{0, 0}), h.apply(point{float64(n), float64(n)})
	pixels := math.Hypot(b.x-a.x, b.y-a.y) / float64(n) / math.Sqrt2
	taps := int(math.Min(math.Max(math.Ceil(pixels*part), 2), 24))
	for y := range n {
		for x := range n {
			sum := 0.0
			for i := range taps {
				for j := range taps {
					p := h.apply(point{
						float64(x) + 0.5 + part*((float64(j)+0.5)/float64(taps)-0.5),
						float64(y) + 0.5 + part*((float64(i)+0.5)/float64(taps)-0.5),
					})
					if !g.inside(p.x, p.y) {
						sum = math.NaN()
						break
					}
					sum += g.at(p.x, p.y)
				}
			}
			m.value[y*n+x] = sum / float64(taps*taps)
		}
	}
	// A module is light if it is nearer to the light ones around it than to the dark ones: within 4 modules there
	// are always both but for a solid badge.
	for y := range n {
		for x := range n {
			lo, hi := math.Inf(1), math.Inf(-1)
			for v := max(0, y-4); v <= min(n-1, y+4); v++ {
				for u := max(0, x-4); u <= min(n-1, x+4); u++ {
					if w := m.value[v*n+u]; w == w {
						lo, hi = min(lo, w), max(hi, w)
					}
				}
			}
			m.light[y*n+x] = m.value[y*n+x] > (lo+hi)/2
		}
	}
	return m
}

// residuals is what is left of each module's brightness when its place and the modules around it are accounted for, in
// units of evidence.
func residuals(g *plane, s symbol, h homography) []int8 {
	n := s.modules
	m := sample(g, h, n, 0.6)
	out := make([]int8, n*n)
	rest := make([]float64, n*n)
	for _, light := range []bool{false, true} {
		var of []int
		for i, v := range m.value {
			if m.light[i] == light && v == v {
				of = append(of, i)
			}
		}
		regress(m, n, of, rest)
	}
	scale := 0.0
	for _, v := range rest {
		scale += math.Abs(v)
	}
	if scale == 0 {
		return out
	}
	scale = 24 / (scale / float64(len(rest)))
	for i, v := range rest {
		out[i] = int8(math.Round(math.Min(math.Max(v*scale, -127), 127)))
	}
	return out
}

// around is what a module's brightness is explained by: the modules within two of it.
var around = func() (list [][2]int) {
	for dy := -2; dy <= 2; dy++ {
		for dx := -2; dx <= 2; dx++ {
			if dx != 0 || dy != 0 {
				list = append(list, [2]int{dx, dy})
			}
		}
	}
	return list
}()

// regress fits the brightness of the modules in of, of one class, and puts what is left, weighed, into rest; outliers stay 0.
func regress(m modules, n int, of []int, rest []float64) {
	params := 6 + len(around)
	if len(of) < 3*params {
		return
	}
	features := func(i int, row []float64) {
		x, y := i%n, i/n
		u, v := 2*float64(x)/float64(n)-1, 2*float64(y)/float64(n)-1
		row[0], row[1], row[2], row[3], row[4], row[5] = 1, u, v, u*u, u*v, v*v
		for k, d := range around {
			p, q := x+d[0], y+d[1]
			row[6+k] = 0
			if p < 0 || q < 0 || p >= n || q >= n || m.light[q*n+p] { // the quiet zone is light
				row[6+k] = 1
			}
		}
	}
	values := make([]float64, 0, len(of))
	for _, i := range of {
		values = append(values, m.value[i])
	}
	centre := median(values)
	in := make([]bool, len(of))
	for k, i := range of { // to begin with: what is not far off, as under a badge
		in[k] = math.Abs(m.value[i]-centre) < 40
	}
	row := make([]float64, params)
	left := make([]float64, len(of))
	sigma := 0.0
	for range 4 {
		var e equations
		e.init(params)
		for k, i := range of {
			if in[k] {
				features(i, row)
				e.add(row, m.value[i], 1)
			}
		}
		x, ok := e.solve()
		if !ok {
			return
		}
		values = values[:0]
		for k, i := range of {
			features(i, row)
			left[k] = m.value[i]
			for j, f := range row {
				left[k] -= f * x[j]
			}
			if in[k] {
				values = append(values, math.Abs(left[k]))
			}
		}
		sigma = math.Max(1.4826*median(values), 0.3)
		for k := range of {
			in[k] = math.Abs(left[k]) < 4*sigma
		}
	}
	for k, i := range of {
		if in[k] {
			rest[i] = math.Min(math.Max(left[k], -2.5*sigma), 2.5*sigma) / (sigma * sigma)
		}
	}
}

// median reorders list.
func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}
