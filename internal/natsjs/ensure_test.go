package natsjs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// configs are the configurations of all streams, by name.
func configs(t testing.TB, c *Conn) map[string]jetstream.StreamConfig {
	t.Helper()
	got := map[string]jetstream.StreamConfig{}
	list := c.js.ListStreams(testContext(t))
	for info := range list.Info() {
		got[info.Config.Name] = info.Config
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEnsureTwiceAndUpgrade(t *testing.T) {
	s := natstest.New(t)
	c := connect(t, s.URL())
	ctx := testContext(t)
	_, err := c.Installation(ctx)
	wantErr(t, err, events.ErrNotFound)

	inst, err := c.Ensure(ctx, Config{Partitions: 3, EventsMaxAge: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if inst.Partitions != 3 || inst.Replicas != 1 || inst.EventsMaxAge != 48*time.Hour {
		t.Errorf("installation %+v", inst)
	}
	before := configs(t, c)
	if len(before) != 8 {
		t.Errorf("made %d streams, want 8: %v", len(before), before)
	}
	if got := before[events.StreamAlerts].Duplicates; got != 24*time.Hour {
		t.Errorf("duplicate window of alerts is %s", got)
	}

	// The same again, by another process that leaves the number open.
	other := connect(t, s.URL())
	if inst, err = other.Ensure(ctx, Config{EventsMaxAge: 48 * time.Hour}); err != nil || inst.Partitions != 3 {
		t.Fatalf("again: %+v, %v", inst, err)
	}
	if after := configs(t, c); !reflect.DeepEqual(before, after) {
		t.Errorf("the second call changed\n%+v\nto\n%+v", before, after)
	}

	// What an operator added stays; limits follow the configuration.
	op := before[events.StreamEvents]
	op.Metadata = maps.Clone(op.Metadata)
	op.Metadata["team"] = "growth"
	if _, err := c.js.UpdateStream(ctx, op); err != nil {
		t.Fatal(err)
	}
	inst, err = c.Ensure(ctx, Config{EventsMaxAge: 72 * time.Hour, EventsMaxBytes: 1 << 30, EventsDuplicates: time.Hour, DecisionsMaxAge: 480 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	got := configs(t, c)
	ev := got[events.StreamEvents]
	if ev.MaxAge != 72*time.Hour || ev.MaxBytes != 1<<30 || ev.Duplicates != time.Hour || ev.Metadata["team"] != "growth" || inst.EventsMaxAge != 72*time.Hour {
		t.Errorf("upgraded to %+v", ev)
	}
	if d := got[events.StreamDecisions]; d.MaxAge != 480*time.Hour {
		t.Errorf("decisions kept for %s", d.MaxAge)
	}
	if err := inst.CheckPartitions(3); err != nil {
		t.Error(err)
	}
	var ie *IncompatibleError
	if err := inst.CheckPartitions(4); !errors.As(err, &ie) || !strings.Contains(err.Error(), "partitions 3") {
		t.Errorf("told 4: %v", err)
	}
}

// A role that is told no limits leaves them as they are, and makes what an
// interrupted start has not made.
func TestEnsureLeavesWhatItIsNotTold(t *testing.T) {
	c := connect(t, natstest.New(t).URL())
	ctx := testContext(t)
	told := Config{
		Partitions: 2, EventsMaxAge: 48 * time.Hour, EventsMaxBytes: 1 << 30, EventsDuplicates: time.Hour, DecisionsMaxAge: 480 * time.Hour,
		AlertsMaxAge: 100 * time.Hour, DLQMaxAge: 200 * time.Hour,
	}
	if _, err := c.Ensure(ctx, told); err != nil {
		t.Fatal(err)
	}
	before := configs(t, c)
	if err := c.js.DeleteStream(ctx, events.StreamDLQ); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ensure(ctx, Config{DLQMaxAge: 200 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if after := configs(t, c); !reflect.DeepEqual(before, after) {
		t.Errorf("changed\n%+v\nto\n%+v", before, after)
	}
	if _, err := c.Ensure(ctx, Config{EventsMaxBytes: Unlimited, DecisionsMaxAge: Forever}); err != nil {
		t.Fatal(err)
	}
	after := configs(t, c)
	if e, d := after[events.StreamEvents], after[events.StreamDecisions]; e.MaxBytes != -1 || e.MaxAge != 48*time.Hour || d.MaxAge != 0 {
		t.Errorf("events %+v, decisions %+v; want the limits lifted and the age left", e, d)
	}
}

func TestEnsureRefuses(t *testing.T) {
	edit := func(name string, change func(*jetstream.StreamConfig)) func(context.Context, *Conn) error {
		return func(ctx context.Context, c *Conn) error {
			s, err := c.js.Stream(ctx, name)
			if err != nil {
				return err
			}
			cfg := s.CachedInfo().Config
			change(&cfg)
			if _, err = c.js.UpdateStream(ctx, cfg); err == nil {
				return nil
			}
			// Some of it the server changes only by making it anew.
			if err := c.js.DeleteStream(ctx, name); err != nil {
				return err
			}
			_, err = c.js.CreateStream(ctx, cfg)
			return err
		}
	}
	for _, row := range []struct {
		name          string
		change        func(context.Context, *Conn) error
		partitions    int
		stream, field string
	}{
		{"another number of partitions", nil, 5, events.StreamEvents, "partitions"},
		{"not ours", edit(events.StreamEvents, func(s *jetstream.StreamConfig) { s.Metadata = nil }), 0, events.StreamEvents, "metadata huoma_partitions"},
		{"more subjects", edit(events.StreamEvents, func(s *jetstream.StreamConfig) { s.Subjects = append(s.Subjects, "more") }), 0, events.StreamEvents, "subjects"},
		{"no transform", edit(events.StreamEvents, func(s *jetstream.StreamConfig) { s.SubjectTransform = nil }), 0, events.StreamEvents, "subject transform"},
		{"another transform", edit(events.StreamEvents, func(s *jetstream.StreamConfig) {
			s.SubjectTransform.Destination = events.TransformDestination(9)
		}), 0, events.StreamEvents, "subject transform"},
		{"retention", edit(events.StreamDecisions, func(s *jetstream.StreamConfig) { s.Retention = jetstream.InterestPolicy }), 0, events.StreamDecisions, "retention policy"},
		{"storage", edit(events.StreamAlerts, func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }), 0, events.StreamAlerts, "storage"},
		{"one commit a subject", edit(events.StreamDecisions, func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 1 }), 0, events.StreamDecisions, "message limit per subject"},
		{"discard", edit(events.StreamDLQ, func(s *jetstream.StreamConfig) { s.Discard = jetstream.DiscardNew }), 0, events.StreamDLQ, "discard policy"},
		{"codes that age", edit("KV_"+events.BucketCodes, func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour }), 0, "KV_" + events.BucketCodes, "maximum age"},
		{"snapshots in memory", edit("OBJ_"+events.BucketState, func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }), 0, "OBJ_" + events.BucketState, "storage"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, c := install(t, 2)
			ctx := testContext(t)
			if row.change != nil {
				if err := row.change(ctx, c); err != nil {
					t.Fatal(err)
				}
			}
			before := configs(t, c)
			_, err := c.Ensure(ctx, Config{Partitions: row.partitions, EventsMaxAge: 99 * time.Hour, DecisionsMaxAge: 99 * time.Hour})
			var ie *IncompatibleError
			if !errors.As(err, &ie) || ie.Stream != row.stream || ie.Field != row.field || ie.Do == "" {
				t.Fatalf("got %v, want one that names %s and %s", err, row.stream, row.field)
			}
			if after := configs(t, c); !reflect.DeepEqual(before, after) {
				t.Errorf("it altered\n%+v\nto\n%+v", before, after)
			}
		})
	}
}

func TestEnsureBadConfig(t *testing.T) {
	_, c := install(t, 1)
	for _, cfg := range []Config{
		{Partitions: -1}, {Partitions: MaxPartitions + 1}, {Replicas: 2}, {EventsMaxAge: time.Minute}, {AlertsMaxAge: time.Hour}, {EventsDuplicates: -1},
		{EventsMaxAge: 2 * time.Hour, EventsDuplicates: 3 * time.Hour},
	} {
		if _, err := c.Ensure(t.Context(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// The server's partition() and ours put every code into the same partition.
func TestPartitionIsTheServers(t *testing.T) {
	codes := make([]string, 0, 2000)
	for i := range 2000 {
		codes = append(codes, []string{
			fmt.Sprintf("%012x", i*2654435761), fmt.Sprint("c", i), strings.Repeat("z", 1+i%60) + fmt.Sprint(i), fmt.Sprintf("A-%d_b", i),
		}[i%4])
	}
	for _, n := range []int{1, 2, 3, 7, 8, 64} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			_, c := install(t, n)
			ctx := testContext(t)
			for i, code := range codes {
				kind := []string{"scan", "member", "conversion"}[i%3]
				if err := c.nc.Publish(events.InSubject(kind, code), []byte(kind+" "+code)); err != nil {
					t.Fatal(err)
				}
			}
			seen, enough := 0, errors.New("enough")
			used := map[int]bool{}
			f := feed{stream: events.StreamEvents, filters: []string{"huoma.>"}, next: 1}
			err := c.follow(ctx, &f, func(d *delivery) error {
				kind, code, _ := strings.Cut(string(d.Data), " ")
				if want := events.StoredSubject(events.Partition(code, n), "in."+kind); d.Subject != want {
					return fmt.Errorf("%s of %s is stored as %s, want %s", kind, code, d.Subject, want)
				}
				used[events.Partition(code, n)] = true
				if seen++; seen == len(codes) {
					return enough
				}
				return nil
			})
			wantErr(t, err, enough)
			if len(used) != n {
				t.Errorf("only %d of %d partitions are used", len(used), n)
			}
		})
	}
}

// Whatever is published below huoma.in is stored and reaches one claim.
func TestOddSubjectsReachAClaim(t *testing.T) {
	_, c := install(t, 4)
	odd := map[string]int{ // subject → partition
		"huoma.in.scan":              0,
		"huoma.in.scan.abc.def":      0,
		"huoma.in.scan.a.b.c.d":      0,
		"huoma.in.nonsense.code1":    events.Partition("code1", 4),
		"huoma.in.conversion.code2":  events.Partition("code2", 4),
		"huoma.in.member.code-three": events.Partition("code-three", 4),
	}
	for s := range odd {
		if _, err := c.js.Publish(testContext(t), s, []byte(s)); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	got := map[string]int{}
	for p := range 4 {
		want := 0
		for _, where := range odd {
			if where == p {
				want++
			}
		}
		if want == 0 {
			continue
		}
		cl, err := c.ClaimPartition(testContext(t), p)
		if err != nil {
			t.Fatal(err)
		}
		rewound(t, cl, 1)
		for _, m := range read(t, cl, want) {
			got[string(m.Data)] = p
		}
		if err := cl.Close(); err != nil {
			t.Error(err)
		}
		n := 0
		if err := c.Replay(testContext(t), p, 1, 1000, func(events.Message) error { n++; return nil }); err != nil || n != want {
			t.Errorf("replay of partition %d: %d messages, %v; want %d", p, n, err, want)
		}
	}
	if !maps.Equal(got, odd) {
		t.Errorf("got %v, want %v", got, odd)
	}
}

func TestClaimRefusesForeignConsumer(t *testing.T) {
	_, c := install(t, 1)
	_, err := c.js.CreateConsumer(testContext(t), events.StreamEvents, jetstream.ConsumerConfig{Durable: "scan-0", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ClaimPartition(testContext(t), 0)
	var ie *IncompatibleError
	if !errors.As(err, &ie) || ie.Stream != events.StreamEvents {
		t.Errorf("got %v", err)
	}
}
