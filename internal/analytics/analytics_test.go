package analytics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/analytics"
	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/chstore"
	"github.com/huoma/huoma/internal/chstore/chgen"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
)

// One engine serves all tests of this package, each in a database of its own; each has a NATS of its own.
var server *chembed.Server

func TestMain(m *testing.M) { chtest.MainShared(m, func(s *chembed.Server) { server = s }) }

var databases atomic.Int64

// site is an installation: a log, a warehouse, and what has been committed.
type site struct {
	t     *testing.T
	url   string
	conn  *natsjs.Conn
	store *chstore.Store
	gens  []*chgen.Gen
	last  []uint64         // newest commit's sequence, by partition
	sums  []*events.Commit // newest commit, by partition
	amid  atomic.Int64     // inserts that a test ended between two tables
	said  lockedText       // by the workers
}

func newSite(t *testing.T, partitions int) *site {
	t.Helper()
	s := &site{t: t, url: natstest.Start(t), last: make([]uint64, partitions), sums: make([]*events.Commit, partitions)}
	s.conn = s.connect()
	if _, err := s.conn.Ensure(t.Context(), natsjs.Config{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	s.store = s.warehouse(server.Addr(), fmt.Sprintf("test_%d", databases.Add(1)))
	if err := s.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		g := chgen.New(uint64(p)+1, 3)
		g.Partition = p
		s.gens = append(s.gens, g)
	}
	return s
}

func (s *site) connect() *natsjs.Conn {
	s.t.Helper()
	c, err := natsjs.Connect(s.t.Context(), natsjs.Options{URL: s.url, Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *site) warehouse(addr, database string) *chstore.Store {
	s.t.Helper()
	u := url.URL{Scheme: "clickhouse", Host: addr, Path: "/" + database}
	st, err := chstore.Open(s.t.Context(), chstore.Options{URL: u.String(), DialTimeout: 2 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { st.Close() })
	return st
}

// commit appends n steps of some items each to a partition.
func (s *site) commit(p, n, items int) {
	s.t.Helper()
	for range n {
		c := s.gens[p].Next(items)
		b, err := c.Marshal()
		if err != nil {
			s.t.Fatal(err)
		}
		s.append(p, b)
		s.sums[p] = c
	}
}

func (s *site) append(p int, b []byte) {
	s.t.Helper()
	seq, err := s.conn.AppendCommit(s.t.Context(), p, s.last[p], b)
	if err != nil {
		s.t.Fatal(err)
	}
	s.last[p] = seq
}

// ports are a worker's, to be tampered with.
func (s *site) ports() analytics.Options {
	return analytics.Options{
		Partitions: len(s.gens), Manifests: s.conn, Dead: s.conn, Warehouse: s.store,
		Claim:   func(ctx context.Context, p int) (analytics.Claim, error) { return s.conn.ClaimCommits(ctx, p) },
		Policy:  analytics.Policy{Age: 20 * time.Millisecond},
		Log:     slog.New(slog.NewTextHandler(io.MultiWriter(s.t.Output(), &s.said), nil)),
		Backoff: [2]time.Duration{5 * time.Millisecond, 200 * time.Millisecond},
	}
}

// start runs a worker until the returned function is called, or the test ends.
func (s *site) start(o analytics.Options) (*analytics.Worker, func()) {
	s.t.Helper()
	w, err := analytics.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(s.t.Context()) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			if err := errors.Join(w.Close(), <-ended); err != nil {
				s.t.Error(err)
			}
		})
	}
	s.t.Cleanup(stop)
	return w, stop
}

// eventually fails unless ok comes true within half a minute.
func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func (s *site) number(sql string) (n int64) {
	s.t.Helper()
	if err := s.store.Conn().QueryRow(s.t.Context(), "SELECT toInt64("+sql+")").Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// arrived waits until every commit of every partition is in the warehouse.
func (s *site) arrived() {
	s.t.Helper()
	s.eventually("all commits in the warehouse", func() bool {
		for p, c := range s.sums {
			var step uint64
			err := s.store.Conn().QueryRow(s.t.Context(), "SELECT max(step) FROM commits WHERE partition = ?", uint16(p)).Scan(&step)
			if c != nil && (err != nil || step < c.Step) {
				return false
			}
		}
		return true
	})
}

// exact fails unless the warehouse has what was committed, each row once, and rollups that agree.
func (s *site) exact() {
	s.t.Helper()
	for _, row := range []struct{ name, sql string }{
		{"gaps", "(SELECT sum(gaps) FROM reconcile)"}, {"missing", "(SELECT sum(missing) FROM reconcile)"},
		{"doubled", "(SELECT sum(doubled) FROM reconcile)"}, {"unknown", "(SELECT sum(unknown) FROM reconcile)"},
		{"doubled commit records", "(SELECT count() - uniqExact(partition, step) FROM commits)"},
		{"rollup of scans less the scans", "(SELECT sum(scans) FROM scans_hourly) - (SELECT count() FROM scans)"},
		{"rollup of members less the members", "(SELECT sum(events) FROM members_hourly) - (SELECT count() FROM members)"},
		{"rollup of conversions less the conversions", "(SELECT sum(events) FROM conversions_hourly) - (SELECT count() FROM conversions)"},
	} {
		if n := s.number(row.sql); n != 0 {
			s.t.Errorf("%s: %d", row.name, n)
		}
	}
	var scans int64
	for _, c := range s.sums {
		if c != nil {
			scans += c.Totals.Scans
		}
	}
	if n := s.number("(SELECT count() FROM scans)"); n != scans {
		s.t.Errorf("%d scans in the warehouse, the log decided %d", n, scans)
	}
}

func TestStory(t *testing.T) {
	s := newSite(t, 3)
	s.commit(0, 5, 20) // before anybody reads
	o := s.ports()
	reg := prometheus.NewRegistry()
	o.Registry = reg
	w, stop := s.start(o)
	for range 4 {
		for p := range s.gens {
			s.commit(p, 3, 15)
		}
	}
	s.arrived()
	s.exact()
	if err := w.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	stop()

	// The next worker goes on where this one ended; the acknowledged records do not come again.
	s.commit(1, 4, 15)
	_, stop = s.start(s.ports())
	s.arrived()
	s.exact()
	stop()
	sum := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			switch {
			case m.Counter != nil:
				sum[f.GetName()] += m.Counter.GetValue()
			case m.Histogram != nil:
				sum[f.GetName()] += float64(m.Histogram.GetSampleCount())
			}
		}
	}
	if sum["huoma_analytics_commits_total"] != 41 || sum["huoma_analytics_visible_seconds"] != 41 || sum["huoma_analytics_batches_total"] < 3 || sum["huoma_analytics_failures_total"] != 0 {
		t.Errorf("metrics: %v", sum)
	}
}

