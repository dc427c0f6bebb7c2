// Package watermark hides a 32-bit trace number in the modules of a QR symbol, by changes of their
// brightness that nobody sees, and decides from what somebody read in a picture which number it carries.
//
// Start at [NewKey]. [Key.Mark] says of every module whether it is drawn a little brighter or a little darker;
// the drawing is the caller's. Package observe reads a picture into an [Observation], without any key, and
// [Key.Decide] finds the number in it, or says why it names none.
//
// The number goes through three layers:
//
//	message     trace number (32 bits) | check (24 bits) = HMAC-SHA256(K_check, symbol, number)
//	codeword    192 bits: the convolutional code of rate 1/3 and constraint length 9 of 3GPP TS 25.212, 4.2.3.1
//	modules     each bit on as many modules as there are for it (4 or 5 of version 3), scattered over
//	            the whole symbol, finder patterns included, and masked: a permutation and a mask of the key and the symbol
//
// "symbol" is its content and its width in modules, so that a mark copied onto another symbol says nothing there.
//
// What it refuses: to guess. For a picture without a mark of this key, whatever is in it, the mask is a sequence of fair coins.
// The sum of n values with such signs exceeds z times their root sum of squares with a probability below
// exp(−z²/2) (W. Hoeffding, Probability inequalities for sums of bounded random variables, JASA 58, 1963, theorem 2).
// There are 2^32 numbers, so one of them reaches [MinEvidence] with less than 2^32·exp(−z²/2) = 8.3e-13. Independently of that,
// what was decoded has the right check with 2^-24 = 6e-8. Both must hold.
//
// It is pure: no clock, no I/O, no picture.
package watermark

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

const (
	// MinModules and MaxModules bound the width of a symbol, versions 1 and 40 (ISO/IEC 18004, 5.3.1).
	MinModules = 21
	MaxModules = 177

	checkBits   = 24
	messageBits = 32 + checkBits
)

// A Key marks and reads. It is safe for concurrent use. A function closes over the subkeys, so that nothing which prints a Key
// shows them.
type Key struct {
	sub func() (pattern, check, trace []byte)
}

// NewKey derives a key from a secret of at least 16 bytes, such as a subkey of the keyring for this purpose alone.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) < 16 {
		return nil, fmt.Errorf("watermark: a secret of %d bytes is too short: take a subkey of the keyring", len(secret))
	}
	derive := func(info string) ([]byte, error) { return hkdf.Key(sha256.New, secret, nil, info, 32) }
	pattern, err := derive("huoma/watermark/v1/pattern")
	if err != nil {
		return nil, fmt.Errorf("watermark: derive a key: %w", err)
	}
	check, err := derive("huoma/watermark/v1/check")
	if err != nil {
		return nil, fmt.Errorf("watermark: derive a key: %w", err)
	}
	trace, err := derive("huoma/watermark/v1/trace")
	if err != nil {
		return nil, fmt.Errorf("watermark: derive a key: %w", err)
	}
	return &Key{sub: func() ([]byte, []byte, []byte) { return pattern, check, trace }}, nil
}

// Format says nothing secret, whatever the verb.
func (*Key) Format(s fmt.State, _ rune) { io.WriteString(s, "watermark.Key(redacted)") }

// A Mark says of every module of one symbol which way it is changed.
type Mark struct {
	modules int
	bright  []bool
}

// Mark returns the mark of a trace number on the symbol that holds content in modules × modules modules. The same arguments give
// the same mark.
func (k *Key) Mark(content string, modules int, trace uint32) (Mark, error) {
	if err := checkModules(modules); err != nil {
		return Mark{}, err
	}
	s := k.spread(content, modules)
	word := encode(k.message(content, modules, trace))
	m := Mark{modules: modules, bright: make([]bool, modules*modules)}
	for i := range m.bright {
		m.bright[i] = word[s.bit[i]] != s.mask[i]
	}
	return m, nil
}

// Modules is the width of the symbol, 0 for no mark.
func (m Mark) Modules() int { return m.modules }

// Bright reports whether the module at column x, row y is drawn on the brighter of its two shades.
func (m Mark) Bright(x, y int) bool { return m.bright[y*m.modules+x] }

func checkModules(n int) error {
	if n < MinModules || n > MaxModules || n%4 != 1 {
		return fmt.Errorf("watermark: no symbol is %d modules wide: they have 21, 25, … 177", n)
	}
	return nil
}

// message is the trace number and its check, the first bit highest.
func (k *Key) message(content string, modules int, trace uint32) uint64 {
	_, key, _ := k.sub()
	sum := symbolMAC(key, content, modules, trace)
	return uint64(trace)<<checkBits | uint64(sum[0])<<16 | uint64(sum[1])<<8 | uint64(sum[2])
}

// symbolMAC is HMAC-SHA256 of the symbol and numbers.
func symbolMAC(key []byte, content string, modules int, numbers ...uint32) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	b := binary.BigEndian.AppendUint32(nil, uint32(modules))
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	h.Write(b)
	h.Write([]byte(content))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// spread says which bit of the codeword a module carries, and whether turned over.
type spread struct {
	bit  []uint8
	mask []bool
}

// spread draws the spread of a symbol. The stream is ChaCha8 (C2SP chacha8rand), whose output is specified; the shuffle is this
// function's own, so that a picture printed today is read by the program of another year. The bits of the codeword are
// dealt out in turn over the shuffled modules: each gets as many as any other, or one less.
func (k *Key) spread(content string, modules int) spread {
	key, _, _ := k.sub()
	r := rand.NewChaCha8(symbolMAC(key, content, modules))
	n := modules * modules
	place := make([]uint16, n)
	for i := range place {
		place[i] = uint16(i)
	}
	for i := n - 1; i > 0; i-- {
		// 64 bits modulo less than 2^15: the bias is below 2^-49.
		j := r.Uint64() % uint64(i+1)
		place[i], place[j] = place[j], place[i]
	}
	s := spread{bit: make([]uint8, n), mask: make([]bool, n)}
	var bits uint64
	for i, p := range place {
		if i%64 == 0 {
			bits = r.Uint64()
		}
		s.bit[p] = uint8(i % codeBits)
		s.mask[p] = bits&1 == 1
		bits >>= 1
	}
	return s
}
