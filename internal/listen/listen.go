// Package listen is how every HTTP listener of this project meets the network: one place for the timeouts, the sizes and the number
// of connections, and for what happens beyond them. Start with Listen, then Server.
//
//   - A connection that is in no request (it is idle, or its header is still on its way) may be closed for a newer one when there are
//     too many. One that is in a request never is. So neither idle clients nor slow ones keep others out.
//   - A peer that vanished without a word is noticed by keepalive probes, and by a bound on how long sent bytes may stay
//     unacknowledged.
//   - Out of file descriptors, it makes room among the idle connections and goes on accepting.
//
// It knows nothing of what is served, and refuses to run without limits: a zero field of Limits is a default, not "none".
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits of a listener. Zero fields get the defaults of WithDefaults.
type Limits struct {
	Connections  int           // open at a time; never more than three quarters of the file descriptors the process may have
	ReadHeader   time.Duration // from a request's first byte to the end of its header
	Read         time.Duration // from a request's first byte to the end of its body; negative: a handler sees to it
	Write        time.Duration // from the end of the header to the end of the answer, unless a handler moves its deadline; negative: a handler sees to it
	Idle         time.Duration // between requests
	Vanished     time.Duration // how long a peer may be silent to probes, or leave bytes unacknowledged
	HeaderBytes  int           // of request line and header; net/http adds 4 KiB
	HeaderFields int           // names in a header
}

// DefaultConnections is how many connections a listener holds where the system lets it.
const DefaultConnections = 16_384

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	number := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	number(&l.Connections, DefaultConnections)
	number(&l.HeaderBytes, 32<<10)
	number(&l.HeaderFields, 100)
	span(&l.ReadHeader, 5*time.Second)
	span(&l.Read, time.Minute)
	span(&l.Write, 2*time.Minute)
	span(&l.Idle, 2*time.Minute)
	span(&l.Vanished, time.Minute)
	if most := descriptors(); most > 0 {
		l.Connections = max(min(l.Connections, most/4*3), 1)
	}
	return l
}

// reserve is how many connections beyond Limits.Connections are served when no idle one could be closed for them.
func (l Limits) reserve() int { return max(l.Connections/64, 4) }

// descriptors is how many files the process may have open; 0 when that is not known. The Go runtime has raised the soft limit to the
// hard one before main.
func descriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int(min(r.Cur, 1<<30))
}

// young is how long a connection is left alone, whatever the crowd.
const young = time.Second

// Listener accepts connections within Limits.
type Listener struct {
	net.Listener
	limits Limits
	young  time.Duration

	open             atomic.Int64
	evicted, refused atomic.Uint64
	mu               sync.Mutex
	conns            map[*conn]struct{}
}

// conn is one connection.
type conn struct {
	*net.TCPConn // its other methods are what net/http looks for: CloseWrite, ReadFrom
	of           *Listener
	since        atomic.Int64 // when it was last in no request, Unix nanoseconds; 0 while it is in one
	closed       atomic.Bool
}

// Close closes the connection.
func (c *conn) Close() error {
	if !c.closed.Swap(true) {
		c.of.forget(c)
	}
	return c.TCPConn.Close()
}

// Listen binds addr, host:port; port 0 picks a free one.
func Listen(addr string, l Limits) (*Listener, error) {
	l = l.WithDefaults()
	third := l.Vanished / 3
	config := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: third, Interval: third / 2, Count: 4},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			return errors.Join(raw.Control(func(fd uintptr) { err = unacknowledged(fd, l.Vanished) }), err)
		},
	}
	ln, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return Wrap(ln, l), nil
}

// Wrap bounds a TCP listener that is bound already.
func Wrap(ln net.Listener, l Limits) *Listener {
	return &Listener{Listener: ln, limits: l.WithDefaults(), young: young, conns: make(map[*conn]struct{})}
}

