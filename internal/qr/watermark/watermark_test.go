package watermark_test

import (
	"errors"
	"image"
	"image/color"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
)

func key(t testing.TB, first byte) *watermark.Key {
	t.Helper()
	secret := make([]byte, 32)
	secret[0] = first
	k, err := watermark.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// seen is an observation of a mark, with a module in so many left out and noise of that many times the mark's own strength.
func seen(t testing.TB, k *watermark.Key, content string, n int, trace uint32, keep, noise float64, r *rand.Rand) *watermark.Observation {
	t.Helper()
	m, err := k.Mark(content, n, trace)
	if err != nil {
		t.Fatal(err)
	}
	o := &watermark.Observation{Content: content, Modules: n, Values: make([]int8, n*n)}
	for i := range o.Values {
		v := -24.0
		if m.Bright(i%n, i/n) {
			v = 24
		}
		v += 24 * noise * r.NormFloat64()
		if r.Float64() < keep {
			o.Values[i] = int8(min(max(v, -127), 127))
		}
	}
	return o
}

// TestEveryNumberComesBack: any number, content and size, with what is covered left out and with noise as strong as the mark.
func TestEveryNumberComesBack(t *testing.T) {
	k := key(t, 1)
	rapid.Check(t, func(rt *rapid.T) {
		content := rapid.StringN(1, 60, 200).Draw(rt, "content")
		n := 17 + 4*rapid.IntRange(1, 40).Draw(rt, "version")
		trace := rapid.Uint32().Draw(rt, "trace")
		keep := rapid.Float64Range(max(0.3, min(1, 420/float64(n*n))), 1).Draw(rt, "keep")
		noise := rapid.Float64Range(0, 0.7).Draw(rt, "noise")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		d, err := k.Decide(seen(t, k, content, n, trace, keep, noise, r))
		if err != nil || !d.Found() || d.Trace != trace || d.Chance > 1e-11 || d.Evidence < watermark.MinEvidence {
			rt.Fatalf("%+v, %v, want %d", d, err, trace)
		}
	})
}

// TestNobodyIsNamed: noise, marks of another key, of another symbol, of another width, and next to nothing.
func TestNobodyIsNamed(t *testing.T) {
	ours, theirs := key(t, 1), key(t, 2)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		o := seen(t, theirs, "x", 29, r.Uint32(), 1, 0.2, r)
		want := watermark.ReasonWeak
		switch i % 5 {
		case 1:
			o = seen(t, ours, "x", 29, r.Uint32(), 1, 0.2, r)
			o.Content = "y"
		case 2:
			o = seen(t, ours, "x", 33, r.Uint32(), 1, 0.2, r)
			o.Modules, o.Values = 29, o.Values[:29*29]
		case 3:
			o = seen(t, ours, "x", 29, r.Uint32(), 0.15, 0, r)
			want = watermark.ReasonFew
		case 4:
			for j := range o.Values {
				o.Values[j] = int8(40 * r.NormFloat64())
			}
		}
		d, err := ours.Decide(o)
		if err != nil || d.Found() || d.Reason != want || d.Chance != 1 {
			t.Fatalf("case %d: %+v, %v, want %s", i%5, d, err, want)
		}
	}
	if d, err := ours.Decide(&watermark.Observation{Modules: 29, Values: make([]int8, 29*29)}); err != nil || d.Reason != watermark.ReasonFew {
		t.Errorf("nothing seen: %+v, %v", d, err)
	}
	same := &watermark.Observation{Content: "x", Modules: 29, Values: slices.Repeat([]int8{-128}, 29*29)}
	if d, err := ours.Decide(same); err != nil || d.Found() {
		t.Errorf("all the same: %+v, %v", d, err)
	}
}

func TestObservationsThatNoSymbolGives(t *testing.T) {
	k := key(t, 1)
	for _, o := range []watermark.Observation{{Modules: 0}, {Modules: 17}, {Modules: 22}, {Modules: 181}, {Modules: -3}, {Modules: 21, Values: make([]int8, 442)}} {
		if _, err := k.Decide(&o); err == nil {
			t.Errorf("%d modules, %d values: no error", o.Modules, len(o.Values))
		}
		if _, err := k.Mark("x", o.Modules, 1); err == nil && len(o.Values) == 0 {
			t.Errorf("%d modules were marked", o.Modules)
		}
	}
}

