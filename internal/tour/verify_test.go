package tour

import "testing"

// The commands of docs/verify.md do what it says, in order, on an installation that has just been started.
func TestTourOfVerify(t *testing.T) {
	blocks := parseBlocks(read(t, "docs/verify.md"))
	if len(blocks) == 0 {
		t.Fatal("docs/verify.md has no commands to run")
	}
	bin, dir := programs(t), t.TempDir()
	sh := openShell(t, bin, dir, start(t, bin, dir))
	for _, b := range blocks {
		sh.tour(t, b)
		if t.Failed() {
			return // what follows builds on it
		}
	}
}
