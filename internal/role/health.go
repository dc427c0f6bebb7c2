package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/huoma/huoma/internal/listen"
)

// Health serves a worker's /healthz, /readyz and /metrics.
type Health struct {
	listener *listen.Listener
	server   *http.Server
}

// HealthLimits are the listener's: it is asked by probes and by Prometheus, not by the public. They have their places also while scans
// come here because the gateway waits for NATS.
var HealthLimits = listen.Limits{Connections: 1024, Read: 10 * time.Second, Write: 30 * time.Second, Idle: time.Minute, HeaderBytes: 16 << 10}

// NewHealth binds addr; ready says why the role is not ready, or nil. Until it
// is, whatever else is asked for is answered 503: a gateway's scans come here
// while it waits for NATS.
func NewHealth(addr string, registry *prometheus.Registry, ready func() error) (*Health, error) {
	l, err := listen.Listen(addr, HealthLimits)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w: choose another with --addr", addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(); err != nil {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		http.NotFound(w, r)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16}))
	return &Health{l, l.Server(mux, slog.New(slog.DiscardHandler))}, nil
}

// Addr is the address bound.
func (h *Health) Addr() string { return h.listener.Addr().String() }

// Run serves until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = h.server.Shutdown(bounded) // what is left is probes
	})
	defer stop()
	if err := h.server.Serve(h.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serving runs work beside its health checks at addr.
func serving(ctx context.Context, addr string, registry *prometheus.Registry, name string, log *slog.Logger, work func(context.Context, *readiness) error) error {
	var r readiness
	health, err := NewHealth(addr, registry, r.check)
	if err != nil {
		return err
	}
	log.Info(name+" starts", "addr", health.Addr())
	var group Group
	group.Add(name, func(ctx context.Context) error { return work(ctx, &r) })
	group.Add("health", health.Run)
	return group.Run(ctx)
}
