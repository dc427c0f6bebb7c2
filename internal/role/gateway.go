package role

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/listen"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/spool"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// Gateway is what a gateway is made of.
type Gateway struct {
	Conn       *natsjs.Conn
	Partitions int
	Keyring    *token.Keyring // or
	Keys       *Keys          // one that changes

	Addr                string
	PublicURL           string
	APIKey              string
	APIKeyFile          string
	TrustedProxies      string // prefixes, separated by commas
	RegisteredDomains   []string
	QRFree              []string // profiles
	AllowPrivateTargets bool
	Spool               *spool.Spool // nil: none; the caller closes it after Run

	MaxConnections int           // 0: the default of package listen
	FlushTarget    time.Duration // 0: the default of package gateway

	Log      *slog.Logger
	Registry *prometheus.Registry
}

// CheckFlags says which flag is not written as it must be, before anything is
// started for it.
func (r Gateway) CheckFlags() error {
	if _, _, err := net.SplitHostPort(r.Addr); err != nil {
		return fmt.Errorf("--addr %q is no address: write it as 127.0.0.1:8080", r.Addr)
	}
	if r.PublicURL != "" {
		url, err := gateway.ParsePublicURL(r.PublicURL)
		if err != nil {
			return fmt.Errorf("--public-url: %w", err)
		}
		if err := gateway.CheckSymbols(url, r.QRFree); err != nil {
			return fmt.Errorf("--public-url, --qr-free: %w", err)
		}
	}
	if _, err := visit.ParsePrefixes(r.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	return nil
}

// New binds the gateway's listener; its Run serves until the context ends.
func (r Gateway) New() (*gateway.Gateway, error) {
	proxies, err := visit.ParsePrefixes(r.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	o := gateway.Options{
		Addr: r.Addr, PublicURL: r.PublicURL, APIKey: r.APIKey, APIKeyFile: r.APIKeyFile, Keyring: r.Keyring, Backend: r.Conn,
		Partitions: r.Partitions, TrustedProxies: proxies, RegisteredDomains: r.RegisteredDomains, AllowPrivateTargets: r.AllowPrivateTargets,
		Log: r.Log, Registry: r.Registry, Limits: gateway.Limits{FlushTarget: r.FlushTarget, Listener: listen.Limits{Connections: r.MaxConnections}},
	}
	if r.Spool != nil {
		o.Spool = r.Spool
	}
	o.QRFree = r.QRFree
	if r.Keys != nil {
		o.Keyring = r.Keys.Keyring()
	}
	g, err := gateway.New(o)
	if err == nil && r.Keys != nil {
		r.Keys.Use(g.UseKeyring)
	}
	return g, err
}
