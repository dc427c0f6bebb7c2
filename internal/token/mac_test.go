package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emmansun/gmsm/sm3"
)

// Hashes are used again, by many at once and for messages of any length.
func TestMACIsHMAC(t *testing.T) {
	key := []byte("a key that changes after it was given")
	sum := newMAC(key)
	want := func(message string) (out [sha256.Size]byte) {
		h := hmac.New(sha256.New, []byte("a key that changes after it was given"))
		h.Write([]byte(message))
		copy(out[:], h.Sum(nil))
		return out
	}
	key[0]++
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 500 {
				a, b := strconv.Itoa(worker*i), strings.Repeat("x", i%100)
				if got := sum(a, b); got != want(a+b) {
					t.Errorf("mac of %q and %q is %x, want %x", a, b, got, want(a+b))
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestTaggerIsHMAC(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, newHash := range map[string]func() hash.Hash{"SHA-256": sha256.New, "SM3": sm3.New} {
		key := make([]byte, 32)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		tag, err := newTagger(newHash, key)
		if err != nil {
			t.Fatal(err)
		}
		want := func(header byte, payload [payloadSize]byte) (out [32]byte) {
			h := hmac.New(newHash, key)
			h.Write([]byte{header})
			h.Write(payload[:])
			copy(out[:], h.Sum(nil))
			return out
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 500 {
					payload := [payloadSize]byte{byte(i), byte(i >> 8), 11: byte(worker)}
					if got := tag(byte(worker), payload); got != want(byte(worker), payload) {
						t.Errorf("%s: tag of %d and %x is %x", name, worker, payload, got)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestEncodeIsBase32(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		raw := make([]byte, []int{rawSize, smRawSize}[r.IntN(2)])
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		text := make([]byte, encoding.EncodedLen(len(raw)))
		encode(text, raw)
		if want := encoding.EncodeToString(raw); string(text) != want {
			t.Fatalf("%x is %s, want %s", raw, text, want)
		}
		back := make([]byte, len(raw))
		if !decode(back, string(text)) || string(back) != string(raw) {
			t.Fatalf("%s is %x, want %x", text, back, raw)
		}
	}
}
