package cli

import (
	"archive/zip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/cli/sheet"
)

// idsName is the list of codes beside the pictures.
const idsName = "codes.csv"

var idsHead = []string{"id", "name", "variant", "variant_name", "tracking", "token", "scan_url", "picture"}

// ids writes the list of codes. It begins with a byte order mark: Excel takes Chinese names for something else without.
type ids struct{ w *csv.Writer }

func newIDs(w io.Writer) (*ids, error) {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return nil, err
	}
	out := &ids{csv.NewWriter(w)}
	return out, out.w.Write(idsHead)
}

func (i *ids) add(d drawn) error {
	variant := ""
	if d.Variant > 0 {
		variant = strconv.Itoa(d.Variant)
	}
	return i.w.Write([]string{d.ID, d.Name, variant, d.VariantName, d.Tracking, d.Token, d.ScanURL, d.File})
}

func (i *ids) end() error {
	i.w.Flush()
	return i.w.Error()
}

// readIDs reads a list of codes back.
func readIDs(path string) ([]drawn, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = len(idsHead)
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	out := make([]drawn, 0, len(all))
	for _, row := range all[1:] {
		out = append(out, drawn{ID: row[0], Name: row[1], VariantName: row[3], Tracking: row[4], Token: row[5], ScanURL: row[6], File: row[7]})
	}
	return out, nil
}

// finish makes the output of what is minted and fetched.
func (b *bulk) finish(ctx context.Context, j *journal) error {
	switch b.form {
	case formNone:
		return nil
	case formFolder:
		if err := b.finishFolder(j); err != nil {
			return err
		}
	case formZip:
		err := writeWhole(j.out, true, func(w io.Writer) error { return b.zip(ctx, j, w) })
		if err := j.written(err, "the archive"); err != nil {
			return err
		}
	case formPDF:
		if err := b.finishSheet(ctx, j); err != nil {
			return err
		}
	}
	return j.end()
}

func (b *bulk) finishFolder(j *journal) error {
	var files []string
	err := writeWhole(j.idsPath(), true, func(w io.Writer) error {
		return b.list(j, w, func(d drawn) string {
			files = append(files, d.File)
			return d.File
		})
	})
	if err == nil {
		err = syncAll(j.pictures(), files)
	}
	return j.written(err, "the list of codes")
}

// list writes the list of codes; file names where a picture is.
func (b *bulk) list(j *journal, w io.Writer, file func(drawn) string) error {
	out, err := newIDs(w)
	if err != nil {
		return err
	}
	err = b.codes(j, func(c client.Code) error {
		for _, d := range picturesOf(c) {
			d.File = file(d)
			if err := out.add(d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.end()
}

// pictures hands out every picture with its bytes.
func (b *bulk) pictures(ctx context.Context, j *journal, fn func(drawn, []byte) error) error {
	bar := newProgress(b.app.Stderr, "writing")
	defer bar.done()
	n := 0
	return b.codes(j, func(c client.Code) error {
		for _, d := range picturesOf(c) {
			if err := ctx.Err(); err != nil {
				return err
			}
			png, err := os.ReadFile(filepath.Join(j.pictures(), d.File))
			if err != nil {
				return err
			}
			if err := fn(d, png); err != nil {
				return err
			}
			n++
			bar.update(n, b.state.Pictures)
		}
		return nil
	})
}

func (b *bulk) zip(ctx context.Context, j *journal, w io.Writer) error {
	z := zip.NewWriter(w)
	now := time.Now()
	err := b.pictures(ctx, j, func(d drawn, png []byte) error { return zipFile(z, d.File, now, png) })
	if err != nil {
		return err
	}
	entry, err := z.CreateHeader(&zip.FileHeader{Name: idsName, Method: zip.Deflate, Modified: now})
	if err != nil {
		return err
	}
	if err := b.list(j, entry, func(d drawn) string { return d.File }); err != nil {
		return err
	}
	if err := z.SetComment(j.state.mark()); err != nil {
		return err
	}
	return z.Close()
}

// zipFile adds a picture, which is compressed already.
func zipFile(z *zip.Writer, name string, at time.Time, png []byte) error {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: at})
	if err == nil {
		_, err = w.Write(png)
	}
	return err
}

// finishSheet writes the list of codes, then the sheet: the one that is there has its list.
func (b *bulk) finishSheet(ctx context.Context, j *journal) error {
	n := 0
	err := writeWhole(j.idsPath(), true, func(w io.Writer) error {
		return b.list(j, w, func(drawn) string {
			n++
			return fmt.Sprintf("%s#page=%d", filepath.Base(j.out), (n-1)/b.layout.PerPage()+1)
		})
	})
	if err == nil {
		err = writeWhole(j.out, true, func(w io.Writer) error {
			s := sheet.New(w, b.layout.Marked(j.state.mark()))
			if err := b.pictures(ctx, j, func(d drawn, png []byte) error { return s.Add(cell(d, png, b.labels)) }); err != nil {
				return err
			}
			return s.Close()
		})
	}
	return j.written(err, "the sheet")
}

// cell is a picture with the words asked for.
func cell(d drawn, png []byte, labels []string) sheet.Cell {
	c := sheet.Cell{PNG: png}
	for _, l := range labels {
		switch l {
		case "name":
			c.Words = append(c.Words, sheet.Words{Text: d.Name})
		case "tracking":
			c.Words = append(c.Words, sheet.Words{Text: d.Tracking, Mono: true})
		case "copy":
			c.Words = append(c.Words, sheet.Words{Text: firstText(d.Copy, d.VariantName)})
		case "id":
			c.Words = append(c.Words, sheet.Words{Text: d.ID, Mono: true})
		}
	}
	return c
}

func firstText(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
