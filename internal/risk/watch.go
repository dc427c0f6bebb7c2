package risk

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code/span"
)

// Subject is what a scan offers to the scopes. An empty field is not watched.
type Subject struct {
	Visitor string // keyed hash
	Network string // prefix, never an address
}

func (s Subject) key(scope Scope) (string, bool) {
	switch scope {
	case ScopeVisitor:
		return s.Visitor, s.Visitor != ""
	case ScopeNetwork:
		return s.Network, s.Network != ""
	case ScopeCode:
		return "", true
	}
	return "", false
}

// Firing is one rule that fired, with the evidence.
type Firing struct {
	Rule   Rule
	Key    string    // the scope's value; empty for scope code
	At     time.Time // the scan that fired it
	Oldest time.Time // the N-th newest scan it counted
	Until  time.Time // At + Rule.For; the rule is quiet for this key until then
	Causes []string  // ids of the counted scans, oldest first
}

// Block is a lock in force that refuses a scan.
type Block struct {
	RuleID string
	Scope  Scope
	Key    string
	Until  time.Time
}

// Hit is one counted scan in a ring: its time in Unix nanoseconds and its id.
type Hit struct {
	At int64  `json:"t"`
	ID string `json:"id"`
}

// Entry is the window of one (rule, key). Its fields are exported so that a
// snapshot can carry it. It has the scans with the newest times, at most
// Limit of them; scans may come late, and then they are put where they belong.
type Entry struct {
	Rule  string `json:"rule"`
	Scope Scope  `json:"scope"`
	Key   string `json:"key,omitempty"`
	Ring  []Hit  `json:"ring,omitempty"` // at most Limit, oldest first from Head
	Head  int    `json:"head,omitempty"` // index of the oldest when the ring is full
	Lag   int64  `json:"lag,omitempty"`  // nanoseconds from the newest time in Ring to when a scan was last counted
	Until int64  `json:"until,omitempty"`
	Lock  bool   `json:"lock,omitempty"` // Until is a lock, not just the rule's quiet time
}

type entryKey struct {
	rule  string
	scope Scope
	key   string
}

// Watch holds the windows of one code. The zero value is ready. It is not safe
// for concurrent use.
type Watch struct {
	entries windows
	locked  map[entryKey]*Entry // the entries whose Lock is set
}

// Blocked returns the lock in force for s at now that ends last, if any.
func (w *Watch) Blocked(rules []Rule, s Subject, now time.Time) (Block, bool) {
	var worst Block
	found := false
	if len(w.locked) == 0 {
		return worst, false
	}
	for _, r := range rules {
		if r.Action != ActionLock {
			continue
		}
		key, ok := s.key(r.Scope)
		if !ok {
			continue
		}
		e := w.locked[entryKey{r.ID, r.Scope, key}]
		if e == nil || now.UnixNano() >= e.Until {
			continue
		}
		if until := time.Unix(0, e.Until).UTC(); !found || until.After(worst.Until) {
			worst, found = Block{RuleID: r.ID, Scope: r.Scope, Key: key, Until: until}, true
		}
	}
	return worst, found
}

// Count adds one scan, of the time at, that is counted at now, and returns the
// rules it fires, in the order of rules. While a firing is in force its rule
// does not fire again for that key, though scans keep counting.
//
// at is now, or earlier for a scan that comes late; now never runs backwards.
// A window holds the scans with the newest times; of equal ones, those counted
// later are newer. A rule fires when the scan is among the Limit newest, there
// are as many, and the newest and the oldest of them are no further apart than
// the window. A window in which nothing was counted for longer than its length, by now,
// begins anew.
func (w *Watch) Count(rules []Rule, s Subject, id string, at, now time.Time) []Firing {
	var fired []Firing
	own := "" // the scan's own text goes when the scan has been dealt with
	for i := range rules {
		r := &rules[i]
		key, ok := s.key(r.Scope)
		if !ok {
			continue
		}
		e := w.entry(r, key)
		if e.stale(now, r.Window) {
			e.Ring, e.Head = nil, 0
		}
		if own == "" {
			own = strings.Clone(id)
		}
		oldest, full := e.add(Hit{At: at.UnixNano(), ID: own}, r.Limit)
		newest := e.newest()
		e.Lag = now.UnixNano() - newest
		if !full || newest-oldest > int64(r.Window) || now.UnixNano() < e.Until {
			continue
		}
		e.Until = now.Add(r.For.Duration()).UnixNano()
		if e.Lock = r.Action == ActionLock; e.Lock {
			w.lock(e)
		}
		fired = append(fired, Firing{
			Rule: *r, Key: e.Key, At: now, Oldest: time.Unix(0, oldest).UTC(),
			Until: time.Unix(0, e.Until).UTC(), Causes: e.ids(),
		})
	}
	return fired
}

