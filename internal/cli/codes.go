package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
)

type codesCmd struct {
	List   codesList   `cmd:"" default:"withargs" help:"List codes, the newest first."`
	Get    codesGet    `cmd:"" help:"Show a code."`
	Change codesChange `cmd:"" help:"Change a code: its picture stays the same."`
	Renew  codesRenew  `cmd:"" help:"Renew a code."`
	Revoke codesRevoke `cmd:"" help:"End a code for good."`
	Stats  codesStats  `cmd:"" help:"Show a code's counts."`
	Kiosk  codesKiosk  `cmd:"" help:"Make the address of a screen that shows a code: its picture changes every minute."`
}

type codesList struct {
	access
	Limit int `help:"Codes to show; 0 is all." default:"100"`
}

// Run lists codes.
func (c *codesList) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	rows := [][]string{{"ID", "STATUS", "PROFILE", "CAMPAIGN", "EXPIRES", "NAME"}}
	n := 0
	err = cl.Codes(ctx, c.Limit, func(code client.Code) error {
		n++
		if c.JSON {
			return printJSON(a.Stdout, code.Raw)
		}
		rows = append(rows, []string{code.ID, code.Status, code.Profile, plain(code.Campaign), shortTime(code.ExpiresAt), plain(code.Name)})
		return nil
	})
	if err != nil || c.JSON {
		return err
	}
	if n == 0 {
		fmt.Fprintln(a.Stderr, "There is no code yet: huoma mint https://example.com/group mints one.")
		return nil
	}
	return table(a.Stdout, rows)
}

type codesGet struct {
	access
	ID string `arg:"" help:"The code's id."`
}

// Run shows one code.
func (c *codesGet) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	code, err := cl.Code(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.printObject(a, code.Raw)
}

// printObject prints a JSON object, on one line with --json.
func (c access) printObject(a *App, raw json.RawMessage) error {
	if c.JSON {
		return printJSON(a.Stdout, raw)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(raw); err != nil {
		return err
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

type codesChange struct {
	access
	ID       string   `arg:"" help:"The code's id."`
	Target   []string `help:"Where it leads now, in order: all its targets. May be repeated." sep:"none"`
	Picture  []string `help:"Group pictures it leads to now, after the targets. May be repeated." sep:"none"`
	Capacity []int64  `help:"Members each target holds, in their order; one number is for all."`
	Name     *string  `help:"Name for people."`
	Campaign *string  `help:"Campaign it is counted for."`
	Owner    *string  `help:"Who is alerted."`
	Validity *string  `help:"How long it is valid, such as 2h."`
	MaxScans *int64   `name:"max-scans" help:"Accepted scans it allows."`
	Rule     []string `help:"Lockout rules instead of those it has, as limit=5,window=30s. May be repeated." sep:"none"`
	Fields   string   `help:"Other fields, as the JSON object of PATCH /v1/codes/{id}."`
}

// Run changes a code. Somebody else's change meanwhile is an error.
func (c *codesChange) Run(ctx context.Context, a *App) error {
	fields := map[string]any{}
	if c.Fields != "" {
		if err := json.Unmarshal([]byte(c.Fields), &fields); err != nil {
			return usagef(`--fields is no JSON object: write it as '{"content":"poster"}'`)
		}
	}
	m := mintCmd{Target: c.Target, Picture: c.Picture, Capacity: c.Capacity, Rule: c.Rule}
	said, err := m.base()
	if err != nil {
		return err
	}
	if len(said.Targets) > 0 {
		fields["targets"] = said.Targets
	} else if len(c.Capacity) > 0 {
		return usagef("--capacity belongs to targets: give them with --target or --picture")
	}
	if len(said.Rules) > 0 {
		fields["rules"] = said.Rules
	}
	for name, v := range map[string]*string{"name": c.Name, "campaign": c.Campaign, "owner": c.Owner, "validity": c.Validity} {
		if v != nil {
			fields[name] = *v
		}
	}
	if c.MaxScans != nil {
		fields["max_scans"] = *c.MaxScans
	}
	if len(fields) == 0 {
		return usagef("say what to change: see `huoma codes change --help`")
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	now, err := cl.Code(ctx, c.ID)
	if err != nil {
		return err
	}
	changed, err := cl.Change(ctx, c.ID, now.ETag, fields)
	if err != nil {
		return err
	}
	return c.printObject(a, changed.Raw)
}

type codesRenew struct {
	access
	ID []string `arg:"" help:"The codes' ids."`
}

// Run renews codes.
func (c *codesRenew) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	for _, id := range c.ID {
		code, err := cl.Renew(ctx, id)
		if err != nil {
			return fmt.Errorf("renew %s: %w", clipText(id), err)
		}
		if c.JSON {
			err = printJSON(a.Stdout, code.Raw)
		} else {
			_, err = fmt.Fprintf(a.Stdout, "%s renewed, due again %s\n", code.ID, orNever(shortTime(code.RenewalDueAt)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shortTime is a time of the gateway's to the second, for people.
func shortTime(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return plain(text)
	}
	return at.UTC().Format(time.RFC3339)
}

func orNever(at string) string {
	if at == "" {
		return "never"
	}
	return at
}

type codesRevoke struct {
	access
	ID []string `arg:"" help:"The codes' ids."`
}

// Run ends codes.
func (c *codesRevoke) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	for _, id := range c.ID {
		if err := cl.Revoke(ctx, id); err != nil {
			return fmt.Errorf("revoke %s: %w", clipText(id), err)
		}
		if c.JSON {
			err = printJSON(a.Stdout, map[string]string{"id": id, "status": "revoked"})
		} else {
			_, err = fmt.Fprintf(a.Stdout, "%s revoked\n", url.PathEscape(id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type codesStats struct {
	access
	ID string `arg:"" help:"The code's id."`
}

// Run shows a code's counts.
func (c *codesStats) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	raw, err := cl.Stats(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.printObject(a, raw)
}
