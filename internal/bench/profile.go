package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// profiling starts a CPU profile of every process if profiles are wanted and
// this is a moment to take them, and returns what ends them. The embedded
// ClickHouse is no Go program: only the process that stands before it is seen.
func (b *bench) profiling(now bool, what string, servers map[string]*process) (end func() error) {
	if b.profile == "" || !now {
		return func() error { return nil }
	}
	var errs []error
	for name, p := range servers {
		file := filepath.Join(b.profile, strings.ReplaceAll(strings.ReplaceAll(what+"-"+name, ",", ""), " ", "-")+".cpu")
		_, err := p.ask(askProfileStart + " " + file)
		errs = append(errs, err)
		if !slices.Contains(b.profiles, file) {
			b.profiles = append(b.profiles, file)
		}
	}
	return func() error {
		for _, p := range servers {
			_, err := p.ask(askProfileStop)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// costs prints the five largest costs of every profile taken: of all functions
// by what they spend themselves, and of parts by what they spend in all.
func (b *bench) costs() error {
	for _, file := range b.profiles {
		out, err := exec.CommandContext(b.ctx, "go", "tool", "pprof", "-top", "-nodecount=2000", b.self, file).Output()
		if err != nil {
			return fmt.Errorf("go tool pprof %s: %w", file, err)
		}
		list := parseCosts(string(out))
		fmt.Fprintf(b.note, "%s, by own cost:\n", strings.TrimSuffix(filepath.Base(file), ".cpu"))
		printCosts(b.note, list)
		fmt.Fprintln(b.note, "  with what they call:")
		list = slices.DeleteFunc(list, func(c cost) bool { return c.all > outermost || strings.HasPrefix(c.name, "runtime.") })
		slices.SortStableFunc(list, func(a, b cost) int { return cmp.Compare(b.all, a.all) })
		printCosts(b.note, list)
	}
	return nil
}

// outermost is the share, in per cent, above which a function's cost says no
// more than that the process did its work.
const outermost = 40

// cost is a function's share of a profile, in per cent.
type cost struct {
	own, all float64
	name     string
}

// parseCosts reads what pprof -top prints, by own cost.
func parseCosts(out string) (list []cost) {
	_, body, _ := strings.Cut(out, "cum%\n")
	for line := range strings.Lines(body) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		own, err := strconv.ParseFloat(strings.TrimSuffix(f[1], "%"), 64)
		all, aerr := strconv.ParseFloat(strings.TrimSuffix(f[4], "%"), 64)
		if err == nil && aerr == nil {
			list = append(list, cost{own, all, strings.TrimPrefix(strings.Join(f[5:], " "), "github.com/huoma/huoma/internal/")})
		}
	}
	return list
}

func printCosts(w io.Writer, list []cost) {
	for _, c := range list[:min(len(list), 5)] {
		fmt.Fprintf(w, "  %5.1f %% its own, %5.1f %% in all: %s\n", c.own, c.all, c.name)
	}
}
