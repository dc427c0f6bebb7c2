// Package allinone runs every role in one process group: an embedded NATS
// server, an embedded ClickHouse engine (a child process), a gateway, a scan
// worker and an analytics worker.
//
// Start with Run. Each role is wired by package role with addresses, exactly
// as when it runs alone; the embedded servers are only more addresses. It is
// the one package that knows the embedded servers, and tests import it to have
// a whole installation.
//
// It refuses a data directory that another process uses, and addresses of
// embedded servers that are not loopback.
package allinone
