package cli

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
)

// gate is a gateway that may be away for a while.
type gate struct {
	*client.Client
	answered atomic.Bool // it has before
}

const (
	// patience is how long a gateway that has answered before may be away.
	patience = time.Minute
	firstNap = 250 * time.Millisecond
	longNap  = 5 * time.Second
)

// patient calls until it succeeds, fails for good, or the gateway was away for too long. One that has never answered is not waited for.
func (g *gate) patient(ctx context.Context, call func() error) error {
	deadline := time.Now().Add(patience)
	for nap := firstNap; ; nap = min(2*nap, longNap) {
		err := call()
		if err == nil {
			g.answered.Store(true)
			return nil
		}
		var temporary interface{ Temporary() bool }
		if !g.answered.Load() || !errors.As(err, &temporary) || !temporary.Temporary() || time.Now().Add(nap).After(deadline) || ctx.Err() != nil {
			return err
		}
		wait := nap
		if p, ok := errors.AsType[*client.Problem](err); ok && p.RetryAfter() > 0 {
			wait = min(p.RetryAfter(), longNap)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
