package role

import (
	"net/netip"
	"strings"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// purposeVisitor names the subkey by which visitors are hashed. Gateways and
// scan workers use the same, so that an OpenID is one visitor wherever it
// arrives.
const purposeVisitor = "visitor"

// Visitors returns the hasher of a keyring's visitors.
func Visitors(k *token.Keyring) token.VisitorHasher {
	return token.NewVisitorHasher(k.Purpose(purposeVisitor))
}

// identity is what a scan worker knows of who is scanning.
func identity(k *token.Keyring) scanning.Identity {
	return scanning.Identity{
		Visitor: Visitors(k).FromOpenID,
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
		Network: network,
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

// network cuts an address, or a prefix longer than may be kept, to the prefix
// that is kept. Other text is a name of a producer's own and stays.
func network(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return visit.Network(a)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return text
	}
	if most := 24; p.Addr().Is4() && p.Bits() <= most {
		return p.Masked().String()
	}
	if most := 64; p.Addr().Is6() && !p.Addr().Is4In6() && p.Bits() <= most {
		return p.Masked().String()
	}
	return visit.Network(p.Addr())
}
