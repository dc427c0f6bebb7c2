package token

import (
	"crypto/hmac"
	"crypto/sha256"
)

// SignatureSize is how many bytes [Keyring.Sign] returns.
const SignatureSize = 1 + 16

// Sign returns a signature of message for one purpose: the id of the key that seals, and 16 bytes of HMAC-SHA256 under a subkey of it. It
// is good for as long as that key opens, which is what tells it from what [Keyring.Purpose] is used for.
func (k *Keyring) Sign(purpose string, message []byte) [SignatureSize]byte {
	return k.get().newest().sign(purpose, message)
}

// Verify reports whether signature is one that [Keyring.Sign] made of message for purpose, under a key of the ring that opens: see [Keyring.At].
func (k *Keyring) Verify(purpose string, message []byte, signature [SignatureSize]byte) bool {
	id := int(signature[0])
	if id >= MaxKeys || k.get().byID[id] == nil {
		return false
	}
	want := k.get().byID[id].sign(purpose, message)
	return hmac.Equal(want[:], signature[:])
}

func (m *masterKey) sign(purpose string, message []byte) (s [SignatureSize]byte) {
	key, err := derive(m.secret, "huoma/signature/v1/"+purpose)
	if err != nil {
		panic("token: derive a subkey: " + err.Error()) // for an output of more than 255 hashes only
	}
	h := hmac.New(sha256.New, key)
	h.Write(message)
	s[0] = byte(m.id)
	copy(s[1:], h.Sum(nil))
	return s
}
