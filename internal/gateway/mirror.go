package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
)

const shards = 64

// mirror is what this gateway knows of every code. It is safe for concurrent
// use; what it hands out is never changed afterwards.
type mirror struct {
	shards [shards]shard
	size   atomic.Int64
	shorts *shortIndex // of pictures that carry short ids; nil: none

	sharing sync.Mutex
	shares  code.Shares
}

type shard struct {
	mu    sync.RWMutex
	codes map[token.CodeID]*entry
}

// entry is one code. def is the newest definition seen, state the newest view
// of it, or what the definition lets one foretell until a view comes.
type entry struct {
	def   *code.Definition // nil: only its view was seen so far
	state packed
	heard uint64            // the revision the scan worker's last view had
	kept  bool              // the bucket has, or had, a definition of it
	locks map[lockKey]int64 // in force until, Unix nanoseconds; nil: none

	recent map[string]int64 // who was led by which picture, Unix milliseconds; nil: none, or no dedupe

	pending   int32  // scans let in here that the worker has not decided yet
	pendingAt uint32 // when the last of them was, Unix seconds
}

// pendingLife is how long scans are waited for that no commit record speaks
// of: some end as dead letters.
const pendingLife = 10 * time.Second

type lockKey struct{ rule, key string }

func newMirror() *mirror {
	m := new(mirror)
	for i := range m.shards {
		m.shards[i].codes = make(map[token.CodeID]*entry)
	}
	return m
}

func (m *mirror) shard(id token.CodeID) *shard { return &m.shards[id%shards] }

func (m *mirror) entry(s *shard, id token.CodeID) *entry {
	e := s.codes[id]
	if e == nil {
		e = new(entry)
		s.codes[id] = e
		m.size.Add(1)
	}
	return e
}

// define takes a definition over unless a newer one is known. It reports
// whether the scan worker has not been heard of this revision yet.
func (m *mirror) define(id token.CodeID, def *code.Definition, now time.Time) (unheard bool) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := m.entry(s, id)
	e.kept = true
	if e.def == nil || def.Revision > e.def.Revision {
		e.foretell(def, now)
		e.def = def
		m.shorts.add(id, def)
	}
	return e.heard < e.def.Revision
}

// unheard is the revision of a code's definition, if the scan worker has not
// been heard of it yet.
func (m *mirror) unheard(id token.CodeID) (revision uint64, unheard bool) {
	s := m.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.codes[id]
	if e == nil || e.def == nil || e.heard >= e.def.Revision {
		return 0, false
	}
	return e.def.Revision, true
}

// foretell works out what the scan worker will make of def, with the worker's
// own state machine.
func (e *entry) foretell(def *code.Definition, now time.Time) {
	switch {
	case e.heard >= def.Revision:
	case e.state.revision == 0:
		e.state = pack(code.New(*def).View())
	default:
		old := *def
		if e.def != nil {
			old = *e.def
		}
		old.Revision = def.Revision - 1
		st := code.Restore(e.state.saved(old))
		st.Apply(code.Input{Define: &code.Define{Kind: code.Changed, Def: *def}}, now)
		next := pack(st.View())
		next.unique = e.state.unique
		e.state = next
	}
}

// view takes over what a scan worker says of a code, having decided so many of
// the scans let in here.
func (m *mirror) view(id token.CodeID, v code.View, decided int) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := m.entry(s, id)
	e.release(decided)
	e.heard = v.Revision
	next := pack(v)
	if e.def != nil && e.def.Revision > v.Revision && e.state.revision > v.Revision {
		e.state.count(next) // the worker has not heard of our definition: only what it counted is news
		return
	}
	e.state = next
}

// restore takes over a code of a worker's snapshot, with its locks. Scans on
// their way may be in it, unless they are held: in the spool.
func (m *mirror) restore(id token.CodeID, saved code.Saved, now time.Time, held bool) {
	def := saved.Def
	st := code.Restore(saved)
	view, locks := pack(st.View()), st.Locks(now)
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := m.entry(s, id)
	newer := e.def
	e.def, e.state, e.heard, e.locks = m.intern(&def), view, view.revision, nil
	if !held {
		e.pending = 0
	}
	if newer != nil && newer.Revision > def.Revision {
		e.foretell(newer, now)
		e.def = newer
	}
	m.shorts.add(id, e.def)
	e.recent = saved.Recent
	for _, l := range locks {
		e.lock(lockKey{l.RuleID, l.Key}, l.Until, now)
	}
}

