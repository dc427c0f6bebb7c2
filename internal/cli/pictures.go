package cli

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
)

// pictures is where pictures are written to. close keeps what was written if
// all is well; a zip that was not finished is removed.
type pictures interface {
	write(name string, png []byte) error
	close(ok bool) error
}

// newPictures opens a folder or a new zip file. "" is nil: nowhere.
func newPictures(path string) (pictures, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case path == "":
		return nil, nil
	case ext == ".zip":
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("%s is there already: remove it or name another file with --out", path)
		}
		if err != nil {
			return nil, fmt.Errorf("%s cannot be written: name another place with --out", path)
		}
		return &zipPictures{f: f, w: zip.NewWriter(f)}, nil
	case ext == ".pdf" || ext == ".png" || ext == ".svg":
		return nil, usagef("--out takes a folder or a .zip file, not %s", ext)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("the folder %s cannot be made: name another with --out", path)
	}
	return folder(path), nil
}

type folder string

func (f folder) write(name string, png []byte) error {
	if err := os.WriteFile(filepath.Join(string(f), name), png, 0o644); err != nil {
		return fmt.Errorf("%s cannot be written to %s: check the free space there", name, string(f))
	}
	return nil
}

func (folder) close(bool) error { return nil }

type zipPictures struct {
	f *os.File
	w *zip.Writer
}

func (z *zipPictures) write(name string, png []byte) error {
	w, err := z.w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: time.Now()}) // a PNG is compressed already
	if err == nil {
		_, err = w.Write(png)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: check the free space there", z.f.Name())
	}
	return nil
}

func (z *zipPictures) close(ok bool) error {
	err := z.w.Close()
	if cerr := z.f.Close(); err == nil {
		err = cerr
	}
	if !ok || err != nil {
		_ = os.Remove(z.f.Name())
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: check the free space there", z.f.Name())
	}
	return nil
}

// pictureName is the code's name made fit for any file system, with its id so
// that no two are the same.
func pictureName(c client.Code, suffix string) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r == 0x7f, strings.ContainsRune(`/\:*?"<>|`, r):
			return '_'
		}
		return r
	}, c.Name)
	if r := []rune(safe); len(r) > 60 {
		safe = string(r[:60])
	}
	if safe = strings.Trim(safe, " ."); safe != "" {
		safe += "-"
	}
	return safe + c.ID + suffix + ".png"
}
