package events

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code"
)

// Commit records are written for every step and read by everybody downstream,
// so what they hold in bulk, scans and views of codes, has a writer of its
// own. It writes what the general encoder would: a test holds the two to the
// same JSON.

// writer appends JSON. After an error, what it has is of no use.
type writer struct {
	b   []byte
	err error
}

func (w *writer) raw(s string)  { w.b = append(w.b, s...) }
func (w *writer) int(n int64)   { w.b = strconv.AppendInt(w.b, n, 10) }
func (w *writer) uint(n uint64) { w.b = strconv.AppendUint(w.b, n, 10) }

// text appends a JSON string; plain ASCII, which is most, is copied.
func (w *writer) text(s string) {
	for i := range len(s) {
		if quoted[s[i]] {
			var err error
			if w.b, err = jsontext.AppendQuote(w.b, s); err != nil && w.err == nil {
				w.err = err
			}
			return
		}
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, s...)
	w.b = append(w.b, '"')
}

// time appends a time as time.Time marshals itself.
func (w *writer) time(t time.Time) {
	w.b = append(w.b, '"')
	w.b = t.AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(w.b, '"')
}

// Optional members, with their names and the comma before.
// float writes f as the general codec does, which is as ECMAScript does.
func (w *writer) float(f float64) {
	switch abs := math.Abs(f); {
	case f == 0:
		w.raw("0") // not -0
	case abs >= 1e-6 && abs < 1e21:
		w.b = strconv.AppendFloat(w.b, f, 'f', -1, 64)
	default:
		w.value(f)
	}
}

func (w *writer) optText(name, s string) {
	if s != "" {
		w.raw(name)
		w.text(s)
	}
}

func (w *writer) optTime(name string, t time.Time) {
	if !t.IsZero() {
		w.raw(name)
		w.time(t)
	}
}

// value appends anything by the general encoder.
func (w *writer) value(v any) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil && w.err == nil {
		w.err = err
	}
	w.b = append(w.b, b...)
}

// list appends a member that is an array, unless it is empty.
func list[T any](w *writer, name string, all []T, one func(*T)) {
	if len(all) == 0 {
		return
	}
	w.raw(name)
	w.b = append(w.b, '[')
	for i := range all {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		one(&all[i])
	}
	w.b = append(w.b, ']')
}

func (w *writer) event(e **Event) {
	var err error
	if w.b, err = (*e).AppendTo(w.b); err != nil && w.err == nil {
		w.err = err
	}
}

func (w *writer) place(p Place) {
	w.raw(`{"seq":`)
	w.uint(p.Seq)
	w.raw(`,"idx":`)
	w.int(int64(p.Idx))
	if p.More {
		w.raw(`,"more":true`)
	}
	w.b = append(w.b, '}')
}

func (w *writer) commit(c *Commit) {
	w.raw(`{"v":`)
	w.int(int64(c.Version))
	w.raw(`,"partition":`)
	w.int(int64(c.Partition))
	w.raw(`,"step":`)
	w.uint(c.Step)
	w.raw(`,"owner":`)
	w.text(c.Owner)
	w.raw(`,"time":`)
	w.time(c.Time)
	w.raw(`,"reached":`)
	w.place(c.Reached)
	list(w, `,"items":`, c.Items, w.item)
	list(w, `,"decisions":`, c.Decisions, w.event)
	list(w, `,"alerts":`, c.Alerts, w.event)
	list(w, `,"codes":`, c.Codes, w.view)
	list(w, `,"dead":`, c.Dead, func(d *Dead) { w.value(d) })
	w.raw(`,"totals":`)
	w.totals(&c.Totals)
	w.b = append(w.b, '}')
}

func (w *writer) totals(t *Totals) {
	for _, f := range []struct {
		name string
		n    int64
	}{
		{`{"scans":`, t.Scans}, {`,"members":`, t.Members}, {`,"conversions":`, t.Conversions}, {`,"codes":`, t.Codes}, {`,"forged":`, t.Forged},
		{`,"decisions":`, t.Decisions}, {`,"alerts":`, t.Alerts}, {`,"repeated":`, t.Repeated}, {`,"dead":`, t.Dead},
	} {
		w.raw(f.name)
		w.int(f.n)
	}
	w.b = append(w.b, '}')
}

func (w *writer) item(it *Item) {
	w.raw(`{"seq":`)
	w.uint(it.Seq)
	w.raw(`,"idx":`)
	w.int(int64(it.Idx))
	w.raw(`,"at":`)
	w.time(it.At)
	w.raw(`,"event":`)
	w.event(&it.Event)
	w.optText(`,"verdict":`, string(it.Verdict))
	w.optText(`,"rule":`, it.Rule)
	w.optTime(`,"spooled":`, it.Spooled)
	if it.Target != nil {
		w.raw(`,"target":`)
		w.int(int64(*it.Target))
	}
	w.b = append(w.b, '}')
}

