package qr

import (
	"bytes"
	"image"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
)

var zxingLevels = map[Level]decoder.ErrorCorrectionLevel{
	LevelL: decoder.ErrorCorrectionLevel_L, LevelM: decoder.ErrorCorrectionLevel_M, LevelQ: decoder.ErrorCorrectionLevel_Q, LevelH: decoder.ErrorCorrectionLevel_H,
}

// TestBlocksAreThoseOfTheStandard holds the tables against a reader's own, for all versions and levels.
func TestBlocksAreThoseOfTheStandard(t *testing.T) {
	for v := 1; v <= maxVersion; v++ {
		theirs, err := decoder.Version_GetVersionForNumber(v)
		if err != nil {
			t.Fatal(err)
		}
		centres := alignment(v)
		if want := theirs.GetAlignmentPatternCenters(); len(centres) != len(want) {
			t.Errorf("version %d: alignment at %v, want %v", v, centres, want)
		} else {
			for i := range want {
				if centres[i] != want[i] {
					t.Errorf("version %d: alignment at %v, want %v", v, centres, want)
				}
			}
		}
		for level, theirLevel := range zxingLevels {
			l := layoutOf(v, level)
			blocks := theirs.GetECBlocksForLevel(theirLevel)
			if len(l.block) != theirs.GetTotalCodewords() || int(eccBlocks[level][v]) != blocks.GetNumBlocks() || int(eccPerBlock[level][v]) != blocks.GetECCodewordsPerBlock() {
				t.Errorf("%d-%s: %d codewords in %d blocks with %d of error correction, want %d, %d, %d", v, level,
					len(l.block), eccBlocks[level][v], eccPerBlock[level][v], theirs.GetTotalCodewords(), blocks.GetNumBlocks(), blocks.GetECCodewordsPerBlock())
			}
			sizes := make([]int, blocks.GetNumBlocks())
			for _, b := range l.block {
				sizes[b]++
			}
			i := 0
			for _, kind := range blocks.GetECBlocks() {
				for range kind.GetCount() {
					if want := kind.GetDataCodewords() + blocks.GetECCodewordsPerBlock(); sizes[i] != want {
						t.Errorf("%d-%s: block %d has %d codewords, want %d", v, level, i, sizes[i], want)
					}
					i++
				}
			}
		}
	}
}

// TestCodewordsLieWhereAReaderReadsThem turns every module over and looks which codeword a reader then reads otherwise.
func TestCodewordsLieWhereAReaderReadsThem(t *testing.T) {
	for _, v := range []int{1, 2, 3, 4, 7, 14} {
		s, err := encode("HTTPS://GO.EXAMPLE", v, true, LevelL)
		if err != nil {
			t.Fatal(err)
		}
		l := layoutOf(v, LevelL)
		matrix := bitMatrix(t, s.modules)
		before := codewords(t, matrix)
		for y := range l.n {
			for x := range l.n {
				want := -1
				if !l.function[y*l.n+x] {
					matrix.Flip(x, y)
					for i, c := range codewords(t, matrix) {
						if c != before[i] {
							want = i
						}
					}
					matrix.Flip(x, y)
				}
				if got := int(l.codeword[y*l.n+x]); got != want {
					t.Fatalf("version %d: module %d,%d belongs to codeword %d, want %d", v, x, y, got, want)
				}
			}
		}
	}
}

func bitMatrix(t testing.TB, modules [][]bool) *gozxing.BitMatrix {
	t.Helper()
	m, err := gozxing.NewSquareBitMatrix(len(modules))
	if err != nil {
		t.Fatal(err)
	}
	for y, row := range modules {
		for x, dark := range row {
			if dark {
				m.Set(x, y)
			}
		}
	}
	return m
}

