package natsjs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

func TestRecordsAreStoredOnceAndInOrder(t *testing.T) {
	s, c := install(t, 3)
	list := make([]events.Record, 0, 300)
	for i := range 300 {
		r := record(i%3, i/3+1)
		list = append(list, r)
	}
	for range 2 { // the second time is a gateway that did not hear the answer
		if err := c.AppendRecords(testContext(t), list); err != nil {
			t.Fatal(err)
		}
		s.Restart() // the ids are known after a restart too
	}
	for p := range 3 {
		n := 0
		err := c.Replay(testContext(t), p, 1, 1<<40, func(m events.Message) error {
			n++
			if want := fmt.Sprintf("gw.%d.%d", p, n); m.Get(events.HeaderMsgID) != want || m.Get(events.HeaderRecord) != fmt.Sprint(n) ||
				m.Get(events.HeaderContentType) != events.ContentTypeBatch || m.Subject != events.StoredSubject(p, events.KindGateway) {
				return fmt.Errorf("%d-th of partition %d: %s %v", n, p, m.Subject, m.Header)
			}
			return nil
		})
		if err != nil || n != 100 {
			t.Errorf("partition %d: %d records, %v", p, n, err)
		}
	}
}

func TestRecordsWaitForTheServer(t *testing.T) {
	s, c := install(t, 1)
	s.Stop()
	eventually(t, 5*time.Second, "disconnect", func() bool { return !c.Connected() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := c.AppendRecords(ctx, []events.Record{record(0, 1)})
	wantErr(t, err, context.DeadlineExceeded)
	wantErr(t, err, ErrUnreachable)
	done := make(chan error, 1)
	go func() { done <- c.AppendRecords(testContext(t), []events.Record{record(0, 1), record(0, 2)}) }()
	s.Start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if info, err := c.streamInfo(testContext(t), events.StreamEvents); err != nil || info.State.Msgs != 2 {
		t.Errorf("%d messages, %v", info.State.Msgs, err)
	}
}

func TestReplayRange(t *testing.T) {
	_, c := install(t, 2)
	for i := 1; i <= 50; i++ { // sequences: partition 0 odd, 1 even
		appendRecords(t, c, 0, i, i)
		appendRecords(t, c, 1, i, i)
	}
	for _, row := range []struct {
		from, to uint64
		want     []uint64
	}{
		{1, 5, []uint64{1, 3, 5}}, {2, 6, []uint64{3, 5}}, {95, 1 << 50, []uint64{95, 97, 99}}, {100, 100, nil}, {100, 200, nil},
		{101, 200, nil}, {7, 6, nil}, {0, 1, []uint64{1}},
	} {
		var got []uint64
		if err := c.Replay(testContext(t), 0, row.from, row.to, func(m events.Message) error { got = append(got, m.Seq); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(row.want) {
			t.Errorf("from %d to %d: got %v, want %v", row.from, row.to, got, row.want)
		}
	}
	want := errors.New("no more")
	wantErr(t, c.Replay(testContext(t), 0, 1, 9, func(events.Message) error { return want }), want)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, c.Replay(ended, 0, 1, 9, func(events.Message) error { return nil }), context.Canceled)
}

func TestSnapshots(t *testing.T) {
	s, c := install(t, 2)
	ctx := testContext(t)
	_, err := c.LoadSnapshot(ctx, 0)
	wantErr(t, err, events.ErrNotFound)
	data := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	for _, size := range []int{0, 1, 3 << 20, 1000} {
		want := data(size)
		if err := c.SaveSnapshot(ctx, 0, want); err != nil {
			t.Fatal(err)
		}
		got, err := c.LoadSnapshot(ctx, 0)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	other := data(10)
	if err := c.SaveSnapshot(ctx, 1, other); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if got, err := c.LoadSnapshot(ctx, 1); err != nil || !bytes.Equal(got, other) {
		t.Errorf("after restart: %d bytes, %v", len(got), err)
	}
	// Old chunks are gone: two snapshots, each its one chunk and its entry.
	if info, err := c.streamInfo(ctx, "OBJ_"+events.BucketState); err != nil || info.State.Msgs != 4 {
		t.Errorf("%d messages in the bucket, want 4: %v", info.State.Msgs, err)
	}
}

// Who reads while it is replaced gets the old one or the new one, whole.
func TestSnapshotReplacedWhileRead(t *testing.T) {
	s, c := install(t, 1)
	ctx := testContext(t)
	snap := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1<<20+i) }
	if err := c.SaveSnapshot(ctx, 0, snap(0)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	reader := connect(t, s.URL())
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := reader.LoadSnapshot(ctx, 0)
			if err != nil {
				t.Errorf("load: %v", err)
				return
			}
			if !bytes.Equal(got, snap(int(got[0]))) {
				t.Errorf("%d bytes that start with %d are no snapshot", len(got), got[0])
			}
		}
	})
	for i := 1; i <= 20; i++ {
		if err := c.SaveSnapshot(ctx, 0, snap(i)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

// What a crashed upload left is removed, once it is old; objects are not.
func TestUnfinishedSnapshotsAreSwept(t *testing.T) {
	_, c := install(t, 1)
	ctx := testContext(t)
	want := make([]byte, 600<<10)
	if err := c.SaveSnapshot(ctx, 0, want); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.js.Publish(ctx, "$O."+events.BucketState+".C.unfinished", want); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		older time.Duration
		msgs  uint64
	}{{sweepAfter, 7}, {0, 4}} {
		if err := c.sweepSnapshots(ctx, row.older); err != nil {
			t.Fatal(err)
		}
		if info, err := c.streamInfo(ctx, "OBJ_"+events.BucketState); err != nil || info.State.Msgs != row.msgs {
			t.Errorf("older than %s: %d messages left, want %d: %v", row.older, info.State.Msgs, row.msgs, err)
		}
	}
	if got, err := c.LoadSnapshot(ctx, 0); err != nil || len(got) != len(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestDefinitions(t *testing.T) {
	s, c := install(t, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	_, _, err := c.Definition(ctx, "a")
	wantErr(t, err, events.ErrNotFound)
	_, _, err = c.Definition(ctx, "not a key")
	wantErr(t, err, events.ErrNotFound)
	r1, err := c.CreateDefinition(ctx, "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateDefinition(ctx, "a", []byte("1"))
	wantErr(t, err, events.ErrExists)
	_, err = c.UpdateDefinition(ctx, "a", []byte("2"), r1+5)
	wantErr(t, err, events.ErrConflict)
	_, err = c.UpdateDefinition(ctx, "none", []byte("2"), 0)
	wantErr(t, err, events.ErrConflict)
	r2, err := c.UpdateDefinition(ctx, "a", []byte("2"), r1)
	if err != nil || r2 <= r1 {
		t.Fatalf("update: %d, %v", r2, err)
	}
	_, err = c.UpdateDefinition(ctx, "a", []byte("3"), r1)
	wantErr(t, err, events.ErrConflict)
	if v, rev, err := c.Definition(ctx, "a"); err != nil || string(v) != "2" || rev != r2 {
		t.Errorf("read %q at %d, %v", v, rev, err)
	}

	var mu sync.Mutex
	seen := map[string]string{}
	caught := 0
	done := make(chan error, 1)
	for i := range 500 {
		if _, err := c.CreateDefinition(ctx, fmt.Sprint("b", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	watcher := connect(t, s.URL())
	go func() {
		done <- watcher.WatchDefinitions(ctx, func(id string, value []byte, rev uint64) error {
			mu.Lock()
			defer mu.Unlock()
			seen[id] = fmt.Sprintf("%s@%d", value, rev)
			return nil
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			if caught++; len(seen) != 501 {
				t.Errorf("caught up with %d of 501", len(seen))
			}
		})
	}()
	eventually(t, 10*time.Second, "caught up", func() bool { mu.Lock(); defer mu.Unlock(); return caught == 1 })
	s.Restart()
	r3, err := c.UpdateDefinition(ctx, "a", []byte("4"), r2)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "change seen", func() bool { mu.Lock(); defer mu.Unlock(); return seen["a"] == fmt.Sprintf("4@%d", r3) })
	cancel()
	wantErr(t, <-done, context.Canceled)
	if caught != 1 {
		t.Errorf("caught up %d times", caught)
	}
}

// A bucket without definitions is caught up with at once.
func TestWatchNoDefinitions(t *testing.T) {
	_, c := install(t, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	err := c.WatchDefinitions(ctx, func(string, []byte, uint64) error { return nil }, cancel)
	wantErr(t, err, context.Canceled)
}

func TestManifest(t *testing.T) {
	_, c := install(t, 1)
	ctx := testContext(t)
	_, _, err := c.Manifest(ctx, 0)
	wantErr(t, err, events.ErrNotFound)
	r1, err := c.PutManifest(ctx, 0, []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, rev := range []uint64{0, r1 + 1} {
		_, err = c.PutManifest(ctx, 0, []byte("2"), rev)
		wantErr(t, err, events.ErrConflict)
	}
	if r2, err := c.PutManifest(ctx, 0, []byte("2"), r1); err != nil || r2 <= r1 {
		t.Errorf("put: %d, %v", r2, err)
	}
	if v, _, err := c.Manifest(ctx, 0); err != nil || string(v) != "2" {
		t.Errorf("read %q, %v", v, err)
	}
	// Somebody has removed it, to fill an empty warehouse: then there is none.
	kv, err := c.js.KeyValue(ctx, BucketAnalytics)
	if err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func() error{
		func() error { return kv.Delete(ctx, "manifest.0") },
		func() error { return kv.Purge(ctx, "manifest.0") },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Manifest(ctx, 0)
		wantErr(t, err, events.ErrNotFound)
		_, err = c.PutManifest(ctx, 0, []byte("3"), r1)
		wantErr(t, err, events.ErrConflict)
		if _, err := c.PutManifest(ctx, 0, []byte("3"), 0); err != nil {
			t.Errorf("put after it was removed: %v", err)
		}
	}
}

func alert(id string) *events.Event {
	return &events.Event{
		ID: id, Source: "test", Type: events.TypeAlertRisk, Subject: "code1", Time: time.UnixMilli(1767225600000).UTC(),
		Data: &events.Alert{Code: "code1", Kind: "risk", Reason: "rule"},
	}
}

func TestAlertsOnceAndFollowed(t *testing.T) {
	s, c := install(t, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	for range 2 {
		for i := range 5 {
			if err := c.PublishAlerts(ctx, []*events.Event{alert(fmt.Sprint("id", i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.PublishAlerts(ctx, []*events.Event{{Type: events.TypeScan, Subject: "x", ID: "y", Data: &events.Scan{}}}); err == nil {
		t.Error("a scan was published as alert")
	}
	ids := make(chan string, 16)
	done := make(chan error, 1)
	subjects := make(chan string, 16)
	if _, err := c.nc.Subscribe("huoma.alert.>", func(m *nats.Msg) { subjects <- m.Subject }); err != nil {
		t.Fatal(err)
	}
	reader := connect(t, s.URL())
	go func() {
		done <- reader.Alerts(ctx, 2, func(e *events.Event) error { ids <- e.ID; return nil })
	}()
	for _, want := range []string{"id3", "id4"} {
		if got := <-ids; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	s.Restart()
	if err := c.PublishAlerts(ctx, []*events.Event{alert("id4"), alert("id5")}); err != nil {
		t.Fatal(err)
	}
	if got := <-ids; got != "id5" {
		t.Errorf("got %s, want id5", got)
	}
	if got := <-subjects; got != "huoma.alert.risk.code1" {
		t.Errorf("subscriber: %s", got)
	}
	cancel()
	wantErr(t, <-done, context.Canceled)
	// More than there are: all there are.
	n, enough := 0, errors.New("enough")
	err := c.Alerts(testContext(t), 100, func(*events.Event) error {
		if n++; n == 6 {
			return enough
		}
		return nil
	})
	wantErr(t, err, enough)
}

func TestDecisionsReachSubscribers(t *testing.T) {
	s, c := install(t, 1)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("huoma.decision.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	e := &events.Event{ID: "d1", Source: "test", Type: events.TypeDecision, Subject: "code1", Time: time.UnixMilli(1767225600000), Data: &events.Decision{Code: "code1", Kind: "lock", Reason: "rule"}}
	if err := c.PublishDecisions(t.Context(), []*events.Event{e}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(5 * time.Second)
	if err != nil || m.Subject != "huoma.decision.lock.code1" || m.Header.Get(events.HeaderMsgID) != "d1" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestDeadLetters(t *testing.T) {
	_, c := install(t, 2)
	ctx := testContext(t)
	l := events.DeadLetter{Partition: 1, Seq: 7, Idx: 2, Subject: "huoma.ev.1.in.scan", Data: []byte("{bad"), Reason: events.CodeMalformed, Detail: "line one\nline two"}
	big := events.DeadLetter{Partition: 1, Seq: 8, Subject: "huoma.in.x", Data: make([]byte, c.MaxPayload()), Reason: events.CodeTooLarge, Detail: "large"}
	for range 2 {
		if err := c.DeadLetter(ctx, []events.DeadLetter{l, big}); err != nil {
			t.Fatal(err)
		}
	}
	var got []*delivery
	enough := errors.New("enough")
	f := feed{stream: events.StreamDLQ, filters: []string{"huoma.dlq.*"}, next: 1}
	wantErr(t, c.follow(ctx, &f, func(d *delivery) error {
		if got = append(got, d); len(got) == 2 {
			return enough
		}
		return nil
	}), enough)
	for h, want := range map[string]string{
		events.HeaderMsgID: "1.7.2", events.HeaderPlace: "1/7/2", events.HeaderReason: string(events.CodeMalformed),
		events.HeaderDetail: "line one line two", events.HeaderSubject: "huoma.ev.1.in.scan",
	} {
		if v := got[0].Get(h); v != want {
			t.Errorf("%s: got %q, want %q", h, v, want)
		}
	}
	if string(got[0].Data) != "{bad" || got[0].Subject != "huoma.dlq.1" || len(got[1].Data) < c.MaxPayload()/2 || !strings.Contains(got[1].Get(events.HeaderDetail), "cut") {
		t.Errorf("got %q on %s, and %d bytes", got[0].Data, got[0].Subject, len(got[1].Data))
	}
	if info, err := c.streamInfo(ctx, events.StreamDLQ); err != nil || info.State.Msgs != 2 {
		t.Errorf("%d letters, %v", info.State.Msgs, err)
	}
}

func TestTimers(t *testing.T) {
	_, c := install(t, 2)
	ctx := testContext(t)
	now := time.Now()
	for code, ats := range map[string][]time.Duration{
		"past":   {-time.Hour},
		"soon":   {800 * time.Millisecond},
		"later":  {300 * time.Millisecond, time.Hour}, // set again, further away
		"nearer": {time.Hour, 600 * time.Millisecond}, // set again, nearer
	} {
		for _, d := range ats {
			if err := c.Schedule(ctx, 1, []events.Timer{{Code: code, At: now.Add(d)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Schedule(ctx, 1, []events.Timer{{Code: "no code", At: now}}); err == nil {
		t.Error("set a timer for no code")
	}
	cl, err := c.ClaimPartition(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rewound(t, cl, 1)
	fired := map[string]time.Duration{}
	for _, m := range read(t, cl, 3) {
		if m.Subject != "huoma.ev.1.timer" {
			t.Errorf("stored on %s", m.Subject)
		}
		fired[string(m.Data)] = m.At.Sub(now)
		t.Logf("%s after %s, header %v", m.Data, m.At.Sub(now), m.Header)
	}
	for code, at := range map[string]time.Duration{"past": 0, "soon": 800 * time.Millisecond, "nearer": 600 * time.Millisecond} {
		got, ok := fired[`{"code":"`+code+`"}`]
		if !ok || got < at || got > at+700*time.Millisecond {
			t.Errorf("%s fired after %s (%t), want %s", code, got, ok, at)
		}
	}
	if err := c.Wake(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if m := read(t, cl, 1)[0]; string(m.Data) != `{"code":""}` || m.Subject != "huoma.ev.1.timer" {
		t.Errorf("wake: %s on %s", m.Data, m.Subject)
	}
	// The one still set is there, once.
	s, err := c.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("huoma.sched.>"))
	if err != nil || fmt.Sprint(info.State.Subjects) != "map[huoma.sched.1.later:1]" {
		t.Errorf("schedules left: %v, %v", info.State.Subjects, err)
	}
	for partition, want := range []map[string]time.Time{{}, {"later": now.Add(time.Hour).UTC().Round(0)}} {
		if got, err := c.Timers(ctx, partition); err != nil || !maps.Equal(got, want) {
			t.Errorf("timers of partition %d: %v, %v, want %v", partition, got, err, want)
		}
	}
}

// A timer must not be lost because events are kept for a shorter time.
func TestTimerWithinRetention(t *testing.T) {
	_, c := install(t, 1)
	ctx := testContext(t)
	if _, err := c.Ensure(ctx, Config{EventsMaxAge: 2 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := c.Schedule(ctx, 0, []events.Timer{{Code: "far", At: time.Now().Add(1000 * time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	m, err := c.last(ctx, events.StreamEvents, events.ScheduleSubject(0, "far"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(m.Get(jetstream.ScheduleHeader), "@at "))
	if err != nil || time.Until(at) > time.Hour || time.Until(at) < 59*time.Minute {
		t.Errorf("set for %s, %v", m.Get(jetstream.ScheduleHeader), err)
	}
}

func TestOverdueTimersFireAfterRestart(t *testing.T) {
	s, c := install(t, 1)
	at := time.Now().Add(500 * time.Millisecond)
	if err := c.Schedule(testContext(t), 0, []events.Timer{{Code: "a", At: at}}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	eventually(t, 5*time.Second, "due", func() bool { return time.Now().After(at) })
	s.Start()
	cl, err := c.ClaimPartition(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rewound(t, cl, 1)
	if m := read(t, cl, 1)[0]; string(m.Data) != `{"code":"a"}` {
		t.Errorf("got %s", m.Data)
	}
}

func TestTraces(t *testing.T) {
	_, c := install(t, 1)
	ctx := testContext(t)
	_, _, err := c.Trace(ctx, "0badcafe")
	wantErr(t, err, events.ErrNotFound)
	rev, err := c.PutTrace(ctx, "0badcafe", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []uint64{0, rev + 1} {
		_, err = c.PutTrace(ctx, "0badcafe", []byte("2"), wrong)
		wantErr(t, err, events.ErrConflict)
	}
	if _, err = c.PutTrace(ctx, "0badcafe", []byte("2"), rev); err != nil {
		t.Error(err)
	}
	if v, _, err := c.Trace(ctx, "0badcafe"); err != nil || string(v) != "2" {
		t.Errorf("read %q, %v", v, err)
	}
	// A name that was to be forgotten may come again.
	kv, err := c.js.KeyValue(ctx, events.BucketTraces)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "0badcafe"); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Trace(ctx, "0badcafe")
	wantErr(t, err, events.ErrNotFound)
	if _, err = c.PutTrace(ctx, "0badcafe", []byte("3"), 0); err != nil {
		t.Error(err)
	}
}
