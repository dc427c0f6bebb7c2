package scanning_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/scanning"
)

// within bounds every wait of these tests.
const within = time.Minute

var plain = scanning.Identity{
	Visitor:  func(openID string) string { return openID },
	Classify: func(string) (code.Verdict, string) { return "", "" },
	Network:  func(s string) string { return s },
	Device:   func(string) (string, string, string) { return "", "", "" },
	Picture:  func(string, string, time.Time) (scanning.Picture, string) { return scanning.Picture{}, "seal" },
}

func connect(t testing.TB, url string, partitions int) *natsjs.Conn {
	t.Helper()
	conn, err := natsjs.Connect(t.Context(), natsjs.Options{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Ensure(t.Context(), natsjs.Config{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// work runs a worker until the test, or stop, ends it.
func work(t testing.TB, conn *natsjs.Conn, name string, partitions int, change ...func(*scanning.Options)) (w *scanning.Worker, stop func()) {
	t.Helper()
	o := scanning.Options{
		Instance: name, Partitions: partitions, Backend: conn, Identity: plain, SnapshotEvents: 40, SnapshotEvery: time.Millisecond, LongestPause: 100 * time.Millisecond,
		Claim: func(ctx context.Context, p int) (scanning.Input, error) { return conn.ClaimPartition(ctx, p) },
	}
	for _, c := range change {
		c(&o)
	}
	w, err := scanning.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil && o.Crash == nil {
			t.Errorf("worker %s: %v", name, err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return w, stop
}

// story publishes the same traffic every time: codes of small capacity, scans
// in gateway records, members from producers, repeats and nonsense.
type story struct {
	t      testing.TB
	conn   *natsjs.Conn
	n      int
	record map[int]uint64
	codes  []string
	rnd    *rand.Rand
	sent   int // events that must be decided, each once
	dead   int // records that make no sense
}

func newStory(t testing.TB, conn *natsjs.Conn, partitions, codes int) *story {
	s := &story{t: t, conn: conn, n: partitions, record: map[int]uint64{}, rnd: rand.New(rand.NewPCG(1, 2))}
	for i := range codes {
		id := fmt.Sprintf("code%d", i)
		s.codes = append(s.codes, id)
		now := time.Now().UTC()
		s.gateway(&events.Event{ID: "m" + id, Source: "t", Type: events.TypeCodeMinted, Subject: id, Time: now, Data: &events.CodeData{Definition: code.Definition{
			ID: id, Revision: 1, Profile: "wechat-group", Countdown: code.CountdownNone, WarnPercent: 80, Rules: risk.DefaultRules(), MintedAt: now, ChangedAt: now,
			Targets: []code.Target{{N: 0, URL: "https://example.com/0", Capacity: 20}, {N: 1, URL: "https://example.com/1", Capacity: 20}},
		}}})
	}
	return s
}

func (s *story) gateway(list ...*events.Event) {
	s.t.Helper()
	p := events.Partition(list[0].Subject, s.n)
	s.record[p]++
	b, err := events.MarshalBatch(list)
	if err != nil {
		s.t.Fatal(err)
	}
	r := events.Record{Partition: p, Payload: b, Producer: "gw", Number: s.record[p]}
	if err := s.conn.AppendRecords(s.t.Context(), []events.Record{r}); err != nil {
		s.t.Fatal(err)
	}
	s.sent += len(list)
}

// tell publishes n records of scans and joins.
func (s *story) tell(n int) {
	s.t.Helper()
	for i := range n {
		id := s.codes[s.rnd.IntN(len(s.codes))]
		var list []*events.Event
		for j := range 1 + s.rnd.IntN(5) {
			list = append(list, &events.Event{
				ID: fmt.Sprintf("e%d.%d.%d", s.sent, i, j), Source: "t", Type: events.TypeScan, Subject: id, Time: time.Now().UTC(),
				Data: &events.Scan{Visitor: fmt.Sprintf("v%d", s.rnd.IntN(40)), Answered: "accepted"},
			})
		}
		zero := 0
		list = append(list, &events.Event{
			ID: fmt.Sprintf("j%d.%d", s.sent, i), Source: "t", Type: events.TypeMemberJoined, Subject: id, Time: time.Now().UTC(), Data: &events.Member{Target: &zero},
		})
		s.gateway(list...)
	}
}

// log is every commit record of an installation, checked for unbroken steps.
func log(t testing.TB, conn *natsjs.Conn, partitions int) (out []*events.Commit) {
	t.Helper()
	for p := range partitions {
		_, last, err := conn.LastCommit(t.Context(), p)
		if errors.Is(err, events.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		step := uint64(0)
		err = conn.Commits(ctx, p, 0, func(payload []byte, seq uint64) error {
			c, err := events.ParseCommit(payload)
			if err != nil {
				return err
			}
			if step++; c.Step != step {
				t.Errorf("partition %d has step %d where %d belongs", p, c.Step, step)
			}
			out = append(out, c)
			if seq == last {
				cancel()
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		cancel()
	}
	return out
}

// await waits until the log has decided want events.
func await(t testing.TB, conn *natsjs.Conn, partitions, want int) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		got := int64(0)
		for p := range partitions {
			if payload, _, err := conn.LastCommit(t.Context(), p); err == nil {
				c, err := events.ParseCommit(payload)
				if err != nil {
					t.Fatal(err)
				}
				got += c.Totals.Scans + c.Totals.Members + c.Totals.Codes
			}
		}
		if got >= int64(want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events decided after %s, want %d", got, within, want)
		}
	}
}

// check holds the log, the alerts and a single-threaded replay together.
func check(t testing.TB, conn *natsjs.Conn, partitions, sent int) {
	t.Helper()
	seen := map[string]bool{}
	var alerts []string
	last := map[int]*events.Commit{}
	for _, c := range log(t, conn, partitions) {
		for _, it := range c.Items {
			if seen[it.Event.ID] {
				t.Errorf("event %s is decided twice", it.Event.ID)
			}
			seen[it.Event.ID] = true
		}
		for _, a := range c.Alerts {
			alerts = append(alerts, a.ID)
		}
		last[c.Partition] = c
	}
	if len(seen) != sent {
		t.Errorf("%d events decided, want %d", len(seen), sent)
	}
	for p := range partitions {
		if last[p] == nil {
			continue
		}
		tr := scanning.NewTransform(p, partitions, "oracle", plain)
		if err := tr.Replay(t.Context(), conn, last[p].Reached); err != nil {
			t.Error(err)
		}
		if tr.Totals() != last[p].Totals {
			t.Errorf("partition %d: totals %+v, a plain replay gives %+v", p, last[p].Totals, tr.Totals())
		}
	}
	if published := publishedAlerts(t, conn, len(alerts)); !reflect.DeepEqual(slices.Sorted(slices.Values(published)), slices.Sorted(slices.Values(alerts))) {
		t.Errorf("published alerts %v, want %v", published, alerts)
	}
}

// publishedAlerts are the ids in HUOMA_ALERTS once there are n, and a moment
// later, in which one too many would come.
func publishedAlerts(t testing.TB, conn *natsjs.Conn, n int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if n == 0 {
		time.AfterFunc(200*time.Millisecond, cancel)
	}
	err := conn.Alerts(ctx, 100_000, func(e *events.Event) error {
		if ids = append(ids, e.ID); len(ids) == n {
			time.AfterFunc(200*time.Millisecond, cancel)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	return ids
}

func TestWorkerDecidesEverythingOnce(t *testing.T) {
	const partitions = 3
	conn := connect(t, natstest.Start(t), partitions)
	w, stop := work(t, conn, "w", partitions)
	s := newStory(t, conn, partitions, 5)
	s.tell(60)
	await(t, conn, partitions, s.sent)
	if got := w.Owned(); got != partitions {
		t.Errorf("owns %d partitions, want %d", got, partitions)
	}
	stop()
	check(t, conn, partitions, s.sent)
}

// Two owners that both believe in it: the fence lets one through.
func TestStaleOwnerIsRefused(t *testing.T) {
	conn := connect(t, natstest.Start(t), 1)
	blocked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	_, stop := work(t, conn, "stale", 1, func(o *scanning.Options) {
		o.Crash = func(p scanning.Point) error {
			if p == scanning.BeforeCommit {
				once.Do(func() { close(blocked); <-release })
			}
			return nil
		}
	})
	s := newStory(t, conn, 1, 2)
	<-blocked
	// The stale owner sleeps before its commit. Another process, on a
	// connection of its own, commits for the partition.
	c := &events.Commit{Version: events.CommitVersion, Step: 1, Owner: "other"}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, seq, err := conn.LastCommit(t.Context(), 0)
	if err != nil && !errors.Is(err, events.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := conn.AppendCommit(t.Context(), 0, seq, payload); err != nil {
		t.Fatal(err)
	}
	close(release)
	s.tell(5)
	await(t, conn, 1, s.sent)
	stop()
	commits := log(t, conn, 1)
	if commits[0].Owner != "other" || commits[1].Owner != "stale" || commits[1].Step != 2 {
		t.Errorf("records by %s, %s; want the stale owner's to follow the other's", commits[0].Owner, commits[1].Owner)
	}
	check(t, conn, 1, s.sent)
}

// A worker that is told to stop while its commit is under way leaves no
// snapshot of what may never stand: one that is ahead of the last commit
// record would stop the partition for good.
func TestStopWithinAStep(t *testing.T) {
	conn := connect(t, natstest.Start(t), 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var within atomic.Bool
	o := scanning.Options{
		Instance: "w", Partitions: 1, Backend: conn, Identity: plain, SnapshotEvents: 1 << 20, SnapshotEvery: time.Hour,
		Claim: func(ctx context.Context, p int) (scanning.Input, error) { return conn.ClaimPartition(ctx, p) },
		Crash: func(p scanning.Point) error {
			if p != scanning.BeforeCommit || !within.Load() {
				return nil
			}
			cancel() // the answer to the commit is never heard
			return context.Canceled
		},
	}
	w, err := scanning.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	s := newStory(t, conn, 1, 2)
	s.tell(5)
	await(t, conn, 1, s.sent)
	within.Store(true)
	s.tell(5)
	<-done
	payload, _, err := conn.LastCommit(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	last, err := events.ParseCommit(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.LoadSnapshot(t.Context(), 0)
	if err != nil && !errors.Is(err, events.ErrNotFound) {
		t.Fatal(err)
	}
	if err == nil {
		snap, err := events.ReadSnapshot(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if snap.Step > last.Step {
			t.Errorf("the snapshot is of step %d, the last commit record of step %d", snap.Step, last.Step)
		}
	}
	_, stop := work(t, conn, "next", 1)
	await(t, conn, 1, s.sent)
	stop()
	check(t, conn, 1, s.sent)
}

func TestServerRestarts(t *testing.T) {
	server := natstest.New(t)
	conn := connect(t, server.URL(), 1)
	work(t, conn, "w", 1)
	s := newStory(t, conn, 1, 3)
	for range 3 {
		s.tell(10)
		server.Stop()
		server.Start()
	}
	s.tell(1)
	await(t, conn, 1, s.sent)
	check(t, conn, 1, s.sent)
}

func TestAnotherWorkerTakesOver(t *testing.T) {
	url := natstest.Start(t)
	one, two := connect(t, url, 2), connect(t, url, 2)
	_, stop := work(t, one, "one", 2)
	s := newStory(t, one, 2, 4)
	s.tell(10)
	await(t, one, 2, s.sent)
	w, _ := work(t, two, "two", 2)
	stop()
	s.tell(10)
	await(t, one, 2, s.sent)
	if got := w.Owned(); got == 0 {
		t.Error("the second worker owns nothing after the first has gone")
	}
	check(t, one, 2, s.sent)
}

// A code that nobody scans expires by its timer, and the lock of an abuser ends by one.
func TestTimersFire(t *testing.T) {
	conn := connect(t, natstest.Start(t), 1)
	work(t, conn, "w", 1)
	now := time.Now().UTC()
	s := newStory(t, conn, 1, 0)
	s.gateway(&events.Event{ID: "m", Source: "t", Type: events.TypeCodeMinted, Subject: "short", Time: now, Data: &events.CodeData{Definition: code.Definition{
		ID: "short", Revision: 1, Profile: "p", Countdown: code.CountdownFixed, Validity: span.Span(2 * time.Second), MintedAt: now, ChangedAt: now,
		Targets: []code.Target{{N: 0, URL: "https://example.com/"}},
		Rules:   []risk.Rule{{ID: "two", Scope: risk.ScopeVisitor, Limit: 2, Window: span.Span(time.Minute), Action: risk.ActionLock, For: span.Span(time.Second)}},
	}}})
	for i := range 2 {
		s.gateway(&events.Event{ID: fmt.Sprintf("s%d", i), Source: "t", Type: events.TypeScan, Subject: "short", Time: now, Data: &events.Scan{Visitor: "v", Answered: "accepted"}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var kinds []string
	_ = conn.Commits(ctx, 0, 0, func(payload []byte, _ uint64) error {
		c, err := events.ParseCommit(payload)
		if err != nil {
			return err
		}
		for _, d := range c.Decisions {
			kinds = append(kinds, d.Data.(*events.Decision).Kind)
			if late := c.Time.Sub(d.Time); late > 2*time.Second {
				t.Errorf("%s was decided %s late", kinds[len(kinds)-1], late)
			}
		}
		if len(kinds) == 3 {
			cancel()
		}
		return nil
	})
	if want := []string{"lock", "unlock", "expire"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("decided %v, want %v", kinds, want)
	}
}

// stuck is a log that takes no more commit records after some, as when the
// broker has gone away.
type stuck struct {
	*natsjs.Conn
	left  atomic.Int32
	stuck chan struct{}
}

func (s *stuck) AppendCommit(ctx context.Context, partition int, expected uint64, payload []byte) (uint64, error) {
	if s.left.Add(-1) >= 0 {
		return s.Conn.AppendCommit(ctx, partition, expected, payload)
	}
	select {
	case s.stuck <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// held is a log in which a large commit record is not stored before something else has happened.
type held struct {
	*natsjs.Conn
	until <-chan struct{}
}

func (h *held) AppendCommit(ctx context.Context, partition int, expected uint64, payload []byte) (uint64, error) {
	if len(payload) > 500<<10 {
		select {
		case <-h.until:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return h.Conn.AppendCommit(ctx, partition, expected, payload)
}

// While a record is stored, the next is decided.
func TestDecidesWhileARecordIsStored(t *testing.T) {
	conn := connect(t, natstest.Start(t), 1)
	s := newStory(t, conn, 1, 3)
	list := make([]*events.Event, 1000) // more than a record holds
	for i := range list {
		list[i] = &events.Event{ID: fmt.Sprint("s", i), Source: "t", Type: events.TypeScan, Subject: s.codes[i%3], Time: time.Now().UTC(), Data: &events.Scan{
			Visitor: fmt.Sprint(i), UserAgent: strings.Repeat("x", 500), Answered: "accepted",
		}}
	}
	s.gateway(list...)
	decided := make(chan struct{})
	begun := 0 // records being stored
	work(t, conn, "a", 1, func(o *scanning.Options) {
		o.Backend = &held{conn, decided}
		o.Crash = func(p scanning.Point) error {
			switch p {
			case scanning.BeforeCommit:
				begun++
			case scanning.AfterCommit:
				begun--
			case scanning.BeforeDeadLetter:
				if begun == 1 {
					close(decided)
				}
			}
			return nil
		}
	})
	select {
	case <-decided:
	case <-time.After(within):
		t.Fatal("the second record was not decided while the first was not stored")
	}
	await(t, conn, 1, s.sent)
	check(t, conn, 1, s.sent)
}

// A worker that is stopped with a record it could not store leaves no snapshot
// of what that record would have said: nobody could go on from it.
func TestStopWithARecordThatWasNotStored(t *testing.T) {
	conn := connect(t, natstest.Start(t), 1)
	s := newStory(t, conn, 1, 3)
	log := &stuck{Conn: conn, stuck: make(chan struct{}, 1)}
	log.left.Store(3)
	_, stop := work(t, conn, "a", 1, func(o *scanning.Options) { o.Backend = log; o.SnapshotEvents = 1 << 30; o.SnapshotEvery = time.Hour })
	for told := false; !told; {
		s.tell(1)
		select {
		case <-log.stuck:
			told = true
		default:
		}
	}
	stop()
	work(t, conn, "b", 1)
	s.tell(5)
	await(t, conn, 1, s.sent)
	check(t, conn, 1, s.sent)
}
