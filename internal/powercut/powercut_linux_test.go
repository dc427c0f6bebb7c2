package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// put writes a file, and syncs it or not.
func put(t testing.TB, path, content string, sync bool, flags ...int) {
	t.Helper()
	flag := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	for _, f := range flags {
		flag |= f
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t testing.TB, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

// tree is every file below dir with its content, one a line.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if e.IsDir() {
			out = append(out, name+"/")
			return nil
		}
		b, err := os.ReadFile(path)
		out = append(out, fmt.Sprintf("%s=%s", name, b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhatACutLeaves(t *testing.T) {
	for _, row := range []struct {
		name              string
		do                func(t *testing.T, at func(string) string)
		journaled, strict string
	}{
		{"nothing is synced", func(t *testing.T, at func(string) string) { put(t, at("a"), "1", false) }, "", ""},
		{"a file is synced", func(t *testing.T, at func(string) string) { put(t, at("a"), "1", true) }, "a=1", ""},
		{"a file and its folder", func(t *testing.T, at func(string) string) { put(t, at("a"), "1", true); syncDir(t, at("")) }, "a=1", "a=1"},
		{"the folder alone", func(t *testing.T, at func(string) string) { put(t, at("a"), "1", false); syncDir(t, at("")) }, "a=", "a="},
		{"opened with O_SYNC", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "1", false, syscall.O_SYNC)
			syncDir(t, at(""))
		}, "a=1", "a=1"},
		{"replaced in place", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "old", true)
			syncDir(t, at(""))
			put(t, at("a"), "n", false)
		}, "a=old", "a=old"},
		{"renamed over, not synced", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "old", true)
			syncDir(t, at(""))
			put(t, at("tmp"), "new", false)
			_ = os.Rename(at("tmp"), at("a"))
		}, "a=old", "a=old"},
		{"renamed over, the folder synced", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "old", true)
			put(t, at("tmp"), "new", false)
			_ = os.Rename(at("tmp"), at("a"))
			syncDir(t, at(""))
		}, "a=", "a="},
		{"renamed over as it should be", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "old", true)
			put(t, at("tmp"), "new", true)
			_ = os.Rename(at("tmp"), at("a"))
			syncDir(t, at(""))
		}, "a=new", "a=new"},
		{"another file synced later", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "1", true)
			_ = os.Rename(at("a"), at("b"))
			put(t, at("c"), "2", true)
		}, "b=1 c=2", ""},
		{"removed, the folder not synced", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "1", true)
			syncDir(t, at(""))
			_ = os.Remove(at("a"))
		}, "a=1", "a=1"},
		{"in a folder whose own name is not synced", func(t *testing.T, at func(string) string) {
			_ = os.Mkdir(at("d"), 0o700)
			put(t, at("d/a"), "1", true)
			syncDir(t, at("d"))
		}, "d/ d/a=1", ""},
		{"linked", func(t *testing.T, at func(string) string) {
			put(t, at("tmp"), "1", true)
			_ = os.Link(at("tmp"), at("a"))
			_ = os.Remove(at("tmp"))
			syncDir(t, at(""))
		}, "a=1", "a=1"},
		{"truncated and not synced", func(t *testing.T, at func(string) string) {
			put(t, at("a"), "12345", true)
			syncDir(t, at(""))
			_ = os.Truncate(at("a"), 2)
		}, "a=12345", "a=12345"},
	} {
		for model, want := range map[Model]string{Journaled: row.journaled, Strict: row.strict} {
			t.Run(fmt.Sprintf("%s %d", row.name, model), func(t *testing.T) {
				k := New(t, model)
				row.do(t, func(name string) string { return filepath.Join(k.Dir, name) })
				k.Cut(nil)
				if got := tree(t, k.Dir); got != want {
					t.Errorf("the disk has %q, want %q", got, want)
				}
			})
		}
	}
}

// A torn cut keeps some pages and not others, the same for the same seed, and never touches what was synced.
func TestTorn(t *testing.T) {
	t.Parallel()
	const pages = 64
	after := func(seed uint64) []byte {
		k := New(t, Journaled)
		path := filepath.Join(k.Dir, "a")
		put(t, path, strings.Repeat("o", pages*page), true)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(bytes.Repeat([]byte("n"), pages*page/2), 0); err != nil {
			t.Fatal(err)
		}
		k.CutTorn(seed, nil)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	kept := map[int]bool{}
	for seed := range uint64(6) {
		b := after(seed)
		if len(b) != pages*page || bytes.Contains(b[pages*page/2:], []byte("n")) {
			t.Fatalf("seed %d touched what was synced", seed)
		}
		for i := range pages {
			if p := b[i*page : (i+1)*page]; !bytes.Equal(p, bytes.Repeat(p[:1], page)) {
				t.Fatalf("seed %d: page %d is half written", seed, i)
			}
		}
		if seed < 2 && !bytes.Equal(b, after(seed)) {
			t.Errorf("seed %d is not repeatable", seed)
		}
		kept[bytes.Count(b, []byte("n"))/page] = true
	}
	if len(kept) < 4 {
		t.Errorf("six seeds kept %v pages: the choice does not vary", kept)
	}
}

// What is open when the power goes answers with errors, and the new mount works.
func TestOpenFilesAfterACut(t *testing.T) {
	dir, cut := Mount(t)
	f, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	cut()
	if _, err := f.WriteString("2"); err == nil {
		err = f.Sync()
		if err == nil {
			t.Error("a file of before the cut takes writes")
		}
	}
	put(t, filepath.Join(dir, "b"), "3", false)
	if got := tree(t, dir); got != "a=1 b=3" {
		t.Errorf("the disk has %q", got)
	}
}

// A program that uses the disk like any other sees what it would see on any other: files that are written, read, cut short, renamed and
// removed at random, held against the test's own directory.
func TestLikeAnyOther(t *testing.T) {
	k := New(t, Journaled)
	plain := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "d/a", "d/b", "d/e/a"}
	for _, dir := range []string{k.Dir, plain} {
		if err := os.MkdirAll(filepath.Join(dir, "d/e"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2000 {
		name, other := names[rnd.IntN(len(names))], names[rnd.IntN(len(names))]
		off, size, what := int64(rnd.IntN(3*page)), rnd.IntN(2*page), rnd.IntN(6)
		fill := bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, size)
		var outcome [2]string
		for j, dir := range []string{k.Dir, plain} {
			path := filepath.Join(dir, name)
			err := func() error {
				switch what {
				case 0, 1:
					f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
					if err != nil {
						return err
					}
					_, err = f.WriteAt(fill, off)
					return errors.Join(err, f.Close())
				case 2:
					f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
					if err != nil {
						return err
					}
					_, err = f.Write(fill)
					return errors.Join(err, f.Close())
				case 3:
					return os.Truncate(path, off)
				case 4:
					return os.Rename(path, filepath.Join(dir, other))
				}
				return os.Remove(path)
			}()
			if err != nil {
				var no syscall.Errno
				errors.As(err, &no)
				outcome[j] = no.Error()
			}
		}
		if outcome[0] != outcome[1] {
			t.Fatalf("%d: operation %d of %s gives %q, elsewhere %q", i, what, name, outcome[0], outcome[1])
		}
		if i%50 == 0 && tree(t, k.Dir) != tree(t, plain) {
			t.Fatalf("%d: after operation %d of %s the trees differ", i, what, name)
		}
	}
}
