// Command soak presses a day of ordinary traffic into some minutes, against the production processes on this machine, and says whether
// anything in them grows that should not: memory, goroutines, file descriptors, streams, consumers, timers, parts. `make soak` runs it.
//
// It looks from outside: /proc, the processes' own /metrics, the streams of NATS and the tables of ClickHouse. Start at soak (run.go);
// what may grow, and by how much, is the table in rules.go; how growth is told from noise is in judge.go. The exit status is 1 when
// something leaks.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// errLeak ends a run in which something grew.
var errLeak = errors.New("something grows that should not: the table says what")

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := options{}
	flags.DurationVar(&o.Duration, "duration", 10*time.Minute, "how long the day takes")
	flags.IntVar(&o.Events, "events", 320_000, "events of the day: about two thirds are scans")
	flags.IntVar(&o.Hours, "hours", 24, "hours of the day, each with its share of the traffic and new codes")
	flags.IntVar(&o.Codes, "codes", 2_400, "codes minted for the simulated traffic, an equal share each hour")
	flags.IntVar(&o.Churn, "churn", 4_000, "codes that are minted, scanned, locked, renewed, revoked and run out meanwhile")
	flags.Uint64Var(&o.Seed, "seed", 1, "what happens")
	flags.StringVar(&o.Data, "data", "", "folder for the installation, kept; default: a temporary one, removed")
	flags.StringVar(&o.Bin, "bin", "bin", "folder of the programs")
	flags.StringVar(&o.Script, "script", "deploy/local/production.sh", "what starts the installation")
	asJSON := flags.Bool("json", false, "one JSON object instead of a table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.Duration < 5*time.Second || o.Events < o.Hours || o.Hours < 1 || o.Codes < o.Hours || o.Churn < 1 {
		return errors.New("-duration is at least 5s, -hours and -churn at least 1, -events and -codes at least one an hour")
	}
	o.Progress = func(format string, a ...any) { fmt.Fprintf(stderr, format+"\n", a...) }
	r, err := soak(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(r)
	} else {
		err = r.print(stdout)
	}
	if err == nil && r.Leaks > 0 {
		err = errLeak
	}
	return err
}

// report is what a run found.
type report struct {
	Seed     uint64    `json:"seed"`
	Seconds  float64   `json:"seconds"`
	Events   int64     `json:"events"` // stored
	Scans    int64     `json:"scans"`
	Codes    int64     `json:"codes"`
	Locks    int64     `json:"locks"`
	Renewals int64     `json:"renewals"`
	Expiries int64     `json:"expiries"`
	Samples  int       `json:"samples"`
	Missing  int64     `json:"missing"` // of reconcile
	Doubled  int64     `json:"doubled"`
	Findings []finding `json:"findings"`
	Leaks    int       `json:"leaks"`
}

func (r report) print(w io.Writer) error {
	fmt.Fprintf(w, "%d events, %d of them scans, and %d new codes in %.0f s; %d locks, %d renewals, %d expiries; %d samples; missing %d, doubled %d\n\n",
		r.Events, r.Scans, r.Codes, r.Seconds, r.Locks, r.Renewals, r.Expiries, r.Samples, r.Missing, r.Doubled)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tfirst\tmiddle\tlast\tgrew in the second half\tmay grow\tverdict")
	for _, f := range r.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, human(f.First), human(f.Middle), human(f.Last), human(f.Grew), human(f.May), f.Verdict)
	}
	return t.Flush()
}

// human writes a number short.
func human(v float64) string {
	size, sign := v, ""
	if size < 0 {
		size, sign = -size, "-"
	}
	for _, u := range []struct {
		of   float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e4, " k"}} {
		if size >= u.of {
			if u.of == 1e4 {
				return fmt.Sprintf("%s%.1f k", sign, size/1e3)
			}
			return fmt.Sprintf("%s%.1f%s", sign, size/u.of, u.name)
		}
	}
	if size == float64(int64(size)) {
		return fmt.Sprintf("%s%.0f", sign, size)
	}
	return fmt.Sprintf("%s%.1f", sign, size)
}
