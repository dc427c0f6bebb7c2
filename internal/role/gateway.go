package role

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// Gateway is what a gateway is made of.
type Gateway struct {
	Conn       *natsjs.Conn
	Partitions int
	Keyring    *token.Keyring

	Addr                string
	PublicURL           string
	APIKey              string
	APIKeyFile          string
	TrustedProxies      string // prefixes, separated by commas
	RegisteredDomains   []string
	AllowPrivateTargets bool

	Log      *slog.Logger
	Registry *prometheus.Registry
}

// New binds the gateway's listener; its Run serves until the context ends.
func (r Gateway) New() (*gateway.Gateway, error) {
	proxies, err := visit.ParsePrefixes(r.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	return gateway.New(gateway.Options{
		Addr: r.Addr, PublicURL: r.PublicURL, APIKey: r.APIKey, APIKeyFile: r.APIKeyFile, Keyring: r.Keyring, Backend: r.Conn,
		Partitions: r.Partitions, TrustedProxies: proxies, RegisteredDomains: r.RegisteredDomains, AllowPrivateTargets: r.AllowPrivateTargets,
		Log: r.Log, Registry: r.Registry,
	})
}
