package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// retry repeats what failed for a reason that may pass, until patience is at
// its end.
type retry struct{ patience time.Duration }

// passing is what an error implements to say whether trying again may help.
type passing interface{ Temporary() bool }

// do calls try until it succeeds, fails for good, ctx ends or patience does.
func (r retry) do(ctx context.Context, try func() error) error {
	begin, pause := time.Now(), 50*time.Millisecond
	for {
		err := try()
		var p passing
		if err == nil || !errors.As(err, &p) || !p.Temporary() {
			return err
		}
		if time.Since(begin) > r.patience {
			return fmt.Errorf("gave up after %s: %w", r.patience, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// away is an installation that cannot be reached for now.
type away struct{ error }

func (away) Temporary() bool { return true }
func (a away) Unwrap() error { return a.error }
