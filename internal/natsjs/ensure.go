package natsjs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// BucketAnalytics holds the analytics workers' manifests, by partition.
const BucketAnalytics = "HUOMA_ANALYTICS"

// Metadata of our streams.
const (
	metaPartitions = "huoma_partitions" // on HUOMA_EVENTS: the number of partitions
	metaLayout     = "huoma_layout"     // the layout of streams this program knows
	layout         = "1"
)

// MaxPartitions bounds the number of partitions: each costs a consumer, and a
// commit a step.
const MaxPartitions = 1024

// Forever as an age, and Unlimited as a size: no limit.
const (
	Forever   time.Duration = -1
	Unlimited int64         = -1
)

// Config is how streams and buckets should be. Zero values mean: as installed,
// or the default when nothing is.
type Config struct {
	Partitions int // fixed at installation. Default 1
	Replicas   int // 1, 3 or 5. Default 1

	// How long messages are kept. Decisions should outlast the longest time a
	// partition may be without any: its last commit record is where its next
	// owner goes on.
	EventsMaxAge    time.Duration // default 90 days
	DecisionsMaxAge time.Duration // default Forever
	AlertsMaxAge    time.Duration // default 30 days, at least DuplicateWindow
	DLQMaxAge       time.Duration // default 30 days, at least DuplicateWindow

	// How much is kept, oldest out first. Default Unlimited.
	EventsMaxBytes    int64
	DecisionsMaxBytes int64
	AlertsMaxBytes    int64
	DLQMaxBytes       int64

	// EventsDuplicates is how long the server knows the ids of events
	// published to it, at about 130 bytes of memory each. Default 2 min.
	EventsDuplicates time.Duration
}

// DuplicateWindow is how long alerts and dead letters are known by their ids.
const DuplicateWindow = 24 * time.Hour

// Installation is what is set up on a NATS.
type Installation struct {
	Partitions   int
	Replicas     int           // of the events
	EventsMaxAge time.Duration // 0: for ever
}

// IncompatibleError: something on the NATS is not as this program needs it and
// cannot be changed without losing what it means. Nothing has been altered.
type IncompatibleError struct {
	Stream string // stream or bucket
	Field  string
	Have   string
	Want   string
	Do     string // what to do
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("NATS stream %s has %s %s, this program needs %s: %s", e.Stream, e.Field, e.Have, e.Want, e.Do)
}

// Ensure makes the streams and buckets, and changes limits of those there are
// (ages, sizes, duplicate window, replicas) to what cfg says. It may be called
// any number of times, also by several processes at once. Everything is
// checked before anything is changed; what does not fit is an
// *IncompatibleError.
func (c *Conn) Ensure(ctx context.Context, cfg Config) (Installation, error) {
	have := map[string]*jetstream.StreamInfo{}
	for _, name := range []string{
		events.StreamEvents, events.StreamDecisions, events.StreamAlerts, events.StreamDLQ,
		"KV_" + events.BucketCodes, "KV_" + events.BucketTraces, "KV_" + BucketAnalytics, "OBJ_" + events.BucketState,
	} {
		info, err := c.streamInfo(ctx, name)
		if err != nil && !errors.Is(err, events.ErrNotFound) {
			return Installation{}, err
		}
		have[name] = info
	}
	if err := cfg.settle(have); err != nil {
		return Installation{}, err
	}
	if err := cfg.check(); err != nil {
		return Installation{}, err
	}
	var todo []jetstream.StreamConfig
	for _, want := range cfg.streams() {
		merged, err := merge(have[want.Name], want)
		if err != nil {
			return Installation{}, err
		}
		todo = append(todo, merged)
	}
	for _, want := range cfg.buckets() {
		if info := have[want.Name]; info != nil {
			if err := checkBucket(info.Config, want); err != nil {
				return Installation{}, err
			}
		}
	}
	for _, s := range todo {
		if info := have[s.Name]; info != nil && reflect.DeepEqual(info.Config, s) {
			continue
		}
		err := c.retry(ctx, "set up stream "+s.Name, func(ctx context.Context) error {
			_, err := c.js.CreateOrUpdateStream(ctx, s)
			return err
		})
		if err != nil {
			return Installation{}, err
		}
	}
	if err := c.ensureBuckets(ctx, cfg); err != nil {
		return Installation{}, err
	}
	// Room that is not given back today is given back another day.
	if err := c.sweepSnapshots(ctx, sweepAfter); err != nil {
		c.log.Warn("look for unfinished snapshots", "cause", err)
	}
	c.mu.Lock()
	c.inst = nil
	c.mu.Unlock()
	return c.Installation(ctx)
}

