package cli

import (
	"context"
	"fmt"

	"github.com/huoma/huoma/internal/role"
)

// ClickHouseOptions are the flags of `huoma clickhouse`. Its addresses have
// also the names which they have for `huoma up`.
type ClickHouseOptions struct {
	role.Logging
	Addr     string `help:"Address to listen on for ClickHouse's own protocol, loopback; port 0 picks a free one." default:"127.0.0.1:9000" env:"HUOMA_CLICKHOUSE_ADDR" aliases:"clickhouse-addr"`
	HTTPAddr string `name:"http-addr" help:"Address to listen on for HTTP, loopback; port 0 picks a free one." default:"127.0.0.1:8123" env:"HUOMA_CLICKHOUSE_HTTP_ADDR" aliases:"clickhouse-http-addr"`
	Data     string `help:"Folder of the installation; the engine keeps its files in clickhouse below it, as under huoma up." default:"./data" type:"path"`
}

// EngineAddresses is where the engine answers, as the ready file has it.
type EngineAddresses struct {
	ClickHouse     string `json:"clickhouse"`      // host:port
	ClickHouseHTTP string `json:"clickhouse_http"` // http://host:port
}

// EngineRunner runs the embedded ClickHouse alone until ctx ends, and calls
// ready once it answers.
type EngineRunner func(ctx context.Context, o ClickHouseOptions, ready func(EngineAddresses)) error

type clickhouseCmd struct {
	ClickHouseOptions
	ReadyFile string `name:"ready-file" help:"File to write the addresses to, once it answers." type:"path"`
	JSON      bool   `name:"json" help:"Print the addresses as one JSON object."`
}

// Run is `huoma clickhouse`: it blocks until ctx ends and the engine has
// written what it has.
func (c *clickhouseCmd) Run(ctx context.Context, a *App) error {
	running, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var notReady error
	err := a.ClickHouse(running, c.ClickHouseOptions, func(at EngineAddresses) {
		if c.ReadyFile != "" {
			if notReady = writeReady(c.ReadyFile, at); notReady != nil {
				giveUp() // whoever waits for the file would wait for ever
				return
			}
		}
		if c.JSON {
			_ = printJSON(a.Stdout, at) // nobody may be reading
			return
		}
		fmt.Fprintf(a.Stdout, "ClickHouse answers at %s and %s. Ctrl-C stops it.\n", at.ClickHouse, at.ClickHouseHTTP)
	})
	if notReady != nil {
		return notReady
	}
	return err
}
