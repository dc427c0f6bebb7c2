package scanning

import (
	"context"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// Input hands out one partition's messages in order. See events.ErrRewind.
type Input interface {
	Next(ctx context.Context) ([]events.Message, error)
	Rewind(ctx context.Context, from uint64) error
	Ack(ctx context.Context, upto uint64) error
	Close() error
}

// Commits is the fenced record of what has been decided.
type Commits interface {
	LastCommit(ctx context.Context, partition int) (payload []byte, seq uint64, err error)
	AppendCommit(ctx context.Context, partition int, expected uint64, payload []byte) (seq uint64, err error)
}

// History reads a partition's stored input again, in order, both ends included.
type History interface {
	Replay(ctx context.Context, partition int, from, to uint64, fn func(events.Message) error) error
	// LastSeq is the newest sequence that has ever been stored, of any partition.
	LastSeq(ctx context.Context) (uint64, error)
}

// Snapshots keeps the last state of each partition.
type Snapshots interface {
	SaveSnapshot(ctx context.Context, partition int, b []byte) error
	LoadSnapshot(ctx context.Context, partition int) ([]byte, error)
}

// Outbox takes what follows from a commit. Alerts and dead letters are kept
// once by their ids; decisions are told to whoever listens.
type Outbox interface {
	PublishAlerts(ctx context.Context, alerts []*events.Event) error
	PublishDecisions(ctx context.Context, decisions []*events.Event) error
	DeadLetter(ctx context.Context, letters []events.DeadLetter) error
}

// Timers asks for messages at times: hints to look at codes again. Those that
// are set can be read back.
type Timers interface {
	Schedule(ctx context.Context, partition int, timers []events.Timer) error
	Timers(ctx context.Context, partition int) (map[string]time.Time, error)
	Wake(ctx context.Context, partition int) error
}

// Backend is everything a worker needs of the log.
type Backend interface {
	Commits
	History
	Snapshots
	Outbox
	Timers
}

// Picture is what a token says: which code's picture was scanned, and which.
type Picture struct {
	Code     string
	Variant  int
	Tracking string
	Shown    time.Time // the minute that a live picture was shown in; zero: a printed one
}

// Identity hides who a producer's scan came from and says what it was.
type Identity struct {
	// Visitor is the keyed hash of an OpenID.
	Visitor func(openID string) string
	// Classify says whether a user agent is a preview or a robot, and the
	// named reason. An empty verdict is a person.
	Classify func(userAgent string) (code.Verdict, string)
	// Network cuts an address or prefix to what may be kept.
	Network func(text string) string
	// Picture opens the token of a printed picture that was said, at a time of
	// the broker's, to be of a code, with the keys that opened then: so a replay
	// opens the same. refused is the named reason of one that is not ours.
	Picture func(token, of string, at time.Time) (p Picture, refused string)
	// Device reads model, system and app from a user agent.
	Device func(userAgent string) (model, os, app string)
}
