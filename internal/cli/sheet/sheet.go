package sheet

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A Cell is one picture with the words under it.
type Cell struct {
	PNG   []byte
	Words []Words // a line each, at most Options.Labels
}

// Words are one line.
type Words struct {
	Text string
	Mono bool // letters of one width, for what is typed in
}

// Writer writes a sheet. Not safe for concurrent use.
type Writer struct {
	layout  Layout
	out     *bufio.Writer
	f       *file
	letters *letters

	pages, root, info int
	kids              []int

	n       int // cells on the page
	content []byte
	images  []int
	fonts   map[int]bool
}

// Sizes of words in points: the largest that fits.
const (
	largest  = 9.0
	smallest = 6.0
)

// New begins a sheet. The layout is of Options.Layout.
func New(w io.Writer, l Layout) *Writer {
	out := bufio.NewWriterSize(w, 64<<10)
	f := &file{w: out}
	s := &Writer{layout: l, out: out, f: f, letters: &letters{f: f, places: make(map[letter]place)}, fonts: make(map[int]bool)}
	f.write([]byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")) // 7.5.2: bytes above 127 say that it is binary
	s.root, s.pages, s.info = f.reserve(), f.reserve(), f.reserve()
	return s
}

// Add puts a picture into the next cell.
func (s *Writer) Add(c Cell) error {
	if len(c.Words) > s.layout.o.Labels {
		return fmt.Errorf("sheet: %d lines of words where there is room for %d", len(c.Words), s.layout.o.Labels)
	}
	if s.n == s.layout.PerPage() {
		s.page()
	}
	img, err := s.f.image(c.PNG)
	if err != nil {
		return err
	}
	l := s.layout
	x, y := l.cell(s.n)
	s.n++
	height := l.Side + line*float64(l.o.Labels)
	top := y + (l.cellH-height)/2
	s.content = ops(append(s.content, "q\n"...), "cm", l.Side*perMM, 0, 0, l.Side*perMM, (x+(l.cellW-l.Side)/2)*perMM, (l.Height-top-l.Side)*perMM)
	s.content = fmt.Appendf(s.content, "/I%d Do\nQ\n", img)
	s.images = append(s.images, img)
	for i, w := range c.Words {
		s.words(w, x+l.cellW/2, top+l.Side+line*(float64(i)+0.8), l.cellW-2)
	}
	return s.f.err
}

// words sets one line, its middle at x and its baseline at y, no wider than most (mm).
func (s *Writer) words(w Words, x, y, most float64) {
	text := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, w.Text))
	width := func(list []rune) (em float64) {
		for _, r := range list {
			em += s.letters.find(r, w.Mono).width
		}
		return em
	}
	size := largest
	if em := width(text); em*size > most*perMM {
		size = max(smallest, most*perMM/em)
	}
	if width(text)*size > most*perMM {
		for len(text) > 0 && width(append(text[:len(text):len(text)], '…'))*size > most*perMM {
			text = text[:len(text)-1]
		}
		text = append(text[:len(text):len(text)], '…')
	}
	if len(text) == 0 {
		return
	}
	b := append(s.content, "BT\n"...)
	b = ops(b, "Td", x*perMM-width(text)*size/2, (s.layout.Height-y)*perMM)
	current := -1
	for _, r := range text {
		p := s.letters.find(r, w.Mono)
		if p.font != current {
			if current >= 0 {
				b = append(b, ">Tj\n"...)
			}
			b = ops(fmt.Appendf(b, "/F%d ", p.font), "Tf", size)
			b = append(b, '<')
			current = p.font
			s.fonts[p.font] = true
		}
		b = fmt.Appendf(b, "%02x", p.code)
	}
	s.content = append(b, ">Tj\nET\n"...)
}

// page writes the page that is full, or the last.
func (s *Writer) page() {
	l := s.layout
	if l.o.Crop {
		s.crop()
	}
	content := s.f.reserve()
	s.f.compressed(content, "", s.content)
	var images, fonts strings.Builder
	for _, n := range s.images {
		fmt.Fprintf(&images, "/I%d %d 0 R", n, n)
	}
	for i, f := range s.letters.fonts {
		if s.fonts[i] {
			fmt.Fprintf(&fonts, "/F%d %d 0 R", i, f.object)
		}
	}
	page := s.f.reserve()
	s.f.object(page, fmt.Sprintf("<</Type/Page/Parent %d 0 R/MediaBox[0 0 %s %s]/Resources<</XObject<<%s>>/Font<<%s>>>>/Contents %d 0 R>>",
		s.pages, num(nil, l.Width*perMM), num(nil, l.Height*perMM), images.String(), fonts.String(), content))
	s.kids = append(s.kids, page)
	s.n, s.content, s.images = 0, s.content[:0], s.images[:0]
	clear(s.fonts)
}

// crop draws a small cross where cells meet, hairlines of 0.1 mm that reach 2 mm into each.
func (s *Writer) crop() {
	const arm = 2.0
	l := s.layout
	b := ops(append(s.content, "q 0.4 G\n"...), "w", 0.1*perMM)
	rows := (s.n + l.o.Columns - 1) / l.o.Columns
	for row := range rows + 1 {
		for column := range min(s.n, l.o.Columns) + 1 {
			x, y := (l.o.Margin+float64(column)*l.cellW)*perMM, (l.Height-l.o.Margin-float64(row)*l.cellH)*perMM
			b = ops(b, "m", x-arm*perMM, y)
			b = ops(b, "l", x+arm*perMM, y)
			b = ops(b, "m", x, y-arm*perMM)
			b = ops(b, "l", x, y+arm*perMM)
		}
	}
	s.content = append(b, "S\nQ\n"...)
}

// Close ends the sheet. The writer stays open.
func (s *Writer) Close() error {
	if s.n > 0 || len(s.kids) == 0 {
		s.page()
	}
	s.letters.end()
	var kids strings.Builder
	for _, k := range s.kids {
		fmt.Fprintf(&kids, "%d 0 R ", k)
	}
	s.f.object(s.pages, fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]>>", len(s.kids), strings.TrimSpace(kids.String())))
	s.f.object(s.root, fmt.Sprintf("<</Type/Catalog/Pages %d 0 R>>", s.pages))
	info := "<</Producer(Huoma)"
	if s.layout.o.Mark != "" {
		info += "/Keywords(" + s.layout.o.Mark + ")"
	}
	if d := s.layout.o.Date; !d.IsZero() {
		info += "/CreationDate(D:" + d.UTC().Format("20060102150405") + "Z)"
	}
	s.f.object(s.info, info+">>")
	if err := s.f.end(s.root, s.info); err != nil {
		return err
	}
	return s.out.Flush()
}
