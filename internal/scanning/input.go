package scanning

import "github.com/huoma/huoma/internal/events"

// input is a message and, once somebody has asked, the events in it. Reading
// them needs nothing of a partition's state, so it can be done ahead.
type input struct {
	events.Message
	done bool
	list []events.Read
	err  error
}

// read returns the events of the message, read once.
func (in *input) read() ([]events.Read, error) {
	if !in.done {
		in.list, in.err = events.ParseAll(in.Data)
		in.done = true
	}
	return in.list, in.err
}
