package cli

import (
	"context"
	"encoding/base64"
	"fmt"
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

	From string `help:"CSV file to mint from, one code a row; its columns win over the flags." type:"path"`
	Out  string `help:"Folder, or file that ends in .zip, to write the pictures to as PNG." type:"path"`
	Size int    `help:"Pixels of a picture's side, with --out. Default: the gateway's."`
	Key  string `name:"idempotency-key" help:"Minting again with the same key returns the same code."`
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
	out, err := newPictures(c.Out)
	if err != nil {
		return err
	}
	if c.From != "" {
		return c.many(ctx, a, cl, base, out)
	}
	if len(base.Targets) == 0 {
		return usagef("say where the code leads: huoma mint https://example.com/group, or --picture")
	}
	minted, err := cl.Mint(ctx, base, c.Key)
	if err != nil {
		return err
	}
	if err := c.draw(ctx, a, cl, []client.Code{minted}, out); err != nil {
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

// draw writes the pictures of codes, and of each of their variants.
func (c *mintCmd) draw(ctx context.Context, a *App, cl *client.Client, codes []client.Code, out pictures) (err error) {
	if out == nil {
		return nil
	}
	defer func() {
		if cerr := out.close(err == nil); err == nil {
			err = cerr
		}
	}()
	bar := newProgress(a.Stderr, "pictures")
	defer bar.done()
	for i, code := range codes {
		for variant := range max(1, len(c.Variant)) {
			n, suffix := 0, ""
			if len(c.Variant) > 0 {
				n, suffix = variant+1, fmt.Sprintf("-v%d", variant+1)
			}
			b, err := cl.PNG(ctx, code.ID, c.Size, n)
			if err != nil {
				return fmt.Errorf("picture of %s: %w", code.ID, err)
			}
			if err := out.write(pictureName(code, suffix), b); err != nil {
				return err
			}
		}
		bar.update(i+1, len(codes))
	}
	return nil
}
