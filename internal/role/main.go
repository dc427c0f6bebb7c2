package role

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Command is one role's flags. Run works until ctx ends.
type Command interface {
	Run(ctx context.Context, log *slog.Logger) error
	logging() Logging
}

// Main reads c's flags from args (without the program's name) and the
// environment, runs it until the first SIGINT or SIGTERM, and returns the exit
// status: 0, 1 with one sentence on standard error, or 2 for wrong usage.
func Main(c Command, name, description string, args []string) int {
	parser, err := kong.New(c, kong.Name(name), kong.Description(description+"\n\nEvery flag can also be set in the environment, as HUOMA_<FLAG>."),
		kong.DefaultEnvars("HUOMA"), kong.ValueFormatter(HelpValue))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v: see %s --help\n", name, err, name)
		return 2
	}
	GiveRoom()
	// The first signal drains; the second ends the program as it would have.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := c.Run(ctx, c.logging().Logger(os.Stderr)); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}

// HelpValue is a flag's help with its default, where the text does not tell
// it, and its variable.
func HelpValue(v *kong.Value) string {
	help := v.Help
	if v.HasDefault && v.Default != "" && !strings.Contains(help, "efault") {
		help = strings.TrimSuffix(help, ".") + " (default " + v.Default + ")."
	}
	if len(v.Tag.Envs) > 0 {
		help = strings.TrimSuffix(help, ".") + " [$" + v.Tag.Envs[0] + "]"
	}
	return help
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
