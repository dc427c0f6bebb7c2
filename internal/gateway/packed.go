package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
)

// packed is a code.View without what the definition says anyway, and without
// its map: a million of them are held.
type packed struct {
	revision     uint64
	status       code.Status
	reason       string
	expiresAt    time.Time
	renewalDueAt time.Time
	current      int
	consumed     int64
	unique       int64
	counts       code.Counts
	targets      []code.TargetView
	first        *code.First
}

// Shared spellings: what is read from JSON has memory of its own otherwise.
var (
	statuses = []code.Status{code.StatusActive, code.StatusCapped, code.StatusFull, code.StatusExpired, code.StatusRevoked}
	reasons  = []string{"", code.ReasonValidity, code.ReasonRenewal}
)

func pack(v code.View) packed {
	p := packed{
		revision: v.Revision, status: v.Status, reason: v.Reason, expiresAt: v.ExpiresAt, renewalDueAt: v.RenewalDueAt,
		current: v.Current, consumed: v.Consumed, unique: v.Unique, counts: v.Counts, targets: slices.Clone(v.Targets),
	}
	if f := v.First; f != nil { // of its own: the record it stands in is large
		p.first = &code.First{EventID: strings.Clone(f.EventID), At: f.At, DeviceModel: strings.Clone(f.DeviceModel), Province: strings.Clone(f.Province)}
	}
	if i := slices.Index(statuses, p.status); i >= 0 {
		p.status = statuses[i]
	}
	if i := slices.Index(reasons, p.reason); i >= 0 {
		p.reason = reasons[i]
	}
	for i := range p.targets {
		if p.targets[i].MembersFrom == code.FromMembers {
			p.targets[i].MembersFrom = code.FromMembers
		} else {
			p.targets[i].MembersFrom = code.FromScans
		}
	}
	return p
}

// count takes over from next what was counted, and leaves what was decided.
func (p *packed) count(next packed) {
	p.consumed, p.unique, p.counts, p.first = next.consumed, next.unique, next.counts, next.first
	for i := range p.targets {
		t := &p.targets[i]
		if j := slices.IndexFunc(next.targets, func(n code.TargetView) bool { return n.N == t.N }); j >= 0 {
			capacity := t.Capacity
			*t = next.targets[j]
			t.Capacity = capacity
		}
	}
}

// at is the status at now: a code whose time has run out is expired before
// the scan worker says so.
func (p *packed) at(now time.Time) (code.Status, string) {
	if p.status == code.StatusRevoked || p.status == code.StatusExpired {
		return p.status, p.reason
	}
	renewal := !p.renewalDueAt.IsZero() && !now.Before(p.renewalDueAt)
	validity := !p.expiresAt.IsZero() && !now.Before(p.expiresAt)
	switch {
	case renewal && (!validity || !p.expiresAt.Before(p.renewalDueAt)):
		return code.StatusExpired, code.ReasonRenewal
	case validity:
		return code.StatusExpired, code.ReasonValidity
	}
	return p.status, p.reason
}

// view is p with what def says. It shares nothing with p that is written to.
func (p *packed) view(def *code.Definition) code.View {
	v := code.View{
		ID: def.ID, Tenant: def.Tenant, Revision: def.Revision, Name: def.Name, Profile: def.Profile, Campaign: def.Campaign,
		Source: def.Source, Medium: def.Medium, Owner: def.Owner, Status: p.status, Reason: p.reason, MintedAt: def.MintedAt,
		ExpiresAt: p.expiresAt, RenewalDueAt: p.renewalDueAt, RenewedAt: def.RenewedAt, RevokedAt: def.RevokedAt,
		MaxScans: def.MaxScans, Current: p.current, Consumed: p.consumed, Unique: p.unique, Targets: slices.Clone(p.targets), First: p.first,
		Counts: p.counts,
	}
	return v
}

// saved is p as a state machine can be restored from it, but for windows,
// locks and visitors, which only the scan worker knows.
func (p *packed) saved(def code.Definition) code.Saved {
	sv := code.Saved{
		Def: def, Status: p.status, ExpiresAt: p.expiresAt, RenewalDueAt: p.renewalDueAt, Reminded: true,
		Current: p.current, Consumed: p.consumed, First: p.first, Counts: p.counts,
	}
	if p.status == code.StatusExpired {
		sv.ExpiredBy = p.reason
	}
	if def.Countdown == code.CountdownSliding && !p.expiresAt.IsZero() {
		sv.LastAccepted = p.expiresAt.Add(-def.Validity.Duration()) // or later, where the longest validity cut it short
	}
	for _, t := range p.targets {
		sv.Targets = append(sv.Targets, code.TargetState{N: t.N, Members: t.Members, Joined: t.MembersFrom == code.FromMembers, Scans: t.Scans, Warned: true})
	}
	return sv
}
