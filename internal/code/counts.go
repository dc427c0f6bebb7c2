package code

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Counts is how many scans had each verdict. Its JSON is an object of those
// that are not zero.
type Counts [len(verdictList)]int64

// index is v's place in Verdicts, or -1.
func (v Verdict) index() int {
	for i := range verdictList {
		if v == verdictList[i] {
			return i
		}
	}
	return -1
}

// Of returns the number of scans with the verdict v, 0 for one that is none.
func (c *Counts) Of(v Verdict) int64 {
	if i := v.index(); i >= 0 {
		return c[i]
	}
	return 0
}

// Set makes n the number of scans with the verdict v, and reports whether
// there is such a verdict.
func (c *Counts) Set(v Verdict, n int64) bool {
	i := v.index()
	if i >= 0 {
		c[i] = n
	}
	return i >= 0
}

// All returns the verdicts that some scans had, in the order of Verdicts.
func (c *Counts) All() iter.Seq2[Verdict, int64] {
	return func(yield func(Verdict, int64) bool) {
		for i, n := range c {
			if n != 0 && !yield(verdictList[i], n) {
				return
			}
		}
	}
}

// MarshalJSON implements json.Marshaler.
func (c Counts) MarshalJSON() ([]byte, error) {
	m := make(map[Verdict]int64)
	for v, n := range c.All() {
		m[v] = n
	}
	return json.Marshal(m)
}

// UnmarshalJSON implements json.Unmarshaler. A verdict that is none is an error.
func (c *Counts) UnmarshalJSON(b []byte) error {
	var m map[Verdict]int64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*c = Counts{}
	for v, n := range m {
		if !c.Set(v, n) {
			return fmt.Errorf("%q is no verdict", string(v))
		}
	}
	return nil
}

// GobEncode implements gob.GobEncoder: the counts in the order of Verdicts, up
// to the last that is not zero, so that a verdict more makes no difference.
func (c Counts) GobEncode() ([]byte, error) {
	n := len(c)
	for n > 0 && c[n-1] == 0 {
		n--
	}
	b := make([]byte, 0, 2*n)
	for _, v := range c[:n] {
		b = binary.AppendVarint(b, v)
	}
	return b, nil
}

// GobDecode implements gob.GobDecoder.
func (c *Counts) GobDecode(b []byte) error {
	*c = Counts{}
	for i := 0; len(b) > 0; i++ {
		v, n := binary.Varint(b)
		if n <= 0 || i == len(c) {
			return errors.New("counts of verdicts that are not known: they were written by a newer version")
		}
		c[i], b = v, b[n:]
	}
	return nil
}
