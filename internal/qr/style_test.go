package qr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"
)

func encodeWith(w io.Writer, img image.Image) error { return png.Encode(w, img) }

const scanURL = "HTTPS://GO.EXAMPLE.COM/S/" + token34

// styles are drawings of all kinds.
func styles(t testing.TB) map[string]Options {
	logo := testLogo(t, 64, 64)
	return map[string]Options{
		"plain":                   {},
		"plate":                   {Tracking: "7KQ2M4XR"},
		"round, plate, badge":     {Shape: ShapeRound, Tracking: "7KQ2M4XR", Badge: "3群", Foreground: "#1a5fb4"},
		"dots, two-line badge":    {Shape: ShapeDots, Tracking: "7KQ2M4XR", Badge: "社群活码"},
		"copy":                    {Copy: "扫码加入第三群"},
		"copy in lines":           {Copy: "Scan to join the reading circle of the old town, every Tuesday at eight", Shape: ShapeRound, Size: 333},
		"logo":                    {Logo: logo, Version: 4},
		"logo, badge, copy":       {Logo: logo, Version: 5, Level: LevelQ, Badge: "VIP", Copy: "Join us", Shape: ShapeDots},
		"wide quiet zone":         {Quiet: 9, Tracking: "7KQ2M4XR", Foreground: "#400", Background: "#ffe"},
		"large, pattern of rings": {Version: 14, Shape: ShapeRound, Tracking: "7KQ2M4XR", Size: 1000},
		"article":                 {Rendering: RenderingArticle, Tracking: "7KQ2M4XR"},
	}
}

