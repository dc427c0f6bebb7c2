package tour

import (
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/importing"
)

// The commands of docs/import.md do what it says, in order, on an installation that has just been started.
func TestTourOfImport(t *testing.T) {
	blocks := parseBlocks(read(t, "docs/import.md"))
	if len(blocks) == 0 {
		t.Fatal("docs/import.md has no commands to run")
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

// The mapping that docs/import.md shows is the built-in one.
func TestImportShowsTheBuiltInMapping(t *testing.T) {
	_, rest, ok := strings.Cut(read(t, "docs/import.md"), "<!-- mapping: combined -->\n```yaml\n")
	shown, _, _ := strings.Cut(rest, "```")
	if !ok || strings.TrimSpace(shown) != strings.TrimSpace(importing.CombinedMapping) {
		t.Errorf("docs/import.md shows\n%s\nand the built-in mapping is\n%s", shown, importing.CombinedMapping)
	}
}
