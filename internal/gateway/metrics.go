package gateway

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/token"
)

// metrics are the gateway's own. No label's value is ever taken from a request.
type metrics struct {
	scans map[code.Verdict]prometheus.Counter
	// The three checks of a scan, by what each said.
	picture   map[token.Reason]prometheus.Counter
	state     map[code.Verdict]prometheus.Counter
	behaviour map[code.Verdict]prometheus.Counter

	produced prometheus.Counter
	auth     prometheus.Counter
	repaired prometheus.Counter
	mended   prometheus.Counter
	panics   prometheus.Counter
	dropped  *prometheus.CounterVec // readers of the alert stream, by reason

	flushes      *prometheus.CounterVec // by reason
	flushFailed  prometheus.Counter
	flushEvents  prometheus.Histogram
	flushRecords prometheus.Histogram
	flushTook    prometheus.Histogram
	spooled      prometheus.Counter
	replayed     prometheus.Counter
	refused      prometheus.Counter
	requests     *prometheus.HistogramVec // by route class and status class
}

// What the checks of a scan are counted by, beside reasons and verdicts.
const (
	genuine     token.Reason = "genuine"
	reasonLive  token.Reason = code.RuleLiveWindow // genuine, and shown too long ago
	unknownCode code.Verdict = "unknown"           // the code is not known here
)

var (
	stateLabels = map[code.Verdict]string{
		code.Accepted: "open", code.Revoked: "revoked", code.Expired: "expired", code.Locked: "locked", code.Capped: "capped", code.Full: "full", unknownCode: "unknown",
	}
	behaviourLabels = map[code.Verdict]string{code.Accepted: "person", code.Preview: "preview", code.Bot: "bot", code.Duplicate: "duplicate"}
)

// checked counts what the second and the third check of a scan said. The first is counted where it is made.
func (m *metrics) checked(a verdict) {
	m.state[a.state].Inc()
	m.behaviour[a.behaviour].Inc()
}

