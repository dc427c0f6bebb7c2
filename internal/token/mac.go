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
