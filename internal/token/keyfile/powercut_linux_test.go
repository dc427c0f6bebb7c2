package keyfile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/huoma/huoma/internal/powercut"
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
