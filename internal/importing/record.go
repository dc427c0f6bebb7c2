package importing

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// unnamedAgent is the user agent of a request that is known to have named none. A producer's event without a user agent says that its
// producer does not know it; a blank one is classified as what it is, a program.
const unnamedAgent = " "

// A Skip is why a record is not imported although nothing is wrong with it. Reasons are few: they are counted.
type Skip struct{ Reason string }

func (s *Skip) Error() string { return s.Reason }

// Reasons of ours for skipping; the others are those of a mapping's filter.
var (
	skipNoCode = &Skip{"no code"}
	skipType   = &Skip{"type"}
	skipTime   = &Skip{"time"}
)

// A Record is what a mapping has made of a line.
type Record struct {
	Type     string // of the event
	Code     string // as the record names it, until it is resolved
	CodeIs   CodeKind
	Token    string // of the picture, when the record names the code by it
	Time     time.Time
	ID       string // the record's own, or ""
	Referrer string // of the record; its host is what the event gets

	// Data is the event's data but for visitors, which are OpenIDs to be hashed by the gateway, and addresses, which it cuts to their network.
	Scan     events.Scan
	Member   events.Member
	Snapshot events.MemberSnapshot
	Convert  events.Conversion
}

var typeNames = map[string]string{
	"scan": events.TypeScan, "joined": events.TypeMemberJoined, "left": events.TypeMemberLeft, "snapshot": events.TypeMemberSnapshot,
	"conversion": events.TypeConversion,
}

// Apply makes a record of the values of a line. latest is the newest time a record may have. The error is a *Skip or a *Bad.
func (m *Mapping) Apply(values []string, latest time.Time, r *Record) error {
	for i := range m.filter {
		if !m.filter[i].holds(values) {
			return &Skip{m.filter[i].reason}
		}
	}
	*r = Record{Type: events.TypeScan, CodeIs: m.codeIs, Code: strings.TrimSpace(m.code.get(values))}
	if r.Code == "" {
		return skipNoCode
	}
	if len(r.Code) > events.MaxName {
		return bad("what names the code is longer than %d bytes", events.MaxName)
	}
	var why *Bad
	if r.Time, why = m.time.parse(m.time.from.get(values)); why != nil {
		return why
	}
	switch {
	case r.Time.After(latest):
		return bad("the time lies in the future")
	case r.Time.Before(m.time.since), !m.time.until.IsZero() && !r.Time.Before(m.time.until):
		return skipTime
	}
	var visitor string
	var utm events.UTM
	for i := range m.attributes {
		a := &m.attributes[i]
		s := a.from.get(values)
		if s == "" {
			if a.to == atType && !m.optional {
				return skipType // a kind of record that the mapping does not name
			}
			continue
		}
		if why := r.set(a.to, s, &visitor, &utm); why != nil {
			return why
		}
	}
	if utm != (events.UTM{}) {
		r.Scan.UTM = &utm
	}
	visitor = identity(visitor)
	switch r.Type {
	case events.TypeScan:
		r.Scan.OpenID = visitor
	case events.TypeMemberJoined, events.TypeMemberLeft:
		r.Member.OpenID = visitor
		if r.Member.Target == nil {
			return bad("target is missing: a member event names the target by its number, from 0")
		}
	case events.TypeMemberSnapshot:
		if r.Snapshot.Target = r.Member.Target; r.Snapshot.Target == nil {
			return bad("target is missing: a snapshot names the target by its number, from 0")
		}
		if r.Snapshot.Count == nil {
			return bad("count is missing: a snapshot says how many members the group has")
		}
	case events.TypeConversion:
		r.Convert.OpenID = visitor
	}
	return nil
}

