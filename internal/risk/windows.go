package risk

import (
	"iter"
	"slices"
)

// fewWindows is how many windows of a code are looked through one by one.
// Most codes have no more, and a map takes several times the memory.
const fewWindows = 8

// windows are the windows of one code, by rule, scope and key. The zero value
// is ready.
type windows struct {
	few  []*Entry // all there are, when many is nil
	many map[entryKey]*Entry
}

func (e *Entry) key() entryKey { return entryKey{e.Rule, e.Scope, e.Key} }

func (w *windows) len() int { return len(w.few) + len(w.many) }

func (w *windows) get(rule string, scope Scope, key string) *Entry {
	if w.many != nil {
		return w.many[entryKey{rule, scope, key}]
	}
	for _, e := range w.few {
		if e.Key == key && e.Rule == rule && e.Scope == scope {
			return e
		}
	}
	return nil
}

// put adds e, whose key is not there.
func (w *windows) put(e *Entry) {
	switch {
	case w.many != nil:
		w.many[e.key()] = e
	case len(w.few) < fewWindows:
		w.few = append(w.few, e)
	default:
		w.many = make(map[entryKey]*Entry, 2*fewWindows)
		for _, old := range w.few {
			w.many[old.key()] = old
		}
		w.few = nil
		w.many[e.key()] = e
	}
}

// all passes every window, in no order.
func (w *windows) all() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range w.few {
			if !yield(e) {
				return
			}
		}
		for _, e := range w.many {
			if !yield(e) {
				return
			}
		}
	}
}

// deleteFunc removes the windows for which gone says so.
func (w *windows) deleteFunc(gone func(*Entry) bool) {
	w.few = slices.DeleteFunc(w.few, gone)
	for k, e := range w.many {
		if gone(e) {
			delete(w.many, k)
		}
	}
}
