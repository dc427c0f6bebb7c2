package scanning

import (
	"context"
	"fmt"

	"github.com/huoma/huoma/internal/events"
)

// Replay decides a partition's stored input again, from where t stands to the
// place end, without publishing anything. With an empty t it holds a whole log
// against its commit records.
func (t *Transform) Replay(ctx context.Context, log History, end events.Place) error {
	from := t.reached.Next()
	b := t.begin()
	err := log.Replay(ctx, t.partition, from, end.Seq, func(m events.Message) error {
		in := input{Message: m}
		for !t.takeUntil(b, &in, end) {
			b = t.begin()
		}
		if b.size >= softCommit {
			b = t.begin()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay the log of partition %d from %d: %w", t.partition, from, err)
	}
	clear(t.touched)
	return nil
}