func TestTraceNumbers(t *testing.T) {
	k := key(t, 1)
	seen := map[uint32]string{}
	for _, p := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}, {"a", "b"}, {"b", "a"}} {
		n := k.Trace(p[0], p[1])
		if was, dup := seen[n]; dup || n == 0 {
			t.Errorf("%q has the number of %q, %d", p, was, n)
		}
		seen[n] = p[0] + "/" + p[1]
		if back, ok := watermark.ParseTrace(watermark.FormatTrace(n)); !ok || back != n {
			t.Errorf("%d is written %s and read %d, %v", n, watermark.FormatTrace(n), back, ok)
		}
		if key(t, 2).Trace(p[0], p[1]) == n {
			t.Errorf("%q has the same number under another key", p)
		}
	}
	for _, text := range []string{"", "1", "0000000g", "000000001", "ABCDEF01", "+0000001", "0x000001"} {
		if _, ok := watermark.ParseTrace(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}

// draw returns a picture with a mark and one without.
func draw(t testing.TB, o qr.Options, k *watermark.Key) (with, without *image.NRGBA, g qr.Geometry) {
	t.Helper()
	s, err := qr.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	if without, err = s.Image(); err != nil {
		t.Fatal(err)
	}
	if with, err = s.Image(); err != nil {
		t.Fatal(err)
	}
	g = s.Geometry()
	m, err := k.Mark(o.Content, g.Modules, 0xdecade)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Draw(with, g); err != nil {
		t.Fatal(err)
	}
	return with, without, g
}

const content = "HTTPS://GO.EXAMPLE.COM/S/E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU"

// TestAMarkIsSmall: no channel of any pixel changes by more than MaxStep, nothing outside the symbol or under the badge changes at all, and
// about half of the modules do.
func TestAMarkIsSmall(t *testing.T) {
	for name, o := range map[string]qr.Options{
		"black on white": {}, "colours": {Foreground: "#900", Background: "#ffe680"}, "dots": {Shape: qr.ShapeDots}, "round": {Shape: qr.ShapeRound, Size: 777},
		"all of it": {Tracking: "7ZZ0KQ3M", Badge: "VIP", Copy: "scan me", Size: 700},
	} {
		o.Content, o.Version, o.Level = content, 4, qr.LevelM
		with, without, g := draw(t, o, key(t, 1))
		changed, covered := map[image.Point]bool{}, 0
		for y := range with.Rect.Dy() {
			for x := range with.Rect.Dx() {
				a, b := with.NRGBAAt(x, y), without.NRGBAAt(x, y)
				if a == b {
					continue
				}
				for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
					if d > 3 || d < -3 || a.A != 255 {
						t.Fatalf("%s: pixel %d,%d is %v, was %v", name, x, y, a, b)
					}
				}
				mx, my := int((float64(x)-g.X)/g.Module), int((float64(y)-g.Y)/g.Module)
				if float64(x) < g.X || float64(y) < g.Y || mx >= g.Modules || my >= g.Modules || g.Covered(mx, my) {
					t.Fatalf("%s: pixel %d,%d outside the symbol or under something is %v, was %v", name, x, y, a, b)
				}
				changed[image.Pt(mx, my)] = true
			}
		}
		for i := range g.Modules * g.Modules {
			if g.Covered(i%g.Modules, i/g.Modules) {
				covered++
			}
		}
		seen := g.Modules*g.Modules - covered
		if len(changed) < seen*2/5 || o.Shape == "" && len(changed) > seen*3/5 {
			t.Errorf("%s: %d of %d modules are changed", name, len(changed), seen)
		}
		if name == "all of it" && covered == 0 {
			t.Error("nothing is covered")
		}
	}
}

func TestWhatCannotCarryAMark(t *testing.T) {
	k := key(t, 1)
	s, err := qr.Encode(qr.Options{Content: content, Version: 4, Size: 150}) // 3 pixels a module
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(img.Pix)
	m, err := k.Mark(content, 33, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Draw(img, s.Geometry()); !errors.Is(err, watermark.ErrTooSmall) {
		t.Errorf("3 pixels a module: %v", err)
	}
	other, err := k.Mark(content, 29, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Draw(img, s.Geometry()); err == nil {
		t.Error("a mark for 29 modules was drawn on 33")
	}
	if !slices.Equal(before, img.Pix) {
		t.Error("the picture was changed all the same")
	}
	// A geometry that lies about the picture leaves the rest alone and does not run out of it.
	tiny := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	tiny.SetNRGBA(3, 3, color.NRGBA{255, 255, 255, 255})
	if err := m.Draw(tiny, qr.Geometry{Modules: 33, Module: 10, X: -50, Y: -50}); err != nil {
		t.Error(err)
	}
}
