package chstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// CodeRefused is the reason of a dead letter that ClickHouse did not take.
const CodeRefused events.Code = "warehouse_refused"

// replayMargin is the number of later batches after which an insert may have left a table's deduplication window, as long as no table has
// rows of more than so many months: a batch is a block in every month it touches, and history may touch many.
const (
	replayMargin = dedupWindow / replayMonths
	replayMonths = 10
)

// Insert stores a batch: one insert a table, each known by the batch's token and the table, the commits table last, so that what
// reconcile takes as the log's account never runs ahead of the rows. It blocks until the server has everything or until an error;
// after an error, the same batch may and must be inserted again, whatever had been stored. Rows the server refuses are left out and
// returned as dead letters.
//
// A replayed batch that may be older than the deduplication windows, that the log no longer has in full, or over which the server was
// started anew, is compared with the tables first, and only what is missing is inserted.
func (s *Store) Insert(ctx context.Context, b events.Batch) (events.Inserted, error) {
	if b.Token == "" {
		return events.Inserted{}, &Error{Op: "insert", Class: Never, Err: ErrNoToken}
	}
	rows, err := rowsOf(b)
	if err != nil {
		return events.Inserted{}, &Error{Op: "unpack a batch", Class: Never, Err: err}
	}
	res := events.Inserted{Rows: map[string]int{}}
	token := b.Token
	restarted, err := s.restarted(ctx, b)
	if err != nil {
		return res, err
	}
	if b.Replayed && len(rows.commits) > 0 {
		look := b.Partial || restarted
		if !look {
			if look, err = s.leftWindow(ctx, b); err != nil {
				return res, err
			}
		}
		if look {
			before := rows.count()
			if err := s.dropStored(ctx, b.Partition, rows); err != nil {
				return res, err
			}
			res.Skipped = before - rows.count()
			// Other rows than the first time, so another token: under the old one they would be dropped in silence. Nor is the old one to
			// be trusted after a restart.
			token = fmt.Sprintf("%s/rest-%d", token, rows.count())
			if restarted {
				first, _, err := s.serverStart(ctx)
				if err != nil {
					return res, err
				}
				token += fmt.Sprintf("-%d", first.Truncate(10*time.Second).Unix())
			}
		}
	}
	for _, step := range []func() error{
		func() error {
			return put(ctx, s, scansTable, rows.scans, token, &res, func(r *scanRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, membersTable, rows.members, token, &res, func(r *memberRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, conversionsTable, rows.conversions, token, &res, func(r *conversionRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, forgedTable, rows.forged, token, &res, func(r *forgedRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, alertsTable, rows.alerts, token, &res, func(r *noticeRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, decisionsTable, rows.decisions, token, &res, func(r *noticeRow) *place { return &r.place })
		},
		func() error {
			return put(ctx, s, codesTable, rows.codes, token, &res, func(r *codeRow) *place { return &r.place })
		},
		func() error {
			if !b.Replayed || !restarted || res.Skipped == 0 { // what was inserted now, the rollups were told of
				return nil
			}
			return s.mendRollups(ctx, b)
		},
		func() error {
			if len(rows.commits) == 0 {
				return nil
			}
			if err := insert(ctx, s, commitsTable, rows.commits, token); err != nil {
				return err
			}
			res.Rows["commits"] = len(rows.commits)
			return nil
		},
	} {
		if err := step(); err != nil {
			return events.Inserted{}, err
		}
	}
	return res, nil
}

// put inserts one table's rows, and makes dead letters of those refused.
func put[R any](ctx context.Context, s *Store, t table[R], rows []R, token string, res *events.Inserted, of func(*R) *place) error {
	if len(rows) == 0 {
		return nil
	}
	refused, err := isolate(ctx, s, t, rows, token)
	if err != nil {
		return err
	}
	res.Rows[t.name] = len(rows) - len(refused)
	for _, r := range refused {
		p := of(&rows[r.row])
		data, err := p.dead()
		if err != nil {
			return &Error{Op: "write a dead letter", Class: Never, Err: err}
		}
		res.Dead = append(res.Dead, events.DeadLetter{
			Partition: int(p.partition), Seq: p.seq, Idx: int(p.idx), Kind: t.name, Subject: events.CommitSubject(int(p.partition)), Data: data,
			Reason: CodeRefused, Detail: fmt.Sprintf("table %s: %s", t.name, reason(r.err)),
		})
	}
	return nil
}

func (r *rowSet) count() int {
	return len(r.scans) + len(r.members) + len(r.conversions) + len(r.forged) + len(r.alerts) + len(r.decisions) + len(r.codes) + len(r.commits)
}

// leftWindow reports whether so many batches have come in since b that the tables may have forgotten its tokens. Each batch of any
// partition has a commits row with its own ingested_at.
func (s *Store) leftWindow(ctx context.Context, b events.Batch) (bool, error) {
	var later uint64
	err := s.conn.QueryRow(ctx, "SELECT uniqExact(partition, ingested_at) FROM commits WHERE ingested_at > fromUnixTimestamp64Milli(?)", b.At.UnixMilli()).Scan(&later)
	if err != nil {
		return false, s.wrap("count the batches since", err)
	}
	var months uint64
	err = s.conn.QueryRow(ctx, "SELECT uniqExact(partition) FROM system.parts WHERE active AND database = currentDatabase() AND `table` IN ('scans', 'members', 'conversions')").Scan(&months)
	if err != nil {
		return false, s.wrap("count the months there are", err)
	}
	return later > dedupWindow/max(months, replayMonths), nil
}

// dropStored takes out of rows those the tables have. Codes are left in: writing a state again changes nothing.
func (s *Store) dropStored(ctx context.Context, partition int, rows *rowSet) error {
	return errors.Join(
		drop(ctx, s, "scans", partition, &rows.scans, func(r *scanRow) [2]uint64 { return r.where() }),
		drop(ctx, s, "members", partition, &rows.members, func(r *memberRow) [2]uint64 { return r.where() }),
		drop(ctx, s, "conversions", partition, &rows.conversions, func(r *conversionRow) [2]uint64 { return r.where() }),
		drop(ctx, s, "forged", partition, &rows.forged, func(r *forgedRow) [2]uint64 { return r.where() }),
		drop(ctx, s, "alerts", partition, &rows.alerts, func(r *noticeRow) [2]uint64 { return r.where() }),
		drop(ctx, s, "decisions", partition, &rows.decisions, func(r *noticeRow) [2]uint64 { return r.where() }),
		dropSteps(ctx, s, partition, &rows.commits),
	)
}

func (p *place) where() [2]uint64 { return [2]uint64{p.seq, uint64(p.idx)} }

func drop[R any](ctx context.Context, s *Store, table string, partition int, rows *[]R, where func(*R) [2]uint64) error {
	if len(*rows) == 0 {
		return nil
	}
	low, high := where(&(*rows)[0])[0], uint64(0)
	for i := range *rows {
		seq := where(&(*rows)[i])[0]
		low, high = min(low, seq), max(high, seq)
	}
	return keepMissing(ctx, s, table, "SELECT stream_seq, toUInt64(idx) FROM "+table+" WHERE partition = ? AND stream_seq BETWEEN ? AND ?", partition, low, high, rows, where)
}

func dropSteps(ctx context.Context, s *Store, partition int, rows *[]commitRow) error {
	if len(*rows) == 0 {
		return nil
	}
	low, high := (*rows)[0].c.Step, (*rows)[len(*rows)-1].c.Step
	return keepMissing(ctx, s, "commits", "SELECT step, toUInt64(0) FROM commits WHERE partition = ? AND step BETWEEN ? AND ?", partition, low, high, rows,
		func(r *commitRow) [2]uint64 { return [2]uint64{r.c.Step, 0} })
}

func keepMissing[R any](ctx context.Context, s *Store, table, sql string, partition int, low, high uint64, rows *[]R, where func(*R) [2]uint64) error {
	op := "ask " + table + " what it has"
	found, err := s.conn.Query(ctx, sql, uint16(partition), low, high)
	if err != nil {
		return s.wrap(op, err)
	}
	defer found.Close()
	has := make(map[[2]uint64]bool)
	for found.Next() {
		var k [2]uint64
		if err := found.Scan(&k[0], &k[1]); err != nil {
			return s.wrap(op, err)
		}
		has[k] = true
	}
	if err := found.Err(); err != nil {
		return s.wrap(op, err)
	}
	*rows = slices.DeleteFunc(*rows, func(r R) bool { return has[where(&r)] })
	return nil
}
