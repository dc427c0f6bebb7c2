package sheet_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/cli/sheet"
	"github.com/huoma/huoma/internal/qr"
)

func layout(t testing.TB, o sheet.Options) sheet.Layout {
	t.Helper()
	l, err := o.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var plain = sheet.Options{Paper: "A4", Columns: 4, Rows: 5, Margin: 10, Labels: 2, Crop: true}

func content(i int) string { return fmt.Sprintf("HTTPS://Q.EXAMPLE/S/%034d", i) }

// picture is a code as a gateway draws it.
func picture(t testing.TB, i int, l sheet.Layout) []byte {
	t.Helper()
	s, err := qr.Encode(qr.Options{Content: content(i), Version: 3, Size: l.Pixels()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write writes a sheet of n codes, and calls each before every one.
func write(t testing.TB, w io.Writer, o sheet.Options, n int, each func(i int, c *sheet.Cell)) {
	t.Helper()
	l := layout(t, o)
	s := sheet.New(w, l)
	for i := range n {
		c := sheet.Cell{PNG: picture(t, i, l), Words: []sheet.Words{{Text: fmt.Sprintf("春季活动-%04d", i)}, {Text: fmt.Sprintf("ABCD%04d", i), Mono: true}}}
		if each != nil {
			each(i, &c)
		}
		if err := s.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// rendered is a sheet as a printer would have it: its pages as files, at so many dots an inch.
func rendered(t *testing.T, pdf []byte, dpi int) []string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "sheet.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftoppm", "-r", fmt.Sprint(dpi), "-png", path, filepath.Join(dir, "page")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("pdftoppm: %v: %s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "page*.png"))
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// scanned is what a reader finds on pages when it looks at one cell after the other, as people do.
func scanned(t *testing.T, pages []string, o sheet.Options, dpi float64) []string {
	t.Helper()
	l := layout(t, o)
	mm := dpi / 25.4
	dir := t.TempDir()
	args := []string{"-q", "--raw", "-Sdisable", "-Sqrcode.enable"}
	for i, name := range pages {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		page, err := png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		w, h := (l.Width-2*o.Margin)/float64(o.Columns), (l.Height-2*o.Margin)/float64(o.Rows)
		for n := range l.PerPage() {
			x, y := o.Margin+float64(n%o.Columns)*w, o.Margin+float64(n/o.Columns)*h
			cell := page.(interface {
				SubImage(image.Rectangle) image.Image
			}).SubImage(image.Rect(int(x*mm), int(y*mm), int((x+w)*mm), int((y+h)*mm)))
			path := filepath.Join(dir, fmt.Sprintf("%03d-%03d.png", i, n))
			var b bytes.Buffer
			if err := png.Encode(&b, cell); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
	}
	out, err := exec.Command("zbarimg", args...).Output() // its status is 4 where cells are empty
	if ee := new(exec.ExitError); err != nil && (!errors.As(err, &ee) || ee.ExitCode() != 4) {
		t.Fatalf("zbarimg: %v", err)
	}
	return strings.Fields(string(out))
}

func TestPrintedPagesRead(t *testing.T) {
	for _, row := range []struct {
		name  string
		o     sheet.Options
		n     int
		pages int
	}{
		{"A4", plain, 45, 3},
		{"Letter, one column", sheet.Options{Paper: "letter", Columns: 1, Rows: 2, Margin: 0, Labels: 2}, 3, 2},
		{"small ones", sheet.Options{Paper: "A4", Columns: 9, Rows: 10, Margin: 5, Labels: 2, Crop: true}, 90, 1},
		{"a full page", plain, 20, 1},
		{"one", plain, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			write(t, &b, row.o, row.n, nil)
			pages := rendered(t, b.Bytes(), 300)
			if len(pages) != row.pages {
				t.Errorf("%d pages, want %d", len(pages), row.pages)
			}
			got := scanned(t, pages, row.o, 300) // in their order
			var want []string
			for i := range row.n {
				want = append(want, content(i))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d codes read, want %d", len(got), len(want))
			}
		})
	}
}

// Words can be selected, whatever their script; what no font has is a box, and what does not fit is cut.
func TestWordsCanBeSearched(t *testing.T) {
	var b bytes.Buffer
	names := []string{"春季活动-0001", "Größe Ωμέγα Привет", "群二维码（一）、测试", "🎉 party", strings.Repeat("很长的名字", 20), "", "line\nbreak"}
	write(t, &b, plain, len(names), func(i int, c *sheet.Cell) { c.Words[0].Text = names[i] })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.pdf"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftotext", "-layout", filepath.Join(dir, "s.pdf"), "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v: %s", err, out)
	}
	for _, want := range []string{"春季活动-0001", "Größe Ωμέγα Привет", "群二维码（一）、测试", "party", "很长的名字很长的名字", "…", "line break", "ABCD0003"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not on the page:\n%s", want, out)
		}
	}
}

// More letters than a font of the file holds are drawn all the same.
func TestManyLetters(t *testing.T) {
	var b bytes.Buffer
	write(t, &b, plain, 20, func(i int, c *sheet.Cell) {
		var text strings.Builder
		for k := range 20 {
			text.WriteRune(rune(0x4e00 + 20*i + k))
		}
		c.Words[0].Text = text.String()
	})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.pdf"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftotext", filepath.Join(dir, "s.pdf"), "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for r := rune(0x4e00); r < 0x4e00+400; r++ {
		if !strings.ContainsRune(string(out), r) {
			t.Fatalf("%c (%U) is not on the page", r, r)
		}
	}
}

func TestTheSameBytesAndNoDate(t *testing.T) {
	var a, b, dated bytes.Buffer
	write(t, &a, plain, 25, nil)
	write(t, &b, plain, 25, nil)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two sheets of the same codes differ")
	}
	if bytes.Contains(a.Bytes(), []byte("Date")) {
		t.Error("there is a date in it")
	}
	o := plain
	o.Date, o.Mark = time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC), "mark 12"
	write(t, &dated, o, 1, nil)
	if !bytes.Contains(dated.Bytes(), []byte("/CreationDate(D:20260301083000Z)")) || !bytes.Contains(dated.Bytes(), []byte("/Keywords(mark 12)")) {
		t.Error("the date or the mark is missing")
	}
}

// Pictures of any kind that a PNG may be come out in their colours.
func TestEveryKindOfPNG(t *testing.T) {
	l := layout(t, sheet.Options{Paper: "A5", Columns: 1, Rows: 1, Margin: 0})
	red := color.NRGBA{200, 30, 30, 255}
	box := image.Rect(0, 0, 64, 64)
	fill := func(set func(x, y int, c color.Color)) {
		for i := range 64 * 64 {
			set(i%64, i/64, red)
		}
	}
	paletted, nrgba, wide, clear := image.NewPaletted(box, color.Palette{color.White, red}), image.NewNRGBA(box), image.NewNRGBA64(box), image.NewNRGBA(box)
	fill(paletted.Set)
	fill(nrgba.Set)
	fill(wide.Set)
	fill(clear.Set)
	for i := range 32 * 64 { // the upper half is half clear
		clear.SetNRGBA(i%64, i/64, color.NRGBA{200, 30, 30, 128})
	}
	grey := image.NewGray(box)
	for i := range grey.Pix {
		grey.Pix[i] = 90
	}
	for _, row := range []struct {
		name  string
		img   image.Image
		upper color.RGBA
	}{
		{"palette", paletted, color.RGBA{200, 30, 30, 255}}, {"colours", nrgba, color.RGBA{200, 30, 30, 255}}, {"16 bits", wide, color.RGBA{200, 30, 30, 255}},
		{"transparent", clear, color.RGBA{227, 142, 142, 255}}, {"grey", grey, color.RGBA{90, 90, 90, 255}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p, b bytes.Buffer
			if err := png.Encode(&p, row.img); err != nil {
				t.Fatal(err)
			}
			s := sheet.New(&b, l)
			if err := s.Add(sheet.Cell{PNG: p.Bytes()}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(rendered(t, b.Bytes(), 50)[0])
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			page, err := png.Decode(f)
			if err != nil {
				t.Fatal(err)
			}
			r, g, bl, _ := page.At(page.Bounds().Dx()/2, page.Bounds().Dy()/2-20).RGBA()
			for i, pair := range [][2]int{{int(r >> 8), int(row.upper.R)}, {int(g >> 8), int(row.upper.G)}, {int(bl >> 8), int(row.upper.B)}} {
				if pair[0] < pair[1]-2 || pair[0] > pair[1]+2 {
					t.Errorf("colour %d is %d, want %d", i, pair[0], pair[1])
				}
			}
		})
	}
}

func TestTornPicturesAreRefused(t *testing.T) {
	l := layout(t, plain)
	good := picture(t, 1, l)
	if !sheet.Whole(good) {
		t.Fatal("a whole picture is said to be torn")
	}
	for n := range len(good) {
		if sheet.Whole(good[:n]) {
			t.Fatalf("whole without the last %d bytes", len(good)-n)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if sheet.Whole(bad) {
			t.Fatalf("whole with byte %d turned over", n)
		}
	}
	for _, b := range [][]byte{nil, append(bytes.Clone(good), 0), make([]byte, len(good))} {
		if sheet.Whole(b) || sheet.New(io.Discard, l).Add(sheet.Cell{PNG: b}) == nil {
			t.Errorf("%d bytes are taken for a picture", len(b))
		}
	}
}

func TestLayoutsThatCannotBePrinted(t *testing.T) {
	for _, row := range []struct {
		change func(*sheet.Options)
		want   string
	}{
		{func(o *sheet.Options) { o.Paper = "B9" }, "--paper"},
		{func(o *sheet.Options) { o.Columns = 0 }, "--columns"},
		{func(o *sheet.Options) { o.Columns = 51 }, "--columns"},
		{func(o *sheet.Options) { o.Rows = -1 }, "--rows"},
		{func(o *sheet.Options) { o.Margin = -1 }, "--margin"},
		{func(o *sheet.Options) { o.Margin = 61 }, "--margin"},
		{func(o *sheet.Options) { o.Columns = 12 }, "least that is scanned"},
		{func(o *sheet.Options) { o.Rows, o.Labels = 10, 3 }, "fewer --columns, --rows or --label"},
	} {
		o := plain
		row.change(&o)
		if _, err := o.Layout(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", o, err, row.want)
		}
	}
	var b bytes.Buffer
	if err := sheet.New(&b, layout(t, plain)).Add(sheet.Cell{PNG: picture(t, 1, layout(t, plain)), Words: make([]sheet.Words, 3)}); err == nil {
		t.Error("more lines than there is room for")
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, fmt.Errorf("no space left")
	}
	f.left -= len(p)
	return len(p), nil
}

func TestAFullDiskIsTold(t *testing.T) {
	l := layout(t, plain)
	s := sheet.New(&full{100 << 10}, l)
	p := picture(t, 1, l)
	var err error
	for range 500 {
		if err = s.Add(sheet.Cell{PNG: p}); err != nil {
			break
		}
	}
	if err == nil {
		err = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("a full disk: %v", err)
	}
}

// FuzzPicture: no bytes make the writer panic, and what it takes is a whole picture.
func FuzzPicture(f *testing.F) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.White, color.Black})); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	l := layout(f, plain)
	f.Fuzz(func(t *testing.T, p []byte) {
		if err := sheet.New(io.Discard, l).Add(sheet.Cell{PNG: p}); err == nil && !sheet.Whole(p) {
			t.Error("a torn picture was taken")
		}
	})
}
