package code

// Verdict is what the log says of a scan.
type Verdict string

// Every verdict there is, in the order they are documented.
const (
	Accepted  Verdict = "accepted"
	Duplicate Verdict = "duplicate"
	Preview   Verdict = "preview"
	Bot       Verdict = "bot"
	Locked    Verdict = "locked"
	Capped    Verdict = "capped"
	Expired   Verdict = "expired"
	Full      Verdict = "full"
	Revoked   Verdict = "revoked"
	Forged    Verdict = "forged"
)

var verdictList = [...]Verdict{Accepted, Duplicate, Preview, Bot, Locked, Capped, Expired, Full, Revoked, Forged}

// Verdicts lists every verdict.
var Verdicts = verdictList[:]

// Known reports whether v is a verdict.
func (v Verdict) Known() bool { return v.index() >= 0 }

// Counted reports whether a scan with this verdict counts in frequency
// windows: all do but previews, robots and forgeries.
func (v Verdict) Counted() bool { return v != Preview && v != Bot && v != Forged }

// Redirected reports whether the visitor is led to the target.
func (v Verdict) Redirected() bool { return v == Accepted || v == Duplicate }

// Status is the state of a code as a whole.
type Status string

// The states a code may be in.
const (
	StatusActive  Status = "active"
	StatusCapped  Status = "capped"  // its scan cap is used up
	StatusFull    Status = "full"    // no target has room
	StatusExpired Status = "expired" // its validity or renewal period ran out
	StatusRevoked Status = "revoked" // its owner ended it
)
