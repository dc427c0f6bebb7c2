// Package schemas holds the machine-readable form of the public contract, for the programs that need it at run time.
//
// Start with ClickHouse: the migrations of the warehouse, read by internal/chstore.
package schemas

import "embed"

// ClickHouse are the migrations, clickhouse/NNNNN_name.sql, forward only. They contain the variables ${database}, ${ttl} and ${window}.
//
//go:embed clickhouse/*.sql
var ClickHouse embed.FS
