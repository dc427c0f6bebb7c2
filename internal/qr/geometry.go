package qr

import "image"

// Geometry says where the symbol lies in the picture, in pixels of the picture.
type Geometry struct {
	Bounds  image.Rectangle // of the whole picture; its origin is 0,0
	Module  float64         // side of a module; pictures of ours have whole numbers, what photographs them has not
	X, Y    float64         // upper left corner of the symbol's first module, within the quiet zone
	Modules int             // along a side of the symbol, quiet zone not counted
	Quiet   int             // modules of quiet zone that are empty at least, on each side
	covered []bool          // by row: modules that something is drawn over
}

// Covered says whether something, such as a plate or a badge, is drawn over the module in column x and row y of the
// symbol: its pixels need not show the module. Modules outside the symbol are not covered.
func (g Geometry) Covered(x, y int) bool {
	if x < 0 || y < 0 || x >= g.Modules || y >= g.Modules || g.covered == nil {
		return false
	}
	return g.covered[y*g.Modules+x]
}

// A Mark changes a picture after it is drawn and before it is encoded, such as by an invisible watermark. It may
// change the pixels of img, all of them opaque, and must leave them readable.
type Mark func(img *image.NRGBA, g Geometry) error
