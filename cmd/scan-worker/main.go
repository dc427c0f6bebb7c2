// Command scan-worker is one role of Huoma, for production: it runs apart from the
// others against a NATS server of its own. See package role.
package main

import (
	"os"

	"github.com/huoma/huoma/internal/role"
)

func main() {
	os.Exit(role.Main(new(role.ScanWorkerCommand), "scan-worker", "Turns the log of events into decisions. Any number may run.", os.Args[1:]))
}
