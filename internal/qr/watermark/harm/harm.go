// Package harm does to a picture what happens to pictures on their way: it is compressed, scaled, blurred, turned and shown on
// a telephone's screen. Tests and the measuring program share it, so that a rate in the documentation and a test mean the same.
//
// Start at [All]. Everything is a function of the picture and the random numbers handed in.
package harm

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// A Harm is one thing that happens to a picture.
type Harm struct {
	Name string
	Do   func(img image.Image, r *rand.Rand) image.Image
}

// All are the harms a mark is promised to survive, each alone, and None before them.
var All = []Harm{
	{"undamaged", func(img image.Image, _ *rand.Rand) image.Image { return img }},
	{"JPEG, quality 80", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(img, 80) }},
	{"JPEG, quality 60", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(img, 60) }},
	{"scaled to 50 %", func(img image.Image, _ *rand.Rand) image.Image { return Scale(img, 0.5) }},
	{"scaled to 75 %", func(img image.Image, _ *rand.Rand) image.Image { return Scale(img, 0.75) }},
	{"scaled to 130 %", func(img image.Image, _ *rand.Rand) image.Image { return Scale(img, 1.3) }},
	{"scaled to 200 %", func(img image.Image, _ *rand.Rand) image.Image { return Scale(img, 2) }},
	{"scaled to between 50 and 200 %", func(img image.Image, r *rand.Rand) image.Image { return Scale(img, math.Exp2(2*r.Float64()-1)) }},
	{"blurred by 5 px in 1024", func(img image.Image, _ *rand.Rand) image.Image {
		return Blur(img, 5*float64(img.Bounds().Dx())/1024)
	}},
	{"turned by 3°", func(img image.Image, _ *rand.Rand) image.Image { return Turn(img, 3) }},
	{"turned by up to 3°", func(img image.Image, r *rand.Rand) image.Image { return Turn(img, 6*r.Float64()-3) }},
	{"screenshot of a telephone", func(img image.Image, r *rand.Rand) image.Image { return Screenshot(img, r) }},
	{"screenshot, then JPEG, quality 75", func(img image.Image, r *rand.Rand) image.Image { return JPEG(Screenshot(img, r), 75) }},
}

// Beyond are harms a mark is not promised to survive. Photograph leaves out what a printer's raster does to so small differences.
var Beyond = []Harm{
	{"JPEG, quality 40", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(img, 40) }},
	{"JPEG, quality 60, twice, with 90 % between", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(Scale(JPEG(img, 60), 0.9), 60) }},
	{"scaled to 50 %, then JPEG, quality 60", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(Scale(img, 0.5), 60) }},
	{"scaled to 33 %", func(img image.Image, _ *rand.Rand) image.Image { return Scale(img, 1.0/3) }},
	{"screenshot, 50 %, JPEG, quality 60", func(img image.Image, r *rand.Rand) image.Image { return JPEG(Scale(Screenshot(img, r), 0.5), 60) }},
	{"turned by 20°, then JPEG, quality 75", func(img image.Image, _ *rand.Rand) image.Image { return JPEG(Turn(img, 20), 75) }},
	{"photographed from a screen (simulated)", func(img image.Image, r *rand.Rand) image.Image { return Photograph(img, r, 2) }},
	{"photographed in poor light (simulated)", func(img image.Image, r *rand.Rand) image.Image { return Photograph(img, r, 6) }},
}

// Photograph is a picture taken by hand: seen from the side, with light that falls off, black and white that are neither, a lens that
// blurs, a sensor with Gaussian noise of that many steps, and JPEG of quality 85.
func Photograph(img image.Image, r *rand.Rand, noise float64) image.Image {
	const wide, high = 1600, 1200
	out := image.NewRGBA(image.Rect(0, 0, wide, high))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	src := image.NewRGBA(image.Rect(0, 0, img.Bounds().Dx(), img.Bounds().Dy()))
	draw.Draw(src, src.Bounds(), img, img.Bounds().Min, draw.Src)
	size := 700 + 200*r.Float64()
	by := float64(src.Rect.Dx()) / size
	s, c := math.Sincos((r.Float64() - 0.5) * 0.4)
	tiltX, tiltY := (r.Float64()-0.5)*3e-4, (r.Float64()-0.5)*3e-4
	fallX, fallY := (r.Float64()-0.5)*0.3, (r.Float64()-0.5)*0.3
	for y := range high {
		for x := range wide {
			// From the photograph to the picture: perspective, rotation, scale.
			px, py := float64(x)-wide/2, float64(y)-high/2
			w := 1 + tiltX*px + tiltY*py
			u, v := (c*px+s*py)/w*by+float64(src.Rect.Dx())/2, (-s*px+c*py)/w*by+float64(src.Rect.Dy())/2
			light := 0.85 + fallX*px/wide + fallY*py/high
			p := [3]float64{225, 225, 225}
			if u >= 1 && v >= 1 && u < float64(src.Rect.Dx()-2) && v < float64(src.Rect.Dy()-2) {
				x0, y0 := int(u-0.5), int(v-0.5)
				fx, fy := u-0.5-float64(x0), v-0.5-float64(y0)
				for i := range p {
					at := func(x, y int) float64 { return float64(src.Pix[src.PixOffset(x, y)+i]) }
					p[i] = (at(x0, y0)*(1-fx)+at(x0+1, y0)*fx)*(1-fy) + (at(x0, y0+1)*(1-fx)+at(x0+1, y0+1)*fx)*fy
				}
			}
			o := out.PixOffset(x, y)
			for i := range p {
				out.Pix[o+i] = uint8(math.Min(math.Max(light*(30+0.82*p[i])+0.5, 0), 255))
			}
		}
	}
	out = Blur(out, 1).(*image.RGBA)
	for i := 0; i < len(out.Pix); i += 4 {
		n := noise * r.NormFloat64()
		for k := range 3 {
			out.Pix[i+k] = uint8(math.Min(math.Max(float64(out.Pix[i+k])+n+noise/2*r.NormFloat64()+0.5, 0), 255))
		}
	}
	return JPEG(out, 85)
}