func (w *Watch) entry(r *Rule, key string) *Entry {
	e := w.entries.get(r.ID, r.Scope, key)
	if e == nil {
		e = &Entry{Rule: r.ID, Scope: r.Scope, Key: strings.Clone(key)}
		w.entries.put(e)
	}
	return e
}

func (w *Watch) lock(e *Entry) {
	if w.locked == nil {
		w.locked = make(map[entryKey]*Entry)
	}
	w.locked[e.key()] = e
}

// newest is the newest time in the ring, which is not empty.
func (e *Entry) newest() int64 { return e.Ring[(e.Head+len(e.Ring)-1)%len(e.Ring)].At }

// stale reports whether nothing was counted for longer than the window.
func (e *Entry) stale(now time.Time, window span.Span) bool {
	return len(e.Ring) > 0 && now.UnixNano()-e.Lag-e.newest() > int64(window)
}

// add puts h into a ring of n and returns the time of the oldest scan kept and
// whether the ring is full of which h is one.
func (e *Entry) add(h Hit, n int) (oldest int64, full bool) {
	if len(e.Ring) > n || (len(e.Ring) < n && e.Head != 0) { // the rule's limit was changed
		e.Ring = e.ordered()
		e.Head = 0
		if len(e.Ring) > n {
			e.Ring = slices.Clone(e.Ring[len(e.Ring)-n:])
		}
	}
	if len(e.Ring) > 0 && h.At < e.newest() {
		e.Ring, e.Head = e.ordered(), 0
		i := len(e.Ring)
		for i > 0 && e.Ring[i-1].At > h.At {
			i--
		}
		if e.Ring = slices.Insert(e.Ring, i, h); len(e.Ring) > n {
			e.Ring = slices.Delete(e.Ring, 0, 1)
			if i == 0 { // it is older than the n that are there
				return 0, false
			}
		}
		return e.Ring[0].At, len(e.Ring) == n
	}
	if len(e.Ring) < n {
		e.Ring = append(e.Ring, h)
	} else {
		e.Ring[e.Head] = h
		e.Head = (e.Head + 1) % n
	}
	return e.Ring[e.Head].At, len(e.Ring) == n
}

func (e *Entry) ordered() []Hit {
	return append(slices.Clone(e.Ring[e.Head:]), e.Ring[:e.Head]...)
}

func (e *Entry) ids() []string {
	out := make([]string, 0, len(e.Ring))
	for _, h := range e.ordered() {
		out = append(out, h.ID)
	}
	return out
}

// Unlock is one lock that has ended.
type Unlock struct {
	RuleID string
	Scope  Scope
	Key    string
	At     time.Time
}

// Due ends the locks whose time has come at now and returns them in a fixed
// order: by end, rule, key.
func (w *Watch) Due(now time.Time) []Unlock {
	var out []Unlock
	for k, e := range w.locked {
		if now.UnixNano() >= e.Until {
			e.Lock = false
			delete(w.locked, k)
			out = append(out, Unlock{RuleID: k.rule, Scope: k.scope, Key: k.key, At: time.Unix(0, e.Until).UTC()})
		}
	}
	sortUnlocks(out)
	return out
}

func sortUnlocks(list []Unlock) {
	slices.SortFunc(list, func(a, b Unlock) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.RuleID, b.RuleID), cmp.Compare(a.Scope, b.Scope), strings.Compare(a.Key, b.Key))
	})
}

