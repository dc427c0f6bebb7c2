package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// stored is a definition as the bucket keeps it, with what is needed to tell
// the log of it once more: the bucket is changed first, the log is told
// before the caller is answered, and a gateway that finds a change which the
// log never heard of (because of a crash in between) tells it again with the
// very same event.
type stored struct {
	Version int             `json:"v"`
	Event   string          `json:"event"` // the id of the event that tells of this revision
	Source  string          `json:"source"`
	Type    string          `json:"type"`
	Request string          `json:"request,omitzero"` // idempotent mint: the request's fingerprint
	Def     code.Definition `json:"def"`
}

const storedVersion = 1

func (s *stored) marshal() ([]byte, error) {
	b, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("marshal definition of %s: %w", s.Def.ID, err)
	}
	return b, nil
}

// parseStored reads a code's definition. The error is errDamaged, or that of a newer program's.
func parseStored(id string, b []byte) (*stored, error) {
	var v struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if v.Version > storedVersion {
		return nil, fmt.Errorf("the definition of %s has version %d, this program reads %d: upgrade it", id, v.Version, storedVersion)
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if s.Version != storedVersion || s.Def.ID != id || s.Def.Revision == 0 || s.Event == "" || len(s.Def.Targets) == 0 {
		return nil, fmt.Errorf("%w: it is incomplete, or another code's", errDamaged)
	}
	return &s, nil
}

// event is the event that tells the log of s.
func (s *stored) event() *events.Event {
	return &events.Event{
		ID: s.Event, Source: s.Source, Type: s.Type, Subject: s.Def.ID, Time: s.Def.ChangedAt, Tenant: s.Def.Tenant,
		Data: &events.CodeData{Definition: s.Def},
	}
}

// encode makes an event ready for the flusher.
func (g *Gateway) encode(e *events.Event) (encoded, error) {
	b, err := e.Marshal()
	if err != nil {
		return encoded{}, err
	}
	return encoded{partition: events.Partition(e.Subject, g.opts.Partitions), json: b}, nil
}

// newStored is a definition with a new event of typ about it.
func (g *Gateway) newStored(typ string, def code.Definition) *stored {
	return &stored{Version: storedVersion, Event: g.newID(g.now()), Source: g.source, Type: typ, Def: def}
}

// tell stores the events of list in the log. What went into the spool is not
// there yet, and is answered as if it were nowhere: a producer of another
// gateway, or none, would be ahead of it. It is asked for again, and follows
// from the spool in any case.
func (g *Gateway) tell(ctx context.Context, list ...*stored) error {
	out := make([]encoded, 0, len(list))
	for _, s := range list {
		e, err := g.encode(s.event())
		if err != nil {
			return err
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil
	}
	if err := g.crash.at(BeforeTell); err != nil {
		return err
	}
	spooled, err := g.flusher.keep(ctx, out...)
	if err != nil {
		return err
	}
	if err := g.crash.at(AfterTell); err != nil {
		return err
	}
	for _, s := range list {
		if spooled {
			g.outbox.spooled(s.Def.ID, s.Def.Revision)
		} else {
			g.outbox.told(s.Def.ID, s.Def.Revision)
		}
	}
	if spooled {
		return errAway
	}
	return nil
}

// tellUnheard is tell for what the log may not have yet: a repeated mint may
// find that the first one got that far. A gateway that is still reading has
// heard of nothing, and tells it again.
func (g *Gateway) tellUnheard(ctx context.Context, list ...*stored) error {
	var rest []*stored
	for _, s := range list {
		id, err := token.ParseCodeID(s.Def.ID)
		if err != nil {
			return err
		}
		revision, unheard := g.mirror.unheard(id)
		told, _ := g.outbox.toldOf(s.Def.ID, s.Def.Revision)
		if unheard && revision == s.Def.Revision && !told {
			rest = append(rest, s)
		}
	}
	return g.tell(ctx, rest...)
}

// tellFirst makes sure that the log has a code's definition before what is
// about to be stored of the code: the gateway that minted or changed it may
// have died between storing and telling, and what the log meets of a code that
// it does not know is a dead letter. While the bucket is out of reach the
// definition's own event is, too, and another says the same: of two the log
// takes one.
func (g *Gateway) tellFirst(ctx context.Context, id token.CodeID) error {
	untold := func() bool {
		revision, unheard := g.mirror.unheard(id)
		told, spooled := g.outbox.toldOf(id.String(), revision)
		return unheard && !told && !spooled
	}
	if !untold() {
		return nil
	}
	g.telling.Lock() // a crowd tells it once
	defer g.telling.Unlock()
	if !untold() {
		return nil
	}
	s, _, err := g.load(ctx, id.String())
	if err != nil {
		def, typ := g.mirror.definition(id), events.TypeCodeChanged
		if def.Revision == 1 {
			typ = events.TypeCodeMinted
		}
		s = g.newStored(typ, *def)
	}
	if s == nil {
		return nil
	}
	e, err := g.encode(s.event())
	if err != nil {
		return err
	}
	spooled, err := g.flusher.keep(ctx, e)
	if err != nil {
		return err
	}
	g.outbox.add(s.Def.ID, s.Def.Revision, g.now())
	if spooled {
		g.outbox.spooled(s.Def.ID, s.Def.Revision)
	} else {
		g.outbox.told(s.Def.ID, s.Def.Revision)
	}
	return nil
}

// take brings a definition into the mirror.
func (g *Gateway) take(s *stored) error {
	id, err := token.ParseCodeID(s.Def.ID)
	if err != nil {
		return fmt.Errorf("definition %q: %w", s.Def.ID, err)
	}
	if g.mirror.define(id, g.mirror.intern(&s.Def), g.now()) && g.caughtUp() {
		g.outbox.add(s.Def.ID, s.Def.Revision, g.now())
	}
	return nil
}

// load returns a code's stored definition and its revision in the bucket, and
// nil when there is none.
func (g *Gateway) load(ctx context.Context, id string) (*stored, uint64, error) {
	var b []byte
	var rev uint64
	err := g.ask(ctx, g.opts.Limits.Lookup, func(ctx context.Context) (err error) {
		b, rev, err = g.opts.Backend.Definition(ctx, id)
		return err
	})
	if errors.Is(err, events.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read definition: %w", err)
	}
	s, err := parseStored(id, b)
	if err != nil {
		g.unreadable(id, rev, err)
	}
	return s, rev, err
}

// find returns a code from the mirror or, on a miss, from the bucket: another
// gateway may have minted it a moment ago.
func (g *Gateway) find(ctx context.Context, id token.CodeID) (known, bool, error) {
	if k, ok := g.mirror.get(id, g.now()); ok {
		return k, true, nil
	}
	s, _, err := g.load(ctx, id.String())
	if err != nil || s == nil {
		return known{}, false, err
	}
	if err := g.take(s); err != nil {
		return known{}, false, err
	}
	k, ok := g.mirror.get(id, g.now())
	return k, ok, nil
}

// definition is find for who needs no more than what the code's owner said: nil when there is no such code.
func (g *Gateway) definition(ctx context.Context, id token.CodeID) (*code.Definition, error) {
	if def := g.mirror.definition(id); def != nil {
		return def, nil
	}
	k, ok, err := g.find(ctx, id)
	if err != nil || !ok {
		return nil, err
	}
	return k.def, nil
}

// outbox holds the definition changes which no scan worker has been heard of.
type outbox struct {
	mu      sync.Mutex
	waiting map[string]change
}

type change struct {
	revision uint64
	since    time.Time
	told     bool // this gateway knows that the log has the event
	spooled  bool // its spool has it, before anything else of the code
}

func (o *outbox) add(id string, revision uint64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = make(map[string]change)
	}
	if c, ok := o.waiting[id]; !ok || c.revision < revision {
		o.waiting[id] = change{revision: revision, since: now}
	}
}

func (o *outbox) told(id string, revision uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.waiting[id]; ok && c.revision == revision {
		c.told = true
		o.waiting[id] = c
	}
}

// spooled notes that a revision is in the spool: what follows it there needs no other.
func (o *outbox) spooled(id string, revision uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.waiting[id]; ok && c.revision == revision {
		c.spooled = true
		o.waiting[id] = c
	}
}

// toldOf reports whether the log is known to have a revision, and whether the
// spool has it.
func (o *outbox) toldOf(id string, revision uint64) (told, spooled bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.waiting[id]
	ok = ok && c.revision == revision
	return ok && c.told, ok && c.spooled
}

func (o *outbox) heard(id string, revision uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.waiting[id]; ok && c.revision <= revision {
		delete(o.waiting, id)
	}
}

// due returns at most n codes whose change the log may have missed: not known to be told, and
// waiting since before.
func (o *outbox) due(before time.Time, n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for id, c := range o.waiting {
		if !c.told && !c.since.After(before) {
			if out = append(out, id); len(out) == n {
				break
			}
		}
	}
	return out
}

// repair tells the log once more of changes it may have missed.
func (g *Gateway) repair(ctx context.Context) error {
	if g.spooled().Events > 0 {
		return nil // those are in it, or come behind it
	}
	for _, id := range g.outbox.due(g.now().Add(-g.opts.Limits.RepairAfter), 1000) {
		if c, err := token.ParseCodeID(id); err == nil {
			if k, ok := g.mirror.get(c, g.now()); ok && k.heard >= k.def.Revision {
				g.outbox.heard(id, k.heard) // the worker was quicker than our own noting
				continue
			}
		}
		s, _, err := g.load(ctx, id)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if err := g.crash.at(BeforeRepair); err != nil {
			return err
		}
		if err := g.tell(ctx, s); err != nil {
			return err
		}
		if err := g.crash.at(AfterRepair); err != nil {
			return err
		}
		g.log.Info("told the log again of a definition it may have missed", "code", id, "revision", s.Def.Revision)
		g.metrics.repaired.Inc()
	}
	return nil
}
