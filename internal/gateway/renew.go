package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// linkFor is how long a renewal link works after the renewal was due.
const linkFor = 30 * 24 * time.Hour

// renewalLink is what a signed link says: renew this code, whose renewal is due
// then. Once it has been renewed the link does nothing more.
type renewalLink struct {
	id      token.CodeID
	due     int64 // Unix milliseconds
	expires int64 // Unix seconds
}

const linkTag = 16 // bytes of HMAC-SHA256

// sign writes l as the last part of its address: 40 bytes in base 64.
func (l renewalLink) sign(key []byte) string {
	b := make([]byte, 24, 24+linkTag)
	binary.BigEndian.PutUint64(b, uint64(l.id))
	binary.BigEndian.PutUint64(b[8:], uint64(l.due))
	binary.BigEndian.PutUint64(b[16:], uint64(l.expires))
	return base64.RawURLEncoding.EncodeToString(append(b, linkMAC(key, b)...))
}

func linkMAC(key, payload []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("huoma/renew/v1\x00"))
	m.Write(payload)
	return m.Sum(nil)[:linkTag]
}

var errLink = errors.New("the renewal link is not one of ours")

// openLink reads what sign wrote under key; anything else is errLink.
func openLink(key []byte, s string) (renewalLink, error) {
	if len(s) != base64.RawURLEncoding.EncodedLen(24+linkTag) {
		return renewalLink{}, errLink
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 24+linkTag || !hmac.Equal(b[24:], linkMAC(key, b[:24])) {
		return renewalLink{}, errLink
	}
	return renewalLink{
		token.CodeID(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// RenewalLink is the one-click link for renewing a code whose renewal is due
// at due. It works until 30 days after that, and once.
func (g *Gateway) RenewalLink(id string, due time.Time) (string, error) {
	c, err := token.ParseCodeID(id)
	if err != nil {
		return "", err
	}
	l := renewalLink{id: c, due: due.UnixMilli(), expires: due.Add(linkFor).Unix()}
	return g.publicURL + "/r/" + l.sign(g.linkKey), nil
}

// renewCode answers POST /v1/codes/{id}/renew.
func (g *Gateway) renewCode(w http.ResponseWriter, r *http.Request) error {
	return g.change(w, r, events.TypeCodeRenewed, renewed)
}

// renewed begins a new period.
func renewed(def *code.Definition, now time.Time) error {
	if def.RenewalEvery == 0 && (def.Countdown == code.CountdownNone || def.Validity == 0) {
		return problem(http.StatusConflict, "nothing_to_renew", "the code is permanent")
	}
	if floor := def.MintedAt; !now.After(floor) {
		now = floor.Add(time.Millisecond)
	}
	if !now.After(def.RenewedAt) {
		now = def.RenewedAt.Add(time.Millisecond)
	}
	def.RenewedAt = now
	return nil
}

type renewalAnswer struct {
	Code         string     `json:"code"`
	Name         string     `json:"name"`
	Renewed      bool       `json:"renewed"` // this period was begun already: the link does nothing more
	ExpiresAt    *time.Time `json:"expires_at"`
	RenewalDueAt *time.Time `json:"renewal_due_at"`
}

// showRenewal answers GET /r/{signed}: it says what a POST will do, and does
// nothing, since mail programs and chats open links by themselves.
func (g *Gateway) showRenewal(w http.ResponseWriter, r *http.Request) error {
	l, k, err := g.openRenewal(r)
	if err != nil {
		return g.refuseRenewal(w, r, err)
	}
	return g.answerRenewal(w, r, k, "renew", l.done(k))
}

// doRenewal answers POST /r/{signed}.
func (g *Gateway) doRenewal(w http.ResponseWriter, r *http.Request) error {
	l, k, err := g.openRenewal(r)
	if err != nil {
		return g.refuseRenewal(w, r, err)
	}
	if l.done(k) {
		return g.answerRenewal(w, r, k, "renewed", true)
	}
	was := k.def.Revision
	err = g.edit(r.Context(), l.id, events.TypeCodeRenewed, "", func(def *code.Definition, now time.Time) error {
		if def.Revision != was {
			return errChanged // by the same link in another window, perhaps
		}
		return renewed(def, now)
	})
	if err != nil && !errors.Is(err, errChanged) {
		return g.refuseRenewal(w, r, err)
	}
	if k, ok, err := g.find(r.Context(), l.id); err == nil && ok {
		return g.answerRenewal(w, r, k, "renewed", true)
	}
	return g.refuseRenewal(w, r, noSuchCode())
}

var errChanged = errors.New("the code was changed meanwhile")

// done reports whether the period the link is for has ended in a renewal.
func (l renewalLink) done(k known) bool {
	return k.view.RenewalDueAt.UnixMilli() > l.due || k.view.RenewalDueAt.IsZero()
}

func (g *Gateway) openRenewal(r *http.Request) (renewalLink, known, error) {
	l, err := openLink(g.linkKey, r.PathValue("signed"))
	if err != nil {
		return l, known{}, problem(http.StatusNotFound, "bad_link", "open the link of the newest message")
	}
	if g.now().Unix() >= l.expires {
		return l, known{}, problem(http.StatusGone, "link_expired", "open the link of the newest message, or renew with the API")
	}
	k, ok, err := g.find(r.Context(), l.id)
	switch {
	case err != nil:
		return l, known{}, g.unavailable(err)
	case !ok:
		return l, known{}, noSuchCode()
	case !k.def.RevokedAt.IsZero():
		return l, known{}, problem(http.StatusGone, "revoked", "a revoked code cannot be renewed: mint a new one")
	}
	return l, k, nil
}

func (g *Gateway) refuseRenewal(w http.ResponseWriter, r *http.Request, err error) error {
	return g.refuse(w, r, g.asProblem(err, route{pattern: "/r/{signed}"}))
}

func (g *Gateway) answerRenewal(w http.ResponseWriter, r *http.Request, k known, what string, done bool) error {
	if wantsJSON(r) {
		return writeJSON(w, http.StatusOK, renewalAnswer{
			Code: k.def.ID, Name: k.def.Name, Renewed: done, ExpiresAt: timeOrNull(k.view.ExpiresAt), RenewalDueAt: timeOrNull(k.view.RenewalDueAt),
		})
	}
	lang := language(r.Header.Get("Accept-Language"))
	t := texts[lang]
	until := t["nolimit"]
	if at := k.view.RenewalDueAt; !at.IsZero() {
		until = at.UTC().Format("2006-01-02 15:04 UTC")
	}
	p := page{Lang: lang, Title: t[what], Text: fmt.Sprintf(t["renewedText"], firstOf(k.def.Name, k.def.ID), until)}
	switch {
	case what == "renew" && done:
		p.Title = t["already"]
	case what == "renew":
		p.Text, p.Button = fmt.Sprintf(t["renewText"], firstOf(k.def.Name, k.def.ID), until), t["renewButton"]
	}
	return g.page(w, http.StatusOK, p)
}
