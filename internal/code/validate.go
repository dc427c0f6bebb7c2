package code

import (
	"errors"
	"fmt"

	"github.com/huoma/huoma/internal/risk"
)

// Bounds on a definition.
const (
	MaxTargets  = 10_000
	MaxVariants = 8
	MaxCapacity = 1 << 40
)

// FieldError names the field of a definition that does not validate, as a path
// such as "targets[0].capacity".
type FieldError struct {
	Field   string
	Reason  string // one sentence, what to do
	Missing bool   // it is not there at all
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Validate holds d to what the state machine relies on and returns a
// *FieldError for the first field that is missing or out of bounds. What a
// gateway allows its users may be narrower.
func (d *Definition) Validate() error {
	missing := func(field, reason string) error { return &FieldError{Field: field, Reason: reason, Missing: true} }
	bad := func(field, reason string) error { return &FieldError{Field: field, Reason: reason} }
	switch {
	case d.ID == "":
		return missing("id", "name the code")
	case d.Revision == 0:
		return missing("revision", "give the definition's revision, from 1")
	case d.Profile == "":
		return missing("profile", "name the profile")
	case len(d.Targets) == 0:
		return missing("targets", "give at least one target")
	case len(d.Targets) > MaxTargets:
		return bad("targets", fmt.Sprintf("give at most %d targets", MaxTargets))
	case d.Countdown == "":
		return missing("countdown", "use sliding, fixed or none")
	case d.Countdown != CountdownSliding && d.Countdown != CountdownFixed && d.Countdown != CountdownNone:
		return bad("countdown", "use sliding, fixed or none")
	case d.MintedAt.IsZero():
		return missing("minted_at", "say when the code was minted")
	case d.MaxScans < 0:
		return bad("max_scans", "use a whole number from 0, which is no cap")
	case d.WarnPercent < 0 || d.WarnPercent > 100:
		return bad("warn_percent", "use a whole number from 0, which is no warning, to 100")
	case d.Validity < 0 || d.Longest < 0 || d.RenewalEvery < 0 || d.Dedupe < 0:
		return bad("validity", "a duration is not negative")
	case len(d.Rules) > risk.MaxRules:
		return bad("rules", fmt.Sprintf("give at most %d rules", risk.MaxRules))
	case len(d.Variants) > MaxVariants:
		return bad("variants", fmt.Sprintf("give at most %d variants", MaxVariants))
	}
	targets := make(map[int]bool, len(d.Targets))
	for i, t := range d.Targets {
		at := fmt.Sprintf("targets[%d].", i)
		switch {
		case t.N < 0 || t.N >= MaxTargets:
			return bad(at+"n", fmt.Sprintf("a target's number is from 0 to %d", MaxTargets-1))
		case targets[t.N]:
			return bad(at+"n", "another target has this number")
		case (t.URL == "") == (t.Picture == ""):
			return bad(at+"url", "give either a url or a picture")
		case t.Capacity < 0 || t.Capacity > MaxCapacity:
			return bad(at+"capacity", "use a whole number from 0, which is no limit")
		}
		targets[t.N] = true
	}
	rules := make(map[string]bool, len(d.Rules))
	for i, r := range d.Rules {
		at := fmt.Sprintf("rules[%d].", i)
		if err := r.Validate(); err != nil {
			var e *risk.RuleError
			if errors.As(err, &e) {
				return bad(at+e.Field, e.Reason)
			}
			return bad(at+"id", err.Error())
		}
		if rules[r.ID] {
			return bad(at+"id", "another rule has this id: scans would count twice")
		}
		rules[r.ID] = true
	}
	variants := make(map[int]bool, len(d.Variants))
	for i, v := range d.Variants {
		at := fmt.Sprintf("variants[%d].", i)
		if v.N < 1 || v.N > MaxVariants {
			return bad(at+"n", fmt.Sprintf("a variant is a number from 1 to %d", MaxVariants))
		}
		if variants[v.N] {
			return bad(at+"n", "another variant has this number")
		}
		variants[v.N] = true
	}
	return nil
}
