// Package token seals what a printed picture says (which code, which variant, which print) into the
// characters at the end of a scan URL, and opens them again. It also owns everything else that is
// derived from the master keys: code ids, tracking codes, visitor hashes and the subkeys of other packages.
//
// Start at [Keyring]: [ParseKeyring] or [NewKeyring] gives one, [Keyring.SealAs] and [Keyring.OpenWith] are
// the two halves. Keys on disk are the business of the keyfile subpackage; this one does no I/O, reads
// no clock and imports the standard library alone, but for SM3 and SM4.
//
// Every format begins with 8 bits: format version (high 3 bits) | key id (low 5 bits).
//
//	1  FormatAES    34 characters  sealed: AES-256, HMAC-SHA256          aes.go
//	2  FormatSM     47 characters  sealed: SM4, keyed SM3                sm.go
//	3  FormatShort  13 characters  an id that only the server resolves   short.go
//	4  live         34 characters  sealed, for a screen and a minute     live.go
//	5  FormatScene  17 to 26       such an id, variant and print number  short.go
//
// All are deterministic: the same picture under the same key is the same token, so a picture drawn twice is the
// same picture. schemas/token holds test vectors for other languages, with every step of each format.
//
// What it refuses: everything which it did not itself make. Lower case, padding, a different spelling of the
// same bytes, a foreign or retired key and any changed bit are one and the same [ErrForged]; the
// [Reason] is for operators and is never part of the error's text. An 8-byte tag means a guess succeeds
// once in 2^64 tries, a 16-byte one once in 2^128, a short id of one of n pictures once in 2^52 / n: these
// are for scan links which are counted and rate limited, not for credentials.
package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const (
	// Variants is the number of variants a code may have; a picture's variant is 1 to Variants.
	Variants = 8

	payloadSize = 12
)

// A Format is the version in front of a token, 3 bits.
type Format uint8

// The formats of printed pictures. Version 4 is that of live ones: see [Keyring.SealLive].
const (
	FormatAES   Format = 1 // sealed with AES-256 and HMAC-SHA256
	FormatSM    Format = 2 // sealed with SM4 and keyed SM3
	FormatShort Format = 3 // a short id, resolved by the server only
	FormatScene Format = 5 // a short id with the picture's variant and number beside it, at most 32 visible characters
)

// String names the format in metrics and errors.
func (f Format) String() string {
	switch f {
	case FormatAES:
		return "aes"
	case FormatSM:
		return "sm"
	case FormatShort:
		return "short"
	case FormatScene:
		return "scene"
	}
	return "unknown"
}

// Length is the number of characters of the format's longest token; 0 for a format that is not known.
func (f Format) Length() int {
	switch f {
	case FormatAES:
		return Length
	case FormatSM:
		return smLength
	case FormatShort:
		return shortLength
	case FormatScene:
		return sceneMost
	}
	return 0
}

// header is what a token of this format begins with.
func (f Format) header(id int) byte { return byte(f)<<5 | byte(id) }

// A Picture is what a token says: one print of one variant of one code.
type Picture struct {
	Code    CodeID
	Variant int    // 1 to Variants
	Number  uint32 // counts the prints of a code; 0 is the first
}

// ErrForged is the one error of [Keyring.Open]. Ask [ReasonOf] why, and tell operators only.
var ErrForged = errors.New("the token is not one of ours: scan the printed code again")

// A Reason says why a token was refused. It is for operators' logs and metrics; the set is fixed and small.
type Reason string

const (
	ReasonLength     Reason = "length"      // no format has tokens of this length
	ReasonAlphabet   Reason = "alphabet"    // a character outside the format's alphabet, or spare bits which are not zero
	ReasonVersion    Reason = "version"     // a format this program does not know
	ReasonCheck      Reason = "check"       // a short id whose check character does not fit: mistyped or guessed
	ReasonUnknownKey Reason = "unknown-key" // made with a key which is not in the keyring, or is retired
	ReasonSeal       Reason = "seal"        // the tag does not match, or no picture has this short id: changed, foreign or guessed
	ReasonReserved   Reason = "reserved"    // sealed by one of our keys, with a bit set which this format keeps zero
)

// Reasons are all of them.
var Reasons = []Reason{ReasonLength, ReasonAlphabet, ReasonVersion, ReasonCheck, ReasonUnknownKey, ReasonSeal, ReasonReserved}

// forgedError is ErrForged with its reason beside it, not in its text.
type forgedError struct{ reason Reason }

func (forgedError) Error() string        { return ErrForged.Error() }
func (forgedError) Is(target error) bool { return target == ErrForged }

// ReasonOf returns why [Keyring.Open] refused, or "" when err is not its error.
func ReasonOf(err error) Reason {
	if f, ok := errors.AsType[forgedError](err); ok {
		return f.reason
	}
	return ""
}

