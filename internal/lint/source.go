package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
)

// source holds a file to the rules that need no more than its syntax.
func (f *file) source() []Violation {
	var found []Violation
	if f.lines > maxLines {
		found = append(found, f.at(f.ast.Package, ruleLines, "has %d lines", f.lines))
	}
	if !f.test && slices.Contains(shadowed, f.ast.Name.Name) {
		found = append(found, f.at(f.ast.Name.Pos(), ruleShadow, "package is named %s", f.ast.Name.Name))
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if word := openEnd.FindString(c.Text); word != "" {
				found = append(found, f.at(c.Pos(), ruleTodo, "says %s", word))
			}
		}
	}
	layer, _ := layerOf(f.pkg)
	f.timeUses(func(pos token.Pos, name string) {
		switch {
		case f.test && name == "Sleep":
			found = append(found, f.at(pos, ruleSleep, "calls time.Sleep"))
		case !f.test && layer.Pure && slices.Contains(clockFuncs, name):
			found = append(found, f.at(pos, ruleClock, "uses time.%s", name))
		}
	})
	if f.test {
		w := skipFinder{file: f, found: &found}
		ast.Walk(w, f.ast)
	}
	return found
}

// openEnd is written in two parts so that this file does not break its own rule.
var openEnd = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// timeUses calls report for every use of an exported name of package time.
func (f *file) timeUses(report func(pos token.Pos, name string)) {
	local := f.localName("time")
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				report(sel.Pos(), sel.Sel.Name)
			}
		}
		return true
	})
}

// localName is what a file calls an import, or "" if it does not import it.
func (f *file) localName(imported string) string {
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return imported[len(imported)-len(lastElement(imported)):]
	}
	return ""
}

func lastElement(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[i+1:]
		}
	}
	return p
}

// skipFinder walks a test file and knows which names stand for a test, benchmark or fuzz target of package testing
// where it is. Others have a Skip too, rapid's among them, which discards one generated case.
type skipFinder struct {
	file  *file
	tests []string // parameters of the enclosing functions
	found *[]Violation
}

func (w skipFinder) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return w.entering(n.Type)
	case *ast.FuncLit:
		return w.entering(n.Type)
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		if ok && slices.Contains(w.tests, x.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, n.Sel.Name) {
			*w.found = append(*w.found, w.file.at(n.Pos(), ruleSkip, "calls %s.%s", x.Name, n.Sel.Name))
		}
	}
	return w
}

// entering is the finder inside a function: its parameters hide outer ones of the same name.
func (w skipFinder) entering(fn *ast.FuncType) skipFinder {
	inner := slices.Clone(w.tests)
	for _, field := range fn.Params.List {
		for _, name := range field.Names {
			inner = slices.DeleteFunc(inner, func(s string) bool { return s == name.Name })
			if w.file.isTest(field.Type) {
				inner = append(inner, name.Name)
			}
		}
	}
	w.tests = inner
	return w
}

// isTest reports whether a type is *testing.T, B, F or testing.TB.
func (f *file) isTest(typ ast.Expr) bool {
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	sel, ok := typ.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == f.localName("testing") && slices.Contains([]string{"T", "B", "F", "TB"}, sel.Sel.Name)
}
