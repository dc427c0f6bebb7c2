package qr

import (
	"math/rand/v2"
	"testing"

	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	qrcode "github.com/skip2/go-qrcode"
)

// TestEveryMaskReads changes symbols to each of the masks, and has a reader say what they hold.
func TestEveryMaskReads(t *testing.T) {
	for _, v := range []int{1, 2, 3, 4, 7, 14} {
		for _, level := range []Level{LevelL, LevelM, LevelQ, LevelH} {
			s, err := encode("HELLO", v, true, level)
			if err != nil {
				t.Fatal(err)
			}
			l := layoutOf(v, level)
			at := maskOf(s.modules, level)
			if at < 0 {
				t.Fatalf("%d-%s: no mask", v, level)
			}
			for to := range masks {
				remask(l, s.modules, at, to)
				at = to
				result, err := decoder.NewDecoder().Decode(bitMatrix(t, s.modules), nil)
				if err != nil || result.GetText() != "HELLO" || result.GetECLevel() != string(level) || maskOf(s.modules, level) != to {
					t.Errorf("%d-%s under mask %d: %v, %v", v, level, to, result, err)
				}
			}
		}
	}
}

// TestMiddles draws rows and says where they look like a finder.
func TestMiddles(t *testing.T) {
	for row, want := range map[string][]int{
		"#.###.#":                   {3},
		"..#.###.#..":               {5},
		"##..######..##":            {7, 6},
		"#.###.###.#":               nil,
		"#.##.#":                    {3, 2}, // within the tolerance
		"#.##.#.#":                  {3, 2},
		"##.###.##":                 nil,
		"#.#.###.#.#":               {5},
		"#.###.#.###.#":             {3, 9},
		"#######":                   nil,
		"":                          nil,
		".#.####.#":                 {5, 4},
		"#.###.###.#.#.###.#.##.##": {15},
	} {
		got := middles(func(i int) bool { return row[i] == '#' }, len(row))
		if len(got) != len(want) {
			t.Errorf("%q: %v, want %v", row, got, want)
			continue
		}
		for i := range want {
			if got[i].at != want[i] {
				t.Errorf("%q: %v, want %v", row, got, want)
			}
		}
	}
}

// TestFindersAreFound: the three of each symbol look like what is counted elsewhere.
func TestFindersAreFound(t *testing.T) {
	s, err := encode(scanURL, 3, true, LevelM)
	if err != nil {
		t.Fatal(err)
	}
	for _, y := range []int{3, 25} {
		found := middles(func(x int) bool { return s.modules[y][x] }, 29)
		if len(found) == 0 || found[0] != (cut{3, 7}) {
			t.Errorf("row %d: %v", y, found)
		}
	}
	modules := make([][]bool, 29)
	for y := range modules {
		modules[y] = make([]bool, 29)
	}
	for y := range 7 {
		for x := range 7 {
			modules[10+y][12+x] = s.modules[y][x]
		}
	}
	if n := falseFinders(modules); n == 0 {
		t.Error("a finder in the middle is not seen")
	}
}

// TestNothingIsTakenForAFinder looks at many symbols of the profiles' kinds.
func TestNothingIsTakenForAFinder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	changed, left := 0, 0
	const symbols = 1500
	for range symbols {
		b := make([]byte, 34)
		for i := range b {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[r.IntN(32)]
		}
		content := "HTTPS://GO.EXAMPLE.COM/S/" + string(b)
		s, err := Encode(Options{Content: content, Version: 3, Forced: true, Tracking: "7KQ2M4XR", Badge: []string{"", "3群"}[r.IntN(2)]})
		if err != nil {
			t.Fatal(err)
		}
		if s.mistakable() > 0 {
			left++ // no mask was better
		}
		if maskOf(s.modules, LevelM) != maskOf(bare(t, content, 3, LevelM), LevelM) {
			changed++
		}
	}
	if changed == 0 || left > symbols/200 {
		t.Errorf("%d masks of %d were changed, and %d symbols still have something like a finder", changed, symbols, left)
	}
}

// bare is what the encoder alone makes.
func bare(t testing.TB, content string, version int, level Level) [][]bool {
	t.Helper()
	code, err := qrcode.NewWithForcedVersion(content, version, levels[level])
	if err != nil {
		t.Fatal(err)
	}
	code.DisableBorder = true
	return code.Bitmap()
}
