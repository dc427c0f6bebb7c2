package importing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Covered is how long after an id was first announced the scan workers certainly know an event that was stored under it: they remember
// ids for 25 h from an event's arrival. Within it an event is simply sent again; after it the warehouse is asked.
const Covered = 24 * time.Hour

// Log is where the ledger is kept: an append-only log that all imports of an installation share. Every entry has a sequence.
type Log interface {
	// Key returns the secret that event ids are drawn with, and draws it when there is none and create is set; nil when there is none.
	Key(ctx context.Context, create bool) ([]byte, error)
	// Read calls fn with the entries of a scope from a sequence on. It returns when those are through that were there when it was called;
	// later ones may be among them. last is the log's newest sequence at the call and now the log's clock.
	Read(ctx context.Context, from uint64, scope Scope, fn func(events.ImportEntry) error) (last uint64, now time.Time, err error)
	// Announce appends the entries one behind the other, if the log's newest sequence is after; events.ErrConflict when it is not any more.
	// After any error some of them may have been appended.
	Announce(ctx context.Context, after uint64, list []events.ImportEntry) (last uint64, err error)
	// Close appends a closing, whatever came before it.
	Close(ctx context.Context, e events.ImportEntry) (seq uint64, err error)
}

// A Scope is which entries of the ledger are wanted: those of some days, or closings, or all.
type Scope struct {
	Days     []Day
	Closings bool
}

// Warehouse says which events were stored, for those whose import ended before it could say so.
type Warehouse interface {
	// Stored returns those of the ids that events of a day in the warehouse have (the zero time: of any day). The error says so when the
	// warehouse does not have everything yet that the log has, or no longer has what is as old as since.
	Stored(ctx context.Context, day time.Time, since time.Time, ids []string) ([]string, error)
}

// Ledger is the memory of all imports: which events are stored, and which may be. It holds the days that were asked for, and follows what
// other imports do. Not safe for concurrent use.
type Ledger struct {
	log       Log
	warehouse Warehouse
	run       string
	now       func() time.Time

	last   uint64        // all entries up to it are known, of the days held
	offset time.Duration // the log's clock minus ours
	days   map[Day]*idTable
	closed map[uint64][]EventID // sequences of announcements that are settled → ids which were not stored after all
	open   map[uint64]*announcement
	since  map[EventID]time.Time // of ids that are open: first announced, by the log's clock
	mine   uint64                // chunk being announced
	got    []uint64              // sequences of its announcements
}

// announcement is an entry by which an import says what it is about to store.
type announcement struct {
	day Day
	at  time.Time
	ids []EventID
}

// NewLedger reads what is settled. run names this import, unlike any other. Without a warehouse nothing is settled that others have left
// open, as befits an import that writes nothing.
func NewLedger(ctx context.Context, log Log, warehouse Warehouse, run string, now func() time.Time) (*Ledger, error) {
	l := &Ledger{
		log: log, warehouse: warehouse, run: run, now: now,
		days: make(map[Day]*idTable), closed: make(map[uint64][]EventID), open: make(map[uint64]*announcement), since: make(map[EventID]time.Time),
	}
	return l, l.read(ctx, 1, Scope{Closings: true}, true)
}

// read takes over what the log has from a sequence on. With advance, everything up to its end is known afterwards.
func (l *Ledger) read(ctx context.Context, from uint64, scope Scope, advance bool) error {
	newest := l.last
	last, now, err := l.log.Read(ctx, from, scope, func(e events.ImportEntry) error {
		if !advance && e.Seq > l.last {
			return nil // its turn comes when all of that is read
		}
		newest = max(newest, e.Seq)
		return l.take(e)
	})
	if err != nil {
		return err
	}
	l.offset = now.Sub(l.now())
	if advance {
		l.last = max(newest, last)
	}
	return nil
}

