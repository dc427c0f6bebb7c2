package chembed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/huoma/huoma/internal/listen"
)

// ChildCommand is the hidden first argument with which a Server starts the running program again as the engine's process.
// A program that makes Servers calls RunChild when it sees it.
const ChildCommand = "clickhouse-engine"

const (
	nativeFD = 3 // the listeners that the parent hands down
	httpFD   = 4

	maxConnections = 256
	lockPatience   = 5 * time.Second  // for an engine whose parent was just killed
	drainPatience  = 10 * time.Second // for queries that run when the engine is told to stop
)

// childConfig is what the parent writes, as one line of JSON, on the child's standard input. Its end is the parent's end.
type childConfig struct {
	Library, DataDir string
	Patience         time.Duration
}

// RunChild is the engine's process: it opens the data directory that its parent names, serves the listeners which the parent
// handed down, and returns the exit status once it has been told to stop or its parent is gone. It needs to be called early in
// main, before anything else reads standard input.
func RunChild() int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := runChild(log); err != nil {
		fmt.Fprintf(os.Stderr, "%s%s\n", failurePrefix, strings.ReplaceAll(err.Error(), "\n", " "))
		return 1
	}
	return 0
}

// failurePrefix marks the line in which a child says why it ends.
const failurePrefix = "engine: "

func runChild(log *slog.Logger) error {
	// The terminal's Ctrl-C is the parent's: it decides when the engine stops.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	idle, drain := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer drain()

	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return errors.New("this command is for the program's own use: it is started by `huoma up`")
	}
	var cfg childConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return fmt.Errorf("read the engine's configuration: %w", err)
	}
	go func() {
		io.Copy(io.Discard, in)
		drain() // the parent is gone
	}()

	native, err := inherited(nativeFD)
	if err != nil {
		return err
	}
	defer native.Close()
	web, err := inherited(httpFD)
	if err != nil {
		return err
	}
	defer web.Close()

	// Here and not between fork and exec, where a disk that does not answer would hold up all of the parent.
	if err := os.Chdir(filepath.Dir(cfg.DataDir)); err != nil {
		return fmt.Errorf("go to the data directory: %w", err)
	}
	unlock, err := lockDir(idle, cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	args, err := engineArgs(cfg.DataDir)
	if err != nil {
		return err
	}
	eng, err := openEngine(cfg.Library, cfg.DataDir, args)
	if err != nil {
		return err
	}
	defer eng.close()
	id, err := identify(eng)
	if err != nil {
		return err
	}
	return serveChild(idle, log, eng, id, cfg, native, web)
}

// serveChild serves until idle ends, then lets running queries end within drainPatience, and stops those that do not.
func serveChild(idle context.Context, log *slog.Logger, eng *engine, id identity, cfg childConfig, native, web net.Listener) error {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	var clients sync.WaitGroup
	handler, err := newHTTPHandler(ctx, eng, id, log, cfg.DataDir)
	if err != nil {
		return err
	}
	bounded := listen.Wrap(web, HTTPLimits)
	httpServer := handler.server(bounded)
	clients.Go(func() { httpServer.Serve(bounded) })
	clients.Go(func() {
		slots := make(chan struct{}, maxConnections)
		for {
			conn, err := native.Accept()
			if err != nil {
				if idle.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				log.Warn("cannot accept a connection", "error", err)
				time.Sleep(100 * time.Millisecond) // out of file descriptors, most likely: others have to go first
				continue
			}
			select {
			case slots <- struct{}{}:
				clients.Go(func() {
					defer func() { <-slots }()
					newNativeConn(eng, id, log, conn, cfg.Patience).serve(ctx, idle)
				})
			default:
				refuse(conn)
			}
		}
	})
	<-idle.Done()
	native.Close()
	timer := time.AfterFunc(drainPatience, kill)
	defer timer.Stop()
	shutdown, cancel := context.WithTimeout(context.Background(), drainPatience+5*time.Second)
	defer cancel()
	err = httpServer.Shutdown(shutdown)
	clients.Wait()
	handler.close()
	return err
}

// refuse answers a client for whom there is no place.
func refuse(conn net.Conn) {
	c := newNativeConn(nil, identity{}, nil, conn, handshakeTimeout)
	c.exception(codeTooManyConns.errorf("the embedded server has %d connections already: use a smaller pool", maxConnections))
	c.w.Flush()
	conn.Close()
}

// inherited is the listener handed down as a file descriptor.
func inherited(fd uintptr) (net.Listener, error) {
	f := os.NewFile(fd, "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("no listener was handed down: %w", err)
	}
	if err := loopbackOnly(ln.Addr().String()); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// lockDir makes dir, and holds it for this process alone until unlock.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory of the ClickHouse engine: %w; choose another with --data", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "engine.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write to the data directory of the ClickHouse engine: %w; choose another with --data", err)
	}
	deadline := time.Now().Add(lockPatience)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("the data directory %s is in use by another process: stop that one, or choose another directory with --data", dir)
		}
	}
}

// identify asks the engine for its version.
func identify(eng *engine) (identity, error) {
	out, _, err := eng.first.query("SELECT version(), timezone()", "TabSeparated")
	if err != nil {
		return identity{}, fmt.Errorf("ask the engine for its version: %w", err)
	}
	var id identity
	f := strings.Fields(string(out))
	if len(f) != 2 {
		return identity{}, fmt.Errorf("the engine's version is %q", out)
	}
	id.version, id.timezone = f[0], f[1]
	if _, err := fmt.Sscanf(id.version, "%d.%d.%d", &id.major, &id.minor, &id.patch); err != nil {
		return identity{}, fmt.Errorf("the engine's version is %q: %w", id.version, err)
	}
	return id, nil
}

// loopbackOnly is an error unless addr is a host and port of this machine alone.
func loopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the embedded ClickHouse's address %s: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("the embedded ClickHouse listens on loopback only, not on %s: it has no users and no passwords; use 127.0.0.1, or a ClickHouse server of your own with --clickhouse-url", addr)
}
