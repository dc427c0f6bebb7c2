// Package token seals what a printed picture says (which code, which variant, which print) into the
// 34 characters at the end of a scan URL, and opens them again. It also owns everything else that is
// derived from the master keys: code ids, tracking codes, visitor hashes and the subkeys of other packages.
//
// Start at [Keyring]: [ParseKeyring] or [NewKeyring] gives one, [Keyring.Seal] and [Keyring.Open] are
// the two halves. Keys on disk are the business of the keyfile subpackage; this one does no I/O, reads
// no clock and imports the standard library alone.
//
// The format, 21 bytes, written in upper-case base 32 (RFC 4648) without padding:
//
//	byte 0      format version (high 3 bits, 1) | key id (low 5 bits)
//	bytes 1–8   tag: the first 8 bytes of HMAC-SHA256(K_mac, byte 0 || payload)
//	bytes 9–20  AES-256-CTR(K_enc, IV = tag || 8 zero bytes) of the payload
//
//	payload     code id (60 bits) | variant − 1 (3 bits) | 0 (1 bit, reserved) | picture number (32 bits)
//
// It is deterministic (a synthetic IV): the same picture under the same key is the same token, so
// a picture drawn twice is the same picture. schemas/token/vectors.json holds test vectors for other languages.
//
// What it refuses: everything which it did not itself seal. Lower case, padding, a different spelling of the
// same bytes, a foreign or retired key and any changed bit are one and the same [ErrForged]; the
// [Reason] is for operators and is never part of the error's text. An 8-byte tag means a guess succeeds
// once in 2^64 tries; that is meant for scan links which are counted and rate limited, not for credentials.
package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Length is the number of characters of every token.
	Length = 34
	// Variants is the number of variants a code may have; a picture's variant is 1 to Variants.
	Variants = 8

	formatVersion = 1
	tagSize       = 8
	payloadSize   = 12
	rawSize       = 1 + tagSize + payloadSize
)

// encoding is strict: the two bits which the last character has to spare must be zero, so
// that every token has exactly one spelling.
var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

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
	ReasonLength     Reason = "length"      // not 34 characters
	ReasonAlphabet   Reason = "alphabet"    // a character outside A–Z2–7, or spare bits which are not zero
	ReasonVersion    Reason = "version"     // a format this program does not know
	ReasonUnknownKey Reason = "unknown-key" // sealed with a key which is not in the keyring
	ReasonSeal       Reason = "seal"        // the tag does not match: changed, foreign or guessed
	ReasonReserved   Reason = "reserved"    // sealed by one of our keys, with a bit set which this format keeps zero
)

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

// sealer is one master key made ready for tokens.
type sealer struct {
	header byte
	mac    mac
	block  cipher.Block
}

// newSealer derives the two keys of the token format from a 32-byte master key.
func newSealer(id int, master []byte) (*sealer, error) {
	key, err := derive(master, "huoma/token/v1/mac")
	if err != nil {
		return nil, err
	}
	enc, err := derive(master, "huoma/token/v1/enc")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(enc)
	if err != nil {
		return nil, err
	}
	return &sealer{header: formatVersion<<5 | byte(id), mac: newMAC(key), block: block}, nil
}

// derive returns the 32-byte subkey of master for one purpose: HKDF-SHA256 without salt, info = purpose.
func derive(master []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, master, nil, purpose, 32)
}

// tag computes the synthetic IV of payload.
func (s *sealer) tag(payload *[payloadSize]byte) (t [tagSize]byte) {
	message := [1 + payloadSize]byte{s.header}
	copy(message[1:], payload[:])
	sum := s.mac(string(message[:]), "")
	copy(t[:], sum[:])
	return t
}

// crypt applies the key stream of tag; it is its own inverse. A payload is shorter than a block, so the stream of counter mode is
// the encrypted IV.
func (s *sealer) crypt(dst, src []byte, tag [tagSize]byte) {
	var stream [aes.BlockSize]byte
	copy(stream[:], tag[:])
	s.block.Encrypt(stream[:], stream[:])
	subtle.XORBytes(dst, src, stream[:payloadSize])
}

// Seal returns the token of p under the newest key: always Length characters of A–Z and 2–7.
// The only errors are a code id of more than 60 bits and a variant outside 1 to Variants.
func (k *Keyring) Seal(p Picture) (string, error) {
	payload, err := p.pack()
	if err != nil {
		return "", err
	}
	s := k.get().newest().sealer
	tag := s.tag(&payload)
	var raw [rawSize]byte
	raw[0] = s.header
	copy(raw[1:], tag[:])
	s.crypt(raw[1+tagSize:], payload[:], tag)
	return encoding.EncodeToString(raw[:]), nil
}

// Open returns the picture that token was sealed for, with any key of the ring. Every failure is
// [ErrForged]; see [ReasonOf]. The tag is compared in constant time.
func (k *Keyring) Open(token string) (Picture, error) {
	if len(token) != Length {
		return Picture{}, forgedError{ReasonLength}
	}
	raw, ok := decode(token)
	if !ok {
		return Picture{}, forgedError{ReasonAlphabet}
	}
	if raw[0]>>5 != formatVersion {
		return Picture{}, forgedError{ReasonVersion}
	}
	key := k.get().byID[raw[0]&(MaxKeys-1)]
	if key == nil {
		return Picture{}, forgedError{ReasonUnknownKey}
	}
	var tag [tagSize]byte
	copy(tag[:], raw[1:])
	var payload [payloadSize]byte
	key.sealer.crypt(payload[:], raw[1+tagSize:], tag)
	want := key.sealer.tag(&payload)
	if subtle.ConstantTimeCompare(tag[:], want[:]) != 1 {
		return Picture{}, forgedError{ReasonSeal}
	}
	p, ok := unpack(payload)
	if !ok {
		return Picture{}, forgedError{ReasonReserved}
	}
	return p, nil
}

// decode reads a token's characters strictly: one spelling for every 21 bytes. The library's decoder
// skips line ends and ignores spare bits, so the alphabet is walked here.
func decode(token string) (raw [rawSize]byte, ok bool) {
	var acc uint32
	bits, n := 0, 0
	for i := range len(token) {
		c := token[i]
		var v uint32
		switch {
		case c >= 'A' && c <= 'Z':
			v = uint32(c - 'A')
		case c >= '2' && c <= '7':
			v = uint32(c-'2') + 26
		default:
			return raw, false
		}
		acc = acc<<5 | v
		if bits += 5; bits >= 8 {
			bits -= 8
			raw[n] = byte(acc >> bits)
			n++
		}
	}
	return raw, acc&(1<<bits-1) == 0
}

// pack writes p as the 12 bytes that are sealed.
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
