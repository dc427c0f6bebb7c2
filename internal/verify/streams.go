package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/events"
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
	for {
		r, err := v.lettersStored(ctx)
		if err != nil {
			return err
		}
		if r.Missing > 0 && v.wait(ctx) {
			continue
		}
		*v.check(r.Check) = *r
		return ctx.Err()
	}
}

func (v *verifier) lettersStored(ctx context.Context) (*Result, error) {
	check := &Result{Check: "stream.dlq", Expected: int64(len(v.expect.letters))}
	st, err := v.Log.StreamState(ctx, events.StreamDLQ)
	if err != nil {
		return nil, err
	}
	seen := make(map[letterKey]bool, len(v.expect.letters))
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
		if !ok || !known || seen[key] {
			check.extra(at, where)
			return nil
		}
		seen[key] = true
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
		return nil, err
	}
	var absent []letterKey
	for key := range v.expect.letters {
		if !seen[key] {
			absent = append(absent, key)
		}
	}
	slices.SortFunc(absent, func(a, b letterKey) int { return strings.Compare(a.String(), b.String()) })
	excused := min(gone, int64(len(absent)))
	check.Expected -= excused
	for _, key := range absent[excused:] {
		check.missing(key.String(), "")
	}
	return check, nil
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
