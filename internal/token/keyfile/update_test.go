package keyfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/token"
)

func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "keyring.json"), filepath.Join(t.TempDir(), "link")
	first, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(path, link), os.Chmod(path, 0o400)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(time.Minute)
	if id := rotate(t, link, now, now); id != 1 {
		t.Errorf("key %d", id)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o400 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	k, err := Load(path)
	if err != nil || k.Follows(first) != nil || !slices.Equal(k.Opens(), []int{0, 1}) {
		t.Errorf("%v, keys %v", err, k.Opens())
	}
	refused := errors.New("no")
	if err := Update(path, func(*token.Keyring) (*token.Keyring, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("a change that is refused: %v", err)
	}
	if after, err := Load(path); err != nil || !after.Same(k) {
		t.Errorf("it was made all the same: %v", err)
	}
	if err := Update(filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// Keys that are made at once all come to be.
func TestUpdatesInParallel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	const n = 12
	now := time.Now().Add(time.Minute)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			errs[i] = Update(path, func(k *token.Keyring) (next *token.Keyring, err error) {
				next, _, err = k.Rotate(rand.Reader, now, now)
				return next, err
			})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if k, err := Load(path); err != nil || k.Len() != n+1 {
		t.Errorf("%d keys of %d, %v", k.Len(), n+1, err)
	}
}

func TestAFileOfVersion1IsReadAndWrittenAs2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	const old = `{"version":1,"keys":[{"id":0,"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","created":"2026-01-01T00:00:00Z"}]}`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != old {
		t.Errorf("reading has changed it: %v", err)
	}
	now := time.Now()
	rotate(t, path, now, now)
	retire(t, path, 0, now)
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), `"version": 2`) {
		t.Errorf("%v: written as %.20q", err, b)
	}
	after, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p := token.Picture{Code: 5, Variant: 1}
	if after.Tracking(p) != before.Tracking(p) || after.Visitors().FromOpenID("o") != before.Visitors().FromOpenID("o") || after.NewestID() != 1 {
		t.Error("what hangs on the root has changed")
	}
}
