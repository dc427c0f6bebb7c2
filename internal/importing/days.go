package importing

import (
	"encoding/binary"
	"time"
)

// A Day is a day of UTC: days since 1970-01-01.
type Day int32

// DayOf is the day of a time.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s < 0 && s%86400 != 0 {
		d--
	}
	return Day(d)
}

// ownDay is where ids of a source's records are kept that have an id of their own, whatever their time: a day before there are any events.
func ownDay(source string) Day {
	h := uint32(2166136261)
	for i := range len(source) {
		h = (h ^ uint32(source[i])) * 16777619
	}
	return -1 - Day(h>>16^h&0xffff)
}

// Time is when the day begins.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String writes the day as 20260131.
func (d Day) String() string { return d.Time().Format("20060102") }

// mark is what is known of an event id.
type mark uint8

const (
	markDone mark = 1 << iota // stored, as far as the ledger says
	markOpen                  // announced by an import, and not yet known to be stored
	markSeen                  // stands in the file being read
)

// idTable is a set of event ids with a mark each: open addressing, 17 bytes a place, between 19 and 39 bytes an id. An id is a hash
// already, so its first bytes are where it is looked for. The zero id has a place of its own.
type idTable struct {
	ids   []EventID
	marks []mark
	n     int
	zero  mark
}

func (t *idTable) get(id EventID) mark {
	if id == (EventID{}) {
		return t.zero
	}
	if len(t.ids) == 0 {
		return 0
	}
	return t.marks[t.place(id)]
}

// place is where id is, or where it belongs.
func (t *idTable) place(id EventID) int {
	mask := len(t.ids) - 1
	for i := int(binary.LittleEndian.Uint64(id[:8])) & mask; ; i = (i + 1) & mask {
		if t.ids[i] == id || t.ids[i] == (EventID{}) {
			return i
		}
	}
}

// set adds and removes marks, and returns those before.
func (t *idTable) set(id EventID, add, remove mark) (before mark) {
	if id == (EventID{}) {
		before = t.zero
		t.zero = t.zero&^remove | add
		return before
	}
	if t.n >= len(t.ids)*7/8 {
		t.grow()
	}
	i := t.place(id)
	if t.ids[i] != id {
		if add == 0 {
			return 0
		}
		t.ids[i] = id
		t.n++
	}
	before = t.marks[i]
	t.marks[i] = before&^remove | add
	return before
}

func (t *idTable) grow() {
	old, marks := t.ids, t.marks
	t.ids, t.marks = make([]EventID, max(1024, 2*len(old))), make([]mark, max(1024, 2*len(old)))
	for i, id := range old {
		if id != (EventID{}) {
			at := t.place(id)
			t.ids[at], t.marks[at] = id, marks[i]
		}
	}
}

// forget takes a mark off every id.
func (t *idTable) forget(m mark) {
	t.zero &^= m
	for i := range t.marks {
		t.marks[i] &^= m
	}
}
