package events

import "time"

// StoredCommit is a commit record with its place in HUOMA_DECISIONS.
type StoredCommit struct {
	Seq    uint64
	Commit *Commit
}

// Batch is a run of one partition's commit records on its way to the
// warehouse. The same Token always stands for the same commits in the same
// order, and At is part of what a batch is: inserting it again gives the same
// rows to the bit.
type Batch struct {
	Partition int
	Token     string    // deduplication token
	At        time.Time // when the batch was made, to the millisecond
	Commits   []StoredCommit

	Replayed bool // it may be stored already, in part or in full
	Partial  bool // the log no longer has all of it, so its rows are not those of the first time
}

// Inserted says what became of a batch that is stored.
type Inserted struct {
	Rows    map[string]int // by table, without those refused
	Skipped int            // rows that were there already, as far as they were looked for
	Dead    []DeadLetter   // rows the warehouse does not take
}
