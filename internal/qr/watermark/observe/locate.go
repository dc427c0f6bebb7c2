package observe

import (
	"cmp"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
)

// symbol is what the library found.
type symbol struct {
	content string
	modules int
	to      homography // modules, from the symbol's corner, to pixels
}

// The library looks for runs of pixels. Large pictures are made smaller for it: a module needs no more than some pixels.
const enough = 1600 // pixels of the longer side

// locate finds a symbol. It tries several sizes and both ways to tell dark from light, cheap ones first.
func locate(g *plane) (symbol, bool) {
	first := max(1, max(g.w, g.h)/enough)
	tried := map[int]bool{}
	for _, by := range []int{first, 2 * first, max(1, first/2), 4 * first} {
		if tried[by] || min(g.w, g.h)/by < 2*watermarkLeast {
			continue
		}
		tried[by] = true
		small := g.shrunk(by)
		if small.w*small.h > 4*enough*enough {
			continue
		}
		for _, global := range []bool{false, true} {
			if s, ok := detect(small, global); ok {
				s.to = scaled(float64(by)).times(s.to)
				return s, true
			}
		}
	}
	return symbol{}, false
}

// watermarkLeast: in fewer pixels no symbol of 21 modules is found.
const watermarkLeast = 11

// luminances hands a plane to the library.
type luminances struct {
	gozxing.LuminanceSourceBase
	p *plane
}

func (l *luminances) GetRow(y int, row []byte) ([]byte, error) {
	return append(row[:0], l.p.row(y)...), nil
}

func (l *luminances) GetMatrix() []byte               { return l.p.pix }
func (l *luminances) Invert() gozxing.LuminanceSource { return gozxing.LuminanceSourceInvert(l) }
func (l *luminances) String() string                  { return gozxing.LuminanceSourceString(l) }

// detect asks the library. It is a port of code that runs beyond its arrays on rare pictures; such a picture has no symbol.
func detect(p *plane, global bool) (s symbol, ok bool) {
	defer func() {
		if recover() != nil {
			s, ok = symbol{}, false
		}
	}()
	source := &luminances{LuminanceSourceBase: gozxing.LuminanceSourceBase{Width: p.w, Height: p.h}, p: p}
	binarizer := gozxing.NewHybridBinarizer(source)
	if global {
		binarizer = gozxing.NewGlobalHistgramBinarizer(source)
	}
	bitmap, err := gozxing.NewBinaryBitmap(binarizer)
	if err != nil {
		return s, false
	}
	black, err := bitmap.GetBlackMatrix()
	if err != nil {
		return s, false
	}
	finder := finders(black)
	for _, info := range triples(finder.GetPossibleCenters()) {
		if s, ok = symbolAt(black, info); ok {
			return s, true
		}
	}
	return symbol{}, false
}

// finders looks in every third row for what may be a finder pattern. The library's own search for one symbol stops at the first three,
// and one of them may be a chance pattern within the symbol; its search for many goes through all triples, which takes minutes where a picture
// is full of them.
func finders(black *gozxing.BitMatrix) *detector.FinderPatternFinder {
	f := detector.NewFinderPatternFinder(black, nil)
	runs := make([]int, 5) // dark, light, dark, light, dark
	for y := 2; y < black.GetHeight() && len(f.GetPossibleCenters()) < maxSeen; y += 3 {
		clear(runs)
		state := 0
		for x := range black.GetWidth() {
			dark := black.Get(x, y)
			if dark == (state%2 == 0) {
				runs[state]++
				continue
			}
			if state < 4 {
				state++
				runs[state]++
				continue
			}
			if detector.FinderPatternFinder_foundPatternCross(runs) && f.HandlePossibleCenter(runs, y, x) {
				clear(runs)
				state = 0
				continue
			}
			copy(runs, runs[2:])
			runs[3], runs[4] = 1, 0
			state = 3
		}
		if detector.FinderPatternFinder_foundPatternCross(runs) {
			f.HandlePossibleCenter(runs, y, black.GetWidth())
		}
	}
	return f
}

const (
	maxSeen    = 300 // patterns after which a picture is looked at no further
	maxCentres = 12  // of those found, the ones seen in most rows
	maxTriples = 40  // of their triples, the ones most like a right angle with equal sides
)

// triples are the finder patterns' possible places, the likeliest first.
func triples(centres []*detector.FinderPattern) []*detector.FinderPatternInfo {
	slices.SortStableFunc(centres, func(a, b *detector.FinderPattern) int { return b.GetCount() - a.GetCount() })
	centres = centres[:min(len(centres), maxCentres)]
	type scored struct {
		info *detector.FinderPatternInfo
		off  float64
	}
	var list []scored
	for i := range centres {
		for j := range i {
			for k := range j {
				a, b, c := gozxing.ResultPoint_OrderBestPatterns(centres[i], centres[j], centres[k])
				bl, tl, tr := a.(*detector.FinderPattern), b.(*detector.FinderPattern), c.(*detector.FinderPattern)
				ux, uy, vx, vy := tr.GetX()-tl.GetX(), tr.GetY()-tl.GetY(), bl.GetX()-tl.GetX(), bl.GetY()-tl.GetY()
				u, v := math.Hypot(ux, uy), math.Hypot(vx, vy)
				if u < 8 || v < 8 {
					continue
				}
				sizes := []float64{bl.GetEstimatedModuleSize(), tl.GetEstimatedModuleSize(), tr.GetEstimatedModuleSize()}
				off := math.Abs(ux*vx+uy*vy)/(u*v) + math.Abs(math.Log(u/v)) + math.Log(slices.Max(sizes)/slices.Min(sizes))
				if off < 1 {
					list = append(list, scored{detector.NewFinderPatternInfo(bl, tl, tr), off})
				}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b scored) int { return cmp.Compare(a.off, b.off) })
	var out []*detector.FinderPatternInfo
	for _, s := range list[:min(len(list), maxTriples)] {
		out = append(out, s.info)
	}
	return out
}

// symbolAt reads the symbol that has its finder patterns there.
func symbolAt(black *gozxing.BitMatrix, info *detector.FinderPatternInfo) (s symbol, ok bool) {
	found, err := detector.NewDetector(black).ProcessFinderPatternInfo(info)
	if err != nil {
		return s, false
	}
	points := found.GetPoints()
	s.modules = found.GetBits().GetWidth()
	result, err := decoder.NewDecoder().Decode(found.GetBits(), nil)
	if err != nil || len(points) < 3 {
		return s, false
	}
	s.content = result.GetText()
	if m, is := result.GetOther().(*decoder.QRCodeDecoderMetaData); is {
		m.ApplyMirroredCorrection(points)
	}
	// The points are, from the library's order: bottom left, top left and top right finder, and the alignment pattern.
	n := float64(s.modules)
	at := func(i int) point { return point{points[i].GetX(), points[i].GetY()} }
	from := [4]point{{3.5, n - 3.5}, {3.5, 3.5}, {n - 3.5, 3.5}, {n - 3.5, n - 3.5}}
	to := [4]point{at(0), at(1), at(2), {at(0).x + at(2).x - at(1).x, at(0).y + at(2).y - at(1).y}}
	if len(points) > 3 {
		from[3], to[3] = point{n - 6.5, n - 6.5}, at(3)
	}
	s.to, ok = fourPoints(from, to)
	return s, ok
}
