package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/importing"
	"github.com/huoma/huoma/internal/natsjs"
)

// importGateway is a gateway as an import needs it.
type importGateway struct {
	c     *client.Client
	names map[string]string // name → code id; "" when several codes have it
}

// Publish stores a batch.
func (g *importGateway) Publish(ctx context.Context, batch []byte) error {
	err := g.c.Publish(ctx, batch)
	var p *client.Problem
	if errors.As(err, &p) && p.Status == http.StatusBadRequest && p.Index != nil {
		one := *p
		one.Index = nil
		return &importing.Refused{Index: *p.Index, Reason: one.Error()}
	}
	return err
}

// Codes finds codes.
func (g *importGateway) Codes(ctx context.Context, kind importing.CodeKind, list []string) ([]importing.CodeRef, error) {
	out := make([]importing.CodeRef, len(list))
	switch kind {
	case importing.CodeToken:
		for from := 0; from < len(list); from += events.MaxBatch {
			some := list[from:min(from+events.MaxBatch, len(list))]
			codes, err := g.c.Tokens(ctx, some)
			if err != nil {
				return nil, err
			}
			for i, id := range codes {
				out[from+i] = importing.CodeRef{ID: id, Token: strings.ToUpper(some[i]), Reason: "token of another installation, or forged", Skip: true}
			}
		}
	case importing.CodeName:
		if g.names == nil {
			names := make(map[string]string)
			err := g.c.Codes(ctx, 0, func(c client.Code) error {
				if _, twice := names[c.Name]; twice {
					names[c.Name] = ""
				} else {
					names[c.Name] = c.ID
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			g.names = names
		}
		for i, name := range list {
			id, known := g.names[name]
			out[i] = importing.CodeRef{ID: id, Reason: "no code has this name"}
			if known && id == "" {
				out[i].Reason = "several codes have this name: name the code by its id"
			}
		}
	default:
		return out, g.codesByID(ctx, list, out)
	}
	return out, nil
}

// codesByID asks for codes one by one, a few at once.
func (g *importGateway) codesByID(ctx context.Context, list []string, out []importing.CodeRef) error {
	const atOnce = 8
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += atOnce {
				_, err := g.c.Code(ctx, list[i])
				var p *client.Problem
				switch {
				case err == nil:
					out[i] = importing.CodeRef{ID: list[i]}
				case errors.As(err, &p) && p.Status == http.StatusNotFound:
					out[i] = importing.CodeRef{Reason: "no code has this id"}
				default:
					errs[w] = err
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// importLog is the ledger of imports in NATS. An outage is waited out for so long.
type importLog struct{ im *natsjs.Imports }

func (l importLog) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, importPatience, errors.New("NATS was away for too long: the same command again goes on where this one ended"))
}

func (l importLog) Key(ctx context.Context, create bool) ([]byte, error) {
	ctx, cancel := l.wait(ctx)
	defer cancel()
	return l.im.Key(ctx, create)
}

func (l importLog) Read(ctx context.Context, from uint64, scope importing.Scope, fn func(events.ImportEntry) error) (uint64, time.Time, error) {
	days := make([]string, len(scope.Days))
	for i, d := range scope.Days {
		days[i] = d.String()
	}
	return l.im.Read(ctx, from, natsjs.ImportScope{Closings: scope.Closings, Days: days}, fn)
}

func (l importLog) Announce(ctx context.Context, after uint64, list []events.ImportEntry) (uint64, error) {
	ctx, cancel := l.wait(ctx)
	defer cancel()
	return l.im.Announce(ctx, after, list)
}

func (l importLog) Close(ctx context.Context, e events.ImportEntry) (uint64, error) {
	ctx, cancel := l.wait(ctx)
	defer cancel()
	return l.im.Close(ctx, e)
}

// importWarehouse is what ClickHouse knows of events.
type importWarehouse struct {
	conn              *natsjs.Conn
	address, database string
	settled           time.Time // when the warehouse was last seen to have everything
}

// idsAtOnce bounds the ids in one statement, whose text may have 256 KiB.
const idsAtOnce = 2000

// Stored asks the tables which of the ids they have.
func (w *importWarehouse) Stored(ctx context.Context, day, since time.Time, ids []string) ([]string, error) {
	if err := w.complete(ctx, since); err != nil {
		return nil, err
	}
	var found []string
	for some := range slices.Chunk(ids, idsAtOnce) {
		list := "'" + strings.Join(some, "','") + "'" // hexadecimal digits
		when := ""
		if !day.IsZero() {
			when = fmt.Sprintf("ts >= fromUnixTimestamp64Milli(toInt64(%d)) AND ts < fromUnixTimestamp64Milli(toInt64(%d)) AND ", day.UnixMilli(), day.Add(24*time.Hour).UnixMilli())
		}
		var parts []string
		for _, table := range []string{"scans", "members", "conversions"} {
			parts = append(parts, "SELECT event_id FROM "+table+" WHERE "+when+"event_id IN ("+list+")")
		}
		lines, err := w.ask(ctx, strings.Join(parts, " UNION ALL "))
		if err != nil {
			return nil, err
		}
		found = append(found, lines...)
	}
	return found, nil
}

// complete makes sure that what the warehouse does not have was not stored.
func (w *importWarehouse) complete(ctx context.Context, since time.Time) error {
	kept, err := w.ask(ctx, `SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay\\((\\d+)\\)')) FROM system.tables WHERE database = currentDatabase() AND name = 'commits'`)
	if err != nil {
		return err
	}
	if len(kept) == 1 {
		if days, err := strconv.Atoi(kept[0]); err == nil && days > 0 && time.Since(since) > time.Duration(days-1)*24*time.Hour {
			return fmt.Errorf("ClickHouse keeps rows for %d days and no longer tells: compare by hand, and import what is missing from a file of its own", days)
		}
	}
	if !w.settled.IsZero() {
		return nil // what was open then had been sent a day before
	}
	inst, err := w.conn.Installation(ctx)
	if err != nil {
		return err
	}
	lines, err := w.ask(ctx, "SELECT partition, max(step) FROM commits GROUP BY partition")
	if err != nil {
		return err
	}
	have := make(map[int]uint64)
	for _, l := range lines {
		p, step, _ := strings.Cut(l, "\t")
		n, err1 := strconv.Atoi(p)
		s, err2 := strconv.ParseUint(step, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("ClickHouse answers something else than was asked: %w", err)
		}
		have[n] = s
	}
	for p := range inst.Partitions {
		input, err := w.conn.LastInput(ctx, p)
		if err != nil {
			return err
		}
		payload, _, err := w.conn.LastCommit(ctx, p)
		if errors.Is(err, events.ErrNotFound) {
			if input > 0 {
				return errors.New("the scan worker has not decided everything yet: start one, and run the same command again in a while")
			}
			continue
		}
		if err != nil {
			return err
		}
		last, err := events.ParseCommit(payload)
		if err != nil {
			return err
		}
		if last.Reached.Next() <= input {
			return errors.New("the scan worker has not decided everything yet: run the same command again in a while")
		}
		if have[p] < last.Step {
			return errors.New("the analytics worker has not written everything to ClickHouse yet: run the same command again in a while")
		}
	}
	w.settled = time.Now()
	return nil
}

// ask returns the lines of an answer, tab-separated.
func (w *importWarehouse) ask(ctx context.Context, sql string) ([]string, error) {
	resp, err := clickhouse(ctx, w.address, w.database, "TabSeparated", sql)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out []string
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		out = append(out, s.Text())
	}
	if err := s.Err(); err != nil {
		return nil, errors.New("ClickHouse ended the answer early: run the same command again")
	}
	return out, nil
}
