package gateway

import (
	"net/http"
	"time"
)

// ready says why not, or nil. While the log is away it is ready as long as the
// spool has room.
func (g *Gateway) ready() *Problem {
	switch {
	case g.stopped.Err() != nil:
		return problem(http.StatusServiceUnavailable, "shutting_down", "the service is stopping").retry(time.Second)
	case !g.caughtUp():
		return problem(http.StatusServiceUnavailable, "not_ready", "the service is still reading the log").retry(time.Second)
	case g.opts.Spool == nil && !g.opts.Backend.Connected():
		return problem(http.StatusServiceUnavailable, "not_ready", "NATS cannot be reached: events could not be stored").retry(time.Second)
	}
	if s := g.spooled(); s.Full && (s.Records > 0 || !g.opts.Backend.Connected()) {
		return spoolFull()
	}
	return nil
}

func spoolFull() *Problem {
	return problem(http.StatusServiceUnavailable, "spool_full", "NATS cannot be reached, and the spool on this gateway has no room left: try again in a moment").retry(5 * time.Second)
}

// Ready reports whether the gateway has caught up with the log and can take events.
func (g *Gateway) Ready() bool { return g.ready() == nil }

type health struct {
	Status  string   `json:"status"`
	Codes   int64    `json:"codes,omitzero"`
	Queued  int      `json:"queued,omitzero"`
	Spooled *spooled `json:"spooled,omitempty"`
}

// spooled is what waits in the spool for the log.
type spooled struct {
	Events int        `json:"events"`
	Bytes  int64      `json:"bytes"`
	Oldest *time.Time `json:"oldest"` // null: nothing has come yet
}

func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, health{Status: "ok"})
}

func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) error {
	if p := g.ready(); p != nil {
		return p
	}
	h := health{Status: "ready", Codes: g.mirror.size.Load(), Queued: g.flusher.queued()}
	if s := g.spooled(); s.Records > 0 || !g.opts.Backend.Connected() {
		h.Status, h.Spooled = "degraded", &spooled{Events: s.Events, Bytes: s.Bytes}
		if !s.Oldest.IsZero() {
			h.Spooled.Oldest = &s.Oldest
		}
	}
	return writeJSON(w, http.StatusOK, h)
}
