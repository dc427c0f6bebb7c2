package events

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code"
)

// A commit record is read by every gateway and analytics worker. One that is
// written as Marshal writes it is read here, member by member in that order;
// what is rare in it, or not so written, is left to the general decoder. A
// fuzz test holds the two to the same records.

// is passes w, white space and all, and says whether it was there.
func (p *plain) is(w string) bool {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return false
	}
	p.i += len(w)
	return true
}

// exact passes w, which has to be there.
func (p *plain) exact(w string) { p.lost = !p.is(w) || p.lost }

// str passes a string without escapes, of any length.
func (p *plain) str() string { return p.text(len(p.s)) }

// stamp passes a time as time.Time writes itself.
func (p *plain) stamp() time.Time {
	s := p.text(40)
	at, err := time.Parse(time.RFC3339Nano, s)
	p.lost = p.lost || err != nil || at.Location() != time.UTC || s[len("2006-01-02T15")] != ':' || strings.Contains(s, ",")
	return at
}

// signed passes a whole number.
func (p *plain) signed() int64 {
	if !p.is("-") {
		return p.whole()
	}
	p.lost = p.lost || p.i == len(p.s) || p.s[p.i] <= ' '
	return -p.whole()
}

// opt passes an optional member that is a string.
func (p *plain) opt(name string, to *string) {
	if p.is(name) {
		*to = p.str()
	}
}

func (p *plain) optStamp(name string, to *time.Time) {
	if p.is(name) {
		*to = p.stamp()
	}
}

// skip passes any value and returns it. It only looks for where the value
// ends: who reads it checks it.
func (p *plain) skip() string {
	from, depth := p.i, 0
	for ; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '"':
			for p.i++; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
				if p.s[p.i] == '\\' {
					p.i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			continue
		}
		if depth == 0 {
			p.i = min(p.i+1, len(p.s))
			return p.s[from:p.i]
		}
	}
	p.i, p.lost = len(p.s), true
	return ""
}

// elements passes the array after name, if it is there, and calls one for
// each element, which passes it.
func (p *plain) elements(name string, one func()) {
	if !p.is(name) {
		return
	}
	p.exact("[")
	for !p.lost {
		one()
		if p.is("]") {
			return
		}
		p.exact(",")
	}
}

// commit passes a commit record.
func (p *plain) commit() *Commit {
	var c Commit
	p.exact(`{"v":`)
	c.Version = int(p.whole())
	p.exact(`,"partition":`)
	c.Partition = int(p.whole())
	p.exact(`,"step":`)
	c.Step = uint64(p.whole())
	p.exact(`,"owner":`)
	c.Owner = p.str()
	p.exact(`,"time":`)
	c.Time = p.stamp()
	p.exact(`,"reached":{"seq":`)
	c.Reached.Seq = uint64(p.whole())
	p.exact(`,"idx":`)
	c.Reached.Idx = int(p.whole())
	c.Reached.More = p.is(`,"more":true`)
	p.exact(`}`)
	if p.lost || c.Version != CommitVersion {
		return nil
	}
	p.elements(`,"items":`, func() {
		if len(c.Items) == 0 {
			c.Items = make([]Item, 0, len(p.s)/1024+1)
		}
		c.Items = append(c.Items, Item{})
		p.item(&c.Items[len(c.Items)-1])
	})
	p.elements(`,"decisions":`, func() { c.Decisions = append(c.Decisions, p.other()) })
	p.elements(`,"alerts":`, func() { c.Alerts = append(c.Alerts, p.other()) })
	p.elements(`,"codes":`, func() {
		c.Codes = append(c.Codes, code.View{})
		p.view(&c.Codes[len(c.Codes)-1])
	})
	p.elements(`,"dead":`, func() {
		var d Dead
		p.lost = json.Unmarshal([]byte(p.skip()), &d) != nil || p.lost
		c.Dead = append(c.Dead, d)
	})
	p.exact(`,"totals":`)
	p.totals(&c.Totals)
	p.exact("}")
	if p.lost || p.i != len(p.s) {
		return nil
	}
	return &c
}

// other passes an event of any kind by the general decoder.
func (p *plain) other() *Event {
	raw := p.skip()
	if p.lost {
		return nil
	}
	e, err := parse([]byte(raw))
	p.lost = err != nil
	return e
}

func (p *plain) totals(t *Totals) {
	for _, f := range []struct {
		name string
		to   *int64
	}{
		{`{"scans":`, &t.Scans}, {`,"members":`, &t.Members}, {`,"conversions":`, &t.Conversions}, {`,"codes":`, &t.Codes}, {`,"forged":`, &t.Forged},
		{`,"decisions":`, &t.Decisions}, {`,"alerts":`, &t.Alerts}, {`,"repeated":`, &t.Repeated}, {`,"dead":`, &t.Dead},
	} {
		p.exact(f.name)
		*f.to = p.signed()
	}
	p.exact("}")
}

