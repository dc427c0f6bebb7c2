package scanning

import (
	"crypto/sha256"

	"github.com/huoma/huoma/internal/events"
)

// seen remembers the ids of producers' events, oldest first, to know a repeat.
// There may be tens of millions: neither part holds a pointer, so that the
// garbage collector passes them over.
type seen struct {
	ids   map[[16]byte]struct{}
	queue []events.Seen // from head on
	head  int
}

func newSeen(list []events.Seen) seen {
	s := seen{ids: make(map[[16]byte]struct{}, len(list)), queue: list}
	for i := range list {
		s.ids[list[i].ID] = struct{}{}
	}
	return s
}

// add remembers an event, and reports false when it was remembered already.
func (s *seen) add(e *events.Event, at int64) bool {
	id := eventKey(e)
	if _, ok := s.ids[id]; ok {
		return false
	}
	s.ids[id] = struct{}{}
	s.queue = append(s.queue, events.Seen{ID: id, At: at})
	return true
}

// forget drops what was added before a time.
func (s *seen) forget(before int64) {
	for s.head < len(s.queue) && s.queue[s.head].At < before {
		delete(s.ids, s.queue[s.head].ID)
		s.head++
	}
	if s.head > 1024 && s.head > len(s.queue)/2 { // seldom enough that moving the rest costs little
		s.queue = append(make([]events.Seen, 0, 2*(len(s.queue)-s.head)), s.queue[s.head:]...)
		s.head = 0
	}
}

// list is what is remembered, oldest first.
func (s *seen) list() []events.Seen { return s.queue[s.head:] }

// eventKey is what makes an event a repeat: source, id and code. The code
// counts, since another code's events may be another partition's: what is a
// repeat must not depend on that. None of the three holds a control character.
func eventKey(e *events.Event) [16]byte {
	var room [3 * 256]byte
	b := append(room[:0], e.Source...)
	b = append(append(b, 0), e.ID...)
	b = append(append(b, 0), e.Subject...)
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}
