// Package analytics is the analytics worker: it takes each partition's commit records in order and puts them into the warehouse so that
// every row stands there once, whatever dies in between.
//
// Start with New and Run. A batch goes through four points, and may die at any:
//
//	manifest ── written by compare-and-set: these records, this token ── a second owner is refused here
//	insert   ── with the manifest's token: done twice, it counts once
//	close    ── the manifest is done
//	ack      ── the records need not be delivered again
//
// Who takes a partition over reads its manifest: an open one is replayed by its exact range under the same token first.
//
// It refuses to skip a record it cannot read because it is newer than the program, and to drop a batch the warehouse does not answer
// for: it waits, is not ready, and says so. Rows the warehouse refuses become dead letters and hold nothing up.
package analytics
