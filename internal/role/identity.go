package role

import (
	"strings"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// identity is what a scan worker knows of who is scanning.
func identity(k *token.Keyring) scanning.Identity {
	return scanning.Identity{
		Visitor: k.Visitors().FromOpenID,
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
		Picture: func(text string) (scanning.Picture, bool) {
			p, err := k.Open(strings.ToUpper(text))
			if err != nil {
				return scanning.Picture{}, false
			}
			return scanning.Picture{Code: p.Code.String(), Variant: p.Variant, Tracking: k.Tracking(p)}, true
		},
		Device: func(userAgent string) (model, os, app string) {
			d := visit.Device(userAgent)
			return d.Model, d.OS, d.App
		},
	}
}
