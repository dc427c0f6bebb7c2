package qr

import (
	"errors"
	"fmt"
	"image"
	"math"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/qr/typeface"
)

const (
	maxBadge = 24 // characters; what fits is less and depends on the budget

	badgeHeight = 4 // modules: what is free below the alignment pattern, and the height of a codeword there
	bigLetters  = 2.9
	badgeGap    = 0.4 // modules to the symbol beside it
)

// arrange places plate, logo and badge within the budget. scale is pixels of a module.
func (s *Symbol) arrange(o Options, scale int) error {
	code, err := plateOf(o)
	if err != nil || code == nil && o.Badge == "" && o.Logo == nil {
		return err
	}
	if n := utf8.RuneCountInString(o.Badge); n > maxBadge {
		return refuse("badge", "it has %d characters; at most %d are drawn: shorten it, or take copy for words under the picture", n, maxBadge)
	}
	tries := []middle{{}}
	switch {
	case o.Logo != nil:
		tries = logoSizes(len(s.modules), o.Logo)
	case code != nil:
		tries = plateSizes(len(s.modules))
	}
	for _, m := range tries {
		if err = s.draw(o, code, m, scale); err == nil {
			return nil
		}
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Field == "plate" && o.Plate == "" {
		return s.draw(o, nil, middle{}, scale) // nobody asked for it, and this picture is too small or too poor for it
	}
	return err
}

// middle is the modules that plate or logo take, if there is one.
type middle struct{ w, h int }

// draw places everything anew, with a middle of this size.
func (s *Symbol) draw(o Options, code []*typeface.Glyph, m middle, scale int) error {
	b := newBudget(layoutOf(s.version, s.level))
	s.items, s.covered, s.logo = nil, make([]bool, b.n*b.n), nil
	switch {
	case o.Logo != nil:
		if err := s.drawLogo(b, o.Logo, m); err != nil {
			return err
		}
	case code != nil:
		if err := s.drawPlate(b, code, m, scale); err != nil {
			return err
		}
	}
	if o.Badge != "" {
		return s.drawBadge(b, o.Badge, scale)
	}
	return nil
}

// cover takes r, in modules of the symbol, out of what is drawn of it.
func (s *Symbol) cover(b *budget, r image.Rectangle) {
	b.spend(r)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			s.covered[y*b.n+x] = true
		}
	}
}

// plateOf are the glyphs of the tracking code, nil where there is to be no plate.
func plateOf(o Options) ([]*typeface.Glyph, error) {
	switch {
	case o.Plate != "" && o.Plate != PlateOn && o.Plate != PlateOff:
		return nil, refuse("plate", "%q is not known: use on or off", clip(string(o.Plate)))
	case o.Plate == PlateOff, o.Plate == "" && (o.Tracking == "" || o.Logo != nil):
		return nil, nil
	case o.Logo != nil:
		return nil, refuse("plate", "the middle holds the logo or the tracking code, not both: leave out the logo or take plate=off")
	case o.Tracking == "":
		return nil, refuse("plate", "there is no tracking code to show: take plate=off")
	case len(o.Tracking) != trackingLetters:
		return nil, refuse("tracking", "a tracking code has %d characters, and this one %d", trackingLetters, utf8.RuneCountInString(o.Tracking))
	}
	glyphs, err := typeface.SetMono(o.Tracking)
	if err != nil {
		return nil, refuse("tracking", "a tracking code has letters and digits of ASCII only")
	}
	return glyphs, nil
}

const trackingLetters = 8

// plateSizes are the modules a plate may have, widest first: two lines of four letters, a sixth of the symbol wide, and in small
// symbols, which have few codewords to spare, as little as can be read.
func plateSizes(n int) (sizes []middle) {
	for w := n / 6; w > 5; w-- {
		sizes = append(sizes, middle{w, (4*w + 4) / 5})
	}
	return append(sizes, middle{5, 4}, middle{4, 4}, middle{4, 3})
}

