package code

import (
	"slices"
	"strings"

	"github.com/huoma/huoma/internal/risk"
)

const (
	// mostTexts and mostRules bound what Shares remembers: most definitions of
	// an installation differ in little, and what is seen late is not shared.
	mostTexts = 1 << 14
	mostRules = 64
	// longestText is the longest that is remembered, in bytes.
	longestText = 64
)

// Shares lets the definitions of many codes have one memory for what they have
// in common, so that a million of them take less and are collected around
// faster. The zero value is ready. Not safe for concurrent use.
type Shares struct {
	texts map[string]string
	rules [][]risk.Rule
}

// Definition makes def share its texts, but for names and addresses, and its
// rules. What def holds is not altered, only where it is.
func (s *Shares) Definition(def *Definition) {
	for _, text := range []*string{
		&def.Profile, &def.Tenant, &def.Campaign, &def.Source, &def.Medium, &def.Term, &def.Content, &def.Owner, (*string)(&def.Countdown),
	} {
		*text = s.Text(*text)
	}
	def.Rules = s.shared(def.Rules)
}

// Text returns text in the memory of an equal one seen before, if it is short
// enough to be remembered.
func (s *Shares) Text(text string) string {
	if text == "" || len(text) > longestText {
		return text
	}
	if known, ok := s.texts[text]; ok {
		return known
	}
	if len(s.texts) < mostTexts {
		if s.texts == nil {
			s.texts = make(map[string]string)
		}
		text = strings.Clone(text) // without what it stands in
		s.texts[text] = text
	}
	return text
}

func (s *Shares) shared(rules []risk.Rule) []risk.Rule {
	if len(rules) == 0 {
		return rules
	}
	for _, known := range s.rules {
		if slices.Equal(known, rules) {
			return known
		}
	}
	if len(s.rules) < mostRules {
		s.rules = append(s.rules, slices.Clip(rules))
	}
	return rules
}
