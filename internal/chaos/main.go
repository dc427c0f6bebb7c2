package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var o Options
	var faults string
	flag.Uint64Var(&o.Seed, "seed", 1, "what happens: the same seed gives the same plan")
	flag.DurationVar(&o.Duration, "duration", 10*time.Minute, "over which the traffic is spread; the run is given up after half as much again and 2 min")
	flag.IntVar(&o.Events, "events", 2_000_000, "events to be acknowledged")
	flag.IntVar(&o.Faults, "count", 54, "faults to be injected")
	flag.StringVar(&o.Shape, "shape", "", "single, cluster or all-in-one; default: the seed chooses")
	flag.StringVar(&faults, "faults", "", "kinds of faults to draw from, separated by commas; default: all")
	flag.StringVar(&o.Dir, "dir", "", "folder of the run, emptied first (default data/chaos/seed-N)")
	flag.BoolVar(&o.Keep, "keep", false, "keep the data, not only logs and report")
	flag.BoolVar(&o.Lie, "lie", false, "lose three acknowledged messages on purpose: the report has to be red")
	short := flag.Bool("short", false, "the short form: 2 minutes, 40 000 events, 8 faults, programs as they are built anyway")
	asJSON := flag.Bool("json", false, "print the report as one JSON object")
	ask := flag.Bool("needs", false, "say which faults cannot be injected on this machine, and do nothing")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "Usage: make chaos SEED=n, or go run ./internal/chaos [flags]\n\nPulls the plugs of an installation under load and checks that nothing was lost or doubled.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *short { // the flags given are stronger
		o.short()
		flag.Parse()
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chaos: there is no argument %q: see --help\n", flag.Arg(0))
		os.Exit(2)
	}
	if *ask {
		fmt.Print(lacking())
		return
	}
	var err error
	if faults != "" {
		if o.Only, err = kinds(faults); err != nil {
			fmt.Fprintf(os.Stderr, "chaos: --faults: %v\n", err)
			os.Exit(2)
		}
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	o.Plan = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := Run(ctx, o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // nobody may be reading
	} else {
		fmt.Print(r.Text())
	}
	if len(r.Failures) > 0 {
		stop()
		os.Exit(1)
	}
}
