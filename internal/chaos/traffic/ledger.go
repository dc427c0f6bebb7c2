// Package traffic is everybody outside an installation: producers, browsers and operators, with a ledger of what was acknowledged to
// them. Start with Run; the Ledger is what checks hold the installation to afterwards.
//
// It speaks to an installation as anybody does, by its public addresses, and trusts nothing that was not acknowledged: a producer repeats
// the same event under the same id until it is, as the contract asks of it.
package traffic

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Ledger is what was acknowledged. It is safe for concurrent use.
type Ledger struct {
	acked atomic.Int64 // events

	mu        sync.Mutex
	lanes     []*Lane
	scans     map[string]string // a gateway's event id → the verdict it answered
	unsure    int               // scans without an answer: each may be stored
	forged    int               // answered as forged
	forgedOf  int               // sent
	malformed map[string]*Letter
	codes     map[string]*Code
	counts    map[string]int
}

// Lane is one producer, whose events are numbered.
type Lane struct {
	Name string

	mu    sync.Mutex
	acked []bool // by number
	sent  int    // messages or requests, repeats included
}

// Letter is something that cannot be understood.
type Letter struct {
	Attempts int // times it was published
	Acked    int // times that was acknowledged
}

// Code is what the operator knows of a code.
type Code struct {
	ID      string
	Token   string
	Targets int
	Names   []string        // it was asked to have, in order
	Named   int             // of Names, the last that was acknowledged
	Late    map[string]bool // of Names, those that were asked for more than once: an early try may have come late
	Revoke  int             // 0: never asked for; 1: asked for; 2: acknowledged
	Renewed int             // acknowledged
}

// NewLedger returns an empty one.
func NewLedger() *Ledger {
	return &Ledger{scans: map[string]string{}, malformed: map[string]*Letter{}, codes: map[string]*Code{}, counts: map[string]int{}}
}

// Acked is the number of events acknowledged.
func (l *Ledger) Acked() int { return int(l.acked.Load()) }

// Lane adds a producer.
func (l *Ledger) Lane(name string) *Lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := &Lane{Name: name}
	l.lanes = append(l.lanes, lane)
	return lane
}

// ID is the id of a lane's event.
func (a *Lane) ID(n int) string { return "chaos-" + a.Name + "-" + strconv.Itoa(n) }

// ParseID takes an id apart. ok is false for those of others.
func ParseID(id string) (lane string, n int, ok bool) {
	rest, ok := strings.CutPrefix(id, "chaos-")
	if !ok {
		return "", 0, false
	}
	lane, digits, ok := strings.Cut(rest, "-")
	if !ok {
		return "", 0, false
	}
	n, err := strconv.Atoi(digits)
	return lane, n, err == nil && n >= 0
}

// ack notes that a lane's events from first on, n of them, are acknowledged.
func (l *Ledger) ack(a *Lane, first, n int) {
	a.mu.Lock()
	for len(a.acked) < first+n {
		a.acked = append(a.acked, false)
	}
	for i := first; i < first+n; i++ {
		a.acked[i] = true
	}
	a.mu.Unlock()
	l.acked.Add(int64(n))
}

func (a *Lane) attempt() {
	a.mu.Lock()
	a.sent++
	a.mu.Unlock()
}

// count adds to what the report tells.
func (l *Ledger) count(what string, n int) {
	l.mu.Lock()
	l.counts[what] += n
	l.mu.Unlock()
}

// Counts is what was sent and acknowledged, by what it is.
func (l *Ledger) Counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{"scans acknowledged by gateways": len(l.scans), "scans without an answer": l.unsure, "forged scans answered": l.forged, "malformed messages": len(l.malformed), "codes": len(l.codes)}
	for k, v := range l.counts {
		out[k] = v
	}
	for _, a := range l.lanes {
		a.mu.Lock()
		out["events of producer "+a.Name], out["messages of producer "+a.Name] = len(a.acked), a.sent
		a.mu.Unlock()
	}
	return out
}

// Lanes calls f with every producer and which of its events are acknowledged.
// It is for after the traffic.
func (l *Ledger) Lanes(f func(name string, acked []bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.lanes {
		f(a.Name, a.acked)
	}
}

// Scans are the scans that gateways have acknowledged, id → verdict, how many
// may be stored beyond those, and how many forged ones were sent. The map is
// not to be changed.
func (l *Ledger) Scans() (acked map[string]string, unsure, forged int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scans, l.unsure, l.forgedOf
}

// Malformed are the messages that have to be dead letters, by their marks.
func (l *Ledger) Malformed() map[string]Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Letter, len(l.malformed))
	for k, v := range l.malformed {
		out[k] = *v
	}
	return out
}

// Codes are the codes an operator has minted or asked to be.
func (l *Ledger) Codes() (list []Code) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.codes {
		list = append(list, *c)
	}
	return list
}

func (l *Ledger) letter(mark string, acked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.malformed[mark]
	if x == nil {
		x = &Letter{}
		l.malformed[mark] = x
	}
	x.Attempts++
	if acked {
		x.Acked++
	}
}

func (l *Ledger) scan(id, verdict string) {
	l.mu.Lock()
	l.scans[id] = verdict
	l.mu.Unlock()
	l.acked.Add(1)
}

// String is one line of progress.
func (l *Ledger) String() string { return fmt.Sprintf("%d events acknowledged", l.Acked()) }
