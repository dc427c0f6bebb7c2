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
// A client's connection is a session of the engine, and so is a request over HTTP that names none. A SELECT is streamed block by block, an
// INSERT goes through the engine's insert stream block by block: neither is held in memory as a whole. Everything else runs as a
// whole within the engine's memory limit, as do results of which the engine makes one document only so. What the engine's C API does
// not do is done here: a query's settings are set before it and put back after it, a cancelled query is killed from another
// connection, the columns of an empty result are asked for.
//
// Over HTTP: http.go answers a request, http_request.go and http_body.go read it, http_session.go keeps named sessions, http_stitch.go makes
// one document of the chunks of a result, http_output.go holds it back, codes it and marks its exceptions, http_wire.go sends it.
//
// It is for one machine, and refuses what only a server of one's own has: users and passwords, Keeper and replicated
// tables, being part of a cluster, and any address that is not loopback.
package chembed