// JPEG compresses and decompresses at a quality, with the standard's tables and halved chroma.
func JPEG(img image.Image, quality int) image.Image {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		panic(fmt.Sprintf("harm: encode: %v", err)) // a picture larger than JPEG takes
	}
	out, err := jpeg.Decode(&b)
	if err != nil {
		panic(fmt.Sprintf("harm: decode: %v", err))
	}
	return out
}

// Scale resamples by a factor, with a Catmull-Rom kernel.
func Scale(img image.Image, by float64) image.Image {
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, int(math.Round(float64(b.Dx())*by)), int(math.Round(float64(b.Dy())*by))))
	draw.CatmullRom.Scale(out, out.Bounds(), img, b, draw.Src, nil)
	return out
}

// Turn rotates about the middle, on a white ground large enough, with a Catmull-Rom kernel.
func Turn(img image.Image, degrees float64) image.Image {
	b := img.Bounds()
	s, c := math.Sincos(degrees * math.Pi / 180)
	w, h := float64(b.Dx()), float64(b.Dy())
	ow, oh := math.Ceil(math.Abs(w*c)+math.Abs(h*s)), math.Ceil(math.Abs(w*s)+math.Abs(h*c))
	out := image.NewRGBA(image.Rect(0, 0, int(ow), int(oh)))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	draw.CatmullRom.Transform(out, f64.Aff3{c, -s, ow/2 - c*w/2 + s*h/2, s, c, oh/2 - s*w/2 - c*h/2}, img, b, draw.Over, nil)
	return out
}

// Blur convolves with a Gaussian of that standard deviation in pixels, rounding between the two passes and after them.
func Blur(img image.Image, sigma float64) image.Image {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	radius := int(math.Ceil(3 * sigma))
	kernel := make([]float64, 2*radius+1)
	sum := 0.0
	for i := range kernel {
		d := float64(i - radius)
		kernel[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += kernel[i]
	}
	in := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(in, in.Bounds(), img, b.Min, draw.Src)
	pass := func(in *image.RGBA, dx, dy int) *image.RGBA {
		out := image.NewRGBA(in.Bounds())
		for y := range h {
			for x := range w {
				var acc [3]float64
				for i, k := range kernel {
					p := in.PixOffset(min(max(x+dx*(i-radius), 0), w-1), min(max(y+dy*(i-radius), 0), h-1))
					for c := range acc {
						acc[c] += k * float64(in.Pix[p+c])
					}
				}
				o := out.PixOffset(x, y)
				for c := range acc {
					out.Pix[o+c] = uint8(acc[c]/sum + 0.5)
				}
				out.Pix[o+3] = 255
			}
		}
		return out
	}
	return pass(pass(in, 1, 0), 0, 1)
}

// Screenshot shows the picture as a telephone does and takes a picture of that: a screen of 390 × 844 CSS pixels at a ratio of 3, the
// picture 220 to 342 of them wide at a place that is no whole pixel, resampled bilinearly, on a page with a title, lines of text, a button
// and a picture.
func Screenshot(img image.Image, r *rand.Rand) image.Image {
	const ratio, wide, high = 3, 390 * 3, 844 * 3
	out := image.NewRGBA(image.Rect(0, 0, wide, high))
	fill := func(x, y, w, h int, c color.Color) {
		draw.Draw(out, image.Rect(x, y, x+w, y+h), image.NewUniform(c), image.Point{}, draw.Src)
	}
	page := uint8(232 + r.IntN(24))
	fill(0, 0, wide, high, color.Gray{page})
	fill(0, 0, wide, 264, color.RGBA{uint8(r.IntN(120)), uint8(100 + r.IntN(100)), uint8(r.IntN(200)), 255})
	text := func(x, y, w, h int) {
		for ; w > 0; w -= h {
			if r.IntN(6) > 0 {
				fill(x, y+r.IntN(h/3), h/2+r.IntN(h/3), h/2, color.Gray{uint8(20 + r.IntN(60))})
			}
			x += h
		}
	}
	text(60, 150, 500, 60)
	size := float64(220+r.IntN(123)) * ratio
	left := (wide-size)/2 + r.Float64()
	top := 420 + 300*r.Float64()
	card := image.Rect(int(left)-30, int(top)-30, int(left+size)+30, int(top+size)+30)
	draw.Draw(out, card, image.White, image.Point{}, draw.Src)
	by := size / float64(img.Bounds().Dx())
	draw.ApproxBiLinear.Transform(out, f64.Aff3{by, 0, left, 0, by, top}, img, img.Bounds(), draw.Src, nil)
	low := int(top+size) + 90
	for i := range 4 {
		text(90, low+i*66, 700+r.IntN(250), 42)
	}
	fill(150, low+320, wide-300, 130, color.RGBA{7, 193, 96, 255})
	for y := low + 520; y < high; y++ { // something like a photograph
		for x := range wide {
			v := 128 + 60*math.Sin(float64(x)/37+float64(y)/53) + 40*r.Float64()
			out.SetRGBA(x, y, color.RGBA{uint8(v), uint8(v * 0.8), uint8(v * 0.6), 255})
		}
	}
	return out
}
