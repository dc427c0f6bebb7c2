package oracle

import (
	"time"

	"github.com/huoma/huoma/internal/events"
)

// definition is a code as its owner left it, as far as anything is decided by it or told of it.
type definition struct {
	id, name, profile, tenant, campaign, source, medium, owner string

	revision   uint64
	targets    []target
	rules      []rule
	sliding    bool // an accepted scan restarts the countdown
	counting   bool // there is a countdown
	validity   time.Duration
	longest    time.Duration // 0: no bound
	renewEvery time.Duration // 0: no renewal
	maxScans   int64         // 0: no cap
	warnAt     int           // per cent; 0: never
	dedupe     time.Duration // 0: off

	minted, renewed, revoked time.Time
}

type target struct {
	n        int
	capacity int64 // 0: no limit
	closed   bool
}

type rule struct {
	id, scope, action string
	limit             int
	window, quiet     time.Duration
}

func read(d *events.CodeData) definition {
	def := definition{
		id: d.ID, name: d.Name, profile: d.Profile, tenant: d.Tenant, campaign: d.Campaign, source: d.Source, medium: d.Medium, owner: d.Owner,
		revision: d.Revision, sliding: d.Countdown == "sliding", counting: d.Countdown != "none", validity: time.Duration(d.Validity),
		longest: time.Duration(d.Longest), renewEvery: time.Duration(d.RenewalEvery), maxScans: d.MaxScans, warnAt: d.WarnPercent,
		dedupe: time.Duration(d.Dedupe), minted: d.MintedAt, renewed: d.RenewedAt, revoked: d.RevokedAt,
	}
	for _, t := range d.Targets {
		def.targets = append(def.targets, target{t.N, t.Capacity, t.Closed})
	}
	for _, r := range d.Rules {
		def.rules = append(def.rules, rule{r.ID, string(r.Scope), string(r.Action), r.Limit, time.Duration(r.Window), time.Duration(r.For)})
	}
	return def
}

func (d *definition) target(n int) *target {
	for i := range d.targets {
		if d.targets[i].n == n {
			return &d.targets[i]
		}
	}
	return nil
}

func (d *definition) rule(id, scope string) *rule {
	for i := range d.rules {
		if d.rules[i].id == id && d.rules[i].scope == scope {
			return &d.rules[i]
		}
	}
	return nil
}

// start is the mint or the last renewal.
func (d *definition) start() time.Time {
	if d.renewed.After(d.minted) {
		return d.renewed
	}
	return d.minted
}

// expiry is when a countdown that runs since from ends, at most longest after the mint or the last renewal; zero: never.
func (d *definition) expiry(from time.Time) time.Time {
	if !d.counting || d.validity == 0 {
		return time.Time{}
	}
	end := from.Add(d.validity)
	if last := d.start().Add(d.longest); d.longest > 0 && last.Before(end) {
		return last
	}
	return end
}