func (p *plain) item(it *Item) {
	p.exact(`{"seq":`)
	it.Seq = uint64(p.whole())
	p.exact(`,"idx":`)
	it.Idx = int(p.whole())
	p.exact(`,"at":`)
	it.At = p.stamp()
	p.exact(`,"event":`)
	if p.lost {
		return
	}
	from := p.i
	if it.Event = p.event(); p.lost {
		p.i, p.lost = from, false
		it.Event = p.other()
	}
	if p.is(`,"verdict":`) {
		it.Verdict = code.Verdict(p.str())
	}
	p.opt(`,"rule":`, &it.Rule)
	p.optStamp(`,"spooled":`, &it.Spooled)
	if p.is(`,"target":`) {
		n := int(p.signed())
		it.Target = &n
	}
	p.exact("}")
}

func (p *plain) view(v *code.View) {
	p.exact(`{"id":`)
	v.ID = p.str()
	p.opt(`,"tenant":`, &v.Tenant)
	p.exact(`,"revision":`)
	v.Revision = uint64(p.whole())
	p.opt(`,"name":`, &v.Name)
	p.exact(`,"profile":`)
	v.Profile = p.str()
	p.opt(`,"campaign":`, &v.Campaign)
	p.opt(`,"source":`, &v.Source)
	p.opt(`,"medium":`, &v.Medium)
	p.opt(`,"owner":`, &v.Owner)
	p.exact(`,"status":`)
	v.Status = code.Status(p.str())
	p.opt(`,"reason":`, &v.Reason)
	p.exact(`,"minted_at":`)
	v.MintedAt = p.stamp()
	p.optStamp(`,"expires_at":`, &v.ExpiresAt)
	p.optStamp(`,"renewal_due_at":`, &v.RenewalDueAt)
	p.optStamp(`,"renewed_at":`, &v.RenewedAt)
	p.optStamp(`,"revoked_at":`, &v.RevokedAt)
	p.exact(`,"max_scans":`)
	v.MaxScans = p.signed()
	p.exact(`,"current":`)
	v.Current = int(p.signed())
	p.exact(`,"consumed":`)
	v.Consumed = p.signed()
	p.exact(`,"counts":`)
	p.pass('{')
	for n := 0; p.more(n, '}'); n++ {
		k := code.Verdict(p.name())
		p.lost = p.lost || v.Counts.Of(k) != 0 // twice
		p.lost = !v.Counts.Set(k, p.signed()) || p.lost
	}
	p.exact(`,"unique":`)
	v.Unique = p.signed()
	if p.exact(`,"targets":`); p.is("[]") {
		v.Targets = []code.TargetView{}
	} else {
		p.elements("", func() {
			v.Targets = append(v.Targets, code.TargetView{})
			p.target(&v.Targets[len(v.Targets)-1])
		})
	}
	if p.is(`,"first":{"event_id":`) {
		f := new(code.First)
		f.EventID = p.str()
		p.exact(`,"at":`)
		f.At = p.stamp()
		p.opt(`,"device_model":`, &f.DeviceModel)
		p.opt(`,"province":`, &f.Province)
		p.exact("}")
		v.First = f
	}
	p.exact("}")
}

func (p *plain) target(t *code.TargetView) {
	p.exact(`{"n":`)
	t.N = int(p.signed())
	p.exact(`,"members":`)
	t.Members = p.signed()
	p.exact(`,"members_from":`)
	t.MembersFrom = p.str()
	p.exact(`,"capacity":`)
	t.Capacity = p.signed()
	p.exact(`,"scans":`)
	t.Scans = p.signed()
	p.exact(`,"per_hour":`)
	t.PerHour = p.number()
	p.optStamp(`,"eta_full":`, &t.EtaFull)
	p.exact("}")
}

// number passes a number such as the general encoder writes.
func (p *plain) number() float64 {
	from := p.i
	for p.i < len(p.s) && strings.IndexByte("+-.0123456789eE", p.s[p.i]) >= 0 {
		p.i++
	}
	f, err := strconv.ParseFloat(p.s[from:p.i], 64)
	p.lost = p.lost || err != nil || !jsontext.Value(p.s[from:p.i]).IsValid()
	return f
}

// parsePlainCommit reads a record that is written as Marshal writes it; nil
// for anything else.
func parsePlainCommit(b []byte) *Commit {
	if !utf8.Valid(b) {
		return nil
	}
	p := plain{s: string(b)}
	return p.commit()
}