// Change takes the windows over from one set of rules to another at now, and
// returns the locks that end because no rule stands behind them any more (the
// rule is gone, or does not lock, or has another scope). Windows of rules that
// are gone are forgotten. A rule that was changed starts from what the old one
// still saw: at most its limit of scans, none older than its window (which lies
// as far back as its newest scan was late). So what
// Sweep forgot makes no difference to a wider window, and Change to the same
// rules changes nothing.
func (w *Watch) Change(from, to []Rule, now time.Time) []Unlock {
	var out []Unlock
	w.entries.deleteFunc(func(e *Entry) bool {
		k := e.key()
		is := func(r Rule) bool { return r.ID == k.rule && r.Scope == k.scope }
		i, j := slices.IndexFunc(from, is), slices.IndexFunc(to, is)
		if e.Lock && (j < 0 || to[j].Action != ActionLock) {
			e.Lock, e.Until = false, 0
			delete(w.locked, k)
			out = append(out, Unlock{RuleID: k.rule, Scope: k.scope, Key: k.key, At: now.UTC()})
		}
		if j < 0 {
			return true
		}
		if i < 0 || from[i] == to[j] { // late scans may still meet what a change would forget
			return false
		}
		if from[i].Action != to[j].Action {
			e.Until = 0 // the quiet time of a dry run does not hold back the lock that follows it
		}
		e.Ring, e.Head = slices.DeleteFunc(e.ordered(), func(h Hit) bool {
			return now.UnixNano()-e.Lag-h.At > int64(from[i].Window)
		}), 0
		if len(e.Ring) == 0 {
			e.Lag = 0
		}
		return len(e.Ring) == 0 && !e.Lock && now.UnixNano() >= e.Until
	})
	sortUnlocks(out)
	return out
}

// NextDue is when the earliest lock in force ends, or false when none is.
func (w *Watch) NextDue() (time.Time, bool) {
	var next int64
	for _, e := range w.locked {
		if next == 0 || e.Until < next {
			next = e.Until
		}
	}
	return time.Unix(0, next).UTC(), next != 0
}

// Locks returns the locks in force at now, in a fixed order.
func (w *Watch) Locks(now time.Time) []Block {
	var out []Block
	for k, e := range w.locked {
		if now.UnixNano() < e.Until {
			out = append(out, Block{RuleID: k.rule, Scope: k.scope, Key: k.key, Until: time.Unix(0, e.Until).UTC()})
		}
	}
	slices.SortFunc(out, func(a, b Block) int {
		return cmp.Or(strings.Compare(a.RuleID, b.RuleID), cmp.Compare(a.Scope, b.Scope), strings.Compare(a.Key, b.Key))
	})
	return out
}

// Sweep forgets keys that can no longer change a decision: no lock or quiet
// time in force and nothing counted for longer than the rule's window. Keys of
// rules that no longer exist go when their lock has ended. When it is called
// does not change what Count or Blocked will say.
func (w *Watch) Sweep(rules []Rule, now time.Time) {
	w.entries.deleteFunc(func(e *Entry) bool {
		if e.Lock || now.UnixNano() < e.Until {
			return false
		}
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == e.Rule && r.Scope == e.Scope })
		return i < 0 || len(e.Ring) == 0 || e.stale(now, rules[i].Window)
	})
}

// Len is the number of (rule, key) windows held.
func (w *Watch) Len() int { return w.entries.len() }

// Export returns every window in a fixed order, for a snapshot.
func (w *Watch) Export() []Entry {
	out := make([]Entry, 0, w.entries.len())
	for e := range w.entries.all() {
		c := *e
		c.Ring = slices.Clone(e.Ring)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Rule, b.Rule), cmp.Compare(a.Scope, b.Scope), strings.Compare(a.Key, b.Key))
	})
	return out
}

// Import replaces the windows by those of a snapshot.
func (w *Watch) Import(entries []Entry) {
	w.entries = windows{}
	w.locked = nil
	for i := range entries {
		e := entries[i]
		if e.Head < 0 || e.Head >= max(len(e.Ring), 1) {
			e.Head = 0
		}
		w.entries.put(&e)
		if e.Lock {
			w.lock(&e)
		}
	}
}
