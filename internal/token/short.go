package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"strconv"
)

// Formats 3 and 5, 13 characters of trackingAlphabet, 5 bits each, most significant first:
//
//	8 bits    format version (high 3 bits) | key id (low 5 bits)
//	52 bits   the first 52 bits of HMAC-SHA256(K_id, those 8 bits || payload)
//	5 bits    check character
//
// K_id is HKDF-SHA256 of the master key with the info huoma/token/v3/id. Nothing can be read from an id: who made it knows the picture,
// and finds it in a table of all of them.
//
// Of characters x0 … x12, as elements of GF(2^5) modulo z^5 + z^2 + 1, the check character x12 makes Σ z^(12−i) · xi zero. z has order 31,
// so all 13 weights differ: one changed character and two exchanged ones, adjacent or not, are always found.
//
// Format 5 goes on with what a page of a mini program may know without asking: ".", the variant, ".", the picture number in decimal. Scene
// parameters may have 32 visible characters of a set that holds all of these; the longest of ours has 26.
const (
	shortLength = 13
	sceneLeast  = shortLength + len(".1.0")
	sceneMost   = shortLength + len(".1.4294967295")

	shortBits = 52
)

// A ShortID is what a short id says without its check character: version, key id and 52 bits, in the low 60 bits.
type ShortID uint64

// Format is FormatShort or FormatScene.
func (s ShortID) Format() Format { return Format(s >> (shortBits + 5) & 7) }

// Key is the id of the key it was made with.
func (s ShortID) Key() int { return int(s >> shortBits & (MaxKeys - 1)) }

// shortener is one master key made ready for short ids.
type shortener struct {
	key int
	mac tagger
}

func newShortener(id int, master []byte) (*shortener, error) {
	key, err := derive(master, "huoma/token/v3/id")
	if err != nil {
		return nil, err
	}
	mac, err := newTagger(sha256.New, key)
	if err != nil {
		return nil, err
	}
	return &shortener{id, mac}, nil
}

func (s *shortener) id(f Format, payload *[payloadSize]byte) ShortID {
	header := f.header(s.key)
	sum := s.mac(header, *payload)
	return ShortID(header)<<shortBits | ShortID(binary.BigEndian.Uint64(sum[:8])>>(64-shortBits))
}

// ShortIDs calls yield with the short id that p has under each key of the ring that opens.
func (k *Keyring) ShortIDs(f Format, p Picture, yield func(ShortID)) error {
	payload, err := p.pack()
	if err != nil {
		return err
	}
	for _, m := range k.get().byID {
		if m != nil {
			yield(m.short.id(f, &payload))
		}
	}
	return nil
}

// ShortIDOf is the short id that p has under one key of the ring; false for a key that does not open, or a picture that cannot be sealed.
func (k *Keyring) ShortIDOf(f Format, p Picture, key int) (ShortID, bool) {
	payload, err := p.pack()
	if err != nil || key < 0 || key >= MaxKeys || k.get().byID[key] == nil {
		return 0, false
	}
	return k.get().byID[key].short.id(f, &payload), true
}

// String is the id's 13 characters.
func (s ShortID) String() string {
	var text [shortLength]byte
	var check byte
	for i := range shortLength - 1 {
		v := byte(s>>(5*(shortLength-2-i))) & 31
		text[i] = trackingAlphabet[v]
		check = double(check ^ v)
	}
	text[shortLength-1] = trackingAlphabet[check]
	return string(text[:])
}

// scene is the id with p's variant and number.
func (s ShortID) scene(p Picture) string {
	return s.String() + "." + strconv.Itoa(p.Variant) + "." + strconv.FormatUint(uint64(p.Number), 10)
}

// double multiplies by z in GF(2^5).
func double(v byte) byte {
	v <<= 1
	return v ^ -(v>>5)&0b100101
}

// shortDigit maps a character of trackingAlphabet to its value, all others to 0xff.
var shortDigit = digitsOf(trackingAlphabet)

// parseShort reads the 13 characters of an id.
func parseShort(text string) (ShortID, Reason) {
	var s ShortID
	var check, bad byte
	for i := range shortLength {
		v := shortDigit[text[i]]
		bad |= v
		if i < shortLength-1 {
			s = s<<5 | ShortID(v&31)
			check = double(check ^ v&31)
		} else {
			check ^= v & 31
		}
	}
	switch {
	case bad > 31:
		return 0, ReasonAlphabet
	case check != 0:
		return 0, ReasonCheck
	}
	return s, ""
}

// nobody is a picture like any other, for guesses that hit none.
var nobody = Picture{Variant: 1}

// openShort does the same work whether a picture has the id or not.
func openShort(token string, keys *[MaxKeys]*masterKey, resolve Resolver) (Picture, error) {
	s, reason := parseShort(token[:shortLength])
	if reason != "" {
		return Picture{}, forgedError{reason}
	}
	want := FormatShort
	if len(token) > shortLength {
		want = FormatScene
	}
	if s.Format() != want {
		return Picture{}, forgedError{ReasonVersion}
	}
	key := keys[s.Key()]
	if key == nil {
		return Picture{}, forgedError{ReasonUnknownKey}
	}
	p, found := nobody, false
	if resolve != nil {
		if q, ok := resolve(s); ok {
			p, found = q, true
		}
	}
	payload, err := p.pack()
	known := key.short.id(want, &payload)
	var a, b [8]byte
	binary.BigEndian.PutUint64(a[:], uint64(s))
	binary.BigEndian.PutUint64(b[:], uint64(known))
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	if want == FormatScene && !isScene(token[shortLength:], p) {
		same = false
	}
	if !found || err != nil || !same {
		return Picture{}, forgedError{ReasonSeal}
	}
	return p, nil
}

// isScene reports whether rest is what follows the id of p's.
func isScene(rest string, p Picture) bool {
	var b [sceneMost - shortLength]byte
	out := append(b[:0], '.')
	out = strconv.AppendInt(out, int64(p.Variant), 10)
	out = append(out, '.')
	return string(strconv.AppendUint(out, uint64(p.Number), 10)) == rest
}
