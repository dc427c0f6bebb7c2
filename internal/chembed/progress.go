package chembed

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on the time between two looks at the running queries. All sessions share one look. The longer one is how late a new
// follower may be noticed.
const (
	minPoll = 10 * time.Millisecond
	maxPoll = 100 * time.Millisecond
)

// progress is how far a running query is. Rows and bytes are totals since its beginning; totalRows is the engine's estimate of the
// rows to read, 0 where it has none; memory is in bytes.
type progress struct {
	readRows, readBytes, totalRows uint64
	writtenRows, writtenBytes      uint64
	memory, peakMemory             uint64
	elapsed                        time.Duration

	events map[string]uint64 // the engine's own counters of the query
}

// followers are the sessions whose queries are being watched.
type followers struct {
	mu      sync.Mutex
	byID    map[string]*follower
	polling bool
}

type follower struct {
	every  time.Duration
	due    time.Time
	latest chan progress // holds one: who is slow misses some, and holds up nobody
}

// follow calls f about every so often, 10 ms at the least, with the progress of the session's running query, until stop is called.
// f runs on another goroutine, never at the same time as itself, and stop waits for it. It must not call stop. A query that
// is over before the first look is not told of.
func (s *session) follow(every time.Duration, f func(progress)) (stop func()) {
	every = max(every, minPoll)
	me := &follower{every: every, due: time.Now().Add(every), latest: make(chan progress, 1)}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case p := <-me.latest:
				f(p)
			case <-over:
				return
			}
		}
	})
	fs := &s.eng.followers
	fs.mu.Lock()
	if fs.byID == nil {
		fs.byID = map[string]*follower{}
	}
	fs.byID[s.id] = me
	if !fs.polling {
		fs.polling = true
		go s.eng.poll()
	}
	fs.mu.Unlock()
	return func() {
		fs.mu.Lock()
		if fs.byID[s.id] == me {
			delete(fs.byID, s.id)
		}
		fs.mu.Unlock()
		close(over)
		wg.Wait()
	}
}

// poll looks at the running queries as often as the most curious follower wants, until there is none.
func (e *engine) poll() {
	fs := &e.followers
	for {
		fs.mu.Lock()
		if len(fs.byID) == 0 {
			fs.polling = false
			fs.mu.Unlock()
			return
		}
		wait := maxPoll
		now := time.Now()
		var due []string
		for id, f := range fs.byID {
			if left := f.due.Sub(now); left > 0 {
				wait = min(wait, left)
				continue
			}
			f.due = now.Add(f.every)
			wait = min(wait, f.every)
			due = append(due, id)
		}
		fs.mu.Unlock()
		if len(due) > 0 {
			e.tell(due)
		}
		time.Sleep(max(wait, minPoll))
	}
}

// tell reads the progress of the sessions of these ids and passes it on.
func (e *engine) tell(ids []string) {
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = quote(id)
	}
	sql := "SELECT Settings['" + markSetting + "'] AS id, read_rows, read_bytes, total_rows_approx, written_rows, written_bytes, greatest(memory_usage, 0), " +
		"greatest(peak_memory_usage, 0), toUInt64(elapsed * 1e9), mapKeys(ProfileEvents), mapValues(ProfileEvents) FROM system.processes WHERE id IN (" + strings.Join(quoted, ", ") + ")"
	e.mu.Lock()
	var out []byte
	var err error
	if e.first != nil {
		out, _, err = e.first.query(sql, "TabSeparated")
	}
	e.mu.Unlock()
	if err != nil {
		return // an engine that fails says so to the query itself
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		id, p, ok := parseProgress(line)
		if !ok {
			continue
		}
		e.followers.mu.Lock()
		f := e.followers.byID[id]
		e.followers.mu.Unlock()
		if f == nil {
			continue
		}
		select {
		case f.latest <- p:
		default:
		}
	}
}

// parseProgress reads one line of the query of tell.
func parseProgress(line string) (id string, p progress, ok bool) {
	f := strings.Split(line, "\t")
	if len(f) != 11 {
		return "", p, false
	}
	var elapsed uint64
	for i, to := range []*uint64{&p.readRows, &p.readBytes, &p.totalRows, &p.writtenRows, &p.writtenBytes, &p.memory, &p.peakMemory, &elapsed} {
		v, err := strconv.ParseUint(f[1+i], 10, 64)
		if err != nil {
			return "", p, false
		}
		*to = v
	}
	p.elapsed = time.Duration(elapsed)
	names, values := list(f[9]), list(f[10])
	if len(names) == len(values) {
		p.events = make(map[string]uint64, len(names))
		for i, name := range names {
			if v, err := strconv.ParseUint(values[i], 10, 64); err == nil {
				p.events[strings.Trim(name, "'")] = v
			}
		}
	}
	return f[0], p, true
}

// list is an array of plain words or numbers, as ClickHouse writes it.
func list(s string) []string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// counters are the profile events of a query: what the engine counted last, and what is known of its end.
func counters(p progress, s stats) []counter {
	all := maps.Clone(p.events)
	if all == nil {
		all = map[string]uint64{}
	}
	for name, v := range map[string]uint64{
		"SelectedRows": s.readRows, "SelectedBytes": s.readBytes, "InsertedRows": s.writtenRows, "InsertedBytes": s.writtenBytes,
	} {
		if v > 0 {
			all[name] = v
		}
	}
	var list []counter
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, counter{name, int64(all[name])})
	}
	return list
}

// counter is one profile event: its name in system.events, and how much it grew during the query.
type counter struct {
	name  string
	value int64
}