// What is read when the worker is told to end is inserted.
func TestDrain(t *testing.T) {
	s := newSite(t, 1)
	o := s.ports()
	o.Policy.Age = time.Hour
	var handed atomic.Bool
	o.Claim = func(ctx context.Context, p int) (analytics.Claim, error) {
		c, err := s.conn.ClaimCommits(ctx, p)
		return &watchedClaim{Claim: c, handed: &handed}, err
	}
	s.commit(0, 3, 10)
	_, stop := s.start(o)
	s.eventually("the records are read", handed.Load)
	stop()
	if n := s.number("(SELECT max(step) FROM commits)"); n != 3 {
		t.Errorf("drained up to step %d, want 3", n)
	}
	s.exact()
}

type watchedClaim struct {
	analytics.Claim
	handed *atomic.Bool
	n      int
}

func (c *watchedClaim) Next(ctx context.Context) ([]events.Message, error) {
	if c.n >= 3 {
		c.handed.Store(true)
	}
	msgs, err := c.Claim.Next(ctx)
	c.n += len(msgs)
	return msgs, err
}

// A worker that is no longer the owner while it inserts gives up, and nothing is lost or doubled.
func TestTakenOver(t *testing.T) {
	s := newSite(t, 1)
	s.commit(0, 4, 15)
	inserting, goOn := make(chan struct{}), make(chan struct{})
	o := s.ports()
	o.Warehouse = &gate{s.store, inserting, goOn, sync.Once{}}
	s.start(o)
	<-inserting
	// The new owner does not know of the old one: it finds the open manifest, inserts the same, and goes on.
	o = s.ports()
	o.Claim = func(ctx context.Context, p int) (analytics.Claim, error) {
		return s.conn.Claim(ctx, natsjs.ClaimOptions{Stream: events.StreamDecisions, Durable: "other", Filters: []string{events.CommitSubject(p)}})
	}
	_, stop := s.start(o)
	s.commit(0, 3, 15)
	s.arrived()
	stop()
	close(goOn)
	s.commit(0, 2, 15)
	s.arrived()
	s.exact()
}

