package events

import (
	"strings"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/code"
)

// Nearly every message there is holds scans, written plainly: members in any
// order, none unknown, none twice, text without escapes. What follows reads
// just that, several times as fast as the general decoder, and gives up on
// everything else, which the general decoder then reads or refuses. A fuzz
// test holds the two to the same events.

// plain is a place in JSON text that is valid UTF-8. Once it is lost, nothing
// it returns means anything.
type plain struct {
	s    string
	i    int
	lost bool
}

// next passes white space and returns the byte there without passing it; 0 at
// the end.
func (p *plain) next() byte {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return c
		}
	}
	return 0
}

// pass passes white space and c.
func (p *plain) pass(c byte) {
	if p.next() != c {
		p.lost = true
		return
	}
	p.i++
}

// more is for loops over members and elements that are done at end: it passes
// the comma before the n-th (from 0), or the end.
func (p *plain) more(n int, end byte) bool {
	switch c := p.next(); {
	case p.lost:
		return false
	case c == end:
		p.i++
		return false
	case n > 0 && c == ',':
		p.i++
		p.lost = p.next() == end
		return !p.lost
	case n > 0 || c == 0:
		p.lost = true
		return false
	}
	return true
}

// text passes a string without escapes or control characters, of at most so
// many bytes.
func (p *plain) text(most int) string {
	if p.next() != '"' {
		p.lost = true
		return ""
	}
	from := p.i + 1
	for i := from; i < len(p.s); i++ {
		c := p.s[i]
		if !ends[c] {
			continue
		}
		if c != '"' {
			break
		}
		p.i = i + 1
		p.lost = p.lost || i-from > most
		return p.s[from:i]
	}
	p.lost = true
	return ""
}

// ends are the bytes at which text ends, for good or for somebody else to read.
var ends = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c == '"' || c == '\\' || c == 0x7f
	}
	return t
}()

// name passes a member's name and the colon.
func (p *plain) name() string {
	s := p.text(MaxName)
	p.pass(':')
	return s
}

// whole passes a number without sign, fraction or exponent, of up to 18 digits.
func (p *plain) whole() int64 {
	c := p.next()
	from, n := p.i, int64(0)
	for p.i < len(p.s) && p.s[p.i]-'0' <= 9 {
		n = 10*n + int64(p.s[p.i]-'0')
		p.i++
	}
	digits := p.i - from
	if digits == 0 || digits > 18 || c == '0' && digits > 1 {
		p.lost = true
	}
	if p.i < len(p.s) {
		switch p.s[p.i] {
		case '.', 'e', 'E':
			p.lost = true
		}
	}
	return n
}

// word passes w, letter by letter.
func (p *plain) word(w string) {
	p.next()
	if !strings.HasPrefix(p.s[p.i:], w) {
		p.lost = true
		return
	}
	p.i += len(w)
}

// scanEvent is an event with all a scan may need, allocated at once.
type scanEvent struct {
	Event
	scan   Scan
	utm    UTM
	target int
}

// Members of the envelope that came already.
const (
	hasSpec = 1 << iota
	hasID
	hasSource
	hasType
	hasSubject
	hasTime
	hasContentType
	hasTenant
	hasHistorical
	hasData
	hasAll = hasSpec | hasID | hasSource | hasType | hasSubject | hasTime | hasData
)

// event passes a scan's event. Its strings share the memory of the text.
func (p *plain) event() *Event {
	e := new(scanEvent)
	var had int
	once := func(bit int) {
		p.lost = p.lost || had&bit != 0
		had |= bit
	}
	p.pass('{')
	for n := 0; p.more(n, '}'); n++ {
		switch p.name() {
		case "specversion":
			once(hasSpec)
			p.word(`"1.0"`)
		case "id":
			once(hasID)
			e.ID = p.text(MaxName)
		case "source":
			once(hasSource)
			e.Source = p.text(MaxName)
		case "type":
			once(hasType)
			p.word(`"` + TypeScan + `"`)
			e.Type = TypeScan
		case "subject":
			once(hasSubject)
			e.Subject = p.text(MaxName)
		case "time":
			once(hasTime)
			at, err := parseTime(p.text(MaxName))
			p.lost = p.lost || err != nil
			e.Time = at
		case "datacontenttype":
			once(hasContentType)
			p.word(`"application/json"`)
		case "tenant":
			once(hasTenant)
			e.Tenant = p.text(64)
		case "historical":
			once(hasHistorical)
			p.word("true")
			e.Historical = true
		case "data":
			once(hasData)
			p.lost = p.lost || e.Type == "" // what it is has to come first
			p.scan(e)
		default:
			p.lost = true
		}
	}
	if p.lost || had&hasAll != hasAll || e.ID == "" || e.Source == "" || !ValidSubject(e.Subject) {
		p.lost = true
		return nil
	}
	e.Data = &e.scan
	return &e.Event
}

