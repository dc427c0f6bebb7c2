package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/token/keyfile"
)

func TestKeysNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if out := run(t, "keys", "new", "--keyring", path).ok(t); !strings.Contains(out, path) || strings.Count(out, "\n") != 1 {
		t.Errorf("says %q", out)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Load(path); err != nil { // it minds the mode
		t.Error(err)
	}
	if r := run(t, "keys", "new", "--keyring", path); r.code != exitError {
		t.Errorf("written over: %+v", r)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(made) {
		t.Errorf("the keyring has changed: %v", err)
	}
	if out := run(t, "keys", "new", "--json", "--keyring", path+"2").ok(t); out != `{"keyring":"`+path+"2\"}\n" {
		t.Errorf("as JSON: %q", out)
	}
}

func TestClickHouseTellsItsAddresses(t *testing.T) {
	at := EngineAddresses{ClickHouse: "127.0.0.1:9000", ClickHouseHTTP: "http://127.0.0.1:8123"}
	var got ClickHouseOptions
	app := &App{ClickHouse: func(ctx context.Context, o ClickHouseOptions, ready func(EngineAddresses)) error {
		got = o
		ready(at)
		return ctx.Err() // nil unless the command gives up
	}}
	dir := t.TempDir()
	file := filepath.Join(dir, "ready.json")
	// What leads huoma up to other addresses leads this there as well.
	t.Setenv("HUOMA_CLICKHOUSE_HTTP_ADDR", "127.0.0.1:8124")
	out := runApp(t, app, "", "clickhouse", "--clickhouse-addr", "127.0.0.1:9001", "--data", dir, "--ready-file", file).ok(t)
	if !strings.Contains(out, at.ClickHouse) || !strings.Contains(out, at.ClickHouseHTTP) {
		t.Errorf("says %q", out)
	}
	if got.Addr != "127.0.0.1:9001" || got.HTTPAddr != "127.0.0.1:8124" || got.Data != dir || got.LogFormat != "text" {
		t.Errorf("options %+v", got)
	}
	var told EngineAddresses
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &told) != nil || told != at {
		t.Errorf("the ready file says %s, %v", b, err)
	}
	if out := runApp(t, app, "", "clickhouse", "--json").ok(t); json.Unmarshal([]byte(out), &told) != nil || told != at || strings.Contains(out, "Ctrl-C") {
		t.Errorf("as JSON: %q", out)
	}
	if r := runApp(t, app, "", "clickhouse", "--ready-file", filepath.Join(dir, "none", "ready.json")); r.code != exitError || !strings.Contains(r.stderr, "--ready-file") {
		t.Errorf("a ready file that cannot be written: %+v", r)
	}
	app.ClickHouse = func(context.Context, ClickHouseOptions, func(EngineAddresses)) error { return errors.New("no library") }
	if r := runApp(t, app, "", "clickhouse"); r.code != exitError || r.stderr != "huoma: no library\n" {
		t.Errorf("an engine that does not start: %+v", r)
	}
}