// Installation reads what is set up. events.ErrNotFound: nothing is.
func (c *Conn) Installation(ctx context.Context) (Installation, error) {
	c.mu.Lock()
	inst := c.inst
	c.mu.Unlock()
	if inst != nil {
		return *inst, nil
	}
	info, err := c.streamInfo(ctx, events.StreamEvents)
	if err != nil {
		return Installation{}, err
	}
	n, err := partitions(info.Config)
	if err != nil {
		return Installation{}, err
	}
	got := Installation{Partitions: n, Replicas: info.Config.Replicas, EventsMaxAge: info.Config.MaxAge}
	c.mu.Lock()
	c.inst = &got
	c.mu.Unlock()
	return got, nil
}

// CheckPartitions holds the number a role was told (0: none) against the
// installation's.
func (i Installation) CheckPartitions(told int) error {
	if told == 0 || told == i.Partitions {
		return nil
	}
	return &IncompatibleError{Stream: events.StreamEvents, Field: "partitions", Have: strconv.Itoa(i.Partitions), Want: strconv.Itoa(told), Do: partitionsFixed}
}

const partitionsFixed = "the number is fixed at installation: leave --partitions out, or set it to the installed number"

func (c *Conn) streamInfo(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	err = c.retry(ctx, "read stream "+name, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		info = s.CachedInfo()
		return nil
	})
	return info, err
}

func partitions(s jetstream.StreamConfig) (int, error) {
	v, ok := s.Metadata[metaPartitions]
	n, err := strconv.Atoi(v)
	if !ok || err != nil || n < 1 {
		return 0, &IncompatibleError{Stream: s.Name, Field: "metadata " + metaPartitions, Have: strconv.Quote(v), Want: "a number",
			Do: "the stream was not made by Huoma: use another NATS account for it, or move the stream away"}
	}
	return n, nil
}

func (cfg *Config) check() error {
	if cfg.Partitions < 0 || cfg.Partitions > MaxPartitions {
		return fmt.Errorf("%d partitions: choose from 1 to %d", cfg.Partitions, MaxPartitions)
	}
	if !slices.Contains([]int{0, 1, 3, 5}, cfg.Replicas) {
		return fmt.Errorf("%d replicas: choose 1, 3 or 5", cfg.Replicas)
	}
	for _, a := range []struct {
		name string
		age  *time.Duration
		def  time.Duration
		min  time.Duration
	}{
		{"events", &cfg.EventsMaxAge, 90 * 24 * time.Hour, time.Hour},
		{"decisions", &cfg.DecisionsMaxAge, Forever, 24 * time.Hour},
		{"alerts", &cfg.AlertsMaxAge, 30 * 24 * time.Hour, DuplicateWindow},
		{"dead letters", &cfg.DLQMaxAge, 30 * 24 * time.Hour, DuplicateWindow},
	} {
		if *a.age == 0 {
			*a.age = a.def
		}
		if *a.age > 0 && *a.age < a.min {
			return fmt.Errorf("%s kept for %s: choose at least %s", a.name, *a.age, a.min)
		}
	}
	for _, b := range []*int64{&cfg.EventsMaxBytes, &cfg.DecisionsMaxBytes, &cfg.AlertsMaxBytes, &cfg.DLQMaxBytes} {
		if *b <= 0 {
			*b = Unlimited
		}
	}
	if cfg.EventsDuplicates == 0 {
		cfg.EventsDuplicates = 2 * time.Minute
	}
	if cfg.EventsDuplicates < 0 || cfg.EventsMaxAge > 0 && cfg.EventsDuplicates > cfg.EventsMaxAge {
		return fmt.Errorf("a duplicate window of %s: choose one longer than nothing and no longer than events are kept", cfg.EventsDuplicates)
	}
	return nil
}

