package risk

import (
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/code/span"
)

// Scope says what a rule counts by, always within one code.
type Scope string

// The scopes a rule may have.
const (
	ScopeVisitor Scope = "visitor" // one visitor at one code
	ScopeCode    Scope = "code"    // everybody at one code
	ScopeNetwork Scope = "network" // one network prefix at one code
)

// Action says what happens when a rule fires.
type Action string

// The actions a rule may have.
const (
	ActionLock   Action = "lock"    // refuse further scans of the key until the lock ends
	ActionFlag   Action = "flag"    // raise an alert, refuse nothing
	ActionDryRun Action = "dry-run" // record what would have been done
)

// Bounds on a rule. MaxLimit bounds the memory of one key at 8 bytes a scan.
const (
	MaxLimit  = 10_000
	MinWindow = time.Second
	MaxWindow = 7 * 24 * time.Hour
	MaxFor    = 365 * 24 * time.Hour
	MaxRules  = 16
)

// Rule is "Limit counted scans within Window, by Scope: do Action for For".
type Rule struct {
	ID     string    `json:"id"`
	Scope  Scope     `json:"scope"`
	Limit  int       `json:"limit"`
	Window span.Span `json:"window"`
	Action Action    `json:"action"`
	For    span.Span `json:"for"`
}

// DefaultRules is the frequency lockout every code has unless it names its own:
// five scans of one visitor within 30 s lock that visitor for 10 min.
func DefaultRules() []Rule {
	return []Rule{{
		ID: "frequency", Scope: ScopeVisitor, Limit: 5, Window: span.Span(30 * time.Second),
		Action: ActionLock, For: span.Span(10 * time.Minute),
	}}
}

// RuleError names the field of a rule that does not validate.
type RuleError struct {
	Field  string // "limit", "window", …
	Reason string // one sentence, what to do
}

func (e *RuleError) Error() string { return e.Field + ": " + e.Reason }

// WithDefaults fills what a rule may leave out: scope visitor, action lock,
// For 10 min.
func (r Rule) WithDefaults() Rule {
	if r.Scope == "" {
		r.Scope = ScopeVisitor
	}
	if r.Action == "" {
		r.Action = ActionLock
	}
	if r.For == 0 {
		r.For = span.Span(10 * time.Minute)
	}
	return r
}

// Validate returns a *RuleError for the first field that is out of bounds.
func (r Rule) Validate() error {
	bad := func(field, format string, args ...any) error {
		return &RuleError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.ID == "" || len(r.ID) > 64:
		return bad("id", "give the rule an id of 1 to 64 characters")
	case r.Scope != ScopeVisitor && r.Scope != ScopeCode && r.Scope != ScopeNetwork:
		return bad("scope", "use visitor, code or network")
	case r.Limit < 1 || r.Limit > MaxLimit:
		return bad("limit", "use a whole number from 1 to %d", MaxLimit)
	case r.Window.Duration() < MinWindow || r.Window.Duration() > MaxWindow:
		return bad("window", "use a duration from 1s to 7d")
	case r.Action != ActionLock && r.Action != ActionFlag && r.Action != ActionDryRun:
		return bad("action", "use lock, flag or dry-run")
	case r.For.Duration() < time.Second || r.For.Duration() > MaxFor:
		return bad("for", "use a duration from 1s to 365d")
	}
	return nil
}
