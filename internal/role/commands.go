package role

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/natsjs"
)

// GatewayCommand is cmd/gateway.
type GatewayCommand struct {
	NATS
	Streams
	Logging
	Addr                string    `help:"Address to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	PublicURL           string    `name:"public-url" help:"What pictures and links begin with, as phones reach it. Default: the address bound."`
	APIKey              string    `name:"api-key" help:"Key of the admin calls."`
	APIKeyFile          string    `name:"api-key-file" help:"File with the key of the admin calls, instead of --api-key." type:"path"`
	Keyring             string    `help:"File with the keys that seal tokens, shared by all gateways and scan workers." type:"path"`
	TrustedProxies      string    `name:"trusted-proxies" help:"Networks whose X-Forwarded-For is believed, separated by commas."`
	RegisteredDomains   []string  `name:"registered-domains" help:"Domains that profiles which ask for it may lead to, separated by commas."`
	QRFree              []string  `name:"qr-free" help:"Profiles whose symbols may grow past their QR version, where --public-url is too long for it, separated by commas."`
	AllowPrivateTargets bool      `name:"allow-private-targets" help:"Let targets lead into private networks."`
	MaxConnections      int       `name:"max-connections" help:"Connections open at a time, at most three quarters of the files the process may have open." default:"16384"`
	FlushTarget         span.Span `name:"flush-target" help:"How long storing a flush should take: fewer scans are let in while it takes longer." default:"250ms"`
	SpoolDir            string    `help:"Folder for events that NATS does not take for now, this gateway's own; an empty value turns it off, and callers get 503 then." default:"./data/spool"`
	SpoolBytes          int64     `help:"Most bytes of that folder." default:"268435456"`
}

func (c *GatewayCommand) logging() Logging { return c.Logging }

// Run serves until ctx ends. While it waits for NATS, its address answers the
// health checks and nothing else.
func (c *GatewayCommand) Run(ctx context.Context, log *slog.Logger) error {
	registry := newRegistry()
	keys, err := FollowKeys(c.Keyring, registry, log)
	if err != nil {
		return err
	}
	spool, err := OpenSpool(c.SpoolDir, c.SpoolBytes, log)
	if err != nil {
		return err
	}
	if spool != nil {
		defer spool.Close()
	}
	health, err := NewHealth(c.Addr, registry, (&readiness{}).check)
	if err != nil {
		return err
	}
	var conn *natsjs.Conn
	var inst natsjs.Installation
	var room Group // both end together, so that the address is free again
	room.Add("health", health.Run)
	room.Add("start-up", func(ctx context.Context) error {
		conn, inst, err = join(ctx, c.NATS, "gateway", c.Streams, log)
		return err
	})
	if err := room.Run(ctx); err != nil || conn == nil {
		return err
	}
	defer conn.Close()
	g, err := Gateway{
		Conn: conn, Partitions: inst.Partitions, Keys: keys, Addr: health.Addr(), PublicURL: c.PublicURL, APIKey: c.APIKey, APIKeyFile: c.APIKeyFile,
		TrustedProxies: c.TrustedProxies, RegisteredDomains: c.RegisteredDomains, AllowPrivateTargets: c.AllowPrivateTargets, QRFree: c.QRFree, Spool: spool,
		MaxConnections: c.MaxConnections, FlushTarget: c.FlushTarget.Duration(), Log: log, Registry: registry,
	}.New()
	if err != nil {
		return err
	}
	log.Info("gateway listens", "addr", g.Addr(), "public_url", g.PublicURL(), "partitions", inst.Partitions)
	defer keys.Follow(true)()
	return g.Run(ctx)
}

// ScanWorkerCommand is cmd/scan-worker.
type ScanWorkerCommand struct {
	NATS
	Streams
	Logging
	Addr    string `help:"Address of /healthz, /readyz and /metrics; port 0 picks a free one." default:"127.0.0.1:8081"`
	Keyring string `help:"File with the keys by which visitors are hashed, shared by all gateways and scan workers." type:"path"`
}

func (c *ScanWorkerCommand) logging() Logging { return c.Logging }

// Run works until ctx ends.
func (c *ScanWorkerCommand) Run(ctx context.Context, log *slog.Logger) error {
	registry := newRegistry()
	keys, err := FollowKeys(c.Keyring, registry, log)
	if err != nil {
		return err
	}
	return serving(ctx, c.Addr, registry, "scan worker", log, func(ctx context.Context, r *readiness) error {
		conn, inst, err := join(ctx, c.NATS, "scan-worker", c.Streams, log)
		if err != nil {
			return err
		}
		defer conn.Close()
		w, err := ScanWorker{Conn: conn, Partitions: inst.Partitions, Keys: keys, Log: log, Registry: registry}.New()
		if err != nil {
			return err
		}
		r.set(func() error {
			switch {
			case !conn.Connected():
				return errNotConnected
			case !w.Ready():
				return errors.New("not every partition is claimed yet")
			}
			return nil
		})
		defer keys.Follow(true)()
		return w.Run(ctx)
	})
}

// AnalyticsCommand is cmd/analytics-worker.
type AnalyticsCommand struct {
	NATS
	Streams
	Logging
	Addr          string `help:"Address of /healthz, /readyz and /metrics; port 0 picks a free one." default:"127.0.0.1:8082"`
	ClickHouseURL string `name:"clickhouse-url" help:"Where the warehouse is, as clickhouse://user:password@host:9000,host2:9000/huoma?secure=true." required:""`
	RetentionDays int    `help:"Days that rows of the log are kept; 0 keeps them for ever." default:"0"`
}

func (c *AnalyticsCommand) logging() Logging { return c.Logging }

// Run works until ctx ends.
func (c *AnalyticsCommand) Run(ctx context.Context, log *slog.Logger) error {
	registry := newRegistry()
	return serving(ctx, c.Addr, registry, "analytics worker", log, func(ctx context.Context, r *readiness) (err error) {
		conn, inst, err := join(ctx, c.NATS, "analytics-worker", c.Streams, log)
		if err != nil {
			return err
		}
		defer conn.Close()
		w, err := Analytics{
			Conn: conn, Partitions: inst.Partitions, ClickHouseURL: c.ClickHouseURL, RetentionDays: c.RetentionDays, Wait: true, Log: log, Registry: registry,
		}.New(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		r.set(func() error {
			if !conn.Connected() {
				return errNotConnected
			}
			return w.Ready()
		})
		return w.Run(ctx)
	})
}

// readiness says whether a role is ready; until set it is not.
type readiness struct{ f atomic.Pointer[func() error] }

var (
	errStarting     = errors.New("still starting; the log says what it waits for")
	errNotConnected = errors.New("not connected to NATS")
)

func (r *readiness) set(f func() error) { r.f.Store(&f) }

func (r *readiness) check() error {
	if f := r.f.Load(); f != nil {
		return (*f)()
	}
	return errStarting
}

// join connects to NATS, waiting for it, and sees to the streams.
func join(ctx context.Context, n NATS, name string, streams Streams, log *slog.Logger) (*natsjs.Conn, natsjs.Installation, error) {
	conn, err := Connect(ctx, n, name, true, log)
	if err != nil {
		return nil, natsjs.Installation{}, err
	}
	inst, err := Install(ctx, conn, streams)
	if err != nil {
		return nil, inst, errors.Join(err, conn.Close())
	}
	return conn, inst, nil
}
