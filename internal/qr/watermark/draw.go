package watermark

import (
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/huoma/huoma/internal/qr"
)

const (
	// MaxStep is the most by which any channel of any pixel is changed, of 255.
	MaxStep = 3
	// MaxLightness is the most by which the lightness of a pixel is changed, in units of CIE L*. A difference of 2.3 is what observers
	// just notice (M. Mahy et al., Evaluation of uniform color spaces, Color Research and Application 19, 1994); below 1 nobody does.
	MaxLightness = 1.0

	stepLight = 2 // 255 to 253 is 0.7 of L*
)

// ErrTooSmall: the picture has too few pixels, or too little of the symbol is uncovered, for a mark to be read again.
var ErrTooSmall = errors.New("watermark: it needs 4 pixels a module and 300 modules that nothing covers: take a larger size, or a smaller badge")

const (
	minPixels    = 4   // a side of a module: one that was scaled to half still has an inside
	minUncovered = 300 // of them a mark is read after JPEG of quality 60
)

// Draw changes the picture of the symbol m was made for: dark pixels of bright modules become brighter by up to MaxStep, light
// pixels of the others darker by 2. Modules that something covers stay as they are. It fails if the symbol in the picture is
// another one, and with [ErrTooSmall], and then leaves the picture as it was.
func (m Mark) Draw(img *image.NRGBA, g qr.Geometry) error {
	if g.Modules != m.modules {
		return fmt.Errorf("watermark: the mark is for a symbol of %d modules, the picture has one of %d", m.modules, g.Modules)
	}
	uncovered := 0
	for i := range m.bright {
		if !g.Covered(i%m.modules, i/m.modules) {
			uncovered++
		}
	}
	if g.Module < minPixels || uncovered < minUncovered {
		return ErrTooSmall
	}
	threshold := middle(img, g)
	edge := func(from float64, i int) int { return int(math.Round(from + float64(i)*g.Module)) }
	var shade shader
	for y := range m.modules {
		top, bottom := max(edge(g.Y, y), img.Rect.Min.Y), min(edge(g.Y, y+1), img.Rect.Max.Y)
		for x := range m.modules {
			if g.Covered(x, y) {
				continue
			}
			bright := m.Bright(x, y)
			left, right := max(edge(g.X, x), img.Rect.Min.X), min(edge(g.X, x+1), img.Rect.Max.X)
			for py := top; py < bottom && left < right; py++ {
				row := img.Pix[img.PixOffset(left, py) : img.PixOffset(right-1, py)+4]
				for i := 0; i < len(row); i += 4 {
					p := (*[3]uint8)(row[i:])
					if dark := luma(p) < threshold; dark == bright {
						shade.change(p, dark)
					}
				}
			}
		}
	}
	return nil
}

// middle is the luma between those of dark and light modules, by their middles.
func middle(img *image.NRGBA, g qr.Geometry) int {
	lo, hi := math.MaxInt, 0
	for y := range g.Modules {
		for x := range g.Modules {
			if g.Covered(x, y) {
				continue
			}
			p := image.Pt(int(g.X+(float64(x)+0.5)*g.Module), int(g.Y+(float64(y)+0.5)*g.Module))
			if !p.In(img.Rect) {
				continue
			}
			v := luma((*[3]uint8)(img.Pix[img.PixOffset(p.X, p.Y):]))
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return (lo + hi) / 2
}

// luma is that of ITU-R BT.601, times 1000.
func luma(p *[3]uint8) int { return 299*int(p[0]) + 587*int(p[1]) + 114*int(p[2]) }

// shader changes colours. Neighbouring pixels mostly have one colour, so it keeps the last.
type shader struct {
	from, to [2][3]uint8
	known    [2]bool
}

func (s *shader) change(p *[3]uint8, dark bool) {
	k := 0
	if dark {
		k = 1
	}
	if !s.known[k] || s.from[k] != *p {
		s.known[k], s.from[k], s.to[k] = true, *p, shaded(*p, dark)
	}
	*p = s.to[k]
}

// shaded returns the colour's other shade: the brighter one of a dark colour, the darker one of a light colour.
func shaded(c [3]uint8, dark bool) [3]uint8 {
	step := func(by int) (out [3]uint8) {
		for i, v := range c {
			out[i] = uint8(min(max(int(v)+by, 0), 255))
		}
		return out
	}
	most, sign := stepLight, -1
	if dark {
		most, sign = MaxStep, 1
	}
	for by := most; by > 1; by-- {
		if out := step(sign * by); math.Abs(lightness(out)-lightness(c)) <= MaxLightness {
			return out
		}
	}
	return step(sign)
}

// lightness is L* of CIE 1976 of an sRGB colour (IEC 61966-2-1), 0 to 100.
func lightness(c [3]uint8) float64 {
	var y float64
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		s := float64(c[i]) / 255
		if s <= 0.04045 {
			y += weight * s / 12.92
		} else {
			y += weight * math.Pow((s+0.055)/1.055, 2.4)
		}
	}
	if y <= 216.0/24389 {
		return y * 24389 / 27
	}
	return 116*math.Cbrt(y) - 16
}
