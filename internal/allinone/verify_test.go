package allinone_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/cli"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/internal/verify"
)

// verified runs huoma verify and returns what it says of each check, and its exit status.
func (in *installation) verified(args ...string) (checks map[string]verify.Result, events int64, status int) {
	in.t.Helper()
	var out, stderr bytes.Buffer
	app := &cli.App{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &stderr}
	status = app.Main(in.t.Context(), append([]string{"verify", "--json", "--gateway", in.Gateway, "--api-key", apiKey, "--nats-url", in.NATS,
		"--clickhouse-url", "clickhouse://" + in.ClickHouse + "/huoma", "--keyring", in.keys}, args...))
	checks = make(map[string]verify.Result)
	type said struct {
		verify.Result
		Events      int64
		Differences *int64
	}
	var last said
	for line := range strings.Lines(out.String()) {
		last = said{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			in.t.Fatalf("not one JSON object a line: %v: %q", err, line)
		}
		if last.Check != "all" {
			checks[last.Check] = last.Result
		}
	}
	if last.Check != "all" || last.Differences == nil {
		in.t.Fatalf("huoma verify: exit status %d: %s%s", status, &stderr, &out)
	}
	if (status == 0) != (*last.Differences == 0) || (status == 0) != (stderr.Len() == 0) {
		in.t.Errorf("exit status %d with %d differences: %s", status, *last.Differences, &stderr)
	}
	return checks, last.Events, status
}

// proven holds everything that exists against what the log must have led to.
func (in *installation) proven() {
	in.t.Helper()
	checks, _, _ := in.verified()
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if r := checks[name]; r.Differences() != 0 {
			in.t.Errorf("huoma verify: %+v", r)
		}
	}
}

// traffic is a little of everything there is.
func (in *installation) traffic() (code minted) {
	in.t.Helper()
	code = in.mint(map[string]any{"profile": "wecom-group", "campaign": "spring", "targets": []any{
		map[string]any{"url": "https://example.com/first", "capacity": 10}, map[string]any{"url": "https://example.com/second"},
	}})
	nc, err := nats.Connect(in.NATS)
	if err != nil {
		in.t.Fatal(err)
	}
	defer nc.Close()
	publish := func(kind, data string) {
		in.t.Helper()
		if err := nc.Publish(events.InSubject(kind, code.ID), []byte(data)); err != nil {
			in.t.Fatal(err)
		}
	}
	visitor := in.person()
	for range 5 {
		visitor.scan(code.ScanURL)
	}
	until(in.t, "the sixth scan", http.StatusTooManyRequests, func() int { return visitor.scan(code.ScanURL).StatusCode })
	visitor.scan(strings.Replace(code.ScanURL, code.Token, strings.Repeat("A", len(code.Token)), 1))
	for i := range 8 {
		publish("member", cloudEvent(events.TypeMemberJoined, fmt.Sprint("join-", i), code.ID, `{"target":0,"openid":"o`+fmt.Sprint(i)+`"}`))
	}
	publish("member", cloudEvent(events.TypeMemberJoined, "join-1", code.ID, `{"target":0}`))
	publish("member", cloudEvent(events.TypeMemberSnapshot, "size", code.ID, `{"target":0,"count":10}`))
	publish("conversion", cloudEvent(events.TypeConversion, "sale", code.ID, `{"openid":"o1","name":"sale","value":12.50,"currency":"CNY"}`))
	publish("scan", cloudEvent(events.TypeScan, "a scan of theirs", code.ID, `{"openid":"o2","user_agent":"`+phone+`","network":"203.0.113.77"}`))
	publish("scan", "not json")
	if err := nc.Flush(); err != nil {
		in.t.Fatal(err)
	}
	until(in.t, "rows", "10\t1\t1\t1", func() string {
		return in.query("SELECT (SELECT count() FROM members WHERE kind != 'none') + 1, (SELECT count() FROM conversions), (SELECT sum(step_dead) FROM commits), (SELECT count() FROM scans WHERE event_id = 'a scan of theirs')")
	})
	return code
}

