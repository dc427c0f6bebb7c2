package oracle

import (
	"cmp"
	"slices"
	"time"
)

// watch counts scans by rule and key: limit counted scans within a window make the rule fire on the one that completes them.
type watch struct {
	windows map[windowKey]*window
	locks   map[windowKey]*window // those in force
	swept   int
}

type windowKey struct{ rule, scope, key string }

// window is one rule's scans of one key.
type window struct {
	windowKey
	hits  []hit     // those that may still count, in the order of their times
	last  time.Time // the clock at which the last was counted
	until time.Time // the rule has fired and is quiet until then
	lock  bool      // and until then the key is refused
}

type hit struct {
	at time.Time
	id string
}

type firing struct {
	rule  rule
	key   string
	until time.Time
	ids   []string // of the scans that made it fire, oldest first
}

// key is what a rule counts a scan by; ok is false when the scan does not say.
func (r *rule) key(s scan) (key string, ok bool) {
	switch r.scope {
	case "code":
		return "", true
	case "visitor":
		return s.visitor, s.visitor != ""
	case "network":
		return s.network, s.network != ""
	}
	return "", false
}

// count counts a scan of the time at for every rule, at the clock now, and returns those that fire, in their order.
func (w *watch) count(rules []rule, s scan, at, now time.Time) (fired []firing) {
	for _, r := range rules {
		key, ok := r.key(s)
		if !ok {
			continue
		}
		k := windowKey{r.id, r.scope, key}
		win := w.windows[k]
		if win == nil {
			w.sweep(rules, now)
			win = &window{windowKey: k}
			w.windows[k] = win
		}
		if win.over(r.window, now) {
			win.hits = nil
		}
		win.last = now
		place := len(win.hits)
		for place > 0 && win.hits[place-1].at.After(at) {
			place--
		}
		win.hits = slices.Insert(win.hits, place, hit{at, s.id})
		dropped := max(0, len(win.hits)-r.limit)
		win.hits = win.hits[dropped:]
		full := len(win.hits) == r.limit && win.newest().Sub(win.hits[0].at) <= r.window
		if place < dropped || !full || now.Before(win.until) {
			continue
		}
		win.until = now.Add(r.quiet)
		delete(w.locks, k)
		if win.lock = r.action == "lock"; win.lock {
			w.locks[k] = win
		}
		f := firing{rule: r, key: key, until: win.until}
		for _, h := range win.hits {
			f.ids = append(f.ids, h.id)
		}
		fired = append(fired, f)
	}
	return fired
}

// over reports whether nothing was counted for longer than the window's length.
func (w *window) over(long time.Duration, now time.Time) bool { return w.last.Before(now.Add(-long)) }

// newest is the highest time of a window that has hits.
func (w *window) newest() time.Time { return w.hits[len(w.hits)-1].at }

// cut keeps what is no older than a length before now, seen from as late as the last scan was counted.
func (w *window) cut(long time.Duration, now time.Time) {
	if len(w.hits) == 0 {
		return
	}
	lag := w.last.Sub(w.newest())
	from := now.Add(-lag).Add(-long)
	w.hits = slices.DeleteFunc(w.hits, func(h hit) bool { return h.at.Before(from) })
}

// locked is the rule whose lock refuses the scan at now: the one that lasts longest.
func (w *watch) locked(rules []rule, s scan, now time.Time) (id string, ok bool) {
	var until time.Time
	for _, r := range rules {
		key, has := r.key(s)
		if !has || r.action != "lock" {
			continue
		}
		win := w.locks[windowKey{r.id, r.scope, key}]
		if win != nil && now.Before(win.until) && (!ok || win.until.After(until)) {
			id, until, ok = r.id, win.until, true
		}
	}
	return id, ok
}

// ended takes the locks that are over at now, in the order of their ends.
func (w *watch) ended(now time.Time) (out []*window) {
	for k, win := range w.locks {
		if now.Before(win.until) {
			continue
		}
		win.lock = false
		delete(w.locks, k)
		out = append(out, win)
	}
	slices.SortFunc(out, func(a, b *window) int { return cmp.Or(a.until.Compare(b.until), a.compare(b)) })
	return out
}

func (w *window) compare(other *window) int {
	return cmp.Or(cmp.Compare(w.rule, other.rule), cmp.Compare(w.scope, other.scope), cmp.Compare(w.key, other.key))
}

// change takes the windows from the old rules to the next: a rule that is the same by id and scope goes on with what the old one still
// saw, all of it if nothing of the rule changes; one that is gone is forgotten. A lock behind which no locking rule
// stands any more ends; it returns those.
func (w *watch) change(old []rule, next definition, now time.Time) (ended []*window) {
	before := definition{rules: old}
	for k, win := range w.windows {
		was, is := before.rule(k.rule, k.scope), next.rule(k.rule, k.scope) // a window has a rule
		if win.lock && (is == nil || is.action != "lock") {
			win.lock, win.until = false, time.Time{}
			delete(w.locks, k)
			ended = append(ended, win)
		}
		if is == nil {
			delete(w.windows, k)
			continue
		}
		if was.action != is.action {
			win.until = time.Time{} // quiet after a dry run is not quiet after a lock
		}
		if *was != *is {
			win.cut(was.window, now)
		}
	}
	slices.SortFunc(ended, func(a, b *window) int { return a.compare(b) })
	return ended
}

// sweep forgets, when there have come to be many, the windows that can never matter again. It makes the maps as well.
func (w *watch) sweep(rules []rule, now time.Time) {
	if w.windows == nil {
		w.windows, w.locks = map[windowKey]*window{}, map[windowKey]*window{}
	}
	if len(w.windows) < 2*w.swept+256 {
		return
	}
	d := definition{rules: rules}
	for k, win := range w.windows {
		r := d.rule(k.rule, k.scope)
		if win.lock || now.Before(win.until) {
			continue
		}
		if win.over(r.window, now) {
			delete(w.windows, k)
		}
	}
	w.swept = len(w.windows)
}
