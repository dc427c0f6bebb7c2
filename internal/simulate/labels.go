package simulate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/huoma/huoma/internal/events"
)

// labels writes the truth about each event as JSON lines.
type labels struct {
	w   *bufio.Writer
	err error
}

// label is one line: everything about an event that its verdict is to be held against.
type label struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	Type string `json:"type"`
	Code string `json:"code"`
	Time string `json:"time"`
	Via  Via    `json:"via"`
}

func newLabels(w io.Writer) *labels {
	if w == nil {
		return &labels{}
	}
	return &labels{w: bufio.NewWriter(w)}
}

func (l *labels) write(it Item) {
	if l.w == nil || l.err != nil {
		return
	}
	b, err := json.Marshal(label{it.Event.ID, it.Kind, it.Event.Type, it.Event.Subject, events.FormatTime(it.Event.Time), it.Via})
	if err == nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	l.err = err
}

func (l *labels) flush() error {
	if l.w == nil {
		return nil
	}
	if err := l.w.Flush(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return fmt.Errorf("write the labels: %w", l.err)
	}
	return nil
}
