package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/huoma/huoma/internal/allinone"
)

// options are what the command line says.
type options struct {
	json    bool
	quick   bool
	long    bool
	only    []string
	update  string   // document whose table is written anew
	profile string   // folder for profiles
	from    []string // files of results to take instead of measuring
}

// bench is one run.
type bench struct {
	options
	ctx      context.Context // ends with an interrupt
	self     string          // this program
	dir      string          // everything is kept below it and removed at the end
	running  []*process
	print    *printer
	note     io.Writer // progress
	rows     []Row
	seed     uint64
	profiles []string // files
}

// A section is a group of results.
type section struct {
	Letter string
	Title  string
	run    func(*bench) error
}

var sections = []section{
	{"a", "durable scan and bare net/http", (*bench).scans},
	{"b", "producers and scan worker, and bare JetStream", (*bench).streams},
	{"c", "analytics worker and bare clickhouse-go", (*bench).warehouse},
	{"d", "how soon a scan is refused, seen and warned of", (*bench).latencies},
	{"e", "what a code and a window take in memory", (*bench).memory},
	{"f", "a thousand codes and a million", (*bench).manyCodes},
	{"g", "start-up against the length of the log", (*bench).starts},
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == allinone.EngineCommand:
		os.Exit(allinone.RunEngine())
	case len(os.Args) > 1 && os.Args[1] == helperCommand:
		os.Exit(runHelper(os.Args[2:]))
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone, such as head, is an error like others: what is kept is removed
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit status: 1 when something
// failed or a bound is not kept, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v: see --help\n", err)
		return 2
	}
	b := &bench{options: o, ctx: ctx, print: &printer{out: stdout, json: o.json}, note: stderr}
	if err := b.run(); err != nil {
		fmt.Fprintf(stderr, "bench: %s\n", strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	missed := b.missed()
	for _, m := range missed {
		fmt.Fprintf(stderr, "bench: below its bound: %s\n", m)
	}
	if len(missed) > 0 {
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.json, "json", false, "print one JSON object a result")
	f.BoolVar(&o.quick, "quick", false, "about a minute, to see whether everything works: the numbers mean little and no bound counts")
	f.BoolVar(&o.long, "long", false, "with what takes long: ten million events")
	only := f.String("only", "", "letters of the `sections` to run, such as a,b; all of them otherwise")
	f.StringVar(&o.update, "update", "", "write the table into this `document`, between its markers")
	from := f.String("from", "", "take the results from `files` that --json has printed, with commas, instead of measuring")
	f.StringVar(&o.profile, "profile", "", "keep profiles of every process in this `folder`, and say what costs most")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not understood", f.Arg(0))
	}
	if *from != "" {
		o.from = strings.Split(*from, ",")
	}
	for _, s := range sections {
		o.only = append(o.only, s.Letter)
	}
	if *only != "" {
		known := o.only
		o.only = strings.Split(*only, ",")
		for _, s := range o.only {
			if !slices.Contains(known, s) {
				return o, fmt.Errorf("there is no section %q, only %s", s, strings.Join(known, ", "))
			}
		}
	}
	return o, nil
}

func (b *bench) run() (err error) {
	if b.from != nil {
		return b.taken()
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "huoma-bench-"); err != nil {
		return err
	}
	defer func() {
		for _, p := range b.running { // what an error left behind
			p.kill()
		}
		err = errors.Join(err, os.RemoveAll(b.dir))
	}()
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return err
		}
	}
	b.seed = uint64(time.Now().UnixNano())
	where := thisMachine()
	if err := b.print.machine(where); err != nil {
		return err
	}
	for _, s := range sections {
		if !slices.Contains(b.only, s.Letter) {
			continue
		}
		fmt.Fprintf(b.note, "bench: (%s) %s\n", s.Letter, s.Title)
		if err := s.run(b); err != nil {
			return fmt.Errorf("(%s): %w", s.Letter, err)
		}
	}
	return keep(b.document(where), b.costs())
}

// document writes the table, if one is wanted.
func (b *bench) document(where machine) error {
	if b.update == "" {
		return nil
	}
	return update(b.update, table(where, b.rows))
}

// taken reports results of earlier runs, in the order of a run that makes them
// all. Of a result that is there twice the last counts, of machines the first.
func (b *bench) taken() error {
	where, rows, err := read(b.from)
	if err != nil {
		return err
	}
	if err := b.print.machine(where); err != nil {
		return err
	}
	for _, long := range []bool{false, true} {
		o := options{quick: b.quick, long: long, only: b.only}
		for _, n := range o.names() {
			if r, ok := rows[n]; ok {
				delete(rows, n)
				if err := b.report(r); err != nil {
					return err
				}
			}
		}
	}
	return b.document(where)
}

// report judges a row and prints it.
func (b *bench) report(r Row) error {
	if !(r.Ours > 0) || r.Bare < 0 { // not a number at all is not more than zero
		return fmt.Errorf("%s is %g, which cannot be", r.Name, r.Ours)
	}
	if !b.quick {
		r.judge()
	}
	b.rows = append(b.rows, r)
	return b.print.row(r)
}

// missed says which bounds are not kept.
func (b *bench) missed() []string {
	var out []string
	for i := range b.rows {
		r := &b.rows[i]
		if r.OK != nil && !*r.OK {
			v := r.Ours
			if r.bound.What == "ratio" {
				v = r.Ratio
			}
			out = append(out, fmt.Sprintf("(%s) %s is %.3g, the bound is %s", r.Section, r.Name, v, r.Bound))
		}
	}
	return out
}

// few is quick's number when the run is quick.
func few[T any](b *bench, quick, full T) T {
	if b.quick {
		return quick
	}
	return full
}
