package qr

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
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

var runPattern = regexp.MustCompile(`^M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

// rasterize draws an SVG of ours with 4 pixels a module. It knows the elements that SVG writes and fails
// the test on any other.
func rasterize(t testing.TB, svg []byte) image.Image {
	t.Helper()
	const scale = 4
	var doc struct {
		XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		Width   int      `xml:"width,attr"`
		Height  int      `xml:"height,attr"`
		ViewBox string   `xml:"viewBox,attr"`
		Render  string   `xml:"shape-rendering,attr"`
		Rects   []struct {
			Width  int    `xml:"width,attr"`
			Height int    `xml:"height,attr"`
			Fill   string `xml:"fill,attr"`
		} `xml:"rect"`
		Paths []struct {
			Fill string `xml:"fill,attr"`
			D    string `xml:"d,attr"`
		} `xml:"path"`
		Other []struct{ XMLName xml.Name } `xml:",any"`
	}
	if err := xml.Unmarshal(svg, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Rects) != 1 || len(doc.Paths) != 1 || len(doc.Other) != 0 || doc.Render != "crispEdges" || doc.Width != doc.Height {
		t.Fatalf("unexpected drawing: %+v", doc)
	}
	var w int
	if _, err := fmt.Sscanf(doc.ViewBox, "0 0 %d", &w); err != nil || doc.ViewBox != fmt.Sprintf("0 0 %d %d", w, w) {
		t.Fatalf("viewBox %q, %v", doc.ViewBox, err)
	}
	if doc.Rects[0].Width != w || doc.Rects[0].Height != w {
		t.Fatalf("background %+v of %d modules", doc.Rects[0], w)
	}
	img := image.NewRGBA(image.Rect(0, 0, w*scale, w*scale))
	fill := func(x, y, n int, c color.RGBA) {
		for py := y * scale; py < (y+1)*scale; py++ {
			for px := x * scale; px < (x+n)*scale; px++ {
				img.SetRGBA(px, py, c)
			}
		}
	}
	colour := func(s string) color.RGBA {
		c, ok := parseColour(s, color.RGBA{})
		if !ok || !strings.HasPrefix(s, "#") {
			t.Fatalf("colour %q", s)
		}
		return c
	}
	for y := range w {
		fill(0, y, w, colour(doc.Rects[0].Fill))
	}
	for d := doc.Paths[0].D; d != ""; {
		m := runPattern.FindStringSubmatch(d)
		if m == nil || m[3] != m[4] {
			t.Fatalf("path at %.40q", d)
		}
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		n, _ := strconv.Atoi(m[3])
		fill(x, y, n, colour(doc.Paths[0].Fill))
		d = d[len(m[0]):]
	}
	return img
}
