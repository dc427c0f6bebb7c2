package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// movedSince are the codes that records after the end have touched.
func (v *verifier) movedSince(ctx context.Context) (map[string]bool, error) {
	moved := make(map[string]bool)
	for p, e := range v.ends {
		now, err := v.lastRecord(ctx, p)
		if err != nil {
			return nil, err
		}
		err = v.Log.Stored(ctx, events.StreamDecisions, []string{events.CommitSubject(p)}, e.commit+1, now.commit, func(m events.Message) error {
			c, err := events.ParseCommit(m.Data)
			if err != nil {
				return fmt.Errorf("commit record %d: %w", m.Seq, err)
			}
			for i := range c.Codes {
				moved[c.Codes[i].ID] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// codeStates holds the table of codes against their states at the end. A code that has changed since is not compared.
func (v *verifier) codeStates(ctx context.Context) error {
	check := v.check("codes")
	sql := "SELECT toInt64(partition), stream_seq, toUInt32(idx), " + codesTable.text() + " FROM codes"
	type got struct {
		p    int64
		seq  uint64
		idx  uint32
		text string
	}
	rows := make(map[string]got)
	var doubled []got
	err := v.Warehouse.Select(ctx, "read codes", sql, func(scan func(...any) error) error {
		var g got
		if err := scan(&g.p, &g.seq, &g.idx, &g.text); err != nil {
			return err
		}
		f := strings.SplitN(g.text, "\x00", 5)
		key := f[2] + "\x00" + f[3]
		if _, twice := rows[key]; twice {
			doubled = append(doubled, g)
		}
		rows[key] = g
		return nil
	})
	if err != nil {
		return err
	}
	moved, err := v.movedSince(ctx)
	if err != nil {
		return err
	}
	for key, want := range v.expect.codes {
		_, id, _ := strings.Cut(key, "\x00")
		g, ok := rows[key]
		delete(rows, key)
		if moved[id] && ok {
			continue
		}
		check.Expected++
		at := place(want.partition, want.seq, want.idx)
		if !ok {
			check.missing(at, id)
			continue
		}
		check.Found++
		wrong := codesTable.differences(want.text, g.text)
		if here := place(int(g.p), g.seq, int(g.idx)); here != at {
			wrong = append(wrong, difference{"place", at, here})
		}
		if len(wrong) > 0 {
			check.different(at, id, wrong...)
		}
	}
	for key, g := range rows {
		if _, id, _ := strings.Cut(key, "\x00"); !moved[id] {
			doubled = append(doubled, g)
		}
	}
	for _, g := range doubled {
		check.Found++
		check.extra(place(int(g.p), g.seq, int(g.idx)), idOf(g.text))
	}
	return nil
}

// stats asks the gateway for the counts of every code.
func (v *verifier) stats(ctx context.Context) error {
	if v.Gateway == nil {
		return nil
	}
	check := v.check("stats")
	left := make([]string, 0, len(v.expect.states))
	for id := range v.expect.states {
		left = append(left, id)
	}
	slices.Sort(left)
	check.Expected = int64(len(left))
	for {
		moved, err := v.movedSince(ctx)
		if err != nil {
			return err
		}
		wrong := make(map[string][]difference)
		var again []string
		for _, id := range left {
			if moved[id] {
				check.Expected--
				continue
			}
			w, err := v.codeStats(ctx, id)
			if err != nil {
				return err
			}
			if len(w) > 0 {
				wrong[id], again = w, append(again, id)
				continue
			}
			check.Found++
		}
		left = again
		if len(left) > 0 && v.wait(ctx) {
			continue // its mirror follows the log
		}
		for _, id := range left {
			if wrong[id][0].field == "code" {
				check.missing("gateway", id)
				continue
			}
			check.Found++
			check.different("gateway", id, wrong[id]...)
		}
		return ctx.Err()
	}
}

// told is what a gateway tells of a code.
type told struct {
	ID        string            `json:"id"`
	Status    string            `json:"status"`
	Reason    string            `json:"reason"`
	Revision  uint64            `json:"revision"`
	Scans     int64             `json:"scans"`
	Counts    map[string]int64  `json:"counts"`
	Unique    int64             `json:"unique"`
	Consumed  int64             `json:"consumed"`
	MaxScans  int64             `json:"max_scans"`
	Members   int64             `json:"members"`
	Current   *int              `json:"current"`
	Targets   []toldTarget      `json:"targets"`
	FirstScan *oracle.FirstView `json:"first_scan"`
	ExpiresAt *time.Time        `json:"expires_at"`
}

type toldTarget struct {
	N           int        `json:"n"`
	Members     int64      `json:"members"`
	MembersFrom string     `json:"members_from"`
	Capacity    int64      `json:"capacity"`
	Percent     *float64   `json:"percent"`
	Scans       int64      `json:"scans"`
	PerHour     float64    `json:"per_hour"`
	EtaFull     *time.Time `json:"eta_full"`
	Closed      bool       `json:"closed"`
}

// codeStats compares what the gateway tells of a code.
func (v *verifier) codeStats(ctx context.Context, id string) ([]difference, error) {
	raw, err := v.Gateway.Stats(ctx, id)
	if errors.Is(err, events.ErrNotFound) {
		return []difference{{"code", "its counts", "no such code"}}, nil
	}
	if err != nil {
		return nil, err
	}
	var got told
	if err := json.Unmarshal(raw, &got, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("the gateway's counts of code %s cannot be read: %w", id, err)
	}
	view := v.expect.states[id]
	want := told{
		ID: view.ID, Status: view.Status, Reason: view.Reason, Revision: view.Revision, Counts: map[string]int64{}, Unique: view.Unique,
		Consumed: view.Consumed, MaxScans: view.MaxScans, FirstScan: view.First, Targets: []toldTarget{},
	}
	// Verdicts nobody got may be told as 0.
	for verdict, n := range view.Counts {
		want.Counts[verdict] = n
		want.Scans += n
	}
	for verdict, n := range got.Counts {
		if n == 0 {
			delete(got.Counts, verdict)
		}
	}
	if view.Current >= 0 {
		want.Current = &view.Current
	}
	if !view.ExpiresAt.IsZero() {
		want.ExpiresAt = &view.ExpiresAt
	}
	for _, t := range view.Targets {
		want.Members += t.Members
		tt := toldTarget{N: t.N, Members: t.Members, MembersFrom: t.MembersFrom, Capacity: t.Capacity, Scans: t.Scans, PerHour: t.PerHour, Closed: t.Closed}
		if t.Capacity > 0 {
			percent := float64(t.Members) * 100 / float64(t.Capacity)
			tt.Percent = &percent
		}
		if !t.EtaFull.IsZero() {
			tt.EtaFull = &t.EtaFull
		}
		want.Targets = append(want.Targets, tt)
	}
	return jsonDifferences(want, got), nil
}
