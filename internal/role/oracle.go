package role

import (
	"time"

	"github.com/huoma/huoma/internal/oracle"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// Oracle is what the oracle knows of who is scanning: what a scan worker with the same keys knows.
func Oracle(k *token.Keyring) oracle.Who {
	return oracle.Who{
		Visitor: k.Visitors().FromOpenID,
		Class: func(userAgent string) (verdict, rule string) {
			c := visit.Classify(visit.Request{Method: "GET", UserAgent: userAgent})
			switch c.Kind {
			case visit.Preview:
				return "preview", c.Rule
			case visit.Bot:
				return "bot", c.Rule
			}
			return "", ""
		},
		Network: visit.CutNetwork,
		Picture: func(text, of string, at time.Time) (oracle.Picture, bool) {
			p, err := picture(k, text, of, at)
			if err != nil {
				return oracle.Picture{}, false
			}
			return oracle.Picture{Code: p.Code.String(), Variant: p.Variant, Tracking: p.Tracking, Shown: p.Shown}, true
		},
		Device: func(userAgent string) (model, os, app string) {
			d := visit.Device(userAgent)
			return d.Model, d.OS, d.App
		},
	}
}
