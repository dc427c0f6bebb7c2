package qr

import (
	"errors"
	"unicode"

	"github.com/huoma/huoma/internal/qr/typeface"
)

// A line is text with its outlines, and where it may be broken.
type line struct {
	runes  []rune
	glyphs []*typeface.Glyph
}

// typeset refuses text that cannot be drawn, in the name of the field.
func typeset(field, text string) (line, error) {
	glyphs, err := typeface.Set(text)
	if r, ok := errors.AsType[*typeface.Refusal](err); ok {
		return line{}, refuse(field, "%s", r.Error())
	}
	return line{runes: []rune(text), glyphs: glyphs}, err
}

// width is in em.
func (l line) width() (w float32) {
	for _, g := range l.glyphs {
		w += g.Advance
	}
	return w
}

func (l line) cut(from, to int) line {
	for from < to && l.runes[from] == ' ' {
		from++
	}
	for to > from && l.runes[to-1] == ' ' {
		to--
	}
	return line{l.runes[from:to], l.glyphs[from:to]}
}

// breaks says whether a new line may begin at i: at a blank, which is then dropped, and beside a Chinese or Japanese character that is no
// closing punctuation.
func (l line) breaks(i int) bool {
	if i <= 0 || i >= len(l.runes) {
		return false
	}
	before, at := l.runes[i-1], l.runes[i]
	if at == ' ' || before == ' ' {
		return true
	}
	return (wide(before) || wide(at)) && !unicode.Is(unicode.Pe, at) && !unicode.Is(unicode.Po, at) && !unicode.Is(unicode.Ps, before)
}

func wide(r rune) bool {
	return r >= 0x2e80 && r < 0xd7b0 || r >= 0xf900 && r < 0xfb00 || r >= 0xff00 && r < 0xff61
}

// wrap breaks l into lines of at most width em, and says false where a word alone is wider.
func (l line) wrap(width float32) (out []line, ok bool) {
	start := 0
	for start < len(l.runes) {
		end, w, broke := start, float32(0), -1
		for end < len(l.runes) && w+l.glyphs[end].Advance <= width+1e-4 {
			w += l.glyphs[end].Advance
			end++
			if end == len(l.runes) || l.breaks(end) {
				broke = end
			}
		}
		if broke < 0 {
			return nil, false
		}
		if piece := l.cut(start, broke); len(piece.runes) > 0 {
			out = append(out, piece)
		}
		start = broke
	}
	return out, true
}

// balanced breaks l into as many lines as wrap needs at width em, of widths as equal as can be.
func (l line) balanced(width float32) ([]line, bool) {
	out, ok := l.wrap(width)
	if !ok {
		return nil, false
	}
	low, high := l.width()/float32(len(out)), width
	for range 12 {
		mid := (low + high) / 2
		if better, ok := l.wrap(mid); ok && len(better) == len(out) {
			out, high = better, mid
		} else {
			low = mid
		}
	}
	return out, true
}

// halves breaks l into two lines of which the longer is as short as can be.
func (l line) halves() (lines []line, width float32, ok bool) {
	for i := range l.runes {
		if !l.breaks(i) {
			continue
		}
		a, b := l.cut(0, i), l.cut(i, len(l.runes))
		if w := max(a.width(), b.width()); !ok || w < width {
			lines, width, ok = []line{a, b}, w, true
		}
	}
	return lines, width, ok
}

// below is how far under the middle of a line its baseline is, in em.
const below = typeface.CapHeight / 2

// small is the least height of an em in pixels at which letters are read.
func (l line) small() float32 {
	for _, r := range l.runes {
		if wide(r) {
			return 11
		}
	}
	return 8
}
