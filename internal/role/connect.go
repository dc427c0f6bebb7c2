package role

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/huoma/huoma/internal/natsjs"
)

// Connect connects to NATS. With wait it goes on trying while no server
// answers, logging that it waits; else, and whatever waiting cannot mend, it
// fails at once.
func Connect(ctx context.Context, n NATS, name string, wait bool, log *slog.Logger) (*natsjs.Conn, error) {
	o := natsjs.Options{URL: n.NATSURL, Name: name, CredentialsFile: n.NATSCreds, NkeyFile: n.NATSNkey, Log: log}
	var conn *natsjs.Conn
	err := waiting(ctx, wait, log, "NATS", func() (err error) {
		conn, err = natsjs.Connect(ctx, o)
		return err
	}, func(err error) bool { return errors.Is(err, natsjs.ErrUnreachable) })
	return conn, err
}

// Pauses between tries of what is waited for.
const (
	firstWait = 250 * time.Millisecond
	longWait  = 5 * time.Second
)

// waiting calls try until it succeeds, or fails for a reason that passing does
// not call passing.
func waiting(ctx context.Context, wait bool, log *slog.Logger, what string, try func() error, passing func(error) bool) error {
	pause := firstWait
	for {
		err := try()
		if err == nil || !wait || !passing(err) {
			return err
		}
		log.Warn("waiting for "+what, "err", err, "again_in", pause.String())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longWait)
	}
}
