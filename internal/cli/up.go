package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/role"
)

// UpOptions are the flags of `huoma up`.
type UpOptions struct {
	role.Streams
	Addr                string   `help:"Address the gateway listens on; port 0 picks a free one." default:"127.0.0.1:8080"`
	PublicURL           string   `name:"public-url" help:"What pictures and links begin with, as phones reach it. Default: the gateway's address."`
	Data                string   `help:"Folder for everything that is kept." default:"./data" type:"path"`
	NATSAddr            string   `name:"nats-addr" help:"Address the embedded NATS server listens on, loopback." default:"127.0.0.1:4222"`
	NATSURL             string   `name:"nats-url" help:"A NATS server with JetStream to use instead of the embedded one."`
	ClickHouseAddr      string   `name:"clickhouse-addr" help:"Address the embedded ClickHouse listens on for its own protocol, loopback." default:"127.0.0.1:9000"`
	ClickHouseHTTPAddr  string   `name:"clickhouse-http-addr" help:"Address the embedded ClickHouse listens on for HTTP, loopback." default:"127.0.0.1:8123"`
	ClickHouseURL       string   `name:"clickhouse-url" help:"A ClickHouse to use instead of the embedded one, as clickhouse://user:password@host:9000/huoma."`
	APIKey              string   `name:"api-key" help:"Key of the admin calls. Default: drawn at the first start and kept in the data folder."`
	TrustedProxies      string   `name:"trusted-proxies" help:"Networks whose X-Forwarded-For is believed, separated by commas."`
	RegisteredDomains   []string `name:"registered-domains" help:"Domains that profiles which ask for it may lead to, separated by commas."`
	QRFree              []string `name:"qr-free" help:"Profiles whose symbols may grow past their QR version, where --public-url is too long for it, separated by commas."`
	AllowPrivateTargets bool     `name:"allow-private-targets" help:"Let targets lead into private networks."`
	Keyring             string   `help:"File with the keys that seal tokens. Default: keyring.json in the data folder." type:"path"`
	Sync                string   `help:"When the embedded NATS syncs its files: always, before it acknowledges, or interval, every two minutes: a power cut then loses what was acknowledged since." enum:"always,interval" default:"always"`
	SpoolDir            *string  `name:"spool-dir" help:"Folder for events that NATS does not take for now; an empty value turns it off, and callers get 503 then. Default: spool in the data folder."`
	SpoolBytes          int64    `name:"spool-bytes" help:"Most bytes of that folder." default:"268435456"`
	LogFormat           string   `name:"log-format" help:"Form of the log on standard error: text or json." enum:"text,json" default:"text"`
	LogLevel            string   `name:"log-level" help:"Least level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	ReadyFile           string   `name:"ready-file" help:"File to write the addresses to, once everything answers." type:"path"`
}

// Addresses is where everything answers, as the ready file has it.
type Addresses struct {
	Gateway        string `json:"gateway"`         // http://host:port
	NATS           string `json:"nats"`            // nats://host:port
	ClickHouse     string `json:"clickhouse"`      // host:port
	ClickHouseHTTP string `json:"clickhouse_http"` // http://host:port
	APIKey         string `json:"api_key"`
}

type upCmd struct {
	UpOptions
	Demo   bool  `help:"Publish a few minutes of simulated traffic as well."`
	JSON   bool  `name:"json" help:"Print the addresses and the first code as one JSON object."`
	Events int   `help:"With --demo: events of simulated traffic." default:"12000"`
	Rate   int   `help:"With --demo: events a second." default:"60"`
	Seed   int64 `help:"With --demo: what happens." default:"1"`
}

type demoCmd struct {
	UpOptions
	JSON   bool  `name:"json" help:"Print the addresses and the first code as one JSON object."`
	Events int   `help:"Events of simulated traffic." default:"12000"`
	Rate   int   `help:"Events a second." default:"60"`
	Seed   int64 `help:"What happens." default:"1"`
}

// Run is `huoma demo`: up with --demo.
func (c *demoCmd) Run(ctx context.Context, a *App) error {
	up := upCmd{UpOptions: c.UpOptions, Demo: true, JSON: c.JSON, Events: c.Events, Rate: c.Rate, Seed: c.Seed}
	return up.Run(ctx, a)
}

// Run is `huoma up`: it blocks until ctx ends and everything has drained.
func (c *upCmd) Run(ctx context.Context, a *App) error {
	o := c.UpOptions
	if o.Partitions < 0 {
		return usagef("--partitions %d is not possible: write a number from 1, or leave it out", o.Partitions)
	}
	if c.Demo && (c.Events < 1 || c.Rate < 1) {
		return usagef("--events and --rate of a demo are at least 1")
	}
	if err := (role.Gateway{Addr: o.Addr, PublicURL: o.PublicURL, TrustedProxies: o.TrustedProxies, QRFree: o.QRFree}).CheckFlags(); err != nil {
		return usagef("%v", err)
	}
	if o.APIKey == "" {
		key, err := readKey(o.Data)
		if err != nil {
			return err
		}
		if o.APIKey = key; key == "" {
			o.APIKey = newKey()
		}
	}
	if c.Demo && o.TrustedProxies == "" {
		o.TrustedProxies = "127.0.0.0/8,::1" // the simulated visitors come by way of us
	}
	// The demo's traffic ends before the installation drains.
	demo := make(chan struct{})
	traffic, stop := context.WithCancel(ctx)
	defer func() { stop(); <-demo }()
	started := false
	var notReady error
	running, giveUp := context.WithCancel(ctx)
	defer giveUp()
	err := a.Up(running, o, func(at Addresses) {
		a.welcome(ctx, c, at)
		if o.ReadyFile != "" {
			if notReady = writeReady(o.ReadyFile, at); notReady != nil {
				giveUp() // whoever waits for the file would wait for ever
				return
			}
		}
		if c.Demo {
			started = true
			go func() {
				defer close(demo)
				a.demo(traffic, c, at)
			}()
		}
	})
	if !started {
		close(demo)
	}
	if notReady != nil {
		return notReady
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // asked to stop, and did
	}
	if o.ClickHouseURL != "" {
		return storeError(o.ClickHouseURL, err)
	}
	return err
}

// welcome keeps the key and tells where everything is. On the first start it
// mints a code, so that there is something to scan. What goes wrong here is
// said, but everything keeps running.
func (a *App) welcome(ctx context.Context, c *upCmd, at Addresses) {
	if err := writeKey(c.Data, at.APIKey); err != nil {
		fmt.Fprintf(a.Stderr, "huoma: %v\n", err)
	}
	first, n, err := firstCode(ctx, at)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(a.Stderr, "huoma: everything runs, but the first code could not be minted: %v\n", err)
	}
	if c.JSON {
		out := struct {
			Addresses
			Codes int    `json:"codes"`
			Code  string `json:"code,omitempty"`
			Scan  string `json:"scan_url,omitempty"`
		}{at, n, first.ID, first.ScanURL}
		_ = printJSON(a.Stdout, out)
		return
	}
	banner(a.Stdout, c.Data, at, first, n)
}

// firstCode mints the first code of an installation that has none. It returns
// the code, if it minted one, and how many there are.
func firstCode(ctx context.Context, at Addresses) (client.Code, int, error) {
	cl, err := client.New(at.Gateway, at.APIKey)
	if err != nil {
		return client.Code{}, 0, err
	}
	n, err := cl.Count(ctx)
	if err != nil || n > 0 {
		return client.Code{}, n, err
	}
	first, err := cl.Mint(ctx, client.Mint{
		Name: "Welcome", Profile: "wecom-group", Targets: []client.Target{{URL: "https://example.com/welcome"}},
	}, "huoma-up-welcome")
	if err != nil {
		return client.Code{}, 0, err
	}
	return first, 1, nil
}

// banner writes what somebody who has just typed `huoma up` wants to know.
func banner(w io.Writer, data string, at Addresses, first client.Code, codes int) {
	var b strings.Builder
	warehouse := at.ClickHouse + "   " + at.ClickHouseHTTP
	if at.ClickHouse == "" {
		warehouse = "the one of --clickhouse-url"
	}
	fmt.Fprintf(&b, "\nHuoma is up.\n\n  gateway     %s\n  nats        %s\n  clickhouse  %s\n  api key     %s   (kept in %s)\n\n",
		at.Gateway, redactNATS(at.NATS), warehouse, at.APIKey, keyFile(data))
	switch {
	case first.ID != "":
		if err := qr.Terminal(strings.ToUpper(first.ScanURL), &b); err != nil {
			fmt.Fprintf(&b, "  (%v)\n", err)
		}
		fmt.Fprintf(&b, "\n  first code  %s   %q\n  scan url    %s\n\n", first.ID, first.Name, first.ScanURL)
		fmt.Fprintf(&b, "  Scan it, here:      %shuoma scan %s\n", gatewayHint(at), first.ID)
	case codes == 1:
		fmt.Fprintf(&b, "  This installation has 1 code: huoma codes lists it.\n\n")
	default:
		fmt.Fprintf(&b, "  This installation has %d codes: huoma codes lists them.\n\n", codes)
	}
	if at.ClickHouseHTTP != "" {
		fmt.Fprintf(&b, "  See it arrive:      %shuoma query 'SELECT ts, code_id, verdict, rule FROM scans ORDER BY ts DESC LIMIT 5'\n", queryHint(at))
	}
	fmt.Fprintf(&b, "  Ctrl-C drains and stops.\n\n")
	_, _ = io.WriteString(w, b.String()) // nobody may be reading
}

// gatewayHint is what commands need where the gateway is not at the default address.
func gatewayHint(at Addresses) string {
	if at.Gateway == "http://127.0.0.1:8080" {
		return ""
	}
	return "HUOMA_GATEWAY=" + at.Gateway + " "
}

// queryHint is the same for ClickHouse.
func queryHint(at Addresses) string {
	if at.ClickHouseHTTP == "http://127.0.0.1:8123" {
		return ""
	}
	return "HUOMA_CLICKHOUSE_HTTP=" + at.ClickHouseHTTP + " "
}

// demo publishes simulated traffic and says what it was.
func (a *App) demo(ctx context.Context, c *upCmd, at Addresses) {
	s := simulateCmd{
		access: access{Gateway: at.Gateway, APIKey: at.APIKey, Data: c.Data, JSON: c.JSON},
		Events: c.Events, Seed: c.Seed, Rate: float64(c.Rate), NATSURL: at.NATS, Direct: defaultDirect, Stream: defaultStream, Hours: defaultHours, History: demoHistory,
	}
	if !c.JSON {
		fmt.Fprintf(a.Stdout, "  Simulated traffic for about %s …\n\n", (time.Duration(c.Events/c.Rate) * time.Second).Round(time.Second))
	}
	err := s.Run(ctx, a)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(a.Stderr, "huoma: the simulated traffic ended early: %s\n", oneLine(err.Error()))
	}
}

// ownerOnly makes a file that others cannot read.
func ownerOnly(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}