// Nothing is different until somebody takes a row away, adds one, changes one, or does the same to a stream: then it is found and named.
func TestVerifyNamesWhatIsWrong(t *testing.T) {
	in := start(t, t.TempDir(), func(o *allinone.Options) { o.Streams = role.Streams{Partitions: 2} })
	code := in.traffic()
	in.proven()
	checks, n, _ := in.verified()
	if n < 15 {
		t.Errorf("%d events", n)
	}
	for name, r := range checks {
		if r.Expected == 0 && !strings.HasPrefix(name, "forged") {
			t.Errorf("%s had nothing to check", name)
		}
	}

	have := make(map[string][]string)
	for line := range strings.SplitSeq(in.query("SELECT `table`, name FROM system.columns WHERE database = 'huoma' AND name != 'ingested_at' AND `table` IN "+
		"(SELECT name FROM system.tables WHERE database = 'huoma' AND engine LIKE '%MergeTree' AND name != 'schema_migrations') ORDER BY `table`, name"), "\n") {
		table, column, _ := strings.Cut(line, "\t")
		have[table] = append(have[table], column)
	}
	known := verify.Columns()
	for table := range have {
		if !reflect.DeepEqual(known[table], have[table]) {
			t.Errorf("huoma verify compares the columns %v of %s, which has %v: teach the new ones to internal/verify, and what they say to internal/oracle", known[table], table, have[table])
		}
		delete(known, table)
	}
	if len(known) > 0 {
		t.Errorf("the database has no tables %v", known)
	}

	nc, err := nats.Connect(in.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream := func(name string) jetstream.Stream {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const atOnce = " SETTINGS mutations_sync = 2"
	wrong := map[string]bool{} // what has been made wrong so far, and stays so
	for _, row := range []struct {
		name  string
		do    func()
		found map[string]string // by check: what is said of the first example, or a part of it
	}{
		{"a row is gone", func() { in.query("ALTER TABLE scans DELETE WHERE event_id = 'a scan of theirs'" + atOnce) },
			map[string]string{"scans": "missing a scan of theirs", "reconcile": "different missing 0 1"}},
		{"a row is there twice", func() { in.query("INSERT INTO members SELECT * FROM members WHERE event_id = 'join-3'") },
			map[string]string{"members": "extra join-3", "members_hourly": "different count 8 9"}},
		{"a value is another", func() { in.query("ALTER TABLE conversions UPDATE value = 13 WHERE event_id = 'sale'" + atOnce) },
			map[string]string{"conversions": "different sale value 12.5 13"}},
		{"a decision has another cause", func() { in.query("ALTER TABLE decisions UPDATE cause = ['x'] WHERE kind = 'rotate'" + atOnce) },
			map[string]string{"decisions": "different d." + code.ID}},
		{"an alert's row is gone", func() { in.query("ALTER TABLE alerts DELETE WHERE kind = 'capacity'" + atOnce) }, map[string]string{"alerts": "missing a." + code.ID}},
		{"a rollup counts more visitors", func() {
			in.query("INSERT INTO scans_hourly SELECT hour, tenant, code_id, verdict, rule, variant, utm_source, utm_medium, utm_campaign, province, os, 0, " +
				"uniqCombined64State('nobody') FROM scans_hourly WHERE verdict = 'locked' GROUP BY ALL LIMIT 1")
		}, map[string]string{"scans_hourly": "different visitors 1 2"}},
		{"a state is newer than the log", func() {
			in.query("INSERT INTO codes_log SELECT * REPLACE (stream_seq + 1000 AS stream_seq, consumed + 1 AS consumed) FROM codes WHERE code_id = '" + code.ID + "'")
		},
			map[string]string{"codes": "different " + code.ID + " consumed"}},
		{"rows of a partition that is none", func() { in.query("INSERT INTO conversions SELECT * REPLACE (7 AS partition) FROM conversions LIMIT 1") },
			map[string]string{"conversions": "different sale", "conversions_hourly": "different count 1 2"}},
		{"an alert is gone", func() { done(stream(events.StreamAlerts).DeleteMsg(t.Context(), 1)) }, map[string]string{"stream.alerts": "missing a." + code.ID}},
		{"an alert is told twice", func() {
			m, err := stream(events.StreamAlerts).GetMsg(t.Context(), 2)
			done(err)
			_, err = js.Publish(t.Context(), m.Subject, m.Data)
			done(err)
		}, map[string]string{"stream.alerts": "extra a." + code.ID}},
		{"a dead letter that nothing led to", func() {
			m := nats.NewMsg(events.DLQSubject(0))
			m.Header.Set(events.HeaderPlace, "0/1/77")
			_, err := js.PublishMsg(t.Context(), m)
			done(err)
		}, map[string]string{"stream.dlq": "extra 0/1/77"}},
		{"a record is forged", func() { in.forge(js, code.ID) }, map[string]string{"commits.steps": "different step", "commits.items": "extra"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.do()
			checks, _, status := in.verified("--wait", "0s")
			if status != 1 {
				t.Errorf("exit status %d", status)
			}
			for name, want := range row.found {
				wrong[name] = true
				if !slices.ContainsFunc(checks[name].Examples, func(e verify.Example) bool {
					said := strings.Join(strings.Fields(strings.Join([]string{e.Kind, e.ID, e.Field, e.Want, e.Got}, " ")), " ")
					return strings.HasPrefix(said, want)
				}) {
					t.Errorf("%s says %+v, want an example that begins with %q", name, checks[name], want)
				}
			}
			wrong["reconcile"] = true // rows that are gone or doubled are its own to find
			if row.name == "a record is forged" {
				return // and everything follows from it
			}
			for name, r := range checks {
				if r.Differences() > 0 && !wrong[name] {
					t.Errorf("%s: %+v", name, r)
				}
			}
		})
	}
}

// forge appends a record that decides the last one's input again, otherwise.
func (in *installation) forge(js jetstream.JetStream, code string) {
	in.t.Helper()
	p := events.Partition(code, 2)
	s, err := js.Stream(in.t.Context(), events.StreamDecisions)
	if err != nil {
		in.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(in.t.Context(), within)
	defer cancel()
	m, err := s.GetLastMsgForSubject(ctx, events.CommitSubject(p))
	if err != nil {
		in.t.Fatal(err)
	}
	last, err := events.ParseCommit(m.Data)
	if err != nil {
		in.t.Fatal(err)
	}
	last.Items = []events.Item{{Seq: 1, At: time.Now().UTC(), Verdict: "locked", Event: &events.Event{
		ID: "forged", Source: "x", Type: events.TypeScan, Subject: code, Time: time.Now().UTC(), Data: &events.Scan{},
	}}}
	payload, err := last.Marshal()
	if err != nil {
		in.t.Fatal(err)
	}
	if _, err := js.Publish(ctx, events.CommitSubject(p), payload); err != nil {
		in.t.Fatal(err)
	}
}