// settle takes from what is installed what cfg leaves open.
func (cfg *Config) settle(have map[string]*jetstream.StreamInfo) error {
	for _, s := range []struct {
		name  string
		age   *time.Duration
		bytes *int64
	}{
		{events.StreamEvents, &cfg.EventsMaxAge, &cfg.EventsMaxBytes},
		{events.StreamDecisions, &cfg.DecisionsMaxAge, &cfg.DecisionsMaxBytes},
		{events.StreamAlerts, &cfg.AlertsMaxAge, &cfg.AlertsMaxBytes},
		{events.StreamDLQ, &cfg.DLQMaxAge, &cfg.DLQMaxBytes},
	} {
		info := have[s.name]
		if info == nil {
			continue
		}
		if *s.age == 0 {
			*s.age = cmp.Or(info.Config.MaxAge, Forever)
		}
		if *s.bytes == 0 {
			*s.bytes = info.Config.MaxBytes
		}
	}
	installed := have[events.StreamEvents]
	if installed == nil {
		cfg.Partitions, cfg.Replicas = max(cfg.Partitions, 1), max(cfg.Replicas, 1)
		return nil
	}
	n, err := partitions(installed.Config)
	if err != nil {
		return err
	}
	if err := (Installation{Partitions: n}).CheckPartitions(cfg.Partitions); err != nil {
		return err
	}
	cfg.Partitions = n
	cfg.Replicas = cmp.Or(cfg.Replicas, installed.Config.Replicas)
	cfg.EventsDuplicates = cmp.Or(cfg.EventsDuplicates, installed.Config.Duplicates)
	return nil
}

// streams are the streams as they should be.
func (cfg *Config) streams() []jetstream.StreamConfig {
	age := func(d time.Duration) time.Duration { return max(d, 0) } // the server's 0 is for ever
	meta := map[string]string{metaLayout: layout}
	eventsMeta := map[string]string{metaLayout: layout, metaPartitions: strconv.Itoa(cfg.Partitions)}
	list := []jetstream.StreamConfig{{
		Name: events.StreamEvents, Description: "Huoma: what happened",
		Subjects:          []string{events.SubjectIn, events.SubjectEvents, events.SubjectSchedule},
		SubjectTransform:  &jetstream.SubjectTransformConfig{Source: events.TransformSource, Destination: events.TransformDestination(cfg.Partitions)},
		AllowMsgSchedules: true, AllowRollup: true, // a schedule replaces the one before it
		MaxAge: age(cfg.EventsMaxAge), MaxBytes: cfg.EventsMaxBytes, Duplicates: cfg.EventsDuplicates, Metadata: eventsMeta,
	}, {
		Name: events.StreamDecisions, Description: "Huoma: what it means, a commit subject per partition",
		Subjects: []string{events.CommitFilter},
		MaxAge:   age(cfg.DecisionsMaxAge), MaxBytes: cfg.DecisionsMaxBytes, Duplicates: 2 * time.Minute, Metadata: meta,
	}, {
		Name: events.StreamAlerts, Description: "Huoma: alerts",
		Subjects: []string{"huoma.alert.>"},
		MaxAge:   age(cfg.AlertsMaxAge), MaxBytes: cfg.AlertsMaxBytes, Duplicates: DuplicateWindow, Metadata: meta,
	}, {
		Name: events.StreamDLQ, Description: "Huoma: what could not be understood",
		Subjects: []string{"huoma.dlq.*"},
		MaxAge:   age(cfg.DLQMaxAge), MaxBytes: cfg.DLQMaxBytes, Duplicates: DuplicateWindow, Metadata: meta,
	}}
	for i := range list {
		list[i].Storage, list[i].Retention, list[i].Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardOld
		list[i].Replicas = cfg.Replicas
		// Direct reads may come from a replica that is behind; where the fence
		// is concerned, only the leader's word counts.
		list[i].AllowDirect = false
	}
	return list
}

