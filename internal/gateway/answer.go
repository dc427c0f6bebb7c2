package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

// codeAnswer is a code as the API shows it.
type codeAnswer struct {
	ID       string        `json:"id"`
	Revision uint64        `json:"revision"`
	Name     string        `json:"name"`
	Profile  string        `json:"profile"`
	Status   code.Status   `json:"status"`
	Reason   string        `json:"reason,omitzero"` // why it expired
	Token    string        `json:"token"`
	ScanURL  string        `json:"scan_url"`
	QRPNG    string        `json:"qr_png"`
	QRSVG    string        `json:"qr_svg"`
	Tracking string        `json:"tracking"`
	Pictures []picture     `json:"pictures,omitempty"` // one a variant
	Targets  []code.Target `json:"targets"`
	Current  *int          `json:"current"` // the target scans go to; null: none
	Campaign string        `json:"campaign,omitzero"`
	Source   string        `json:"source,omitzero"`
	Medium   string        `json:"medium,omitzero"`
	Term     string        `json:"term,omitzero"`
	Content  string        `json:"content,omitzero"`
	Owner    string        `json:"owner,omitzero"`
	Verified bool          `json:"verified"`

	Countdown    code.Countdown `json:"countdown"`
	Validity     span.Span      `json:"validity"`
	RenewalEvery span.Span      `json:"renewal_every"`
	MaxScans     int64          `json:"max_scans"` // 0: no cap
	WarnPercent  int            `json:"warn_percent"`
	Dedupe       span.Span      `json:"dedupe"`
	Rules        []risk.Rule    `json:"rules"`
	Variants     []code.Variant `json:"variants,omitempty"`
	Style        code.Style     `json:"style,omitzero"`

	MintedAt     time.Time  `json:"minted_at"`
	ChangedAt    time.Time  `json:"changed_at"`
	RenewedAt    *time.Time `json:"renewed_at"`
	RevokedAt    *time.Time `json:"revoked_at"`
	ExpiresAt    *time.Time `json:"expires_at"`     // null: permanent
	RenewalDueAt *time.Time `json:"renewal_due_at"` // null: never
}

// picture is one variant's.
type picture struct {
	Variant  int    `json:"variant"`
	Token    string `json:"token"`
	ScanURL  string `json:"scan_url"`
	QRPNG    string `json:"qr_png"`
	QRSVG    string `json:"qr_svg"`
	Tracking string `json:"tracking"`
}

func (g *Gateway) pictureOf(def *code.Definition, id token.CodeID, variant int) (picture, error) {
	p := token.Picture{Code: id, Variant: variant}
	text, err := g.keyring().SealAs(formatOf(def.Profile), p)
	if err != nil {
		return picture{}, err
	}
	base := g.publicURL + "/v1/codes/" + id.String() + "/qr"
	q := ""
	if variant > 1 {
		q = "?" + url.Values{"variant": {strconv.Itoa(variant)}}.Encode()
	}
	return picture{
		Variant: variant, Token: text, ScanURL: g.publicURL + scanPath + text, QRPNG: base + ".png" + q, QRSVG: base + ".svg" + q,
		Tracking: g.keyring().Tracking(p),
	}, nil
}

// printed is the scan URL as pictures carry it: all upper case, which a QR
// symbol holds in less space.
func printed(scanURL string) string { return strings.ToUpper(scanURL) }

// answer is k as the API shows it.
func (g *Gateway) answer(k known) (codeAnswer, error) {
	def, v := k.def, &k.view
	first := 1
	var pictures []picture
	for _, variant := range def.Variants {
		p, err := g.pictureOf(def, k.id, variant.N)
		if err != nil {
			return codeAnswer{}, err
		}
		pictures = append(pictures, p)
	}
	if len(pictures) > 0 {
		first = slices.MinFunc(pictures, func(a, b picture) int { return a.Variant - b.Variant }).Variant
	}
	p, err := g.pictureOf(def, k.id, first)
	if err != nil {
		return codeAnswer{}, err
	}
	a := codeAnswer{
		ID: def.ID, Revision: def.Revision, Name: def.Name, Profile: def.Profile, Status: v.Status, Reason: v.Reason,
		Token: p.Token, ScanURL: p.ScanURL, QRPNG: p.QRPNG, QRSVG: p.QRSVG, Tracking: p.Tracking, Pictures: pictures,
		Targets: def.Targets, Campaign: def.Campaign, Source: def.Source, Medium: def.Medium, Term: def.Term, Content: def.Content,
		Owner: def.Owner, Verified: def.Verified, Countdown: def.Countdown, Validity: def.Validity, RenewalEvery: def.RenewalEvery,
		MaxScans: def.MaxScans, WarnPercent: def.WarnPercent, Dedupe: def.Dedupe, Rules: def.Rules, Variants: def.Variants, Style: def.Style,
		MintedAt: def.MintedAt, ChangedAt: def.ChangedAt, RenewedAt: timeOrNull(def.RenewedAt), RevokedAt: timeOrNull(def.RevokedAt),
		ExpiresAt: timeOrNull(v.ExpiresAt), RenewalDueAt: timeOrNull(v.RenewalDueAt),
	}
	if v.Current >= 0 {
		a.Current = &v.Current
	}
	return a, nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// etag is a code's revision as a strong entity tag.
func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

func (g *Gateway) writeCode(w http.ResponseWriter, status int, k known) error {
	a, err := g.answer(k)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(k.def.Revision))
	if status == http.StatusCreated {
		w.Header().Set("Location", g.publicURL+"/v1/codes/"+k.def.ID)
	}
	return writeJSON(w, status, a)
}
