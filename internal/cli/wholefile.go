package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// partial is the end of the names of files that are being written. One that is there when nobody writes it is left over from an interruption.
const partial = ".part"

// writeWhole writes a file so that others see the old one or the new, whole. With sync, it is on disk when it returns, and so is its name.
func writeWhole(path string, sync bool, write func(io.Writer) error) error {
	f, err := os.OpenFile(path+partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+partial, path)
	}
	if err == nil && sync {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, removeIfThere(path+partial))
	}
	return nil
}

// writeBytes is writeWhole of bytes.
func writeBytes(path string, sync bool, b []byte) error {
	return writeWhole(path, sync, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// shown is a path as people wrote it, or as short as that: from the working folder, if it is in there.
func shown(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// thereAlready reports whether a name is taken.
func thereAlready(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// makeFolder makes a folder with all above it; when it returns, their names are on disk.
func makeFolder(path string) error {
	var made []string
	for p := filepath.Clean(path); !thereAlready(p); p = filepath.Dir(p) {
		made = append(made, p)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, p := range made {
		if err := syncFolder(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}
