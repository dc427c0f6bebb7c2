package chembed

import (
	"strings"
	"sync"
)

// queryIDs are the ids that clients gave to their running queries. The engine has ids of its own for them, and its C API takes no other.
type queryIDs struct {
	mu      sync.Mutex
	session map[string]string // by a client's id: the id of the session in which that query runs
}

// named says that the session's query has an id from its client, until done is called. Two that run at a time may not have the same.
func (s *session) named(id string) (done func(), err error) {
	if id == "" {
		return func() {}, nil
	}
	ids := &s.eng.ids
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if ids.session == nil {
		ids.session = map[string]string{}
	}
	if _, taken := ids.session[id]; taken {
		return func() {}, codeSameQueryID.errorf("Query with id = %s is already running.", clipPlain(id))
	}
	ids.session[id] = s.id
	return func() {
		ids.mu.Lock()
		defer ids.mu.Unlock()
		delete(ids.session, id)
	}, nil
}

// withEngineIDs is a KILL QUERY in which the ids that clients gave are the engine's. Any other statement is returned as it is.
func (e *engine) withEngineIDs(st statement) statement {
	if st.first != "KILL" {
		return st
	}
	var b strings.Builder
	from := 0
	for sc := (scanner{s: st.text}); ; {
		t, ok := sc.next()
		if !ok {
			break
		}
		if !strings.HasPrefix(t.text, "'") {
			continue
		}
		if id := e.engineID(restoreDump(t.text)); id != "" {
			b.WriteString(st.text[from:t.start] + quote(id))
			from = t.end
		}
	}
	if from == 0 {
		return st
	}
	b.WriteString(st.text[from:])
	st.text = b.String()
	st.plain = st.text
	return st
}

// engineID is the engine's id of the running query with a client's id, or empty if there is none.
func (e *engine) engineID(client string) string {
	e.ids.mu.Lock()
	session, ok := e.ids.session[client]
	e.ids.mu.Unlock()
	if !ok {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.first == nil {
		return ""
	}
	out, _, err := e.first.query("SELECT query_id FROM system.processes WHERE Settings['"+markSetting+"'] = "+quote(session)+" LIMIT 1", "TabSeparated")
	if err != nil {
		return "" // it is over, or the engine is about to fail anyway
	}
	return strings.TrimSpace(string(out))
}
