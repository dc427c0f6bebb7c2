package gateway

import (
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// handler answers a request or returns an error: a *Problem is sent as it is,
// anything else is a 500 whose cause is logged here, once, and not told.
type handler func(http.ResponseWriter, *http.Request) error

// route is one method of one address. schemas/openapi.yaml lists the same.
type route struct {
	method, pattern string
	class           string // label of metrics
	access          access
	serve           handler
}

type access int

const (
	public access = iota // anybody, always
	scans                // anybody, once the mirror has caught up
	admin                // with the API key, once the mirror has caught up
)

func (g *Gateway) table() []route {
	metrics := promhttp.HandlerFor(g.opts.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16})
	return []route{
		{"GET", "/s/{token}", "scan", scans, g.scan},
		{"GET", "/S/{token}", "scan", scans, g.scan},
		{"POST", "/v1/codes", "mint", admin, g.mintOne},
		{"POST", "/v1/codes/batch", "mint", admin, g.mintMany},
		{"GET", "/v1/codes", "codes", admin, g.listCodes},
		{"GET", "/v1/codes/{id}", "codes", admin, g.readCode},
		{"PATCH", "/v1/codes/{id}", "codes", admin, g.changeCode},
		{"DELETE", "/v1/codes/{id}", "codes", admin, g.revokeCode},
		{"POST", "/v1/codes/{id}/renew", "codes", admin, g.renewCode},
		{"GET", "/v1/codes/{id}/stats", "stats", admin, g.codeStats},
		{"GET", "/v1/codes/{id}/qr.png", "picture", admin, g.picturePNG},
		{"GET", "/v1/codes/{id}/qr.svg", "picture", admin, g.pictureSVG},
		{"GET", "/v1/codes/{id}/live", "live", admin, g.streamLive},
		{"POST", "/v1/codes/{id}/kiosks", "codes", admin, g.makeKiosk},
		{"POST", "/v1/tokens", "codes", admin, g.openTokens},
		{"POST", "/v1/traces", "traces", admin, g.readTrace},
		{"GET", "/v1/traces/{id}", "traces", admin, g.traceNames},
		{"POST", "/v1/events", "events", admin, g.takeEvents},
		{"GET", "/v1/alerts", "alerts", admin, g.listAlerts},
		{"GET", "/v1/alerts/stream", "stream", admin, g.streamAlerts},
		{"GET", "/r/{signed}", "renew", scans, g.showRenewal},
		{"POST", "/r/{signed}", "renew", scans, g.doRenewal},
		{"GET", "/k/{signed}", "kiosk", scans, g.showKiosk},
		{"GET", "/k/{signed}/live", "live", scans, g.streamKiosk},
		{"GET", "/healthz", "ops", public, g.healthz},
		{"GET", "/readyz", "ops", public, g.readyz},
		{"GET", "/metrics", "ops", public, func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil }},
	}
}

// router dispatches by table. What is in no row is a problem too.
func (g *Gateway) router() http.Handler {
	g.routes = g.table()
	mux := http.NewServeMux()
	methods := make(map[string]map[string]route)
	for _, r := range g.routes {
		if methods[r.pattern] == nil {
			methods[r.pattern] = make(map[string]route)
		}
		methods[r.pattern][r.method] = r
		if r.method == http.MethodGet {
			methods[r.pattern][http.MethodHead] = r
		}
	}
	for pattern, byMethod := range methods {
		var allowed []string
		for m := range byMethod {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			row, ok := byMethod[r.Method]
			if !ok {
				row = route{class: "none", serve: func(http.ResponseWriter, *http.Request) error {
					p := problem(http.StatusMethodNotAllowed, "method_not_allowed", "use %s here", allow)
					p.allow = allow
					return p
				}}
			}
			g.serve(w, r, row)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, route{class: "none", serve: func(http.ResponseWriter, *http.Request) error {
			return problem(http.StatusNotFound, "unknown_route", "see schemas/openapi.yaml for the addresses there are")
		}})
	})
	return mux
}

