package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// kioskLink is what a kiosk's signed address says: this screen may show this code. It ends with the key that signed it, and with the code.
type kioskLink struct {
	id      token.CodeID
	variant int
	device  string
}

const (
	kioskPurpose = "kiosk"
	kioskHead    = 9 // bytes of code id and variant; the device's name follows
)

// sign writes l as the last part of its address, in base 64.
func (l kioskLink) sign(k *token.Keyring) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, kioskHead+maxScreen+token.SignatureSize), uint64(l.id))
	b = append(append(b, byte(l.variant)), l.device...)
	s := k.Sign(kioskPurpose, b)
	return base64.RawURLEncoding.EncodeToString(append(b, s[:]...))
}

// openKiosk reads what sign wrote; false for anything else, and for what was signed with a key that no longer opens.
func openKiosk(k *token.Keyring, text string) (l kioskLink, ok bool) {
	if len(text) > base64.RawURLEncoding.EncodedLen(kioskHead+maxScreen+token.SignatureSize) {
		return l, false
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) <= kioskHead+token.SignatureSize || base64.RawURLEncoding.EncodeToString(b) != text {
		return l, false
	}
	n := len(b) - token.SignatureSize
	if !k.Verify(kioskPurpose, b[:n], [token.SignatureSize]byte(b[n:])) {
		return l, false
	}
	return kioskLink{token.CodeID(binary.BigEndian.Uint64(b)), int(b[8]), string(b[kioskHead:n])}, true
}

// variantOf is the variant asked for, else the code's first.
func variantOf(def *code.Definition, q url.Values) (int, error) {
	first := 1
	for i, v := range def.Variants {
		if i == 0 || v.N < first {
			first = v.N
		}
	}
	n, err := queryInt(q, "variant", 1, token.Variants, first)
	if err != nil {
		return 0, err
	}
	if _, ok := def.Variant(n); !ok && (n != 1 || len(def.Variants) > 0) {
		return 0, invalid(events.CodeInvalid, "variant", "the code has no variant %d", n)
	}
	return n, nil
}

type kioskRequest struct {
	Device  string `json:"device"`
	Variant int    `json:"variant"`
}

type kioskAnswer struct {
	Code     string `json:"code"`
	Device   string `json:"device"`
	Variant  int    `json:"variant"`
	Tracking string `json:"tracking"`
	URL      string `json:"url"`
	Key      int    `json:"key"` // that signed it: the link ends when this key is retired
}

// makeKiosk answers POST /v1/codes/{id}/kiosks with a link under which an unattended screen shows the code's live picture. Nothing is stored: the
// same screen has the same link until keys are rotated.
func (g *Gateway) makeKiosk(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json")
	if err != nil {
		return err
	}
	var q kioskRequest
	if err := decode(body, &q); err != nil {
		return err
	}
	k, err := g.known(r)
	if err != nil {
		return err
	}
	if !k.def.RevokedAt.IsZero() {
		return problem(http.StatusConflict, "revoked", "a revoked code has nothing to show: mint a new one")
	}
	asked := url.Values{}
	if q.Variant != 0 {
		asked.Set("variant", strconv.Itoa(q.Variant))
	}
	s, err := g.screenOf(k, q.Device, asked)
	if err != nil {
		return err
	}
	keys := g.keyring()
	l := token.Live{Picture: token.Picture{Code: k.id, Variant: s.variant}, Device: keys.Device(k.id, s.device)}
	return writeJSON(w, http.StatusCreated, kioskAnswer{
		k.def.ID, s.device, s.variant, keys.LiveTracking(l), g.publicURL + "/k/" + kioskLink{k.id, s.variant, s.device}.sign(keys), keys.NewestID(),
	})
}

// openScreen reads the kiosk link of a request's path, and finds its code.
func (g *Gateway) openScreen(r *http.Request) (screen, known, error) {
	l, ok := openKiosk(g.keyring(), r.PathValue("signed"))
	if !ok {
		return screen{}, known{}, problem(http.StatusNotFound, "bad_kiosk", "this screen's address is not one of ours, or its key was retired: make a new one with huoma codes kiosk")
	}
	k, ok, err := g.find(r.Context(), l.id)
	switch {
	case err != nil:
		return screen{}, known{}, g.unavailable(err)
	case !ok:
		return screen{}, known{}, noSuchCode()
	case !k.def.RevokedAt.IsZero():
		return screen{}, known{}, problem(http.StatusGone, "revoked", "the code was revoked, and this screen with it: mint a new one")
	}
	s, err := g.screenOf(k, l.device, url.Values{"variant": {strconv.Itoa(l.variant)}})
	return s, k, err
}

// streamKiosk answers GET /k/{signed}/live. Its link is looked at anew with every picture.
func (g *Gateway) streamKiosk(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, _, err := g.openScreen(r)
	if err != nil {
		return err
	}
	signed := r.PathValue("signed")
	return g.show(w, r, func(now time.Time) (screenState, error) {
		if _, ok := openKiosk(g.keyring(), signed); !ok {
			return screenState{id: "closed.link", event: "closed", over: true, data: liveClosed{Code: s.id.String(), Status: "retired"}}, nil
		}
		return g.look(s, now)
	})
}
