package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
)

// Format 1, 21 bytes, written in upper-case base 32 (RFC 4648) without padding:
//
//	byte 0      format version (high 3 bits, 1) | key id (low 5 bits)
//	bytes 1–8   tag: the first 8 bytes of HMAC-SHA256(K_mac, byte 0 || payload)
//	bytes 9–20  AES-256-CTR(K_enc, IV = tag || 8 zero bytes) of the payload
//
// K_mac and K_enc are HKDF-SHA256 of the master key with the infos huoma/token/v1/mac and huoma/token/v1/enc.
const (
	// Length is the number of characters of a token of FormatAES.
	Length = 34

	formatVersion = byte(FormatAES)
	tagSize       = 8
	rawSize       = 1 + tagSize + payloadSize
)

// sealer is one master key made ready for FormatAES.
type sealer struct {
	header byte
	mac    tagger
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
	mac, err := newTagger(sha256.New, key)
	if err != nil {
		return nil, err
	}
	return &sealer{header: FormatAES.header(id), mac: mac, block: block}, nil
}

// tag computes the synthetic IV of payload.
func (s *sealer) tag(payload *[payloadSize]byte) (t [tagSize]byte) {
	sum := s.mac(s.header, *payload)
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

func (s *sealer) seal(payload *[payloadSize]byte) string {
	tag := s.tag(payload)
	var raw [rawSize]byte
	raw[0] = s.header
	copy(raw[1:], tag[:])
	s.crypt(raw[1+tagSize:], payload[:], tag)
	var text [Length]byte
	encode(text[:], raw[:])
	return string(text[:])
}

func openAES(token string, keys *[MaxKeys]*masterKey) (Picture, error) {
	var raw [rawSize]byte
	if !decode(raw[:], token) {
		return Picture{}, forgedError{ReasonAlphabet}
	}
	if raw[0]>>5 != formatVersion {
		return Picture{}, forgedError{ReasonVersion}
	}
	key := keys[raw[0]&(MaxKeys-1)]
	if key == nil {
		return Picture{}, forgedError{ReasonUnknownKey}
	}
	var tag [tagSize]byte
	copy(tag[:], raw[1:])
	var payload [payloadSize]byte
	key.sealer.crypt(payload[:], raw[1+tagSize:], tag)
	want := key.sealer.tag(&payload)
	p, whole := unpack(payload)
	switch {
	case subtle.ConstantTimeCompare(tag[:], want[:]) != 1:
		return Picture{}, forgedError{ReasonSeal}
	case !whole:
		return Picture{}, forgedError{ReasonReserved}
	}
	return p, nil
}
