// Package gateway is Huoma's HTTP service: it mints codes, answers scans and
// takes producers' events, everything of schemas/openapi.yaml.
//
// Start with New, which binds the listener, and Gateway.Run. A request's way:
// routes.go (which handler), then scan.go for a scan, mint.go and codes.go for
// a definition, events.go for a producer. mirror.go is what the gateway knows
// of every code: definitions from the bucket, states and locks from the scan
// workers' commit records. flush.go makes events durable: whatever is queued
// goes out as one record a partition, and only then are the callers answered.
//
// It decides scans from memory and asks nobody; the log has the last word. It
// refuses, with a problem document that names the field: tokens it did not
// seal, bodies it does not understand to the letter, targets that lead into
// private networks, and everything it could not store.
package gateway
