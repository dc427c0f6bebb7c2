// Command gateway is one role of Huoma, for production: it runs apart from the
// others against a NATS server of its own. See package role.
package main

import (
	"os"

	"github.com/huoma/huoma/internal/role"
)

func main() {
	os.Exit(role.Main(new(role.GatewayCommand), "gateway", "Answers scans, mints codes and publishes events to NATS JetStream.", os.Args[1:]))
}
