package chembed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

const (
	startPatience = 60 * time.Second // for a data directory with many parts
	stopPatience  = 20 * time.Second // for queries to end and the engine to flush
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 10 * time.Second
	steadyAfter   = time.Minute // a child that lived so long begins with the shortest backoff again
	tailLines     = 20
)

// Options of a Server. Only DataDir is required.
type Options struct {
	// DataDir is the engine's directory. It is made if it does not exist, and belongs to one process at a time.
	DataDir string
	// Addr and HTTPAddr are where the native protocol and HTTP are served: host and port, loopback only, port 0 for a free
	// one. Empty means 127.0.0.1:0.
	Addr, HTTPAddr string
	// Library is the path of the engine's library; empty means to look for it, as FindLibrary says.
	Library string
	// Exe and Args start the engine's process, in which RunChild must be called. Empty means the running program with
	// ChildCommand.
	Exe  string
	Args []string
	// Patience is how long a client may stop sending in the middle of something, or not read what it is sent, before its connection is
	// closed. 0 means 5 minutes.
	Patience time.Duration
	// Log gets the engine process's starts, ends and error lines. Nil means slog.Default.
	Log *slog.Logger
}

// Server is an embedded ClickHouse: two listeners, and a child process that serves them and is started again when it dies.
// Connections made while it is down wait in the listeners' queues.
type Server struct {
	opts        Options
	native, web *net.TCPListener

	closing context.CancelFunc
	closed  <-chan struct{} // closing was called
	done    chan struct{}   // the supervisor has ended, and the child with it

	mu   sync.Mutex
	proc *os.Process
	last error // why the child ended, when it did so unasked
}

// New binds the listeners, starts the engine and returns once it answers. The engine is supervised from then on; the caller
// calls Close. Errors: ErrNoLibrary, an address that is not loopback or in use, a data directory that is not writable or in
// use by another process, an engine that does not start; each one sentence for people.
func New(opts Options) (*Server, error) {
	var err error
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.Library, err = FindLibrary(opts.Library); err != nil {
		return nil, err
	}
	if opts.DataDir, err = filepath.Abs(opts.DataDir); err != nil {
		return nil, err
	}
	if opts.Patience <= 0 {
		opts.Patience = defaultPatience
	}
	if opts.Exe == "" {
		if opts.Exe, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program to start the ClickHouse engine: %w", err)
		}
	}
	if opts.Args == nil {
		opts.Args = []string{ChildCommand}
	}
	s := &Server{opts: opts, done: make(chan struct{})}
	if s.native, err = bind(opts.Addr); err != nil {
		return nil, err
	}
	if s.web, err = bind(opts.HTTPAddr); err != nil {
		s.native.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.closing, s.closed = cancel, ctx.Done()
	go s.supervise()
	if err := s.waitReady(); err != nil {
		s.Close(context.Background())
		return nil, err
	}
	return s, nil
}

// Addr is where the native protocol is served.
func (s *Server) Addr() string { return s.native.Addr().String() }

// HTTPAddr is where HTTP is served.
func (s *Server) HTTPAddr() string { return s.web.Addr().String() }

// Run blocks until ctx ends or Close is called, and closes the server. It fits an actor of an oklog/run group.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-s.closed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return s.Close(stop)
}

// Close tells the engine to stop, waits until it has flushed and ended, and kills it when ctx ends first, or after 20 seconds. It
// may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	s.closing()
	s.signal(syscall.SIGTERM)
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		s.signal(syscall.SIGKILL)
		<-s.done
		err = errors.New("the ClickHouse engine did not stop in time and was killed; nothing committed is lost")
	}
	s.native.Close()
	s.web.Close()
	return err
}

// PID is the engine's process, or 0 while it is being restarted.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.Pid
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		_ = s.proc.Signal(sig) // it may have ended by itself
	}
}

func bind(addr string) (*net.TCPListener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if err := loopbackOnly(addr); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for ClickHouse clients: %w; choose another port with --clickhouse-addr or --clickhouse-http-addr, or 0 for a free one", err)
	}
	return ln.(*net.TCPListener), nil
}

