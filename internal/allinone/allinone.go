package allinone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/natsdev"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/internal/spool"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// Options say what to run. DataDir and APIKey are required.
type Options struct {
	DataDir string // made when missing; one process at a time
	APIKey  string

	Addr      string // of the gateway
	PublicURL string

	NATSAddr string // of the embedded server, or
	NATSURL  string // another server to use instead

	ClickHouseAddr     string // of the embedded engine, or
	ClickHouseHTTPAddr string
	ClickHouseURL      string // another server to use instead

	Streams             role.Streams // how the log's streams should be
	RelaxedSync         bool         // embedded NATS: sync files now and then, not before each acknowledgement
	TrustedProxies      string
	RegisteredDomains   []string
	QRFree              []string // profiles whose symbols may grow
	AllowPrivateTargets bool
	Keyring             string // path; default keyring.json in DataDir
	EngineLibrary       string // path; default: looked for

	SpoolDir   *string // of the gateway's spool; default spool in DataDir; empty: none
	SpoolBytes int64   // most bytes of it; default spool.DefaultBytes

	// EngineExe and EngineArgs start the engine's child process; default: this
	// program with the engine's subcommand.
	EngineExe  string
	EngineArgs []string

	Log *slog.Logger
}

// Addresses is where everything answers.
type Addresses struct {
	Gateway        string     // http://host:port
	NATS           string     // nats://host:port
	ClickHouse     string     // host:port; empty when it is not ours
	ClickHouseHTTP string     // http://host:port; empty when it is not ours
	Engine         func() int // process id of the engine's child; nil when it is not ours
}

