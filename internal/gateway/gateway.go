package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/run"
	"github.com/oklog/ulid/v2"

	"github.com/huoma/huoma/internal/listen"
	"github.com/huoma/huoma/internal/token"
)

// Gateway is the HTTP service. Make one with New.
type Gateway struct {
	opts      Options
	log       *slog.Logger
	listener  *listen.Listener
	server    *http.Server
	handler   http.Handler
	routes    []route
	metrics   *metrics
	publicURL string
	drawable  drawable
	instance  string // new at every start
	source    string // of our events

	keyHash  [sha256.Size]byte
	ring     atomic.Pointer[token.Keyring]
	visitors token.VisitorHasher
	idKey    []byte // subkey: ids of idempotent mints
	printKey []byte // subkey: fingerprints of requests
	linkKey  []byte // subkey: renewal links

	admission *admission
	refusal   refusal

	mirror  *mirror
	flusher *flusher
	outbox  outbox
	damaged damage
	forged  forgedCounts
	telling sync.Mutex // held while a definition is told before what follows it
	alerts  *alertRing
	traces  *traceBook
	held    []atomic.Int64 // by partition, see mirror.admit
	commits []commitTimes  // by partition
	behind  atomic.Int64   // feeds that are still catching up

	crash   crash
	atOnce  int                // definitions the log is told of at once
	stop    context.CancelFunc // ends Run
	stopped context.Context

	screensEnd context.Context // done when screens are to come back to another gateway
	running    atomic.Bool
	done       chan struct{} // closed when Run has ended
	errMu      sync.Mutex
	errs       []error
}

// New binds the listener and makes a Gateway that serves once Run is called.
// The caller closes it with Close, also when Run is never called.
func New(o Options) (*Gateway, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		opts: o, log: o.Log, instance: ulid.MustNew(ulid.Timestamp(o.Now()), rand.Reader).String(), keyHash: sha256.Sum256([]byte(o.APIKey)),
		visitors: o.Keyring.Visitors(), idKey: o.Keyring.Purpose("idempotency"),
		printKey: o.Keyring.Purpose("request-fingerprint"), linkKey: o.Keyring.Purpose("renewal-link"),
		mirror: newMirror(), alerts: newAlertRing(o.Limits.Alerts), done: make(chan struct{}), crash: o.Crash, atOnce: tellAtOnce,
	}
	g.opts.APIKey = ""
	g.mirror.shorts = newShortIndex(o.Keyring, o.Log)
	g.ring.Store(o.Keyring)
	g.source = "huoma/gateway/" + g.instance
	g.behind.Store(int64(o.Partitions) + 2) // definitions, alerts, and every partition's commits
	if g.traces, err = newTraceBook(o.Keyring.Purpose("watermark")); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.admission = newAdmission(o.Limits)
	if g.refusal, err = newRefusal(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if g.metrics, err = newMetrics(o.Registry, g); err != nil {
		return nil, fmt.Errorf("gateway: register metrics: %w", err)
	}
	g.flusher = newFlusher(o.Backend, o.Partitions, g.instance, o.Limits, o.Log, func(f flushed) {
		g.metrics.flushed(f)
		g.admission.flushed(f.events, f.took, time.Now())
	})
	g.flusher.crash = o.Crash
	if err := g.useSpool(o.Spool); err != nil {
		return nil, err
	}
	g.stopped, g.stop = context.WithCancel(context.Background())
	if g.listener, err = listen.Listen(o.Addr, o.Limits.Listener); err != nil {
		return nil, fmt.Errorf("gateway: cannot listen on %s: %w: free the port or choose another with --addr", o.Addr, err)
	}
	if g.publicURL = o.PublicURL; g.publicURL == "" {
		g.publicURL = "http://" + g.Addr()
	}
	if err := CheckSymbols(g.publicURL, o.QRFree); err != nil {
		return nil, fmt.Errorf("gateway: %w", errors.Join(err, g.listener.Close()))
	}
	g.handler = g.router()
	g.server = g.listener.Server(g.handler, o.Log)
	g.server.RegisterOnShutdown(g.alerts.close)
	var endScreens context.CancelFunc
	g.screensEnd, endScreens = context.WithCancel(context.Background())
	g.server.RegisterOnShutdown(endScreens)
	return g, nil
}

