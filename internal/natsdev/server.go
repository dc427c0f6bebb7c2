// Package natsdev runs a NATS server with JetStream inside this process, for
// one machine: `huoma up` and the tests. Clients reach it by its URL like any
// other server, so moving to a cluster changes an address and nothing else.
// Start at Start; natsdev/natstest has the helper for tests.
//
// Everything it acknowledges is on disk: it syncs every write (SyncAlways)
// unless RelaxedSync is set, because the server's own default is to sync every
// two minutes, after the acknowledgement.
//
// It refuses any address but loopback (it has no users and no TLS), a data
// directory that another process has, and one it cannot write to.
package natsdev

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Defaults of Options.
const (
	DefaultAddr       = "127.0.0.1:4222"
	DefaultMaxPayload = 8 << 20 // bytes; a plain NATS server's default is 1 MiB
	startTimeout      = 30 * time.Second
)

// Options say how to run the server. StoreDir is required.
type Options struct {
	Addr       string // host:port to listen on, loopback; port 0 picks a free one. Default DefaultAddr
	StoreDir   string // where streams are kept; made when missing, readable by its owner only
	MaxPayload int    // most bytes of one message. Default DefaultMaxPayload
	MaxStore   int64  // most bytes of all streams on disk. Default: three quarters of what is free there

	// RelaxedSync leaves it to the server when to sync files: every two
	// minutes. A power cut then loses what was acknowledged since. For
	// benchmarks and tests.
	RelaxedSync bool

	Log *slog.Logger // the server's log. Default: nothing is logged
}

// Server is a running server.
type Server struct {
	ns   *server.Server
	lock *os.File
	once sync.Once
}

// Start runs a server and returns once it takes clients. The caller must call
// Shutdown. Errors are one sentence and say what to do.
func Start(o Options) (*Server, error) {
	host, port, err := address(o.Addr)
	if err != nil {
		return nil, err
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(o.StoreDir)
	if err != nil {
		return nil, err
	}
	so := &server.Options{
		ServerName: "huoma",
		Host:       host,
		Port:       port,
		NoSigs:     true, // else its signal handler ends the process in the middle of a drain
		JetStream:  true,
		StoreDir:   o.StoreDir,
		SyncAlways: !o.RelaxedSync,
		MaxPayload: int32(o.MaxPayload),
		// Streams are on disk. Memory is for ephemeral consumers only, which need little.
		JetStreamMaxMemory:     64 << 20,
		JetStreamMaxStore:      o.MaxStore,
		DisableJetStreamBanner: true,
		MaxPending:             64 << 20,
		WriteDeadline:          10 * time.Second,
	}
	if o.MaxStore == 0 {
		so.JetStreamMaxStore = maxStore(o.StoreDir)
	}
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start NATS: %w", err), lock.Close())
	}
	l := &logger{log: o.Log, fatal: make(chan string, 1)}
	ns.SetLoggerV2(l, false, false, false)
	s := &Server{ns: ns, lock: lock}
	ns.Start()
	if err := s.ready(l, net.JoinHostPort(host, strconv.Itoa(max(port, 0)))); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// ready waits until the server takes clients or has said why it cannot.
func (s *Server) ready(l *logger, addr string) error {
	for deadline := time.Now().Add(startTimeout); ; {
		ok := s.ns.ReadyForConnections(50 * time.Millisecond)
		select {
		case why := <-l.fatal:
			if inUse(addr) {
				return fmt.Errorf("NATS cannot listen on %s because the port is in use: stop what uses it, or choose another with --nats-addr", addr)
			}
			return fmt.Errorf("NATS did not start: %s", why)
		default:
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("NATS did not take clients within %s: look into its log, and see whether the disk of its data directory is slow or full", startTimeout)
		}
	}
}

// URL is the address for clients, nats://host:port.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// Addr is the address it listens on, host:port, with the port it got.
func (s *Server) Addr() string { return s.ns.Addr().String() }

// Shutdown stops the server and returns when all of it has ended and the data
// directory is free. Calling it again does nothing.
func (s *Server) Shutdown() {
	s.once.Do(func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		// The lock goes with the file; there is nothing to do about an error.
		_ = s.lock.Close()
	})
}

// address takes host:port apart; it is a loopback one or an error.
func address(addr string) (host string, port int, err error) {
	if addr == "" {
		addr = DefaultAddr
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no address for NATS: write host:port, such as %s", addr, DefaultAddr)
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port for NATS: write a number from 0 to 65535, 0 for a free one", p)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("the embedded NATS has no users and listens on loopback only, not on %q: use 127.0.0.1, or run a NATS server of your own and name it with --nats-url", host)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// lockDir makes the directory and takes it for this process. The lock ends
// with the process however it ends.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("NATS needs a data directory: name one with --data")
	}
	notWritable := func(err error) error {
		return fmt.Errorf("the data directory %s cannot be written to (%w): give this user the right to, or choose another with --data", dir, cause(err))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, notWritable(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, notWritable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data directory %s is in use by another process: stop that one, or choose another with --data", dir)
		}
		return nil, notWritable(err)
	}
	// The lock file may be there and writable while the directory no longer is.
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		_ = f.Close()
		return nil, notWritable(err)
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		_ = f.Close()
		return nil, notWritable(err)
	}
	return f, nil
}

// cause strips the path, which the sentence around it names.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// maxStore is three quarters of the space free for dir, at least 1 GiB.
func maxStore(dir string) int64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 1 << 30
	}
	return max(int64(st.Bavail)*int64(st.Bsize)/4*3, 1<<30)
}

func inUse(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	_ = l.Close()
	return false
}
