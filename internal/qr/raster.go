package qr

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"sync"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/vector"

	"github.com/huoma/huoma/internal/qr/typeface"
)

// shades are the steps from background to foreground on smooth edges, four bits a pixel.
const shades = 16

// A canvas is the picture as how much ink is on each pixel, 0 to shades-1.
type canvas struct {
	w, h   int
	pix    []uint8
	smooth bool // there are steps between none and all
}

var canvases = sync.Pool{New: func() any { return new(canvas) }}

func newCanvas(w, h int) *canvas {
	c := canvases.Get().(*canvas)
	c.w, c.h, c.smooth = w, h, false
	if cap(c.pix) < w*h {
		c.pix = make([]uint8, w*h)
	}
	c.pix = c.pix[:w*h]
	clear(c.pix)
	return c
}

func (c *canvas) free() { canvases.Put(c) }

const full = shades - 1

// raster draws everything but the logo and the mark. The canvas goes back with free.
func (s *Symbol) raster() *canvas {
	c := newCanvas(s.size, s.height())
	scale := s.size / s.Width()
	offset := (s.size - scale*s.Width()) / 2
	if s.shape == ShapeSquare {
		s.squares(c, scale, offset)
	} else {
		s.tiles(c, scale, offset)
	}
	for _, list := range [][]item{s.eyes, s.items} {
		for _, it := range list {
			c.fill(it, float32(scale), float32(offset))
		}
	}
	return c
}

// squares draws one row of pixels a row of modules, and copies it.
func (s *Symbol) squares(c *canvas, scale, offset int) {
	for y := range s.Width() {
		top := (offset + y*scale) * c.w
		first := c.pix[top : top+c.w]
		some := false
		for x := range s.Width() {
			if s.drawn(x, y) {
				some = true
				row := first[offset+x*scale : offset+(x+1)*scale]
				for i := range row {
					row[i] = full
				}
			}
		}
		for row := 1; some && row < scale; row++ {
			copy(c.pix[top+row*c.w:], first)
		}
	}
}

// tiles draws each module as one of sixteen stamps, by which of its corners are round.
func (s *Symbol) tiles(c *canvas, scale, offset int) {
	c.smooth = true
	stamps := stampsOf(s.shape, scale)
	for y := range s.Width() {
		for x := range s.Width() {
			if !s.drawn(x, y) {
				continue
			}
			stamp := stamps[s.corners(x, y)]
			for row := range scale {
				copy(c.pix[(offset+y*scale+row)*c.w+offset+x*scale:], stamp[row*scale:(row+1)*scale])
			}
		}
	}
}

// corners says which corners of a module are round, one bit each: upper left, upper right, lower right, lower left. A corner
// is where both neighbours are light.
func (s *Symbol) corners(x, y int) (bits int) {
	if s.shape != ShapeRound {
		return 0
	}
	up, right, down, left := s.drawn(x, y-1), s.drawn(x+1, y), s.drawn(x, y+1), s.drawn(x-1, y)
	for i, neighbours := range [4]bool{up || left, up || right, down || right, down || left} {
		if !neighbours {
			bits |= 1 << i
		}
	}
	return bits
}

const (
	dotRadius  = 0.46 // modules: dots nearly touch, so that readers which sample beside the middle still meet them
	roundness  = 0.5
	eyeRadius  = 1.4 // of a finder's ring
	pupilRound = 1.0
)

type stampKey struct {
	shape Shape
	scale int
}

var stamps sync.Map // stampKey to *[16][]uint8

// maxStamp is the largest scale whose stamps are kept; larger ones are rare and made anew.
const maxStamp = 64

func stampsOf(shape Shape, scale int) *[16][]uint8 {
	if all, ok := stamps.Load(stampKey{shape, scale}); ok {
		return all.(*[16][]uint8)
	}
	all := new([16][]uint8)
	for i := range all {
		if shape != ShapeRound && i > 0 {
			break
		}
		all[i] = stamp(shape, scale, i)
	}
	if scale <= maxStamp {
		stamps.Store(stampKey{shape, scale}, all)
	}
	return all
}

// stamp is a module of scale × scale pixels, how much ink is on each.
func stamp(shape Shape, scale, corners int) []uint8 {
	var p path
	s := float32(scale)
	if shape == ShapeDots {
		p.round((0.5-dotRadius)*s, (0.5-dotRadius)*s, 2*dotRadius*s, 2*dotRadius*s, dotRadius*s)
	} else {
		p.module(0, 0, s, corners)
	}
	c := &canvas{w: scale, h: scale, pix: make([]uint8, scale*scale)}
	c.fill(item{p, true}, 1, 0)
	return c.pix
}

