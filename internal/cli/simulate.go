package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/simulate"
)

// Defaults of how simulated traffic reaches the installation.
const (
	defaultDirect = 0.05
	defaultStream = 0.05
	defaultHours  = 20
	demoHistory   = 0.25
)

// mostHours keeps simulated events well within the day that producers have.
const mostHours = 22

type simulateCmd struct {
	access
	Events  int     `help:"Distinct events to publish, exactly." default:"10000"`
	Seed    int64   `help:"What happens: the same seed is the same traffic." default:"1"`
	Rate    float64 `help:"Events a second; 0 is as fast as possible." default:"0"`
	Labels  string  `help:"File to write the truth about each event to, one JSON object a line." type:"path"`
	Codes   int     `help:"Codes to mint; 0 chooses by the number of events." default:"0"`
	Hours   float64 `help:"Hours of life that the events are dated over, up to now." default:"20"`
	NATSURL string  `name:"nats-url" help:"NATS server to publish a share of the events to, as producers do; without it they all go by HTTP."`
	Direct  float64 `help:"Share of people who scan through the gateway, with cookies." default:"0.05"`
	Stream  float64 `help:"Share of the other events that go by NATS, with --nats-url." default:"0.05"`
	History float64 `help:"Share of scans that are history: imported from the four weeks before, causing nothing." default:"0"`
	RunName string  `name:"run" help:"Name of the run, part of every event id: the same seed and run publish the same events again. Default: a new one."`
}

// Run publishes the traffic and says what it was.
func (c *simulateCmd) Run(ctx context.Context, a *App) error {
	switch {
	case c.Events < 1:
		return usagef("--events is a whole number from 1")
	case c.Rate < 0:
		return usagef("--rate is a number of events a second, or 0 for as fast as possible")
	case c.Codes < 0 || c.Codes > 100_000:
		return usagef("--codes is a whole number from 1 to 100000")
	case c.Hours <= 0 || c.Hours > mostHours:
		return usagef("--hours is more than 0 and at most %d: producers' events may be a day old, not more", mostHours)
	case c.Direct < 0 || c.Direct > 1 || c.Stream < 0 || c.Stream > 1 || c.History < 0 || c.History > 1:
		return usagef("--direct, --stream and --history are shares from 0 to 1")
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := cl.Ready(ctx); err != nil {
		return err
	}
	now := time.Now().UTC()
	o := simulate.RunOptions{
		Generate: c.generate(now), Gateway: gatewayPort{cl}, HTTP: cl.Transport(), Rate: c.Rate,
	}
	if c.NATSURL != "" {
		n, err := dialNATS(ctx, c.NATSURL)
		if err != nil {
			return err
		}
		defer n.close()
		o.Stream = n
	}
	if c.Labels != "" {
		f, err := os.Create(c.Labels)
		if err != nil {
			return fmt.Errorf("the labels cannot be written to %s: name another file with --labels", c.Labels)
		}
		defer f.Close()
		o.Labels = f
	}
	bar := newProgress(a.Stderr, "events")
	o.Report = func(p simulate.Progress) {
		if p.Done > 0 {
			bar.update(p.Done, p.Events)
		}
	}
	sum, err := simulate.Run(ctx, o)
	bar.done()
	if err != nil && sum.Events == 0 {
		return err
	}
	if c.JSON {
		if perr := printJSON(a.Stdout, sum); err == nil {
			err = perr
		}
		return err
	}
	if perr := printSummary(a.Stdout, sum); err == nil {
		err = perr
	}
	return err
}

// generate dates the events: a day's life that ends now, or, when publishing
// itself takes longer than that, as it goes.
func (c *simulateCmd) generate(now time.Time) simulate.Options {
	span := time.Duration(c.Hours * float64(time.Hour))
	o := simulate.Options{
		Events: c.Events, Seed: uint64(c.Seed), Run: c.RunName, Start: now.Add(-span), Span: span, Codes: c.Codes, Direct: c.Direct, Stream: c.Stream, History: c.History,
	}
	if o.Run == "" {
		o.Run = now.Format("20060102T150405.000Z")
	}
	if c.Rate > 0 {
		if takes := time.Duration(float64(c.Events) / c.Rate * float64(time.Second)); takes > span {
			o.Start, o.Span = now, takes
		}
	}
	return o
}

// printSummary says in words what was published.
func printSummary(w io.Writer, s simulate.Summary) error {
	rows := [][]string{
		{"events stored", fmt.Sprint(s.Events)},
		{"published", fmt.Sprintf("%d, of which %d a second time", s.Published, s.Duplicates)},
		{"codes", fmt.Sprint(s.Codes)},
		{"by type", counts(s.Stored)},
		{"caused by", counts(s.Kinds)},
		{"by way of", counts(s.Via)},
	}
	if len(s.Answers) > 0 {
		rows = append(rows, []string{"gateway's answers", counts(s.Answers)})
	}
	if s.Unsure > 0 {
		rows = append(rows, []string{"sent again", fmt.Sprintf("%d scans that nobody answered: each may be stored once more", s.Unsure)})
	}
	rows = append(rows, []string{"took", fmt.Sprintf("%.1f s, %.0f events/s", s.Seconds, s.Rate)}, []string{"seed and run", fmt.Sprintf("%d %s", s.Seed, s.Run)})
	return table(w, rows)
}

func counts[K ~string](m map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// gatewayPort is what a simulation needs of a gateway.
type gatewayPort struct{ c *client.Client }

// Mint mints a code. An installation with a list of registered domains, which
// ours is not on, gets the same code under a profile that does not ask for it.
func (g gatewayPort) Mint(ctx context.Context, key string, spec simulate.CodeSpec) (simulate.Minted, error) {
	code, err := g.c.Mint(ctx, spec, key)
	var p *client.Problem
	if errors.As(err, &p) && p.Code == "unregistered_domain" {
		spec.Profile = "wecom-group"
		code, err = g.c.Mint(ctx, spec, key)
	}
	if err != nil {
		return simulate.Minted{}, err
	}
	return simulate.Minted{ID: code.ID, ScanURL: g.c.URL("/s/" + tokenOf(code))}, nil
}

// Publish stores a batch.
func (g gatewayPort) Publish(ctx context.Context, batch []byte, _ int) error {
	return g.c.Publish(ctx, batch)
}
