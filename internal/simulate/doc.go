// Package simulate makes realistic traffic: codes over every profile and
// campaign, people who scan them through the day, join, leave and buy, link
// previews, robots, producers that publish twice or late, and a few abusers.
//
// Start at [New] and [Generator.Next], which are pure: the same Options give
// the same codes and the same events, in the same order, with no clock and no
// I/O. [Run] mints the codes of a generator in a running installation and
// publishes its events there by HTTP, by real scans and by NATS.
//
// It refuses to guess: a run ends with exactly the number of distinct events
// asked for, or with an error; what it could not learn the fate of is counted
// as Unsure in its [Summary].
package simulate
