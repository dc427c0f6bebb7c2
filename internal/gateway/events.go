package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// How far an event's time may lie from now.
const (
	maxAge   = 24 * time.Hour
	maxAhead = 5 * time.Minute
)

type takenAnswer struct {
	Stored  int  `json:"stored"`
	Spooled bool `json:"spooled,omitzero"` // on this gateway's disk, while the log is away
}

// takeEvents answers POST /v1/events: all of the events or none. While the log
// is away they go into the spool as scans do, as one write: durable all the
// same. What they are held to is in the mirror; only what it does not know
// (a code, a target) needs the log.
func (g *Gateway) takeEvents(w http.ResponseWriter, r *http.Request) error {
	body, mediaType, err := readBody(w, r, g.opts.Limits.BatchBody, "application/json", events.ContentType, events.ContentTypeBatch)
	if err != nil {
		return err
	}
	switch batch := events.IsBatch(body); {
	case mediaType == events.ContentType && batch:
		return invalid(events.CodeMalformed, "body", "this is an array: send it as %s", events.ContentTypeBatch)
	case mediaType == events.ContentTypeBatch && !batch:
		return invalid(events.CodeMalformed, "body", "this is no array: send it as %s", events.ContentType)
	}
	items, err := events.ParseAll(body)
	if err != nil {
		return eventProblem(err, -1)
	}
	if len(items) > events.MaxBatch {
		return invalid(events.CodeTooMany, "body", "there are %d events; at most %d are taken at once", len(items), events.MaxBatch).index(events.MaxBatch)
	}
	now := g.now()
	list := make([]encoded, len(items))
	for i, item := range items {
		if item.Err != nil {
			return eventProblem(item.Err, i)
		}
		if err := g.fit(r.Context(), item.Event, now); err != nil {
			return eventProblem(err, i)
		}
		if list[i], err = g.encode(item.Event); err != nil {
			return err
		}
	}
	for _, item := range items { // all of them are in order
		if id, err := token.ParseCodeID(item.Event.Subject); err == nil {
			if err := g.tellFirst(r.Context(), id); err != nil {
				return err
			}
		}
	}
	spooled, err := g.flusher.keep(r.Context(), list...)
	if err != nil {
		return err
	}
	if err := g.crash.at(BeforeAnswer); err != nil {
		return err
	}
	g.metrics.produced.Add(float64(len(list)))
	return writeJSON(w, http.StatusAccepted, takenAnswer{Stored: len(list), Spooled: spooled})
}

// eventProblem names the first bad event by index and field.
func eventProblem(err error, index int) error {
	ee, ok := events.AsError(err)
	if !ok {
		return err
	}
	field := ee.Field
	if field == "" {
		field = "body"
		if index >= 0 {
			field = "event"
		}
	}
	p := invalid(ee.Code, field, "%s", ee.Reason)
	if index >= 0 {
		p.index(index)
	}
	return p
}

func bad(code events.Code, field, reason string, args ...any) *events.Error {
	return &events.Error{Code: code, Field: field, Index: -1, Reason: fmt.Sprintf(reason, args...)}
}

// fit holds an event to what only the gateway can check, and takes out of it
// what is not to be stored.
func (g *Gateway) fit(ctx context.Context, e *events.Event, now time.Time) error {
	if !events.FromProducer(e.Type) {
		return bad(events.CodeUnknownType, "type", "events of this type are published by Huoma itself")
	}
	if strings.HasPrefix(e.Source, "huoma/gateway/") {
		return bad(events.CodeInvalid, "source", "sources under huoma/gateway/ are the gateway's own: name the producer")
	}
	if now.Sub(e.Time) > maxAge && !e.Historical {
		return bad(events.CodeTooOld, "time", "the event is more than 24 h old: history carries historical: true")
	}
	if e.Time.Sub(now) > maxAhead && !e.Historical {
		return bad(events.CodeTooNew, "time", "the event is more than 5 min ahead: set the clock")
	}
	id, err := token.ParseCodeID(e.Subject)
	if err != nil {
		return bad(events.CodeUnknownCode, "subject", "there is no such code")
	}
	def, err := g.definition(ctx, id)
	if err != nil {
		return g.unavailable(err)
	}
	if def == nil {
		return bad(events.CodeUnknownCode, "subject", "there is no such code")
	}
	switch d := e.Data.(type) {
	case *events.Scan:
		err = g.fitScan(d, id, now)
	case *events.Member:
		g.hide(&d.Visitor, &d.OpenID)
		err = g.fitTarget(ctx, def, *d.Target)
	case *events.Conversion:
		g.hide(&d.Visitor, &d.OpenID)
	case *events.MemberSnapshot:
		err = g.fitTarget(ctx, def, *d.Target)
	}
	if err != nil {
		return err
	}
	return nil
}

// fitTarget refuses members of a target which the code has not, even after
// the newest change by any gateway.
func (g *Gateway) fitTarget(ctx context.Context, def *code.Definition, n int) error {
	if _, ok := def.Target(n); ok {
		return nil
	}
	s, _, err := g.load(ctx, def.ID)
	if err != nil {
		return g.unavailable(err)
	}
	if s != nil {
		if _, ok := s.Def.Target(n); ok {
			return g.take(s)
		}
	}
	return bad(events.CodeInvalid, "data.target", "the code has no target of this number")
}

// hide puts the visitor of an OpenID in its place.
func (g *Gateway) hide(visitor, openID *string) {
	if *openID != "" {
		*visitor, *openID = g.visitors.FromOpenID(*openID), ""
	}
}

// fitScan hashes who scanned, cuts an address to its network, and puts what a
// token says in the token's place. What the gateway answered is the gateway's
// word alone, so a producer's is left out.
func (g *Gateway) fitScan(s *events.Scan, id token.CodeID, now time.Time) error {
	s.Answered, s.AnsweredRule = "", ""
	g.hide(&s.Visitor, &s.OpenID)
	s.Network = visit.CutNetwork(s.Network)
	if s.Token != "" {
		p, err := g.openToken(strings.ToUpper(s.Token), now)
		switch {
		case errors.Is(err, token.ErrForged):
			return bad(events.CodeInvalid, "data.token", "the token is not one of ours")
		case err != nil:
			return err
		case p.Code != id:
			return bad(events.CodeInvalid, "data.token", "the token is another code's than the subject says")
		}
		s.Token, s.Variant, s.Tracking, s.ShownAt = "", p.Variant, p.Tracking, shownAt(p)
	}
	return nil
}