// Server makes the HTTP server for h, to be started with the Listener. What net/http complains of is logged at debug level: it is
// about what clients send.
func (l *Listener) Server(h http.Handler, log *slog.Logger) *http.Server {
	fields, most := l.limits.HeaderFields, int64(l.limits.Connections)
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header) > fields {
				tooManyFields(w)
				return
			}
			if l.open.Load() > most { // no keeping alive while others wait for a place
				w.Header().Set("Connection", "close")
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: l.limits.ReadHeader, ReadTimeout: max(l.limits.Read, 0), WriteTimeout: max(l.limits.Write, 0), IdleTimeout: l.limits.Idle,
		MaxHeaderBytes: l.limits.HeaderBytes, ConnState: state, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Limits are the listener's, with the defaults filled in.
func (l *Listener) Limits() Limits { return l.limits }

// Counts are how many connections are open, and how many were closed for newer ones, and turned away, since the start.
func (l *Listener) Counts() (open int64, evicted, refused uint64) {
	return l.open.Load(), l.evicted.Load(), l.refused.Load()
}

// state follows a connection through its requests.
func state(c net.Conn, s http.ConnState) {
	mine, ok := c.(*conn)
	if !ok {
		return
	}
	switch s {
	case http.StateNew, http.StateIdle:
		mine.since.Store(time.Now().UnixNano())
	default:
		mine.since.Store(0)
	}
}

// Accept waits for a connection. Errors that pass, such as a want of file descriptors, are left to net/http, which waits and tries again.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				l.makeRoom()
			}
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("a connection is a %T, want TCP", c), c.Close())
		}
		n := int(l.open.Load()) + 1
		if n > l.limits.Connections {
			n -= l.makeRoom()
		}
		if n > l.limits.Connections+l.limits.reserve() {
			l.refused.Add(1)
			turnAway(tcp)
			continue
		}
		mine := &conn{TCPConn: tcp, of: l}
		mine.since.Store(time.Now().UnixNano())
		l.mu.Lock()
		l.conns[mine] = struct{}{}
		l.mu.Unlock()
		l.open.Add(1)
		return mine, nil
	}
}

func (l *Listener) forget(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.open.Add(-1)
}

// makeRoom closes those connections that have been in no request for longest, a few at a time, since finding them takes a look at all.
// It returns how many.
func (l *Listener) makeRoom() int {
	type idle struct {
		since int64
		conn  *conn
	}
	latest := time.Now().Add(-l.young).UnixNano()
	var list []idle
	l.mu.Lock()
	for c := range l.conns {
		if since := c.since.Load(); since != 0 && since < latest {
			list = append(list, idle{since, c})
		}
	}
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b idle) int { return int(min(max(a.since-b.since, -1), 1)) })
	closed := 0
	for _, one := range list[:min(len(list), l.limits.reserve())] {
		if one.conn.since.CompareAndSwap(one.since, 0) { // else a request has come meanwhile
			_ = one.conn.Close() // its goroutine sees it and ends
			closed++
		}
	}
	l.evicted.Add(uint64(closed))
	return closed
}

const (
	crowdedBody = `{"type":"urn:huoma:problem:overloaded","title":"Too much at once","status":503,"detail":"too many connections are open: try again in a moment","code":"overloaded"}`
	fieldsBody  = `{"type":"urn:huoma:problem:too_many_headers","title":"The request has too many headers","status":431,"detail":"send fewer header fields","code":"too_many_headers"}`
)

var crowded = fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\nRetry-After: 2\r\n"+
	"Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(crowdedBody), crowdedBody)

// turnAway answers a connection for which there is no place, without waiting for what it wants.
func turnAway(c *net.TCPConn) {
	_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) // its buffer is empty: this takes no time
	_, _ = c.Write([]byte(crowded))
	_ = c.CloseWrite()
	_ = c.Close()
}

func tooManyFields(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	_, _ = w.Write([]byte(fieldsBody)) // the client has gone
}
