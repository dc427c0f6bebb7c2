package events

import (
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
)

// The event types there are.
const (
	TypeCodeMinted     = "huoma.code.minted.v1"
	TypeCodeChanged    = "huoma.code.changed.v1"
	TypeCodeRenewed    = "huoma.code.renewed.v1"
	TypeCodeRevoked    = "huoma.code.revoked.v1"
	TypeScan           = "huoma.scan.v1"
	TypeForged         = "huoma.forged.v1" // our own: counts of forged scans, see Forged
	TypeMemberJoined   = "huoma.member.joined.v1"
	TypeMemberLeft     = "huoma.member.left.v1"
	TypeMemberSnapshot = "huoma.member.snapshot.v1"
	TypeConversion     = "huoma.conversion.v1"
	TypeAlertCapacity  = "huoma.alert.capacity.v1"
	TypeAlertRisk      = "huoma.alert.risk.v1"
	TypeAlertRenewal   = "huoma.alert.renewal.v1"
	TypeAlertExpiry    = "huoma.alert.expiry.v1"
	TypeDecision       = "huoma.decision.v1"
)

// Data is the payload of an event: one of the pointer types of this file.
type Data interface{ check() *Error }

// UTM are the campaign parameters a scan arrived with.
type UTM struct {
	Source   string `json:"source,omitzero"`
	Medium   string `json:"medium,omitzero"`
	Campaign string `json:"campaign,omitzero"`
	Term     string `json:"term,omitzero"`
	Content  string `json:"content,omitzero"`
}

// Scan is one scan of a code. Everything is optional: a producer sends what it
// knows. Visitor is a keyed hash; OpenID is hashed before anything is stored
// in a decision.
type Scan struct {
	Token        string `json:"token,omitzero"`
	Variant      int    `json:"variant,omitzero"` // 1 to 8; 0: none
	Tracking     string `json:"tracking,omitzero"`
	Visitor      string `json:"visitor,omitzero"`
	OpenID       string `json:"openid,omitzero"`
	UserAgent    string `json:"user_agent,omitzero"`
	Network      string `json:"network,omitzero"` // prefix: IPv4 /24, IPv6 /64; addresses are cut to it
	Country      string `json:"country,omitzero"`
	Province     string `json:"province,omitzero"`
	City         string `json:"city,omitzero"`
	DeviceModel  string `json:"device_model,omitzero"`
	OS           string `json:"os,omitzero"`
	App          string `json:"app,omitzero"`
	RefererHost  string `json:"referrer_host,omitzero"`
	UTM          *UTM   `json:"utm,omitempty"`
	Target       *int   `json:"target,omitempty"` // a target's number, from 0
	ClickID      string `json:"click_id,omitzero"`
	Answered     string `json:"answered,omitzero"`      // the gateway's verdict
	AnsweredRule string `json:"answered_rule,omitzero"` // and its reason
	ShownAt      string `json:"shown_at,omitzero"`      // the minute that a live picture was shown in; empty: a printed one. See FormatMinute
}

// minuteForm is how a minute is written: RFC 3339 in UTC, with whole minutes.
const minuteForm = "2006-01-02T15:04:00Z"

// FormatMinute writes the minute that t lies in as Scan.ShownAt has it.
func FormatMinute(t time.Time) string { return t.UTC().Format(minuteForm) }

// Shown is the minute that the scan's live picture was shown in; zero for a printed one.
func (s *Scan) Shown() time.Time {
	at, _ := parseMinute(s.ShownAt)
	return at
}

func parseMinute(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	at, err := time.Parse(minuteForm, s)
	return at, err == nil && FormatMinute(at) == s
}

// Member is a person joining or leaving a target's group. Visitor and OpenID are
// as in a Scan.
type Member struct {
	Target  *int   `json:"target"`
	Visitor string `json:"visitor,omitzero"`
	OpenID  string `json:"openid,omitzero"`
	ClickID string `json:"click_id,omitzero"`
}

// MemberSnapshot is a group's true size.
type MemberSnapshot struct {
	Target *int   `json:"target"`
	Count  *int64 `json:"count"`
}

// Conversion is something a visitor did later: a lead, a sale. Visitor and
// OpenID are as in a Scan.
type Conversion struct {
	ClickID  string  `json:"click_id,omitzero"`
	Visitor  string  `json:"visitor,omitzero"`
	OpenID   string  `json:"openid,omitzero"`
	Name     string  `json:"name"`
	Value    Decimal `json:"value,omitzero"`    // decimal, at most 4 places
	Currency string  `json:"currency,omitzero"` // ISO 4217, required with Value
}

// CodeData is a code as its owner left it.
type CodeData struct {
	code.Definition
}

// Forged counts the forged scans of one network within one minute. Its event's
// subject is "forged"; it names no code.
type Forged struct {
	Network string `json:"network"`
	Count   int64  `json:"count"`
}

// Alert is the data of every huoma.alert.*.v1 event.
type Alert struct {
	Code        string     `json:"code"`
	Kind        string     `json:"kind"`
	Reason      string     `json:"reason"`
	Target      *int       `json:"target,omitempty"`
	Members     *int64     `json:"members,omitempty"`
	MembersFrom string     `json:"members_from,omitzero"` // "members" or "scans"
	Capacity    int64      `json:"capacity,omitzero"`
	Percent     float64    `json:"percent,omitzero"`
	Threshold   int        `json:"threshold,omitzero"`
	PerHour     float64    `json:"per_hour,omitzero"`
	EtaFull     string     `json:"eta_full,omitzero"` // capacity: RFC 3339, or "unknown"
	Rule        string     `json:"rule,omitzero"`
	Scope       string     `json:"scope,omitzero"`
	Key         string     `json:"key,omitzero"`
	Until       *time.Time `json:"until,omitempty"`
	Limit       int        `json:"limit,omitzero"`
	Window      span.Span  `json:"window,omitzero"`
	DueAt       *time.Time `json:"due_at,omitempty"`
	Cause       []string   `json:"cause,omitempty"` // event ids
}

// Decision is the data of huoma.decision.v1.
type Decision struct {
	Code   string     `json:"code"`
	Kind   string     `json:"kind"`
	Reason string     `json:"reason"`
	Target *int       `json:"target,omitempty"`
	From   *int       `json:"from,omitempty"`
	Rule   string     `json:"rule,omitzero"`
	Scope  string     `json:"scope,omitzero"`
	Key    string     `json:"key,omitzero"`
	Until  *time.Time `json:"until,omitempty"`
	Cause  []string   `json:"cause,omitempty"`
}

// newData returns an empty payload for an event type.
func newData(typ string) (Data, bool) {
	switch typ {
	case TypeScan:
		return new(Scan), true
	case TypeMemberJoined, TypeMemberLeft:
		return new(Member), true
	case TypeMemberSnapshot:
		return new(MemberSnapshot), true
	case TypeConversion:
		return new(Conversion), true
	case TypeCodeMinted, TypeCodeChanged, TypeCodeRenewed, TypeCodeRevoked:
		return new(CodeData), true
	case TypeForged:
		return new(Forged), true
	case TypeAlertCapacity, TypeAlertRisk, TypeAlertRenewal, TypeAlertExpiry:
		return new(Alert), true
	case TypeDecision:
		return new(Decision), true
	}
	return nil, false
}

// FromProducer reports whether a producer may publish events of this type.
func FromProducer(typ string) bool {
	switch typ {
	case TypeScan, TypeMemberJoined, TypeMemberLeft, TypeMemberSnapshot, TypeConversion:
		return true
	}
	return false
}
