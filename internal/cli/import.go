package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // zones of mappings, also where the system has none

	"github.com/huoma/huoma/internal/importing"
	"github.com/huoma/huoma/internal/natsjs"
)

type importCmd struct {
	access
	Files          []string `arg:"" name:"file" help:"Files to import, plain or packed with gzip; - is standard input."`
	Format         string   `help:"How the records are written: combined (a web server's log), csv or jsonl." required:"" enum:"combined,csv,jsonl"`
	Mapping        string   `help:"File that says how a record becomes an event. Without it: of a log, requests for our pictures; else columns named like an event's fields." type:"path"`
	DryRun         bool     `name:"dry-run" help:"Read and check everything, show the first ten events, and publish nothing."`
	Rate           float64  `help:"Events a second; 0 is as fast as possible." default:"0"`
	Bad            string   `help:"File to keep lines in that cannot be imported. Default: next to each file, with .bad behind its name." type:"path"`
	NATSURL        string   `name:"nats-url" help:"NATS server of the installation, which keeps what has been imported." default:"nats://127.0.0.1:4222"`
	ClickHouseHTTP string   `name:"clickhouse-http" help:"ClickHouse's HTTP address, with user:password@ where it needs them. It is asked only about imports that ended early more than a day ago." default:"http://127.0.0.1:8123"`
	Database       string   `help:"Database of the installation in ClickHouse." default:"huoma"`

	crash func(importing.Point) error       // tests
	aging func(importing.Log) importing.Log // tests: a ledger whose entries are older than they are
}

// mostBadShown is how many bad lines are named on standard error.
const mostBadShown = 20

// importPatience is how long the installation may be away.
const importPatience = 2 * time.Minute

// Run imports the files and says what became of their lines.
func (c *importCmd) Run(ctx context.Context, a *App) error {
	if c.Rate < 0 {
		return usagef("--rate is a number of events a second, or 0 for as fast as possible")
	}
	m, err := c.mapping()
	if err != nil {
		return err
	}
	inputs, total, err := c.inputs(a)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := cl.Ready(ctx); err != nil {
		return err
	}
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: c.NATSURL, Name: "huoma import"})
	if err != nil {
		return err
	}
	defer conn.Close()
	ledger, err := conn.Imports(ctx, !c.DryRun)
	if err != nil {
		return err
	}
	var log importing.Log = importLog{ledger}
	if c.aging != nil {
		log = c.aging(log)
	}
	var run [12]byte
	_, _ = rand.Read(run[:]) // never fails: it ends the program instead
	bar := newImportBar(a.Stderr, total)
	aside := newAside(a, c, bar.clear)
	defer aside.close()
	var failed error
	sum, err := importing.Run(ctx, importing.Options{
		Inputs: inputs, Mapping: m, Gateway: &importGateway{c: cl}, Log: log, Warehouse: &importWarehouse{conn: conn, address: c.ClickHouseHTTP, database: c.Database},
		Run: hex.EncodeToString(run[:]), Rate: c.Rate, DryRun: c.DryRun, Patience: importPatience, Bad: aside.take, Report: bar.update, Crash: c.crash,
		Show: func(event []byte) {
			bar.clear()
			if err := c.show(a, event); failed == nil {
				failed = err
			}
		},
	})
	bar.clear()
	if aerr := aside.close(); err == nil {
		err = aerr
	}
	if err == nil {
		err = failed
	}
	if perr := c.summary(a, sum, aside); err == nil {
		err = perr
	}
	return err
}

func (c *importCmd) mapping() (*importing.Mapping, error) {
	format := importing.Format(c.Format)
	if c.Mapping == "" {
		return importing.DefaultMapping(format), nil
	}
	f, err := os.Open(c.Mapping)
	if err != nil {
		return nil, fmt.Errorf("the mapping %s cannot be read: name a file with --mapping", c.Mapping)
	}
	defer f.Close()
	m, err := importing.ParseMapping(f, format)
	if err != nil {
		return nil, fmt.Errorf("the mapping %s, %w", c.Mapping, err)
	}
	return m, nil
}

// inputs are the files, and the bytes of all of them; 0 when that is not known. All are looked at before anything begins.
func (c *importCmd) inputs(a *App) (list []importing.Input, total int64, err error) {
	known := true
	stdin := false
	for _, name := range c.Files {
		if name == "-" {
			if stdin {
				return nil, 0, usagef("standard input, -, is named twice")
			}
			stdin, known = true, false
			list = append(list, importing.Input{Name: "standard input", Open: func() (io.ReadCloser, error) { return io.NopCloser(a.Stdin), nil }})
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("%s cannot be read: name a file that is there", name)
		case info.IsDir():
			return nil, 0, fmt.Errorf("%s is a folder: name the files in it", name)
		case !info.Mode().IsRegular():
			known = false
		}
		if kept, err := os.Stat(c.Bad); c.Bad != "" && err == nil && os.SameFile(info, kept) {
			return nil, 0, usagef("--bad names %s, which is to be imported: name another file", name)
		}
		total += info.Size()
		list = append(list, importing.Input{Name: name, Open: func() (io.ReadCloser, error) {
			f, err := os.Open(name)
			if err != nil {
				return nil, fmt.Errorf("%s cannot be read: make it readable", name)
			}
			return f, nil
		}})
	}
	if !known {
		total = 0
	}
	return list, total, nil
}

