package analytics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	flushes  *prometheus.CounterVec
	rows     *prometheus.CounterVec
	commits  prometheus.Counter
	insert   prometheus.Histogram
	visible  prometheus.Histogram
	failures *prometheus.CounterVec
	dead     prometheus.Counter
	gaps     prometheus.Counter
	skipped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const ns, sub = "huoma", "analytics"
	m := &metrics{
		flushes:  prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "batches_total", Help: "Batches inserted, by why they went out."}, []string{"reason"}),
		rows:     prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "rows_total", Help: "Rows inserted, by table."}, []string{"table"}),
		commits:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "commits_total", Help: "Commit records inserted."}),
		insert:   prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "insert_seconds", Help: "How long a batch's inserts took.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 13)}),
		visible:  prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "visible_seconds", Help: "From a commit record's storing to its rows being there to query.", Buckets: prometheus.ExponentialBuckets(0.02, 2, 14)}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "failures_total", Help: "Attempts that failed, by what was attempted."}, []string{"at"}),
		dead:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "dead_letters_total", Help: "Rows and records that went to the dead-letter stream."}),
		gaps:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "missing_steps_total", Help: "Steps the log no longer had when they were to be read."}),
		skipped:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "rows_already_there_total", Help: "Rows of replayed batches that were found stored."}),
	}
	for _, at := range []Reason{ReasonRows, ReasonBytes, ReasonAge, ReasonDrain, ReasonReplay} {
		m.flushes.WithLabelValues(string(at))
	}
	if reg != nil {
		reg.MustRegister(m.flushes, m.rows, m.commits, m.insert, m.visible, m.failures, m.dead, m.gaps, m.skipped)
	}
	return m
}

// lagGauge shows how old the oldest record of a partition is that has been read and is not in the warehouse yet.
func lagGauge(reg prometheus.Registerer, p *partition, now func() time.Time) {
	if reg == nil {
		return
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "huoma", Subsystem: "analytics", Name: "lag_seconds", Help: "Age of the oldest commit record read and not yet inserted; 0 when there is none.",
		ConstLabels: prometheus.Labels{"partition": strconv.Itoa(p.n)},
	}, func() float64 {
		oldest := p.oldest.Load()
		if oldest == 0 {
			return 0
		}
		return max(0, now().Sub(time.UnixMilli(oldest)).Seconds())
	}))
}