// merge is the stream there is with our limits on it, or why that cannot be.
// What Huoma has no opinion on stays as an operator set it.
func merge(info *jetstream.StreamInfo, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	if info == nil {
		return want, nil
	}
	have := info.Config
	moved := "move the stream away or use another NATS account, Huoma does not change it"
	for _, f := range []struct{ field, have, want string }{
		{"subjects", fmt.Sprint(slices.Sorted(slices.Values(have.Subjects))), fmt.Sprint(slices.Sorted(slices.Values(want.Subjects)))},
		{"subject transform", transform(have.SubjectTransform), transform(want.SubjectTransform)},
		{"retention policy", have.Retention.String(), want.Retention.String()},
		{"storage", have.Storage.String(), want.Storage.String()},
		{"discard policy", have.Discard.String(), want.Discard.String()},
		{"persist mode", have.PersistMode.String(), want.PersistMode.String()},
		{"no-ack", strconv.FormatBool(have.NoAck), "false"},
		{"sealed", strconv.FormatBool(have.Sealed), "false"},
		{"mirror", strconv.FormatBool(have.Mirror != nil), "false"},
		{"sources", strconv.FormatBool(len(have.Sources) > 0), "false"},
		{"message limit", limit(have.MaxMsgs), limit(-1)},
		{"message limit per subject", limit(have.MaxMsgsPerSubject), limit(-1)},
		{"message size limit", limit(int64(have.MaxMsgSize)), limit(-1)},
		{"layout", have.Metadata[metaLayout], layout},
	} {
		if f.have != f.want {
			return have, &IncompatibleError{Stream: want.Name, Field: f.field, Have: f.have, Want: f.want, Do: moved}
		}
	}
	have.MaxAge, have.MaxBytes, have.Duplicates, have.Replicas = want.MaxAge, want.MaxBytes, want.Duplicates, want.Replicas
	have.AllowMsgSchedules = have.AllowMsgSchedules || want.AllowMsgSchedules
	have.AllowRollup = have.AllowRollup || want.AllowRollup
	have.AllowDirect = want.AllowDirect
	have.Metadata = maps.Clone(have.Metadata)
	maps.Copy(have.Metadata, want.Metadata)
	return have, nil
}

func transform(t *jetstream.SubjectTransformConfig) string {
	if t == nil {
		return "none"
	}
	return t.Source + " to " + t.Destination
}

func limit(n int64) string {
	if n <= 0 {
		return "none"
	}
	return strconv.FormatInt(n, 10)
}

// bucket is a KV bucket or object store as it should be, by its stream's name.
type bucket struct {
	Name     string
	Subjects []string
}

func (cfg *Config) buckets() []bucket {
	return []bucket{
		{"KV_" + events.BucketCodes, []string{"$KV." + events.BucketCodes + ".>"}},
		{"KV_" + events.BucketTraces, []string{"$KV." + events.BucketTraces + ".>"}},
		{"KV_" + BucketAnalytics, []string{"$KV." + BucketAnalytics + ".>"}},
		{"OBJ_" + events.BucketState, []string{"$O." + events.BucketState + ".C.>", "$O." + events.BucketState + ".M.>"}},
	}
}

func checkBucket(have jetstream.StreamConfig, want bucket) error {
	for _, f := range []struct{ field, have, want string }{
		{"subjects", fmt.Sprint(slices.Sorted(slices.Values(have.Subjects))), fmt.Sprint(want.Subjects)},
		{"retention policy", have.Retention.String(), jetstream.LimitsPolicy.String()},
		{"storage", have.Storage.String(), jetstream.FileStorage.String()},
		{"maximum age", have.MaxAge.String(), "0s"},
		{"size limit", limit(have.MaxBytes), limit(-1)},
		{"sealed", strconv.FormatBool(have.Sealed), "false"},
		{"mirror", strconv.FormatBool(have.Mirror != nil), "false"},
	} {
		if f.have != f.want {
			return &IncompatibleError{Stream: want.Name, Field: f.field, Have: f.have, Want: f.want,
				Do: "move the bucket away or use another NATS account, Huoma does not change it"}
		}
	}
	return nil
}

func (c *Conn) ensureBuckets(ctx context.Context, cfg Config) error {
	for name, what := range map[string]string{
		events.BucketCodes: "Huoma: code definitions", events.BucketTraces: "Huoma: whose watermarks are", BucketAnalytics: "Huoma: manifests of the analytics workers",
	} {
		err := c.retry(ctx, "set up bucket "+name, func(ctx context.Context) error {
			_, err := c.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: name, Description: what, History: 1, Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return c.retry(ctx, "set up bucket "+events.BucketState, func(ctx context.Context) error {
		_, err := c.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: events.BucketState, Description: "Huoma: snapshots of the scan workers", Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
		})
		return err
	})
}
