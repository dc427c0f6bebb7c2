// Command bench measures what Huoma does against the bare parts it is made
// of, on this machine, in one run: a bare net/http redirect, a bare JetStream,
// a bare ClickHouse insert. Start at main and sections; bounds holds what must
// be reached, and the exit status is 1 when something is not.
//
// Every side of a comparison is a process of its own (helper), so that CPU is
// told apart: servers by what they used between two moments, clients by what
// they used in all. Sides take turns in rounds and a ratio is the median of
// the rounds' ratios, with its spread beside it, because machines are noisy.
//
// It refuses to report a number whose run had an error, an unexpected answer
// or a log that does not hold what was answered.
package main
