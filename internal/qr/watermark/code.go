package watermark

import "math/bits"

// The convolutional code of rate 1/3 and constraint length 9 (3GPP TS 25.212, 4.2.3.1: generators 557, 663 and 711, octal; free
// distance 18). Eight zeros at the end bring it back to its first state.
const (
	memory   = 8
	states   = 1 << memory
	steps    = messageBits + memory
	codeBits = 3 * steps
)

var generators = [3]uint{0o557, 0o663, 0o711}

// outputs has the three code bits, first one lowest, of a register of 9 bits: the newest one highest.
var outputs = func() (out [2 * states]uint8) {
	for reg := range out {
		for i, g := range generators {
			out[reg] |= uint8(bits.OnesCount(uint(reg)&g)&1) << i
		}
	}
	return out
}()

// encode returns the codeword of a message of messageBits, the highest first.
func encode(message uint64) (word [codeBits]bool) {
	reg := uint(0)
	for step := range steps {
		in := uint(0)
		if step < messageBits {
			in = uint(message>>(messageBits-1-step)) & 1
		}
		reg = reg>>1 | in<<memory
		for i := range generators {
			word[3*step+i] = outputs[reg]>>i&1 == 1
		}
	}
	return word
}

// decode returns the message whose codeword has the greatest sum of soft values, those of false bits taken negative, and
// that sum (A. Viterbi, Error bounds for convolutional codes, IEEE Trans. IT-13, 1967).
func decode(soft *[codeBits]float64) (message uint64, sum float64) {
	const never = -1e300
	var now, next [states]float64
	var from [steps][states]bool // whether the bit that fell out of the register was one
	for s := 1; s < states; s++ {
		now[s] = never
	}
	for step := range steps {
		var gain [8]float64
		for out := range gain {
			for i := range generators {
				v := soft[3*step+i]
				if out>>i&1 == 0 {
					v = -v
				}
				gain[out] += v
			}
		}
		for s := range states {
			// s is the newest 8 bits. The register behind it has one more below: 0 or 1.
			reg := s << 1
			if step >= messageBits && s>>(memory-1) == 1 {
				next[s] = never // the tail is zeros
				continue
			}
			zero := now[reg&(states-1)] + gain[outputs[reg]]
			one := now[reg&(states-1)|1] + gain[outputs[reg|1]]
			next[s], from[step][s] = zero, false
			if one > zero {
				next[s], from[step][s] = one, true
			}
		}
		now = next
	}
	s := 0
	for step := steps - 1; step >= 0; step-- {
		if step < messageBits {
			message |= uint64(s>>(memory-1)) << (messageBits - 1 - step)
		}
		fell := from[step][s]
		s = s << 1 & (states - 1)
		if fell {
			s |= 1
		}
	}
	return message, now[0]
}