// TestPNGAndSVGShowTheSameModules reads both and looks every module up in both.
func TestPNGAndSVGShowTheSameModules(t *testing.T) {
	for name, o := range styles(t) {
		o.Content = scanURL
		if o.Version == 0 {
			o.Version = 3
		}
		s, err := Encode(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := s.PNG()
		if err != nil {
			t.Fatal(err)
		}
		pixels, vectors := decodePNG(t, b), rasterize(t, s.SVG())
		g := s.Geometry()
		for form, img := range map[string]image.Image{"PNG": pixels, "SVG": vectors} {
			got, err := read(t, img)
			if err != nil || got.text != scanURL || got.version != s.Version() || got.level != s.Level() || got.mode != 2 {
				t.Errorf("%s: %s read as %+v, %v", name, form, got, err)
			}
		}
		wrong := 0
		for y := range g.Modules {
			for x := range g.Modules {
				if g.Covered(x, y) {
					continue
				}
				px := pixels.At(int(g.X+(float64(x)+0.5)*g.Module), int(g.Y+(float64(y)+0.5)*g.Module))
				vx := vectors.At(8*(x+g.Quiet)+4, 8*(y+g.Quiet)+4)
				if s.modules[y][x] != s.isDark(px) || s.modules[y][x] != s.isDark(vx) {
					wrong++
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d modules are not what the symbol says", name, wrong)
		}
	}
}

// isDark says which of its two colours c is nearer to.
func (s *Symbol) isDark(c color.Color) bool {
	r, g, b, _ := c.RGBA()
	far := func(o color.RGBA) float64 {
		return math.Hypot(math.Hypot(float64(r>>8)-float64(o.R), float64(g>>8)-float64(o.G)), float64(b>>8)-float64(o.B))
	}
	return far(s.fg) < far(s.bg)
}

func sameColour(a, b color.Color) bool {
	ar, ag, ab, _ := a.RGBA()
	br, bg, bb, _ := b.RGBA()
	return ar>>8 == br>>8 && ag>>8 == bg>>8 && ab>>8 == bb>>8
}

// TestQuietZoneIsEmpty looks at every pixel of it, and of what is left over round it.
func TestQuietZoneIsEmpty(t *testing.T) {
	for name, o := range styles(t) {
		o.Content = scanURL
		s, err := Encode(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		img, err := s.Image()
		if err != nil {
			t.Fatal(err)
		}
		g := s.Geometry()
		low, high := int(g.X), int(g.X+g.Module*float64(g.Modules))
		bottom := high + int(g.Module)*QuietZone*3/4 // words under the picture begin below this; there the reader needs no more
		if o.Copy == "" {
			bottom = img.Rect.Max.Y
		}
		for y := range bottom {
			for x := range img.Rect.Max.X {
				if x >= low && x < high && y >= low && y < high {
					continue
				}
				if !sameColour(img.At(x, y), s.bg) {
					t.Fatalf("%s: pixel %d,%d of the quiet zone is %v", name, x, y, img.At(x, y))
				}
			}
		}
		if g.Quiet < QuietZone || int(g.X) < g.Quiet*int(g.Module) {
			t.Errorf("%s: quiet zone of %d modules, symbol at %g", name, g.Quiet, g.X)
		}
	}
}

func TestImageIsWhatPNGSays(t *testing.T) {
	for name, o := range styles(t) {
		o.Content = scanURL
		for _, size := range []int{0, 301, 777} {
			if o.Size = size; size != 0 && o.Version == 14 {
				continue
			}
			s, err := Encode(o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want, err := s.Image()
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.PNG()
			if err != nil {
				t.Fatal(err)
			}
			got := decodePNG(t, b)
			if got.Bounds() != want.Rect {
				t.Fatalf("%s: %v, want %v", name, got.Bounds(), want.Rect)
			}
			for y := range want.Rect.Max.Y {
				for x := range want.Rect.Max.X {
					if !sameColour(got.At(x, y), want.At(x, y)) {
						t.Fatalf("%s, %d px: pixel %d,%d is %v, want %v", name, size, x, y, got.At(x, y), want.At(x, y))
					}
				}
			}
		}
	}
}

// TestForcedVersions holds the profiles' versions, and what is said where content does not fit.
func TestForcedVersions(t *testing.T) {
	for _, row := range []struct {
		name      string
		version   int
		rendering Rendering
		content   string
		level     Level
		want      string // part of the error
	}{
		{"wechat-group", 3, "", scanURL, LevelM, ""},
		{"wechat-static", 2, "", "HTTPS://GO.EXAMPLE.COM/S/7ZZ0KQ3M5D8A", LevelM, ""},
		{"wecom-group", 4, "", scanURL, LevelM, ""},
		{"wechat-group in an article", 3, RenderingArticle, scanURL, LevelL, ""},
		{"wechat-static in an article", 2, RenderingArticle, "HTTPS://GO.EXAMPLE.COM/S/7ZZ0KQ3M5D8A", LevelL, ""},
		{"wecom-group abroad", 4, RenderingInternational, scanURL, LevelM, ""},
		{"three too many", 3, "", "HTTPS://" + strings.Repeat("A", 19) + "/S/" + token34, LevelM, "its 64 characters do not fit version 3 at level M, which is forced: save 3"},
		{"one too many", 2, "", strings.Repeat("A", 39), LevelM, "save 1"},
		{"bytes", 3, "", strings.Repeat("a", 52), LevelM, "save 10"},
		{"article holds it, the profile's level does not", 3, RenderingArticle, strings.Repeat("A", 70), LevelM, "save 9"},
		{"no version", 0, "", scanURL, LevelM, "version"},
	} {
		s, err := Encode(Options{Content: row.content, Version: row.version, Forced: true, Rendering: row.rendering, Tracking: "7KQ2M4XR"})
		if row.want != "" {
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: %v, want %q", row.name, err, row.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		b, err := s.PNG()
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t, decodePNG(t, b))
		if want := (reading{row.content, row.version, row.level, 2}); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", row.name, got, err, want)
		}
	}
}

// TestArticleKeepsTheVersion that the content has at the level asked for.
func TestArticleKeepsTheVersion(t *testing.T) {
	content := strings.Repeat("a", 100)
	s, err := Encode(Options{Content: content, Level: LevelH})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Encode(Options{Content: content, Level: LevelH, Rendering: RenderingArticle})
	if err != nil || a.Version() != s.Version() || a.Level() != LevelL {
		t.Errorf("version %d at %s, %v, want version %d at L", a.Version(), a.Level(), err, s.Version())
	}
}

func TestMillimetres(t *testing.T) {
	s, err := Encode(Options{Content: scanURL, MM: 25.4, DPI: 600, Copy: "扫码入群"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	if got := decodePNG(t, b).Bounds().Dx(); got != 600 {
		t.Errorf("an inch at 600 dpi has %d pixels", got)
	}
	at := bytes.Index(b, []byte("pHYs"))
	if at < 0 {
		t.Fatal("no pHYs chunk")
	}
	if x, y := binary.BigEndian.Uint32(b[at+4:]), binary.BigEndian.Uint32(b[at+8:]); x != 23622 || y != 23622 || b[at+12] != 1 {
		t.Errorf("%d by %d pixels a unit %d, want 23622 a metre", x, y, b[at+12])
	}
	if svg := string(s.SVG()); !strings.Contains(svg, `width="25.4mm" height="`) {
		t.Errorf("svg begins %.120s", svg)
	}
	s, err = Encode(Options{Content: scanURL, Size: 300, DPI: 150})
	if err != nil {
		t.Fatal(err)
	}
	if svg := string(s.SVG()); !strings.Contains(svg, `width="50.8mm" height="50.8mm"`) {
		t.Errorf("svg begins %.120s", svg)
	}
	if s, err = Encode(Options{Content: scanURL}); err != nil {
		t.Fatal(err)
	}
	if b, err = s.PNG(); err != nil || bytes.Contains(b, []byte("pHYs")) {
		t.Errorf("a resolution nobody asked for, %v", err)
	}
	if svg := string(s.SVG()); !strings.Contains(svg, `width="512" height="512"`) {
		t.Errorf("svg begins %.120s", svg)
	}
}

func TestPNGsAreSmall(t *testing.T) {
	for _, row := range []struct {
		o     Options
		bytes int
	}{{Options{}, 1500}, {Options{Tracking: "7KQ2M4XR"}, 4000}, {Options{Shape: ShapeRound, Tracking: "7KQ2M4XR", Badge: "3群"}, 16000}} {
		row.o.Content = scanURL
		s, err := Encode(row.o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.PNG()
		if err != nil || len(b) > row.bytes {
			t.Errorf("%+v: %d bytes, %v, want at most %d", row.o, len(b), err, row.bytes)
		}
	}
}

func TestPlateGoesWhereItIsNotRead(t *testing.T) {
	for _, row := range []struct {
		name string
		o    Options
		want bool
	}{
		{"as large as usual", Options{Tracking: "7KQ2M4XR"}, true},
		{"a thumbnail", Options{Tracking: "7KQ2M4XR", Size: 120}, false},
		{"without a code", Options{}, false},
		{"off", Options{Tracking: "7KQ2M4XR", Plate: PlateOff}, false},
		{"beside a logo", Options{Tracking: "7KQ2M4XR", Logo: testLogo(t, 40, 40), Version: 5}, false},
	} {
		row.o.Content = scanURL
		s, err := Encode(row.o)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got := len(s.items) > 0; got != row.want {
			t.Errorf("%s: plate %v, want %v", row.name, got, row.want)
		}
	}
}

func TestStylesRefused(t *testing.T) {
	logo := testLogo(t, 40, 40)
	long := strings.Repeat("长", 130)
	for _, row := range []struct {
		name, field, want string
		o                 Options
	}{
		{"unknown shape", "shape", "square, round or dots", Options{Shape: "hearts"}},
		{"unknown plate", "plate", "on or off", Options{Plate: "maybe"}},
		{"a plate without a code", "plate", "no tracking code", Options{Plate: PlateOn}},
		{"a plate of seven", "tracking", "8 characters", Options{Tracking: "7KQ2M4X"}},
		{"a plate in Chinese", "tracking", "ASCII", Options{Tracking: "活码活"[:8]}},
		{"plate and logo", "plate", "not both", Options{Plate: PlateOn, Tracking: "7KQ2M4XR", Logo: logo}},
		{"a plate in a thumbnail", "plate", "take at least", Options{Plate: PlateOn, Tracking: "7KQ2M4XR", Size: 100}},
		{"a plate in the smallest symbol", "plate", "repairs 2, of which at most half (1)", Options{Plate: PlateOn, Tracking: "7KQ2M4XR", Content: "HELLO", Level: LevelL}},
		{"quiet zone of 3", "quiet", "4 to 32", Options{Quiet: 3}},
		{"quiet zone of -1", "quiet", "4 to 32", Options{Quiet: -1}},
		{"quiet zone of 100", "quiet", "4 to 32", Options{Quiet: 100}},
		{"badge of 200 characters", "badge", "has 200 characters; at most 24", Options{Badge: strings.Repeat("x", 200)}},
		{"badge of many characters", "badge", "of which at most half (6)", Options{Badge: "ABCDEFGHIJKLMNOPQRSTUVWX"}},
		{"badge in a thumbnail", "badge", "take at least", Options{Badge: "社群活码", Size: 120}},
		{"blank badge", "badge", "blank", Options{Badge: "  "}},
		{"emoji", "badge", "emoji", Options{Badge: "满😀"}},
		{"emoji under it", "copy", "emoji", Options{Copy: "👍"}},
		{"right to left", "badge", "right to left", Options{Badge: "מלא"}},
		{"right to left under it", "copy", "right to left", Options{Copy: "انضم إلينا"}},
		{"joined letters", "copy", "join", Options{Copy: "समूह"}},
		{"long copy", "copy", "has 130 characters; at most 120", Options{Copy: long}},
		{"copy of many lines", "copy", "lines; at most 4", Options{Copy: long[:3*120], Size: 200}},
		{"a wide word", "copy", "wider than the picture", Options{Copy: strings.Repeat("W", 60)}},
		{"logo in the smallest symbol", "logo", "at most half (1)", Options{Logo: logo, Content: "HELLO", Level: LevelL}},
		{"transparent", "bg", "cannot be checked", Options{Foreground: "#000", Background: "transparent"}},
		{"transparent on transparent", "fg", "cannot be checked", Options{Foreground: "transparent", Background: "transparent"}},
		{"half transparent", "bg", "is transparent", Options{Background: "#ffffff80"}},
		{"transparent in short", "bg", "is transparent", Options{Background: "#fff0"}},
		{"a name", "fg", "write #8b0000", Options{Foreground: "DarkRed"}},
		{"pixels and millimetres", "size", "not both", Options{Size: 300, MM: 30}},
		{"negative millimetres", "mm", "such as 30", Options{MM: -1}},
		{"no number", "mm", "such as 30", Options{MM: math.NaN()}},
		{"a hair", "mm", "12 pixels, outside 64 to 4096", Options{MM: 1}},
		{"a house", "mm", "at this resolution 6 to 346 mm", Options{MM: 9000}},
		{"dots of dust", "mm", "0.25: make it at least 10 mm", Options{MM: 7, DPI: 600}},
		{"dust by its resolution", "dpi", "at least 10 mm", Options{Size: 300, DPI: 2400}},
		{"one dot an inch", "dpi", "outside 72 to 2400", Options{DPI: 1}},
		{"size 10", "size", "outside 64 to 4096", Options{Size: 10}},
		{"size 100000", "size", "outside 64 to 4096", Options{Size: 100_000}},
		{"dots too small", "size", "drawn as dots", Options{Size: 80, Shape: ShapeDots}},
	} {
		if row.o.Content == "" {
			row.o.Content = scanURL
		}
		s, err := Encode(row.o)
		var e *Error
		if s != nil || !errors.As(err, &e) || e.Field != row.field || !strings.Contains(e.Message, row.want) {
			t.Errorf("%s: %v, want %s: %q", row.name, err, row.field, row.want)
		}
	}
	if _, err := Encode(Options{Content: scanURL, Background: "#ffff"}); err != nil {
		t.Errorf("opaque in four digits: %v", err)
	}
}

func TestLogosRefused(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 40, 40))
	good := pngOf(t, img)
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, img, nil); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"png": good, "jpeg": photo.Bytes()} {
		if _, err := ParseLogo(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, row := range []struct {
		name, want string
		b          []byte
	}{
		{"nothing", "no PNG or JPEG", nil},
		{"text", "no PNG or JPEG", []byte("<svg/>")},
		{"half a file", "damaged", good[:len(good)/2]},
		{"a bomb", "60000 × 60000 pixels; at most 1024 × 1024", withSize(good, 60_000, 60_000)},
		{"a long bomb", "decoded", withSize(good, 1, 1<<30)},
		{"a ribbon", "four times", pngOf(t, image.NewNRGBA(image.Rect(0, 0, 500, 100)))},
		{"a large file", "at most 32768 are taken", bytes.Repeat([]byte{0}, MaxLogoBytes+1)},
	} {
		l, err := ParseLogo(row.b)
		var e *Error
		if l != nil || !errors.As(err, &e) || e.Field != "logo" || !strings.Contains(e.Message, row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	n := testing.AllocsPerRun(5, func() { _, _ = ParseLogo(withSize(good, 60_000, 60_000)) })
	if n > 100 {
		t.Errorf("refusing a bomb takes %.0f allocations", n)
	}
}

// withSize changes the size in a PNG's header.
func withSize(b []byte, w, h uint32) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

func TestWrap(t *testing.T) {
	for _, row := range []struct {
		text  string
		width float32
		want  string
	}{
		{"one two three", 100, "one two three"},
		{"one two three", 4.5, "one two|three"},
		{"扫一扫加入群聊", 3.1, "扫一扫|加入群|聊"},
		{"扫一扫，加入", 3.1, "扫一|扫，加|入"},
		{"第 3 群", 1.9, "第 3|群"},
	} {
		l, err := typeset("copy", row.text)
		if err != nil {
			t.Fatal(err)
		}
		lines, ok := l.wrap(row.width)
		var got []string
		for _, l := range lines {
			got = append(got, string(l.runes))
			if l.width() > row.width {
				t.Errorf("%s: line %q is %.2f em, at most %.2f", row.text, string(l.runes), l.width(), row.width)
			}
		}
		if !ok || strings.Join(got, "|") != row.want {
			t.Errorf("%s: %q, want %s", row.text, got, row.want)
		}
	}
	l, err := typeset("copy", "unbreakable")
	if err != nil {
		t.Fatal(err)
	}
	if lines, ok := l.wrap(2); ok {
		t.Errorf("broken into %d", len(lines))
	}
}

func FuzzStyle(f *testing.F) {
	f.Add(512, 0.0, 0, 0, "round", "on", "7KQ2M4XR", "3群", "扫码")
	f.Add(0, 30.0, 300, 4, "dots", "", "ABCDEFGH", "Poster A", "a b c")
	f.Add(64, -1.0, -1, -1, "", "off", "", "מ", "\u202e\x00")
	f.Fuzz(func(t *testing.T, size int, mm float64, dpi, quiet int, shape, plate, tracking, badge, words string) {
		if size > 600 || mm > 40 || dpi > 400 {
			return // drawing much takes long and shows nothing more
		}
		s, err := Encode(Options{Content: scanURL, Version: 3, Forced: true, Size: size, MM: mm, DPI: dpi, Quiet: quiet, Shape: Shape(shape), Plate: Plate(plate), Tracking: tracking, Badge: badge, Copy: words})
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Field == "" || e.Message == "" {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		b, err := s.PNG()
		if err != nil {
			t.Fatal(err)
		}
		img := decodePNG(t, b)
		if g := s.Geometry(); img.Bounds() != g.Bounds {
			t.Fatalf("%v, want %v", img.Bounds(), g.Bounds)
		}
		rasterize(t, s.SVG())
		got, err := read(t, img)
		if err != nil && s.Geometry().Module >= 3 || err == nil && got.text != scanURL {
			t.Fatal(fmt.Errorf("read %+v: %w", got, err))
		}
	})
}
