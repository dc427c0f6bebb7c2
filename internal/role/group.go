package role

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/run"
)

// Group is a set of actors that live and die together. When one ends, all are
// stopped one after the other in the order they were added, each fully stopped
// before the next, and every error is kept (oklog/run itself keeps the first).
type Group struct {
	actors []actor
	mu     sync.Mutex
	errs   []error
}

type actor struct {
	name string
	work func(ctx context.Context) error
}

// StopWithin bounds how long one actor may take to stop. A worker is one actor, its health checks are another that is quick.
const StopWithin = 30 * time.Second

// Add adds an actor: work runs until its context ends. An actor that returns
// before that stops the group.
func (g *Group) Add(name string, work func(ctx context.Context) error) {
	g.actors = append(g.actors, actor{name, work})
}

// Run runs every actor until one ends or ctx does, stops them in order, and
// returns all that went wrong.
func (g *Group) Run(ctx context.Context) error {
	var group run.Group
	outer, release := context.WithCancel(ctx)
	group.Add(func() error { <-outer.Done(); return nil }, func(error) { release() })
	for _, a := range g.actors {
		inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		group.Add(func() error {
			defer close(done)
			err := a.work(inner)
			if err != nil && !errors.Is(err, context.Canceled) {
				g.keep(fmt.Errorf("%s: %w", a.name, err))
			}
			return err
		}, func(error) {
			cancel()
			select {
			case <-done:
			case <-time.After(StopWithin):
				g.keep(fmt.Errorf("%s: did not stop within %s", a.name, StopWithin))
			}
		})
	}
	_ = group.Run() // kept already, with its name
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

func (g *Group) keep(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs = append(g.errs, err)
}
