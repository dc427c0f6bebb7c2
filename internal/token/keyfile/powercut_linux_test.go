package keyfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/powercut"
	"github.com/huoma/huoma/internal/token"
)

// Whenever the power goes while a keyring is made, there is none, or the whole one; once it was made, that one. Half a keyring, or another
// than was told, would be the end of every printed code.
func TestPowerCut(t *testing.T) {
	for n := 0; ; n++ {
		for seed := range uint64(3) {
			disk := powercut.New(t, powercut.Strict)
			path := filepath.Join(disk.Dir, "keyring.json")
			done := disk.OffAfter(n)
			made, err := LoadOrCreate(path)
			cut := done()
			if seed == 0 {
				disk.Cut(nil)
			} else {
				disk.CutTorn(seed, nil)
			}
			kept, lerr := Load(path)
			switch {
			case err == nil && (lerr != nil || tokenOf(t, kept) != tokenOf(t, made)):
				t.Fatalf("cut after %d changes: the keyring that was made is gone (%v)", n, lerr)
			case lerr != nil && !errors.Is(lerr, fs.ErrNotExist):
				t.Fatalf("cut after %d changes: %v", n, lerr)
			}
			if !cut && seed == 2 {
				return // it went through
			}
		}
	}
}

// Whenever the power goes while a key is added, the file holds the ring of before or the one of after; once Update has returned, the latter.
func TestPowerCutWhileRotating(t *testing.T) {
	for n := 0; ; n++ {
		for seed := range uint64(3) {
			disk := powercut.New(t, powercut.Strict)
			path := filepath.Join(disk.Dir, "keyring.json")
			old, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			done := disk.OffAfter(n)
			now := time.Now().Add(time.Minute)
			uerr := Update(path, func(k *token.Keyring) (next *token.Keyring, err error) {
				next, _, err = k.Rotate(rand.Reader, now, now)
				return next, err
			})
			cut := done()
			if seed == 0 {
				disk.Cut(nil)
			} else {
				disk.CutTorn(seed, nil)
			}
			kept, err := Load(path)
			switch {
			case err != nil:
				t.Fatalf("cut after %d changes: %v", n, err)
			case kept.Follows(old) != nil:
				t.Fatalf("cut after %d changes: %v", n, kept.Follows(old))
			case uerr == nil && kept.Len() != 2:
				t.Fatalf("cut after %d changes: the key that was made is gone", n)
			}
			if !cut && seed == 2 {
				return // it went through
			}
		}
	}
}
