package sheet

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Papers are the sizes a sheet may have, in mm.
var Papers = map[string][2]float64{
	"A4": {210, 297}, "A3": {297, 420}, "A5": {148, 210}, "Letter": {215.9, 279.4},
}

// Options say what a sheet looks like. Lengths are in mm.
type Options struct {
	Paper         string // of Papers, case does not matter
	Columns, Rows int
	Margin        float64 // on all sides
	Labels        int     // lines of words under each picture
	Crop          bool    // marks to cut along

	Mark string    // kept in the file as its keywords, ASCII
	Date time.Time // zero: none
}

// DPI is how many pixels an inch of a picture should have, so that its edges are sharp in print.
const DPI = 300

// Bounds of what can be laid out.
const (
	MaxGrid = 50
	pad     = 3.0 // between a picture and where it is cut
	line    = 3.8 // the height of a line of words
	// MinSide is the least side of a picture with its quiet zone. Phones read modules from about 0.33 mm on (GS1 General
	// Specifications 5.12.3.1 has 0.396 mm for what people scan); a version 3 symbol has 37 with its quiet zone.
	MinSide   = 14.0
	maxMargin = 60.0
)

// Layout is where things are on a page, in mm from its upper left corner.
type Layout struct {
	Width, Height float64 // of the page
	cellW, cellH  float64
	Side          float64 // of a picture
	o             Options
}

// Layout checks o and lays it out. An error says which option to change, by its flag.
func (o Options) Layout() (Layout, error) {
	var l Layout
	found := false
	for name, size := range Papers {
		if strings.EqualFold(name, o.Paper) {
			l.Width, l.Height, found = size[0], size[1], true
		}
	}
	switch {
	case !found:
		return l, fmt.Errorf("--paper %q is not known: use A3, A4, A5 or Letter", o.Paper)
	case o.Columns < 1 || o.Columns > MaxGrid:
		return l, fmt.Errorf("--columns is a whole number from 1 to %d", MaxGrid)
	case o.Rows < 1 || o.Rows > MaxGrid:
		return l, fmt.Errorf("--rows is a whole number from 1 to %d", MaxGrid)
	case o.Margin < 0 || o.Margin > maxMargin || math.IsNaN(o.Margin):
		return l, fmt.Errorf("--margin is a length from 0mm to %gmm", maxMargin)
	}
	l.o = o
	l.cellW, l.cellH = (l.Width-2*o.Margin)/float64(o.Columns), (l.Height-2*o.Margin)/float64(o.Rows)
	l.Side = min(l.cellW-2*pad, l.cellH-2*pad-line*float64(o.Labels))
	if l.Side < MinSide {
		return l, fmt.Errorf("%d columns and %d rows with %d lines of words leave pictures of %.0f mm on %s, and %g mm is the least that is scanned well: use fewer --columns, --rows or --label, or a smaller --margin",
			o.Columns, o.Rows, o.Labels, max(l.Side, 0), o.Paper, MinSide)
	}
	return l, nil
}

// Marked is l with another mark.
func (l Layout) Marked(mark string) Layout {
	l.o.Mark = mark
	return l
}

// Pixels is the side of a picture at [DPI].
func (l Layout) Pixels() int { return int(math.Ceil(l.Side / 25.4 * DPI)) }

// PerPage is how many pictures a page has.
func (l Layout) PerPage() int { return l.o.Columns * l.o.Rows }

// cell is the upper left corner of the n-th cell of a page.
func (l Layout) cell(n int) (x, y float64) {
	return l.o.Margin + float64(n%l.o.Columns)*l.cellW, l.o.Margin + float64(n/l.o.Columns)*l.cellH
}
