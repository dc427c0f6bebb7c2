package token

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/subtle"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

// Format 2, 29 bytes, written like format 1 in 47 characters. It is the same construction of SM4 (GB/T 32907, GM/T 0002) and
// SM3 (GB/T 32905, GM/T 0004) alone, with a tag of a whole SM4 block:
//
//	byte 0       format version (high 3 bits, 2) | key id (low 5 bits)
//	bytes 1–16   tag: the first 16 bytes of SM3(K_mac || byte 0 || payload)
//	bytes 17–28  SM4-CTR(K_enc, IV = tag) of the payload
//
// K_mac (32 bytes) and K_enc (16 bytes) are HKDF (RFC 5869) over HMAC-SM3 of the master key, without salt, with the infos
// huoma/token/v2/mac and huoma/token/v2/enc.
const (
	smLength  = 47
	smTagSize = sm4.BlockSize
	smRawSize = 1 + smTagSize + payloadSize
)

// smSealer is one master key made ready for FormatSM.
type smSealer struct {
	header byte
	mac    tagger
	block  cipher.Block
}

func newSMSealer(id int, master []byte) (*smSealer, error) {
	key, err := hkdf.Key(sm3.New, master, nil, "huoma/token/v2/mac", sm3.Size)
	if err != nil {
		return nil, err
	}
	enc, err := hkdf.Key(sm3.New, master, nil, "huoma/token/v2/enc", 16)
	if err != nil {
		return nil, err
	}
	block, err := sm4.NewCipher(enc)
	if err != nil {
		return nil, err
	}
	return &smSealer{header: FormatSM.header(id), mac: newSMTagger(key), block: block}, nil
}

// newSMTagger is SM3 of key, header and payload. The three are always 45 bytes, one block of the hash with its padding: what makes a key in
// front of a message unsafe, that the message can be made longer, has no place here, and HMAC would cost two blocks for the same.
func newSMTagger(key []byte) tagger {
	own := [sm3.Size]byte(key)
	return func(header byte, payload [payloadSize]byte) [sm3.Size]byte {
		var message [sm3.Size + 1 + payloadSize]byte
		copy(message[:], own[:])
		message[sm3.Size] = header
		copy(message[sm3.Size+1:], payload[:])
		return sm3.Sum(message[:])
	}
}

func (s *smSealer) tag(payload *[payloadSize]byte) (t [smTagSize]byte) {
	sum := s.mac(s.header, *payload)
	copy(t[:], sum[:])
	return t
}

// crypt applies the key stream of tag, the first block of counter mode.
func (s *smSealer) crypt(dst, src []byte, tag [smTagSize]byte) {
	var stream [sm4.BlockSize]byte
	s.block.Encrypt(stream[:], tag[:])
	subtle.XORBytes(dst, src, stream[:payloadSize])
}

func (s *smSealer) seal(payload *[payloadSize]byte) string {
	tag := s.tag(payload)
	var raw [smRawSize]byte
	raw[0] = s.header
	copy(raw[1:], tag[:])
	s.crypt(raw[1+smTagSize:], payload[:], tag)
	var text [smLength]byte
	encode(text[:], raw[:])
	return string(text[:])
}

func openSM(token string, keys *[MaxKeys]*masterKey) (Picture, error) {
	var raw [smRawSize]byte
	if !decode(raw[:], token) {
		return Picture{}, forgedError{ReasonAlphabet}
	}
	if Format(raw[0]>>5) != FormatSM {
		return Picture{}, forgedError{ReasonVersion}
	}
	key := keys[raw[0]&(MaxKeys-1)]
	if key == nil {
		return Picture{}, forgedError{ReasonUnknownKey}
	}
	var tag [smTagSize]byte
	copy(tag[:], raw[1:])
	var payload [payloadSize]byte
	key.sm.crypt(payload[:], raw[1+smTagSize:], tag)
	want := key.sm.tag(&payload)
	p, whole := unpack(payload)
	switch {
	case subtle.ConstantTimeCompare(tag[:], want[:]) != 1:
		return Picture{}, forgedError{ReasonSeal}
	case !whole:
		return Picture{}, forgedError{ReasonReserved}
	}
	return p, nil
}
