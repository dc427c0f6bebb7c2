package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/huoma/huoma/internal/cli/client"
)

type queryCmd struct {
	SQL            string `arg:"" optional:"" help:"The statement; - or nothing reads it from standard input."`
	ClickHouseHTTP string `name:"clickhouse-http" help:"ClickHouse's HTTP address, with user:password@ where it needs them." default:"http://127.0.0.1:8123"`
	Database       string `help:"Database that table names without one belong to." default:"huoma"`
	Format         string `help:"Output format of ClickHouse, such as PrettyCompact, JSONEachRow or CSV. Default: PrettyCompact on a terminal, else TabSeparated."`
	JSON           bool   `name:"json" help:"Print one JSON object a line: --format JSONEachRow."`
}

// Run sends the statement and streams what comes back.
func (c *queryCmd) Run(ctx context.Context, a *App) error {
	sql := c.SQL
	if sql == "" && isTerminal(a.Stdin) {
		return usagef("write the statement: huoma query 'SELECT count() FROM scans'")
	}
	if sql == "" || sql == "-" {
		b, err := io.ReadAll(io.LimitReader(a.Stdin, 16<<20))
		if err != nil {
			return fmt.Errorf("the statement cannot be read from standard input: %w", err)
		}
		sql = string(b)
	}
	if strings.TrimSpace(sql) == "" {
		return usagef("the statement is empty: write one, such as SELECT count() FROM scans")
	}
	format := c.Format
	switch {
	case c.JSON && format != "" && format != "JSONEachRow":
		return usagef("--json and --format %s are two different things: leave one out", format)
	case c.JSON:
		format = "JSONEachRow"
	case format == "" && isTerminal(a.Stdout):
		format = "PrettyCompact"
	case format == "":
		format = "TabSeparated"
	}
	resp, err := clickhouse(ctx, c.ClickHouseHTTP, c.Database, format, sql)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(a.Stdout, resp.Body); err != nil && ctx.Err() == nil {
		return errors.New("ClickHouse ended the answer early: run the statement again, and see ClickHouse's log if that lasts")
	}
	return ctx.Err()
}

// clickhouse sends one statement and returns the answer to be read. A refusal
// is an error with the server's own words.
func clickhouse(ctx context.Context, address, database, format, sql string) (*http.Response, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("--clickhouse-http is no address: write it as http://127.0.0.1:8123")
	}
	q := u.Query()
	if database != "" {
		q.Set("database", database)
	}
	q.Set("default_format", format)
	u.RawQuery = q.Encode()
	user := u.User
	u.User = nil
	if u.Path == "" {
		u.Path = "/"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(sql))
	if err != nil {
		return nil, err
	}
	if user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no ClickHouse answers at %s://%s (%w): start one with `huoma up`, or name another with --clickhouse-http", u.Scheme, u.Host, client.Cause(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // the status alone says that it failed
	said := strings.TrimSpace(string(text))
	if said == "" {
		said = resp.Status
	}
	return nil, fmt.Errorf("ClickHouse refused the statement: %s", plain(said))
}
