package verify

import (
	"fmt"
	"strconv"

	"github.com/huoma/huoma/internal/events"
)

// mostLost bounds what one gap counts for: a number may be anything.
const mostLost = 1_000_000

// numbered holds a gateway's record to its number: each gateway counts the records it stores in a partition, from 1 and without a gap, so one that
// is not there was stored and is lost, or lies in a spool that never came back. What a lost record said nobody knows, so nothing else
// misses it. Of the records behind a gateway's last there is no trace, and producers' messages have no number.
func (s *side) numbered(m events.Message) {
	if _, kind, ok := events.StoredKind(m.Subject); !ok || kind != events.KindGateway {
		return
	}
	gateway := m.Get(events.HeaderProducer)
	n, err := strconv.ParseUint(m.Get(events.HeaderRecord), 10, 64)
	if gateway == "" || err != nil || n <= s.numbers[gateway] {
		return // no record, or a repeat
	}
	check := s.v.check("log.records")
	if lost := n - s.numbers[gateway] - 1; lost > 0 {
		check.Expected += int64(min(lost, mostLost))
		check.Missing += int64(min(lost, mostLost))
		check.example(Example{Kind: Missing, Place: place(s.p, m.Seq, 0), ID: fmt.Sprintf("%s/%d-%d", gateway, s.numbers[gateway]+1, n-1)})
	}
	check.Expected++
	check.Found++
	s.numbers[gateway] = n
}
