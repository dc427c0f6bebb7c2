package code

import (
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/token"
)

// Countdown says how a code's validity runs.
type Countdown string

// The countdowns of a profile.
const (
	CountdownSliding Countdown = "sliding" // an accepted scan restarts it, never past Longest
	CountdownFixed   Countdown = "fixed"   // runs from the mint
	CountdownNone    Countdown = "none"    // the code is permanent
)

// Profile is a set of defaults for one platform. The numbers are one vendor's
// published limits; they are defaults to be changed, not promises.
type Profile struct {
	Name             string       `json:"name"`
	Validity         span.Span    `json:"validity"` // 0: permanent unless the mint says otherwise
	Longest          span.Span    `json:"longest"`  // 0: no bound
	Countdown        Countdown    `json:"countdown"`
	RenewalEvery     span.Span    `json:"renewal_every"` // 0: no owner renewal
	MaxScans         int64        `json:"max_scans"`     // 0: no cap
	MaxScansVerified int64        `json:"max_scans_verified"`
	Capacity         int64        `json:"capacity"` // 0: no capacity
	CapacityVerified int64        `json:"capacity_verified"`
	WarnPercent      int          `json:"warn_percent"` // 0: no capacity warning
	QRVersion        int          `json:"qr_version"`   // 0: chosen by content
	QRLevel          string       `json:"qr_level"`
	Token            token.Format `json:"token"`           // what its pictures carry
	RegisteredOnly   bool         `json:"registered_only"` // targets must be on the registered-domain list
}

const day = 24 * time.Hour

// RearmPercent is where a capacity warning is armed again.
const RearmPercent = 75

// Profiles are the built-in profiles, in the order they are documented.
var Profiles = []Profile{
	{
		Name: "wechat-group", Validity: span.Span(2 * time.Hour), Longest: span.Span(7 * day), Countdown: CountdownSliding,
		RenewalEvery: span.Span(72 * time.Hour), MaxScans: 100, MaxScansVerified: 200, Capacity: 200, CapacityVerified: 500,
		WarnPercent: 80, QRVersion: 3, QRLevel: "M", Token: token.FormatAES,
	},
	{
		Name: "wechat-static", Validity: span.Span(7 * day), Longest: span.Span(7 * day), Countdown: CountdownFixed,
		MaxScans: 100, MaxScansVerified: 200, Capacity: 200, CapacityVerified: 500, WarnPercent: 80, QRVersion: 2, QRLevel: "M",
		Token: token.FormatShort,
	},
	{
		Name: "wecom-group", Countdown: CountdownNone, Capacity: 2000, CapacityVerified: 2000, WarnPercent: 80, QRVersion: 4, QRLevel: "M",
		Token: token.FormatSM,
	},
	{
		Name: "miniprogram", Countdown: CountdownFixed, QRLevel: "M", RegisteredOnly: true, Token: token.FormatScene,
	},
}

// ProfileByName finds a built-in profile.
func ProfileByName(name string) (Profile, bool) {
	for _, p := range Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}
