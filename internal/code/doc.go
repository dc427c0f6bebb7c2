// Package code is the life of a live code: its definition, its platform
// profile, and the state machine that turns events into decisions.
//
// Start with Definition (what was minted), State.Apply (what an event does to
// it) and View (what others may see of it). The package is pure: state, input
// and now go in, an Outcome with named reasons comes out. It reads no clock,
// does no I/O, and the same inputs in the same order always give the same
// outcomes; that is what makes a replay of the log safe.
//
// It refuses definitions that do not validate (see Definition.Validate) and
// leaves everything technical (streams, tables, pictures) to others.
package code
