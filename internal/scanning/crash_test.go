package scanning_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/scanning"
)

// amidSnapshot is a place within the adapter: the parts of the snapshot are stored and what points to them is not.
const amidSnapshot scanning.Point = "amid-snapshot"

var errDied = errors.New("died here")

// reaper kills owners: at one point, at its passages of certain numbers, and then again when the next owner comes to another point.
type reaper struct {
	mu      sync.Mutex
	point   scanning.Point
	at      func(passage int) bool
	passes  map[scanning.Point]int
	deaths  int
	again   []scanning.Point // each death at point is followed by one at the next of these
	pending scanning.Point
	doubles int
	doomed  bool // dies at whatever point comes next
}

func (r *reaper) crash(p scanning.Point) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passes[p]++
	if r.doomed && p != amidSnapshot {
		r.doomed = false
		return errDied
	}
	if p == r.pending {
		r.pending = ""
		r.doubles++
		return errDied
	}
	if p == r.point && r.pending == "" && r.at(r.passes[p]) {
		r.deaths++
		if len(r.again) > 0 {
			r.pending, r.again = r.again[0], r.again[1:]
		}
		r.doomed = p == amidSnapshot // whose error goes to the log only
		return errDied
	}
	return nil
}

func (r *reaper) told() (deaths, doubles, passes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deaths, r.doubles, r.passes[r.point]
}

// torn is a backend whose snapshots can end between their parts and what points to them.
type torn struct {
	*natsjs.Conn
	nc *nats.Conn
	r  *reaper
}

func (b *torn) SaveSnapshot(ctx context.Context, partition int, snapshot []byte) error {
	if err := b.r.crash(amidSnapshot); err != nil {
		part := snapshot[:len(snapshot)/2]
		return errors.Join(err, b.nc.Publish("$O."+events.BucketState+".C.torn", part), b.nc.Flush())
	}
	return b.Conn.SaveSnapshot(ctx, partition, snapshot)
}

// Between any two effects an owner may die, and whoever recovers from that too; the next one makes it whole. At the end everything is as if
// one owner had never been stopped.
func TestCrashPoints(t *testing.T) {
	const deaths = 5
	recovery := []scanning.Point{scanning.BeforeRecovery, scanning.AfterToldAgain, scanning.AfterArmed, scanning.AfterRewind}
	for _, point := range append(slices.Clone(scanning.Points), amidSnapshot) {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			url := natstest.Start(t)
			conn := connect(t, url, 1)
			nc, err := nats.Connect(url)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			// The first passage, and then now and then until the traffic ends. A recovery is passed when one has died, and a snapshot is rare.
			r := &reaper{point: point, passes: map[scanning.Point]int{}, again: slices.Clone(recovery), at: func(n int) bool { return n == 1 || n%7 == 0 }}
			switch {
			case slices.Contains(recovery, point):
				r.at, r.again = func(n int) bool { return n <= deaths }, nil
			case strings.Contains(string(point), "snapshot"):
				r.at = func(int) bool { return true }
			case point == scanning.AfterTimer: // one for each code with an end, below
				r.at = func(n int) bool { return n%2 == 1 }
			}
			doubles := len(r.again)
			_, stop := work(t, conn, "w", 1, func(o *scanning.Options) {
				o.Backend, o.Crash = &torn{conn, nc, r}, r.crash
				o.SnapshotEvents = 10
			})
			s := newStory(t, conn, 1, 3)
			eventually(t, func() bool { // it has died as often as it should
				if point == scanning.AfterTimer {
					s.mintWithEnd()
				}
				s.tell(5)
				s.nonsense()
				await(t, conn, 1, s.sent)
				d, again, _ := r.told()
				return d >= deaths && again >= doubles
			})
			// The last passage of all, of which the dead one leaves no more than its traces; the drain passes points too.
			r.mu.Lock()
			last := r.passes[point] + 1
			r.at = func(n int) bool { return n == last }
			r.mu.Unlock()
			s.mintWithEnd()
			s.tell(5)
			await(t, conn, 1, s.sent)
			stop()
			// Somebody else, who is never stopped, ends what is left.
			work(t, conn, "next", 1)
			s.tell(2)
			s.nonsense()
			await(t, conn, 1, s.sent)
			check(t, conn, 1, s.sent)
			asNeverStopped(t, conn, nc)
		})
	}
}

