package chstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// A server that lost power may remember tokens of rows that are gone, and have rows whose tokens it has forgotten: what it writes of tokens
// is not synced with the rows. So a batch that is repeated over a restart is held against the tables instead.

// starts remembers, by partition, when the server had started at the first attempt of the batch under way.
type starts struct {
	mu   sync.Mutex
	seen map[int]firstAttempt
}

type firstAttempt struct {
	token   string
	started time.Time
}

// startSlack is what two readings of one start may differ by: the server counts whole seconds. Of two starts that are no further apart, the
// second is known by how short ago it is, youngServer: who is in doubt looks at the tables. Another process's batch is taken for one of
// before a restart when that came so much after it was begun, the two clocks being two.
const (
	startSlack  = 1200 * time.Millisecond
	youngServer = 5 * time.Second
	clockSlack  = 5 * time.Second
)

// serverStart is when the server started, by its own clock, and for how many whole seconds it has been up.
func (s *Store) serverStart(ctx context.Context) (at time.Time, up time.Duration, err error) {
	var now, seconds int64
	if err := s.conn.QueryRow(ctx, "SELECT toUnixTimestamp64Milli(now64(3)), toInt64(uptime())").Scan(&now, &seconds); err != nil {
		return time.Time{}, 0, s.wrap("ask how long the server has been up", err)
	}
	up = time.Duration(seconds) * time.Second
	return time.UnixMilli(now).Add(-up), up, nil
}

// restarted reports whether the server has started since a batch was first tried. Called at the first attempt, it notes the server's start.
func (s *Store) restarted(ctx context.Context, b events.Batch) (bool, error) {
	now, up, err := s.serverStart(ctx)
	if err != nil {
		return false, err
	}
	s.starts.mu.Lock()
	defer s.starts.mu.Unlock()
	if first, ok := s.starts.seen[b.Partition]; ok && first.token == b.Token {
		return now.Sub(first.started) > startSlack || up < youngServer, nil
	}
	if b.Replayed { // it was another process's
		return now.Add(clockSlack).After(b.At), nil
	}
	if s.starts.seen == nil {
		s.starts.seen = make(map[int]firstAttempt)
	}
	s.starts.seen[b.Partition] = firstAttempt{b.Token, now}
	return false, nil
}

// rollup is a table that a view fills from another.
type rollup struct {
	table, name, view string
	keys              string // by which both can be counted; a partition's own
	rows, sum         string // what to count in the table and in the rollup
}

var rollupsOf = []rollup{
	{"scans", "scans_hourly", "scans_hourly_mv", "code_id, toStartOfHour(ts)", "count()", "sum(scans)"},
	{"members", "members_hourly", "members_hourly_mv", "code_id, toStartOfHour(ts)", "count()", "sum(events)"},
	{"conversions", "conversions_hourly", "conversions_hourly_mv", "code_id, toStartOfHour(ts)", "count()", "sum(events)"},
	{"forged", "forged_hourly", "forged_hourly_mv", "tenant, toStartOfHour(ts)", "sum(count)", "sum(scans)"},
}

// mendRollups tells the rollups of a batch's rows which the tables have had since before a restart and the rollups may not: the power may
// have gone between the two. Every code is one partition's, and nothing else of the partition is under way.
func (s *Store) mendRollups(ctx context.Context, b events.Batch) error {
	var all []error
	for _, r := range rollupsOf {
		if err := s.mendRollup(ctx, b, r); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func (s *Store) mendRollup(ctx context.Context, b events.Batch, r rollup) error {
	const mine = "partition = ? AND ingested_at = fromUnixTimestamp64Milli(?)"
	op := "hold " + r.name + " against " + r.table
	touched := "(SELECT DISTINCT " + r.keys + " FROM " + r.table + " WHERE " + mine + ")"
	var raw, up int64
	args := []any{uint16(b.Partition), b.At.UnixMilli()}
	err := s.conn.QueryRow(ctx, "SELECT toInt64("+r.rows+") FROM "+r.table+" WHERE ("+r.keys+") IN "+touched, args...).Scan(&raw)
	if err == nil {
		err = s.conn.QueryRow(ctx, "SELECT toInt64("+r.sum+") FROM "+r.name+" WHERE ("+strings.Replace(r.keys, "toStartOfHour(ts)", "hour", 1)+") IN "+touched, args...).Scan(&up)
	}
	if err != nil {
		return s.wrap(op, err)
	}
	if raw <= up { // more is no trouble: rows expire, rollups do not
		return nil
	}
	var define string
	if err := s.conn.QueryRow(ctx, "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = ?", r.view).Scan(&define); err != nil {
		return s.wrap(op, err)
	}
	from := " FROM " + s.database + "." + r.table + " "
	before, after, ok := strings.Cut(define+" ", from)
	if !ok || strings.Contains(after, from) {
		return &Error{Op: op, Class: Never, Err: fmt.Errorf("the view %s is not as this program knows it; compare it with `huoma migrate --print`", r.view)}
	}
	s.log.Warn("rows that a rollup was not told of before the warehouse went down are told again", "table", r.name, "partition", b.Partition, "short", raw-up)
	insert := "INSERT INTO " + r.name + " " + before + " FROM (SELECT * FROM " + r.table + " WHERE " + mine + ") " + after
	if err := s.conn.Exec(ctx, insert, args...); err != nil {
		return s.wrap("tell "+r.name+" again", err)
	}
	return nil
}
