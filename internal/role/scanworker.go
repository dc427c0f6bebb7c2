package role

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
)

// ScanWorker is what a scan worker is made of.
type ScanWorker struct {
	Conn       *natsjs.Conn
	Partitions int
	Keyring    *token.Keyring // or
	Keys       *Keys          // one that changes
	Log        *slog.Logger
	Registry   prometheus.Registerer
}

// New makes the worker; its Run works until the context ends.
func (r ScanWorker) New() (*scanning.Worker, error) {
	var keys ring = still{r.Keyring}
	if r.Keys != nil {
		keys = r.Keys
	}
	return scanning.New(scanning.Options{
		Instance: Instance("scan-worker"), Partitions: r.Partitions, Backend: r.Conn, Identity: identity(keys),
		Claim: func(ctx context.Context, p int) (scanning.Input, error) { return r.Conn.ClaimPartition(ctx, p) },
		Log:   r.Log, Registry: r.Registry, Claimants: r.Conn.Claimants,
	})
}