// codewords reads a copy of m: reading takes its mask off.
func codewords(t testing.TB, m *gozxing.BitMatrix) []byte {
	t.Helper()
	own, err := gozxing.NewSquareBitMatrix(m.GetWidth())
	if err != nil {
		t.Fatal(err)
	}
	for y := range m.GetHeight() {
		for x := range m.GetWidth() {
			if m.Get(x, y) {
				own.Set(x, y)
			}
		}
	}
	p, err := decoder.NewBitMatrixParser(own)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.ReadCodewords()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFunctionPatternsAreWhereNoCodewordIs would fail if a pattern were taken for data, whose number of modules is the
// standard's, or data for a pattern.
func TestFunctionPatternsAreWhereNoCodewordIs(t *testing.T) {
	remainder := func(v int) int { // ISO/IEC 18004:2015, table 1
		switch {
		case v == 1, v >= 7 && v <= 13, v >= 35:
			return 0
		case v <= 6:
			return 7
		case v >= 21 && v <= 27:
			return 4
		default:
			return 3
		}
	}
	for v := 1; v <= maxVersion; v++ {
		l := layoutOf(v, LevelL)
		free := 0
		for i, f := range l.function {
			if f && l.codeword[i] >= 0 {
				t.Fatalf("version %d: module %d is both", v, i)
			}
			if !f && l.codeword[i] < 0 {
				free++
			}
		}
		if free != remainder(v) {
			t.Errorf("version %d has %d remainder bits, want %d", v, free, remainder(v))
		}
	}
}

// TestWhatIsCorrectable ruins whole codewords of one block: as many as the table says are repaired, one more is not.
func TestWhatIsCorrectable(t *testing.T) {
	for _, row := range []struct {
		version int
		level   Level
		exact   bool // the reader repairs no more, having kept none back against misreading
	}{{1, LevelL, false}, {1, LevelM, false}, {1, LevelH, false}, {2, LevelL, false}, {2, LevelM, true}, {3, LevelL, true}, {3, LevelM, true}, {4, LevelM, true}, {5, LevelQ, true}, {8, LevelH, true}} {
		s, err := encode("HELLO", row.version, true, row.level)
		if err != nil {
			t.Fatal(err)
		}
		l := layoutOf(row.version, row.level)
		r := correctable(row.version, row.level)
		for ruined, reads := range map[int]bool{r: true, r + 1: !row.exact} {
			m := bitMatrix(t, s.modules)
			done := make(map[int16]bool)
			for i, c := range l.codeword {
				if c >= 0 && l.block[c] == 0 && (done[c] || len(done) < ruined) {
					done[c] = true
					m.Flip(i%l.n, i/l.n)
				}
			}
			result, err := decoder.NewDecoder().Decode(m, nil)
			if got := err == nil && result.GetText() == "HELLO"; row.exact && got != reads || ruined == r && !got {
				t.Errorf("%d-%s with %d codewords ruined: read %v, want %v", row.version, row.level, len(done), got, reads)
			}
		}
	}
}

// TestDrawingsStayWithinHalf recounts what everything drawn covers, by what a reader sees changed.
func TestDrawingsStayWithinHalf(t *testing.T) {
	logo := testLogo(t, 120, 80)
	drawn := 0
	for _, level := range []Level{LevelL, LevelM, LevelQ, LevelH} {
		for v := 2; v <= 14; v++ {
			for _, o := range []Options{{Tracking: "7KQ2M4XR"}, {Badge: "第3群"}, {Tracking: "7KQ2M4XR", Badge: "VIP"}, {Logo: logo}, {Logo: logo, Badge: "满"}, {Tracking: "7KQ2M4XR", Plate: PlateOn, Badge: "Poster A"}} {
				o.Content, o.Version, o.Forced, o.Level, o.Size = "HTTPS://GO.EX", v, true, level, 1000
				s, err := Encode(o)
				if err != nil {
					if strings.Contains(err.Error(), "of which at most half") {
						continue
					}
					t.Fatalf("%d-%s: %v", v, level, err)
				}
				g := s.Geometry()
				l := layoutOf(v, level)
				m := bitMatrix(t, s.modules)
				before := codewords(t, m)
				covered := false
				for y := range g.Modules {
					for x := range g.Modules {
						if !g.Covered(x, y) {
							continue
						}
						covered = true
						if l.function[y*l.n+x] {
							t.Fatalf("%d-%s: function module %d,%d is covered", v, level, x, y)
						}
						m.Flip(x, y)
					}
				}
				spent := make(map[uint8]int)
				for i, c := range codewords(t, m) {
					if c != before[i] {
						spent[l.block[i]]++
					}
				}
				for block, n := range spent {
					if n > correctable(v, level)/2 {
						t.Errorf("%d-%s: %d codewords of block %d are covered, of %d that are repaired", v, level, n, block, correctable(v, level))
					}
				}
				if covered {
					drawn++
				}
			}
		}
	}
	if drawn < 200 {
		t.Errorf("only %d pictures had anything drawn over them", drawn)
	}
}

func testLogo(t testing.TB, w, h int) *Logo {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*7/w + i%5*40)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	logo, err := ParseLogo(pngOf(t, img))
	if err != nil {
		t.Fatal(err)
	}
	return logo
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encodeWith(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