// lock notes that a key of a rule is refused until then.
func (m *mirror) lock(id token.CodeID, rule, key string, until, now time.Time) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	m.entry(s, id).lock(lockKey{rule, key}, until, now)
}

func (e *entry) lock(k lockKey, until, now time.Time) {
	if e.locks == nil {
		e.locks = make(map[lockKey]int64, 1)
	}
	e.locks[k] = until.UnixNano()
	if n := len(e.locks); n >= 16 && n&(n-1) == 0 { // each time it has doubled, so that it costs little
		for k, end := range e.locks {
			if end <= now.UnixNano() {
				delete(e.locks, k)
			}
		}
	}
}

func (m *mirror) unlock(id token.CodeID, rule, key string) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.codes[id]; e != nil {
		if delete(e.locks, lockKey{rule, key}); len(e.locks) == 0 {
			e.locks = nil
		}
	}
}

// accepted notes that a visitor was led by a picture at a time, of a code that
// tells repeats apart.
func (m *mirror) accepted(id token.CodeID, visitor, picture string, at time.Time) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.codes[id]
	if e == nil || e.def == nil || e.def.Dedupe == 0 || visitor == "" {
		return
	}
	if e.recent == nil {
		e.recent = make(map[string]int64, 1)
	}
	key := visitor + " " + picture
	e.recent[key] = max(e.recent[key], at.UnixMilli()) // one that was spooled may be older
	if n := len(e.recent); n >= 16 && n&(n-1) == 0 {
		for k, last := range e.recent {
			if at.UnixMilli()-last > e.def.Dedupe.Duration().Milliseconds() {
				delete(e.recent, k)
			}
		}
	}
}

// duplicate reports whether the worker would find this scan a repeat.
func (e *entry) duplicate(visitor, picture string, now time.Time) bool {
	if e.def.Dedupe == 0 || visitor == "" {
		return false
	}
	last, seen := e.recent[visitor+" "+picture]
	return seen && now.UnixMilli()-last <= e.def.Dedupe.Duration().Milliseconds()
}

// known is what get and each hand out.
type known struct {
	id    token.CodeID
	def   *code.Definition
	view  code.View
	heard uint64
}

// get returns a code as it stands at now. ok is false when no definition of it
// has been seen.
func (m *mirror) get(id token.CodeID, now time.Time) (k known, ok bool) {
	s := m.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.codes[id]
	if e == nil || e.def == nil {
		return known{}, false
	}
	return known{id: id, def: e.def, view: e.view(now), heard: e.heard}, true
}

// definition is get for who needs no more than what the code's owner said.
func (m *mirror) definition(id token.CodeID) *code.Definition {
	s := m.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.codes[id]; e != nil {
		return e.def
	}
	return nil
}

// view is e for people: with what the passing of time has done by now.
func (e *entry) view(now time.Time) code.View {
	v := e.state.view(e.def)
	if st, reason := e.state.at(now); st != v.Status {
		v.Status, v.Reason, v.Current = st, reason, -1
	}
	return v
}

// keep notes that the bucket has something under a code's id.
func (m *mirror) keep(id token.CodeID) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	m.entry(s, id).kept = true
}

// lost are the codes that the scan worker knows and the bucket has nothing of.
func (m *mirror) lost() (out []token.CodeID) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		for id, e := range s.codes {
			if e.heard > 0 && !e.kept {
				out = append(out, id)
			}
		}
		s.mu.RUnlock()
	}
	return out
}

// each hands every code with a definition to fn, in no order. fn must not call
// the mirror, and keep nothing of state.
func (m *mirror) each(fn func(id token.CodeID, def *code.Definition, state *packed, heard uint64)) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		for id, e := range s.codes {
			if e.def != nil {
				fn(id, e.def, &e.state, e.heard)
			}
		}
		s.mu.RUnlock()
	}
}

// verdict is what a scan is answered, and what its two last checks said: of the server's state, and of how the scanner behaves.
type verdict struct {
	verdict code.Verdict
	rule    string
	target  code.Target // when led somewhere
	until   time.Time   // locked: when the lock ends
	def     *code.Definition
	unheard bool      // no scan worker has said anything of the code yet
	shown   time.Time // the minute of a live picture that was refused for its age; else zero

	state     code.Verdict // Accepted, Revoked, Expired, Locked, Capped or Full
	behaviour code.Verdict // Accepted, Preview, Bot or Duplicate
}

