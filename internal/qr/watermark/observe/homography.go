package observe

import "math"

type point struct{ x, y float64 }

// homography maps the plane by a projective map; the last number is 1 unless it was composed.
type homography [9]float64

func scaled(by float64) homography { return homography{by, 0, 0, 0, by, 0, 0, 0, 1} }

// times is first g, then h.
func (h homography) times(g homography) (out homography) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				out[3*i+j] += h[3*i+k] * g[3*k+j]
			}
		}
	}
	return out
}

func (h homography) apply(p point) point {
	w := h[6]*p.x + h[7]*p.y + h[8]
	return point{(h[0]*p.x + h[1]*p.y + h[2]) / w, (h[3]*p.x + h[4]*p.y + h[5]) / w}
}

// fourPoints is the homography that maps from onto to, false if there is none.
func fourPoints(from, to [4]point) (homography, bool) {
	var e equations
	e.init(8)
	for i, f := range from {
		t := to[i]
		e.add([]float64{f.x, f.y, 1, 0, 0, 0, -f.x * t.x, -f.y * t.x}, t.x, 1)
		e.add([]float64{0, 0, 0, f.x, f.y, 1, -f.x * t.y, -f.y * t.y}, t.y, 1)
	}
	x, ok := e.solve()
	if !ok {
		return homography{}, false
	}
	h := homography{8: 1}
	copy(h[:], x)
	return h, true
}

// equations are linear least squares by normal equations.
type equations struct {
	n int
	a []float64 // n rows of n + 1
}

func (e *equations) init(n int) { e.n, e.a = n, make([]float64, n*(n+1)) }

// add adds the equation row·x = value with a weight.
func (e *equations) add(row []float64, value, weight float64) {
	for i, r := range row {
		if r == 0 {
			continue
		}
		r *= weight
		to := e.a[i*(e.n+1) : (i+1)*(e.n+1)]
		for j, s := range row {
			to[j] += r * s
		}
		to[e.n] += r * value
	}
}

// solve eliminates by Gauss and Jordan. A column that says nothing of its own gets 0. False: not a number.
func (e *equations) solve() ([]float64, bool) {
	n, w := e.n, e.n+1
	x := make([]float64, n)
	used := make([]int, 0, n) // the row of each column, -1 for none
	row := 0
	for col := range n {
		best := row
		for r := row; r < n; r++ {
			if math.Abs(e.a[r*w+col]) > math.Abs(e.a[best*w+col]) {
				best = r
			}
		}
		if row >= n || math.Abs(e.a[best*w+col]) < 1e-9 {
			used = append(used, -1)
			continue
		}
		for j := range w {
			e.a[row*w+j], e.a[best*w+j] = e.a[best*w+j], e.a[row*w+j]
		}
		for r := range n {
			if r == row {
				continue
			}
			f := e.a[r*w+col] / e.a[row*w+col]
			if f == 0 {
				continue
			}
			for j := col; j < w; j++ {
				e.a[r*w+j] -= f * e.a[row*w+j]
			}
		}
		used = append(used, row)
		row++
	}
	for col, r := range used {
		if r >= 0 {
			x[col] = e.a[r*w+n] / e.a[r*w+col]
			if math.IsNaN(x[col]) || math.IsInf(x[col], 0) {
				return nil, false
			}
		}
	}
	return x, true
}
