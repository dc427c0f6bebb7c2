package qr

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// SVG draws the symbol in units of modules, quiet zone included: one rectangle, one path of modules, and paths for
// what is drawn over and under them. Letters are outlines. It refers to nothing outside itself and has no script; a logo
// is an image within. Its width and height are millimetres where the options name a resolution, else pixels.
func (s *Symbol) SVG() []byte {
	var b bytes.Buffer
	w := s.Width()
	high := string(appendNumber(nil, float64(w)+float64(s.foot)))
	width, height := strconv.Itoa(s.size), strconv.Itoa(s.height())
	if s.dpi > 0 {
		mm := func(v float64) string { return string(appendNumber(nil, v)) + "mm" }
		width, height = mm(s.mm(s.size)), mm(s.mm(s.size)*(float64(w)+float64(s.foot))/float64(w))
		if s.printed > 0 {
			width, height = mm(s.printed), mm(s.printed*(float64(w)+float64(s.foot))/float64(w))
		}
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %d %s">`, width, height, w, high)
	fmt.Fprintf(&b, `<rect width="%d" height="%s" fill="%s"/>`, w, high, hex(s.bg))
	crisp := ""
	if s.shape == ShapeSquare {
		crisp = ` shape-rendering="crispEdges"`
	}
	fmt.Fprintf(&b, `<path fill="%s"%s d="`, hex(s.fg), crisp)
	b.Write(s.appendModules(nil))
	b.WriteString(`"/>`)
	for _, list := range [][]item{s.eyes, s.items} {
		for _, it := range list {
			colour := s.bg
			if it.ink {
				colour = s.fg
			}
			fmt.Fprintf(&b, `<path fill="%s" d="`, hex(colour))
			b.Write(it.path.appendSVG(nil))
			b.WriteString(`"/>`)
		}
	}
	if s.logo != nil {
		x, y, w, h := s.logoBox()
		number := func(v float64) []byte { return appendNumber(nil, v) }
		fmt.Fprintf(&b, `<image x="%s" y="%s" width="%s" height="%s" href="data:image/png;base64,%s"/>`,
			number(x), number(y), number(w), number(h), base64.StdEncoding.EncodeToString(s.logo.png()))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// appendModules writes the modules: runs of squares, or each with its corners, or dots.
func (s *Symbol) appendModules(d []byte) []byte {
	w := s.Width()
	for y := range w {
		for x := 0; x < w; x++ {
			if !s.drawn(x, y) {
				continue
			}
			switch s.shape {
			case ShapeSquare:
				from := x
				for s.drawn(x, y) {
					x++
				}
				d = appendRun(d, from, y, x-from)
			case ShapeDots:
				d = appendDot(d, x, y)
			default:
				var p path
				p.module(float32(x), float32(y), 1, s.corners(x, y))
				d = p.appendSVG(d)
			}
		}
	}
	return d
}

func appendRun(d []byte, x, y, n int) []byte {
	d = append(d, 'M')
	d = strconv.AppendInt(d, int64(x), 10)
	d = append(d, ' ')
	d = strconv.AppendInt(d, int64(y), 10)
	d = append(d, 'h')
	d = strconv.AppendInt(d, int64(n), 10)
	d = append(d, "v1h-"...)
	d = strconv.AppendInt(d, int64(n), 10)
	return append(d, 'z')
}

func appendDot(d []byte, x, y int) []byte {
	d = append(d, 'M')
	d = appendNumber(d, float64(x)+0.5-dotRadius)
	d = append(d, ' ')
	d = appendNumber(d, float64(y)+0.5)
	for _, way := range []float64{1, -1} {
		d = append(d, 'a')
		d = appendNumber(d, dotRadius)
		d = append(d, ' ')
		d = appendNumber(d, dotRadius)
		d = append(d, " 0 1 0 "...)
		d = appendNumber(d, way*2*dotRadius)
		d = append(d, " 0"...)
	}
	return append(d, 'z')
}
