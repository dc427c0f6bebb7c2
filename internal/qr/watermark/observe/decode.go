package observe

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
)

const (
	// MaxBytes is how large a file may be.
	MaxBytes = 64 << 20
	// MaxPixels is how many pixels a picture may have: about 300 MB of memory while it is decoded.
	MaxPixels = 40_000_000
)

// Errors of [Decode]. Each says what to do.
var (
	ErrFormat  = errors.New("it is neither a PNG nor a JPEG: save the picture as one of them")
	ErrLarge   = errors.New("it is too large")
	ErrDamaged = errors.New("it is damaged: get it once more")
)

// Decode makes an image of the bytes of a PNG or JPEG. Its size is looked at before room is made for it. Errors match ErrFormat,
// ErrLarge or ErrDamaged.
func Decode(b []byte) (image.Image, error) {
	var config func() (image.Config, error)
	var decode func() (image.Image, error)
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		config = func() (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) }
		decode = func() (image.Image, error) { return png.Decode(bytes.NewReader(b)) }
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		config = func() (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) }
		decode = func() (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }
	default:
		return nil, ErrFormat
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: at most %d MiB are read; scale it down", ErrLarge, MaxBytes>>20)
	}
	c, err := config()
	if err != nil {
		return nil, ErrDamaged
	}
	if c.Width <= 0 || c.Height <= 0 {
		return nil, ErrDamaged
	}
	if c.Width > MaxPixels/c.Height {
		return nil, fmt.Errorf("%w: it has %d × %d pixels and at most %d million are read; scale it down or crop it", ErrLarge, c.Width, c.Height, MaxPixels/1_000_000)
	}
	img, err := decode()
	if err != nil {
		return nil, ErrDamaged
	}
	return img, nil
}
