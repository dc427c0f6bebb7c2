package qr

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strconv"
)

// PNG draws the symbol as a picture of exactly the size asked for, two colours, one bit a pixel unless it is marked.
// Modules are whole pixels; what is left over widens the quiet zone on all sides. Errors are those of the mark.
func (s *Symbol) PNG() ([]byte, error) {
	var img image.Image = s.paletted()
	if s.mark != nil {
		marked, err := s.Image()
		if err != nil {
			return nil, err
		}
		if img = indexed(marked); img == (*image.Paletted)(nil) {
			img = marked
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("draw png: %w", err)
	}
	return out.Bytes(), nil
}

// Image draws the symbol in true colours, marked if the options say so. The picture is the caller's.
func (s *Symbol) Image() (*image.NRGBA, error) {
	from := s.paletted()
	img := image.NewNRGBA(from.Rect)
	colours := make([][4]uint8, len(from.Palette))
	for i, c := range from.Palette {
		p := color.NRGBAModel.Convert(c).(color.NRGBA)
		colours[i] = [4]uint8{p.R, p.G, p.B, p.A}
	}
	for i, c := range from.Pix {
		copy(img.Pix[4*i:], colours[c][:])
	}
	if s.mark != nil {
		if err := s.mark(img, s.Geometry()); err != nil {
			return nil, fmt.Errorf("mark picture: %w", err)
		}
	}
	return img, nil
}

// Geometry says where in the picture the symbol lies.
func (s *Symbol) Geometry() Geometry {
	scale := s.size / s.Width()
	origin := (s.size-scale*s.Width())/2 + scale*QuietZone
	return Geometry{
		Bounds: image.Rect(0, 0, s.size, s.size), Module: float64(scale), X: float64(origin), Y: float64(origin),
		Modules: len(s.modules), Quiet: QuietZone,
	}
}

// paletted draws the symbol with the indices 0 for light and 1 for dark.
func (s *Symbol) paletted() *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, s.size, s.size), color.Palette{s.bg, s.fg})
	scale := s.size / s.Width()
	offset := (s.size - scale*s.Width()) / 2
	for y := range s.Width() {
		top := (offset + y*scale) * img.Stride
		first := img.Pix[top : top+s.size]
		for x := range s.Width() {
			if s.dark(x, y) {
				for px := offset + x*scale; px < offset+(x+1)*scale; px++ {
					first[px] = 1
				}
			}
		}
		for row := 1; row < scale; row++ {
			copy(img.Pix[top+row*img.Stride:], first)
		}
	}
	return img
}

// SVG draws the symbol as one path on a rectangle, in units of modules, quiet zone included. It refers to
// nothing outside itself, has no script and no text.
func (s *Symbol) SVG() []byte {
	var b bytes.Buffer
	w := s.Width()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" shape-rendering="crispEdges">`, s.size, s.size, w, w)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="%s"/><path fill="%s" d="`, w, w, hex(s.bg), hex(s.fg))
	var num []byte
	for y := range w {
		for x := 0; x < w; x++ {
			if !s.dark(x, y) {
				continue
			}
			from := x
			for s.dark(x, y) {
				x++
			}
			num = append(num[:0], 'M')
			num = strconv.AppendInt(num, int64(from), 10)
			num = append(num, ' ')
			num = strconv.AppendInt(num, int64(y), 10)
			num = append(num, 'h')
			num = strconv.AppendInt(num, int64(x-from), 10)
			num = append(num, "v1h-"...)
			num = strconv.AppendInt(num, int64(x-from), 10)
			num = append(num, 'z')
			b.Write(num)
		}
	}
	b.WriteString("\"/></svg>\n")
	return b.Bytes()
}

// Terminal writes content as a symbol of half-block characters, two modules a character, with no escape
// sequences. The blocks are the light modules, so that it reads as dark on light on a dark terminal; readers which
// also take negatives read it on a light one. Errors are those of [Encode] and of w.
func Terminal(content string, w io.Writer) error {
	s, err := encode(content, 0, LevelM)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for y := 0; y < s.Width(); y += 2 {
		for x := range s.Width() {
			// The width is odd: the row below the last one is no part of the symbol and stays empty.
			upper, lower := !s.dark(x, y), y+1 < s.Width() && !s.dark(x, y+1)
			switch {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	_, err = w.Write(b.Bytes())
	return err
}
