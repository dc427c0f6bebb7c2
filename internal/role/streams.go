package role

import (
	"context"
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/natsjs"
)

// Streams is how the streams should be. What is left at its zero value is as
// installed, or the default when nothing is installed yet.
type Streams struct {
	Partitions      int       `help:"Partitions of the log, fixed at installation. Default: what is installed, or 1." default:"0"`
	Replicas        int       `help:"Copies of every stream: 3 on a NATS cluster. Default: what is installed, or 1." default:"0"`
	EventsMaxAge    span.Span `help:"How long events are kept, such as 90d. Default: what is installed, or 90d." default:"0s"`
	DecisionsMaxAge span.Span `help:"How long commit records are kept. Default: what is installed, or for ever." default:"0s"`
	AlertsMaxAge    span.Span `help:"How long alerts are kept, at least 1d. Default: what is installed, or 30d." default:"0s"`
	DLQMaxAge       span.Span `name:"dlq-max-age" help:"How long dead letters are kept, at least 1d. Default: what is installed, or 30d." default:"0s"`
	EventsMaxBytes  int64     `help:"Most bytes of events, the oldest go first. Default: what is installed, or no limit." default:"0"`
}

// Install makes the streams that are not there, brings the others to the
// limits given, and returns what is installed. What does not fit, such as
// another number of partitions, is an error and nothing is altered.
func Install(ctx context.Context, conn *natsjs.Conn, s Streams) (natsjs.Installation, error) {
	return conn.Ensure(ctx, natsjs.Config{
		Partitions: s.Partitions, Replicas: s.Replicas, EventsMaxAge: time.Duration(s.EventsMaxAge), DecisionsMaxAge: time.Duration(s.DecisionsMaxAge),
		AlertsMaxAge: time.Duration(s.AlertsMaxAge), DLQMaxAge: time.Duration(s.DLQMaxAge), EventsMaxBytes: s.EventsMaxBytes,
	})
}
