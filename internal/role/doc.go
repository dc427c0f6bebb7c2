// Package role wires each production role from its flags: the gateway, the
// scan worker and the analytics worker. The single binaries call it with the
// addresses of a NATS server and a ClickHouse; the all-in-one calls the very
// same functions with the addresses of its embedded ones, so there is one
// wiring.
//
// Start with Gateway, ScanWorker and Analytics. Group is what they and the
// all-in-one stop in order with.
package role
