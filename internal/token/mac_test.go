package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
	"strings"
	"sync"
	"testing"
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
