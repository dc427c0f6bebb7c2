package scanning

import (
	"maps"
	"slices"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// maxCauses bounds the event ids an alert or decision names: the newest.
const maxCauses = 100

func causes(ids []string) []string {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	if len(ids) > maxCauses {
		ids = ids[len(ids)-maxCauses:]
	}
	return ids
}

func number(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func decisionData(id string, d code.Decision) *events.Decision {
	out := &events.Decision{
		Code: id, Kind: string(d.Kind), Reason: d.Reason, Target: number(d.Target), Rule: d.Rule, Scope: string(d.Scope), Key: d.Key,
		Until: moment(d.Until), Cause: causes(d.Cause),
	}
	if d.From != nil {
		out.From = number(*d.From)
	}
	return out
}

func alertData(id string, a code.Alert) *events.Alert {
	out := &events.Alert{
		Code: id, Kind: string(a.Kind), Reason: a.Reason, Target: number(a.Target), Cause: causes(a.Cause),
		Rule: a.Rule, Scope: string(a.Scope), Key: a.Key, Until: moment(a.Until), Limit: a.Limit, Window: a.Window, DueAt: moment(a.DueAt),
	}
	if a.Kind == code.AlertCapacity {
		members := a.Members
		out.Members, out.MembersFrom, out.Capacity = &members, a.MembersFrom, a.Capacity
		out.Percent, out.Threshold, out.PerHour, out.EtaFull = a.Percent, a.Threshold, a.PerHour, "unknown"
		if !a.EtaFull.IsZero() {
			out.EtaFull = events.FormatTime(a.EtaFull)
		}
	}
	return out
}

// Snapshot returns the whole state after the last record, which has sequence
// commitSeq. It shares nothing with t.
func (t *Transform) Snapshot(commitSeq uint64) *events.Snapshot {
	s := &events.Snapshot{
		Version: events.SnapshotVersion, Partition: t.partition, Step: t.step, CommitSeq: commitSeq, Reached: t.reached, Totals: t.totals, Clock: t.clock,
		Codes: make([]code.Saved, 0, len(t.codes)), Seen: slices.Clone(t.seen.list()), Producers: maps.Clone(t.producers),
	}
	for _, id := range slices.Sorted(maps.Keys(t.codes)) {
		s.Codes = append(s.Codes, t.codes[id].Save())
	}
	return s
}

// RestoreTransform makes a Transform from a snapshot, which it takes over.
func RestoreTransform(s *events.Snapshot, partitions int, owner string, who Identity) (*Transform, error) {
	t := NewTransform(s.Partition, partitions, owner, who)
	for _, saved := range s.Codes {
		t.restore(saved)
	}
	t.adopt(s)
	return t, nil
}

func (t *Transform) restore(saved code.Saved) {
	t.shares.Definition(&saved.Def)
	t.codes[saved.Def.ID] = code.Restore(saved)
}

// adopt takes over what a snapshot says, but for its codes.
func (t *Transform) adopt(s *events.Snapshot) {
	t.totals, t.reached, t.step, t.clock = s.Totals, s.Reached, s.Step, s.Clock
	t.seen = newSeen(s.Seen)
	for p, n := range s.Producers {
		t.producers[p] = n
	}
}
