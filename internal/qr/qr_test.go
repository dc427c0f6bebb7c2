package qr

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"strings"
	"testing"
)

const token34 = "E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU"

// profiles are the shapes of the platform profiles: preferred version and level with what they carry.
var profiles = []struct {
	name    string
	version int
	level   Level
	content string
	want    int // version of the default rendering
}{
	{"wechat-group", 3, LevelM, "HTTPS://GO.EXAMPLE.COM/S/" + token34, 3},
	{"wechat-group, longest host", 3, LevelM, "HTTPS://" + strings.Repeat("A", 16) + "/S/" + token34, 3},
	{"wechat-group, one too long", 3, LevelM, "HTTPS://" + strings.Repeat("A", 17) + "/S/" + token34, 4},
	{"wechat-static", 2, LevelM, "HTTPS://GO.EXAMPLE.COM/S/7ZZ0KQ3M5D8A", 2},
	{"wecom-group", 4, LevelM, "HTTPS://GO.EXAMPLE.COM/S/" + token34, 4},
	{"miniprogram", 0, LevelM, "https://go.example.com/m?id=7zz0kq3m5d8a&scene=campaign%3D1", 4},
	{"laptop", 3, LevelM, "http://127.0.0.1:8080/S/" + token34, 4},
	{"highest level", 3, LevelH, "HTTPS://GO.EXAMPLE.COM/S/" + token34, 5},
	{"version information", 7, LevelQ, "HTTPS://GO.EXAMPLE.COM/S/" + token34, 7},
	{"long", 0, LevelM, "https://example.com/" + strings.Repeat("a/long/path/", 30), 15},
	{"digits", 1, LevelM, "01234567890", 1},
	{"UTF-8", 0, LevelM, "https://例子.example/活码", 3},
}

func TestEveryPictureIsRead(t *testing.T) {
	colours := [][2]string{{"", ""}, {"#1a5fb4", "#fff"}, {"06803f", "#f8f8f8"}, {"#900", "ffe680"}}
	for _, p := range profiles {
		for _, rendering := range []Rendering{"", RenderingArticle, RenderingInternational} {
			if p.name == "UTF-8" && rendering == RenderingInternational {
				continue // refused, see TestRefused
			}
			for i, size := range []int{0, 64, 100, 257, 1024} {
				c := colours[i%len(colours)]
				name := fmt.Sprintf("%s, rendering %q, %d px, %s on %s", p.name, rendering, size, c[0], c[1])
				s, err := Encode(Options{Content: p.content, Version: p.version, Level: p.level, Size: size, Foreground: c[0], Background: c[1], Rendering: rendering})
				var refused *Error
				if errors.As(err, &refused) && refused.Field == "size" && size != 0 && size <= 100 {
					continue // too small for this symbol, see TestSizes
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				want := reading{text: p.content, version: p.want, level: p.level}
				if rendering == RenderingArticle {
					want.level, want.version = LevelL, s.Version()
					if s.Version() > p.want || s.Version() < p.version {
						t.Errorf("%s: version %d, preferred %d", name, s.Version(), p.version)
					}
				}
				b, err := s.PNG()
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				img := decodePNG(t, b)
				if px := max(size, 64); size != 0 && img.Bounds() != image.Rect(0, 0, px, px) || size == 0 && img.Bounds().Dx() != DefaultSize {
					t.Errorf("%s: bounds %v", name, img.Bounds())
				}
				for form, img := range map[string]image.Image{"PNG": img, "SVG": rasterize(t, s.SVG())} {
					got, err := read(t, img)
					want.mode = got.mode
					if err != nil || got != want {
						t.Errorf("%s: %s read as %+v, %v, want %+v", name, form, got, err, want)
					}
				}
				if s.Version() != want.version || s.Level() != want.level {
					t.Errorf("%s: says version %d level %s", name, s.Version(), s.Level())
				}
			}
		}
	}
}

func TestUpperCaseURLIsAlphanumeric(t *testing.T) {
	for content, want := range map[string]struct {
		mode    byte
		version int
	}{
		"HTTPS://GO.EXAMPLE.COM/S/" + token34:                  {2, 3},
		"HTTPS://" + strings.Repeat("A", 16) + "/S/" + token34: {2, 3}, // 61 characters, all that 3-M holds
		"https://" + strings.Repeat("a", 16) + "/s/" + token34: {4, 4},
	} {
		s, err := Encode(Options{Content: content, Version: 3})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.PNG()
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t, decodePNG(t, b))
		if err != nil || got.mode != want.mode || got.version != want.version || got.text != content {
			t.Errorf("%s (%d): %+v, %v, want %+v", content, len(content), got, err, want)
		}
	}
}

