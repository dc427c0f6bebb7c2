package watermark

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Trace returns the trace number of pictures that device asked for of an issuer's codes: the first 4 bytes of
// HMAC-SHA256(K_trace, length of issuer || issuer || device), never 0. A number is known without asking anybody, so that a picture
// needs no registry to be drawn; who has a guess and the key can test it. Two pairs may share a number (among 1 000 pairs with 1 in
// 8 600, among 10 000 with 1 in 86): whoever keeps what numbers stand for keeps all pairs of one.
func (k *Key) Trace(issuer, device string) uint32 {
	_, _, key := k.sub()
	sum := symbolMAC(key, issuer+device, len(issuer))
	return max(1, binary.BigEndian.Uint32(sum[:]))
}

// FormatTrace writes a trace number as people and addresses have it: 8 hexadecimal digits.
func FormatTrace(n uint32) string { return fmt.Sprintf("%08x", n) }

// ParseTrace reads what FormatTrace writes, and nothing else.
func ParseTrace(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || FormatTrace(uint32(n)) != s {
		return 0, false
	}
	return uint32(n), true
}
