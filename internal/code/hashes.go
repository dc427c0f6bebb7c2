package code

import "slices"

// fewHashes is how many visitors of a code are looked through one by one. Most
// codes have no more, and a map takes several times the memory.
const fewHashes = 16

// hashes is a set of 64-bit hashes. The zero value is ready.
type hashes struct {
	few  []uint64 // all there are, when many is nil
	many map[uint64]struct{}
}

func (s *hashes) len() int { return len(s.few) + len(s.many) }

func (s *hashes) add(h uint64) {
	switch {
	case s.many != nil:
		s.many[h] = struct{}{}
	case slices.Contains(s.few, h):
	case len(s.few) < fewHashes:
		s.few = append(s.few, h)
	default:
		s.many = make(map[uint64]struct{}, 2*fewHashes)
		for _, old := range s.few {
			s.many[old] = struct{}{}
		}
		s.few = nil
		s.many[h] = struct{}{}
	}
}

// sorted returns them all in ascending order, nil for none. The caller owns the slice.
func (s *hashes) sorted() []uint64 {
	out := append([]uint64(nil), s.few...)
	for h := range s.many {
		out = append(out, h)
	}
	slices.Sort(out)
	return out
}
