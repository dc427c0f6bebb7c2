package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// A mac computes HMAC-SHA256 of a and b, one after the other, under one key. It is safe for concurrent use. A function, as in
// Keyring: what it closes over is not printed.
type mac func(a, b string) [sha256.Size]byte

// newMAC keeps a copy of key. Hashes that have taken the key in are used again, since that is half of the work for messages as short
// as ours, and all of the garbage.
func newMAC(key []byte) mac {
	own := append([]byte(nil), key...)
	pool := sync.Pool{New: func() any { return &macState{hash: hmac.New(sha256.New, own)} }}
	return func(a, b string) (sum [sha256.Size]byte) {
		s := pool.Get().(*macState)
		s.hash.Reset()
		s.buf = append(append(s.buf[:0], a...), b...)
		s.hash.Write(s.buf)
		clear(s.buf) // it may name a person
		s.buf = s.hash.Sum(s.buf[:0])
		copy(sum[:], s.buf)
		pool.Put(s)
		return sum
	}
}

type macState struct {
	hash hash.Hash
	buf  []byte
}

// A tagger computes the HMAC of a header and a payload under one key, with a hash of 32 bytes in blocks of 64. Safe for concurrent use, and
// without garbage.
type tagger func(header byte, payload [payloadSize]byte) [32]byte

// resumable is a hash that can be put back to where it was, as those of the standard library and SM3 can.
type resumable interface {
	hash.Hash
	MarshalBinary() ([]byte, error)
	UnmarshalBinary([]byte) error
}

// newTagger is HMAC (RFC 2104) with both of its key blocks hashed once and for all. key has 32 bytes.
func newTagger(newHash func() hash.Hash, key []byte) (tagger, error) {
	after := func(pad byte) ([]byte, error) {
		h := newHash().(resumable)
		block := make([]byte, h.BlockSize())
		copy(block, key)
		for i := range block {
			block[i] ^= pad
		}
		h.Write(block)
		return h.MarshalBinary()
	}
	inner, err := after(0x36)
	if err != nil {
		return nil, err
	}
	outer, err := after(0x5c)
	if err != nil {
		return nil, err
	}
	pool := sync.Pool{New: func() any { return &tagState{hash: newHash().(resumable)} }}
	return func(header byte, payload [payloadSize]byte) (sum [32]byte) {
		s := pool.Get().(*tagState)
		s.message[0] = header
		copy(s.message[1:], payload[:])
		_ = s.hash.UnmarshalBinary(inner) // what MarshalBinary made
		s.hash.Write(s.message[:])
		s.hash.Sum(s.sum[:0])
		_ = s.hash.UnmarshalBinary(outer)
		s.hash.Write(s.sum[:])
		s.hash.Sum(s.sum[:0])
		sum = s.sum
		pool.Put(s)
		return sum
	}, nil
}

type tagState struct {
	hash    resumable
	message [1 + payloadSize]byte
	sum     [32]byte
}
