package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Violation is one place where the source breaks a rule.
type Violation struct {
	File string
	Line int
	What string
	Rule Rule
}

// String gives file:line, what is wrong, and the rule with its reason.
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s (%s: %s)", v.File, v.Line, v.What, v.Rule.Name, v.Rule.Why)
}

// file is one parsed source file.
type file struct {
	path  string // slash-separated, below the root
	pkg   string // its folder, the package below the module
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

func (f *file) at(pos token.Pos, rule Rule, format string, args ...any) Violation {
	return Violation{File: f.path, Line: f.fset.Position(pos).Line, What: fmt.Sprintf(format, args...), Rule: rule}
}

// skippedFolders hold no source of ours.
var skippedFolders = []string{"node_modules", "testdata", "bin", "data", "web", "vendor"}

// Check reads every Go file below the root of a module and returns what breaks a rule, in the order of the files. The
// error is for a tree that cannot be read or parsed.
func Check(root fs.FS) ([]Violation, error) {
	module, err := modulePath(root)
	if err != nil {
		return nil, err
	}
	var found []Violation
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(skippedFolders, entry.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		found = append(found, f.imports(module)...)
		found = append(found, f.source()...)
		return nil
	})
	return found, err
}

func modulePath(root fs.FS) (string, error) {
	mod, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return "", fmt.Errorf("read the module's name: %w", err)
	}
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("go.mod names no module")
}

func parse(root fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &file{
		path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: bytes.Count(src, []byte("\n")), fset: fset, ast: tree,
	}, nil
}

// imports holds a file to its layer. Tests may import what they like: they set the real things up.
func (f *file) imports(module string) []Violation {
	if f.test {
		return nil
	}
	own, ok := layerOf(f.pkg)
	if !ok {
		return []Violation{f.at(f.ast.Package, rulePlace, "package %s has no layer", f.pkg)}
	}
	var found []Violation
	for _, spec := range f.ast.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if v, bad := f.judge(own, module, imported); bad {
			found = append(found, f.at(spec.Pos(), v.Rule, "%s", v.What))
		}
	}
	return found
}

// judge says whether a layer's file may import a package.
func (f *file) judge(own Layer, module, imported string) (Violation, bool) {
	rule := Rule{own.Name, own.Why}
	refuse := func(format string, args ...any) (Violation, bool) {
		return Violation{What: fmt.Sprintf(format, args...), Rule: rule}, true
	}
	inner, ours := strings.CutPrefix(imported, module+"/")
	granted := slices.ContainsFunc(grants, func(g Grant) bool {
		return g.Package == f.pkg && (g.Import == inner || hasPathPrefix(imported, g.Import))
	})
	switch {
	case granted:
		return Violation{}, false
	case ours:
		other, ok := layerOf(inner)
		switch {
		case !ok:
			return refuse("imports %s, which has no layer", inner)
		case other.Name == "test servers":
			rule = ruleTesting
			return refuse("imports the test helper %s", inner)
		case tree(f.pkg) == tree(inner), slices.Contains(own.Imports, other.Name):
			return Violation{}, false
		}
		return refuse("imports %s of the layer %s", inner, other.Name)
	case isStd(imported):
		if matches(own.NoStd, imported) {
			return refuse("imports %s", imported)
		}
		if hasPathPrefix(imported, "testing") && own.Name != "test servers" {
			rule = ruleTesting
			return refuse("imports %s", imported)
		}
		return Violation{}, false
	}
	if own.Third.Only != nil && !prefixed(own.Third.Only, imported) || prefixed(own.Third.Not, imported) {
		return refuse("imports %s", imported)
	}
	return Violation{}, false
}

// layerOf finds the layer of a package below the module.
func layerOf(pkg string) (Layer, bool) {
	i := slices.IndexFunc(layers, func(l Layer) bool { return matches(l.Packages, pkg) })
	if i < 0 {
		return Layer{}, false
	}
	return layers[i], true
}

// tree is the part of a package's path that names what it belongs to: internal/gateway of internal/gateway/pages.
func tree(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if dir, ok := strings.CutSuffix(p, "/..."); ok {
			return hasPathPrefix(pkg, dir)
		}
		return p == pkg
	})
}

func prefixed(prefixes []string, pkg string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return hasPathPrefix(pkg, strings.TrimSuffix(p, "/")) })
}

func hasPathPrefix(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// isStd reports whether an import path is of the standard library: no dot in its first element.
func isStd(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
