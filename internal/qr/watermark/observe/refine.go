package observe

import "math"

// refine fits the homography to all edges between dark and light modules: for each, where along its normal the brightness
// crosses the middle. Edges that seem elsewhere by more than a third of a module are those of something else. Blooming moves
// edges of both directions alike, and so moves nothing in the sum.
func refine(g *plane, s symbol) homography {
	h := s.to
	for range 4 {
		grid := sample(g, h, s.modules, 0.3)
		next, ok := fit(g, h, s.modules, grid)
		if !ok {
			return h
		}
		h = next
	}
	return h
}

// reach is how far from where it should be an edge is looked for, in modules.
const (
	reach = 0.45
	taps  = 15
)

func fit(g *plane, h homography, n int, m modules) (homography, bool) {
	// Coordinates near 1 keep the normal equations well conditioned.
	half := float64(n) / 2
	mid := h.apply(point{half, half})
	corner := h.apply(point{float64(n), float64(n)})
	size := math.Hypot(corner.x-mid.x, corner.y-mid.y)
	if !(size > 0) || math.IsInf(size, 0) {
		return h, false
	}
	var e equations
	e.init(8)
	edges := 0
	edge := func(u, v, du, dv float64, from, to float64) {
		level, sign := (from+to)/2, 1.0
		if to < from {
			sign = -1
		}
		// The crossing that is nearest to the middle.
		var profile [taps]float64
		for i := range profile {
			t := reach * (2*float64(i)/(taps-1) - 1)
			p := h.apply(point{u + t*du, v + t*dv})
			if !g.inside(p.x, p.y) {
				return
			}
			profile[i] = sign * (g.at(p.x, p.y) - level)
		}
		best := math.Inf(1)
		for i := range taps - 1 {
			if profile[i] < 0 && profile[i+1] >= 0 {
				at := float64(i) + profile[i]/(profile[i]-profile[i+1])
				if t := reach * (2*at/(taps-1) - 1); math.Abs(t) < math.Abs(best) {
					best = t
				}
			}
		}
		if math.Abs(best) > 0.34 {
			return
		}
		p, q := h.apply(point{u - du/2, v - dv/2}), h.apply(point{u + du/2, v + dv/2})
		long := math.Hypot(q.x-p.x, q.y-p.y)
		if !(long > 0) {
			return
		}
		nx, ny := (q.x-p.x)/long, (q.y-p.y)/long
		at := h.apply(point{u + best*du, v + best*dv})
		off := nx*(at.x-mid.x)/size + ny*(at.y-mid.y)/size
		a, b := u/half-1, v/half-1
		e.add([]float64{nx * a, nx * b, nx, ny * a, ny * b, ny, -off * a, -off * b}, off, 1)
		edges++
	}
	for y := range n {
		for x := range n {
			here, class := m.value[y*n+x], m.light[y*n+x]
			if x+1 < n && m.light[y*n+x+1] != class {
				edge(float64(x+1), float64(y)+0.5, 1, 0, here, m.value[y*n+x+1])
			}
			if y+1 < n && m.light[(y+1)*n+x] != class {
				edge(float64(x)+0.5, float64(y+1), 0, 1, here, m.value[(y+1)*n+x])
			}
		}
	}
	if edges < 4*n {
		return h, false
	}
	x, ok := e.solve()
	if !ok {
		return h, false
	}
	fitted := homography{8: 1}
	copy(fitted[:], x)
	before := homography{1 / half, 0, -1, 0, 1 / half, -1, 0, 0, 1}
	after := homography{size, 0, mid.x, 0, size, mid.y, 0, 0, 1}
	return after.times(fitted).times(before), true
}
