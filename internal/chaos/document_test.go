package main

import (
	"os"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/chaos/plan"
)

// The document tells of every fault and every shape.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/chaos.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range plan.Kinds {
		if !strings.Contains(string(b), "| `"+string(k)+"` |") {
			t.Errorf("docs/chaos.md does not tell of %s", k)
		}
	}
	for _, s := range plan.Shapes {
		if !strings.Contains(string(b), "| `"+string(s)+"` |") {
			t.Errorf("docs/chaos.md does not tell of %s", s)
		}
	}
}