// Run starts everything, calls ready once all of it answers, and runs until
// ctx ends. Then intake stops first and the servers last:
//
//	               ┌─────────── embedded NATS ───────────┐
//	gateway ─► HUOMA_EVENTS ─► scan worker ─► HUOMA_DECISIONS ─► analytics worker ─► embedded ClickHouse
//	   ▲                                            │                                  (child process)
//	   └────────────────── mirror ◄─────────────────┘
//
// The error holds everything that went wrong.
func Run(ctx context.Context, o Options, ready func(Addresses)) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	role.GiveRoom()
	var closers []func() error
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
	}()
	closing := func(name string, f func() error) {
		closers = append(closers, func() error {
			if err := f(); err != nil {
				return fmt.Errorf("stop %s: %w", name, err)
			}
			return nil
		})
	}

	lock, err := lockDir(o.DataDir)
	if err != nil {
		return err
	}
	closing("the data directory's lock", lock.Close)
	if err := free(o.Addr); err != nil {
		return err
	}
	if _, err := keyfile.LoadOrCreate(keyringPath(o)); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	keys, err := role.FollowKeys(keyringPath(o), registry, o.Log.With("component", "keyring"))
	if err != nil {
		return err
	}
	var at Addresses

	at.NATS = o.NATSURL
	if o.NATSURL == "" {
		ns, err := natsdev.Start(natsdev.Options{Addr: o.NATSAddr, StoreDir: filepath.Join(o.DataDir, "nats"), RelaxedSync: o.RelaxedSync, Log: o.Log.With("component", "nats-server")})
		if err != nil {
			return err
		}
		closing("NATS", func() error { ns.Shutdown(); return nil })
		at.NATS = ns.URL()
	}
	warehouse := o.ClickHouseURL
	if warehouse == "" {
		ch, err := chembed.New(chembed.Options{
			DataDir: engineDir(o.DataDir), Addr: o.ClickHouseAddr, HTTPAddr: o.ClickHouseHTTPAddr, Library: o.EngineLibrary,
			Exe: o.EngineExe, Args: o.EngineArgs, Log: o.Log.With("component", "clickhouse"),
		})
		if err != nil {
			return err
		}
		closing("ClickHouse", func() error {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			defer cancel()
			return ch.Close(bounded)
		})
		at.ClickHouse, at.ClickHouseHTTP, at.Engine = ch.Addr(), "http://"+ch.HTTPAddr(), ch.PID
		warehouse = "clickhouse://" + ch.Addr() + "/huoma"
	}

	connect := func(name string) (*natsjs.Conn, error) {
		conn, err := role.Connect(ctx, role.NATS{NATSURL: at.NATS}, name, false, o.Log)
		if err == nil {
			closing("the "+name+"'s connection", conn.Close)
		}
		return conn, err
	}
	conn, err := connect("huoma")
	if err != nil {
		return err
	}
	inst, err := role.Install(ctx, conn, o.Streams)
	if err != nil {
		return err
	}

	scanConn, err := connect("scan-worker")
	if err != nil {
		return err
	}
	scan, err := role.ScanWorker{Conn: scanConn, Partitions: inst.Partitions, Keys: keys, Log: o.Log.With("component", "scan-worker"), Registry: registry}.New()
	if err != nil {
		return err
	}
	analyticsConn, err := connect("analytics-worker")
	if err != nil {
		return err
	}
	analytics, err := role.Analytics{
		Conn: analyticsConn, Partitions: inst.Partitions, ClickHouseURL: warehouse, Migrate: true, Log: o.Log.With("component", "analytics-worker"), Registry: registry,
	}.New(ctx)
	if err != nil {
		return err
	}
	closing("the warehouse's connections", analytics.Close)
	held, err := role.OpenSpool(spoolDir(o), cmp.Or(o.SpoolBytes, spool.DefaultBytes), o.Log.With("component", "gateway"))
	if err != nil {
		return err
	}
	if held != nil {
		closing("the spool", held.Close)
	}
	gateConn, err := connect("gateway")
	if err != nil {
		return err
	}
	gate, err := role.Gateway{
		Conn: gateConn, Partitions: inst.Partitions, Keys: keys, Addr: o.Addr, PublicURL: o.PublicURL, APIKey: o.APIKey,
		TrustedProxies: o.TrustedProxies, RegisteredDomains: o.RegisteredDomains, AllowPrivateTargets: o.AllowPrivateTargets, QRFree: o.QRFree, Spool: held,
		Log: o.Log.With("component", "gateway"), Registry: registry,
	}.New()
	if err != nil {
		return err
	}
	at.Gateway = "http://" + gate.Addr()

	defer keys.Follow(false)() // a terminal that closes hangs up
	var group role.Group
	group.Add("gateway", gate.Run)
	group.Add("scan worker", scan.Run)
	group.Add("analytics worker", analytics.Run)
	group.Add("start-up", func(ctx context.Context) error {
		// On a NATS that is not ours, other workers may own partitions.
		decides := func() bool { return scan.Owned() == inst.Partitions || o.NATSURL != "" && scan.Ready() }
		if err := answering(ctx, at.Gateway, decides, func() bool { return analytics.Ready() == nil }); err != nil {
			return err
		}
		ready(at)
		<-ctx.Done()
		return nil
	})
	return group.Run(ctx)
}

func spoolDir(o Options) string {
	if o.SpoolDir != nil {
		return *o.SpoolDir
	}
	return filepath.Join(o.DataDir, "spool")
}

func keyringPath(o Options) string {
	if o.Keyring != "" {
		return o.Keyring
	}
	return filepath.Join(o.DataDir, "keyring.json")
}

// free says early, before anything is started, that the gateway could not
// listen; it binds the address again when the rest runs.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("the gateway cannot listen on %s: %w: free the port, or choose another with --addr", addr, err)
	}
	return l.Close()
}

// lockDir makes dir and takes it for this process.
func lockDir(dir string) (*os.File, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made: %w: choose another with --data", dir, errors.Unwrap(err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s is not writable: %w: make it so, or choose another with --data", dir, errors.Unwrap(err))
	}
	if err := flock(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("the data folder %s is in use by another huoma up: stop that one, or choose another with --data", dir)
	}
	return f, nil
}

// makeDir makes dir and those above it that are missing. When it returns, their names are on disk.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if above := filepath.Dir(dir); above != dir {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // also where another process has just made it
		return err
	}
	if d, err := os.Open(filepath.Dir(dir)); err == nil { // one may make folders where one may not look
		_, _ = d.Sync(), d.Close()
	}
	return nil
}
