package importtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/importing"
)

// Ledger is an importing.Log in memory. Several imports may share one.
type Ledger struct {
	Now func() time.Time // the log's clock; nil: time.Now

	mu      sync.Mutex
	key     []byte
	entries []events.ImportEntry
}

func (l *Ledger) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// Key returns the key; it is always the same.
func (l *Ledger) Key(_ context.Context, create bool) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key == nil && create {
		l.key = make([]byte, 32)
	}
	return l.key, nil
}

// Read calls fn with the entries of a scope.
func (l *Ledger) Read(_ context.Context, from uint64, scope importing.Scope, fn func(events.ImportEntry) error) (uint64, time.Time, error) {
	l.mu.Lock()
	list := slices.Clone(l.entries)
	l.mu.Unlock()
	for _, e := range list {
		closing := len(e.Closes) > 0
		switch {
		case e.Seq < from:
		case scope.Closings && !closing:
		case len(scope.Days) > 0 && (closing || !slices.Contains(scope.Days, importing.Day(e.Day))):
		default:
			if err := fn(e); err != nil {
				return 0, time.Time{}, err
			}
		}
	}
	return uint64(len(list)), l.now(), nil
}

func (l *Ledger) append(e events.ImportEntry) uint64 {
	e.Seq, e.At, e.IDs, e.Closes = uint64(len(l.entries)+1), l.now(), slices.Clone(e.IDs), slices.Clone(e.Closes)
	l.entries = append(l.entries, e)
	return e.Seq
}

// Announce appends under the fence.
func (l *Ledger) Announce(_ context.Context, after uint64, list []events.ImportEntry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(len(l.entries)) != after {
		return 0, events.ErrConflict
	}
	for _, e := range list {
		after = l.append(e)
	}
	return after, nil
}

// Close appends a closing.
func (l *Ledger) Close(_ context.Context, e events.ImportEntry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(e), nil
}
