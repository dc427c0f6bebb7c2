package qr

import "unicode/utf8"

const (
	maxCopy  = 120 // characters
	maxLines = 4
	leading  = 1.35 // em from line to line
)

// drawCopy sets the words under the picture, centred below the quiet zone, and adds what they need to its height.
// They cover nothing.
func (s *Symbol) drawCopy(text string, scale int) error {
	if text == "" {
		return nil
	}
	if n := utf8.RuneCountInString(text); n > maxCopy {
		return refuse("copy", "it has %d characters; at most %d are drawn: shorten it", n, maxCopy)
	}
	l, err := typeset("copy", text)
	if err != nil {
		return err
	}
	if l = l.cut(0, len(l.runes)); len(l.runes) == 0 {
		return refuse("copy", "it is blank: write something, or leave it out")
	}
	all := float32(s.Width())
	width := all - float32(s.quiet)
	em := max(0.062*all, (l.small()+1)/float32(scale))
	lines := []line{l}
	if natural := l.width() * em; natural > width {
		if natural <= width*1.3 { // a little smaller, in one line
			em = max(em*width/natural, min(em, (l.small()+1)/float32(scale)))
		}
		var ok bool
		if lines, ok = l.balanced(width / em); !ok {
			return refuse("copy", "a word of it is wider than the picture of %d pixels: break it with a blank, or take a larger picture", s.size)
		}
		if len(lines) > maxLines {
			return refuse("copy", "in %d pixels it takes %d lines; at most %d are drawn: shorten it, or take a larger picture", s.size, len(lines), maxLines)
		}
	}
	var p path
	baseline := all - 0.25*float32(s.quiet) + (below+0.5)*em
	for _, l := range lines {
		p.words(l.glyphs, (all-l.width()*em)/2, baseline, em)
		baseline += leading * em
	}
	s.items = append(s.items, item{p, true})
	s.foot = baseline - leading*em + (0.5-below)*em + 0.75*float32(s.quiet) - all
	return nil
}
