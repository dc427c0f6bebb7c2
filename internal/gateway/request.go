package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
)

// Bounds on a definition, in bytes unless said otherwise.
const (
	maxTargets    = 64 // targets open at once
	maxEver       = 1024
	maxName       = 200
	maxURL        = 2048
	maxPicture    = 32 << 10 // of the image itself
	maxDefinition = events.MaxEvent - 1024
)

// codeRequest is what a mint or a change says. nil is not said.
type codeRequest struct {
	Name         *string           `json:"name"`
	Profile      *string           `json:"profile"`
	Targets      *[]targetRequest  `json:"targets"`
	Campaign     *string           `json:"campaign"`
	Source       *string           `json:"source"`
	Medium       *string           `json:"medium"`
	Term         *string           `json:"term"`
	Content      *string           `json:"content"`
	Owner        *string           `json:"owner"`
	Verified     *bool             `json:"verified"`
	Validity     *span.Span        `json:"validity"`
	RenewalEvery *span.Span        `json:"renewal_every"`
	MaxScans     *int64            `json:"max_scans"`
	WarnPercent  *int              `json:"warn_percent"`
	Dedupe       *span.Span        `json:"dedupe"`
	Rules        *[]ruleRequest    `json:"rules"`
	Variants     *[]variantRequest `json:"variants"`
	Style        *styleRequest     `json:"style"`
}

type targetRequest struct {
	N        *int    `json:"n"`
	URL      *string `json:"url"`
	Picture  *string `json:"picture"`
	Capacity *int64  `json:"capacity"`
	Closed   *bool   `json:"closed"`
}

type ruleRequest struct {
	ID     *string      `json:"id"`
	Scope  *risk.Scope  `json:"scope"`
	Limit  *int         `json:"limit"`
	Window *span.Span   `json:"window"`
	Action *risk.Action `json:"action"`
	For    *span.Span   `json:"for"`
}

type variantRequest struct {
	N          *int   `json:"n"`
	Name       string `json:"name"`
	Foreground string `json:"fg"`
	Background string `json:"bg"`
	Shape      string `json:"shape"`
	Badge      string `json:"badge"`
	Copy       string `json:"copy"`
}

// policy is what an installation lets codes be.
type policy struct {
	private    bool      // lead into private networks
	registered []string  // domains, for profiles that ask for it
	scans      string    // what scan URLs begin with, as pictures carry them
	free       []string  // profiles whose symbols may grow
	drawable   *drawable // styles that were tried
}

func (g *Gateway) policy() policy {
	return policy{
		private: g.opts.AllowPrivateTargets, registered: g.opts.RegisteredDomains,
		scans: printed(g.publicURL + scanPath), free: g.opts.QRFree, drawable: &g.drawable,
	}
}

// profileOf finds the profile a mint names.
func profileOf(name *string) (code.Profile, error) {
	var names []string
	for _, p := range code.Profiles {
		names = append(names, p.Name)
	}
	known := strings.Join(names, ", ")
	if name == nil || *name == "" {
		return code.Profile{}, invalid(events.CodeMissingField, "profile", "name the code's profile: %s", known)
	}
	p, ok := code.ProfileByName(*name)
	if !ok {
		return p, problem(http.StatusBadRequest, "unknown_profile", "use one of %s", known).at("profile")
	}
	return p, nil
}

// newDefinition makes the definition a mint asks for, every default filled in.
func (q *codeRequest) newDefinition(pol policy, id string, now time.Time) (code.Definition, error) {
	p, err := profileOf(q.Profile)
	if err != nil {
		return code.Definition{}, err
	}
	if q.Targets == nil || len(*q.Targets) == 0 {
		return code.Definition{}, invalid(events.CodeMissingField, "targets", "give at least one target: a url or a picture")
	}
	now = now.UTC().Truncate(time.Millisecond)
	def := code.Definition{ID: id, Revision: 1, Profile: p.Name, MintedAt: now, ChangedAt: now}
	defaults(&def, p, nil)
	if err := q.apply(&def, pol, p); err != nil {
		return code.Definition{}, err
	}
	return def, nil
}

// defaults sets the profile's values for the named fields, for all when names is nil.
func defaults(def *code.Definition, p code.Profile, names []string) {
	want := func(name string) bool { return names == nil || slices.Contains(names, name) }
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"name", &def.Name}, {"campaign", &def.Campaign}, {"source", &def.Source}, {"medium", &def.Medium}, {"term", &def.Term},
		{"content", &def.Content}, {"owner", &def.Owner},
	} {
		if want(f.name) {
			*f.to = ""
		}
	}
	if want("verified") {
		def.Verified = false
	}
	if want("validity") {
		def.Validity, def.Longest, def.Countdown = p.Validity, p.Longest, p.Countdown
	}
	if want("renewal_every") {
		def.RenewalEvery = p.RenewalEvery
	}
	if want("max_scans") {
		def.MaxScans = p.MaxScans
		if def.Verified {
			def.MaxScans = p.MaxScansVerified
		}
	}
	if want("warn_percent") {
		def.WarnPercent = p.WarnPercent
	}
	if want("dedupe") {
		def.Dedupe = 0
	}
	if want("rules") {
		def.Rules = risk.DefaultRules()
	}
	if want("variants") {
		def.Variants = nil
	}
	if want("style") {
		def.Style = code.Style{}
	}
}

