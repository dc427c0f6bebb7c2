package cli

import (
	"path/filepath"
	"testing"

	"github.com/huoma/huoma/internal/powercut"
)

// Wherever the disk fails, and the power with it, the same command goes on and ends as if it had not.
func TestPowerCutOfARun(t *testing.T) {
	in := install(t)
	file := manyCodes(t, 3)
	for _, name := range []string{"pictures", "codes.zip", "sheet.pdf"} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n += 3 {
				disk := powercut.New(t, powercut.Journaled)
				out := filepath.Join(disk.Dir, name)
				done := disk.OffAfter(n)
				first := run(t, mintArgs(in, file, out)...)
				cut := done()
				disk.Cut(nil)
				if first.code == exitOK && cut {
					t.Fatalf("cut after %d changes, and nobody was told", n)
				}
				run(t, mintArgs(in, file, out)...).ok(t)
				in.proven(t, out, 3)
				if !cut {
					return
				}
			}
		})
	}
}

// A finished run is on disk: nothing of it is lost with the power.
func TestPowerCutOfAFinishedRun(t *testing.T) {
	in := install(t)
	file := manyCodes(t, 20)
	for _, name := range []string{"pictures", "codes.zip", "sheet.pdf"} {
		disk := powercut.New(t, powercut.Strict)
		out := filepath.Join(disk.Dir, name)
		run(t, mintArgs(in, file, out)...).ok(t)
		disk.Cut(nil)
		in.proven(t, out, 20)
	}
}
