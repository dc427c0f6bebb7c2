package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds the program, without the race detector: its time is spent on pixels.
func program(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "markrates")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}

// TestRatesArePromised: one picture for every harm, size and style, and what nobody may be named in. The document has more of each.
func TestRatesArePromised(t *testing.T) {
	out, err := exec.Command(program(t), "-n", "1", "-foreign", "40", "-random", "60000", "-beyond=false", "-speed=false", "-check").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for _, want := range []string{"undamaged", "JPEG, quality 60", "blurred", "| dots |", "| random observations | 60000 | 0 |"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestTablesAreWritten(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	text := "before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n"
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(doc, "new\n"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(doc)
	if err != nil || string(b) != strings.Replace(text, "old", "new", 1) {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(doc, []byte("nothing of the kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(doc, "new\n"); err == nil {
		t.Error("a document without places was written")
	}
}

// TestTheDocumentHasTables: it was measured, with every harm and style there is.
func TestTheDocumentHasTables(t *testing.T) {
	b, err := os.ReadFile("../../docs/watermark.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range looks {
		if !strings.Contains(string(b), "| "+l.name+" |") {
			t.Errorf("docs/watermark.md does not know the style %q: measure again", l.name)
		}
	}
}