func newMetrics(reg prometheus.Registerer, g *Gateway) (*metrics, error) {
	scans := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_gateway_scans_total", Help: "Scans answered, by the verdict they were answered with."}, []string{"verdict"})
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "huoma_gateway_" + name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "huoma_gateway_" + name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.0002, 2, 15) // 0.2 ms to 3.3 s
	m := &metrics{
		produced:     counter("events_taken_total", "Events taken from producers over HTTP."),
		auth:         counter("auth_failures_total", "Admin requests with a missing or wrong API key."),
		mended:       counter("definitions_mended_total", "Damaged definitions made again from the log."),
		repaired:     counter("definitions_retold_total", "Definition changes told to the log again."),
		panics:       counter("panics_total", "Requests that ended in a panic."),
		dropped:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_gateway_alert_readers_dropped_total", Help: "Readers of the alert stream dropped for being slow, by how they were."}, []string{"reason"}),
		flushes:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_gateway_flushes_total", Help: "Flushes to the log, by why they began."}, []string{"reason"}),
		flushFailed:  counter("flushes_failed_total", "Flushes that could not be stored."),
		flushEvents:  histogram("flush_events", "Events in a flush.", prometheus.ExponentialBuckets(1, 2, 15)),
		flushRecords: histogram("flush_records", "Records in a flush.", prometheus.ExponentialBuckets(1, 2, 9)),
		flushTook:    histogram("flush_seconds", "Time to store a flush durably.", seconds),
		requests:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "huoma_gateway_request_seconds", Help: "Time to answer, by class of route and of status.", Buckets: seconds}, []string{"route", "status"}),
		spooled:      counter("spooled_events_total", "Events written into the spool, as the log did not take them."),
		replayed:     counter("replayed_events_total", "Events of the spool stored in the log."),
		refused:      counter("spool_refused_events_total", "Events refused because the spool was full."),
		scans:        make(map[code.Verdict]prometheus.Counter),
	}
	checks := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huoma_gateway_" + name + "_checks_total", Help: help}, []string{"verdict"})
	}
	pictures := checks("picture", "Scans, by what the check of the picture said: genuine, or why its token is not one of ours.")
	states := checks("state", "Scans of genuine pictures, by what the server's state said of the code.")
	behaviours := checks("behaviour", "Scans of genuine pictures, by what was said of who scans.")
	m.picture, m.state, m.behaviour = make(map[token.Reason]prometheus.Counter), make(map[code.Verdict]prometheus.Counter), make(map[code.Verdict]prometheus.Counter)
	for _, r := range append([]token.Reason{genuine, reasonLive}, token.Reasons...) {
		m.picture[r] = pictures.WithLabelValues(string(r))
	}
	for v, label := range stateLabels {
		m.state[v] = states.WithLabelValues(label)
	}
	for v, label := range behaviourLabels {
		m.behaviour[v] = behaviours.WithLabelValues(label)
	}
	for _, v := range code.Verdicts {
		m.scans[v] = scans.WithLabelValues(string(v))
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "huoma_gateway_" + name, Help: help}, f)
	}
	counted := func(name, help string, f func() float64, labels prometheus.Labels) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "huoma_gateway_" + name, Help: help, ConstLabels: labels}, f)
	}
	overload := func(class string, p *pool) prometheus.Collector {
		return counted("overloaded_total", "Requests refused because there was no place for them, by class.", func() float64 { return float64(p.refused.Load()) }, prometheus.Labels{"class": class})
	}
	for _, c := range []prometheus.Collector{
		scans, pictures, states, behaviours, m.produced, m.auth, m.repaired, m.mended, m.panics, m.dropped, m.flushes, m.flushFailed, m.flushEvents, m.flushRecords, m.flushTook, m.requests,
		m.spooled, m.replayed, m.refused,
		gauge("spool_events", "Events in the spool.", func() float64 { return float64(g.spooled().Events) }),
		gauge("spool_bytes", "Bytes of the spool's folder, damaged pieces included.", func() float64 { return float64(g.spooled().Bytes) }),
		gauge("spool_max_bytes", "Bytes the spool's folder may come to; 0: there is no spool.", func() float64 { return float64(g.spooled().Most) }),
		gauge("spool_oldest_seconds", "Age of the oldest event in the spool; 0: there is none.", func() float64 {
			if oldest := g.spooled().Oldest; !oldest.IsZero() {
				return max(0, g.now().Sub(oldest).Seconds())
			}
			return 0
		}),
		gauge("spool_damaged", "Pieces of the spool that could not be read since this start.", func() float64 { return float64(g.spooled().Damaged) }),
		gauge("queued_events", "Events waiting to be stored.", func() float64 { return float64(g.flusher.queued()) }),
		gauge("scans_in_flight", "Scans that have a place.", func() float64 { return float64(g.admission.scans.in.Load()) }),
		gauge("scans_let_in", "Scans that are let in at a time, as many as the log keeps up with.", func() float64 { return float64(g.admission.scans.limit.Load()) }),
		gauge("connections", "Connections open.", func() float64 { n, _, _ := g.listener.Counts(); return float64(n) }),
		counted("connections_evicted_total", "Connections in no request that were closed for newer ones.", func() float64 { _, n, _ := g.listener.Counts(); return float64(n) }, nil),
		counted("connections_refused_total", "Connections for which there was no place.", func() float64 { _, _, n := g.listener.Counts(); return float64(n) }, nil),
		overload("scan", g.admission.scans), overload("bulk", g.admission.bulk), overload("other", g.admission.others), overload("stream", g.admission.streams), overload("live", g.admission.screens),
		gauge("mirror_codes", "Codes held in memory.", func() float64 { return float64(g.mirror.size.Load()) }),
		gauge("ready", "1 when caught up with the log and able to store or spool.", func() float64 {
			if g.ready() == nil {
				return 1
			}
			return 0
		}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) flushed(f flushed) {
	m.flushes.WithLabelValues(f.reason).Inc()
	m.flushEvents.Observe(float64(f.events))
	m.flushRecords.Observe(float64(f.records))
	m.flushTook.Observe(f.took.Seconds())
	switch {
	case f.spooled:
		m.spooled.Add(float64(f.events))
	case errors.Is(f.err, errFull):
		m.refused.Add(float64(f.events))
	}
	if f.err != nil {
		m.flushFailed.Inc()
	}
}

var statusClass = [6]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) request(class string, status int, took time.Duration) {
	m.requests.WithLabelValues(class, statusClass[min(max(status/100, 1), 5)]).Observe(took.Seconds())
}
