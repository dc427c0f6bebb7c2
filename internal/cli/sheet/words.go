package sheet

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/huoma/huoma/internal/qr/typeface"
)

// letter is one character as it is drawn.
type letter struct {
	r    rune
	mono bool
}

// place is where a letter is in the file: its font, its code there and its width in em.
type place struct {
	font  int
	code  byte
	width float64
}

// letters are the Type 3 fonts of a file. Each letter is drawn once, when it is first used.
type letters struct {
	f      *file
	places map[letter]place
	fonts  []*font
}

// font is at most 255 letters: a code is a byte, and 0 stays free.
type font struct {
	object int
	procs  []int // objects of the drawings
	widths []int
	runes  []rune
}

// missing stands for what the fonts do not have: emoji and scripts that need shaping.
const missing = '□'

// find returns a letter's place, drawing it if it is new.
func (l *letters) find(r rune, mono bool) place {
	key := letter{r, mono}
	if p, ok := l.places[key]; ok {
		return p
	}
	set := typeface.Set
	if mono {
		set = typeface.SetMono
	}
	glyphs, err := set(string(r))
	if err != nil && mono {
		p := l.find(r, false)
		l.places[key] = p
		return p
	}
	if err != nil {
		if glyphs, err = typeface.Set(string(missing)); err != nil {
			glyphs, _ = typeface.Set("?") // every font has it
		}
	}
	g := glyphs[0]
	if len(l.fonts) == 0 || len(l.fonts[len(l.fonts)-1].runes) == 255 {
		l.fonts = append(l.fonts, &font{object: l.f.reserve()})
	}
	at := len(l.fonts) - 1
	to := l.fonts[at]
	width := int(g.Advance*1000 + 0.5)
	proc := l.f.reserve()
	l.f.compressed(proc, "", outline(g, width))
	to.procs, to.widths, to.runes = append(to.procs, proc), append(to.widths, width), append(to.runes, r)
	p := place{at, byte(len(to.runes)), float64(width) / 1000}
	l.places[key] = p
	return p
}

// outline is a glyph's drawing in thousandths of an em, y upwards.
func outline(g *typeface.Glyph, width int) []byte {
	pt := func(p [2]float32) (x, y float64) { return float64(p[0]) * 1000, float64(-p[1]) * 1000 }
	var minX, minY, maxX, maxY float64
	for _, s := range g.Segments {
		for i := range points(s.Op) {
			x, y := pt(s.Pts[i])
			minX, minY, maxX, maxY = min(minX, x), min(minY, y), max(maxX, x), max(maxY, y)
		}
	}
	b := ops(nil, "d1", float64(width), 0, minX, minY, maxX, maxY)
	var x, y float64
	for _, s := range g.Segments {
		x0, y0 := pt(s.Pts[0])
		switch s.Op {
		case typeface.Move:
			b, x, y = ops(b, "m", x0, y0), x0, y0
		case typeface.Line:
			b, x, y = ops(b, "l", x0, y0), x0, y0
		case typeface.Quad: // a cubic with the same shape
			x1, y1 := pt(s.Pts[1])
			b = ops(b, "c", x+(x0-x)*2/3, y+(y0-y)*2/3, x1+(x0-x1)*2/3, y1+(y0-y1)*2/3, x1, y1)
			x, y = x1, y1
		case typeface.Cubic:
			x1, y1 := pt(s.Pts[1])
			x2, y2 := pt(s.Pts[2])
			b, x, y = ops(b, "c", x0, y0, x1, y1, x2, y2), x2, y2
		}
	}
	return append(b, "f\n"...)
}

func points(op typeface.Op) int {
	switch op {
	case typeface.Quad:
		return 2
	case typeface.Cubic:
		return 3
	}
	return 1
}

// end writes the fonts.
func (l *letters) end() {
	for _, f := range l.fonts {
		var procs, names, widths, unicode strings.Builder
		for i, proc := range f.procs {
			fmt.Fprintf(&procs, "/g%d %d 0 R", i+1, proc)
			fmt.Fprintf(&names, "/g%d", i+1)
			fmt.Fprintf(&widths, "%d ", f.widths[i])
		}
		for from := 0; from < len(f.runes); from += 100 { // at most 100 a block
			to := min(from+100, len(f.runes))
			fmt.Fprintf(&unicode, "%d beginbfchar\n", to-from)
			for i := from; i < to; i++ {
				fmt.Fprintf(&unicode, "<%02x><", i+1)
				for _, u := range utf16.Encode([]rune{f.runes[i]}) {
					fmt.Fprintf(&unicode, "%04x", u)
				}
				unicode.WriteString(">\n")
			}
			unicode.WriteString("endbfchar\n")
		}
		cmap := l.f.reserve()
		l.f.compressed(cmap, "", []byte("/CIDInit/ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName/Huoma def\n/CMapType 2 def\n1 begincodespacerange\n<00><ff>\nendcodespacerange\n"+
			unicode.String()+"endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"))
		l.f.object(f.object, fmt.Sprintf("<</Type/Font/Subtype/Type3/FontBBox[0 0 0 0]/FontMatrix[0.001 0 0 0.001 0 0]/Resources<<>>/CharProcs<<%s>>/Encoding<</Type/Encoding/Differences[1%s]>>/FirstChar 1/LastChar %d/Widths[%s]/ToUnicode %d 0 R>>",
			procs.String(), names.String(), len(f.procs), strings.TrimSpace(widths.String()), cmap))
	}
}
