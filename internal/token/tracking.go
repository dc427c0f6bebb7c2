package token

import "crypto/sha256"

// TrackingLength is the number of characters of a tracking code.
const TrackingLength = 8

// trackingAlphabet has no I, L, O or U, so that nothing read off paper is taken for 1, 0 or V;
// all of it is in the QR alphanumeric set.
const trackingAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Tracking returns the 8 characters that are printed in the centre of p's picture: the first 40 bits of
// HMAC-SHA256 of the token's 12-byte payload, under a subkey of the oldest key. The same picture has the same
// tracking code whichever key seals its token, so a rotation leaves prints traceable. A picture that
// cannot be sealed (see [Keyring.Seal]) has none: "".
func (k *Keyring) Tracking(p Picture) string {
	payload, err := p.pack()
	if err != nil {
		return ""
	}
	return trackingText(k.get().tracking(string(payload[:]), ""))
}

// trackingText is the first 40 bits of sum as text.
func trackingText(sum [sha256.Size]byte) string {
	var v uint64
	for _, b := range sum[:5] {
		v = v<<8 | uint64(b)
	}
	var out [TrackingLength]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = trackingAlphabet[v&31]
		v >>= 5
	}
	return string(out[:])
}