// recorder notes the status and whether anything was sent.
type recorder struct {
	http.ResponseWriter
	status int
	place  *pool  // taken by the request; nil when given back
	keep   bool   // the place until the end, not only until the answer begins
	body   func() // gives back the room for its body; nil: none was taken
	until  time.Time
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if len(b) <= writePiece || w.keep { // what is kept open has deadlines of its own
		return w.ResponseWriter.Write(b)
	}
	return w.writeLong(b)
}

// begin notes that the answer begins. The work is done: a client that is slow to read holds its connection and no place.
func (w *recorder) begin(status int) {
	w.status = status
	if !w.keep {
		w.leave()
	}
}

// leave gives the place back.
func (w *recorder) leave() {
	if p := w.place; p != nil {
		w.place = nil
		p.leave()
	}
}

// A long answer may take longer than the server's limit as long as it is read: so long for each piece, and so long at all.
const (
	writePiece  = 64 << 10
	pieceWithin = 30 * time.Second
	longWithin  = 10 * time.Minute
)

func (w *recorder) writeLong(b []byte) (n int, err error) {
	now := time.Now()
	if w.until.IsZero() {
		w.until = now.Add(longWithin)
	}
	out := http.NewResponseController(w.ResponseWriter)
	for n < len(b) && err == nil {
		deadline := time.Now().Add(pieceWithin)
		if w.until.Before(deadline) {
			deadline = w.until
		}
		_ = out.SetWriteDeadline(deadline) // there is none in tests
		var k int
		k, err = w.ResponseWriter.Write(b[n:min(n+writePiece, len(b))])
		n += k
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var noSniff = []string{"nosniff"}

// serve wraps a row's handler: headers, access, panics, errors, metrics.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, row route) {
	begun := time.Now()
	rec := &recorder{ResponseWriter: w}
	rec.Header()["X-Content-Type-Options"] = noSniff
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this too
				panic(v)
			}
			g.metrics.panics.Inc()
			g.log.Error("a request ended in a panic", "route", row.pattern, "panic", v, "stack", string(debug.Stack()))
			g.fail(rec, problem(http.StatusInternalServerError, "internal", "try again; if it lasts, the service's log says why"))
		}
		rec.leave()
		if rec.body != nil {
			rec.body()
		}
		g.metrics.request(row.class, rec.status, time.Since(begun))
	}()
	err := g.admit(r, row.access)
	if err == nil {
		err = g.enter(rec, r, row)
	}
	if err == errOverloaded { //nolint:errorlint // it is never wrapped
		g.refuseOverloaded(rec, r, row)
		return
	}
	if err == nil {
		err = row.serve(rec, r)
	}
	if err != nil {
		g.fail(rec, g.asProblem(err, row))
	}
}

func (g *Gateway) admit(r *http.Request, a access) error {
	if a == admin {
		if err := g.authorize(r); err != nil {
			return err
		}
	}
	if a != public && !g.caughtUp() {
		return problem(http.StatusServiceUnavailable, "not_ready", "the service is still reading the log: try again in a moment").retry(time.Second)
	}
	return nil
}

// asProblem turns what a handler returned into what is sent.
func (g *Gateway) asProblem(err error, row route) *Problem {
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errBusy):
		return problem(http.StatusServiceUnavailable, "busy", "too many events wait to be stored: try again in a moment").retry(time.Second)
	case errors.Is(err, errStopping):
		return problem(http.StatusServiceUnavailable, "shutting_down", "the service is stopping: try again in a moment").retry(time.Second)
	case errors.Is(err, errFull):
		return spoolFull()
	case errors.Is(err, errAway):
		return problem(http.StatusServiceUnavailable, "log_away", "NATS cannot be reached, and this needs it: known codes are scanned meanwhile; try again in a moment").retry(5 * time.Second)
	case errors.Is(err, errNotStored): // logged where it happened
		return problem(http.StatusServiceUnavailable, "not_stored", "nothing was lost on your side: send it again").retry(time.Second)
	}
	g.log.Error("a request failed", "route", row.pattern, "err", err)
	return problem(http.StatusInternalServerError, "internal", "try again; if it lasts, the service's log says why")
}

// fail sends p unless an answer has begun.
func (g *Gateway) fail(w *recorder, p *Problem) {
	if w.status == 0 {
		p.write(w)
	}
}
