package analytics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/analytics"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
)

// effects are the methods of a worker's ports, and the points at which a test can stop the worker dead around them. The ones of Insert also
// have every table, see tables.
var effects = map[string][]string{
	"Manifest":    {"read"},
	"PutManifest": {"before manifest", "after manifest", "before close", "after close"},
	"Insert":      {"before insert", "after insert"},
	"DeadLetter":  {"before dead letters", "after dead letters"},
	"Next":        nil, // reads
	"Rewind":      {"before rewind", "after rewind"},
	"Ack":         {"before ack", "after ack"},
	"Close":       nil, // of a claim: a dead worker's is taken from it
}

// A port that gets another method needs points for it.
func TestPointsAreAll(t *testing.T) {
	have := map[string]bool{}
	for _, port := range []reflect.Type{
		reflect.TypeFor[analytics.Claim](), reflect.TypeFor[analytics.Manifests](), reflect.TypeFor[analytics.DeadLetters](), reflect.TypeFor[analytics.Warehouse](),
	} {
		for i := range port.NumMethod() {
			have[port.Method(i).Name] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(effects)); !slices.Equal(got, want) {
		t.Errorf("the ports have the methods %v, the crash test knows %v", got, want)
	}
}

// doom ends a worker at a point of its work as a crash would: whatever it calls from then on fails.
type doom struct {
	*site
	point string
	after int // calls of that point to let pass
	dead  atomic.Bool
	died  chan struct{}
}

var errDead = errors.New("crashed")

// at reports whether the worker is dead at this point, or dies here.
func (d *doom) at(point string) error {
	if d.dead.Load() {
		return errDead
	}
	if point == d.point {
		if d.after == 0 {
			d.dead.Store(true)
			close(d.died)
			return errDead
		}
		d.after--
	}
	return nil
}

func (d *doom) Manifest(ctx context.Context, p int) ([]byte, uint64, error) {
	if err := d.at("read"); err != nil {
		return nil, 0, err
	}
	return d.conn.Manifest(ctx, p)
}

func (d *doom) PutManifest(ctx context.Context, p int, v []byte, rev uint64) (uint64, error) {
	name := "close"
	if strings.Contains(string(v), `"open":true`) {
		name = "manifest"
	}
	if err := d.at("before " + name); err != nil {
		return 0, err
	}
	rev, err := d.conn.PutManifest(ctx, p, v, rev)
	return rev, errors.Join(err, d.at("after "+name))
}

func (d *doom) Insert(ctx context.Context, b events.Batch) (events.Inserted, error) {
	if err := d.at("before insert"); err != nil {
		return events.Inserted{}, err
	}
	if table, ok := strings.CutPrefix(d.point, "before table "); ok {
		if err := d.at(d.point); err != nil {
			// The table is out of reach: those before it get their rows. The test ends the worker meanwhile.
			ctx := context.WithoutCancel(ctx)
			if err := d.store.Conn().Exec(ctx, "RENAME TABLE "+table+" TO away"); err != nil {
				d.t.Error(err)
			}
			if _, err := d.store.Insert(ctx, b); err != nil {
				d.amid.Add(1)
			}
			if err := d.store.Conn().Exec(ctx, "RENAME TABLE away TO "+table); err != nil {
				d.t.Error(err)
			}
			return events.Inserted{}, err
		}
	}
	done, err := d.store.Insert(ctx, b)
	return done, errors.Join(err, d.at("after insert"))
}

func (d *doom) DeadLetter(ctx context.Context, list []events.DeadLetter) error {
	if err := d.at("before dead letters"); err != nil {
		return err
	}
	return errors.Join(d.conn.DeadLetter(ctx, list), d.at("after dead letters"))
}

type doomedClaim struct {
	analytics.Claim
	d *doom
}

func (c *doomedClaim) Rewind(ctx context.Context, from uint64) error {
	if err := c.d.at("before rewind"); err != nil {
		return err
	}
	return errors.Join(c.Claim.Rewind(ctx, from), c.d.at("after rewind"))
}

func (c *doomedClaim) Ack(ctx context.Context, upto uint64) error {
	if err := c.d.at("before ack"); err != nil {
		return err
	}
	return errors.Join(c.Claim.Ack(ctx, upto), c.d.at("after ack"))
}

// dies runs a worker until it has died at a point, after so many passages of it. begun is called when it runs.
func (s *site) dies(point string, after int, begun func()) {
	s.t.Helper()
	d := &doom{site: s, point: point, after: after, died: make(chan struct{})}
	o := s.ports()
	o.Manifests, o.Warehouse, o.Dead = d, d, d
	o.Policy.Rows = 150
	o.Claim = func(ctx context.Context, p int) (analytics.Claim, error) {
		if d.dead.Load() {
			return nil, errDead
		}
		c, err := s.conn.ClaimCommits(ctx, p)
		return &doomedClaim{c, d}, err
	}
	_, stop := s.start(o)
	begun()
	select {
	case <-d.died:
	case <-time.After(time.Minute):
		s.t.Fatalf("the worker has not come to %q", point)
	}
	stop()
}

// tables are all that rows go into, rollups among them: the schema's own list, so that a new one is not forgotten.
func (s *site) tables() (list []string) {
	s.t.Helper()
	rows, err := s.store.Conn().Query(s.t.Context(), "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name != 'schema_migrations' ORDER BY name")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, name)
	}
	if err := rows.Err(); err != nil || len(list) < 12 {
		s.t.Fatalf("tables %v: %v", list, err)
	}
	return list
}

