package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// alertRing keeps the newest alerts and hands new ones to the readers of the
// stream. It never waits for a reader.
type alertRing struct {
	mu      sync.Mutex
	most    int
	list    []*events.Event // oldest first
	ids     map[string]bool
	readers map[*alertReader]bool
	closed  bool
}

// alertReader is one open stream. news is closed when it is dropped; behind says that this was for not keeping up.
type alertReader struct {
	news   chan *events.Event
	behind bool // written before news is closed, read after
}

// ReaderBehind is how many alerts a reader may be behind. The alerts themselves are the same for all readers.
const ReaderBehind = 8192

func newAlertRing(most int) *alertRing {
	return &alertRing{most: most, ids: make(map[string]bool), readers: make(map[*alertReader]bool)}
}

// add takes an alert in, once, and drops the readers that have not kept up.
func (a *alertRing) add(e *events.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids[e.ID] {
		return
	}
	if len(a.list) == a.most {
		delete(a.ids, a.list[0].ID)
		a.list = slices.Delete(a.list, 0, 1)
	}
	a.list = append(a.list, e)
	a.ids[e.ID] = true
	for r := range a.readers {
		select {
		case r.news <- e:
		default:
			r.behind = true
			a.drop(r)
		}
	}
}

func (a *alertRing) drop(r *alertReader) {
	if a.readers[r] {
		delete(a.readers, r)
		close(r.news)
	}
}

// open begins a stream: the alerts after the one with id lastID that are still
// held (all of them when it is not held any more, none when lastID is empty),
// then new ones.
func (a *alertRing) open(lastID string) ([]*events.Event, *alertReader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &alertReader{news: make(chan *events.Event, ReaderBehind)}
	if a.closed {
		close(r.news)
		return nil, r
	}
	a.readers[r] = true
	if lastID == "" {
		return nil, r
	}
	i := slices.IndexFunc(a.list, func(e *events.Event) bool { return e.ID == lastID })
	return slices.Clone(a.list[i+1:]), r
}

func (a *alertRing) leave(r *alertReader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(r)
}

// close ends every stream.
func (a *alertRing) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for r := range a.readers {
		a.drop(r)
	}
}

// newest returns the newest n alerts that want agrees to, oldest first.
func (a *alertRing) newest(n int, want func(*events.Event) bool) []*events.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*events.Event
	for i := len(a.list) - 1; i >= 0 && len(out) < n; i-- {
		if want(a.list[i]) {
			out = append(out, a.list[i])
		}
	}
	slices.Reverse(out)
	return out
}

var alertKinds = []string{string(code.AlertCapacity), string(code.AlertRisk), string(code.AlertRenewal), string(code.AlertExpiry)}

// wanted makes a filter of the parameters kind, code and since.
func wanted(kind, id, since string) (func(*events.Event) bool, error) {
	if kind != "" && !slices.Contains(alertKinds, kind) {
		return nil, invalid(events.CodeInvalid, "kind", "use one of %s", strings.Join(alertKinds, ", "))
	}
	var from time.Time
	if since != "" {
		var err error
		if from, err = time.Parse(time.RFC3339Nano, since); err != nil {
			return nil, invalid(events.CodeInvalid, "since", "write RFC 3339 with a zone, such as 2026-01-31T08:15:30Z")
		}
	}
	return func(e *events.Event) bool {
		d, ok := e.Data.(*events.Alert)
		return ok && (kind == "" || d.Kind == kind) && (id == "" || d.Code == id) && !e.Time.Before(from)
	}, nil
}

type alertsAnswer struct {
	Alerts []*events.Event `json:"alerts"`
}

