// Command huoma is the operator's tool: everything on one machine (huoma up),
// and the commands that talk to a running installation. Start at package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/cli"
	"github.com/huoma/huoma/internal/role"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == allinone.EngineCommand {
		os.Exit(allinone.RunEngine())
	}
	// The first signal drains; the second ends the program as it would have.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	app := &cli.App{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Up: up, ClickHouse: clickhouse, EngineLibrary: allinone.EngineLibrary}
	os.Exit(app.Main(ctx, os.Args[1:]))
}

// up runs every role and the embedded servers in this process group.
func up(ctx context.Context, o cli.UpOptions, ready func(cli.Addresses)) error {
	log := role.Logging{LogFormat: o.LogFormat, LogLevel: o.LogLevel}.Logger(os.Stderr)
	return allinone.Run(ctx, allinone.Options{
		DataDir: o.Data, APIKey: o.APIKey, Addr: o.Addr, PublicURL: o.PublicURL, NATSAddr: o.NATSAddr, NATSURL: o.NATSURL,
		ClickHouseAddr: o.ClickHouseAddr, ClickHouseHTTPAddr: o.ClickHouseHTTPAddr, ClickHouseURL: o.ClickHouseURL,
		Streams: o.Streams, RelaxedSync: o.Sync == "interval", TrustedProxies: o.TrustedProxies, RegisteredDomains: o.RegisteredDomains,
		AllowPrivateTargets: o.AllowPrivateTargets, QRFree: o.QRFree, Keyring: o.Keyring, SpoolDir: o.SpoolDir, SpoolBytes: o.SpoolBytes, Log: log,
	}, func(at allinone.Addresses) {
		ready(cli.Addresses{Gateway: at.Gateway, NATS: at.NATS, ClickHouse: at.ClickHouse, ClickHouseHTTP: at.ClickHouseHTTP, APIKey: o.APIKey})
	})
}

// clickhouse runs the embedded engine alone.
func clickhouse(ctx context.Context, o cli.ClickHouseOptions, ready func(cli.EngineAddresses)) error {
	return allinone.RunClickHouse(ctx, allinone.ClickHouseOptions{
		DataDir: o.Data, Addr: o.Addr, HTTPAddr: o.HTTPAddr, Log: o.Logger(os.Stderr),
	}, func(at allinone.Addresses) {
		ready(cli.EngineAddresses{ClickHouse: at.ClickHouse, ClickHouseHTTP: at.ClickHouseHTTP})
	})
}
