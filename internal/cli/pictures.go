package cli

import (
	"archive/zip"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/sheet"
)

// labelNames are the words a sheet may have under a picture.
var labelNames = []string{"name", "tracking", "copy", "id"}

// sheet reads the flags of a PDF.
func (c *mintCmd) sheet() (sheet.Layout, []string, error) {
	var labels []string
	for _, l := range c.Label {
		switch l = strings.ToLower(strings.TrimSpace(l)); {
		case l == "none" && len(c.Label) == 1:
		case slices.Contains(labels, l):
			return sheet.Layout{}, nil, usagef("--label %s stands twice", clipText(l))
		case !slices.Contains(labelNames, l):
			return sheet.Layout{}, nil, usagef("--label %q is not known: use %s, or none alone", clipText(l), strings.Join(labelNames, ", "))
		default:
			labels = append(labels, l)
		}
	}
	o := sheet.Options{Paper: c.Paper, Columns: c.Columns, Rows: c.Rows, Margin: c.Margin, Labels: len(labels), Crop: c.CropMarks}
	if c.Dated {
		o.Date = time.Now()
	}
	l, err := o.Layout()
	if err != nil {
		return l, nil, usagef("%v", err)
	}
	return l, labels, nil
}

// one writes the pictures of a single code. A file that is there already stays as it is.
func (c *mintCmd) one(list []drawn, pngs [][]byte) error {
	f, err := formOf(c.Out)
	if err != nil || f == formNone {
		return err
	}
	failed := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s cannot be written (%w): check the folder and the free space there", c.Out, cause(err))
	}
	if f == formFolder {
		for i, d := range list {
			if err := writeBytes(filepath.Join(c.Out, d.File), false, pngs[i]); err != nil {
				return failed(err)
			}
		}
		return nil
	}
	if f == formZip {
		return failed(writeWhole(c.Out, false, func(w io.Writer) error {
			z := zip.NewWriter(w)
			for i, d := range list {
				if err := zipFile(z, d.File, time.Now(), pngs[i]); err != nil {
					return err
				}
			}
			return z.Close()
		}))
	}
	layout, labels, err := c.sheet()
	if err != nil {
		return err
	}
	return failed(writeWhole(c.Out, false, func(w io.Writer) error {
		s := sheet.New(w, layout)
		for i, d := range list {
			if err := s.Add(cell(d, pngs[i], labels)); err != nil {
				return err
			}
		}
		return s.Close()
	}))
}
