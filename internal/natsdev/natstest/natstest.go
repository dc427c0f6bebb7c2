// Package natstest gives tests a real NATS server with JetStream on a free
// port, and a wire to it that can be cut. Start is all most tests need; New
// has a server that can be stopped and started on the same data and port;
// NewProxy lets a client vanish.
package natstest

import (
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/huoma/huoma/internal/natsdev"
)

// Start runs a server for the test and returns its URL. It ends with the test.
func Start(t testing.TB) (url string) {
	t.Helper()
	return New(t).URL()
}

// Server is a server that a test may stop and start.
type Server struct {
	t    testing.TB
	opts natsdev.Options

	mu  sync.Mutex
	srv *natsdev.Server
	url string
}

// Option changes what New starts.
type Option func(*natsdev.Options)

// WithStoreDir keeps the data in dir instead of a directory of the test's own.
func WithStoreDir(dir string) Option { return func(o *natsdev.Options) { o.StoreDir = dir } }

// WithSync syncs every write, as `huoma up` does. Tests are without it unless
// they measure: a stop of the server loses nothing either way.
func WithSync() Option { return func(o *natsdev.Options) { o.RelaxedSync = false } }

// WithMaxPayload bounds messages to n bytes.
func WithMaxPayload(n int) Option { return func(o *natsdev.Options) { o.MaxPayload = n } }

// WithLog sends the server's log to l.
func WithLog(l *slog.Logger) Option { return func(o *natsdev.Options) { o.Log = l } }

// New runs a server for the test. It ends with the test.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := natsdev.Options{Addr: "127.0.0.1:0", RelaxedSync: true, MaxStore: 4 << 30}
	for _, f := range opts {
		f(&o)
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s := &Server{t: t, opts: o}
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// URL is the server's address; it stays the same over Stop and Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Start runs the server again, on the same data and port.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		return
	}
	srv, err := natsdev.Start(s.opts)
	if err != nil {
		s.t.Fatalf("start NATS: %v", err)
	}
	s.srv, s.url, s.opts.Addr = srv, srv.URL(), srv.Addr()
}

// Stop ends the server; its data stays.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv = nil
	}
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Proxy is a wire between clients and a server.
type Proxy struct {
	l      net.Listener
	target string

	mu    sync.Mutex
	conns map[net.Conn]bool
	cut   bool
}

// NewProxy listens on a free port and passes bytes to and from the server at
// url. It ends with the test.
func NewProxy(t testing.TB, url string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{l: l, target: url[len("nats://"):], conns: map[net.Conn]bool{}}
	var done sync.WaitGroup
	done.Go(func() { p.serve(&done) })
	t.Cleanup(func() {
		p.Cut()
		_ = l.Close()
		done.Wait()
	})
	return p
}

// URL is the address for clients.
func (p *Proxy) URL() string { return "nats://" + p.l.Addr().String() }

// Cut ends every connection and lets no other through until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Mend lets connections through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *Proxy) serve(done *sync.WaitGroup) {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		if p.cut {
			_, _ = in.Close(), out.Close()
			p.mu.Unlock()
			continue
		}
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		done.Go(func() { p.pass(in, out) })
		done.Go(func() { p.pass(out, in) })
	}
}

func (p *Proxy) pass(from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_, _ = from.Close(), to.Close()
			p.mu.Lock()
			delete(p.conns, from)
			p.mu.Unlock()
			return
		}
	}
}
