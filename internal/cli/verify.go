package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/huoma/huoma/internal/chstore"
	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/internal/token/keyfile"
	"github.com/huoma/huoma/internal/verify"
)

type verifyCmd struct {
	role.NATS
	access
	ClickHouseURL string        `name:"clickhouse-url" help:"ClickHouse of the installation, for its own protocol." default:"clickhouse://127.0.0.1:9000/huoma"`
	Keyring       string        `help:"File with the keys of the installation. Default: keyring.json in --data." type:"path"`
	Wait          time.Duration `help:"How long to wait for workers and ClickHouse to come to the end of the log." default:"60s"`
}

// verdict is the last line of --json.
type verdict struct {
	Check       string `json:"check"` // "all"
	Events      int64  `json:"events"`
	Differences int64  `json:"differences"`
}

// Run replays the log and holds everything that exists against it.
func (c *verifyCmd) Run(ctx context.Context, a *App) error {
	if c.Wait < 0 {
		return usagef("--wait %s is negative: leave it out, or write it as 60s", c.Wait)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	path := c.Keyring
	if path == "" {
		path = filepath.Join(c.Data, "keyring.json")
	}
	keys, err := keyfile.Load(path)
	if err != nil {
		return fmt.Errorf("%w: name the installation's keyring with --keyring, or its folder with --data", err)
	}
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: c.NATSURL, Name: "huoma verify", CredentialsFile: c.NATSCreds, NkeyFile: c.NATSNkey})
	if err != nil {
		return err
	}
	defer conn.Close()
	inst, err := conn.Installation(ctx)
	if errors.Is(err, events.ErrNotFound) {
		return fmt.Errorf("%s answers, but nothing is installed there: name the installation's NATS with --nats-url", redactNATS(c.NATSURL))
	}
	if err != nil {
		return err
	}
	store, err := chstore.Open(ctx, chstore.Options{URL: c.ClickHouseURL})
	if err != nil {
		return usagef("--clickhouse-url: %v", err)
	}
	defer store.Close()
	if err := store.Check(ctx); err != nil {
		return err
	}
	var all verdict
	var results []verify.Result
	all.Check = "all"
	all.Events, err = verify.Run(ctx, verify.Options{
		Log: conn, Partitions: inst.Partitions, Who: role.Oracle(keys), Warehouse: store, Gateway: statsOf{cl}, Wait: c.Wait,
	}, func(r verify.Result) error {
		all.Differences += r.Differences()
		if c.JSON {
			return printJSON(a.Stdout, r)
		}
		results = append(results, r)
		return nil
	})
	if errors.Is(err, verify.ErrTrimmed) {
		return fmt.Errorf("nothing is claimed: %w", err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(a.Stdout, all)
	} else {
		err = printResults(a.Stdout, results, all)
	}
	if err != nil {
		return err
	}
	if all.Differences > 0 {
		return fmt.Errorf("%d differences from what the log says: keep the streams and the data folder as they are, and report the lines above", all.Differences)
	}
	return nil
}

// printResults prints one line a check, and below it its first differences.
func printResults(out io.Writer, results []verify.Result, all verdict) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tEXPECTED\tFOUND\tMISSING\tEXTRA\tDIFFERENT")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", r.Check, r.Expected, r.Found, r.Missing, r.Extra, r.Different)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, e := range r.Examples {
			text := fmt.Sprintf("%s: %s at %s", r.Check, e.Kind, e.Place)
			if e.ID != "" {
				text += ", id " + e.ID
			}
			if e.Field != "" {
				text += fmt.Sprintf(", %s: want %s, got %s", e.Field, strconv.Quote(e.Want), strconv.Quote(e.Got))
			}
			if _, err := fmt.Fprintln(out, plain(text)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(out, "%d events, %d differences\n", all.Events, all.Differences)
	return err
}

// statsOf asks a gateway for the counts of codes.
type statsOf struct{ c *client.Client }

// Stats is the JSON of a code's counts.
func (s statsOf) Stats(ctx context.Context, code string) ([]byte, error) {
	resp, err := s.c.Do(ctx, http.MethodGet, "/v1/codes/"+code+"/stats", nil, nil)
	var p *client.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil, events.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read the counts of code %s: %w", code, err)
	}
	return b, nil
}
