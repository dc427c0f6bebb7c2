package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/code/span"
)

type alertsCmd struct {
	access
	Follow bool   `short:"f" help:"Go on with new alerts as they come."`
	Since  string `help:"Only alerts from then on: a time in RFC 3339, or how long ago, such as 2h. Default: all that are kept; with --follow, from now on."`
}

// alert is what is shown of an alert's event.
type alert struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	Data    struct {
		Kind     string  `json:"kind"`
		Reason   string  `json:"reason"`
		Target   *int    `json:"target"`
		Members  *int64  `json:"members"`
		Capacity int64   `json:"capacity"`
		Percent  float64 `json:"percent"`
		EtaFull  string  `json:"eta_full"`
		Rule     string  `json:"rule"`
		Scope    string  `json:"scope"`
		Until    string  `json:"until"`
		DueAt    string  `json:"due_at"`
	} `json:"data"`
}

// Run prints alerts, the oldest first. With --follow it goes on until ctx
// ends, over restarts of the gateway, and shows each alert once.
func (c *alertsCmd) Run(ctx context.Context, a *App) error {
	since, err := sinceTime(c.Since, time.Now())
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	show := func(raw json.RawMessage, quiet bool) error {
		var al alert
		if err := json.Unmarshal(raw, &al); err != nil {
			return fmt.Errorf("an alert cannot be read: check that --gateway is a gateway of this version")
		}
		if shown[al.ID] {
			return nil
		}
		shown[al.ID] = true
		switch {
		case quiet:
			return nil
		case c.JSON:
			return printJSON(a.Stdout, raw)
		}
		_, err := fmt.Fprintln(a.Stdout, plain(alertLine(al)))
		return err
	}
	if !c.Follow {
		list, err := cl.Alerts(ctx, since)
		if err != nil {
			return err
		}
		for _, raw := range list {
			if err := show(raw, false); err != nil {
				return err
			}
		}
		return nil
	}
	err = c.follow(ctx, a, cl, since, show)
	if ctx.Err() != nil {
		return nil // Ctrl-C is how following ends
	}
	return err
}

// follow listens first and lists after, so that nothing falls between.
func (c *alertsCmd) follow(ctx context.Context, a *App, cl *client.Client, since time.Time, show func(raw json.RawMessage, quiet bool) error) error {
	const pause = time.Second
	quiet, connected := c.Since == "", false
	for {
		var failed error // of show: no reason to try again
		err := cl.AlertStream(ctx, func() error {
			list, err := cl.Alerts(ctx, since)
			if err != nil {
				return err
			}
			for _, raw := range list {
				if failed = show(raw, quiet); failed != nil {
					return failed
				}
			}
			quiet, connected = false, true
			return nil
		}, func(raw json.RawMessage) error {
			failed = show(raw, false)
			return failed
		})
		var p interface{ Temporary() bool }
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failed != nil:
			return failed
		case !connected:
			return err // never there: say so at once
		case errors.As(err, &p) && !p.Temporary():
			return err
		}
		if isTerminal(a.Stderr) {
			fmt.Fprintln(a.Stderr, "huoma: the gateway went away; waiting for it …")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sinceTime reads --since.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := span.Parse(text); err == nil {
		return now.Add(-d.Duration()), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("--since %q is no time: write 2h, or 2026-01-31T08:00:00Z", clipText(text))
	}
	return at, nil
}

// alertLine is an alert in words.
func alertLine(al alert) string {
	d := al.Data
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-8s  %s  %s", al.Time.Local().Format("2006-01-02 15:04:05"), d.Kind, al.Subject, d.Reason)
	if d.Target != nil {
		fmt.Fprintf(&b, "  target %d", *d.Target)
	}
	if d.Members != nil {
		fmt.Fprintf(&b, "  %d of %d (%.0f %%)", *d.Members, d.Capacity, d.Percent)
	}
	for _, f := range []struct{ name, value string }{
		{"full", shortTime(d.EtaFull)}, {"rule", d.Rule}, {"scope", d.Scope}, {"until", shortTime(d.Until)}, {"due", shortTime(d.DueAt)},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, "  %s %s", f.name, f.value)
		}
	}
	return b.String()
}
