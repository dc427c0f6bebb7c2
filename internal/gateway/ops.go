package gateway

import (
	"net/http"
	"time"
)

// ready says why not, or nil.
func (g *Gateway) ready() *Problem {
	switch {
	case g.stopped.Err() != nil:
		return problem(http.StatusServiceUnavailable, "shutting_down", "the service is stopping").retry(time.Second)
	case !g.caughtUp():
		return problem(http.StatusServiceUnavailable, "not_ready", "the service is still reading the log").retry(time.Second)
	case !g.opts.Backend.Connected():
		return problem(http.StatusServiceUnavailable, "not_ready", "NATS cannot be reached: events could not be stored").retry(time.Second)
	}
	return nil
}

// Ready reports whether the gateway has caught up with the log and can store events.
func (g *Gateway) Ready() bool { return g.ready() == nil }

type health struct {
	Status string `json:"status"`
	Codes  int64  `json:"codes,omitzero"`
	Queued int    `json:"queued,omitzero"`
}

func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, health{Status: "ok"})
}

func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) error {
	if p := g.ready(); p != nil {
		return p
	}
	return writeJSON(w, http.StatusOK, health{Status: "ready", Codes: g.mirror.size.Load(), Queued: g.flusher.queued()})
}
