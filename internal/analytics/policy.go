package analytics

import "time"

// Policy says when a batch is full. It does no I/O.
type Policy struct {
	Rows  int           // 0: 50 000
	Bytes int           // of commit records; 0: 32 MiB
	Age   time.Duration // since the first record was read; 0: 250 ms, with more than four partitions 1 s
}

// Reason says why a batch was inserted.
type Reason string

// The reasons there are.
const (
	ReasonRows   Reason = "rows"
	ReasonBytes  Reason = "bytes"
	ReasonAge    Reason = "age"
	ReasonDrain  Reason = "drain"  // the worker stops
	ReasonReplay Reason = "replay" // an earlier owner left it open
)

func (p Policy) withDefaults(partitions int) Policy {
	if p.Rows <= 0 {
		p.Rows = 50_000
	}
	if p.Bytes <= 0 {
		p.Bytes = 32 << 20
	}
	if p.Age <= 0 {
		// Each partition inserts on its own: many of them at four a second would make more parts than merges can keep up with.
		p.Age = 250 * time.Millisecond
		if partitions > 4 {
			p.Age = time.Second
		}
	}
	return p
}

// full reports whether a batch of that many rows and bytes goes out now, and why.
func (p Policy) full(rows, bytes int) (Reason, bool) {
	switch {
	case rows >= p.Rows:
		return ReasonRows, true
	case bytes >= p.Bytes:
		return ReasonBytes, true
	}
	return "", false
}

// due is when a batch whose first record was read at since goes out by age.
func (p Policy) due(since time.Time) time.Time { return since.Add(p.Age) }