// mintWithEnd mints a code that nobody scans and that needs a timer.
func (s *story) mintWithEnd() {
	s.t.Helper()
	id, now := fmt.Sprintf("ends%d", s.sent), time.Now().UTC()
	s.gateway(&events.Event{ID: "m" + id, Source: "t", Type: events.TypeCodeMinted, Subject: id, Time: now, Data: &events.CodeData{Definition: code.Definition{
		ID: id, Revision: 1, Profile: "wechat-static", Countdown: code.CountdownFixed, Validity: span.Span(24 * time.Hour), Longest: span.Span(24 * time.Hour), WarnPercent: 80,
		Rules: risk.DefaultRules(), MintedAt: now, ChangedAt: now, Targets: []code.Target{{N: 0, URL: "https://example.com/0"}},
	}}})
}

// nonsense publishes what becomes a dead letter.
func (s *story) nonsense() {
	s.t.Helper()
	s.record[0]++
	r := events.Record{Partition: 0, Payload: []byte(`[{"nonsense":true}]`), Producer: "gw", Number: s.record[0]}
	if err := s.conn.AppendRecords(s.t.Context(), []events.Record{r}); err != nil {
		s.t.Fatal(err)
	}
	s.dead++
}

// asNeverStopped holds partition 0's records, and the dead letters, against what one owner decides from the same log without a stop.
func asNeverStopped(t *testing.T, conn *natsjs.Conn, nc *nats.Conn) {
	t.Helper()
	var got events.Commit
	codes := map[string]any{}
	for _, c := range log(t, conn, 1) {
		got.Items, got.Decisions, got.Alerts, got.Dead = append(got.Items, c.Items...), append(got.Decisions, c.Decisions...), append(got.Alerts, c.Alerts...), append(got.Dead, c.Dead...)
		got.Totals, got.Reached = c.Totals, c.Reached
		for _, v := range c.Codes {
			codes[v.ID] = v
		}
	}
	want, err := scanning.Decide(t.Context(), conn, 0, 1, plain, got.Reached)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := want.Marshal(); err != nil { // as it would be read
		t.Fatal(err)
	} else if want, err = events.ParseCommit(b); err != nil {
		t.Fatal(err)
	}
	wantCodes := map[string]any{}
	for _, v := range want.Codes {
		wantCodes[v.ID] = v
	}
	for _, row := range []struct {
		what      string
		got, want any
	}{
		{"items", got.Items, want.Items}, {"decisions", got.Decisions, want.Decisions}, {"alerts", got.Alerts, want.Alerts}, {"dead letters", got.Dead, want.Dead},
		{"totals", got.Totals, want.Totals}, {"codes", codes, wantCodes},
	} {
		if !reflect.DeepEqual(row.got, row.want) {
			t.Errorf("%s differ:\n got %.600s\nwant %.600s", row.what, fmt.Sprint(row.got), fmt.Sprint(row.want))
		}
	}
	// Each dead letter stands once in its stream.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamDLQ)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; int(n) != len(want.Dead) || n == 0 {
		t.Errorf("%d dead letters in the stream, want %d", n, len(want.Dead))
	}
}

// Every point there is in the source is in Points, and every one in Points is passed somewhere: so TestCrashPoints has all.
func TestPointsAreAll(t *testing.T) {
	declared, passed := map[string]bool{}, map[string]bool{}
	for _, file := range []string{"owner.go", "snapshot.go", "worker.go", "balance.go", "replay.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Point" {
					declared[strings.Trim(n.Values[0].(*ast.BasicLit).Value, `"`)] = true
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "at" && len(n.Args) == 1 {
					passed[n.Args[0].(*ast.Ident).Name] = true
				}
			}
			return true
		})
	}
	listed := map[string]bool{}
	for _, p := range scanning.Points {
		listed[string(p)] = true
	}
	if !maps.Equal(declared, listed) {
		t.Errorf("declared %v, listed in Points %v", slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(listed)))
	}
	if len(passed) != len(listed) {
		t.Errorf("%d points are passed in the source, %d are listed: %v", len(passed), len(listed), slices.Sorted(maps.Keys(passed)))
	}
}
