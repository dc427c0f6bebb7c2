package gateway

import (
	"errors"
	"fmt"
	"strings"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

func rulesOf(asked []ruleRequest) ([]risk.Rule, error) {
	if len(asked) > risk.MaxRules {
		return nil, invalid(events.CodeTooMany, "rules", "at most %d rules are allowed", risk.MaxRules)
	}
	rules := make([]risk.Rule, 0, len(asked))
	seen := make(map[string]bool)
	for i, a := range asked {
		at := fmt.Sprintf("rules[%d]", i)
		r := risk.Rule{ID: fmt.Sprintf("rule-%d", i+1)}
		if a.ID != nil {
			r.ID = *a.ID
		}
		set(&r.Scope, a.Scope)
		set(&r.Limit, a.Limit)
		set(&r.Window, a.Window)
		set(&r.Action, a.Action)
		set(&r.For, a.For)
		if a.For != nil && *a.For == 0 {
			return nil, invalid(events.CodeInvalid, at+".for", "use a duration from 1s to 365d")
		}
		if a.Limit == nil {
			return nil, invalid(events.CodeMissingField, at+".limit", "say how many scans are too many")
		}
		if a.Window == nil {
			return nil, invalid(events.CodeMissingField, at+".window", `say within which time, such as "30s"`)
		}
		r = r.WithDefaults()
		if err := r.Validate(); err != nil {
			field, reason := at, err.Error()
			if re, ok := errors.AsType[*risk.RuleError](err); ok {
				field, reason = at+"."+re.Field, re.Reason
			}
			return nil, invalid(events.CodeInvalid, field, "%s", reason)
		}
		if strings.ContainsFunc(r.ID, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, invalid(events.CodeInvalid, at+".id", "use letters, digits and signs of ASCII, no blanks")
		}
		if seen[r.ID] {
			return nil, invalid(events.CodeInvalid, at+".id", "two rules have this id")
		}
		seen[r.ID] = true
		rules = append(rules, r)
	}
	return rules, nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func variantsOf(asked []variantRequest) ([]code.Variant, error) {
	if len(asked) > token.Variants {
		return nil, invalid(events.CodeTooMany, "variants", "at most %d variants are allowed", token.Variants)
	}
	var out []code.Variant
	seen := make(map[int]bool)
	for i, a := range asked {
		at := fmt.Sprintf("variants[%d]", i)
		v := code.Variant{N: i + 1, Name: a.Name, Foreground: a.Foreground, Background: a.Background, Shape: a.Shape, Badge: a.Badge, Copy: a.Copy}
		set(&v.N, a.N)
		if v.N < 1 || v.N > token.Variants || seen[v.N] {
			return nil, invalid(events.CodeInvalid, at+".n", "use a number from 1 to %d, each once", token.Variants)
		}
		seen[v.N] = true
		if err := checkText(at+".name", v.Name); err != nil {
			return nil, err
		}
		if err := checkText(at+".copy", v.Copy); err != nil {
			return nil, err
		}
		if err := checkText(at+".badge", v.Badge); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