// gate holds the first insert up.
type gate struct {
	analytics.Warehouse
	inserting, goOn chan struct{}
	once            sync.Once
}

func (g *gate) Insert(ctx context.Context, b events.Batch) (events.Inserted, error) {
	g.once.Do(func() { close(g.inserting); <-g.goOn })
	return g.Warehouse.Insert(ctx, b)
}

// Without its warehouse the worker waits, says so, holds little, and catches up.
func TestWarehouseAway(t *testing.T) {
	s := newSite(t, 1)
	wire := natstest.NewProxy(t, "nats://"+server.Addr())
	at, err := url.Parse(wire.URL())
	if err != nil {
		t.Fatal(err)
	}
	o := s.ports()
	o.Warehouse = s.warehouse(at.Host, s.store.Database())
	reg := prometheus.NewRegistry()
	o.Registry = reg
	w, _ := s.start(o)
	s.commit(0, 2, 15)
	s.arrived()
	wire.Cut()
	s.commit(0, 10, 15)
	s.eventually("the worker is not ready", func() bool { return w.Ready() != nil })
	s.eventually("lag shows", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "huoma_analytics_lag_seconds" {
				return f.Metric[0].Gauge.GetValue() > 0.3
			}
		}
		return false
	})
	wire.Mend()
	s.arrived()
	s.exact()
	s.eventually("the worker is ready again", func() bool { return w.Ready() == nil })
}

// The engine is killed again and again while batches go in.
func TestEngineKilled(t *testing.T) {
	s := newSite(t, 2)
	s.start(s.ports())
	killed := 0
	for range 3 {
		for range 8 {
			s.commit(0, 2, 20)
			s.commit(1, 1, 20)
		}
		pid := 0
		s.eventually("the engine has a process", func() bool { pid = server.PID(); return pid != 0 && pid != killed })
		killed = pid
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.commit(0, 5, 20)
	}
	s.arrived()
	s.exact()
}

// deadLetters are those in the stream, by kind.
func (s *site) deadLetters() map[string]int {
	s.t.Helper()
	nc, err := nats.Connect(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), events.StreamDLQ)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(s.t.Context(), seq)
		if err != nil {
			s.t.Fatal(err)
		}
		out[m.Header.Get(events.HeaderReason)]++
	}
	return out
}

// What the warehouse refuses, and records that are broken, go to the dead letters, once, and hold nothing up.
func TestDeadLetters(t *testing.T) {
	s := newSite(t, 1)
	if err := s.store.Conn().Exec(t.Context(), "ALTER TABLE scans ADD CONSTRAINT poison CHECK city NOT LIKE 'POISON%'"); err != nil {
		t.Fatal(err)
	}
	s.commit(0, 2, 20)
	s.append(0, []byte("{\"v\":1,"))
	c := s.gens[0].Next(30)
	poisoned := 0
	for _, it := range c.Items {
		if sc, ok := it.Event.Data.(*events.Scan); ok && poisoned < 2 {
			sc.City = "POISON"
			poisoned++
		}
	}
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.append(0, b)
	s.commit(0, 2, 20)
	s.start(s.ports())
	s.arrived()
	s.eventually("the dead letters are stored", func() bool { return len(s.deadLetters()) == 2 })
	if got := s.deadLetters(); got["warehouse_refused"] != 2 || got["malformed_json"] != 1 {
		t.Errorf("dead letters: %v", got)
	}
	if n := s.number("(SELECT sum(missing) FROM reconcile)"); n != 2 {
		t.Errorf("reconcile misses %d, want the 2 refused", n)
	}
}

// A record of a newer program is waited at, not skipped.
func TestNewerRecord(t *testing.T) {
	s := newSite(t, 1)
	s.commit(0, 2, 10)
	w, _ := s.start(s.ports())
	s.arrived()
	c := s.gens[0].Next(5)
	c.Version++
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.append(0, b)
	s.eventually("the worker says what it waits for", func() bool { err := w.Ready(); return err != nil && strings.Contains(err.Error(), "upgrade") })
	if n := s.number("(SELECT max(step) FROM commits)"); n != 2 {
		t.Errorf("at step %d, want 2", n)
	}
}