// TestCapacities holds the numbers of characters which a profile's author may count on.
func TestCapacities(t *testing.T) {
	for _, row := range []struct {
		version        int
		level          Level
		bytes, letters int
	}{{3, LevelM, 42, 61}, {4, LevelM, 62, 90}, {2, LevelM, 26, 38}, {3, LevelL, 53, 77}, {4, LevelL, 78, 114}, {40, LevelL, 2953, 4296}} {
		for unit, n := range map[string]int{"a": row.bytes, "A": row.letters} {
			s, err := encode(strings.Repeat(unit, n), 0, false, row.level)
			if err != nil || s.Version() != row.version {
				t.Errorf("%d-%s does not hold %d %s: %v", row.version, row.level, n, unit, err)
			}
			if s, err := encode(strings.Repeat(unit, n+1), 0, false, row.level); err == nil && s.Version() <= row.version {
				t.Errorf("%d-%s holds %d %s", row.version, row.level, n+1, unit)
			}
		}
	}
}

func TestSameOptionsSameBytes(t *testing.T) {
	o := Options{Content: "HTTPS://GO.EXAMPLE.COM/S/" + token34, Version: 3}
	a, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := a.PNG()
	second, _ := a.PNG()
	third, _ := b.PNG()
	if !bytes.Equal(first, second) || !bytes.Equal(first, third) || !bytes.Equal(a.SVG(), b.SVG()) {
		t.Error("drawn twice, two pictures")
	}
}

