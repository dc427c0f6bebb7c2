// Package chembed is the embedded ClickHouse: the real engine, libchdb, in a child process, behind two listeners that speak
// what ClickHouse clients speak.
//
// Start with New: it binds the listeners, starts the engine and keeps it running; a killed engine is started again on the
// same data, while new connections wait. Its process is the running program started again, so main calls RunChild when
// its first argument is ChildCommand. Tests of other packages start with chtest.
//
//	client ─► listener (bound by the parent, handed down) ─► child: native.go, http.go ─► session.go ─► engine.go ─► libchdb
//	                                                  parent: server.go starts it again when it ends
//
// A client's connection is a session of the engine. A SELECT is streamed block by block, an INSERT goes through the engine's
// insert stream block by block, everything else runs as a whole; no result and no insert is ever held in memory
// as a whole. What the engine's C API does not do is done here: a query's settings are set before it and put back after
// it, a cancelled query is killed from another connection, the columns of an empty result are asked for.
//
// It is for one machine, and refuses what only a server of one's own has: users and passwords, Keeper and replicated
// tables, being part of a cluster, and any address that is not loopback.
package chembed
