// Command analytics-worker is one role of Huoma, for production: it runs apart from the
// others against a NATS server of its own. See package role.
package main

import (
	"os"

	"github.com/huoma/huoma/internal/role"
)

func main() {
	os.Exit(role.Main(new(role.AnalyticsCommand), "analytics-worker", "Writes what was decided into ClickHouse. Any number may run.", os.Args[1:]))
}
