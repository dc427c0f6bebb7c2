package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// alertStream holds HUOMA_ALERTS against the alerts there must be: each once. Those that its retention may have removed may be gone.
func (v *verifier) alertStream(ctx context.Context) error {
	for {
		r, err := v.alertsStored(ctx)
		if err != nil {
			return err
		}
		if r.Missing > 0 && v.wait(ctx) {
			continue // alerts follow their record
		}
		*v.check(r.Check) = *r
		return ctx.Err()
	}
}

func (v *verifier) alertsStored(ctx context.Context) (*Result, error) {
	check := &Result{Check: "stream.alerts", Expected: int64(len(v.expect.alerts))}
	st, err := v.Log.StreamState(ctx, events.StreamAlerts)
	if err != nil {
		return nil, err
	}
	var kept time.Time
	if st.MaxAge > 0 {
		kept = v.Now().Add(time.Minute - st.MaxAge)
	}
	if st.Bounded && st.First > 1 && st.FirstAt.After(kept) {
		kept = st.FirstAt
	}
	seen := make(map[string]bool, len(v.expect.alerts))
	err = v.Log.Stored(ctx, events.StreamAlerts, nil, 1, st.Last, func(m events.Message) error {
		at := fmt.Sprintf("%s/%d", events.StreamAlerts, m.Seq)
		e, perr := events.Parse(m.Data)
		if perr != nil {
			check.Found++
			check.extra(at, m.Get(events.HeaderMsgID))
			return nil
		}
		want, ok := v.expect.alerts[e.ID]
		if !ok && v.afterEnd(e) {
			return nil
		}
		check.Found++
		data, isAlert := e.Data.(*events.Alert)
		if !ok || seen[e.ID] || !isAlert {
			check.extra(at, e.ID)
			return nil
		}
		seen[e.ID] = true
		b, merr := e.Marshal()
		switch subject := events.AlertSubject(data.Kind, e.Subject); {
		case merr != nil || want.text != digest(b):
			check.different(at, e.ID, difference{"data", "as in its commit record", "other data"})
		case m.Subject != subject:
			check.different(at, e.ID, difference{"subject", subject, m.Subject})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for id, a := range v.expect.alerts {
		switch {
		case seen[id]:
		case a.decided.Before(kept):
			check.Expected--
		default:
			check.missing(events.StreamAlerts, id)
		}
	}
	return check, nil
}

// afterEnd reports whether an alert's id names an input after the end: a.<code>.<sequence>.<index>.<number>.
func (v *verifier) afterEnd(e *events.Event) bool {
	parts := strings.Split(e.ID, ".")
	if len(parts) != 5 {
		return false
	}
	seq, err1 := strconv.ParseUint(parts[2], 10, 64)
	idx, err2 := strconv.Atoi(parts[3])
	p := events.Partition(parts[1], v.Partitions)
	return errors.Join(err1, err2) == nil && !v.ends[p].reached.Covers(seq, idx)
}

// deadLetters holds HUOMA_DLQ against what could not be taken: each once. A letter that was put back is taken out of the stream, and old
// ones go with its retention: so many as the stream has removed may be gone.
func (v *verifier) deadLetters(ctx context.Context) error {
	check := v.check("stream.dlq")
	st, err := v.Log.StreamState(ctx, events.StreamDLQ)
	if err != nil {
		return err
	}
	check.Expected = int64(len(v.expect.letters))
	gone := int64(st.Last - st.Messages)
	err = v.Log.Stored(ctx, events.StreamDLQ, nil, 1, st.Last, func(m events.Message) error {
		at := fmt.Sprintf("%s/%d", events.StreamDLQ, m.Seq)
		where := m.Get(events.HeaderPlace)
		id := m.Get(events.HeaderMsgID)
		if strings.Count(id, ".") > 2 {
			return nil // a warehouse row or record that could not be stored: the table's check misses it
		}
		key, ok := letterPlace(where)
		if ok && key.partition < len(v.ends) && !v.ends[key.partition].reached.Covers(key.seq, key.idx) {
			return nil
		}
		check.Found++
		want, known := v.expect.letters[key]
		if !ok || !known || want.seen {
			check.extra(at, where)
			return nil
		}
		want.seen = true
		v.expect.letters[key] = want
		var wrong []difference
		if got := m.Get(events.HeaderReason); got != want.reason {
			wrong = append(wrong, difference{"reason", want.reason, got})
		}
		if got := m.Get(events.HeaderSubject); got != want.subject {
			wrong = append(wrong, difference{"subject", want.subject, got})
		}
		if want.data != digest(m.Data) && !(strings.Contains(m.Get(events.HeaderDetail), "(cut from ") && len(m.Data) < want.size) {
			wrong = append(wrong, difference{"data", fmt.Sprintf("the %d bytes that came", want.size), fmt.Sprintf("%d other bytes", len(m.Data))})
		}
		if len(wrong) > 0 {
			check.different(at, where, wrong...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var absent []letterKey
	for key, l := range v.expect.letters {
		if !l.seen {
			absent = append(absent, key)
		}
	}
	slices.SortFunc(absent, func(a, b letterKey) int { return strings.Compare(a.String(), b.String()) })
	excused := min(gone, int64(len(absent)))
	check.Expected -= excused
	for _, key := range absent[excused:] {
		check.missing(key.String(), "")
	}
	return nil
}

func (k letterKey) String() string { return place(k.partition, k.seq, k.idx) }

func letterPlace(text string) (k letterKey, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return k, false
	}
	p, err1 := strconv.Atoi(parts[0])
	seq, err2 := strconv.ParseUint(parts[1], 10, 64)
	idx, err3 := strconv.Atoi(parts[2])
	return letterKey{p, seq, idx}, errors.Join(err1, err2, err3) == nil && p >= 0
}

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
}

func viewJSON(v oracle.View) []byte {
	b, _ := json.Marshal(v, json.Deterministic(true)) // plain fields
	return b
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
	if err := json.Unmarshal(raw, &got); err != nil {
		return nil, fmt.Errorf("the gateway's counts of code %s cannot be read: %w", id, err)
	}
	var view oracle.View
	if err := json.Unmarshal(v.expect.states[id].view, &view); err != nil {
		return nil, err
	}
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
		tt := toldTarget{N: t.N, Members: t.Members, MembersFrom: t.MembersFrom, Capacity: t.Capacity, Scans: t.Scans, PerHour: t.PerHour}
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