// The log has lost part of a batch that was open: what is left is compared with the tables.
func TestOpenBatchWithoutItsLog(t *testing.T) {
	s := newSite(t, 1)
	d := &doom{site: s, point: "after insert", died: make(chan struct{})}
	o := s.ports()
	o.Manifests, o.Warehouse, o.Dead = d, d, d
	s.commit(0, 6, 15)
	_, stop := s.start(o)
	<-d.died
	stop()
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamDecisions)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	// Nor do the tables know the token any more.
	for _, table := range []string{"scans", "members", "conversions", "forged", "alerts", "decisions", "commits"} {
		if err := s.store.Conn().Exec(t.Context(), "ALTER TABLE "+table+" MODIFY SETTING non_replicated_deduplication_window = 0"); err != nil {
			t.Fatal(err)
		}
	}
	s.commit(0, 2, 15)
	s.start(s.ports())
	s.arrived()
	s.exact()
}

// At no moment does reconcile report a loss that is none.
func TestReconcileWhileWorking(t *testing.T) {
	s := newSite(t, 2)
	s.start(s.ports())
	second := s.ports() // of which one is idle, or each has a partition
	second.Manifests = s.connect()
	s.start(second)
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			var missing, doubled int64
			if err := s.store.Conn().QueryRow(t.Context(), "SELECT toInt64(sum(missing)), toInt64(sum(doubled)) FROM reconcile").Scan(&missing, &doubled); err != nil {
				t.Error(err)
				return
			}
			if missing != 0 || doubled != 0 {
				t.Errorf("while rows come in: missing %d, doubled %d", missing, doubled)
			}
		}
	})
	for range 40 {
		s.commit(0, 1, 20)
		s.commit(1, 1, 20)
	}
	s.arrived()
	close(done)
	wg.Wait()
	s.exact()
}

// A manifest that is a newer program's is left alone; one that is damaged or lost is made again from the log and the tables, also when the
// worker dies over it, and nothing is there twice.
func TestManifestThatCannotBeRead(t *testing.T) {
	for name, value := range map[string]string{
		"newer": `{"v":2,"partition":[0],"first_seq":"1"}`, "cut": `{"v":1,"partition":0,"first`, "empty": "{}", "no JSON": "\x00\x00\x00", "of another partition": `{"v":1,"partition":7,"first_seq":1,"last_seq":1,"commits":1,"token":"x"}`,
		"lost": "", "amid a batch": `{"v":1,"part`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1)
			s.commit(0, 6, 60)
			if name == "amid a batch" {
				s.dies("before close", 1, func() {}) // of the second batch
			} else {
				_, stop := s.start(s.ports())
				s.arrived()
				stop()
			}
			_, rev, err := s.conn.Manifest(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if name == "lost" {
				nc, err := nats.Connect(s.url)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				js, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				kv, err := js.KeyValue(t.Context(), natsjs.BucketAnalytics)
				if err != nil {
					t.Fatal(err)
				}
				if err := kv.Purge(t.Context(), "manifest.0"); err != nil {
					t.Fatal(err)
				}
			} else if _, err = s.conn.PutManifest(t.Context(), 0, []byte(value), rev); err != nil {
				t.Fatal(err)
			}
			s.commit(0, 3, 15)
			o := s.ports()
			if name == "newer" {
				w, _ := s.start(o)
				s.eventually("the worker says what it waits for", func() bool { err := w.Ready(); return err != nil && strings.Contains(err.Error(), "upgrade") })
				if n := s.number("(SELECT max(step) FROM commits)"); n != 6 {
					t.Errorf("at step %d, want 6", n)
				}
				if left, _, err := s.conn.Manifest(t.Context(), 0); err != nil || string(left) != value {
					t.Errorf("the manifest is %q now, %v", left, err)
				}
				return
			}
			for _, point := range []string{"after manifest", "before close", "after close"} { // the log is longer than one batch
				s.dies(point, 0, func() {})
			}
			if name != "lost" {
				if !s.said.has("a manifest is damaged") {
					t.Error("nothing was said")
				}
				value, rev, err := s.conn.Manifest(t.Context(), 0)
				if err != nil || !strings.Contains(string(value), `"compare":true`) {
					t.Fatalf("the manifest %d is %s: %v", rev, value, err)
				}
			}
			s.start(o)
			s.arrived()
			s.exact()
			s.commit(0, 2, 15)
			s.arrived()
			s.eventually("it trusts its manifest again", func() bool {
				value, _, err := s.conn.Manifest(t.Context(), 0)
				return err == nil && !strings.Contains(string(value), "compare") && strings.Contains(string(value), `"open":false`)
			})
			s.exact()
			s.asNeverStopped()
		})
	}
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), words)
}