func TestPNGIsCrispWithAQuietZone(t *testing.T) {
	s, err := Encode(Options{Content: "HELLO", Size: 100, Foreground: "#123456", Background: "#fedcba"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	img := decodePNG(t, b)
	const scale, offset = 3, (100 - 3*29) / 2 // version 1: 21 modules and twice the quiet zone
	for y := range 100 {
		for x := range 100 {
			want := color.RGBA{0xfe, 0xdc, 0xba, 255}
			mx, my := (x-offset)/scale, (y-offset)/scale
			if x >= offset && y >= offset && mx >= QuietZone && my >= QuietZone && mx < 25 && my < 25 && s.modules[my-QuietZone][mx-QuietZone] {
				want = color.RGBA{0x12, 0x34, 0x56, 255}
			}
			if got := color.RGBAModel.Convert(img.At(x, y)); got != want {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	const content = "HTTPS://GO.EXAMPLE.COM/S/" + token34
	for _, row := range []struct {
		version, size int
		want          string // part of the error, "" when it is drawn
	}{
		{3, 0, ""}, {3, 64, ""}, {3, 4096, ""}, {12, 73, ""},
		{3, -1, "outside 64 to 4096"}, {3, 1, "outside 64 to 4096"}, {3, 63, "outside 64 to 4096"}, {3, 4097, "outside 64 to 4096"}, {3, 1 << 40, "outside 64 to 4096"},
		{12, 72, "too few for a symbol of version 12: it has 73 modules"}, {40, 184, "too few"}, {40, 185, ""},
	} {
		_, err := Encode(Options{Content: content, Version: row.version, Size: row.size})
		if row.want == "" && err != nil {
			t.Errorf("version %d in %d px: %v", row.version, row.size, err)
		}
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("version %d in %d px: %v, want %q", row.version, row.size, err, row.want)
		}
	}
}

func TestRefused(t *testing.T) {
	with := func(change func(*Options)) Options {
		o := Options{Content: "HTTPS://GO.EXAMPLE.COM/"}
		change(&o)
		return o
	}
	for _, row := range []struct {
		name, field, want string
		o                 Options
	}{
		{"no content", "content", "nothing", Options{}},
		{"too long", "content", "fit no QR symbol", Options{Content: strings.Repeat("x", 8000)}},
		{"too long at its level", "content", "at level H", Options{Content: strings.Repeat("x", 2900), Level: LevelH}},
		{"international, not ASCII", "content", "ASCII", Options{Content: "https://example.com/活", Rendering: RenderingInternational}},
		{"unknown level", "ec", "L, M, Q or H", with(func(o *Options) { o.Level = "X" })},
		{"unknown rendering", "rendering", "international", with(func(o *Options) { o.Rendering = "poster" })},
		{"version 41", "version", "outside", with(func(o *Options) { o.Version = 41 })},
		{"version -1", "version", "outside", with(func(o *Options) { o.Version = -1 })},
		{"colour name", "fg", "write #000000", with(func(o *Options) { o.Foreground = "black" })},
		{"colour of five digits", "bg", "#rrggbb", with(func(o *Options) { o.Background = "#fffff" })},
		{"two signs", "bg", "#rrggbb", with(func(o *Options) { o.Background = "##fff" })},
		{"only a sign", "fg", "#rrggbb", with(func(o *Options) { o.Foreground = "#" })},
		{"markup", "fg", "#rrggbb", with(func(o *Options) { o.Foreground = `"/><script>` })},
		{"a sign in the number", "fg", "#rrggbb", with(func(o *Options) { o.Foreground = "+12345" })},
		{"grey on white", "fg", "contrast of 2.84:1", with(func(o *Options) { o.Foreground = "#999" })},
		{"the same colour", "fg", "contrast of 1.00:1", with(func(o *Options) { o.Foreground = "#fff" })},
		{"yellow on white", "fg", "contrast", with(func(o *Options) { o.Foreground = "#ff0" })},
		{"white on black", "fg", "light on dark", with(func(o *Options) { o.Foreground, o.Background = "#fff", "#000" })},
	} {
		s, err := Encode(row.o)
		var e *Error
		if s != nil || !errors.As(err, &e) || e.Field != row.field || !strings.Contains(e.Message, row.want) {
			t.Errorf("%s: %v, want %s: %q", row.name, err, row.field, row.want)
		}
	}
	if _, err := Encode(with(func(o *Options) { o.Level = "h" })); err != nil {
		t.Errorf("lower-case level: %v", err)
	}
}

// TestContrast has the values of the W3C's own examples.
func TestContrast(t *testing.T) {
	for _, row := range []struct {
		fg, bg string
		want   string
	}{{"#000", "#fff", "21.00"}, {"#777777", "#fff", "4.48"}, {"#767676", "#fff", "4.54"}, {"#ff0000", "#fff", "4.00"}, {"#0000ff", "#fff", "8.59"}} {
		fg, _ := parseColour("fg", row.fg, color.RGBA{})
		bg, _ := parseColour("bg", row.bg, color.RGBA{})
		if got := fmt.Sprintf("%.2f", contrast(luminance(fg), luminance(bg))); got != row.want {
			t.Errorf("%s on %s: %s, want %s", row.fg, row.bg, got, row.want)
		}
	}
}

func TestTerminal(t *testing.T) {
	for _, content := range []string{"HTTPS://GO.EXAMPLE.COM/S/" + token34, "http://127.0.0.1:8080/S/" + token34} {
		var out strings.Builder
		if err := Terminal(content, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		width := len([]rune(lines[0]))
		const scale = 6
		img := image.NewGray(image.Rect(0, 0, width*scale, len(lines)*2*scale)) // a dark terminal: black
		for y, line := range lines {
			runes := []rune(line)
			if len(runes) != width {
				t.Fatalf("line %d has %d characters, want %d", y, len(runes), width)
			}
			for x, r := range runes {
				upper, lower := r == '█' || r == '▀', r == '█' || r == '▄'
				if !upper && !lower && r != ' ' {
					t.Fatalf("character %q", r)
				}
				for half, lit := range []bool{upper, lower} {
					for i := range scale * scale {
						if lit {
							img.SetGray(x*scale+i%scale, (2*y+half)*scale+i/scale, color.Gray{255})
						}
					}
				}
			}
		}
		got, err := read(t, img)
		if err != nil || got.text != content || got.level != LevelM {
			t.Errorf("read %+v, %v, want %s:\n%s", got, err, content, &out)
		}
	}
	if err := Terminal("", new(strings.Builder)); err == nil {
		t.Error("nothing was drawn")
	}
	if err := Terminal("x", failingWriter{}); !errors.Is(err, errWriter) {
		t.Errorf("the writer's error is lost: %v", err)
	}
}

var errWriter = errors.New("closed")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errWriter }

func FuzzEncode(f *testing.F) {
	f.Add("HTTPS://GO.EXAMPLE.COM/S/"+token34, 3, "M", 512, "#000", "#fff", "default")
	f.Add("活码", 0, "h", 64, "", "", "article")
	f.Add("", -1, "", 1, "zzz", "#12", "international")
	f.Fuzz(func(t *testing.T, content string, version int, level string, size int, fg, bg, rendering string) {
		s, err := Encode(Options{Content: content, Version: version, Level: Level(level), Size: size, Foreground: fg, Background: bg, Rendering: Rendering(rendering)})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Field == "" {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if len(s.modules) != 17+4*s.Version() || s.Version() < version {
			t.Fatalf("version %d of %d modules, preferred %d", s.Version(), len(s.modules), version)
		}
		rasterize(t, s.SVG())
	})
}

func BenchmarkPNG(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s, err := Encode(Options{Content: "HTTPS://GO.EXAMPLE.COM/S/" + token34, Version: 3})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.PNG(); err != nil {
			b.Fatal(err)
		}
	}
}
