package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/qr"
)

type mintCmd struct {
	access
	styleFlags
	Target []string `arg:"" optional:"" help:"Where the code leads, in order: URLs."`

	Name         string   `help:"Name for people; of many, a template such as {campaign}-{seq:4}."`
	Profile      string   `help:"Platform profile: wechat-group, wechat-static, wecom-group or miniprogram." default:"wecom-group"`
	Picture      []string `help:"Group pictures it leads to, after the URLs: an https URL or an image file. May be repeated." sep:"none"`
	Capacity     []int64  `help:"Members each target holds, in their order; one number is for all. Default: the profile's."`
	Campaign     string   `help:"Campaign it is counted for."`
	Source       string   `help:"Where its scanners come from, such as poster."`
	Medium       string   `help:"By what medium, such as print."`
	Term         string   `help:"Campaign term."`
	Content      string   `help:"Campaign content."`
	Owner        string   `help:"Who is alerted."`
	Verified     bool     `help:"The owner is verified: the profile's higher limits."`
	Validity     string   `help:"How long it is valid, such as 2h or 7d. Default: the profile's."`
	RenewalEvery string   `name:"renewal-every" help:"How often its owner must renew it, such as 72h. Default: the profile's."`
	MaxScans     int64    `name:"max-scans" help:"Accepted scans it allows. Default: the profile's."`
	Dedupe       string   `help:"Window in which a visitor's repeats count once, such as 30s. Default: off."`
	Rule         []string `help:"Lockout rule instead of the profile's, as limit=5,window=30s,scope=visitor,action=lock,for=10m. May be repeated." sep:"none"`
	Variant      []string `help:"Variant of an experiment: its name, and how it differs, as A,fg=#7a1f1f,shape=dots,badge=VIP,copy=Join us. May be repeated." sep:"none"`

	From   string `help:"CSV file to mint from, one code a row; its columns win over the flags. The same rows are minted once, however often they are asked for." type:"path"`
	Out    string `help:"Folder, or file that ends in .zip, to write the pictures to as PNG, or file that ends in .pdf, a sheet to print. After an interruption the same command goes on." type:"path"`
	Size   int    `help:"Pixels of a picture's side, with --out. Default: the gateway's, on a sheet as many as print needs."`
	Device string `help:"Name of what asks for the pictures, with --out; watermarks name it. Default: the gateway's."`
	Key    string `name:"idempotency-key" help:"Minting again with the same key returns the same code. With --from: another key mints the same rows once more."`

	Paper     string   `help:"Paper of a sheet: A3, A4, A5 or Letter." default:"A4" group:"Sheets (--out NAME.pdf)"`
	Columns   int      `help:"Pictures side by side on a sheet." default:"4" group:"Sheets (--out NAME.pdf)"`
	Rows      int      `help:"Pictures one below the other on a sheet." default:"5" group:"Sheets (--out NAME.pdf)"`
	Margin    float64  `help:"Margin of a sheet in mm." default:"10" group:"Sheets (--out NAME.pdf)"`
	Label     []string `help:"Words under each picture: name, tracking, copy (of the variant), id, or none." default:"name,tracking" group:"Sheets (--out NAME.pdf)"`
	CropMarks bool     `name:"crop-marks" help:"Marks to cut along." default:"true" negatable:"" group:"Sheets (--out NAME.pdf)"`
	Dated     bool     `help:"Put the date into the file; without, the same codes give the same bytes." group:"Sheets (--out NAME.pdf)"`
}

// Run mints one code, or all of a CSV, and shows what it minted.
func (c *mintCmd) Run(ctx context.Context, a *App) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	if c.Out != "" {
		c.Out = shown(c.Out)
	}
	if c.From != "" {
		c.From = shown(c.From)
		return c.many(ctx, a, cl, base)
	}
	f, err := formOf(c.Out)
	if err == nil && f == formPDF {
		_, _, err = c.sheet()
	}
	if err != nil {
		return err
	}
	if f == formFolder {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return fmt.Errorf("the folder %s cannot be made: name another with --out", c.Out)
		}
	}
	if (f == formZip || f == formPDF) && thereAlready(c.Out) {
		return fmt.Errorf("%s is there already: remove it or name another file with --out", c.Out)
	}
	if len(base.Targets) == 0 {
		return usagef("say where the code leads: huoma mint https://example.com/group, or --picture")
	}
	minted, err := cl.Mint(ctx, base, c.Key)
	if err != nil {
		return err
	}
	if err := c.draw(ctx, cl, minted, f); err != nil {
		return err
	}
	return c.show(a, minted)
}

