package allinone

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/huoma/huoma/internal/chembed"
)

// EngineCommand is the hidden first argument with which the embedded
// ClickHouse starts this program again as its child. A main that calls Run
// calls RunEngine when it sees it, before anything else.
const EngineCommand = chembed.ChildCommand

// RunEngine is the embedded ClickHouse's process. It returns the exit status.
func RunEngine() int { return chembed.RunChild() }

// EngineLibrary returns the path of the embedded ClickHouse's library, or an
// error that says how to get it.
func EngineLibrary() (string, error) { return chembed.FindLibrary("") }

// ClickHouseOptions say how to run the embedded ClickHouse alone. DataDir is
// required.
type ClickHouseOptions struct {
	DataDir  string // of the installation, as in Options: the engine has the folder clickhouse in it
	Addr     string // loopback; port 0 picks a free one
	HTTPAddr string // likewise
	Log      *slog.Logger
}

// RunClickHouse starts the embedded ClickHouse and nothing else, calls ready
// once it answers, and runs until ctx ends. The addresses told to ready are
// ClickHouse, ClickHouseHTTP and Engine; the others are empty.
func RunClickHouse(ctx context.Context, o ClickHouseOptions, ready func(Addresses)) error {
	ch, err := chembed.New(chembed.Options{DataDir: engineDir(o.DataDir), Addr: o.Addr, HTTPAddr: o.HTTPAddr, Log: o.Log})
	if err != nil {
		return err
	}
	ready(Addresses{ClickHouse: ch.Addr(), ClickHouseHTTP: "http://" + ch.HTTPAddr(), Engine: ch.PID})
	return ch.Run(ctx)
}

// engineDir is the engine's part of an installation's folder.
func engineDir(data string) string { return filepath.Join(data, "clickhouse") }