// derive returns the 32-byte subkey of master for one purpose: HKDF-SHA256 without salt, info = purpose.
func derive(master []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, master, nil, purpose, 32)
}

// Seal is [Keyring.SealAs] with [FormatAES].
func (k *Keyring) Seal(p Picture) (string, error) { return k.SealAs(FormatAES, p) }

// SealAs returns the token of p in the format f, under the key that seals: see [Keyring.At]. All its characters are in the QR
// alphanumeric set. The only errors are an unknown format, a code id of more than 60 bits and a variant outside 1 to Variants.
func (k *Keyring) SealAs(f Format, p Picture) (string, error) {
	payload, err := p.pack()
	if err != nil {
		return "", err
	}
	key := k.get().newest()
	switch f {
	case FormatAES:
		return key.sealer.seal(&payload), nil
	case FormatSM:
		return key.sm.seal(&payload), nil
	case FormatShort:
		return key.short.id(f, &payload).String(), nil
	case FormatScene:
		return key.short.id(f, &payload).scene(p), nil
	}
	return "", fmt.Errorf("seal token: there is no format %d: use one of the package's constants", f)
}

// Open returns the picture of a sealed token, with any key of the ring that opens: see [Keyring.At]. Every failure is
// [ErrForged]; see [ReasonOf]. Tags are compared in constant time. A short id needs a resolver ([Keyring.OpenWith]) and is refused here.
func (k *Keyring) Open(token string) (Picture, error) { return k.OpenWith(token, nil) }

// A Resolver knows which picture has a short id. What it says is checked, so that it may be wrong.
type Resolver func(ShortID) (Picture, bool)

// OpenWith is Open for every format: resolve finds the pictures of short ids.
func (k *Keyring) OpenWith(token string, resolve Resolver) (Picture, error) {
	r := k.get()
	return open(token, &r.byID, resolve)
}

// OpenFor returns the picture of a token that was said at a time to be of code's: with the keys that opened then, and without a resolver, since
// the short ids of one code are few. A sealed token of another code's is returned as it is; a short one of another code's is [ErrForged].
func (k *Keyring) OpenFor(token string, code CodeID, at time.Time) (Picture, error) {
	r := k.get()
	keys := r.open(at)
	return open(token, &keys, func(id ShortID) (Picture, bool) {
		for variant := 1; variant <= Variants; variant++ {
			p := Picture{Code: code, Variant: variant}
			payload, err := p.pack()
			if err != nil {
				return Picture{}, false
			}
			if keys[id.Key()].short.id(id.Format(), &payload) == id {
				return p, true
			}
		}
		return Picture{}, false
	})
}

// open dispatches on the length, which tells the alphabet. A resolver is asked for ids of keys that are there only.
func open(token string, keys *[MaxKeys]*masterKey, resolve Resolver) (Picture, error) {
	switch n := len(token); {
	case n == Length:
		return openAES(token, keys)
	case n == smLength:
		return openSM(token, keys)
	case n == shortLength, n >= sceneLeast && n <= sceneMost:
		return openShort(token, keys, resolve)
	}
	return Picture{}, forgedError{ReasonLength}
}

// pack writes p as the 12 bytes that are sealed:
//
//	code id (60 bits) | variant − 1 (3 bits) | 0 (1 bit, reserved) | picture number (32 bits)
func (p Picture) pack() (b [payloadSize]byte, err error) {
	if p.Code > maxCodeID {
		return b, fmt.Errorf("seal token: code id %#x has more than 60 bits: use an id made by NewCodeID or DeriveCodeID", uint64(p.Code))
	}
	if p.Variant < 1 || p.Variant > Variants {
		return b, fmt.Errorf("seal token: variant %d is outside 1 to %d", p.Variant, Variants)
	}
	binary.BigEndian.PutUint64(b[:8], uint64(p.Code)<<4|uint64(p.Variant-1)<<1)
	binary.BigEndian.PutUint32(b[8:], p.Number)
	return b, nil
}

// unpack is the inverse of pack; false when the reserved bit is set.
func unpack(b [payloadSize]byte) (Picture, bool) {
	head := binary.BigEndian.Uint64(b[:8])
	return Picture{
		Code:    CodeID(head >> 4),
		Variant: int(head>>1&(Variants-1)) + 1,
		Number:  binary.BigEndian.Uint32(b[8:]),
	}, head&1 == 0
}

// Possible reports whether text has the form of a token: the length and the characters of a format. It says nothing of the picture.
func Possible(text string) bool {
	digits, most := b32Digit, len(text)
	switch n := len(text); {
	case n == Length, n == smLength:
	case n == shortLength, n >= sceneLeast && n <= sceneMost:
		digits, most = shortDigit, shortLength
	default:
		return false
	}
	for i := range most {
		if digits[text[i]] > 31 {
			return false
		}
	}
	return most == len(text) || text[most] == '.'
}
