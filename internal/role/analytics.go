package role

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/analytics"
	"github.com/huoma/huoma/internal/chstore"
	"github.com/huoma/huoma/internal/natsjs"
)

// Analytics is what an analytics worker is made of.
type Analytics struct {
	Conn          *natsjs.Conn
	Partitions    int
	ClickHouseURL string
	RetentionDays int  // 0: rows are kept for ever
	Migrate       bool // bring the schema up to date first; else it has to be
	Wait          bool // go on trying while ClickHouse is away or its schema is older

	Log      *slog.Logger
	Registry prometheus.Registerer
}

// AnalyticsWorker is an analytics worker with its warehouse.
type AnalyticsWorker struct {
	*analytics.Worker
	store *chstore.Store
}

// New opens the warehouse and makes the worker; its Run works until the
// context ends, its Close ends Run and the connections.
func (r Analytics) New(ctx context.Context) (*AnalyticsWorker, error) {
	store, err := chstore.Open(ctx, chstore.Options{URL: r.ClickHouseURL, RetentionDays: r.RetentionDays, Log: r.Log})
	if err != nil {
		return nil, err
	}
	prepare := store.Check
	if r.Migrate {
		prepare = store.Migrate
	}
	err = waiting(ctx, r.Wait, r.Log, "ClickHouse", func() error {
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return prepare(bounded)
	}, func(err error) bool {
		return errors.Is(err, chstore.ErrSchemaOlder) || chstore.ClassOf(err) != chstore.Never
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	w, err := analytics.New(analytics.Options{
		Partitions: r.Partitions, Manifests: r.Conn, Dead: r.Conn, Warehouse: store,
		Claim:    func(ctx context.Context, p int) (analytics.Claim, error) { return r.Conn.ClaimCommits(ctx, p) },
		Registry: r.Registry, Log: r.Log,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &AnalyticsWorker{w, store}, nil
}

// Close ends Run, waits for it, and closes the warehouse's connections.
func (w *AnalyticsWorker) Close() error { return errors.Join(w.Worker.Close(), w.store.Close()) }
