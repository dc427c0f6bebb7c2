package qr

import (
	"errors"
	"image"
	"testing"
)

// TestGeometryIsWhereTheModulesAre looks every module up in the picture by the geometry alone.
func TestGeometryIsWhereTheModulesAre(t *testing.T) {
	for _, size := range []int{64, 100, 512, 1000} {
		s, err := Encode(Options{Content: "HTTPS://GO.EXAMPLE.COM/S/" + token34, Version: 3, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		img, err := s.Image()
		if err != nil {
			t.Fatal(err)
		}
		g := s.Geometry()
		if g.Bounds != img.Bounds() || g.Modules != 29 || g.Quiet != QuietZone {
			t.Fatalf("%+v of a picture of %v", g, img.Bounds())
		}
		for y := range g.Modules {
			for x := range g.Modules {
				at := img.NRGBAAt(int(g.X+(float64(x)+0.5)*g.Module), int(g.Y+(float64(y)+0.5)*g.Module))
				if dark := at.R < 128; dark != s.modules[y][x] {
					t.Fatalf("%d px: module %d,%d is %v in the symbol, %v in the picture", size, x, y, s.modules[y][x], dark)
				}
			}
		}
	}
}

func TestMarkIsInThePictureThatIsEncoded(t *testing.T) {
	var seen Geometry
	o := Options{Content: "HELLO", Size: 100, Mark: func(img *image.NRGBA, g Geometry) error {
		seen = g
		img.Pix[0] = 250
		return nil
	}}
	s, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	if r, g, _, _ := decodePNG(t, b).At(0, 0).RGBA(); r>>8 != 250 || g>>8 != 255 {
		t.Errorf("the first pixel is %d, %d", r>>8, g>>8)
	}
	if want := s.Geometry(); seen.Module != want.Module || seen.X != want.X || seen.Modules != 21 {
		t.Errorf("marked at %+v, want %+v", seen, want)
	}
	failed := errors.New("no room")
	o.Mark = func(*image.NRGBA, Geometry) error { return failed }
	if s, err = Encode(o); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PNG(); !errors.Is(err, failed) {
		t.Errorf("the mark's error is lost: %v", err)
	}
}
