package qr

import (
	"bytes"
	"image"
	_ "image/jpeg" // decoder
	"image/png"
	"sync"
)

const (
	// MaxLogoBytes and MaxLogoSide bound a logo before it is decoded.
	MaxLogoBytes = 32 << 10
	MaxLogoSide  = 1024 // pixels
)

// A Logo is an image for the middle of pictures. Immutable.
type Logo struct {
	img image.Image
	png func() []byte // its pixels alone, encoded anew, so that nothing else of the original file is passed on
}

// ParseLogo reads a PNG or JPEG. It looks at the size which the header names before it decodes any pixel, so that a small
// file which swells to a huge image costs nothing. Errors are [*Error].
func ParseLogo(b []byte) (*Logo, error) {
	if len(b) > MaxLogoBytes {
		return nil, refuse("logo", "it has %d bytes; at most %d are taken: scale it down to about 256 pixels", len(b), MaxLogoBytes)
	}
	head, kind, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil || kind != "png" && kind != "jpeg" {
		return nil, refuse("logo", "it is no PNG or JPEG image that can be read")
	}
	if head.Width < 1 || head.Height < 1 || head.Width > MaxLogoSide || head.Height > MaxLogoSide {
		return nil, refuse("logo", "it is %d × %d pixels; at most %d × %d are decoded: scale it down to about 256", head.Width, head.Height, MaxLogoSide, MaxLogoSide)
	}
	if head.Width > 4*head.Height || head.Height > 4*head.Width {
		return nil, refuse("logo", "it is %d × %d pixels; one side may be at most four times the other: cut it", head.Width, head.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, refuse("logo", "its header is that of an image, the rest is damaged: save it again")
	}
	return &Logo{img, sync.OnceValue(func() []byte { return smallPNG(img) })}, nil
}

// svgLogoSide is what a logo is scaled down to in an SVG, pixels.
const svgLogoSide = 256

func smallPNG(img image.Image) []byte {
	size := img.Bounds().Size()
	if most := max(size.X, size.Y); most > svgLogoSide {
		size = image.Pt(max(1, size.X*svgLogoSide/most), max(1, size.Y*svgLogoSide/most))
	}
	small := image.NewNRGBA(image.Rectangle{Max: size})
	scaleInto(small, small.Rect, img)
	var b bytes.Buffer
	if err := png.Encode(&b, small); err != nil {
		panic(err) // a buffer takes everything, and the sizes are an image's
	}
	return b.Bytes()
}
