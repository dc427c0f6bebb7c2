package events

import "time"

// ImportEntry is one entry of the ledger of imports, HUOMA_IMPORTS. It either
// announces ids that an import is about to store, all of one day, or closes
// announcements: all their ids are stored, but for those it names.
type ImportEntry struct {
	Seq    uint64    // its place in the log; of one to be appended: 0
	At     time.Time // the log's time; of one to be appended: zero
	Run    string    // the import
	Chunk  uint64    // announcement: the import's own number for what it announces at once
	Day    int32     // announcement: of the events' times, in days since 1970-01-01 UTC
	Closes []uint64  // closing: sequences of announcements
	IDs    []byte    // ids of 16 bytes each: announced, or of those closed not stored
}
