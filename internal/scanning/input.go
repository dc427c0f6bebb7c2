package scanning

import (
	"context"

	"github.com/huoma/huoma/internal/events"
)

// input is a message and, once somebody has asked, the events in it. Reading
// them needs nothing of a partition's state, so it can be done ahead.
type input struct {
	events.Message
	done bool
	list []events.Read
	err  error
}

// read returns the events of the message, read once. Deciding them changes
// them: what has been decided from an input is not decided from it again.
func (in *input) read() ([]events.Read, error) {
	if !in.done {
		in.list, in.err = events.ParseAll(in.Data)
		in.done = true
	}
	return in.list, in.err
}

const (
	// aheadMessages are read at a time, few enough that deciding can begin soon.
	aheadMessages = 64
	// aheadBytes bounds the messages of such a run, so that what is read ahead
	// takes little memory.
	aheadBytes = 256 << 10
)

// readAhead reads messages on a goroutine of its own, which is where the time
// goes that an owner waits for its commit records to be stored. The channel has
// all of them in order, in runs, and is closed behind the last or when ctx ends.
func readAhead(ctx context.Context, batch []events.Message) <-chan []input {
	out := make(chan []input, 2)
	go func() {
		defer close(out)
		for len(batch) > 0 {
			var run []input
			for bytes := 0; len(run) < min(aheadMessages, len(batch)) && bytes < aheadBytes; {
				m := batch[len(run)]
				bytes += len(m.Data)
				run = append(run, input{Message: m})
			}
			batch = batch[len(run):]
			for i := range run {
				if _, kind, ok := events.StoredKind(run[i].Subject); ok && kind != events.KindTimer {
					_, _ = run[i].read() // the transform asks for the error
				}
			}
			select {
			case out <- run:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
