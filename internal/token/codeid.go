package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// codeAlphabet is base 32 without i, l, o and u, in lower case. Its upper-case form
// is in the QR alphanumeric set.
const codeAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const (
	// CodeIDLength is the number of characters of a code id's text.
	CodeIDLength = 12

	maxCodeID = 1<<60 - 1
)

// codeDigit maps a character to its value, or -1.
var codeDigit = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range len(codeAlphabet) {
		t[codeAlphabet[i]] = int8(i)
	}
	return t
}()

// A CodeID names a code: 60 bits, written as 12 characters of 0–9 and a–z without i, l, o and u,
// most significant first.
type CodeID uint64

// ErrCodeID is what [ParseCodeID] returns for anything but the text of a code id.
var ErrCodeID = errors.New("a code id is 12 characters of 0-9 and a-z without i, l, o and u")

// ParseCodeID reads the text form. It is strict: lower case only, exactly 12 characters; else [ErrCodeID].
func ParseCodeID(s string) (CodeID, error) {
	if len(s) != CodeIDLength {
		return 0, ErrCodeID
	}
	var v uint64
	for i := range len(s) {
		d := codeDigit[s[i]]
		if d < 0 {
			return 0, ErrCodeID
		}
		v = v<<5 | uint64(d)
	}
	return CodeID(v), nil
}

// FormatCodeID writes the text form of v, of which the low 60 bits count.
func FormatCodeID(v uint64) string {
	var b [CodeIDLength]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = codeAlphabet[v&31]
		v >>= 5
	}
	return string(b[:])
}

// String is the text form.
func (c CodeID) String() string { return FormatCodeID(uint64(c)) }

// MarshalText is the text form; it refuses a value of more than 60 bits.
func (c CodeID) MarshalText() ([]byte, error) {
	if c > maxCodeID {
		return nil, fmt.Errorf("code id %#x has more than 60 bits", uint64(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText is [ParseCodeID].
func (c *CodeID) UnmarshalText(b []byte) error {
	v, err := ParseCodeID(string(b))
	if err != nil {
		return err
	}
	*c = v
	return nil
}

// NewCodeID draws a code id from rand, which is crypto/rand.Reader outside tests. It reads 8 bytes
// and fails only as rand does. Among a million codes two are equal with a chance of one in two million,
// so whoever stores codes still has to create, not overwrite.
func NewCodeID(rand io.Reader) (CodeID, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw a code id: %w", err)
	}
	return CodeID(binary.BigEndian.Uint64(b[:]) >> 4), nil
}

// DeriveCodeID returns the code id that belongs to an idempotency key, so that a mint which is repeated names
// the same code wherever it is repeated. key is a subkey ([Keyring.Purpose]); without it ids cannot be
// foretold. Whoever serves several tenants puts the tenant into idempotencyKey.
func DeriveCodeID(key []byte, idempotencyKey string) CodeID {
	m := hmac.New(sha256.New, key)
	io.WriteString(m, "huoma/code-id/v1\x00")
	io.WriteString(m, idempotencyKey)
	return CodeID(binary.BigEndian.Uint64(m.Sum(nil)) >> 4)
}
