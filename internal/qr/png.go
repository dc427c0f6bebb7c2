package qr

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"math"
	"sync"
)

// The colour types of a PNG that are written here (ISO/IEC 15948, 11.2.2).
const (
	trueColour = 2
	indexed    = 3
)

// A pngWriter writes one PNG. Rows repeat as often as a module has pixels, so all but the first are written as the difference
// from the row above, which is nothing, and the fastest compression leaves little.
type pngWriter struct {
	out   bytes.Buffer
	z     *zlib.Writer
	row   []byte
	above []byte
	diff  []byte
}

var pngWriters = sync.Pool{New: func() any {
	z, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return &pngWriter{z: z}
}}

// PNG draws the symbol as a picture of exactly the width asked for. Modules are whole pixels; what is left over widens the
// quiet zone on all sides. Two colours take one bit a pixel, smooth edges four, a logo or a mark what they need. The
// resolution is in it where the options name one. Errors are those of the mark.
func (s *Symbol) PNG() ([]byte, error) {
	if s.logo != nil || s.mark != nil {
		img, err := s.Image()
		if err != nil {
			return nil, err
		}
		return encodeImage(img, s.dpi), nil
	}
	c := s.raster()
	defer c.free()
	palette := s.palette()
	if c.smooth {
		return encodePNG(c.w, c.h, s.dpi, 4, palette[:], func(y int, row []byte) {
			from := c.pix[y*c.w : (y+1)*c.w]
			for x := 0; x+1 < len(from); x += 2 {
				row[x/2] = from[x]<<4 | from[x+1]
			}
			if len(from)%2 == 1 {
				row[len(row)-1] = from[len(from)-1] << 4
			}
		}), nil
	}
	return encodePNG(c.w, c.h, s.dpi, 1, []color.NRGBA{palette[0], palette[full]}, func(y int, row []byte) {
		clear(row)
		for x, v := range c.pix[y*c.w : (y+1)*c.w] {
			row[x/8] |= v & 1 << (7 - x%8)
		}
	}), nil
}

// encodeImage writes an opaque image, with a palette where 256 colours do.
func encodeImage(img *image.NRGBA, dpi int) []byte {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	index := make(map[uint32]uint8)
	var palette []color.NRGBA
	pixels := make([]uint8, w*h)
	var before uint32
	var at uint8
	for i := range pixels {
		p := img.Pix[4*i : 4*i+4 : 4*i+4]
		key := uint32(p[0])<<16 | uint32(p[1])<<8 | uint32(p[2]) | 1<<24
		if key != before {
			n, ok := index[key]
			if !ok {
				if len(palette) == 256 {
					return encodePNG(w, h, dpi, 24, nil, func(y int, row []byte) {
						from := img.Pix[y*img.Stride:]
						for x := range w {
							copy(row[3*x:3*x+3], from[4*x:4*x+3])
						}
					})
				}
				n = uint8(len(palette))
				index[key] = n
				palette = append(palette, color.NRGBA{p[0], p[1], p[2], 255})
			}
			before, at = key, n
		}
		pixels[i] = at
	}
	return encodePNG(w, h, dpi, 8, palette, func(y int, row []byte) { copy(row, pixels[y*w:]) })
}

// encodePNG writes rows of bits a pixel: indices of the palette, or 24 for true colour.
func encodePNG(w, h, dpi, bits int, palette []color.NRGBA, fill func(y int, row []byte)) []byte {
	p := pngWriters.Get().(*pngWriter)
	defer pngWriters.Put(p)
	p.out.Reset()
	p.out.WriteString("\x89PNG\r\n\x1a\n")
	var head [13]byte
	binary.BigEndian.PutUint32(head[0:], uint32(w))
	binary.BigEndian.PutUint32(head[4:], uint32(h))
	head[8], head[9] = uint8(bits), indexed
	if bits == 24 {
		head[8], head[9] = 8, trueColour
	}
	p.chunk("IHDR", head[:])
	if dpi > 0 {
		var phys [9]byte
		metre := uint32(math.Round(float64(dpi) / inch * 1000))
		binary.BigEndian.PutUint32(phys[0:], metre)
		binary.BigEndian.PutUint32(phys[4:], metre)
		phys[8] = 1 // per metre
		p.chunk("pHYs", phys[:])
	}
	if len(palette) > 0 {
		entries := make([]byte, 0, 3*len(palette))
		for _, c := range palette {
			entries = append(entries, c.R, c.G, c.B)
		}
		p.chunk("PLTE", entries)
	}
	p.rows(w, h, bits, fill)
	p.chunk("IEND", nil)
	return bytes.Clone(p.out.Bytes())
}

// rows writes the chunk of compressed rows.
func (p *pngWriter) rows(w, h, bits int, fill func(y int, row []byte)) {
	n := (w*bits + 7) / 8
	if cap(p.row) < n {
		p.row, p.above, p.diff = make([]byte, n), make([]byte, n), make([]byte, n+1)
	}
	p.row, p.above, p.diff = p.row[:n], p.above[:n], p.diff[:n+1]
	clear(p.above)
	start := p.out.Len()
	p.out.WriteString("\x00\x00\x00\x00IDAT")
	p.z.Reset(&p.out)
	const up = 2
	for y := range h {
		fill(y, p.row)
		p.diff[0] = up
		for i, v := range p.row {
			p.diff[1+i] = v - p.above[i]
		}
		_, _ = p.z.Write(p.diff) // a buffer takes everything
		p.row, p.above = p.above, p.row
	}
	_ = p.z.Close()
	b := p.out.Bytes()[start:]
	binary.BigEndian.PutUint32(b, uint32(len(b)-8))
	p.sum(b[4:])
}

// chunk writes one chunk whole.
func (p *pngWriter) chunk(kind string, data []byte) {
	start := p.out.Len()
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(data)))
	p.out.Write(size[:])
	p.out.WriteString(kind)
	p.out.Write(data)
	p.sum(p.out.Bytes()[start+4:])
}

func (p *pngWriter) sum(b []byte) {
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], crc32.ChecksumIEEE(b))
	p.out.Write(crc[:])
}
