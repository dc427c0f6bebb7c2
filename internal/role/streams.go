package role

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
)

// Streams is how the streams should be. What is left at its zero value is as
// installed, or the default when nothing is installed yet; as soon as one limit
// is given, those left out get their defaults.
type Streams struct {
	Partitions      int       `help:"Partitions of the log, fixed at installation. Default: what is installed, or 1." default:"0"`
	Replicas        int       `help:"Copies of every stream: 3 on a NATS cluster. Default: what is installed, or 1." default:"0"`
	EventsMaxAge    span.Span `help:"How long events are kept, such as 90d. Default: what is installed, or 90d." default:"0s"`
	DecisionsMaxAge span.Span `help:"How long commit records are kept. Default: what is installed, or for ever." default:"0s"`
	AlertsMaxAge    span.Span `help:"How long alerts are kept, at least 1d. Default: what is installed, or 30d." default:"0s"`
	DLQMaxAge       span.Span `name:"dlq-max-age" help:"How long dead letters are kept, at least 1d. Default: what is installed, or 30d." default:"0s"`
	EventsMaxBytes  int64     `help:"Most bytes of events, the oldest go first. Default: what is installed, or no limit." default:"0"`
}

func (s Streams) config() natsjs.Config {
	return natsjs.Config{
		Partitions: s.Partitions, Replicas: s.Replicas, EventsMaxAge: time.Duration(s.EventsMaxAge), DecisionsMaxAge: time.Duration(s.DecisionsMaxAge),
		AlertsMaxAge: time.Duration(s.AlertsMaxAge), DLQMaxAge: time.Duration(s.DLQMaxAge), EventsMaxBytes: s.EventsMaxBytes,
	}
}

// Install makes the streams that are not there, brings them to the limits
// given, and returns what is installed. A number of partitions other than the
// installed one is an error.
func Install(ctx context.Context, conn *natsjs.Conn, s Streams) (natsjs.Installation, error) {
	inst, err := conn.Installation(ctx)
	limits := s
	limits.Partitions = 0
	switch {
	case errors.Is(err, events.ErrNotFound), err == nil && limits != (Streams{}):
		return conn.Ensure(ctx, s.config())
	case err != nil:
		return inst, err
	case s.Partitions != 0 && s.Partitions != inst.Partitions:
		return inst, fmt.Errorf("this installation has %d partitions, not %d: their number is fixed for good; leave --partitions out", inst.Partitions, s.Partitions)
	}
	return inst, nil
}
