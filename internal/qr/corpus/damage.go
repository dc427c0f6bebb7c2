package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// A damage is a way in which pictures suffer. It returns the file that a decoder is given.
type damage struct {
	key   string
	name  string // for the page
	floor int    // per cent that both decoders must read of any sample; below what was measured
	apply func(r *rand.Rand, s *specimen, img *image.NRGBA) (file []byte, kind string)
}

var damages = []damage{
	{"jpeg", "JPEG, quality 40", 82, func(_ *rand.Rand, _ *specimen, img *image.NRGBA) ([]byte, string) {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 40}); err != nil {
			panic(err) // a buffer takes everything
		}
		return b.Bytes(), "jpg"
	}},
	{"scaled", "scaled by 0.5 to 2, to at least 2.5 pixels a module, bilinear", 95, func(r *rand.Rand, s *specimen, img *image.NRGBA) ([]byte, string) {
		k := max(math.Exp2(2*r.Float64()-1), 2.5/s.geo.Module)
		k = min(k, 2400/float64(img.Rect.Dx()))
		out := image.NewNRGBA(image.Rect(0, 0, int(float64(img.Rect.Dx())*k), int(float64(img.Rect.Dy())*k)))
		xdraw.BiLinear.Scale(out, out.Rect, img, img.Rect, draw.Src, nil)
		return pgm(out), "pgm"
	}},
	{"blur", "blurred, Gaussian of 0.4 modules", 42, func(_ *rand.Rand, s *specimen, img *image.NRGBA) ([]byte, string) {
		return grayPGM(blur(grey(img), 0.4*s.geo.Module)), "pgm"
	}},
	{"rotated", "rotated by −10° to 10°", 88, func(r *rand.Rand, s *specimen, img *image.NRGBA) ([]byte, string) {
		return pgm(rotate(img, (2*r.Float64()-1)*10, s.bg)), "pgm"
	}},
	{"covered05", "5 % of the symbol covered by one patch", 35, cover(0.05)},
	{"covered10", "10 % of the symbol covered by one patch", 2, cover(0.10)},
	{"covered15", "15 % of the symbol covered by one patch", 0, cover(0.15)},
}

// cover paints a patch of the given share of the symbol over it in the colour of paper, somewhere that leaves the three finders be: without
// one of those no reader begins.
func cover(share float64) func(*rand.Rand, *specimen, *image.NRGBA) ([]byte, string) {
	return func(r *rand.Rand, s *specimen, img *image.NRGBA) ([]byte, string) {
		g := s.geo
		n := float64(g.Modules)
		area := share * n * n
		ratio := math.Exp2(2*r.Float64() - 1) // width to height, 1:2 to 2:1
		w := math.Sqrt(area * ratio)
		h := area / w
		for {
			x, y := r.Float64()*(n-w), r.Float64()*(n-h)
			if x < 8 && y < 8 || x+w > n-8 && y < 8 || x < 8 && y+h > n-8 {
				continue
			}
			px := func(v float64) int { return int(math.Round(v)) }
			at := image.Rect(px(g.X+x*g.Module), px(g.Y+y*g.Module), px(g.X+(x+w)*g.Module), px(g.Y+(y+h)*g.Module))
			draw.Draw(img, at, image.NewUniform(s.bg), image.Point{}, draw.Src)
			return pgm(img), "pgm"
		}
	}
}

func toNRGBA(b []byte) (*image.NRGBA, error) {
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(img.Bounds())
	draw.Draw(out, out.Rect, img, image.Point{}, draw.Src)
	return out, nil
}

// rotate turns img by degrees about its middle, on a ground large enough for all of it.
func rotate(img *image.NRGBA, degrees float64, ground color.Color) *image.NRGBA {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	w, h := float64(img.Rect.Dx()), float64(img.Rect.Dy())
	tw, th := w*cos+h*math.Abs(sin), h*cos+w*math.Abs(sin)
	out := image.NewNRGBA(image.Rect(0, 0, int(tw)+1, int(th)+1))
	draw.Draw(out, out.Rect, image.NewUniform(ground), image.Point{}, draw.Src)
	m := f64.Aff3{cos, -sin, tw/2 - cos*w/2 + sin*h/2, sin, cos, th/2 - sin*w/2 - cos*h/2}
	xdraw.BiLinear.Transform(out, m, img, img.Rect, draw.Over, nil)
	return out
}

// grey takes the luma of ITU-R BT.601, as readers do.
func grey(img *image.NRGBA) *image.Gray {
	out := image.NewGray(img.Rect)
	for i := range out.Pix {
		p := img.Pix[4*i : 4*i+3 : 4*i+3]
		out.Pix[i] = uint8((299*int(p[0]) + 587*int(p[1]) + 114*int(p[2]) + 500) / 1000)
	}
	return out
}

// blur is a Gaussian of sigma pixels, in two passes; edges repeat.
func blur(img *image.Gray, sigma float64) *image.Gray {
	n := int(math.Ceil(3 * sigma))
	kernel := make([]float32, 2*n+1)
	sum := float32(0)
	for i := range kernel {
		d := float64(i - n)
		kernel[i] = float32(math.Exp(-d * d / (2 * sigma * sigma)))
		sum += kernel[i]
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	pass := func(from, to []uint8, count, length, step, stride int) {
		line := make([]float32, length+2*n)
		for i := range count {
			for j := range line {
				line[j] = float32(from[i*stride+min(max(j-n, 0), length-1)*step])
			}
			for j := range length {
				v := float32(0)
				for k, weight := range kernel {
					v += weight * line[j+k]
				}
				to[i*stride+j*step] = uint8(v/sum + 0.5)
			}
		}
	}
	mid, out := image.NewGray(img.Rect), image.NewGray(img.Rect)
	pass(img.Pix, mid.Pix, h, w, 1, img.Stride)
	pass(mid.Pix, out.Pix, w, h, img.Stride, 1)
	return out
}
