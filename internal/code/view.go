package code

import (
	"slices"
	"time"

	"github.com/huoma/huoma/internal/risk"
)

// TargetView is one target as others may see it.
type TargetView struct {
	N           int       `json:"n"`
	Members     int64     `json:"members"`
	MembersFrom string    `json:"members_from"` // "members" or "scans"
	Capacity    int64     `json:"capacity"`     // 0: no limit
	Scans       int64     `json:"scans"`
	PerHour     float64   `json:"per_hour"`          // recent arrivals an hour; 0: unknown
	EtaFull     time.Time `json:"eta_full,omitzero"` // zero: unknown
}

// View is the state of a code as everything downstream sees it: the gateway's
// mirror, statistics, the warehouse. It is complete: a later view of a code
// replaces an earlier one.
type View struct {
	ID           string       `json:"id"`
	Tenant       string       `json:"tenant,omitzero"`
	Revision     uint64       `json:"revision"`
	Name         string       `json:"name,omitzero"`
	Profile      string       `json:"profile"`
	Campaign     string       `json:"campaign,omitzero"`
	Source       string       `json:"source,omitzero"`
	Medium       string       `json:"medium,omitzero"`
	Owner        string       `json:"owner,omitzero"`
	Status       Status       `json:"status"`
	Reason       string       `json:"reason,omitzero"` // why it expired
	MintedAt     time.Time    `json:"minted_at"`
	ExpiresAt    time.Time    `json:"expires_at,omitzero"`
	RenewalDueAt time.Time    `json:"renewal_due_at,omitzero"`
	RenewedAt    time.Time    `json:"renewed_at,omitzero"`
	RevokedAt    time.Time    `json:"revoked_at,omitzero"`
	MaxScans     int64        `json:"max_scans"`
	Current      int          `json:"current"` // target scans go to; -1: none
	Consumed     int64        `json:"consumed"`
	Counts       Counts       `json:"counts"`
	Unique       int64        `json:"unique"`
	Targets      []TargetView `json:"targets"`
	First        *First       `json:"first,omitempty"`
}

// View returns what others may see of s.
func (s *State) View() View {
	v := View{
		ID: s.Def.ID, Tenant: s.Def.Tenant, Revision: s.Def.Revision, Name: s.Def.Name, Profile: s.Def.Profile,
		Campaign: s.Def.Campaign, Source: s.Def.Source, Medium: s.Def.Medium, Owner: s.Def.Owner,
		Status: s.Status, Reason: s.ExpiredBy, MintedAt: s.Def.MintedAt, ExpiresAt: s.ExpiresAt, RenewalDueAt: s.RenewalDueAt,
		RenewedAt: s.Def.RenewedAt, RevokedAt: s.Def.RevokedAt, MaxScans: s.Def.MaxScans, Current: s.Current, Consumed: s.Consumed,
		Counts: s.Counts, Unique: s.Unique(), First: s.First,
	}
	for _, def := range s.Def.Targets {
		t := s.target(def.N)
		fill, from := t.Fill()
		tv := TargetView{N: def.N, Members: fill, MembersFrom: from, Capacity: def.Capacity, Scans: t.Scans}
		if rate, ok := t.perHour(); ok {
			tv.PerHour = rate
			if left := def.Capacity - fill; left > 0 {
				tv.EtaFull = etaFull(time.UnixMilli(t.Recent[len(t.Recent)-1]).UTC(), left, rate)
			}
		}
		v.Targets = append(v.Targets, tv)
	}
	return v
}

// Saved is a State in the form a snapshot carries.
type Saved struct {
	Def          Definition       `json:"def"`
	Status       Status           `json:"status"`
	ExpiredBy    string           `json:"expired_by,omitzero"`
	ExpiresAt    time.Time        `json:"expires_at,omitzero"`
	RenewalDueAt time.Time        `json:"renewal_due_at,omitzero"`
	Reminded     bool             `json:"reminded,omitzero"`
	Current      int              `json:"current"`
	Consumed     int64            `json:"consumed"`
	Counts       Counts           `json:"counts"`
	Targets      []TargetState    `json:"targets"`
	LastAccepted time.Time        `json:"last_accepted,omitzero"`
	First        *First           `json:"first,omitempty"`
	Visitors     []uint64         `json:"visitors,omitempty"`
	Recent       map[string]int64 `json:"recent,omitempty"`
	RecentLag    map[string]int64 `json:"recent_lag,omitempty"` // ms, where not 0
	Watch        []risk.Entry     `json:"watch,omitempty"`
}

// Save returns s in the form a snapshot carries. The result shares nothing
// with s.
func (s *State) Save() Saved {
	sv := Saved{
		Def: s.Def, Status: s.Status, ExpiredBy: s.ExpiredBy, ExpiresAt: s.ExpiresAt, RenewalDueAt: s.RenewalDueAt, Reminded: s.Reminded,
		Current: s.Current, Consumed: s.Consumed, Counts: s.Counts, First: s.First, LastAccepted: s.LastAccepted,
		Watch: s.watch.Export(), Visitors: s.visitors.sorted(),
	}
	if s.recent != nil {
		sv.Recent = make(map[string]int64, len(s.recent))
	}
	for k, last := range s.recent {
		sv.Recent[k] = last.at
		if last.lag != 0 {
			if sv.RecentLag == nil {
				sv.RecentLag = make(map[string]int64)
			}
			sv.RecentLag[k] = last.lag
		}
	}
	for _, t := range s.Targets {
		t.Recent = slices.Clone(t.Recent)
		sv.Targets = append(sv.Targets, t)
	}
	return sv
}

// Restore makes a State from its saved form. It takes sv over.
func Restore(sv Saved) *State {
	s := &State{
		Def: sv.Def, Status: sv.Status, ExpiredBy: sv.ExpiredBy, ExpiresAt: sv.ExpiresAt, RenewalDueAt: sv.RenewalDueAt, Reminded: sv.Reminded,
		Current: sv.Current, Consumed: sv.Consumed, Counts: sv.Counts, Targets: sv.Targets, First: sv.First, LastAccepted: sv.LastAccepted,
	}
	if sv.Recent != nil {
		s.recent = make(map[string]seen, len(sv.Recent))
	}
	for k, at := range sv.Recent {
		s.recent[k] = seen{at: at, lag: sv.RecentLag[k]}
	}
	for _, v := range sv.Visitors {
		s.visitors.add(v)
	}
	s.watch.Import(sv.Watch)
	s.swept = s.watch.Len()
	return s
}
