// Package observe reads from a picture what a watermark may be found in: which symbol it shows, and how bright each of
// its modules is against what its surroundings let expect. It needs no key.
//
// Start at [Read]. [Decode] makes an image of a file's bytes within bounds. The symbol is found and decoded by
// github.com/makiuchi-d/gozxing; its corners are good to a module or so, so the homography is fitted again to every
// edge between dark and light. What blur, scaling and light from the side do to a module is a function of where it is and of
// what is around it, and so is taken off by regression: what remains is the mark and noise.
//
// What it refuses: pictures of more than [MaxPixels] or [MaxBytes], before they are decoded, other
// formats than PNG and JPEG, and pictures in which no QR symbol can be read.
package observe

import (
	"errors"
	"image"

	"github.com/huoma/huoma/internal/qr/watermark"
)

// ErrNoSymbol: no QR symbol in the picture can be read.
var ErrNoSymbol = errors.New("no QR symbol can be read in the picture: crop it to the symbol with some margin, or take a sharper one")

// Read returns what img shows of the symbol in it. The error is [ErrNoSymbol].
func Read(img image.Image) (*watermark.Observation, error) {
	g := grey(img)
	found, ok := locate(g)
	if !ok {
		return nil, ErrNoSymbol
	}
	h := refine(g, found)
	return &watermark.Observation{Content: found.content, Modules: found.modules, Values: residuals(g, found, h)}, nil
}
