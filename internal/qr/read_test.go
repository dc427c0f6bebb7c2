package qr

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
	"golang.org/x/image/vector"
)

// reading is what a foreign reader sees in a picture.
type reading struct {
	text    string
	version int
	level   Level
	mode    byte // of the first segment: 1 numeric, 2 alphanumeric, 4 bytes
}

// read finds and decodes the symbol in img with gozxing, as a phone would.
func read(t testing.TB, img image.Image) (reading, error) {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return reading{}, err
	}
	matrix, err := bitmap.GetBlackMatrix()
	if err != nil {
		return reading{}, err
	}
	found, err := detector.NewDetector(matrix).Detect(nil)
	if err != nil {
		return reading{}, fmt.Errorf("detect: %w", err)
	}
	version := (found.GetBits().GetWidth() - 17) / 4
	result, err := decoder.NewDecoder().Decode(found.GetBits(), nil)
	if err != nil {
		return reading{}, fmt.Errorf("decode: %w", err)
	}
	return reading{result.GetText(), version, Level(result.GetECLevel()), result.GetRawBytes()[0] >> 4}, nil
}

func decodePNG(t testing.TB, b []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// rasterize draws an SVG of ours with 8 pixels a module. It knows the elements that SVG writes and fails the test
// on any other.
func rasterize(t testing.TB, svg []byte) *image.NRGBA {
	t.Helper()
	const scale = 8
	type element struct {
		XMLName xml.Name
		Width   string  `xml:"width,attr"`
		Height  string  `xml:"height,attr"`
		X       float64 `xml:"x,attr"`
		Y       float64 `xml:"y,attr"`
		Fill    string  `xml:"fill,attr"`
		D       string  `xml:"d,attr"`
		Render  string  `xml:"shape-rendering,attr"`
		Href    string  `xml:"href,attr"`
	}
	var doc struct {
		XMLName xml.Name  `xml:"http://www.w3.org/2000/svg svg"`
		Width   string    `xml:"width,attr"`
		Height  string    `xml:"height,attr"`
		ViewBox string    `xml:"viewBox,attr"`
		Inner   []element `xml:",any"`
	}
	if err := xml.Unmarshal(svg, &doc); err != nil {
		t.Fatal(err)
	}
	var w, h float64
	if _, err := fmt.Sscanf(doc.ViewBox, "0 0 %g %g", &w, &h); err != nil {
		t.Fatalf("viewBox %q, %v", doc.ViewBox, err)
	}
	img := image.NewNRGBA(image.Rect(0, 0, int(w*scale), int(h*scale)))
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatalf("number %q", s)
		}
		return v
	}
	for i, e := range doc.Inner {
		fill := color.RGBA{}
		if e.XMLName.Local != "image" {
			var err error
			if fill, err = parseColour("fill", e.Fill, color.RGBA{}); err != nil || !strings.HasPrefix(e.Fill, "#") {
				t.Fatalf("colour %q", e.Fill)
			}
		}
		switch e.XMLName.Local {
		case "rect":
			if i != 0 || number(e.Width) != w || number(e.Height) != h {
				t.Fatalf("rectangle %+v", e)
			}
			draw.Draw(img, img.Rect, image.NewUniform(fill), image.Point{}, draw.Src)
		case "path":
			fillPath(t, img, e.D, scale, fill)
		case "image":
			encoded, ok := strings.CutPrefix(e.Href, "data:image/png;base64,")
			b, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil || !ok {
				t.Fatalf("image %.40q, %v", e.Href, err)
			}
			at := image.Rect(int(e.X*scale), int(e.Y*scale), int((e.X+number(e.Width))*scale), int((e.Y+number(e.Height))*scale))
			scaleInto(img, at, decodePNG(t, b))
		default:
			t.Fatalf("unexpected element %+v", e.XMLName)
		}
	}
	return img
}

var token = regexp.MustCompile(`[MLQChvaz]|-?[0-9.]+`)

// fillPath draws a path of the commands M, L, Q, C, h, v, z and the half circles among a.
func fillPath(t testing.TB, img *image.NRGBA, d string, scale float32, fill color.Color) {
	t.Helper()
	if rest := strings.Trim(token.ReplaceAllString(d, ""), " "); rest != "" {
		t.Fatalf("path has %.20q", rest)
	}
	words := token.FindAllString(d, -1)
	z := vector.NewRasterizer(img.Rect.Dx(), img.Rect.Dy())
	var x, y float32
	next := func() float32 {
		if len(words) == 0 {
			t.Fatal("path ends within a command")
		}
		v, err := strconv.ParseFloat(words[0], 32)
		if err != nil {
			t.Fatalf("path at %q", words[0])
		}
		words = words[1:]
		return float32(v) * scale
	}
	for len(words) > 0 {
		command := words[0]
		words = words[1:]
		switch command {
		case "M":
			x, y = next(), next()
			z.MoveTo(x, y)
		case "L":
			x, y = next(), next()
			z.LineTo(x, y)
		case "h":
			x += next()
			z.LineTo(x, y)
		case "v":
			y += next()
			z.LineTo(x, y)
		case "Q":
			a, b := next(), next()
			x, y = next(), next()
			z.QuadTo(a, b, x, y)
		case "C":
			a, b, c, d := next(), next(), next(), next()
			x, y = next(), next()
			z.CubeTo(a, b, c, d, x, y)
		case "a":
			r := next()
			if next() != r || next() != 0 || next() != scale || next() != 0 {
				t.Fatal("an arc that is no circle")
			}
			dx := next()
			if next() != 0 || dx < 2*r-0.01 && dx > -2*r+0.01 {
				t.Fatal("an arc that is no half")
			}
			k, s := float32(kappa)*r, dx/2
			z.CubeTo(x, y+k*s/r, x+s-k*s/r, y+s, x+s, y+s)
			z.CubeTo(x+s+k*s/r, y+s, x+dx, y+k*s/r, x+dx, y)
			x += dx
		case "z":
			z.ClosePath()
		}
	}
	z.Draw(img, img.Rect, image.NewUniform(fill), image.Point{})
}