// apply checks what q says and changes def by it. Errors are *Problem and name
// the field.
func (q *codeRequest) apply(def *code.Definition, pol policy, p code.Profile) error {
	for _, f := range []struct {
		field string
		from  *string
		to    *string
	}{
		{"name", q.Name, &def.Name}, {"campaign", q.Campaign, &def.Campaign}, {"source", q.Source, &def.Source}, {"medium", q.Medium, &def.Medium},
		{"term", q.Term, &def.Term}, {"content", q.Content, &def.Content}, {"owner", q.Owner, &def.Owner},
	} {
		if f.from == nil {
			continue
		}
		if err := checkText(f.field, *f.from); err != nil {
			return err
		}
		*f.to = *f.from
	}
	if q.Verified != nil {
		was := p.MaxScans
		if def.Verified {
			was = p.MaxScansVerified
		}
		def.Verified = *q.Verified
		if q.MaxScans == nil && def.MaxScans == was { // the profile's cap, not one of the owner's
			defaults(def, p, []string{"max_scans"})
		}
	}
	if q.Targets != nil {
		targets, err := mergeTargets(def.Targets, *q.Targets, def.Verified, pol, p)
		if err != nil {
			return err
		}
		def.Targets = targets
	}
	if err := q.applyTimes(def, p); err != nil {
		return err
	}
	if q.MaxScans != nil {
		if *q.MaxScans < 1 || *q.MaxScans > events.MaxCount {
			return invalid(events.CodeInvalid, "max_scans", "use a whole number from 1, or leave it out for the profile's cap")
		}
		def.MaxScans = *q.MaxScans
	}
	if q.WarnPercent != nil {
		if *q.WarnPercent < 0 || *q.WarnPercent > 100 {
			return invalid(events.CodeInvalid, "warn_percent", "use a whole number from 1 to 100, or 0 for no warning")
		}
		def.WarnPercent = *q.WarnPercent
	}
	if q.Rules != nil {
		rules, err := rulesOf(*q.Rules)
		if err != nil {
			return err
		}
		def.Rules = rules
	}
	if q.Variants != nil {
		variants, err := variantsOf(*q.Variants)
		if err != nil {
			return err
		}
		def.Variants = variants
	}
	if q.Style != nil {
		style, err := q.Style.style()
		if err != nil {
			return err
		}
		def.Style = style
	}
	if q.Style != nil || q.Variants != nil {
		return pol.checkStyle(def, p)
	}
	return nil
}

func (q *codeRequest) applyTimes(def *code.Definition, p code.Profile) error {
	if q.Validity != nil {
		v := *q.Validity
		switch {
		case v == 0 && p.Longest > 0, v != 0 && v.Duration() < time.Second:
			return invalid(events.CodeInvalid, "validity", "use a duration from 1s%s", upTo(p.Longest))
		case p.Longest > 0 && v > p.Longest:
			return invalid(events.CodeInvalid, "validity", "the profile %s allows at most %s", p.Name, p.Longest)
		}
		def.Validity, def.Countdown = v, p.Countdown
		if p.Countdown == code.CountdownNone && v > 0 {
			def.Countdown = code.CountdownFixed // permanent unless the mint says otherwise, as it does
		}
	}
	if q.RenewalEvery != nil {
		if v := *q.RenewalEvery; v != 0 && v.Duration() < time.Second {
			return invalid(events.CodeInvalid, "renewal_every", `use a duration from 1s, or "0s" for no renewal`)
		}
		def.RenewalEvery = *q.RenewalEvery
	}
	if q.Dedupe != nil {
		const most = 7 * 24 * time.Hour
		if v := q.Dedupe.Duration(); v > most || v != 0 && v < time.Second {
			return invalid(events.CodeInvalid, "dedupe", `use a duration from 1s to 7d, or "0s" for none`)
		}
		def.Dedupe = *q.Dedupe
	}
	return nil
}

func upTo(longest span.Span) string {
	if longest == 0 {
		return ""
	}
	return " to " + longest.String()
}

func checkText(field, v string) error {
	if len(v) > maxName {
		return invalid(events.CodeTooLarge, field, "it has %d bytes; at most %d are allowed", len(v), maxName)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return invalid(events.CodeInvalid, field, "it has a control character")
	}
	return nil
}
