package qr

import (
	"image"
	"image/color"
)

// indexed returns img by a palette of its colours, in the order in which they appear, nil if there are more than 256. Flat pictures are
// a few bits a pixel like this, and several times as fast to compress.
func indexed(img *image.NRGBA) *image.Paletted {
	out := image.NewPaletted(img.Rect, nil)
	seen := make(map[[4]uint8]uint8)
	var last [4]uint8
	var at uint8
	for i := range out.Pix {
		c := [4]uint8(img.Pix[4*i:])
		if i == 0 || c != last {
			k, ok := seen[c]
			if !ok {
				if len(out.Palette) == 256 {
					return nil
				}
				k = uint8(len(out.Palette))
				seen[c] = k
				out.Palette = append(out.Palette, color.NRGBA{c[0], c[1], c[2], c[3]})
			}
			last, at = c, k
		}
		out.Pix[i] = at
	}
	return out
}
