package token

import "encoding/base32"

// encoding is strict: the bits which the last character has to spare must be zero, so
// that every sealed token has exactly one spelling.
var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

const b32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// b32Digit maps a character of b32Alphabet to its value, all others to 0xff.
var b32Digit = digitsOf(b32Alphabet)

// digitsOf maps the characters of an alphabet of 32 to their places, all others to 0xff.
func digitsOf(alphabet string) *[256]byte {
	t := new([256]byte)
	for i := range t {
		t[i] = 0xff
	}
	for i := range alphabet {
		t[alphabet[i]] = byte(i)
	}
	return t
}

// encode writes raw as text, which has exactly the characters that raw needs: what encoding does in twice the time.
func encode(text, raw []byte) {
	var acc uint32
	bits, n := 0, 0
	for _, b := range raw {
		acc = acc<<8 | uint32(b)
		for bits += 8; bits >= 5; n++ {
			bits -= 5
			text[n] = b32Alphabet[acc>>bits&31]
		}
	}
	if bits > 0 {
		text[n] = b32Alphabet[acc<<(5-bits)&31]
	}
}

// decode reads a sealed token's characters into raw strictly: one spelling for all bytes. The library's decoder
// skips line ends and ignores spare bits, so the alphabet is walked here. The token has exactly the characters that raw needs.
func decode(raw []byte, token string) bool {
	var acc uint32
	bits, n, bad := 0, 0, byte(0)
	for i := range len(token) {
		v := b32Digit[token[i]]
		bad |= v
		acc = acc<<5 | uint32(v&31)
		if bits += 5; bits >= 8 {
			bits -= 8
			raw[n] = byte(acc >> bits)
			n++
		}
	}
	return bad < 32 && acc&(1<<bits-1) == 0
}