// scan passes a scan's data.
func (p *plain) scan(e *scanEvent) {
	s := &e.scan
	var had uint32
	p.pass('{')
	for n := 0; p.more(n, '}'); n++ {
		bit, to, most := uint32(0), (*string)(nil), MaxName
		switch p.name() {
		case "token":
			bit, to = 1<<0, &s.Token
		case "variant":
			bit = 1 << 1
			v := p.whole()
			p.lost = p.lost || v > MaxVariant
			s.Variant = int(v)
		case "tracking":
			bit, to = 1<<2, &s.Tracking
		case "visitor":
			bit, to = 1<<3, &s.Visitor
		case "openid":
			bit, to = 1<<4, &s.OpenID
		case "user_agent":
			bit, to, most = 1<<5, &s.UserAgent, MaxText
		case "network":
			bit, to = 1<<6, &s.Network
		case "country":
			bit, to = 1<<7, &s.Country
		case "province":
			bit, to = 1<<8, &s.Province
		case "city":
			bit, to = 1<<9, &s.City
		case "device_model":
			bit, to = 1<<10, &s.DeviceModel
		case "os":
			bit, to = 1<<11, &s.OS
		case "app":
			bit, to = 1<<12, &s.App
		case "referrer_host":
			bit, to = 1<<13, &s.RefererHost
		case "utm":
			bit = 1 << 14
			p.utm(&e.utm)
			s.UTM = &e.utm
		case "target":
			bit = 1 << 15
			v := p.whole()
			p.lost = p.lost || v > MaxTarget
			e.target = int(v)
			s.Target = &e.target
		case "click_id":
			bit, to = 1<<16, &s.ClickID
		case "answered":
			bit, to = 1<<17, &s.Answered
		case "answered_rule":
			bit, to = 1<<18, &s.AnsweredRule
		case "shown_at":
			bit, to = 1<<19, &s.ShownAt
		}
		if to != nil {
			*to = p.text(most)
		}
		p.lost = p.lost || bit == 0 || had&bit != 0
		had |= bit
	}
	_, minute := parseMinute(s.ShownAt)
	p.lost = p.lost || !minute || s.Answered != "" && !code.Verdict(s.Answered).Known()
}

func (p *plain) utm(u *UTM) {
	var had int
	p.pass('{')
	for n := 0; p.more(n, '}'); n++ {
		bit, to := 0, (*string)(nil)
		switch p.name() {
		case "source":
			bit, to = 1<<0, &u.Source
		case "medium":
			bit, to = 1<<1, &u.Medium
		case "campaign":
			bit, to = 1<<2, &u.Campaign
		case "term":
			bit, to = 1<<3, &u.Term
		case "content":
			bit, to = 1<<4, &u.Content
		}
		if bit == 0 || had&bit != 0 {
			p.lost = true
			return
		}
		had |= bit
		*to = p.text(MaxName)
	}
}

// parsePlain reads one event that is a plainly written scan; nil for anything else.
func parsePlain(b []byte) *Event {
	if len(b) > MaxEvent || !utf8.Valid(b) {
		return nil
	}
	p := plain{s: string(b)}
	e := p.event()
	if p.next(); p.lost || p.i < len(p.s) {
		return nil
	}
	return e
}

// Read is one event of a message: its JSON, and what Parse makes of it.
type Read struct {
	Raw   []byte
	Event *Event // nil when Err says why not
	Err   error
}

// ParseAll reads a message of one event or a batch. It is Split with Parse for
// each, and faster where scans are written plainly; such an event's strings
// share the memory of all of the message's, so that whoever keeps one for long
// clones it. The error is Split's: the message as a whole makes no sense.
func ParseAll(b []byte) ([]Read, error) {
	if !IsBatch(b) {
		if e := parsePlain(b); e != nil {
			return []Read{{Raw: b, Event: e}}, nil
		}
		e, err := Parse(b)
		return []Read{{b, e, err}}, nil
	}
	if list := parsePlainBatch(b); list != nil {
		return list, nil
	}
	items, err := Split(b)
	if err != nil {
		return nil, err
	}
	list := make([]Read, len(items))
	for i, raw := range items {
		list[i].Raw = raw
		if list[i].Event = parsePlain(raw); list[i].Event == nil {
			list[i].Event, list[i].Err = Parse(raw)
		}
	}
	return list, nil
}

// parsePlainBatch reads a batch of nothing but plainly written scans; nil for
// anything else.
func parsePlainBatch(b []byte) []Read {
	if len(b) > MaxBatch*MaxEvent || !utf8.Valid(b) {
		return nil
	}
	p := plain{s: string(b)}
	list := make([]Read, 0, len(b)/512+1)
	p.pass('[')
	for n := 0; p.more(n, ']'); n++ {
		from := p.i
		e := p.event()
		if p.lost || p.i-from > MaxEvent {
			return nil
		}
		list = append(list, Read{Raw: b[from:p.i:p.i], Event: e})
	}
	if p.next(); p.lost || p.i < len(p.s) {
		return nil
	}
	return list
}
