package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// Each archive in testdata is a small tree. Its comment says what is wrong with it, one violation a line.
func TestCheck(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	seen := make(map[string]bool)
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tree := make(fstest.MapFS)
			for _, f := range archive.Files {
				tree[f.Name] = &fstest.MapFile{Data: f.Data}
			}
			got := check(t, tree, seen)
			var want []string
			for line := range strings.Lines(string(archive.Comment)) {
				if strings.Contains(line, ".go:") {
					want = append(want, strings.TrimSpace(line))
				}
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	t.Run("lines", func(t *testing.T) {
		file := func(lines int) *fstest.MapFile {
			return &fstest.MapFile{Data: append([]byte("package gateway\n"), bytes.Repeat([]byte("\n"), lines-1)...)}
		}
		got := check(t, fstest.MapFS{
			"go.mod":                   {Data: []byte("module example.com/huoma\n")},
			"internal/gateway/just.go": file(1500),
			"internal/gateway/over.go": file(1501),
		}, seen)
		if want := []string{"internal/gateway/over.go:1: has 1501 lines (lines)"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	for _, layer := range layers {
		if !seen[layer.Name] {
			t.Errorf("no archive breaks the rule of the layer %s", layer.Name)
		}
	}
	for _, rule := range []Rule{ruleClock, ruleSleep, ruleSkip, ruleTodo, ruleLines, ruleShadow, rulePlace, ruleTesting} {
		if !seen[rule.Name] {
			t.Errorf("no archive breaks the rule %s", rule.Name)
		}
	}
}

// check returns the violations of a tree without their reasons, sorted, and notes their rules in seen.
func check(t *testing.T, tree fs.FS, seen map[string]bool) []string {
	t.Helper()
	found, err := Check(tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		if v.Rule.Why == "" || !strings.Contains(v.String(), v.Rule.Why) {
			t.Errorf("%s gives no reason", v)
		}
		seen[v.Rule.Name] = true
		got = append(got, fmt.Sprintf("%s:%d: %s (%s)", v.File, v.Line, v.What, v.Rule.Name))
	}
	slices.Sort(got)
	return got
}

func TestCheckRefusesWhatDoesNotParse(t *testing.T) {
	for name, tree := range map[string]fstest.MapFS{
		"no module": {"internal/code/code.go": {Data: []byte("package code\n")}},
		"bad file":  {"go.mod": {Data: []byte("module example.com/huoma\n")}, "internal/code/code.go": {Data: []byte("packag code\n")}},
	} {
		if _, err := Check(tree); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The rules are about folders that are there.
func TestRulesNameRealPackages(t *testing.T) {
	for _, g := range grants {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(g.Package))); err != nil {
			t.Errorf("grant for %s: %v", g.Package, err)
		}
		if g.Why == "" {
			t.Errorf("grant of %s to %s gives no reason", g.Import, g.Package)
		}
	}
}
