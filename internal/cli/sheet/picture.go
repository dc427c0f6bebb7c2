package sheet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
)

var signature = []byte("\x89PNG\r\n\x1a\n")

var errTorn = errors.New("the picture is not a whole PNG")

// chunks hands the chunks of a whole PNG to fn (ISO/IEC 15948, 5.3). It checks every sum and that nothing is missing or too much.
func chunks(b []byte, fn func(kind string, data []byte)) error {
	rest, ok := bytes.CutPrefix(b, signature)
	if !ok {
		return errTorn
	}
	for {
		if len(rest) < 12 {
			return errTorn
		}
		n := binary.BigEndian.Uint32(rest)
		if uint64(n)+12 > uint64(len(rest)) {
			return errTorn
		}
		body := rest[4 : 8+n]
		if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(rest[8+n:]) {
			return errTorn
		}
		kind := string(body[:4])
		fn(kind, body[4:])
		if rest = rest[12+n:]; kind == "IEND" {
			if len(rest) > 0 {
				return errTorn
			}
			return nil
		}
	}
}

// Whole reports whether b is a whole PNG, every byte of it as it was written.
func Whole(b []byte) bool { return chunks(b, func(string, []byte) {}) == nil }

// image writes a picture as an image object. A PNG's data are a PDF's too, unless it is interlaced, transparent or of 16 bits: then it
// is drawn anew, on white.
func (f *file) image(b []byte) (int, error) {
	var header, palette, data []byte
	clear := false
	err := chunks(b, func(kind string, d []byte) {
		switch kind {
		case "IHDR":
			header = d
		case "PLTE":
			palette = d
		case "IDAT":
			data = append(data, d...)
		case "tRNS":
			clear = true
		}
	})
	if err != nil {
		return 0, err
	}
	if len(header) != 13 || len(data) == 0 {
		return 0, errTorn
	}
	width, height := binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:])
	depth, kind, interlaced := header[8], header[9], header[12] != 0
	space, colours := "", 1
	switch {
	case clear || interlaced || depth > 8:
	case kind == 0:
		space = "/DeviceGray"
	case kind == 2:
		space, colours = "/DeviceRGB", 3
	case kind == 3 && len(palette) >= 3:
		space = fmt.Sprintf("[/Indexed/DeviceRGB %d<%s>]", len(palette)/3-1, hex.EncodeToString(palette))
	}
	n := f.reserve()
	if space == "" {
		rgb, err := flatten(b)
		if err != nil {
			return 0, err
		}
		f.compressed(n, fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8", width, height), rgb)
		return n, nil
	}
	f.stream(n, fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace%s/BitsPerComponent %d/Filter/FlateDecode/DecodeParms<</Predictor 15/Colors %d/BitsPerComponent %d/Columns %d>>",
		width, height, space, depth, colours, depth, width), data)
	return n, nil
}

// flatten draws a picture on white, 3 bytes a pixel.
func flatten(b []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, errTorn
	}
	r := img.Bounds()
	out := make([]byte, 0, 3*r.Dx()*r.Dy())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			red, green, blue, alpha := img.At(x, y).RGBA() // premultiplied
			white := 0xffff - alpha
			out = append(out, byte((red+white)>>8), byte((green+white)>>8), byte((blue+white)>>8))
		}
	}
	return out, nil
}
