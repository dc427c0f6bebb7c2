package gateway

import (
	"context"
	"sync"

	"github.com/huoma/huoma/internal/events"
)

// maxForgedNetworks bounds the memory of forged scans within a minute; what
// comes from more networks is counted as one.
const (
	maxForgedNetworks = 4096
	otherNetworks     = "other"
	forgedSubject     = "forged"
)

// forgedCounts counts forged scans by network. Nothing else is kept of them, so that guessing
// costs the guesser more than us.
type forgedCounts struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (f *forgedCounts) add(network string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int64)
	}
	if _, ok := f.counts[network]; !ok && len(f.counts) >= maxForgedNetworks {
		network = otherNetworks
	}
	f.counts[network] += n
}

func (f *forgedCounts) take() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.counts
	f.counts = nil
	return taken
}

// publishForged puts the counts since it was last called into the log, and
// keeps those it could not store for the next time.
func (g *Gateway) publishForged(store func(context.Context, ...encoded) error) {
	now := g.now().UTC()
	var list []encoded
	taken := g.forged.take()
	for network, n := range taken {
		e, err := g.encode(&events.Event{
			ID: g.newID(now), Source: g.source, Type: events.TypeForged, Subject: forgedSubject, Time: now,
			Data: &events.Forged{Network: network, Count: n},
		})
		if err != nil {
			g.log.Error("forged scans not counted", "err", err)
			continue
		}
		list = append(list, e)
	}
	if err := store(context.Background(), list...); err != nil {
		g.log.Warn("counts of forged scans could not be stored, will retry", "err", err)
		for network, n := range taken {
			g.forged.add(network, n)
		}
	}
}