// take takes one entry over; again is harmless.
func (l *Ledger) take(e events.ImportEntry) error {
	if len(e.Closes) > 0 {
		for _, seq := range e.Closes {
			if _, twice := l.closed[seq]; twice {
				continue // the first closing counts
			}
			void := toIDs(e.IDs)
			l.closed[seq] = void
			if a := l.open[seq]; a != nil {
				delete(l.open, seq)
				l.settle(a, void)
			}
		}
		return nil
	}
	day := Day(e.Day)
	t := l.days[day]
	if t == nil || l.open[e.Seq] != nil {
		return nil
	}
	a := &announcement{day, e.At, toIDs(e.IDs)}
	if void, ok := l.closed[e.Seq]; ok {
		l.settle(a, void)
		return nil
	}
	if e.Run == l.run && e.Chunk == l.mine && !slices.Contains(l.got, e.Seq) {
		l.got = append(l.got, e.Seq)
	}
	l.open[e.Seq] = a
	for _, id := range a.ids {
		if t.get(id)&markDone == 0 {
			t.set(id, markOpen, 0)
			if first, ok := l.since[id]; !ok || a.at.Before(first) {
				l.since[id] = a.at
			}
		}
	}
	return nil
}

func toIDs(packed []byte) []EventID {
	out := make([]EventID, 0, len(packed)/len(EventID{}))
	for ; len(packed) >= len(EventID{}); packed = packed[len(EventID{}):] {
		out = append(out, EventID(packed))
	}
	return out
}

func pack(ids []EventID) []byte {
	b := make([]byte, 0, len(ids)*len(EventID{}))
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}

// settle marks what an announcement came to: its ids are stored but for those that are void. void names ids of other days too.
func (l *Ledger) settle(a *announcement, void []EventID) {
	t := l.days[a.day]
	if t == nil {
		return
	}
	none := make(map[EventID]bool, len(void))
	for _, id := range void {
		none[id] = true
	}
	for _, id := range a.ids {
		if !none[id] {
			t.set(id, markDone, markOpen)
			delete(l.since, id)
			continue
		}
		if t.get(id)&markOpen == 0 {
			continue
		}
		// Another announcement may still stand for it.
		first, found := time.Time{}, false
		for _, other := range l.open {
			if other.day == a.day && slices.Contains(other.ids, id) && (!found || other.at.Before(first)) {
				first, found = other.at, true
			}
		}
		if found {
			l.since[id] = first
			continue
		}
		t.set(id, 0, markOpen)
		delete(l.since, id)
	}
}

