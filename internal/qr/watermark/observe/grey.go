package observe

import (
	"image"
	"image/color"
)

// plane is a picture's luma (ITU-R BT.601, 0 to 255), transparent places on white.
type plane struct {
	w, h int
	pix  []uint8
}

func grey(img image.Image) *plane {
	b := img.Bounds()
	p := &plane{w: b.Dx(), h: b.Dy(), pix: make([]uint8, b.Dx()*b.Dy())}
	switch src := img.(type) {
	case *image.Gray:
		for y := range p.h {
			copy(p.row(y), src.Pix[y*src.Stride:])
		}
	case *image.YCbCr: // the same luma
		for y := range p.h {
			copy(p.row(y), src.Y[src.YOffset(b.Min.X, b.Min.Y+y):])
		}
	case *image.Paletted:
		var table [256]uint8
		for i, c := range src.Palette {
			table[i] = luma(c)
		}
		for y := range p.h {
			row := p.row(y)
			for x, i := range src.Pix[y*src.Stride : y*src.Stride+p.w] {
				row[x] = table[i]
			}
		}
	case *image.RGBA:
		for y := range p.h {
			row := p.row(y)
			for x := range row {
				q := src.Pix[y*src.Stride+4*x:]
				row[x] = luma8(uint32(q[0]), uint32(q[1]), uint32(q[2]), uint32(q[3]))
			}
		}
	default:
		for y := range p.h {
			row := p.row(y)
			for x := range row {
				row[x] = luma(img.At(b.Min.X+x, b.Min.Y+y))
			}
		}
	}
	return p
}

func (p *plane) row(y int) []uint8 { return p.pix[y*p.w : (y+1)*p.w] }

func luma(c color.Color) uint8 {
	r, g, b, a := c.RGBA()
	return luma8(r>>8, g>>8, b>>8, a>>8)
}

// luma8 takes premultiplied 8-bit values.
func luma8(r, g, b, a uint32) uint8 {
	return uint8(min(255, (299*r+587*g+114*b+500)/1000+255-a))
}

// at samples between pixels; x and y count from the corner of the first pixel, so that its middle is 0.5.
func (p *plane) at(x, y float64) float64 {
	x, y = min(max(x-0.5, 0), float64(p.w-1)), min(max(y-0.5, 0), float64(p.h-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, p.w-1), min(y0+1, p.h-1)
	fx, fy := x-float64(x0), y-float64(y0)
	a, b := p.pix[y0*p.w:], p.pix[y1*p.w:]
	top := float64(a[x0]) + fx*(float64(a[x1])-float64(a[x0]))
	low := float64(b[x0]) + fx*(float64(b[x1])-float64(b[x0]))
	return top + fy*(low-top)
}

// inside reports whether a point is in the picture.
func (p *plane) inside(x, y float64) bool {
	return x >= 0 && y >= 0 && x <= float64(p.w) && y <= float64(p.h)
}

// shrunk returns p made smaller by a whole factor, by means over squares.
func (p *plane) shrunk(by int) *plane {
	if by == 1 {
		return p
	}
	s := &plane{w: p.w / by, h: p.h / by}
	s.pix = make([]uint8, s.w*s.h)
	sums := make([]uint32, s.w)
	for y := range s.h {
		clear(sums)
		for i := range by {
			row := p.row(y*by + i)
			for x := range sums {
				for _, v := range row[x*by : (x+1)*by] {
					sums[x] += uint32(v)
				}
			}
		}
		row := s.row(y)
		for x, v := range sums {
			row[x] = uint8((v + uint32(by*by)/2) / uint32(by*by))
		}
	}
	return s
}
