package chembed_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/huoma/huoma/internal/chembed/chtest"
)

// TestKillByID: a query is stopped by the id its client gave it, from wherever.
func TestKillByID(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c, other := open(t, s), open(t, s)
	const long = "SELECT sum(sleepEachRow(0.05)) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1"
	const running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
	native := func() error {
		return c.Exec(clickhouse.Context(t.Context(), clickhouse.WithQueryID("it's mine")), long)
	}
	web := func() error {
		resp, err := http.Get("http://" + s.HTTPAddr() + q(long, "query_id", "it's mine"))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return errors.New(string(body))
	}
	for name, query := range map[string]func() error{"native": native, "HTTP": web} {
		for _, kill := range []func(){
			func() { mustExec(t, other, `KILL QUERY WHERE query_id = 'it\'s mine' ASYNC`) },
			func() { do(t, s, http.MethodPost, "/", "KILL QUERY WHERE query_id IN ('another', 'it''s mine')") },
		} {
			until(t, func() bool { return count(t, other, running) == 0 }) // the one before may still be listed
			done := make(chan error, 1)
			go func() { done <- query() }()
			until(t, func() bool { return count(t, other, running) == 1 })
			if err := other.Exec(clickhouse.Context(t.Context(), clickhouse.WithQueryID("it's mine")), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "already running") {
				t.Errorf("%s: a second query of the same id: %v", name, err)
			}
			mustExec(t, other, "KILL QUERY WHERE query_id = 'nobody'")
			kill()
			if err := <-done; err == nil || !strings.Contains(err.Error(), "394") && !strings.Contains(err.Error(), "cancelled") {
				t.Errorf("%s: it ends with %v", name, err)
			}
			if err := other.Exec(clickhouse.Context(t.Context(), clickhouse.WithQueryID("it's mine")), "SELECT 1"); err != nil {
				t.Errorf("%s: the id cannot be used again: %v", name, err)
			}
		}
	}
}
