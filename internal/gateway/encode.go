package gateway

import "github.com/huoma/huoma/internal/events"

// append appends the scan's event to b, as it is stored.
func (s *scanned) append(b []byte) ([]byte, error) {
	e := events.Event{ID: s.id, Source: s.source, Type: events.TypeScan, Subject: s.code, Time: s.at, Data: &s.data}
	return e.AppendTo(b)
}