// scan appends a scan's data.
func (w *writer) scan(s *Scan) {
	from := len(w.b)
	w.optText(`,"token":`, s.Token)
	if s.Variant != 0 {
		w.raw(`,"variant":`)
		w.int(int64(s.Variant))
	}
	w.optText(`,"tracking":`, s.Tracking)
	w.optText(`,"visitor":`, s.Visitor)
	w.optText(`,"openid":`, s.OpenID)
	w.optText(`,"user_agent":`, s.UserAgent)
	w.optText(`,"network":`, s.Network)
	w.optText(`,"country":`, s.Country)
	w.optText(`,"province":`, s.Province)
	w.optText(`,"city":`, s.City)
	w.optText(`,"device_model":`, s.DeviceModel)
	w.optText(`,"os":`, s.OS)
	w.optText(`,"app":`, s.App)
	w.optText(`,"referrer_host":`, s.RefererHost)
	if u := s.UTM; u != nil && *u != (UTM{}) {
		w.raw(`,"utm":`)
		from := len(w.b)
		w.optText(`,"source":`, u.Source)
		w.optText(`,"medium":`, u.Medium)
		w.optText(`,"campaign":`, u.Campaign)
		w.optText(`,"term":`, u.Term)
		w.optText(`,"content":`, u.Content)
		w.closes(from)
	}
	if s.Target != nil {
		w.raw(`,"target":`)
		w.int(int64(*s.Target))
	}
	w.optText(`,"click_id":`, s.ClickID)
	w.optText(`,"answered":`, s.Answered)
	w.optText(`,"answered_rule":`, s.AnsweredRule)
	w.optText(`,"shown_at":`, s.ShownAt)
	w.closes(from)
}

// closes ends an object whose members began at from, each with a comma before
// it: the first comma becomes the brace.
func (w *writer) closes(from int) {
	if len(w.b) == from {
		w.b = append(w.b, '{')
	}
	w.b[from] = '{'
	w.b = append(w.b, '}')
}

// verdicts are in the order the general encoder sorts names in.
// quoted are the bytes that the general codec may write otherwise than as they are.
var quoted = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c >= 0x7f || c == '"' || c == '\\'
	}
	return t
}()

var verdicts = slices.Sorted(slices.Values(code.Verdicts))

func (w *writer) view(v *code.View) {
	w.raw(`{"id":`)
	w.text(v.ID)
	w.optText(`,"tenant":`, v.Tenant)
	w.raw(`,"revision":`)
	w.uint(v.Revision)
	w.optText(`,"name":`, v.Name)
	w.raw(`,"profile":`)
	w.text(v.Profile)
	w.optText(`,"campaign":`, v.Campaign)
	w.optText(`,"source":`, v.Source)
	w.optText(`,"medium":`, v.Medium)
	w.optText(`,"owner":`, v.Owner)
	w.raw(`,"status":`)
	w.text(string(v.Status))
	w.optText(`,"reason":`, v.Reason)
	w.raw(`,"minted_at":`)
	w.time(v.MintedAt)
	w.optTime(`,"expires_at":`, v.ExpiresAt)
	w.optTime(`,"renewal_due_at":`, v.RenewalDueAt)
	w.optTime(`,"renewed_at":`, v.RenewedAt)
	w.optTime(`,"revoked_at":`, v.RevokedAt)
	w.raw(`,"max_scans":`)
	w.int(v.MaxScans)
	w.raw(`,"current":`)
	w.int(int64(v.Current))
	w.raw(`,"consumed":`)
	w.int(v.Consumed)
	w.raw(`,"counts":`)
	from := len(w.b)
	for _, k := range verdicts {
		if n := v.Counts.Of(k); n != 0 {
			w.raw(`,"`)
			w.raw(string(k))
			w.raw(`":`)
			w.int(n)
		}
	}
	w.closes(from)
	w.raw(`,"unique":`)
	w.int(v.Unique)
	w.raw(`,"targets":[`)
	for i := range v.Targets {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.target(&v.Targets[i])
	}
	w.b = append(w.b, ']')
	if v.First != nil {
		w.raw(`,"first":{"event_id":`)
		w.text(v.First.EventID)
		w.raw(`,"at":`)
		w.time(v.First.At)
		w.optText(`,"device_model":`, v.First.DeviceModel)
		w.optText(`,"province":`, v.First.Province)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, '}')
}

func (w *writer) target(t *code.TargetView) {
	w.raw(`{"n":`)
	w.int(int64(t.N))
	w.raw(`,"members":`)
	w.int(t.Members)
	w.raw(`,"members_from":`)
	w.text(t.MembersFrom)
	w.raw(`,"capacity":`)
	w.int(t.Capacity)
	w.raw(`,"scans":`)
	w.int(t.Scans)
	w.raw(`,"per_hour":`)
	w.float(t.PerHour)
	w.optTime(`,"eta_full":`, t.EtaFull)
	w.b = append(w.b, '}')
}