// show prints an event of a dry run.
func (c *importCmd) show(a *App, event []byte) error {
	if c.JSON {
		return printJSON(a.Stdout, map[string]json.RawMessage{"event": event})
	}
	_, err := fmt.Fprintf(a.Stdout, "%s\n", event)
	return err
}

func (c *importCmd) summary(a *App, s importing.Summary, aside *aside) error {
	if c.JSON {
		return printJSON(a.Stdout, struct {
			importing.Summary
			BadFiles []string `json:"bad_files,omitempty"`
		}{s, aside.names})
	}
	first := "imported"
	if c.DryRun {
		first = "would import"
	}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(s.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%s %d", plain(reason), s.Reasons[reason]))
	}
	skipped := fmt.Sprint(s.Skipped)
	if len(reasons) > 0 {
		skipped += " (" + strings.Join(reasons, ", ") + ")"
	}
	bad := fmt.Sprint(s.Bad)
	if len(aside.names) > 0 {
		bad += ", kept in " + strings.Join(aside.names, ", ")
	}
	rows := [][]string{
		{"lines read", fmt.Sprint(s.Lines)}, {first, fmt.Sprint(s.Imported)}, {"already there", fmt.Sprint(s.Already)}, {"skipped", skipped}, {"bad", bad},
	}
	if s.Latin1 > 0 {
		rows = append(rows, []string{"not UTF-8", fmt.Sprintf("%d lines, read as Latin-1", s.Latin1)})
	}
	rows = append(rows, []string{"took", fmt.Sprintf("%.1f s, %.0f lines/s", s.Seconds, s.Rate)})
	return table(a.Stdout, rows)
}

// aside keeps lines that cannot be imported.
type aside struct {
	a     *App
	c     *importCmd
	clear func()
	files map[string]*os.File
	names []string // of the files written
	shown int
	more  int
	err   error
}

func newAside(a *App, c *importCmd, clear func()) *aside {
	return &aside{a: a, c: c, clear: clear, files: make(map[string]*os.File)}
}

// path is where bad lines of a file go.
func (s *aside) path(file string) string {
	switch {
	case s.c.Bad != "":
		return s.c.Bad
	case file == "standard input":
		return "stdin.bad"
	}
	return file + ".bad"
}

// take keeps one line and says why.
func (s *aside) take(b importing.BadLine) {
	switch {
	case s.c.JSON:
		_ = printJSON(s.a.Stdout, map[string]any{"bad": map[string]any{"file": b.File, "line": b.Line, "reason": plain(b.Reason)}})
	case s.shown < mostBadShown:
		s.clear()
		s.shown++
		fmt.Fprintf(s.a.Stderr, "huoma: %s line %d: %s\n", b.File, b.Line, plain(b.Reason))
	default:
		s.more++
	}
	if s.c.DryRun || s.err != nil {
		return
	}
	path := s.path(b.File)
	f := s.files[path]
	if f == nil {
		var err error
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			s.err = fmt.Errorf("bad lines cannot be kept in %s: name another file with --bad", path)
			return
		}
		s.files[path] = f
		s.names = append(s.names, path)
		if b.Head != "" {
			_, s.err = f.WriteString(b.Head + "\n") // so that the file, mended, can be imported itself
		}
	}
	if _, err := f.WriteString(b.Raw + "\n"); err != nil && s.err == nil {
		s.err = fmt.Errorf("bad lines cannot be kept in %s: check the free space there", path)
	}
}

// close ends the files. Again is harmless.
func (s *aside) close() error {
	if s.more > 0 {
		fmt.Fprintf(s.a.Stderr, "huoma: and %d more bad lines; --json names all of them\n", s.more)
		s.more = 0
	}
	for path, f := range s.files {
		err := f.Sync() // they are not in the log: this file is all there is of them
		if errors.Is(err, syscall.EINVAL) {
			err = nil // a pipe or a terminal
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil && s.err == nil && !errors.Is(err, os.ErrClosed) {
			s.err = fmt.Errorf("bad lines cannot be kept in %s: check the free space there", path)
		}
	}
	clear(s.files)
	return s.err
}
