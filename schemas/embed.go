// Package schemas holds the machine-readable form of the public contract, for the programs that need it at run time.
//
// Start with Events (one JSON Schema per event type, for whoever publishes or reads them), API (AsyncAPI for NATS, OpenAPI
// for HTTP) and ClickHouse (the migrations of the warehouse, read by internal/chstore). The token's vectors are beside
// them, for other implementations. Tests here hold each against the running program.
package schemas

import "embed"

// ClickHouse are the migrations, clickhouse/NNNNN_name.sql, forward only. They contain the variables ${database}, ${ttl} and ${window}.
//
//go:embed clickhouse/*.sql
var ClickHouse embed.FS

// Events are the JSON Schemas: events/<type>.json for a whole CloudEvent of that type, commit.json for a commit record.
//
//go:embed events/*.json commit.json
var Events embed.FS

// API are asyncapi.yaml (NATS) and openapi.yaml (HTTP).
//
//go:embed *.yaml
var API embed.FS
