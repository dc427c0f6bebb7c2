package main

import (
	"errors"
	"fmt"
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

// costs prints the five largest costs of every profile taken.
func (b *bench) costs() error {
	for _, file := range b.profiles {
		for _, sort := range []string{"-flat", "-cum"} {
			out, err := exec.CommandContext(b.ctx, "go", "tool", "pprof", "-top", sort, "-nodecount=60", b.self, file).Output()
			if err != nil {
				return fmt.Errorf("go tool pprof %s: %w", file, err)
			}
			fmt.Fprintf(b.note, "%s, %s:\n", strings.TrimSuffix(filepath.Base(file), ".cpu"), map[string]string{"-flat": "by own cost", "-cum": "with what it calls"}[sort])
			for _, line := range largest(string(out), 5, sort == "-cum") {
				fmt.Fprintf(b.note, "  %s\n", line)
			}
		}
	}
	return nil
}

// most of a process's time is spent below its outermost functions, which says
// nothing: they are left out of its largest costs.
const most = 40 // per cent

// largest takes the first n costs out of what pprof prints: of all functions
// by what they spend themselves, or of those that are parts of a process with
// what they call.
func largest(out string, n int, parts bool) []string {
	var list []string
	_, body, _ := strings.Cut(out, "cum%\n")
	for line := range strings.Lines(body) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		if cum, err := strconv.ParseFloat(strings.TrimSuffix(f[4], "%"), 64); err != nil || parts && (cum > most || strings.HasPrefix(f[5], "runtime.")) {
			continue
		}
		if list = append(list, fmt.Sprintf("%6s of its own, %6s with what it calls: %s", f[1], f[4], strings.Join(f[5:], " "))); len(list) == n {
			break
		}
	}
	return list
}