// Addr is the address bound, host:port.
func (g *Gateway) Addr() string { return g.listener.Addr().String() }

// PublicURL is what pictures and links begin with, without a slash at the end.
func (g *Gateway) PublicURL() string { return g.publicURL }

// Instance names this start of the gateway in records and events.
func (g *Gateway) Instance() string { return g.instance }

// Handler serves everything; it answers 503 until Run has caught up.
func (g *Gateway) Handler() http.Handler { return g.handler }

func (g *Gateway) now() time.Time { return g.opts.Now() }

// newID is a ULID.
func (g *Gateway) newID(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
}

// Run serves until ctx ends or Close is called, then stops intake, lets
// requests in flight end, stores what is queued, and returns everything that
// went wrong. It may be called once.
//
//	listener ─► server ─► handlers ─► flusher ─► log ◄─ replay ◄─ spool
//	                                         └── while the log is away ──┘
//	                 mirror ◄─ definitions, commits    alerts ◄─ alert feed
func (g *Gateway) Run(ctx context.Context) error {
	if g.running.Swap(true) {
		return errors.New("gateway: Run was called before")
	}
	defer close(g.done)
	var group run.Group // interrupts are called in this order, each to its end
	group.Add(func() error {
		select {
		case <-ctx.Done():
		case <-g.stopped.Done():
		}
		return nil
	}, func(error) { g.stop() })

	group.Add(func() error {
		if err := g.server.Serve(g.listener); !errors.Is(err, http.ErrServerClosed) {
			g.keep(fmt.Errorf("serve: %w", err))
		}
		return nil
	}, func(error) { g.drain() })

	feeds, stopFeeds := context.WithCancel(context.WithoutCancel(ctx))
	group.Add(func() error { g.tick(feeds); return nil }, func(error) { stopFeeds() })
	for _, feed := range g.feeds() {
		group.Add(func() error { feed(feeds); return nil }, func(error) { stopFeeds() })
	}
	group.Add(func() error { g.keepTraces(feeds); return nil }, func(error) { stopFeeds() })
	group.Add(func() error { g.flusher.run(); return nil }, func(error) {
		g.publishForged(g.flusher.store)
		g.flusher.stop()
	})
	if s := g.flusher.spool; s != nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		group.Add(func() error { s.replay(ctx); return nil }, func(error) {
			s.finish(g.flusher.ended)
			cancel()
		})
	}
	_ = group.Run() // every actor keeps its own error
	g.errMu.Lock()
	defer g.errMu.Unlock()
	if err := errors.Join(g.errs...); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// drain stops intake and waits for requests in flight.
func (g *Gateway) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), g.opts.Limits.Drain)
	defer cancel()
	if err := g.server.Shutdown(ctx); err != nil {
		g.keep(fmt.Errorf("requests in flight did not end within %s: %w", g.opts.Limits.Drain, err))
		if err := g.server.Close(); err != nil {
			g.keep(err)
		}
	}
}

// Close ends Run and waits for it, at most until ctx ends. Without Run it
// closes the listener.
func (g *Gateway) Close(ctx context.Context) error {
	g.stop()
	if !g.running.Load() {
		return g.listener.Close()
	}
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gateway: still stopping: %w", ctx.Err())
	}
}

func (g *Gateway) keep(err error) {
	g.errMu.Lock()
	defer g.errMu.Unlock()
	g.errs = append(g.errs, err)
}

// tick does what is due from time to time: counts of forged scans each
// minute, and the repair of definitions that are damaged, or that the log was not
// told of.
func (g *Gateway) tick(ctx context.Context) {
	repairEvery := max(g.opts.Limits.RepairAfter/2, 10*time.Millisecond)
	forged, repair := time.NewTicker(time.Minute), time.NewTicker(repairEvery)
	defer forged.Stop()
	defer repair.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-forged.C:
			g.publishForged(g.flusher.store)
		case <-repair.C:
			if !g.caughtUp() || !g.opts.Backend.Connected() || g.spooled().Records > 0 {
				continue
			}
			if err := g.mend(ctx); err != nil && ctx.Err() == nil {
				g.log.Warn("definitions that are damaged could not be made again, will retry", "err", err)
			}
			if err := g.repair(ctx); err != nil && ctx.Err() == nil {
				g.log.Warn("definitions could not be told to the log again, will retry", "err", err)
			}
		}
	}
}
