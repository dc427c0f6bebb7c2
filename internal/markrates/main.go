// Command markrates measures how often watermarks are read again, what they name when there are none, and what they cost. It is
// seeded: the same flags give the same pictures. docs/watermark.md has its table; make it again with
//
//	go run ./internal/markrates -n 1000 -write docs/watermark.md
//
// With -check it exits 1 below the rates that are promised.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

type options struct {
	n       int    // pictures a row
	foreign int    // pictures without a mark of the key
	random  int    // random observations put to the decision
	seed    uint64 // of everything
	beyond  bool   // harms that are not promised too
	speed   bool
	check   bool
	write   string // document to put the tables into
	samples string // folder for pictures to look at
	zbar    bool
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 200, "pictures for each harm and size")
	flag.IntVar(&o.foreign, "foreign", 5000, "pictures without a mark of the key")
	flag.IntVar(&o.random, "random", 1_000_000, "random observations put to the decision")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of everything")
	flag.BoolVar(&o.beyond, "beyond", true, "measure harms that are not promised too")
	flag.BoolVar(&o.speed, "speed", true, "measure what a mark costs")
	flag.BoolVar(&o.check, "check", false, "exit 1 below the rates that are promised")
	flag.StringVar(&o.write, "write", "", "document to put the tables into")
	flag.StringVar(&o.samples, "samples", "", "folder to write a marked picture, its unmarked twin and their difference × 40 to")
	flag.BoolVar(&o.zbar, "zbar", false, "let zbarimg read marked pictures too")
	flag.Parse()
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "markrates:", err)
		os.Exit(1)
	}
}

func (o options) run(w io.Writer) error {
	if o.samples != "" {
		if err := samples(o.samples, o.seed); err != nil {
			return err
		}
	}
	var b strings.Builder
	var failed []string
	for _, part := range []func(options, *strings.Builder) ([]string, error){rates, styles, falseNames, speeds, readers} {
		var one strings.Builder
		bad, err := part(o, &one)
		if err != nil {
			return err
		}
		failed = append(failed, bad...)
		b.WriteString(one.String())
		if _, err := io.WriteString(w, one.String()); err != nil {
			return err
		}
	}
	if o.write != "" {
		if err := put(o.write, b.String()); err != nil {
			return err
		}
	}
	if o.check && len(failed) > 0 {
		return fmt.Errorf("below what is promised: %s", strings.Join(failed, "; "))
	}
	return nil
}

// put replaces what stands between the two marks of a document.
func put(name, tables string) error {
	const begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no %q and %q", name, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(name, []byte(head+begin+tables+end+tail), 0o644)
}
