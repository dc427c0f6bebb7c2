package scanning

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// metrics counts what the worker does. Labels come from fixed sets.
type metrics struct {
	scans     *prometheus.CounterVec
	decisions prometheus.Counter
	alerts    prometheus.Counter
	dead      *prometheus.CounterVec
	latency   prometheus.Histogram
	size      prometheus.Histogram
	lag       prometheus.Histogram
	snapshots *prometheus.CounterVec
	snapBytes prometheus.Gauge
	owner     *prometheus.GaugeVec
	missing   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		scans:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_decided_scans_total", Help: "Scans decided, by verdict."}, []string{"verdict"}),
		decisions: prometheus.NewCounter(prometheus.CounterOpts{Name: "huoma_decisions_total", Help: "Decisions committed."}),
		alerts:    prometheus.NewCounter(prometheus.CounterOpts{Name: "huoma_alerts_total", Help: "Alerts committed."}),
		dead:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_dead_letters_total", Help: "Events dead-lettered, by reason."}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "huoma_commit_seconds", Help: "From a decided step to its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16)}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "huoma_commit_bytes", Help: "Size of a commit record.",
			Buckets: prometheus.ExponentialBuckets(256, 2, 13)}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "huoma_decide_lag_seconds", Help: "From storage of a step's newest input to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18)}),
		snapshots: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_snapshots_total", Help: "Snapshots written, by outcome."}, []string{"outcome"}),
		snapBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "huoma_snapshot_bytes", Help: "Size of the last snapshot."}),
		owner:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "huoma_partition_owned", Help: "1 where this worker owns the partition."}, []string{"partition"}),
		missing:   prometheus.NewCounter(prometheus.CounterOpts{Name: "huoma_missing_records_total", Help: "Records of gateways that the log has lost."}),
	}
	if r != nil {
		r.MustRegister(m.scans, m.decisions, m.alerts, m.dead, m.latency, m.size, m.lag, m.snapshots, m.snapBytes, m.owner, m.missing)
	}
	return m
}

func (m *metrics) committed(c *events.Commit, size int, took time.Duration) {
	scans := make(map[code.Verdict]int)
	for i := range c.Items {
		if v := c.Items[i].Verdict; v != "" {
			scans[v]++
		}
	}
	for v, n := range scans {
		m.scans.WithLabelValues(string(v)).Add(float64(n))
	}
	for _, d := range c.Dead {
		m.dead.WithLabelValues(string(d.Reason)).Inc()
	}
	m.decisions.Add(float64(len(c.Decisions)))
	m.alerts.Add(float64(len(c.Alerts)))
	m.latency.Observe(took.Seconds())
	m.size.Observe(float64(size))
	if !c.Time.IsZero() {
		m.lag.Observe(max(0, time.Since(c.Time).Seconds()))
	}
}

func (m *metrics) snapshot(size int, err error) {
	if err != nil {
		m.snapshots.WithLabelValues("failed").Inc()
		return
	}
	m.snapshots.WithLabelValues("written").Inc()
	m.snapBytes.Set(float64(size))
}

func (m *metrics) owned(partition int, owned bool) {
	v := 0.0
	if owned {
		v = 1
	}
	m.owner.WithLabelValues(strconv.Itoa(partition)).Set(v)
}
