// Package cli is the command line of huoma: everything on one machine (up,
// demo) and the operator's tools for a running installation.
//
// Start at [App.Main]; every command is a struct with its flags and a Run
// method, in a file of its name. A flag that is not given is taken from the
// environment as HUOMA_<FLAG>. What commands print goes to standard output
// (one JSON object a line with --json), progress to standard error and only
// when that is a terminal.
//
// It refuses to end quietly: an error is one sentence on standard error which
// says what to do, with exit status 1, or 2 when the command line itself was
// wrong.
package cli