// base is what the flags say of every code to mint.
func (c *mintCmd) base() (client.Mint, error) {
	m := client.Mint{
		Name: c.Name, Profile: c.Profile, Campaign: c.Campaign, Source: c.Source, Medium: c.Medium, Term: c.Term, Content: c.Content,
		Owner: c.Owner, Verified: c.Verified, Validity: c.Validity, RenewalEvery: c.RenewalEvery, Dedupe: c.Dedupe,
	}
	if c.MaxScans < 0 {
		return m, usagef("--max-scans is a whole number from 1")
	}
	if c.MaxScans > 0 {
		m.MaxScans = &c.MaxScans
	}
	for _, v := range c.Variant {
		variant, err := parseVariant(v)
		if err != nil {
			return m, err
		}
		m.Variants = append(m.Variants, variant)
	}
	style, err := c.style()
	if err != nil {
		return m, err
	}
	m.Style = style
	for _, text := range c.Rule {
		r, err := parseRule(text)
		if err != nil {
			return m, err
		}
		m.Rules = append(m.Rules, r)
	}
	for _, u := range c.Target {
		m.Targets = append(m.Targets, client.Target{URL: u})
	}
	for _, p := range c.Picture {
		picture, err := pictureOf(p)
		if err != nil {
			return m, err
		}
		m.Targets = append(m.Targets, client.Target{Picture: picture})
	}
	return m, c.capacities(m.Targets)
}

// capacities gives targets the capacities of the flag.
func (c *mintCmd) capacities(targets []client.Target) error {
	if len(c.Capacity) > 1 && len(c.Capacity) != len(targets) {
		return usagef("%d capacities for %d targets: give one for all, or one for each", len(c.Capacity), len(targets))
	}
	for i := range targets {
		switch len(c.Capacity) {
		case 0:
		case 1:
			targets[i].Capacity = &c.Capacity[0]
		default:
			targets[i].Capacity = &c.Capacity[i]
		}
	}
	return nil
}

// pictureOf is a picture as the gateway takes it: a URL, or a file's contents
// as a data: URI.
func pictureOf(text string) (string, error) {
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "data:") {
		return text, nil
	}
	b, err := os.ReadFile(text)
	if err != nil {
		return "", usagef("the picture %s cannot be read: name an image file or an https URL", clipText(text))
	}
	kind := http.DetectContentType(b)
	if !strings.HasPrefix(kind, "image/") {
		return "", usagef("%s is no image: name a PNG, JPEG or WebP file, or an https URL", clipText(text))
	}
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b), nil
}

// parseRule reads "limit=5,window=30s,…".
func parseRule(text string) (client.Rule, error) {
	var r client.Rule
	for _, part := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return r, usagef("--rule %q: write name=value, such as limit=5,window=30s", clipText(text))
		}
		switch name {
		case "id":
			r.ID = value
		case "scope":
			r.Scope = value
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return r, usagef("--rule %q: limit is a whole number from 1", clipText(text))
			}
			r.Limit = n
		case "window":
			r.Window = value
		case "action":
			r.Action = value
		case "for":
			r.For = value
		default:
			return r, usagef("--rule %q: there is no %q; use id, scope, limit, window, action and for", clipText(text), clipText(name))
		}
	}
	if r.Limit == 0 || r.Window == "" {
		return r, usagef("--rule %q: limit and window are needed, such as limit=5,window=30s", clipText(text))
	}
	return r, nil
}

// show prints a code that was minted: its picture for somebody at a terminal.
func (c *mintCmd) show(a *App, code client.Code) error {
	if c.JSON {
		return printJSON(a.Stdout, code.Raw)
	}
	if isTerminal(a.Stdout) {
		fmt.Fprintln(a.Stdout)
		if err := qr.Terminal(strings.ToUpper(code.ScanURL), a.Stdout); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout)
	}
	_, err := fmt.Fprintf(a.Stdout, "%s\t%s\n", code.ID, code.ScanURL)
	return err
}

// draw writes the pictures of a code, one for each of its variants.
func (c *mintCmd) draw(ctx context.Context, cl *client.Client, code client.Code, f form) error {
	if f == formNone {
		return nil
	}
	size := c.Size
	if l, _, err := c.sheet(); f == formPDF && size == 0 && err == nil {
		size = l.Pixels()
	}
	list := picturesOf(code)
	pngs := make([][]byte, len(list))
	for i, d := range list {
		var err error
		if pngs[i], err = cl.PNG(ctx, d.ID, size, d.Variant, c.Device); err != nil {
			return fmt.Errorf("picture of %s: %w", code.ID, err)
		}
	}
	return c.one(list, pngs)
}

// line prints one of many codes.
func (c *mintCmd) line(w io.Writer, code client.Code) error {
	if c.JSON {
		return printJSON(w, code.Raw)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\n", code.ID, code.ScanURL, plain(code.Name))
	return err
}
