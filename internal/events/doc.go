// Package events is the wire contract: what producers publish, what the log
// holds, and what a scan worker makes of it.
//
// Start with Event, Parse and ParseBatch (CloudEvents 1.0, structured JSON),
// the data types in data.go, the subjects in subject.go and the commit record
// in commit.go. The bytes are the same over HTTP and NATS.
//
// Parsing is strict. It refuses, each with an *Error that has a stable code
// and names the field: unknown types and fields, missing fields, wrong units,
// events over MaxEvent bytes, JSON nested deeper than MaxDepth, invalid UTF-8
// and duplicate names. What it accepts, Marshal writes back with the same
// meaning: fields in a fixed order, empty optional fields left out.
package events