// set takes one attribute over. Types are told apart afterwards: a record has few attributes that only some of them know.
func (r *Record) set(to attribute, s string, visitor *string, utm *events.UTM) *Bad {
	s = printable(s)
	plain := strings.TrimSpace(s)
	var err *Bad
	name := func() string {
		if len(plain) > events.MaxName && err == nil {
			err = bad("%s is longer than %d bytes", to, events.MaxName)
		}
		return plain
	}
	whole := func(lo, hi int64) int64 {
		n, perr := strconv.ParseInt(plain, 10, 64)
		if (perr != nil || n < lo || n > hi) && err == nil {
			err = bad("%s is no whole number from %d to %d", to, lo, hi)
		}
		return n
	}
	switch to {
	case atType:
		full, ok := typeNames[plain]
		if !ok {
			full = plain
			if !events.FromProducer(full) {
				return bad("the type is none of scan, joined, left, snapshot and conversion")
			}
		}
		r.Type = full
	case atID:
		r.ID = name()
	case atVisitor:
		*visitor = plain
	case atNetwork:
		r.Scan.Network = address(plain)
	case atUserAgent:
		r.Scan.UserAgent = s
		if len(s) > events.MaxText {
			r.Scan.UserAgent = strings.ToValidUTF8(s[:events.MaxText], "")
		}
	case atReferrer:
		r.Referrer = plain
		if host := visit.RefererHost(plain); host != "" && r.Scan.RefererHost == "" {
			r.Scan.RefererHost = host
		}
	case atRefHost:
		r.Scan.RefererHost = name()
	case atCountry:
		r.Scan.Country = name()
	case atProvince:
		r.Scan.Province = name()
	case atCity:
		r.Scan.City = name()
	case atDevice:
		r.Scan.DeviceModel = name()
	case atOS:
		r.Scan.OS = name()
	case atApp:
		r.Scan.App = name()
	case atVariant:
		r.Scan.Variant = int(whole(0, events.MaxVariant))
	case atTracking:
		r.Scan.Tracking = name()
	case atTarget:
		n := int(whole(0, events.MaxTarget))
		r.Scan.Target, r.Member.Target = &n, &n
	case atClick:
		r.Scan.ClickID = name()
		r.Member.ClickID, r.Convert.ClickID = r.Scan.ClickID, r.Scan.ClickID
	case atName:
		r.Convert.Name = name()
	case atValue:
		if !decimal(plain) {
			return bad("value is no decimal number such as 12.50")
		}
		r.Convert.Value = events.Decimal(plain)
	case atCurrency:
		r.Convert.Currency = strings.ToUpper(name())
	case atCount:
		n := whole(0, events.MaxCount)
		r.Snapshot.Count = &n
	case atUTMSource:
		utm.Source = cut(plain)
	case atUTMMedium:
		utm.Medium = cut(plain)
	case atUTMCampaign:
		utm.Campaign = cut(plain)
	case atUTMTerm:
		utm.Term = cut(plain)
	case atUTMContent:
		utm.Content = cut(plain)
	}
	return err
}

// cut bounds what anybody may have put into an address.
func cut(s string) string {
	if len(s) > events.MaxName {
		return strings.ToValidUTF8(s[:events.MaxName], "")
	}
	return s
}

// printable writes a space for every control character, which no event may have, and reads bytes that are no UTF-8.
func printable(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			if !utf8.ValidString(s) {
				s = fromLatin1(s)
			}
			return strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return ' '
				}
				return r
			}, s)
		}
	}
	return s
}

// address is an address or network as the gateway cuts it; "" for anything else, such as the name of a host, which is not to be kept.
func address(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.WithZone("").String()
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().WithZone("").String()
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.String()
	}
	return ""
}

// decimal reports whether s is a number as JSON writes it, without an exponent.
func decimal(s string) bool {
	whole, fraction, has := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (whole == "0" || whole[0] != '0') && (!has || digits(fraction))
}