func (s *Symbol) drawPlate(b *budget, code []*typeface.Glyph, m middle, scale int) error {
	w, h := float32(m.w), float32(m.h)
	half := len(code) / 2
	advance := code[0].Advance
	// A line is a capital letter high; the gaps between, above and below are half of one.
	em := min((w-0.5)/(float32(half)*advance), h/(3.3*typeface.CapHeight))
	const least = 8 // pixels of an em
	if need := int(math.Ceil(least / float64(em))); scale < need {
		return refuse("plate", "in %d pixels the tracking code would be too small to read: take at least %d, or plate=off", s.size, need*s.Width())
	}
	r, worst, ok := b.centred(m.w, m.h)
	if !ok {
		return b.refuse("plate", "the tracking code", worst, "ask for a higher ec, or take plate=off")
	}
	s.cover(b, r)
	x := float32(r.Min.X+s.quiet) + (w-float32(half)*advance*em)/2
	y := float32(r.Min.Y+s.quiet) + h/2
	var p path
	p.words(code[:half], x, y-0.25*typeface.CapHeight*em, em)
	p.words(code[half:], x, y+1.25*typeface.CapHeight*em, em)
	s.items = append(s.items, item{p, true})
	return nil
}

// refuse says what a drawing would cost and what there is.
func (b *budget) refuse(field, what string, worst int, instead string) error {
	if worst == 0 {
		return refuse(field, "version %d has no room for %s: %s", b.version, what, instead)
	}
	return refuse(field, "%s would cover %d codewords of a block in all, and version %d at level %s repairs %d, of which at most half (%d) may be spent on drawings: %s",
		what, worst, b.version, b.level, correctable(b.version, b.level), b.limit, instead)
}

// drawBadge writes text into the lower right corner, the only one without a finder, in the largest letters that the
// budget allows: in one line or two.
func (s *Symbol) drawBadge(b *budget, text string, scale int) error {
	l, err := typeset("badge", text)
	if err != nil {
		return err
	}
	if l = l.cut(0, len(l.runes)); len(l.runes) == 0 {
		return refuse("badge", "it is blank: write something, or leave it out")
	}
	need := float64(l.small()) / float64(scale) // em
	cheapest := 0
	for em := float32(bigLetters); em >= 0.7; em -= 0.1 {
		lines, width := []line{l}, l.width()
		if two, w, ok := l.halves(); ok && 2*1.15*em <= badgeHeight-badgeGap {
			lines, width = two, w
		}
		const pad = 0.35 // left and right of the letters
		w := max(badgeHeight, int(math.Ceil(float64(width*em+2*pad+badgeGap))))
		r := image.Rect(b.n-w, b.n-badgeHeight, b.n, b.n)
		if r.Min.X < 9 || !b.free(r) {
			continue
		}
		_, worst := b.cost(r)
		if cheapest == 0 || worst < cheapest {
			cheapest = worst
		}
		if worst > b.limit {
			continue
		}
		if float64(em) < need {
			return refuse("badge", "in %d pixels its letters would be too small to read: take at least %d, or a shorter badge", s.size, int(math.Ceil(need*float64(scale)/float64(em)))*s.Width())
		}
		s.cover(b, r)
		s.writeBadge(r, lines, em)
		return nil
	}
	return b.refuse("badge", "the badge with all else", cheapest, "shorten it, take plate=off, or ask for a higher ec")
}

func (s *Symbol) writeBadge(r image.Rectangle, lines []line, em float32) {
	x, y := float32(r.Min.X+s.quiet)+badgeGap, float32(r.Min.Y+s.quiet)+badgeGap
	w, h := float32(r.Dx())-badgeGap, float32(r.Dy())-badgeGap
	var box, words path
	box.round(x, y, w, h, 0.7)
	height := 1.15 * em
	baseline := y + h/2 - height*float32(len(lines)-1)/2 + below*em
	for _, l := range lines {
		words.words(l.glyphs, x+(w-l.width()*em)/2, baseline, em)
		baseline += height
	}
	s.items = append(s.items, item{box, true}, item{words, false})
}

// logoSizes are the modules a logo may take in its own proportions, largest first, up to three tenths of a side.
func logoSizes(n int, logo *Logo) (sizes []middle) {
	size := logo.img.Bounds().Size()
	for side := n * 3 / 10; side >= 4; side-- {
		m := middle{side, side}
		if size.X > size.Y {
			m.h = max(3, (side*size.Y+size.X/2)/size.X)
		} else {
			m.w = max(3, (side*size.X+size.Y/2)/size.Y)
		}
		sizes = append(sizes, m)
	}
	return sizes
}

func (s *Symbol) drawLogo(b *budget, logo *Logo, m middle) error {
	r, worst, ok := b.centred(m.w, m.h)
	if !ok {
		return b.refuse("logo", fmt.Sprintf("a logo of %d × %d modules", m.w, m.h), worst, "leave it out, or ask for a higher ec")
	}
	s.cover(b, r)
	s.logo, s.logoAt = logo, r.Add(image.Pt(s.quiet, s.quiet))
	return nil
}
