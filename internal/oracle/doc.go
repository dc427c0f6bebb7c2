// Package oracle says what a log must have led to. It reads one partition's stored messages from the first on and gives, for every
// event in them, its verdict, its decisions and alerts, or the reason it could not be taken, and the state of every code.
//
// It is the second opinion that everything else is held against, so it is written to be read and not to be fast: plain maps, every
// scan of a window kept and counted, no snapshots, one goroutine. It shares with the scan worker what a message says (package events,
// and the functions of Who, which open, hash and cut what a producer sent) and nothing of what it means. A rule in internal/lint
// refuses it the worker's packages.
//
// Start with Partition. What is decided does not depend on where a worker ends its steps, so nothing here knows of steps. Package
// verify holds an installation against it.
package oracle
