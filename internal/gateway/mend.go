package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// errDamaged is a definition in the bucket that nobody has written like that.
var errDamaged = errors.New("the definition is damaged")

// damage is which definitions of the bucket cannot be read, with their revisions there (0: it is not there). They are made again from the log, which has been told
// of every change that was answered.
type damage struct {
	mu  sync.Mutex
	ids map[string]uint64
}

func (d *damage) add(id string, rev uint64) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil {
		d.ids = make(map[string]uint64)
	}
	was, known := d.ids[id]
	d.ids[id] = max(was, rev)
	return !known
}

func (d *damage) remove(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ids, id)
}

func (d *damage) all() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.ids)
}

// unreadable deals with a definition that could not be read, at a revision of
// the bucket. One of a newer program is left alone.
func (g *Gateway) unreadable(id string, rev uint64, err error) {
	switch {
	case !errors.Is(err, errDamaged):
		g.log.Error("definition passed over", "code", id, "err", err)
	case g.damaged.add(id, rev):
		g.log.Error("a definition in the bucket is damaged: it will be made again from the log; look at the disks of NATS", "code", id, "revision", rev, "err", err)
	}
}

// mend makes damaged definitions again: from the newest event that tells of the code, or from what the scan worker's snapshot had, if
// that is newer because the log has been trimmed. It reads the partitions of those codes from their beginning.
func (g *Gateway) mend(ctx context.Context) error {
	list := g.damaged.all()
	if len(list) == 0 {
		return nil
	}
	for id, rev := range list {
		if rev != 0 {
			continue
		}
		_, _, err := g.opts.Backend.Definition(ctx, id)
		switch {
		case err == nil: // it was on its way
			g.damaged.remove(id)
			delete(list, id)
		case errors.Is(err, events.ErrNotFound):
			g.log.Error("the bucket has lost a definition: it will be made again from the log; look at the disks of NATS", "code", id)
		default:
			return fmt.Errorf("look for a definition: %w", err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	found := make(map[string]*stored)
	partitions := make(map[int][]string)
	for id := range list {
		p := events.Partition(id, g.opts.Partitions)
		partitions[p] = append(partitions[p], id)
	}
	for p, ids := range partitions {
		err := g.opts.Backend.Replay(ctx, p, 1, math.MaxInt64, func(m events.Message) error {
			for _, id := range ids {
				if bytes.Contains(m.Data, []byte(id)) {
					newest(found, m, list)
					break
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the log for definitions that are damaged: %w", err)
		}
	}
	for id, rev := range list {
		s := found[id]
		if c, err := token.ParseCodeID(id); err == nil {
			if def := g.mirror.definition(c); def != nil && (s == nil || def.Revision > s.Def.Revision) {
				s = g.newStored(events.TypeCodeChanged, *def)
			}
		}
		if s == nil {
			g.damaged.remove(id)
			g.log.Error("a damaged definition cannot be made again, the log has none: restore the bucket "+events.BucketCodes+" from a backup or a replica, or remove the key if there is no such code", "code", id)
			continue
		}
		b, err := s.marshal()
		if err != nil {
			return err
		}
		err = g.ask(ctx, g.opts.Limits.Store, func(ctx context.Context) error {
			if rev == 0 {
				_, err := g.opts.Backend.CreateDefinition(ctx, id, b)
				return err
			}
			_, err := g.opts.Backend.UpdateDefinition(ctx, id, b, rev)
			return err
		})
		if err != nil && !errors.Is(err, events.ErrConflict) && !errors.Is(err, events.ErrExists) { // another gateway may have been quicker
			return fmt.Errorf("store a definition again that was damaged: %w", err)
		}
		g.damaged.remove(id)
		if err != nil {
			continue
		}
		if err := g.take(s); err != nil {
			return err
		}
		g.metrics.mended.Inc()
		g.log.Info("a damaged definition was made again from the log", "code", id, "revision", s.Def.Revision)
	}
	return nil
}

// newest notes the newest definitions of wanted codes that a gateway's record tells of.
func newest(found map[string]*stored, m events.Message, wanted map[string]uint64) {
	if _, kind, ok := events.StoredKind(m.Subject); !ok || kind != events.KindGateway {
		return
	}
	list, err := events.ParseAll(m.Data)
	if err != nil {
		return // a dead letter
	}
	for _, item := range list {
		if item.Err != nil {
			continue
		}
		e := item.Event
		d, ok := e.Data.(*events.CodeData)
		if _, want := wanted[e.Subject]; !ok || !want || d.ID != e.Subject {
			continue
		}
		if was := found[e.Subject]; was == nil || was.Def.Revision < d.Revision {
			found[e.Subject] = &stored{Version: storedVersion, Event: e.ID, Source: e.Source, Type: e.Type, Def: d.Definition}
		}
	}
}
