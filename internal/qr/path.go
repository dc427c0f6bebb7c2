package qr

import (
	"strconv"

	"github.com/huoma/huoma/internal/qr/typeface"
)

// A path is closed outlines, filled where they wind, in modules from the upper left corner of the quiet zone.
type path []typeface.Segment

// An item is a path and whether it is filled with the foreground.
type item struct {
	path path
	ink  bool
}

// kappa is how far the handles of a quarter circle are, in radii.
const kappa = 0.5522847

func (p *path) add(op typeface.Op, pts ...[2]float32) {
	s := typeface.Segment{Op: op}
	copy(s.Pts[:], pts)
	*p = append(*p, s)
}

// round adds a rectangle with rounded corners; with r half its sides it is a circle.
func (p *path) round(x, y, w, h, r float32) {
	k := r * (1 - kappa)
	p.add(typeface.Move, [2]float32{x + r, y})
	p.add(typeface.Line, [2]float32{x + w - r, y})
	p.add(typeface.Cubic, [2]float32{x + w - k, y}, [2]float32{x + w, y + k}, [2]float32{x + w, y + r})
	p.add(typeface.Line, [2]float32{x + w, y + h - r})
	p.add(typeface.Cubic, [2]float32{x + w, y + h - k}, [2]float32{x + w - k, y + h}, [2]float32{x + w - r, y + h})
	p.add(typeface.Line, [2]float32{x + r, y + h})
	p.add(typeface.Cubic, [2]float32{x + k, y + h}, [2]float32{x, y + h - k}, [2]float32{x, y + h - r})
	p.add(typeface.Line, [2]float32{x, y + r})
	p.add(typeface.Cubic, [2]float32{x, y + k}, [2]float32{x + k, y}, [2]float32{x + r, y})
}

// words adds glyphs from x on the baseline y, em high.
func (p *path) words(glyphs []*typeface.Glyph, x, y, em float32) {
	for _, g := range glyphs {
		for _, s := range g.Segments {
			for i := range s.Pts {
				s.Pts[i][0] = x + em*s.Pts[i][0]
				s.Pts[i][1] = y + em*s.Pts[i][1]
			}
			*p = append(*p, s)
		}
		x += em * g.Advance
	}
}

// last is the point a segment ends at.
func last(s typeface.Segment) [2]float32 {
	switch s.Op {
	case typeface.Quad:
		return s.Pts[1]
	case typeface.Cubic:
		return s.Pts[2]
	default:
		return s.Pts[0]
	}
}

// points is how many of a segment's points its operation uses.
func points(op typeface.Op) int {
	switch op {
	case typeface.Quad:
		return 2
	case typeface.Cubic:
		return 3
	default:
		return 1
	}
}

// appendSVG writes p in the grammar of an SVG path, to a thousandth of a module.
func (p path) appendSVG(b []byte) []byte {
	for i, s := range p {
		if s.Op == typeface.Move && i > 0 {
			b = append(b, 'z')
		}
		b = append(b, byte(s.Op))
		for j := range points(s.Op) {
			if j > 0 {
				b = append(b, ' ')
			}
			b = appendNumber(b, float64(s.Pts[j][0]))
			b = append(b, ' ')
			b = appendNumber(b, float64(s.Pts[j][1]))
		}
	}
	if len(p) > 0 {
		b = append(b, 'z')
	}
	return b
}

// appendNumber writes v with up to three decimals.
func appendNumber(b []byte, v float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, v, 'f', 3, 64)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	if string(b[start:]) == "-0" {
		b = append(b[:start], '0')
	}
	return b
}
