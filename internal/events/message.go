package events

import (
	"errors"
	"time"
)

// What an adapter's calls may come to, whatever the technology behind.
var (
	ErrNotFound = errors.New("not found")
	ErrDamaged  = errors.New("what is stored is damaged")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("was changed by somebody else meanwhile")
	ErrFenced   = errors.New("another owner has committed for this partition")
	ErrRewind   = errors.New("delivery starts anew: rewind to the first message wanted")
	ErrNoRoom   = errors.New("there is no room left")
	ErrTooLarge = errors.New("message is too large")
)

// Message is one stored message, as a claim hands it out.
type Message struct {
	Seq     uint64    // stream sequence
	Subject string    // stored subject
	At      time.Time // broker time, UTC
	Spooled time.Time // of a gateway's record, once its header is believed: when it was spooled; else zero
	Header  map[string][]string
	Data    []byte
}

// Get returns the first value of a header field, or "".
func (m Message) Get(name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Record is one message of a gateway: a batch of events of one partition.
type Record struct {
	Partition int
	Payload   []byte // CloudEvents batch
	Producer  string // the gateway's instance
	Number    uint64 // contiguous from 1, per instance and partition
	Events    int    // in Payload

	// Spooled is when the gateway wrote the record into its spool; zero for one
	// that was stored at once. To the millisecond.
	Spooled time.Time
}

// Spool says what a spool holds.
type Spool struct {
	Records   int       // not published yet
	Events    int       // in them
	Bytes     int64     // of the whole folder, pieces kept aside included
	Most      int64     // what Bytes may come to
	Oldest    time.Time // of the records, by their Spooled; zero: there are none
	Full      bool      // the last record offered found no room, and none was made since
	Partition int       // the highest of its records; -1: there are none
	Damaged   int64     // pieces that could not be read since it was opened
}

// Timer is a time at which a code is to be looked at.
type Timer struct {
	Code string
	At   time.Time
}

// DeadLetter is a message, or one event of it, that could not be understood.
type DeadLetter struct {
	Partition int
	Seq       uint64
	Idx       int
	Kind      string // keeps apart what is not the event at that place, such as a warehouse row of it; empty for the event
	Subject   string // the stored subject
	Data      []byte // the original bytes
	Reason    Code
	Detail    string // one sentence
}

// StreamState is how much of a stream is stored.
type StreamState struct {
	First    uint64 // sequence of the oldest message; one behind Last when there is none
	Last     uint64 // sequence of the newest message there ever was; 0: none
	Messages uint64
	FirstAt  time.Time     // of the oldest message
	MaxAge   time.Duration // how long messages are kept; 0: for ever
	Bounded  bool          // the oldest also go when there is too much
}

// spooledForm is RFC 3339 with milliseconds, in UTC.
const spooledForm = "2006-01-02T15:04:05.000Z"

// SpooledTime writes a time as HeaderSpooled carries it.
func SpooledTime(t time.Time) string { return t.UTC().Format(spooledForm) }

// ParseSpooled reads what SpooledTime wrote; ok is false for anything else.
func ParseSpooled(s string) (t time.Time, ok bool) {
	t, err := time.Parse(spooledForm, s)
	return t, err == nil && SpooledTime(t) == s
}
