package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/importing"
	"github.com/huoma/huoma/internal/powercut"
)

// Whenever the power goes while the key is kept, there is the old key or the new one, whole; once it was kept, the new one, whatever the file
// system.
func TestPowerCutOfTheKey(t *testing.T) {
	for n := 0; ; n++ {
		disk := powercut.New(t, powercut.Strict)
		if err := writeKey(disk.Dir, "old"); err != nil {
			t.Fatal(err)
		}
		done := disk.OffAfter(n)
		err := writeKey(disk.Dir, "new")
		cut := done()
		disk.Cut(nil)
		got, rerr := readKey(disk.Dir)
		if rerr != nil || got != "new" && (err == nil || got != "old") {
			t.Fatalf("cut after %d changes: there is %q (%v), and keeping it said %v", n, got, rerr, err)
		}
		if !cut {
			return // it went through
		}
	}
}

// The lines that an import keeps aside are on disk when it ends: nothing else has them.
func TestPowerCutOfLinesKeptAside(t *testing.T) {
	disk := powercut.New(t, powercut.Journaled)
	path := filepath.Join(disk.Dir, "x.bad")
	s := newAside(&App{Stderr: new(strings.Builder)}, &importCmd{Bad: path}, func() {})
	s.take(importing.BadLine{File: "x", Line: 1, Raw: "what was it", Reason: "no idea"})
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	disk.Cut(nil)
	if b, err := os.ReadFile(path); err != nil || string(b) != "what was it\n" {
		t.Errorf("kept aside: %q (%v)", b, err)
	}
}