// decide answers a scan of a code at now, in the scan worker's own order: what
// the scanner declares itself to be, the code's state, the visitor's lock, cap,
// room, and whether the same picture led the visitor just before. ok is false when no definition of the code has been seen.
func (m *mirror) decide(id token.CodeID, class code.Verdict, classRule string, who risk.Subject, picture string, now time.Time) (a verdict, ok bool) {
	s := m.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.codes[id]
	if e == nil || e.def == nil {
		return a, false
	}
	a = e.check(who, now)
	switch {
	case class != "":
		a.behaviour = class
	case e.duplicate(who.Visitor, picture, now):
		a.behaviour = code.Duplicate
	default:
		a.behaviour = code.Accepted
	}
	switch {
	case class != "":
		a.verdict, a.rule, a.target = class, classRule, code.Target{}
	case a.state != code.Accepted:
		a.verdict = a.state
	case a.behaviour == code.Duplicate:
		a.verdict, a.rule = code.Duplicate, "dedupe"
	default:
		a.verdict = code.Accepted
	}
	return a, true
}

// check is the server's state: what became of the code, and who is locked out of it.
func (e *entry) check(who risk.Subject, now time.Time) verdict {
	a := verdict{def: e.def, unheard: e.heard == 0}
	status, reason := e.state.at(now)
	switch status {
	case code.StatusRevoked:
		a.state, a.rule = code.Revoked, "owner"
		return a
	case code.StatusExpired:
		a.state, a.rule = code.Expired, reason
		return a
	}
	if rule, until, locked := e.blocked(who, now); locked {
		a.state, a.rule, a.until = code.Locked, rule, until
		return a
	}
	var ok bool
	switch {
	case status == code.StatusCapped:
		a.state, a.rule = code.Capped, "max_scans"
		return a
	case status == code.StatusFull:
		a.state, a.rule = code.Full, "capacity"
		return a
	}
	if a.target, ok = e.def.Target(e.state.current); !ok {
		a.state, a.rule = code.Full, "capacity"
		return a
	}
	a.state = code.Accepted
	return a
}

// admit counts a scan that was accepted here against the code's cap, together
// with those still on their way to the worker: a crowd at one gateway finds no
// more doors open than there are scans left. It reports false when none is.
// Scans on their way count until the worker has decided them, or for
// pendingLife from the last of them or from held (Unix seconds) on, whichever is later:
// those in the spool are on their way for as long as it takes.
func (m *mirror) admit(id token.CodeID, now time.Time, held int64) bool {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.codes[id]
	if e == nil || e.def == nil {
		return false
	}
	second := uint32(now.Unix()) // until the year 2106
	if e.pending > 0 && now.Unix()-max(int64(e.pendingAt), held) > int64(pendingLife/time.Second) {
		e.pending = 0
	}
	if e.def.MaxScans > 0 && e.state.consumed+int64(e.pending) >= e.def.MaxScans {
		return false
	}
	e.pending++
	e.pendingAt = second
	return true
}

// dismiss takes an admitted scan back, which could not be stored.
func (m *mirror) dismiss(id token.CodeID) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.codes[id]; e != nil {
		e.release(1)
	}
}

func (e *entry) release(n int) {
	e.pending -= int32(min(n, int(e.pending))) // not above pending
}

// blocked returns the lock in force that ends last, as risk.Watch.Blocked does.
func (e *entry) blocked(who risk.Subject, now time.Time) (rule string, until time.Time, ok bool) {
	if e.locks == nil {
		return "", time.Time{}, false
	}
	var latest int64
	for i := range e.def.Rules {
		r := &e.def.Rules[i]
		if r.Action != risk.ActionLock {
			continue
		}
		k := lockKey{rule: r.ID}
		switch r.Scope {
		case risk.ScopeVisitor:
			k.key = who.Visitor
		case risk.ScopeNetwork:
			k.key = who.Network
		}
		if k.key == "" && r.Scope != risk.ScopeCode {
			continue
		}
		if end := e.locks[k]; end > now.UnixNano() && end > latest {
			rule, latest = r.ID, end
		}
	}
	return rule, time.Unix(0, latest).UTC(), latest > 0
}

// defaultRules is shared by all the codes which have them: that is most.
// intern lets def share what most definitions have in common.
func (m *mirror) intern(def *code.Definition) *code.Definition {
	m.sharing.Lock()
	defer m.sharing.Unlock()
	m.shares.Definition(def)
	return def
}