// supervise starts the child, and again when it ends, until the server is closed.
func (s *Server) supervise() {
	// The child asks to be killed when the thread that started it ends: this one lives as long as it.
	runtime.LockOSThread()
	defer close(s.done)
	backoff := minBackoff
	for {
		started := time.Now()
		reason := s.runOnce()
		select {
		case <-s.closed:
			return
		default:
		}
		s.mu.Lock()
		s.last = reason
		s.mu.Unlock()
		if time.Since(started) > steadyAfter {
			backoff = minBackoff
		}
		s.opts.Log.Error("the ClickHouse engine ended and is started again", "reason", reason, "after", time.Since(started).Round(time.Millisecond), "wait", backoff)
		select {
		case <-s.closed:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// runOnce runs one child to its end and says why it ended.
func (s *Server) runOnce() error {
	native, err := s.native.File()
	if err != nil {
		return fmt.Errorf("hand down the listener: %w", err)
	}
	defer native.Close()
	web, err := s.web.File()
	if err != nil {
		return fmt.Errorf("hand down the listener: %w", err)
	}
	defer web.Close()
	cfg, err := json.Marshal(childConfig{Library: s.opts.Library, DataDir: s.opts.DataDir, Patience: s.opts.Patience})
	if err != nil {
		return err
	}
	cmd := exec.Command(s.opts.Exe, s.opts.Args...)
	cmd.ExtraFiles = []*os.File{native, web}
	// Zone-less times mean UTC whatever the machine's zone is, so that the same data reads the same everywhere.
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.SysProcAttr = childAttr()
	tail := &tailWriter{log: s.opts.Log}
	cmd.Stderr = tail
	cmd.Stdout = tail
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.opts.DataDir), 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w; choose another with --data", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the ClickHouse engine: %w", err)
	}
	s.mu.Lock()
	s.proc = cmd.Process
	s.mu.Unlock()
	select {
	case <-s.closed: // Close may have come before there was a process to tell
		_ = cmd.Process.Signal(syscall.SIGTERM)
	default:
	}
	// The pipe stays open as long as this process lives: its end is how the child learns of ours.
	_, werr := stdin.Write(append(cfg, '\n'))
	err = cmd.Wait()
	stdin.Close()
	s.mu.Lock()
	s.proc = nil
	s.mu.Unlock()
	if why := tail.failure(); why != "" {
		if lines := tail.lines(); lines != "" {
			why += " (" + lines + ")"
		}
		return errors.New(why)
	}
	if err == nil {
		err = errors.Join(errors.New("it ended by itself"), werr)
	}
	if lines := tail.lines(); lines != "" {
		return fmt.Errorf("%w: %s", err, lines)
	}
	return err
}

// waitReady returns once the child answers a hello, or with the reason why it does not.
func (s *Server) waitReady() error {
	deadline := time.Now().Add(startPatience)
	answer := make(chan error, 1)
	conn, err := net.DialTimeout("tcp", s.Addr(), startPatience)
	if err != nil {
		return fmt.Errorf("reach the ClickHouse engine: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(deadline)
	go func() {
		var b proto.Buffer
		proto.ClientHello{Name: "huoma", ProtocolVersion: revision, Database: "default", User: "default"}.Encode(&b)
		if _, err := conn.Write(b.Buf); err != nil {
			answer <- err
			return
		}
		code, err := bufio.NewReader(conn).ReadByte()
		if err == nil && code != byte(proto.ServerCodeHello) {
			err = fmt.Errorf("it answers a hello with packet %d", code)
		}
		answer <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-answer:
			if err != nil {
				return fmt.Errorf("the ClickHouse engine does not answer: %w", err)
			}
			return nil
		case <-tick.C:
			s.mu.Lock()
			last := s.last
			s.mu.Unlock()
			if last != nil {
				return fmt.Errorf("the ClickHouse engine does not start: %w", last)
			}
		}
	}
}

// tailWriter logs the child's lines and keeps the last of them.
type tailWriter struct {
	log *slog.Logger

	mu   sync.Mutex
	part []byte
	kept []string
	why  string
}

func (t *tailWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	for {
		i := bytes.IndexByte(t.part, '\n')
		if i < 0 && len(t.part) < 4096 {
			return len(p), nil
		}
		if i < 0 {
			i = len(t.part) - 1
		}
		line := strings.TrimSpace(string(t.part[:i]))
		t.part = t.part[i+1:]
		if line == "" {
			continue
		}
		if why, ok := strings.CutPrefix(line, failurePrefix); ok {
			t.why = why
			continue
		}
		t.log.Debug("ClickHouse engine", "line", line)
		if t.kept = append(t.kept, line); len(t.kept) > tailLines {
			t.kept = t.kept[1:]
		}
	}
}

// failure is what the child itself said of why it ends.
func (t *tailWriter) failure() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}

func (t *tailWriter) lines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.kept, " | ")
}

var _ io.Writer = (*tailWriter)(nil)
