// Package typeface turns short texts into outlines, for the words drawn on pictures. Start at [Set].
//
// Latin, Greek and Cyrillic are Go Bold, tracking codes are Go Mono Bold (golang.org/x/image/font/gofont); Chinese and
// Japanese are Droid Sans Fallback, embedded here (README.md says from where). Letters are set side by side by their advances:
// there is no shaping. So text which would come out wrong is refused, with the character and the reason: emoji, scripts
// written from right to left, scripts whose letters join, and what the fonts do not have.
package typeface

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the font
	"fmt"
	"io"
	"sync"
	"unicode"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// CapHeight is the height of a capital letter, in em: where the middle of a line is. Go Bold and Go Mono Bold have 0.72,
// Chinese characters reach from −0.12 to 0.87.
const CapHeight = 0.72

//go:embed droid-sans-fallback.ttf.gz
var droid []byte

// A face is a parsed font and what was drawn of it already.
type face struct {
	font   *sfnt.Font
	units  float32 // an em
	glyphs sync.Map
}

var (
	bold = sync.OnceValue(func() *face { return parse(gobold.TTF) })
	mono = sync.OnceValue(func() *face { return parse(gomonobold.TTF) })
	wide = sync.OnceValue(func() *face {
		z, err := gzip.NewReader(bytes.NewReader(droid))
		if err != nil {
			panic(fmt.Sprintf("the embedded font: %v", err))
		}
		b, err := io.ReadAll(z)
		if err != nil {
			panic(fmt.Sprintf("the embedded font: %v", err))
		}
		return parse(b)
	})
)

func parse(b []byte) *face {
	f, err := sfnt.Parse(b)
	if err != nil {
		panic(fmt.Sprintf("the embedded font: %v", err))
	}
	return &face{font: f, units: float32(f.UnitsPerEm())}
}

// A Glyph is a letter's outline in em, y downwards from the baseline. Immutable.
type Glyph struct {
	Segments []Segment
	Advance  float32
}

// Op is what a segment does.
type Op byte

// The operations of an outline. All end at their last point.
const (
	Move  Op = 'M' // one point
	Line  Op = 'L' // one point
	Quad  Op = 'Q' // two points
	Cubic Op = 'C' // three points
)

// A Segment is one step of an outline.
type Segment struct {
	Op  Op
	Pts [3][2]float32
}

// glyph draws r, and says false where the face does not have it.
func (f *face) glyph(r rune) (*Glyph, bool) {
	if g, ok := f.glyphs.Load(r); ok {
		return g.(*Glyph), true
	}
	var buf sfnt.Buffer
	index, err := f.font.GlyphIndex(&buf, r)
	if err != nil || index == 0 {
		return nil, false
	}
	ppem := fixed.I(int(f.units))
	segments, err := f.font.LoadGlyph(&buf, index, ppem, nil)
	if err != nil {
		return nil, false
	}
	g := &Glyph{Segments: make([]Segment, len(segments))}
	scale := 1 / (64 * f.units)
	for i, s := range segments {
		to := &g.Segments[i]
		to.Op = [...]Op{sfnt.SegmentOpMoveTo: Move, sfnt.SegmentOpLineTo: Line, sfnt.SegmentOpQuadTo: Quad, sfnt.SegmentOpCubeTo: Cubic}[s.Op]
		for j, p := range s.Args {
			to.Pts[j] = [2]float32{float32(p.X) * scale, float32(p.Y) * scale}
		}
	}
	advance, err := f.font.GlyphAdvance(&buf, index, ppem, 0)
	if err != nil {
		return nil, false
	}
	g.Advance = float32(advance) * scale
	f.glyphs.Store(r, g)
	return g, true
}

// A Refusal is a character that is not drawn, and why.
type Refusal struct {
	Char   rune
	Reason string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%q (%U) %s", r.Char, r.Char, r.Reason) }

// Set returns the glyphs of text, in its order. Errors are [*Refusal].
func Set(text string) ([]*Glyph, error) {
	out := make([]*Glyph, 0, len(text))
	for _, r := range text {
		g, ok := bold().glyph(r)
		if !ok {
			if reason := refused(r); reason != "" {
				return nil, &Refusal{r, reason}
			}
			if g, ok = wide().glyph(r); !ok {
				return nil, &Refusal{r, "is in none of the embedded fonts, which have Latin, Greek, Cyrillic, Chinese and Japanese: write it in one of these"}
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// SetMono returns the glyphs of text with one width for all letters. Errors are [*Refusal].
func SetMono(text string) ([]*Glyph, error) {
	out := make([]*Glyph, 0, len(text))
	for _, r := range text {
		g, ok := mono().glyph(r)
		if !ok {
			return nil, &Refusal{r, "is not in the font of tracking codes, which has letters and digits"}
		}
		out = append(out, g)
	}
	return out, nil
}

// rightToLeft are the scripts written from right to left (Unicode 15, Bidi_Class R and AL) which the unicode package names.
var rightToLeft = []*unicode.RangeTable{
	unicode.Arabic, unicode.Hebrew, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Samaritan, unicode.Mandaic, unicode.Adlam,
	unicode.Mende_Kikakui, unicode.Hanifi_Rohingya, unicode.Yezidi,
}

// joined are scripts in common use whose letters change, stack or reorder beside others.
var joined = []*unicode.RangeTable{
	unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada,
	unicode.Malayalam, unicode.Sinhala, unicode.Thai, unicode.Lao, unicode.Tibetan, unicode.Myanmar, unicode.Khmer, unicode.Mongolian,
}

// refused says why r is not drawn though some font may have it; "" where it may be.
func refused(r rune) string {
	switch {
	case unicode.Is(unicode.Hangul, r):
		return "is Korean, and the embedded fonts have Latin, Greek, Cyrillic, Chinese and Japanese: write it in one of these"
	case unicode.IsOneOf(rightToLeft, r):
		return "is written from right to left, which needs shaping that pictures do not have: write it in another script"
	case unicode.IsOneOf(joined, r):
		return "belongs to a script whose letters join, which needs shaping that pictures do not have: write it in another script"
	case r == 0x200d, r >= 0xfe00 && r <= 0xfe0f, r >= 0x1f000 && r <= 0x1faff, r >= 0x2600 && r <= 0x27bf, r >= 0xe0000 && r <= 0xe01ef:
		return "is an emoji or part of one, and the fonts have no emoji: leave it out"
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return "is a control character: leave it out"
	case unicode.Is(unicode.Mn, r):
		return "is a mark to be set on another letter: write the letter with its mark as one character (NFC)"
	}
	return ""
}
