package role

import (
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// ring is where the keyring in force is. Ask looks whether there is a newer one, as somebody came with a key that is not in it.
type ring interface {
	Keyring() *token.Keyring
	Ask() bool
}

// still is a keyring that nothing changes.
type still struct{ k *token.Keyring }

func (s still) Keyring() *token.Keyring { return s.k }
func (still) Ask() bool                 { return false }

// identity is what a scan worker knows of who is scanning.
func identity(keys ring) scanning.Identity {
	return scanning.Identity{
		Visitor: keys.Keyring().Visitors().FromOpenID, // of the root, which stays
		Classify: func(userAgent string) (code.Verdict, string) {
			c := visit.Classify(visit.Request{Method: "GET", UserAgent: userAgent})
			switch c.Kind {
			case visit.Preview:
				return code.Preview, c.Rule
			case visit.Bot:
				return code.Bot, c.Rule
			}
			return "", ""
		},
		Network: visit.CutNetwork,
		Picture: func(text, of string, at time.Time) (scanning.Picture, string) {
			k := keys.Keyring()
			p, err := picture(k, text, of, at)
			if token.ReasonOf(err) == token.ReasonUnknownKey && keys.Ask() {
				k = keys.Keyring()
				p, err = picture(k, text, of, at)
			}
			if err != nil {
				return scanning.Picture{}, string(token.ReasonOf(err))
			}
			return scanning.Picture{Code: p.Code.String(), Variant: p.Variant, Tracking: p.Tracking, Shown: p.Shown}, ""
		},
		Device: func(userAgent string) (model, os, app string) {
			d := visit.Device(userAgent)
			return d.Model, d.OS, d.App
		},
	}
}

// picture opens a producer's token of a code, with the keys of a time.
func picture(k *token.Keyring, text, of string, at time.Time) (token.Reading, error) {
	id, err := token.ParseCodeID(of)
	if err != nil { // of no code of ours, so that a short id is nobody's
		id = 0
	}
	return k.ReadFor(strings.ToUpper(text), id, at)
}
