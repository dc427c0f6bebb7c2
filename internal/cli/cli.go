package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/huoma/huoma/internal/role"
)

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1 // it did not work; standard error says what to do
	exitUsage = 2 // the command line was wrong
)

// App is the command line with what it needs from outside.
type App struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// Up runs everything on this machine until ctx ends.
	Up Runner
	// ClickHouse runs the embedded ClickHouse alone until ctx ends.
	ClickHouse EngineRunner
	// EngineLibrary returns the path of the embedded ClickHouse's library, or
	// an error that says how to get it.
	EngineLibrary func() (string, error)
}

// Runner runs all roles in this process group until ctx ends, and calls ready
// once everything answers.
type Runner func(ctx context.Context, o UpOptions, ready func(Addresses)) error

// grammar is every command there is.
type grammar struct {
	Version kong.VersionFlag `help:"Print the version." env:"-"`

	Up       upCmd       `cmd:"" help:"Start everything on this machine: gateway, workers, NATS and ClickHouse."`
	Demo     demoCmd     `cmd:"" help:"The same, with a few minutes of simulated traffic."`
	Mint     mintCmd     `cmd:"" help:"Mint a code, or one for each row of a CSV file."`
	Scan     scanCmd     `cmd:"" help:"Scan a code as a phone's browser would."`
	Codes    codesCmd    `cmd:"" help:"List, read, change, renew and revoke codes."`
	Alerts   alertsCmd   `cmd:"" help:"Show alerts, and follow them as they come."`
	Query    queryCmd    `cmd:"" help:"Ask ClickHouse."`
	Simulate simulateCmd `cmd:"" help:"Publish realistic traffic, the same for the same seed."`
	Import   importCmd   `cmd:"" help:"Import logs and other systems' exports as history, each record once."`
	Replay   replayCmd   `cmd:"" help:"Put repaired dead letters back into the log."`
	Keys     keysCmd     `cmd:"" help:"Make the keyring that gateways and scan workers share, and change its keys while they run."`
	Migrate  migrateCmd  `cmd:"" help:"Create or upgrade the ClickHouse schema."`
	Doctor   doctorCmd   `cmd:"" help:"Check this machine and a running installation."`
	Verify   verifyCmd   `cmd:"" help:"Prove that the numbers are right: replay the log and compare everything with it."`

	Clickhouse clickhouseCmd `cmd:"" help:"Serve the embedded ClickHouse alone, for roles that run as processes of their own."`
}

// Main runs the command that args (without the program's name) asks for and
// returns the exit status. It blocks until the command is done or ctx ends.
func (a *App) Main(ctx context.Context, args []string) int {
	if len(args) == 0 {
		_ = a.run(ctx, []string{"--help"}) // nothing was asked for: say what can be
		return exitUsage
	}
	err := a.run(ctx, args)
	var done exited
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.As(err, &usage):
		fmt.Fprintf(a.Stderr, "huoma: %s\n", oneLine(err.Error()))
		return exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(a.Stderr, "huoma: stopped")
		return exitError
	}
	fmt.Fprintf(a.Stderr, "huoma: %s\n", oneLine(err.Error()))
	return exitError
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exited is an exit status that has been explained already.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// oneLine makes an error one line of text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (a *App) run(ctx context.Context, args []string) (err error) {
	// --help and --version print and then ask kong to exit.
	defer func() {
		if r := recover(); r != nil {
			done, ok := r.(exited)
			if !ok {
				panic(r)
			}
			err = done
		}
	}()
	var g grammar
	var quiet bytes.Buffer
	parser, err := kong.New(&g,
		kong.Name("huoma"),
		kong.Description("Dynamic group QR codes: mint, scan, decide, query.\n\nEvery flag can also be set in the environment, as HUOMA_<FLAG>."),
		kong.DefaultEnvars("HUOMA"),
		kong.Writers(a.Stdout, &quiet),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Vars{"version": version()},
		kong.ValueFormatter(role.HelpValue),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(a),
	)
	if err != nil {
		return err
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return usagef("%v: see `huoma %s--help`", err, asked(args))
	}
	return kctx.Run()
}

// asked is the command that args begins with, for a hint.
func asked(args []string) string {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		for _, name := range []string{"up", "demo", "mint", "scan", "codes", "alerts", "query", "simulate", "import", "replay", "keys", "migrate", "doctor", "verify", "clickhouse"} {
			if args[0] == name {
				return name + " "
			}
		}
	}
	return ""
}

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "huoma (unknown build)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " " + s.Value[:12]
		}
	}
	return "huoma " + v + " " + info.GoVersion
}
