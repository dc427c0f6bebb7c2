package code

import (
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
)

// Kind names a decision.
type Kind string

// The decisions there are.
const (
	KindLock   Kind = "lock"    // a key is refused until Until
	KindUnlock Kind = "unlock"  // the lock has ended
	KindFlag   Kind = "flag"    // a rule spoke, nothing is refused
	KindDryRun Kind = "dry-run" // a rule would have locked or flagged
	KindRotate Kind = "rotate"  // scans go to another target
	KindFull   Kind = "full"    // no target has room
	KindCap    Kind = "cap"     // the scan cap is used up
	KindExpire Kind = "expire"
	KindRenew  Kind = "renew"
	KindRevoke Kind = "revoke"
	KindReopen Kind = "reopen" // usable again after cap, full or expire
)

// Decision is one change of what the log means, with its named reason.
type Decision struct {
	Kind   Kind
	Reason string
	At     time.Time
	Target int  // the target concerned; -1: none
	From   *int // rotate: the target scans went to before
	Rule   string
	Scope  risk.Scope
	Key    string // lock, unlock, flag, dry-run: the visitor or network
	Until  time.Time
	Cause  []string // event ids
}

// AlertKind names an alert. The event type is huoma.alert.<kind>.v1.
type AlertKind string

// The alerts there are.
const (
	AlertCapacity AlertKind = "capacity"
	AlertRisk     AlertKind = "risk"
	AlertRenewal  AlertKind = "renewal"
	AlertExpiry   AlertKind = "expiry"
)

// Alert is something a person should hear about.
type Alert struct {
	Kind   AlertKind
	Reason string
	At     time.Time
	Target int // -1: none
	Cause  []string

	Members     int64  // capacity
	MembersFrom string // "members" or "scans"
	Capacity    int64
	Percent     float64
	Threshold   int
	PerHour     float64   // recent arrivals an hour; 0: unknown
	EtaFull     time.Time // zero: unknown

	Rule   string // risk
	Scope  risk.Scope
	Key    string
	Until  time.Time
	Limit  int
	Window span.Span

	DueAt time.Time // renewal, expiry
}