// module adds a square of side a whose corners are round as the bits say.
func (p *path) module(x, y, a float32, corners int) {
	r := roundness * a
	k := r * (1 - kappa)
	at := func(bit int) (r0, k0 float32) {
		if corners&(1<<bit) != 0 {
			return r, k
		}
		return 0, 0
	}
	rul, kul := at(0)
	rur, kur := at(1)
	rlr, klr := at(2)
	rll, kll := at(3)
	p.add(typeface.Move, [2]float32{x + rul, y})
	p.add(typeface.Line, [2]float32{x + a - rur, y})
	if rur > 0 {
		p.add(typeface.Cubic, [2]float32{x + a - kur, y}, [2]float32{x + a, y + kur}, [2]float32{x + a, y + rur})
	}
	p.add(typeface.Line, [2]float32{x + a, y + a - rlr})
	if rlr > 0 {
		p.add(typeface.Cubic, [2]float32{x + a, y + a - klr}, [2]float32{x + a - klr, y + a}, [2]float32{x + a - rlr, y + a})
	}
	p.add(typeface.Line, [2]float32{x + rll, y + a})
	if rll > 0 {
		p.add(typeface.Cubic, [2]float32{x + kll, y + a}, [2]float32{x, y + a - kll}, [2]float32{x, y + a - rll})
	}
	p.add(typeface.Line, [2]float32{x, y + rul})
	if rul > 0 {
		p.add(typeface.Cubic, [2]float32{x, y + kul}, [2]float32{x + kul, y}, [2]float32{x + rul, y})
	}
}

// drawEyes makes the finders and alignment patterns of the round shapes: rings that stay whole, whatever the modules.
func (s *Symbol) drawEyes() {
	s.eyes = nil
	if s.shape == ShapeSquare {
		return
	}
	n := len(s.modules)
	s.eye = make([]bool, n*n)
	ring := func(x, y, size int, radius, pupil float32) {
		for j := range size {
			for i := range size {
				s.eye[(y+j)*n+x+i] = true
			}
		}
		var outer, hole, inner path
		fx, fy, w := float32(x+s.quiet), float32(y+s.quiet), float32(size)
		outer.round(fx, fy, w, w, radius)
		hole.round(fx+1, fy+1, w-2, w-2, radius*0.6)
		inner.round(fx+2, fy+2, w-4, w-4, pupil)
		s.eyes = append(s.eyes, item{outer, true}, item{hole, false}, item{inner, true})
	}
	ring(0, 0, 7, eyeRadius, pupilRound)
	ring(n-7, 0, 7, eyeRadius, pupilRound)
	ring(0, n-7, 7, eyeRadius, pupilRound)
	centres := alignment(s.version)
	for i, y := range centres {
		for j, x := range centres {
			if l := len(centres) - 1; i == 0 && j == 0 || i == 0 && j == l || i == l && j == 0 || x == 6 || y == 6 {
				continue // a finder is there, or the timing pattern goes through and keeps its modules
			}
			ring(x-2, y-2, 5, 1.3, 0.5)
		}
	}
}

// A brush fills paths; it keeps what it needs for that.
type brush struct {
	z    vector.Rasterizer
	mask image.Alpha
}

var brushes = sync.Pool{New: func() any { return new(brush) }}

