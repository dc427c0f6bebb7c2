package scanning

import (
	"context"

	"github.com/huoma/huoma/internal/events"
)

// Decide is what a worker that is never stopped decides from a partition's log up to a place: one record of everything.
func Decide(ctx context.Context, log History, partition, partitions int, who Identity, end events.Place) (*events.Commit, error) {
	t := NewTransform(partition, partitions, "oracle", who)
	b := t.begin()
	err := log.Replay(ctx, partition, 1, end.Seq, func(m events.Message) error {
		in := input{Message: m}
		t.takeUntil(b, &in, end)
		for m.Seq >= t.reached.Next() && m.Seq != end.Seq {
			t.takeUntil(b, &in, end)
		}
		return nil
	})
	return t.end(b), err
}
