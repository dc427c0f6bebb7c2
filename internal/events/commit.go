package events

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
)

// CommitVersion is the version of commit records written now.
const CommitVersion = 1

// Commit is one step of a partition: everything its owner decided from a run
// of input, as one message, so that all of it stands or none. Everything
// downstream (mirrors, alerts, the warehouse, statistics) reads commits alone,
// in one order a partition.
type Commit struct {
	Version   int       `json:"v"`
	Partition int       `json:"partition"`
	Step      uint64    `json:"step"`  // 1, 2, 3, …: a gap is a loss
	Owner     string    `json:"owner"` // the worker's instance; with Step it tells one's own record
	Time      time.Time `json:"time"`  // broker time of the newest input

	// Reached is the input this step ended at: all up to it is decided.
	Reached Place `json:"reached"`

	Items     []Item      `json:"items,omitempty"`
	Decisions []*Event    `json:"decisions,omitempty"`
	Alerts    []*Event    `json:"alerts,omitempty"`
	Codes     []code.View `json:"codes,omitempty"` // every code touched, as it now is
	Dead      []Dead      `json:"dead,omitempty"`
	Totals    Totals      `json:"totals"`
}

// Place is where an event stands in its partition. Idx is its place within
// its message, from 0. As a checkpoint, More says the message goes on after
// Idx; otherwise the whole message is done.
type Place struct {
	Seq  uint64 `json:"seq"`
	Idx  int    `json:"idx"`
	More bool   `json:"more,omitzero"`
}

// Next is the first message that p does not cover whole.
func (p Place) Next() uint64 {
	if p.More {
		return p.Seq
	}
	return p.Seq + 1
}

// Covers reports whether the event at (seq, idx) is at or before the checkpoint p.
func (p Place) Covers(seq uint64, idx int) bool {
	return seq < p.Seq || seq == p.Seq && (!p.More || idx <= p.Idx)
}

// Item is one event with what became of it. Raw visitor identities are gone
// from it: OpenID and Token are empty, Visitor is the keyed hash.
type Item struct {
	Seq     uint64       `json:"seq"`
	Idx     int          `json:"idx"`
	At      time.Time    `json:"at"` // broker time of its message
	Event   *Event       `json:"event"`
	Verdict code.Verdict `json:"verdict,omitzero"` // scans
	Rule    string       `json:"rule,omitzero"`
	Spooled time.Time    `json:"spooled,omitzero"` // when a gateway spooled it, if it did and that is believed
	Target  *int         `json:"target,omitempty"` // scans: where it was led
}

// Counted is the time that windows go by: when the item was spooled, else At.
func (it *Item) Counted() time.Time {
	if it.Spooled.IsZero() {
		return it.At
	}
	return it.Spooled
}

// Dead is an event that went to HUOMA_DLQ.
type Dead struct {
	Seq    uint64 `json:"seq"`
	Idx    int    `json:"idx"`
	Reason Code   `json:"reason"`
}

// Totals counts everything a partition's owner has ever decided, this step
// included. They are what reconcile holds the warehouse against.
type Totals struct {
	Scans       int64 `json:"scans"`
	Members     int64 `json:"members"`
	Conversions int64 `json:"conversions"`
	Codes       int64 `json:"codes"`  // definition events
	Forged      int64 `json:"forged"` // forged-count events
	Decisions   int64 `json:"decisions"`
	Alerts      int64 `json:"alerts"`
	Repeated    int64 `json:"repeated"` // events seen before by id, dropped
	Dead        int64 `json:"dead"`
}

// Marshal writes the record as JSON.
func (c *Commit) Marshal() ([]byte, error) {
	w := writer{b: make([]byte, 0, 1024+700*len(c.Items)+900*len(c.Codes)+700*(len(c.Decisions)+len(c.Alerts)))}
	w.commit(c)
	if w.err != nil {
		return nil, fmt.Errorf("marshal commit %d/%d: %w", c.Partition, c.Step, w.err)
	}
	return w.b, nil
}

// ParseCommit reads a commit record. A record of a newer version is an error
// that says to upgrade. Its strings share the memory of the whole record: who
// keeps one for long clones it.
func ParseCommit(b []byte) (*Commit, error) {
	if c := parsePlainCommit(b); c != nil {
		return c, nil
	}
	return parseCommit(b)
}

func parseCommit(b []byte) (*Commit, error) {
	var c Commit
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("commit record: %w", jsonError("", err))
	}
	if c.Version != CommitVersion {
		return nil, fmt.Errorf("commit record %d/%d has version %d, this program reads %d: upgrade it", c.Partition, c.Step, c.Version, CommitVersion)
	}
	return &c, nil
}
