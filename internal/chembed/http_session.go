package chembed

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Bounds of sessions over HTTP. The two times are ClickHouse's own.
const (
	maxHTTPSessions       = 100
	defaultSessionTimeout = 60 * time.Second
	maxSessionTimeout     = time.Hour
)

// sessionRequest is what a request says of its session. Without an id it has one of its own, which ends with it.
type sessionRequest struct {
	id      string
	timeout *time.Duration // after the request; nil for the default
	check   bool           // it must exist already
	close   bool           // it ends with the request
}

// sessionTimeout reads the parameter session_timeout.
func sessionTimeout(v string) (*time.Duration, error) {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return nil, codeSessionTimeout.errorf("Invalid session timeout: %s", clip(v))
	}
	d := time.Duration(n) * time.Second
	if d > maxSessionTimeout {
		return nil, codeSessionTimeout.errorf("Session timeout %d is larger than the maximum of %d seconds", n, maxSessionTimeout/time.Second)
	}
	return &d, nil
}

// httpSessions keeps the sessions that clients named, each with its settings and temporary tables, until nobody has asked for it during
// its timeout. It is safe for concurrent use.
type httpSessions struct {
	eng *engine

	mu     sync.Mutex
	named  map[string]*httpSession
	closed bool
}

// httpSession is an engine session in the hands of one request at a time.
type httpSession struct {
	*session
	name    string // empty for one that ends with its request
	changed bool   // a SET was run in it

	busy  bool
	timer *time.Timer // ends it; nil while it is busy
}

// acquire returns the session that a request asks for, which the caller releases.
func (s *httpSessions) acquire(req *httpRequest) (*httpSession, error) {
	want := req.session
	if want.id == "" {
		sess, err := openSession(s.eng, req.database)
		return &httpSession{session: sess}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if hs := s.named[want.id]; hs != nil {
		if hs.busy {
			return nil, codeSessionIsLocked.errorf("Session %s is locked by a concurrent client", clip(want.id))
		}
		if hs.timer.Stop() {
			hs.busy = true
			return hs, nil
		}
		// It is being ended at this moment.
		delete(s.named, want.id)
	}
	switch {
	case want.check:
		return nil, codeSessionNotFound.errorf("Session %s not found", clip(want.id))
	case s.closed:
		return nil, codeQueryCancelled.errorf("the embedded server is stopping")
	case len(s.named) >= maxHTTPSessions:
		return nil, codeSessionLimit.errorf("the embedded server keeps %d sessions already: end one with close_session=1, or give them a shorter session_timeout", maxHTTPSessions)
	}
	sess, err := openSession(s.eng, "")
	if err != nil {
		return nil, err
	}
	hs := &httpSession{session: sess, name: want.id, busy: true}
	s.named[want.id] = hs
	return hs, nil
}

// release gives back a session: kept for its timeout, or ended.
func (s *httpSessions) release(hs *httpSession, req sessionRequest) {
	timeout := defaultSessionTimeout
	if req.timeout != nil {
		timeout = *req.timeout
	}
	if hs.name != "" && !req.close {
		s.mu.Lock()
		if !s.closed {
			hs.busy = false
			hs.timer = time.AfterFunc(timeout, func() { s.end(hs) })
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
	s.end(hs)
}

// end closes a session that no request has.
func (s *httpSessions) end(hs *httpSession) {
	s.mu.Lock()
	if s.named[hs.name] == hs {
		delete(s.named, hs.name)
	}
	s.mu.Unlock()
	hs.session.close()
}

// close ends all sessions. No request may be running.
func (s *httpSessions) close() {
	s.mu.Lock()
	s.closed = true
	var idle []*httpSession
	for name, hs := range s.named {
		delete(s.named, name)
		if hs.timer.Stop() {
			idle = append(idle, hs)
		}
	}
	s.mu.Unlock()
	for _, hs := range idle {
		hs.session.close()
	}
}

// begin brings a request's database and settings into force, and forbids writing where the request may not. The returned function
// puts the session's own database back, as a named session goes on.
func (hs *httpSession) begin(req *httpRequest) (undo func(), err error) {
	undo = func() {}
	if req.database != "" && hs.name != "" {
		own, err := hs.ask("SELECT currentDatabase()")
		if err != nil {
			return undo, err
		}
		if err := hs.exec("USE " + quoteName(req.database)); err != nil {
			return undo, err
		}
		undo = func() { _ = hs.exec("USE " + quoteName(own[0])) }
	}
	settings := req.settings
	if req.readonly() && !hs.lessThan(settings) {
		settings = append(settings[:len(settings):len(settings)], setting{name: "readonly", value: "2"})
	}
	return undo, hs.apply(settings)
}

// lessThan says that a request's own settings, or its session's, allow less than reading already.
func (hs *httpSession) lessThan(settings []setting) bool {
	for _, s := range settings {
		if s.name == "readonly" {
			return s.value == "1"
		}
	}
	if !hs.changed {
		return false
	}
	value, err := hs.ask("SELECT toString(getSetting('readonly'))")
	return err == nil && value[0] != "0"
}

// finish takes out of force what only one request asked for, above all readonly, behind which nothing else could be changed any more.
func (hs *httpSession) finish() {
	if hs.name == "" {
		return
	}
	if _, locked := hs.applied["readonly"]; locked && hs.original["readonly"] == "DEFAULT" {
		if hs.exec("SET readonly = DEFAULT") == nil {
			delete(hs.applied, "readonly")
		}
	}
	// What cannot be put back makes the session open a new connection.
	_ = hs.putBack(func(string) bool { return true })
}

// values are the session's own values of some settings, of those that are not the engine's defaults.
func (hs *httpSession) values(names string) (map[string]string, error) {
	if !hs.changed {
		return nil, nil
	}
	out, _, err := hs.conn.query("SELECT name, value FROM system.settings WHERE name IN ("+names+")", "JSONCompactEachRow")
	if err != nil {
		return nil, fmt.Errorf("read the session's settings: %w", err)
	}
	return parsePairs(out)
}
