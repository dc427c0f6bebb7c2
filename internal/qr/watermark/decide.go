package watermark

import (
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"math"
)

const (
	// MinEvidence is the least correlation, in standard deviations of a picture without a mark, that names a number. Noise reaches about 8
	// with the best of all codewords, a mark that can be decoded 11 and more; the package comment has the bound that follows from 10.
	MinEvidence = 10.0

	// leastChance is where bounds end: what is smaller says something of the hash function, and nothing of the picture.
	leastChance = 0x1p-40
)

// An Observation is what a picture shows of a symbol, without any key.
type Observation struct {
	Content string `json:"content"` // what the symbol says
	Modules int    `json:"modules"` // its width
	// Values has one a module, row by row: how much brighter it is than its surroundings let expect, in units that
	// grow with what it is worth as evidence. 0 is left out: covered, or outside the picture. So are
	// those missing at the end.
	Values []int8 `json:"values"`
}

// Check refuses an observation no symbol gives.
func (o *Observation) Check() error {
	if err := checkModules(o.Modules); err != nil {
		return err
	}
	if len(o.Values) > o.Modules*o.Modules {
		return fmt.Errorf("watermark: %d values for %d × %d modules", len(o.Values), o.Modules, o.Modules)
	}
	return nil
}

// A Reason says why a number was named or not. The set is fixed.
type Reason string

const (
	// ReasonFound: the number is the mark's.
	ReasonFound Reason = "found"
	// ReasonFew: too few modules can be seen for any mark to be read.
	ReasonFew Reason = "few-modules"
	// ReasonWeak: nothing, or too little, in the picture correlates with marks of this key.
	ReasonWeak Reason = "no-evidence"
	// ReasonCheck: what was read does not have its check: a mark of this key that is too damaged, or chance.
	ReasonCheck Reason = "check-failed"
)

// A Decision is what an observation is worth.
type Decision struct {
	Reason   Reason
	Trace    uint32  // only if found
	Evidence float64 // correlation in standard deviations of a picture without a mark
	Chance   float64 // an upper bound of the probability that a picture without this key's mark gets this far; 1 if not found
	Seen     int     // modules that count
}

// Found reports whether the decision names a number.
func (d Decision) Found() bool { return d.Reason == ReasonFound }

// minSeen is how many modules must count: one for each bit of the codeword.
const minSeen = codeBits

// Decide looks for a mark of k. The only errors are those of [Observation.Check].
func (k *Key) Decide(o *Observation) (Decision, error) {
	if err := o.Check(); err != nil {
		return Decision{}, err
	}
	s := k.spread(o.Content, o.Modules)
	var soft [codeBits]float64
	var squares float64
	d := Decision{Chance: 1}
	for i, v := range o.Values {
		if v == 0 {
			continue
		}
		d.Seen++
		f := float64(v)
		squares += f * f
		if s.mask[i] {
			f = -f
		}
		soft[s.bit[i]] += f
	}
	if d.Seen < minSeen {
		d.Reason = ReasonFew
		return d, nil
	}
	message, sum := decode(&soft)
	d.Evidence = sum / math.Sqrt(squares)
	if d.Evidence < MinEvidence {
		d.Reason = ReasonWeak
		return d, nil
	}
	trace := uint32(message >> checkBits)
	var got, want [8]byte
	binary.BigEndian.PutUint64(got[:], message)
	binary.BigEndian.PutUint64(want[:], k.message(o.Content, o.Modules, trace))
	if !hmac.Equal(got[:], want[:]) {
		d.Reason = ReasonCheck
		return d, nil
	}
	d.Reason, d.Trace = ReasonFound, trace
	d.Chance = max(math.Exp(32*math.Ln2-d.Evidence*d.Evidence/2), leastChance)
	return d, nil
}