// listAlerts answers GET /v1/alerts: the newest of those kept, in the order
// they came.
func (g *Gateway) listAlerts(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "kind", "code", "since", "limit")
	if err != nil {
		return err
	}
	limit, err := queryInt(q, "limit", 1, 1000, 100)
	if err != nil {
		return err
	}
	want, err := wanted(q.Get("kind"), q.Get("code"), q.Get("since"))
	if err != nil {
		return err
	}
	out := alertsAnswer{Alerts: []*events.Event{}}
	for _, e := range g.alerts.newest(limit, want) {
		out.Alerts = append(out.Alerts, g.withLink(e))
	}
	return writeJSON(w, http.StatusOK, out)
}

// withLink adds to a renewal alert the link that renews, as the extension
// attribute renewurl.
func (g *Gateway) withLink(e *events.Event) *events.Event {
	d, ok := e.Data.(*events.Alert)
	if !ok || d.Kind != string(code.AlertRenewal) || d.DueAt == nil {
		return e
	}
	link, err := g.RenewalLink(d.Code, *d.DueAt)
	if err != nil {
		return e
	}
	quoted, err := jsontext.AppendQuote(nil, link)
	if err != nil {
		return e
	}
	with := *e
	with.Extensions = append(slices.Clone(e.Extensions), events.Extension{Name: "renewurl", Value: quoted})
	return &with
}

const (
	heartbeat = 15 * time.Second
	// WriteWithin is how long a reader of the stream may take for what it is sent.
	WriteWithin = 10 * time.Second
	streamPiece = 32 << 10 // bytes of alerts that are written at once, when so many wait
)

// Why a reader was dropped, in the metric and in the log.
const (
	droppedBehind     = "behind"      // so many alerts waited for it
	droppedNotReading = "not_reading" // a write did not end in time
)

// streamAlerts answers GET /v1/alerts/stream: server-sent events, each with the
// alert's id, its kind as the event's name, and the CloudEvent as data. A
// reader that does not keep up is dropped, is told so if it still reads, and
// may come back with Last-Event-ID. No reader waits for another.
func (g *Gateway) streamAlerts(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "kind", "code")
	if err != nil {
		return err
	}
	want, err := wanted(q.Get("kind"), q.Get("code"), "")
	if err != nil {
		return err
	}
	missed, reader := g.alerts.open(r.Header.Get("Last-Event-ID"))
	defer g.alerts.leave(reader)
	out := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	var pending []byte
	send := func(text ...byte) error {
		pending = append(pending, text...)
		if len(pending) == 0 {
			return nil
		}
		if err := out.SetWriteDeadline(time.Now().Add(WriteWithin)); err != nil {
			return err
		}
		_, err := w.Write(pending)
		pending = pending[:0]
		if err == nil {
			err = out.Flush()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			g.droppedReader(droppedNotReading)
		}
		return err
	}
	alert := func(e *events.Event) error {
		if !want(e) {
			return nil
		}
		b, err := g.withLink(e).Marshal()
		if err != nil {
			return err
		}
		pending = fmt.Appendf(pending, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Data.(*events.Alert).Kind, b)
		if len(pending) < streamPiece {
			return nil
		}
		return send()
	}
	// What goes wrong from here on cannot be answered any more: the reader has gone.
	if err := send([]byte("retry: 2000\n: open\n\n")...); err != nil {
		return nil
	}
	for _, e := range missed {
		if err := alert(e); err != nil {
			return nil
		}
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if len(reader.news) == 0 && send() != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case e, ok := <-reader.news:
			if !ok {
				if reader.behind {
					g.droppedReader(droppedBehind)
					_ = send([]byte(": dropped, because " + strconv.Itoa(ReaderBehind) + " alerts waited to be read: come back with Last-Event-ID\n\n")...)
				}
				return nil
			}
			if alert(e) != nil {
				return nil
			}
		case <-beat.C:
			if send([]byte(": beat\n\n")...) != nil {
				return nil
			}
		}
	}
}

// droppedReader notes that a reader of the alert stream was dropped.
func (g *Gateway) droppedReader(reason string) {
	g.metrics.dropped.WithLabelValues(reason).Inc()
	g.log.Warn("a reader of the alert stream was dropped: it may come back with Last-Event-ID", "reason", reason)
}
