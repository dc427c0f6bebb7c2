package tour

import "testing"

// The commands of docs/bulk.md do what it says, in order, on an installation that has just been started.
func TestTourOfBulk(t *testing.T) {
	blocks := parseBlocks(read(t, "docs/bulk.md"))
	if len(blocks) == 0 {
		t.Fatal("docs/bulk.md has no commands to run")
	}
	bin, dir := programs(t), t.TempDir()
	up := start(t, bin, dir)
	sh := openShell(t, bin, dir, up)
	for _, b := range blocks {
		sh.tour(t, b)
		if t.Failed() {
			return // what follows builds on it
		}
	}
}