// Load makes the ledger hold days, and settles what imports that ended early have left open in them.
func (l *Ledger) Load(ctx context.Context, days []Day) error {
	var fresh []Day
	for _, d := range days {
		if l.days[d] == nil && !slices.Contains(fresh, d) {
			fresh = append(fresh, d)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	for _, d := range fresh {
		l.days[d] = new(idTable)
	}
	if err := l.read(ctx, 1, Scope{Days: fresh}, false); err != nil {
		return err
	}
	return l.resolve(ctx)
}

// clock is the log's time.
func (l *Ledger) clock() time.Time { return l.now().Add(l.offset) }

// resolve asks the warehouse about announcements that are too old to be sent again on trust.
func (l *Ledger) resolve(ctx context.Context) error {
	for l.warehouse != nil {
		seq, a := l.overdue()
		if a == nil {
			return nil
		}
		names := make([]string, len(a.ids))
		for i, id := range a.ids {
			names[i] = id.String()
		}
		var of time.Time
		if a.day >= 0 {
			of = a.day.Time()
		}
		stored, err := l.warehouse.Stored(ctx, of, a.at, names)
		if err != nil {
			return fmt.Errorf("an import that ended early on %s has left %d events of which it is not known whether they are stored: %w",
				a.at.UTC().Format(time.DateOnly), len(a.ids), err)
		}
		have := make(map[string]bool, len(stored))
		for _, s := range stored {
			have[s] = true
		}
		var void []EventID
		for i, id := range a.ids {
			if !have[names[i]] {
				void = append(void, id)
			}
		}
		// Under the fence: should another import have settled it meanwhile, and sent what was missing, that is what counts.
		_, err = l.log.Announce(ctx, l.last, []events.ImportEntry{{Closes: []uint64{seq}, IDs: pack(void), Run: l.run}})
		if err != nil && !errors.Is(err, events.ErrConflict) {
			return err
		}
		if err := l.read(ctx, l.last+1, Scope{}, true); err != nil {
			return err
		}
	}
	return nil
}

// overdue is the oldest announcement that is no longer covered.
func (l *Ledger) overdue() (uint64, *announcement) {
	limit := l.clock().Add(-Covered)
	var seq uint64
	var found *announcement
	for s, a := range l.open {
		if a.at.After(limit) || found != nil && s > seq {
			continue
		}
		if t := l.days[a.day]; !slices.ContainsFunc(a.ids, func(id EventID) bool { return t.get(id)&markDone == 0 }) {
			delete(l.open, s) // another import has sent all of it again
			continue
		}
		seq, found = s, a
	}
	return seq, found
}

// mark is what is known of an id of a day that is held.
func (l *Ledger) mark(d Day, id EventID) mark { return l.days[d].get(id) }

// see marks an id as standing in the file, and returns what was known before.
func (l *Ledger) see(d Day, id EventID) mark { return l.days[d].set(id, markSeen, 0) }

// nextFile forgets what stands in the file.
func (l *Ledger) nextFile() {
	for _, t := range l.days {
		t.forget(markSeen)
	}
}

// A Chunk is events that were announced together.
type Chunk struct {
	Number  uint64
	Seqs    []uint64  // of the announcements
	Expires time.Time // by our clock: until when its events may be sent
}

// An idOf is an id with its day.
type idOf struct {
	day Day
	id  EventID
}

// Announce writes down that the ids are about to be stored; none may be sent before it returns. keep says which of them are to be sent:
// not those that another import has stored meanwhile.
func (l *Ledger) Announce(ctx context.Context, number uint64, ids []idOf) (c Chunk, keep []bool, err error) {
	l.mine, l.got = number, nil
	keep = make([]bool, len(ids))
	for {
		byDay := make(map[Day][]EventID)
		covered := make(map[EventID]bool)
		for _, seq := range l.got {
			if a := l.open[seq]; a != nil {
				for _, id := range a.ids {
					covered[id] = true
				}
			}
		}
		for i, it := range ids {
			keep[i] = l.mark(it.day, it.id)&markDone == 0
			if keep[i] && !covered[it.id] {
				byDay[it.day] = append(byDay[it.day], it.id)
			}
		}
		if len(byDay) == 0 {
			break
		}
		var list []events.ImportEntry
		days := make([]Day, 0, len(byDay))
		for d := range byDay {
			days = append(days, d)
		}
		slices.Sort(days)
		for _, d := range days {
			list = append(list, events.ImportEntry{Day: int32(d), IDs: pack(byDay[d]), Run: l.run, Chunk: number})
		}
		last, err := l.log.Announce(ctx, l.last, list)
		switch {
		case err == nil && last == l.last+uint64(len(list)):
			// Nobody else wrote, so what we wrote need not be read.
			at := l.clock()
			for i := range list {
				list[i].Seq, list[i].At = l.last+1+uint64(i), at
				if err := l.take(list[i]); err != nil {
					return c, nil, err
				}
			}
			l.last = last
			continue
		case err != nil && !errors.Is(err, events.ErrConflict):
			return c, nil, err
		}
		if err := l.read(ctx, l.last+1, Scope{}, true); err != nil {
			return c, nil, err
		}
		if err := l.resolve(ctx); err != nil {
			return c, nil, err
		}
	}
	c = Chunk{Number: number, Seqs: slices.Clone(l.got)}
	oldest := l.clock()
	for i, it := range ids {
		if first, ok := l.since[it.id]; keep[i] && ok && first.Before(oldest) {
			oldest = first
		}
	}
	c.Expires = oldest.Add(Covered).Add(-l.offset)
	return c, keep, nil
}

// mostCloses bounds the announcements that one entry closes: the sequences stand in a header, of which NATS takes 64 KiB.
const mostCloses = 2000

// Close writes down that all events of a chunk are stored, but for those that were refused.
func (l *Ledger) Close(ctx context.Context, c Chunk, refused []EventID) error {
	for some := range slices.Chunk(c.Seqs, mostCloses) {
		e := events.ImportEntry{Closes: some, IDs: pack(refused), Run: l.run}
		seq, err := l.log.Close(ctx, e)
		if err != nil {
			return err
		}
		e.Seq = seq
		if err := l.take(e); err != nil {
			return err
		}
		if seq == l.last+1 {
			l.last = seq
		}
	}
	return nil
}
