package code

import (
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
)

// Target is where a scan leads. Exactly one of URL and Picture is set.
type Target struct {
	N        int    `json:"n"`                 // its number: from 0 in the order given at mint, never reused
	URL      string `json:"url,omitzero"`      // redirect there
	Picture  string `json:"picture,omitzero"`  // an image (https URL or data: URI) shown on a landing page
	Capacity int64  `json:"capacity,omitzero"` // members it holds; 0: no limit
	Closed   bool   `json:"closed,omitzero"`   // taken out by its owner
}

// Variant is one of up to eight renderings of a code. N is 1 to 8. What is empty is the style's.
type Variant struct {
	N          int    `json:"n"`
	Name       string `json:"name,omitzero"`
	Foreground string `json:"fg,omitzero"` // #rrggbb
	Background string `json:"bg,omitzero"`
	Shape      string `json:"shape,omitzero"` // of modules: square, round, dots
	Badge      string `json:"badge,omitzero"` // words in the corner
	Copy       string `json:"copy,omitzero"`  // words under the picture
}

// Style is how the code's pictures are drawn unless the request says otherwise.
type Style struct {
	Foreground string  `json:"fg,omitzero"`
	Background string  `json:"bg,omitzero"`
	Size       int     `json:"size,omitzero"`  // pixels
	MM         float64 `json:"mm,omitzero"`    // printed width instead of the size
	DPI        int     `json:"dpi,omitzero"`   // resolution in print
	Quiet      int     `json:"quiet,omitzero"` // modules of quiet zone
	Shape      string  `json:"shape,omitzero"`
	Plate      string  `json:"plate,omitzero"` // on or off: the tracking code in the middle
	Badge      string  `json:"badge,omitzero"`
	Copy       string  `json:"copy,omitzero"`
	Logo       string  `json:"logo,omitzero"` // data: URI of a PNG or JPEG
}

// Definition is a code as its owner defined it, with every profile default
// already filled in: the state machine needs no profile table, so a changed
// default never rewrites history.
type Definition struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"` // 1 at mint, +1 with every change
	Name     string `json:"name,omitzero"`
	Profile  string `json:"profile"`
	Tenant   string `json:"tenant,omitzero"`

	Targets  []Target `json:"targets"`
	Campaign string   `json:"campaign,omitzero"`
	Source   string   `json:"source,omitzero"`
	Medium   string   `json:"medium,omitzero"`
	Term     string   `json:"term,omitzero"`
	Content  string   `json:"content,omitzero"`
	Owner    string   `json:"owner,omitzero"`
	Verified bool     `json:"verified,omitzero"`

	Countdown    Countdown   `json:"countdown"`
	Validity     span.Span   `json:"validity"` // "0s": permanent
	Longest      span.Span   `json:"longest"`
	RenewalEvery span.Span   `json:"renewal_every"` // "0s": no owner renewal
	MaxScans     int64       `json:"max_scans"`     // 0: no cap
	WarnPercent  int         `json:"warn_percent"`  // 0: no capacity warning
	Dedupe       span.Span   `json:"dedupe"`        // "0s": off
	Rules        []risk.Rule `json:"rules"`
	Variants     []Variant   `json:"variants,omitempty"`
	Style        Style       `json:"style,omitzero"`

	MintedAt  time.Time `json:"minted_at"`
	ChangedAt time.Time `json:"changed_at"`
	RenewedAt time.Time `json:"renewed_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// FirstExpiry is when the code expires if nobody ever scans it, and false when
// it is permanent. It is what a mint answers before the log has been read.
func (d *Definition) FirstExpiry() (time.Time, bool) { return d.expiry(d.anchor(), d.anchor()) }

// FirstRenewalDue is when the owner must first renew, and false when never.
func (d *Definition) FirstRenewalDue() (time.Time, bool) {
	if d.RenewalEvery == 0 {
		return time.Time{}, false
	}
	return d.anchor().Add(d.RenewalEvery.Duration()), true
}

// anchor is where countdowns start: the mint or the last renewal.
func (d *Definition) anchor() time.Time {
	if d.RenewedAt.After(d.MintedAt) {
		return d.RenewedAt
	}
	return d.MintedAt
}

// expiry is from + Validity, never beyond anchor + Longest.
func (d *Definition) expiry(anchor, from time.Time) (time.Time, bool) {
	if d.Countdown == CountdownNone || d.Validity == 0 {
		return time.Time{}, false
	}
	at := from.Add(d.Validity.Duration())
	if d.Longest > 0 {
		if latest := anchor.Add(d.Longest.Duration()); at.After(latest) {
			at = latest
		}
	}
	return at, true
}

// Variant returns the variant with number n, 1 to 8.
func (d *Definition) Variant(n int) (Variant, bool) {
	for _, v := range d.Variants {
		if v.N == n {
			return v, true
		}
	}
	return Variant{}, false
}

// Target returns the target with number n.
func (d *Definition) Target(n int) (Target, bool) {
	for _, t := range d.Targets {
		if t.N == n {
			return t, true
		}
	}
	return Target{}, false
}
