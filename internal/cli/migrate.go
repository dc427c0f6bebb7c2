package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/huoma/huoma/internal/chstore"
)

type migrateCmd struct {
	ClickHouseURL string `name:"clickhouse-url" help:"ClickHouse to migrate, as clickhouse://user:password@host:9000/huoma." default:"clickhouse://127.0.0.1:9000/huoma"`
	RetentionDays int    `name:"retention-days" help:"Days that rows of the log are kept; 0 is for ever." default:"0"`
	Print         bool   `help:"Print the SQL for the owner of the database, and change nothing."`
	JSON          bool   `name:"json" help:"Print the outcome as one JSON object."`
}

// Run brings the schema up to date.
func (c *migrateCmd) Run(ctx context.Context, a *App) error {
	if c.RetentionDays < 0 {
		return usagef("--retention-days is a whole number from 0")
	}
	store, err := chstore.Open(ctx, chstore.Options{URL: c.ClickHouseURL, RetentionDays: c.RetentionDays})
	if err != nil {
		return usagef("--clickhouse-url: %v", err)
	}
	defer store.Close()
	if c.Print {
		_, err := fmt.Fprint(a.Stdout, chstore.MigrationSQL(store.Database(), c.RetentionDays))
		return err
	}
	from, err := store.SchemaVersion(ctx)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		return storeError(c.ClickHouseURL, err)
	}
	to, err := store.SchemaVersion(ctx)
	if err != nil {
		return storeError(c.ClickHouseURL, err)
	}
	if c.JSON {
		return printJSON(a.Stdout, map[string]any{"database": store.Database(), "from": from, "to": to})
	}
	if from == to {
		_, err = fmt.Fprintf(a.Stdout, "the schema of %s is up to date (version %d)\n", store.Database(), to)
	} else {
		_, err = fmt.Fprintf(a.Stdout, "the schema of %s went from version %d to %d\n", store.Database(), from, to)
	}
	return err
}

// storeError adds what to do when nobody answered.
func storeError(url string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no ClickHouse answers at %s (%w): start it, or name another with --clickhouse-url", chstore.Redact(url), err)
	}
	return err
}
