package oracle

import "time"

// View is the state of a code as the log tells it, in the form of a commit record's codes.
type View struct {
	ID           string           `json:"id"`
	Tenant       string           `json:"tenant,omitzero"`
	Revision     uint64           `json:"revision"`
	Name         string           `json:"name,omitzero"`
	Profile      string           `json:"profile"`
	Campaign     string           `json:"campaign,omitzero"`
	Source       string           `json:"source,omitzero"`
	Medium       string           `json:"medium,omitzero"`
	Owner        string           `json:"owner,omitzero"`
	Status       string           `json:"status"`
	Reason       string           `json:"reason,omitzero"`
	MintedAt     time.Time        `json:"minted_at"`
	ExpiresAt    time.Time        `json:"expires_at,omitzero"`
	RenewalDueAt time.Time        `json:"renewal_due_at,omitzero"`
	RenewedAt    time.Time        `json:"renewed_at,omitzero"`
	RevokedAt    time.Time        `json:"revoked_at,omitzero"`
	MaxScans     int64            `json:"max_scans"`
	Current      int              `json:"current"`
	Consumed     int64            `json:"consumed"`
	Counts       map[string]int64 `json:"counts"`
	Unique       int64            `json:"unique"`
	Targets      []TargetView     `json:"targets"`
	First        *FirstView       `json:"first,omitempty"`
}

// TargetView is one target of a View.
type TargetView struct {
	N           int       `json:"n"`
	Members     int64     `json:"members"`
	MembersFrom string    `json:"members_from"`
	Capacity    int64     `json:"capacity"`
	Scans       int64     `json:"scans"`
	PerHour     float64   `json:"per_hour"`
	EtaFull     time.Time `json:"eta_full,omitzero"`
}

// FirstView is the first accepted scan of a View.
type FirstView struct {
	EventID     string    `json:"event_id"`
	At          time.Time `json:"at"`
	DeviceModel string    `json:"device_model,omitzero"`
	Province    string    `json:"province,omitzero"`
}

// View is the state of a code; ok is false for one that the partition does not know. It shares its counts with p: they are the caller's
// until the next event.
func (p *Partition) View(id string) (v View, ok bool) {
	l := p.codes[id]
	if l == nil {
		return View{}, false
	}
	d := &l.def
	v = View{
		ID: d.id, Tenant: d.tenant, Revision: d.revision, Name: d.name, Profile: d.profile, Campaign: d.campaign, Source: d.source, Medium: d.medium,
		Owner: d.owner, Status: l.state, Reason: l.cause, MintedAt: d.minted, ExpiresAt: l.expires, RenewalDueAt: l.renewal, RenewedAt: d.renewed,
		RevokedAt: d.revoked, MaxScans: d.maxScans, Current: l.current, Consumed: l.consumed, Counts: l.counts, Unique: int64(len(l.visitors)),
	}
	for _, t := range d.targets {
		g := l.group(t.n)
		n, from := g.fill()
		tv := TargetView{N: t.n, Members: n, MembersFrom: from, Capacity: t.capacity, Scans: g.scans, PerHour: g.rate()}
		if t.capacity > n && tv.PerHour > 0 {
			tv.EtaFull = fullAt(time.UnixMilli(g.arrivals[len(g.arrivals)-1].UnixMilli()).UTC(), t.capacity-n, tv.PerHour)
		}
		v.Targets = append(v.Targets, tv)
	}
	if l.first != nil {
		v.First = &FirstView{EventID: l.first.event, At: l.first.at, DeviceModel: l.first.device, Province: l.first.province}
	}
	return v, true
}

// Codes calls fn with the id of every code there is, in no order.
func (p *Partition) Codes(fn func(id string)) {
	for id := range p.codes {
		fn(id)
	}
}
