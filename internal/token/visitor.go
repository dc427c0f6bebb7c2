package token

import (
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
)

// VisitorLength is the number of characters of a visitor hash.
const VisitorLength = 26

var visitorEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// A VisitorHasher turns what identifies a scanner into a visitor: the first 16 bytes of HMAC-SHA256,
// in lower-case base 32 (RFC 4648), 26 characters. The raw value cannot be found from it
// without the key, and is kept nowhere. Safe for concurrent use. The zero VisitorHasher is of no use.
type VisitorHasher struct{ mac mac }

// NewVisitorHasher returns a hasher under key, a subkey such as Keyring.Purpose("visitor"). It
// keeps a copy. Another key makes everyone a new visitor.
func NewVisitorHasher(key []byte) VisitorHasher {
	return VisitorHasher{newMAC(key)}
}

// Visitors returns the hasher of the ring's visitors. Gateways and scan workers share it, so that an
// OpenID is one visitor wherever it arrives.
func (k *Keyring) Visitors() VisitorHasher { return NewVisitorHasher(k.Purpose("visitor")) }

// FromOpenID returns the visitor of a platform's user id; "" for "", who is nobody.
func (h VisitorHasher) FromOpenID(id string) string { return h.hash("o:", id) }

// FromCookie returns the visitor of a first-party cookie's value; "" for "", who is nobody. It never
// equals an OpenID's.
func (h VisitorHasher) FromCookie(value string) string { return h.hash("c:", value) }

func (h VisitorHasher) hash(kind, value string) string {
	if value == "" {
		return ""
	}
	sum := h.mac(kind, value)
	return visitorEncoding.EncodeToString(sum[:16])
}

const redactedHasher = "token.VisitorHasher(redacted)"

// String says nothing secret.
func (VisitorHasher) String() string { return redactedHasher }

// GoString says nothing secret.
func (VisitorHasher) GoString() string { return redactedHasher }

// Format says nothing secret, whatever the verb.
func (VisitorHasher) Format(s fmt.State, _ rune) { io.WriteString(s, redactedHasher) }

// LogValue says nothing secret.
func (VisitorHasher) LogValue() slog.Value { return slog.StringValue(redactedHasher) }