// fill paints it with or over the ink there is. A module is scale pixels, the quiet zone's corner at offset.
func (c *canvas) fill(it item, scale, offset float32) {
	if len(it.path) == 0 {
		return
	}
	low, high := [2]float32{math.MaxFloat32, math.MaxFloat32}, [2]float32{}
	for _, s := range it.path {
		for i := range points(s.Op) {
			for axis := range 2 {
				v := s.Pts[i][axis]*scale + offset
				low[axis], high[axis] = min(low[axis], v), max(high[axis], v)
			}
		}
	}
	box := image.Rect(int(low[0]), int(low[1]), int(math.Ceil(float64(high[0]))), int(math.Ceil(float64(high[1])))).Intersect(image.Rect(0, 0, c.w, c.h))
	if box.Empty() {
		return
	}
	b := brushes.Get().(*brush)
	defer brushes.Put(b)
	w, h := box.Dx(), box.Dy()
	b.z.Reset(w, h)
	b.z.DrawOp = draw.Src
	at := func(p [2]float32) (float32, float32) {
		return p[0]*scale + offset - float32(box.Min.X), p[1]*scale + offset - float32(box.Min.Y)
	}
	for i, s := range it.path {
		x, y := at(s.Pts[0])
		switch s.Op {
		case typeface.Move:
			if i > 0 {
				b.z.ClosePath()
			}
			b.z.MoveTo(x, y)
		case typeface.Line:
			b.z.LineTo(x, y)
		case typeface.Quad:
			x1, y1 := at(s.Pts[1])
			b.z.QuadTo(x, y, x1, y1)
		case typeface.Cubic:
			x1, y1 := at(s.Pts[1])
			x2, y2 := at(s.Pts[2])
			b.z.CubeTo(x, y, x1, y1, x2, y2)
		}
	}
	b.z.ClosePath()
	if cap(b.mask.Pix) < w*h {
		b.mask.Pix = make([]uint8, w*h)
	}
	b.mask.Pix, b.mask.Stride, b.mask.Rect = b.mask.Pix[:w*h], w, image.Rect(0, 0, w, h)
	b.z.Draw(&b.mask, b.mask.Rect, image.Opaque, image.Point{})
	c.smooth = true
	target := 0
	if it.ink {
		target = full
	}
	for y := range h {
		row := c.pix[(box.Min.Y+y)*c.w+box.Min.X:][:w]
		for x, a := range b.mask.Pix[y*w:][:w] {
			switch a {
			case 0:
			case 255:
				row[x] = uint8(target)
			default:
				row[x] = uint8((int(row[x])*(255-int(a)) + target*int(a) + 127) / 255)
			}
		}
	}
}

// palette is the background, the foreground, and where edges are smooth the steps between.
func (s *Symbol) palette() (p [shades]color.NRGBA) {
	mix := func(a, b uint8, i int) uint8 { return uint8((int(a)*(full-i) + int(b)*i + full/2) / full) }
	for i := range p {
		p[i] = color.NRGBA{mix(s.bg.R, s.fg.R, i), mix(s.bg.G, s.fg.G, i), mix(s.bg.B, s.fg.B, i), 255}
	}
	return p
}

// Image draws the symbol in true colours, marked if the options say so. The picture is the caller's.
func (s *Symbol) Image() (*image.NRGBA, error) {
	c := s.raster()
	img := image.NewNRGBA(image.Rect(0, 0, c.w, c.h))
	palette := s.palette()
	for i, v := range c.pix {
		p := palette[v]
		px := img.Pix[4*i : 4*i+4 : 4*i+4]
		px[0], px[1], px[2], px[3] = p.R, p.G, p.B, p.A
	}
	c.free()
	if s.logo != nil {
		scale := float64(s.size / s.Width())
		offset := float64((s.size - int(scale)*s.Width()) / 2)
		pixel := func(modules float64) int { return int(math.Round(offset + modules*scale)) }
		x, y, w, h := s.logoBox()
		scaleInto(img, image.Rect(pixel(x), pixel(y), pixel(x+w), pixel(y+h)), s.logo.img)
	}
	if s.mark != nil {
		if err := s.mark(img, s.Geometry()); err != nil {
			return nil, fmt.Errorf("mark picture: %w", err)
		}
	}
	return img, nil
}

// logoBox is where the logo lies, in modules from the corner of the quiet zone: a little within what is free of modules, in
// its own proportions.
func (s *Symbol) logoBox() (x, y, w, h float64) {
	const gap = 0.5
	size := s.logo.img.Bounds().Size()
	freeW, freeH := float64(s.logoAt.Dx())-2*gap, float64(s.logoAt.Dy())-2*gap
	k := min(freeW/float64(size.X), freeH/float64(size.Y))
	w, h = k*float64(size.X), k*float64(size.Y)
	return float64(s.logoAt.Min.X) + gap + (freeW-w)/2, float64(s.logoAt.Min.Y) + gap + (freeH-h)/2, w, h
}

// scaleInto draws from into a part of to.
func scaleInto(to *image.NRGBA, at image.Rectangle, from image.Image) {
	xdraw.CatmullRom.Scale(to, at, from, from.Bounds(), draw.Over, nil)
}

// Geometry says where in the picture the symbol lies.
func (s *Symbol) Geometry() Geometry {
	scale := s.size / s.Width()
	origin := (s.size-scale*s.Width())/2 + scale*s.quiet
	return Geometry{
		Bounds: image.Rect(0, 0, s.size, s.height()), Module: float64(scale), X: float64(origin), Y: float64(origin),
		Modules: len(s.modules), Quiet: s.quiet, covered: s.covered,
	}
}

// height is the picture's in pixels: its width, and the words under it.
func (s *Symbol) height() int {
	return s.size + int(math.Ceil(float64(s.foot)*float64(s.size/s.Width())))
}