// identity is what identifies a visitor, in as many bytes as an OpenID may have.
func identity(s string) string {
	if len(s) <= events.MaxName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// An EventID is the id of an imported event. Its text is 32 hexadecimal digits.
type EventID [16]byte

func (id EventID) String() string { return hex.EncodeToString(id[:]) }

// ParseEventID reads the text of an id.
func ParseEventID(s string) (id EventID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	n, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && n == len(id)
}

// Identities draws the ids of events from what their records say. The key keeps them from telling more than the events do: without it,
// whoever reads event ids could try all addresses. Not safe for concurrent use.
type Identities struct {
	key    [64]byte
	source string
	h      hash.Hash
	b      []byte
}

// NewIdentities returns the ids of a source under a key of 32 bytes.
func NewIdentities(key []byte, source string) *Identities {
	d := &Identities{source: source, h: sha256.New()}
	copy(d.key[:], key)
	return d
}

// Content is what a record says, as 128 bits: who did what, when and with which code. What was found out about it from elsewhere
// (country, province, city, device, system, app) is no part of it. code is the id of the record's code.
func (d *Identities) Content(r *Record, code string) EventID {
	d.b = append(d.b[:0], "c"...)
	d.text(r.Type)
	d.text(code)
	d.b = binary.BigEndian.AppendUint64(d.b, uint64(r.Time.UnixNano()))
	switch r.Type {
	case events.TypeScan:
		s := &r.Scan
		d.text(r.Token)
		d.text(s.OpenID)
		d.text(s.Network)
		d.text(s.UserAgent)
		d.text(r.Referrer)
		d.text(s.RefererHost)
		d.text(s.Tracking)
		d.text(s.ClickID)
		d.b = binary.BigEndian.AppendUint32(d.b, uint32(s.Variant))
		d.number(s.Target)
		if u := s.UTM; u != nil {
			for _, v := range []string{u.Source, u.Medium, u.Campaign, u.Term, u.Content} {
				d.text(v)
			}
		}
	case events.TypeMemberJoined, events.TypeMemberLeft:
		d.text(r.Member.OpenID)
		d.text(r.Member.ClickID)
		d.number(r.Member.Target)
	case events.TypeMemberSnapshot:
		d.number(r.Snapshot.Target)
		d.b = binary.BigEndian.AppendUint64(d.b, uint64(*r.Snapshot.Count))
	case events.TypeConversion:
		c := &r.Convert
		d.text(c.OpenID)
		d.text(c.ClickID)
		d.text(c.Name)
		d.text(string(c.Value))
		d.text(c.Currency)
	}
	return d.sum()
}

// Occurrence is the id of the n-th record (from 1) of a content within a file.
func (d *Identities) Occurrence(content EventID, n uint64) EventID {
	d.b = append(append(d.b[:0], 'o'), content[:]...)
	d.b = binary.BigEndian.AppendUint64(d.b, n)
	return d.sum()
}

// Own is the id of a record that has an id of its own.
func (d *Identities) Own(id string) EventID {
	d.b = append(d.b[:0], 'i')
	d.text(id)
	return d.sum()
}

func (d *Identities) text(s string) {
	d.b = binary.AppendUvarint(d.b, uint64(len(s)))
	d.b = append(d.b, s...)
}

func (d *Identities) number(n *int) {
	if n == nil {
		d.b = append(d.b, 0)
		return
	}
	d.b = binary.BigEndian.AppendUint32(append(d.b, 1), uint32(*n))
}

func (d *Identities) sum() EventID {
	d.h.Reset()
	d.h.Write(d.key[:]) // a whole block, so that nothing that follows can look like a key
	d.text(d.source)
	d.h.Write(d.b)
	var out [sha256.Size]byte
	return EventID(d.h.Sum(out[:0])[:16])
}

// resolve puts the code's id in the place of what the record named it by.
func (r *Record) resolve(id string) { r.Code = id }

// asToken reports whether what names the code could be a token.
func (r *Record) asToken() bool {
	return r.CodeIs == CodeToken || r.CodeIs == AnyCode && token.Possible(r.Code)
}

// Append appends the record's event, as structured JSON. code is its subject.
func (r *Record) Append(b []byte, id EventID, source string) ([]byte, error) {
	e := events.Event{ID: id.String(), Source: source, Type: r.Type, Subject: r.Code, Time: r.Time, Historical: true}
	switch r.Type {
	case events.TypeScan:
		r.Scan.Token = r.Token
		return appendScan(b, &e, &r.Scan)
	case events.TypeMemberJoined, events.TypeMemberLeft:
		e.Data = &r.Member
	case events.TypeMemberSnapshot:
		e.Data = &r.Snapshot
	case events.TypeConversion:
		e.Data = &r.Convert
	default:
		return b, fmt.Errorf("%q is no type of an imported event", r.Type)
	}
	return e.AppendTo(b)
}

// isCodeID reports whether s has the form of a code's id.
func isCodeID(s string) bool {
	_, err := token.ParseCodeID(s)
	return err == nil
}