// Between any two effects a worker may die, the first time, later and at the last record, and the next one again while it mends that; what is
// in the warehouse at the end is what a worker that never stopped puts there.
func TestCrashPoints(t *testing.T) {
	var points []string
	for _, method := range slices.Sorted(maps.Keys(effects)) {
		points = append(points, effects[method]...)
	}
	for name, points := range map[string][]string{"ports": points, "tables": newSite(t, 1).tables()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1)
			broken := 0
			more := func(n int) {
				s.commit(0, n, 40)
				s.append(0, fmt.Appendf(nil, `{"v":1,"broken":%d`, broken)) // a dead letter
				broken++
			}
			for i, point := range points {
				if name == "tables" {
					point = "before table " + point
				}
				more(4)
				s.dies(point, 0, func() {})
				s.dies([]string{"read", "after rewind", "before rewind"}[i%3], 0, func() {})
				switch {
				case point == "read" || strings.HasSuffix(point, " rewind"): // once in a worker's life
					s.dies(point, 0, func() {})
				default:
					s.dies(point, 1, func() { more(5) })
				}
				if t.Failed() {
					t.Fatalf("at %q", point)
				}
			}
			more(1)
			s.dies("before close", 0, func() {}) // the last record of all
			s.start(s.ports())
			s.arrived()
			s.exact()
			s.eventually("each dead letter is there once", func() bool { return s.deadLetters()["malformed_json"] == broken })
			if n := int(s.amid.Load()); name == "tables" && n < len(points) {
				t.Errorf("%d inserts ended amid their tables, want %d at least", n, len(points))
			}
			s.asNeverStopped()
		})
	}
}

// asNeverStopped compares every table with those that a worker which never stops fills from the same log.
func (s *site) asNeverStopped() {
	s.t.Helper()
	whole := newSite(s.t, 1)
	o := s.ports()
	o.Manifests, o.Warehouse, o.Dead = whole.conn, whole.store, whole.conn
	o.Claim = func(ctx context.Context, p int) (analytics.Claim, error) {
		return s.conn.Claim(ctx, natsjs.ClaimOptions{Stream: events.StreamDecisions, Durable: "whole", Filters: []string{events.CommitSubject(p)}})
	}
	whole.sums = s.sums
	_, stop := whole.start(o)
	whole.arrived()
	stop()
	whole.exact()
	for _, table := range s.tables() {
		sum := func(of *site) int64 { return of.number("(SELECT " + fingerprint(table) + ")") }
		if got, want := sum(s), sum(whole); got != want {
			s.t.Errorf("table %s differs from one that a worker filled without a stop", table)
		}
	}
}

// fingerprint is a query for a number that is the same for the same rows, in whatever parts they are.
func fingerprint(table string) string {
	switch table {
	case "codes_log":
		return "sum(reinterpretAsInt64(sipHash64(toString(tuple(*))))) FROM (SELECT * EXCEPT ingested_at FROM codes_log FINAL)"
	case "scans_hourly", "members_hourly", "conversions_hourly":
		return "sum(reinterpretAsInt64(sipHash64(toString(tuple(*))))) FROM (SELECT hour, code_id, uniqCombined64Merge(visitors) AS visitors, " +
			map[string]string{"scans_hourly": "verdict, variant, sum(scans)", "members_hourly": "target, kind, sum(events)", "conversions_hourly": "name, currency, sum(events), sum(value)"}[table] +
			" FROM " + table + " GROUP BY hour, code_id, " + map[string]string{"scans_hourly": "verdict, variant", "members_hourly": "target, kind", "conversions_hourly": "name, currency"}[table] + ")"
	case "forged_hourly":
		return "sum(reinterpretAsInt64(sipHash64(toString(tuple(*))))) FROM (SELECT hour, sum(scans), uniqCombined64Merge(networks) FROM forged_hourly GROUP BY hour)"
	}
	return "sum(reinterpretAsInt64(sipHash64(toString(tuple(*))))) FROM (SELECT * EXCEPT ingested_at FROM " + table + ")"
}
