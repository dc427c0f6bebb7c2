// Package risk counts scans in exact sliding windows and says which rule fired.
//
// A rule "limit N in window W" fires on the scan that makes N counted scans
// within W: the newest and the N-th newest lie at most W apart. The window is
// exact, not bucketed: each key keeps the times of its last N scans in a ring,
// so one scan costs O(1) and a decision never errs at a boundary.
//
// The package is pure. Time is passed in (the broker's, so that a replay
// decides the same), nothing is read and nothing is written. Start with Rule
// and Watch.
//
// It refuses to guess: a rule without a limit, window or known scope and
// action does not validate, and a scan that has no value for a rule's scope
// (no visitor, no network) is not watched by that rule.
package risk
