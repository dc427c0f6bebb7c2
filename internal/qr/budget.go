package qr

import (
	"image"
	"math"
)

// A budget counts the codewords which drawings cover, block by block. Half of what error correction repairs may be
// spent; the other half is for dirt, creases and bad light.
type budget struct {
	*layout
	touched []bool
	spent   []int
	limit   int // of each block
}

func newBudget(l *layout) *budget {
	return &budget{layout: l, touched: make([]bool, len(l.block)), spent: make([]int, eccBlocks[l.level][l.version]), limit: correctable(l.version, l.level) / 2}
}

// free says whether r lies within the symbol and on no function pattern.
func (b *budget) free(r image.Rectangle) bool {
	if !r.In(image.Rect(0, 0, b.n, b.n)) {
		return false
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if b.function[y*b.n+x] {
				return false
			}
		}
	}
	return true
}

// cost is what covering r would add, and how much the worst block would then have spent.
func (b *budget) cost(r image.Rectangle) (codewords, worst int) {
	after := make([]int, len(b.spent))
	copy(after, b.spent)
	var fresh []int16
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if c := b.codeword[y*b.n+x]; c >= 0 && !b.touched[c] {
				b.touched[c] = true
				fresh = append(fresh, c)
				after[b.block[c]]++
			}
		}
	}
	for _, c := range fresh {
		b.touched[c] = false
	}
	for _, n := range after {
		worst = max(worst, n)
	}
	return len(fresh), worst
}

// spend covers r.
func (b *budget) spend(r image.Rectangle) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if c := b.codeword[y*b.n+x]; c >= 0 && !b.touched[c] {
				b.touched[c] = true
				b.spent[b.block[c]]++
			}
		}
	}
}

// centred finds the cheapest place for w×h modules about the middle, and false where none is free of function
// patterns and within the limit. Half a module off the middle is not seen; two are, and more so to the side, and are worth some
// codewords. Where the middle has an alignment pattern the place is above or below it.
func (b *budget) centred(w, h int) (best image.Rectangle, worst int, ok bool) {
	for _, reach := range []float64{2, float64(b.n) / 4} {
		score := math.Inf(1)
		seen := false
		for y := 9; y+h <= b.n-8; y++ {
			for x := 9; x+w <= b.n-8; x++ {
				dx, dy := float64(2*x+w-b.n)/2, float64(2*y+h-b.n)/2
				if math.Abs(dx) > reach || math.Abs(dy) > reach {
					continue
				}
				r := image.Rect(x, y, x+w, y+h)
				if !b.free(r) {
					continue
				}
				n, after := b.cost(r)
				if s := float64(n) + 2*dx*dx + dy*dy/2; s < score {
					best, worst, score, seen = r, after, s, true
				}
			}
		}
		if seen {
			return best, worst, worst <= b.limit
		}
	}
	return best, 0, false
}
