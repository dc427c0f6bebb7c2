// Package scanning is the scan worker: it turns the log of what happened into
// the log of what it means.
//
// Each partition has one owner at a time. The owner reads the partition's
// input in order, decides every event with the pure state machine of package
// code at the broker's time, and publishes what one step decided (verdicts,
// decisions, alerts, counters, the input reached) as one commit record that is
// fenced by its predecessor's sequence. A record stands whole or not at all,
// and a stale owner's is refused, so a crash or a second owner can neither
// lose nor repeat anything.
//
// Start with Worker; Transform is the exactly-once part and is pure; owner.go
// is the life of one owner: recover, step, publish, acknowledge, snapshot.
//
// It refuses to guess: a replay that does not arrive at the totals of the last
// commit record stops the partition with an error instead of going on.
package scanning
