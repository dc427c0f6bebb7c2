package observe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
)

const content = "HTTPS://GO.EXAMPLE.COM/S/E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU"

func key(t testing.TB) *watermark.Key {
	t.Helper()
	k, err := watermark.NewKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// picture draws a symbol; with a key, marked.
func picture(t testing.TB, o qr.Options, k *watermark.Key, trace uint32) *image.NRGBA {
	t.Helper()
	if k != nil {
		o.Mark = func(img *image.NRGBA, g qr.Geometry) error {
			m, err := k.Mark(o.Content, g.Modules, trace)
			if err != nil {
				return err
			}
			return m.Draw(img, g)
		}
	}
	s, err := qr.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// decide reads a picture and looks for a mark.
func decide(t testing.TB, img image.Image, k *watermark.Key) watermark.Decision {
	t.Helper()
	o, err := observe.Read(img)
	if err != nil {
		t.Fatal(err)
	}
	d, err := k.Decide(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAnyPictureAnyHarm: any number in any style and size, harmed in each way. The measuring program does the same more often.
func TestAnyPictureAnyHarm(t *testing.T) {
	k := key(t)
	shapes := []qr.Shape{qr.ShapeSquare, qr.ShapeRound, qr.ShapeDots}
	for i, h := range harm.All {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		token := make([]byte, 34)
		for i := range token {
			token[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[r.IntN(32)]
		}
		o := qr.Options{
			Content: "HTTPS://GO.EXAMPLE.COM/S/" + string(token), Version: 3 + r.IntN(4), Level: qr.LevelM, Size: 440 + r.IntN(200), Shape: shapes[i%3],
		}
		if r.IntN(2) == 0 {
			o.Foreground, o.Background = "#1a5fb4", "#f8f8f8"
		}
		trace := r.Uint32()
		seen, err := observe.Read(h.Do(picture(t, o, k, trace), r))
		if err != nil {
			t.Errorf("%s, %+v: %v", h.Name, o, err)
			continue
		}
		d, err := k.Decide(seen)
		if err != nil || !d.Found() || d.Trace != trace || seen.Content != o.Content {
			t.Errorf("%s, %+v: %+v, %v, want %d", h.Name, o, d, err, trace)
		}
	}
}

// TestWithoutAMarkNobodyIsNamed: the same pictures without a mark.
func TestWithoutAMarkNobodyIsNamed(t *testing.T) {
	k := key(t)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 10 {
		o := qr.Options{Content: content, Version: 3 + i%3, Size: 300 + r.IntN(300)}
		if i%2 == 0 {
			o.Shape = qr.ShapeDots
		}
		h := harm.All[i%len(harm.All)]
		if d := decide(t, h.Do(picture(t, o, nil, 0), r), k); d.Found() || d.Reason != watermark.ReasonWeak {
			t.Errorf("%s: %+v", h.Name, d)
		}
	}
}

// TestFromWhicheverSide: turned by quarters, seen from the side, mirrored, in the corner of a larger picture, transparent around.
func TestFromWhicheverSide(t *testing.T) {
	k := key(t)
	img := picture(t, qr.Options{Content: content, Version: 4, Size: 512}, k, 77)
	remap := func(w, h int, from func(x, y int) (float64, float64)) image.Image {
		out := image.NewNRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				u, v := from(x, y)
				out.Set(x, y, color.White)
				if p := image.Pt(int(u), int(v)); p.In(img.Rect) {
					out.Set(x, y, img.At(p.X, p.Y))
				}
			}
		}
		return out
	}
	corner := image.NewNRGBA(image.Rect(-300, -200, 1000, 900)) // an origin of its own
	draw.Draw(corner, corner.Rect, image.NewUniform(color.NRGBA{220, 230, 240, 255}), image.Point{}, draw.Src)
	draw.Draw(corner, image.Rect(450, 350, 962, 862), img, image.Point{}, draw.Src)
	clear := image.NewNRGBA(image.Rect(0, 0, 700, 700))
	draw.Draw(clear, image.Rect(100, 100, 612, 612), img, image.Point{}, draw.Src)
	for name, turned := range map[string]image.Image{
		"a quarter": remap(512, 512, func(x, y int) (float64, float64) { return float64(y), float64(511 - x) }),
		"half":      remap(512, 512, func(x, y int) (float64, float64) { return float64(511 - x), float64(511 - y) }),
		"mirrored":  remap(512, 512, func(x, y int) (float64, float64) { return float64(511 - x), float64(y) }),
		"stretched": remap(700, 512, func(x, y int) (float64, float64) { return float64(x) * 512 / 700, float64(y) }),
		"from beside": remap(900, 900, func(x, y int) (float64, float64) {
			px, py := float64(x)-450, float64(y)-450
			w := 1 + 2e-4*px + 1e-4*py
			return px/w*0.7 + 256, py/w*0.7 + 256
		}),
		"in a corner": corner, "transparent around": clear, "turned by 45°": harm.Turn(img, 45),
	} {
		if d := decide(t, turned, k); !d.Found() || d.Trace != 77 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestPartsMayBeMissing: a hand over a part of the symbol, as far as it can be read at all.
func TestPartsMayBeMissing(t *testing.T) {
	k := key(t)
	img := picture(t, qr.Options{Content: content, Version: 6, Level: qr.LevelH, Size: 700}, k, 78)
	draw.Draw(img, image.Rect(300, 300, 430, 430), image.NewUniform(color.NRGBA{200, 120, 90, 255}), image.Point{}, draw.Src)
	if d := decide(t, img, k); !d.Found() || d.Trace != 78 || d.Seen > 41*41-60 {
		t.Errorf("%+v", d)
	}
}

// TestEveryKindOfImage gives the same observation.
func TestEveryKindOfImage(t *testing.T) {
	k := key(t)
	img := picture(t, qr.Options{Content: content, Version: 3, Size: 370}, k, 79)
	want, err := observe.Read(img)
	if err != nil {
		t.Fatal(err)
	}
	palette := color.Palette{}
	seen := map[color.Color]bool{}
	for y := range 370 {
		for x := range 370 {
			if c := img.At(x, y); !seen[c] {
				seen[c] = true
				palette = append(palette, c)
			}
		}
	}
	for _, to := range []draw.Image{
		image.NewRGBA(img.Rect), image.NewGray(img.Rect), image.NewGray16(img.Rect), image.NewNRGBA64(img.Rect), image.NewRGBA64(img.Rect), image.NewPaletted(img.Rect, palette), image.NewCMYK(img.Rect),
	} {
		draw.Draw(to, to.Bounds(), img, image.Point{}, draw.Src)
		got, err := observe.Read(to)
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(*want) {
			t.Errorf("%T: another observation, %v", to, err)
		}
	}
}

func TestPicturesWithoutASymbol(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := image.NewGray(image.Rect(0, 0, 400, 300))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(r.UintN(256))
	}
	finders := picture(t, qr.Options{Content: content, Version: 3, Size: 370}, nil, 0)
	draw.Draw(finders, image.Rect(40, 150, 370, 370), image.White, image.Point{}, draw.Src)
	many := image.NewGray(image.Rect(0, 0, 600, 600)) // finder patterns everywhere
	for y := range 600 {
		for x := range 600 {
			u, v := x/2%10-3, y/2%10-3
			if u >= -3 && u <= 3 && v >= -3 && v <= 3 && max(u, -u, v, -v) != 2 {
				continue
			}
			many.SetGray(x, y, color.Gray{255})
		}
	}
	for name, img := range map[string]image.Image{
		"empty": image.NewGray(image.Rect(0, 0, 0, 0)), "one pixel": image.NewGray(image.Rect(0, 0, 1, 1)), "a line": image.NewGray(image.Rect(0, 0, 5000, 1)),
		"black": image.NewGray(image.Rect(0, 0, 300, 300)), "noise": noise, "a finder and nothing": finders, "finders everywhere": many,
	} {
		if o, err := observe.Read(img); !errors.Is(err, observe.ErrNoSymbol) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// header is a PNG that says it is large, in a few bytes.
func header(w, h uint32) []byte {
	chunk := func(kind string, data []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		b = append(append(b, kind...), data...)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
	}
	b := binary.BigEndian.AppendUint32(nil, w)
	b = append(binary.BigEndian.AppendUint32(b, h), 8, 2, 0, 0, 0)
	return append([]byte("\x89PNG\r\n\x1a\n"), append(chunk("IHDR", b), chunk("IDAT", []byte("x"))...)...)
}

func encoded(t testing.TB, img image.Image) (asPNG, asJPEG []byte) {
	t.Helper()
	var p, j bytes.Buffer
	if err := errors.Join(png.Encode(&p, img), jpeg.Encode(&j, img, nil)); err != nil {
		t.Fatal(err)
	}
	return p.Bytes(), j.Bytes()
}

func TestFiles(t *testing.T) {
	img := picture(t, qr.Options{Content: content, Version: 3, Size: 370}, nil, 0)
	asPNG, asJPEG := encoded(t, img)
	wide := bytes.Clone(asJPEG)
	at := bytes.Index(wide, []byte{0xff, 0xc0})
	copy(wide[at+5:], []byte{0xff, 0xff, 0xff, 0xff}) // 65 535 × 65 535 pixels
	for _, row := range []struct {
		name string
		b    []byte
		want error
		says string
	}{
		{"PNG", asPNG, nil, ""}, {"JPEG", asJPEG, nil, ""},
		{"nothing", nil, observe.ErrFormat, "PNG nor a JPEG"}, {"text", []byte("hello"), observe.ErrFormat, ""}, {"GIF", []byte("GIF89a"), observe.ErrFormat, ""},
		{"SVG", []byte("<svg/>"), observe.ErrFormat, ""}, {"WebP", []byte("RIFF\x00\x00\x00\x00WEBP"), observe.ErrFormat, ""},
		{"half a PNG", asPNG[:len(asPNG)/2], observe.ErrDamaged, "once more"}, {"half a JPEG", asJPEG[:len(asJPEG)/2], observe.ErrDamaged, ""},
		{"the head of a PNG", asPNG[:9], observe.ErrDamaged, ""}, {"the head of a JPEG", asJPEG[:3], observe.ErrDamaged, ""},
		{"a PNG of 10 billion pixels", header(100_000, 100_000), observe.ErrLarge, "100000 × 100000"},
		{"a PNG of the most", header(1<<31-1, 1), observe.ErrLarge, ""}, {"a PNG just over", header(6325, 6325), observe.ErrLarge, "40 million"},
		{"a PNG just within", header(6324, 6324), observe.ErrDamaged, ""},
		{"a PNG of no width", header(0, 7), observe.ErrDamaged, ""},
		{"a JPEG of 4 billion pixels", wide, observe.ErrLarge, "65535 × 65535"},
		{"64 MiB of a PNG", append(bytes.Clone(asPNG), make([]byte, observe.MaxBytes)...), observe.ErrLarge, "64 MiB"},
	} {
		got, err := observe.Decode(row.b)
		if !errors.Is(err, row.want) || row.want == nil && (err != nil || got.Bounds() != img.Bounds()) || row.want != nil && (got != nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

// FuzzPicture: whatever is in a file, it is read, or refused by one of the errors.
func FuzzPicture(f *testing.F) {
	img := picture(f, qr.Options{Content: content, Version: 3, Size: 160}, key(f), 1)
	asPNG, asJPEG := encoded(f, img)
	f.Add(asPNG)
	f.Add(asJPEG)
	f.Add(asPNG[:len(asPNG)/2])
	f.Add(header(200, 200))
	broken := bytes.Clone(asJPEG)
	for i := 700; i < len(broken); i += 97 {
		broken[i] ^= 0x10
	}
	f.Add(broken)
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := observe.Decode(b)
		if err != nil {
			if !errors.Is(err, observe.ErrFormat) && !errors.Is(err, observe.ErrLarge) && !errors.Is(err, observe.ErrDamaged) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if size := img.Bounds().Size(); size.X*size.Y > 1<<20 {
			return // it takes its time and shows nothing new
		}
		o, err := observe.Read(img)
		if err != nil {
			if !errors.Is(err, observe.ErrNoSymbol) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzPixels: a symbol whose pixels were tampered with.
func FuzzPixels(f *testing.F) {
	img := picture(f, qr.Options{Content: content, Version: 3, Size: 160}, key(f), 1)
	grey := image.NewGray(img.Rect)
	draw.Draw(grey, grey.Rect, img, image.Point{}, draw.Src)
	f.Add([]byte{0, 0, 255, 10, 10, 0}, uint8(0))
	f.Add([]byte("any places and values"), uint8(3))
	f.Fuzz(func(t *testing.T, changes []byte, by uint8) {
		tampered := image.NewGray(grey.Rect)
		copy(tampered.Pix, grey.Pix)
		side := 1 + int(by%40)
		for i := 0; i+2 < len(changes); i += 3 {
			x, y := int(changes[i])%160, int(changes[i+1])%160
			draw.Draw(tampered, image.Rect(x, y, x+side, y+side), image.NewUniform(color.Gray{changes[i+2]}), image.Point{}, draw.Src)
		}
		if o, err := observe.Read(tampered); err == nil {
			if err := o.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
