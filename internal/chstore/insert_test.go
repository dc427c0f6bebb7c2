package chstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/chstore/chgen"
	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

func put1(t testing.TB, s *Store, b events.Batch) events.Inserted {
	t.Helper()
	res, err := s.Insert(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// reconciled fails unless reconcile says of the partition what is wanted: gaps, missing, doubled.
func reconciled(t testing.TB, s *Store, want string) {
	t.Helper()
	got := askOne(t, s, "SELECT sum(gaps), sum(missing), sum(doubled) FROM reconcile")
	if got != want {
		t.Errorf("reconcile says %s, want %s", got, want)
		for _, l := range ask(t, s, "SELECT * FROM reconcile_tables") {
			t.Log(l)
		}
	}
}

// rollups fails unless each rollup agrees with its table.
func rollups(t testing.TB, s *Store) {
	t.Helper()
	for _, pair := range [][2]string{
		{"SELECT count(), uniqCombined64If(visitor, visitor != '') FROM scans", "SELECT sum(scans), uniqCombined64Merge(visitors) FROM scans_hourly"},
		{"SELECT toStartOfHour(ts) h, code_id, variant, utm_campaign, verdict, count() FROM scans GROUP BY ALL ORDER BY ALL",
			"SELECT hour, code_id, variant, utm_campaign, verdict, sum(scans) FROM scans_hourly GROUP BY ALL ORDER BY ALL"},
		{"SELECT kind, count(), uniqCombined64If(visitor, visitor != '') FROM members GROUP BY kind ORDER BY kind", "SELECT kind, sum(events), uniqCombined64Merge(visitors) FROM members_hourly GROUP BY kind ORDER BY kind"},
		{"SELECT name, currency, count(), sum(value) FROM conversions GROUP BY ALL ORDER BY ALL", "SELECT name, currency, sum(events), sum(value) FROM conversions_hourly GROUP BY ALL ORDER BY ALL"},
		{"SELECT sum(count) FROM forged", "SELECT sum(scans) FROM forged_hourly"},
	} {
		raw, up := strings.Join(ask(t, s, pair[0]), "\n"), strings.Join(ask(t, s, pair[1]), "\n")
		if raw != up {
			t.Errorf("rollup disagrees:\n%s\n%.400s\nwant\n%s\n%.400s", pair[1], up, pair[0], raw)
		}
	}
}

func TestInsertTwice(t *testing.T) {
	s := migrated(t)
	g := chgen.New(1, 4)
	b := g.Batch("first", 12, 30, 0)
	first := put1(t, s, b)
	second := put1(t, s, b)
	replayed := b
	replayed.Replayed = true
	put1(t, s, replayed)
	next := g.Batch("second", 3, 30, 12)
	put1(t, s, next)
	if len(first.Dead)+len(second.Dead) > 0 {
		t.Errorf("dead letters: %v %v", first.Dead, second.Dead)
	}
	reconciled(t, s, "(0,0,0)")
	rollups(t, s)
	last := next.Commits[len(next.Commits)-1].Commit.Totals
	for table, want := range map[string]int64{"scans": last.Scans, "members": last.Members, "conversions": last.Conversions, "forged": last.Forged, "alerts": last.Alerts, "decisions": last.Decisions, "commits": 15} {
		if got := askOne(t, s, "SELECT count() FROM "+table); got != fmt.Sprintf("(%d)", want) {
			t.Errorf("%s has %s rows, want %d", table, got, want)
		}
	}
	if _, err := s.Insert(t.Context(), events.Batch{Commits: b.Commits}); ClassOf(err) != Never {
		t.Errorf("without a token: %v", err)
	}
}

// Every column holds what the commit record says.
func TestInsertColumns(t *testing.T) {
	s := migrated(t)
	at := time.Date(2026, 2, 1, 10, 20, 30, 450e6, time.UTC)
	one, two := 1, 2
	count := int64(17)
	g := chgen.New(1, 2)
	view := g.Next(40).Codes[0]
	view.Tenant, view.ID = "acme", "abc"
	event := func(id, typ string, d events.Data) *events.Event {
		return &events.Event{ID: id, Source: "s", Type: typ, Subject: "abc", Time: at, Tenant: "said", Data: d}
	}
	c := &events.Commit{
		Version: 1, Partition: 3, Step: 8, Owner: "w", Time: at.Add(time.Second), Reached: events.Place{Seq: 70, Idx: 5, More: true},
		Items: []events.Item{
			{Seq: 60, Idx: 0, Event: event("s1", events.TypeScan, &events.Scan{
				Variant: 2, Tracking: "AB12CD34", Visitor: "vis", UserAgent: "ua", Network: "net", Country: "CN", Province: "广东", City: "深圳", DeviceModel: "dm", OS: "os",
				App: "app", RefererHost: "ref", UTM: &events.UTM{Source: "us", Medium: "um", Campaign: "uc", Term: "ut", Content: "uo"}, ClickID: "k1", Answered: "locked"}),
				Verdict: "accepted", Rule: "open", Target: &one},
			{Seq: 60, Idx: 1, Event: event("s2", events.TypeScan, &events.Scan{}), Verdict: "bot", Rule: "agent"},
			{Seq: 61, Idx: 0, Event: event("m1", events.TypeMemberJoined, &events.Member{Target: &two, Visitor: "vis", ClickID: "k1"})},
			{Seq: 62, Idx: 0, Event: event("m2", events.TypeMemberLeft, &events.Member{Target: &two})},
			{Seq: 63, Idx: 0, Event: event("m3", events.TypeMemberSnapshot, &events.MemberSnapshot{Target: &two, Count: &count})},
			{Seq: 64, Idx: 2, Event: event("c1", events.TypeConversion, &events.Conversion{Name: "sale", Value: "-12345678901234.5", Currency: "CNY", ClickID: "k1", Visitor: "vis"})},
			{Seq: 65, Idx: 0, Event: &events.Event{ID: "f1", Source: "s", Type: events.TypeForged, Subject: "forged", Time: at, Data: &events.Forged{Network: "n", Count: 9}}},
		},
		Decisions: []*events.Event{event("d1", events.TypeDecision, &events.Decision{Code: "abc", Kind: "lock", Reason: "r", Rule: "visitor", Cause: []string{"s1", "s2"}})},
		Alerts:    []*events.Event{event("a1", events.TypeAlertCapacity, &events.Alert{Code: "abc", Kind: "capacity", Reason: "r", Target: &one, Percent: 80})},
		Codes:     []code.View{view},
		Dead:      []events.Dead{{Seq: 70}},
		Totals:    events.Totals{Scans: 2, Members: 3, Conversions: 1, Forged: 1, Decisions: 1, Alerts: 1, Repeated: 4, Dead: 5, Codes: 6},
	}
	put1(t, s, events.Batch{Partition: 3, Token: "t", At: at.Add(time.Minute), Commits: []events.StoredCommit{{Seq: 900, Commit: c}}})
	common := func(id string, seq, idx int) string {
		return fmt.Sprintf("'%s','2026-02-01 10:20:30.450','2026-02-01 10:21:30.450','acme','abc',3,%d,%d", id, seq, idx)
	}
	for _, row := range []struct{ sql, want string }{
		{"SELECT * FROM scans ORDER BY idx LIMIT 1", "(" + common("s1", 60, 0) + ",2,'AB12CD34','vis','accepted','open','locked',1,'us','um','uc','ut','uo','CN','广东','深圳','dm','os','app','ref','net','k1')"},
		{"SELECT * FROM scans ORDER BY idx DESC LIMIT 1", "(" + common("s2", 60, 1) + ",0,'','','bot','agent','',-1,'','','','','','','','','','','','','','')"},
		{"SELECT * FROM members WHERE kind = 'joined'", "(" + common("m1", 61, 0) + ",'joined',2,'vis','k1',1)"},
		{"SELECT * FROM members WHERE kind = 'left'", "(" + common("m2", 62, 0) + ",'left',2,'','',-1)"},
		{"SELECT * FROM members WHERE kind = 'snapshot'", "(" + common("m3", 63, 0) + ",'snapshot',2,'','',17)"},
		{"SELECT * FROM conversions", "(" + common("c1", 64, 2) + ",'sale',-12345678901234.5,'CNY','k1','vis')"},
		{"SELECT * FROM forged", "('f1','2026-02-01 10:20:30.450','2026-02-01 10:21:30.450','',3,65,0,'n',9)"},
		{"SELECT * FROM decisions", "(" + common("d1", 900, 0) + `,'huoma.decision.v1','lock',-1,'visitor',['s1','s2'],'{"code":"abc","kind":"lock","reason":"r","rule":"visitor","cause":["s1","s2"]}')`},
		{"SELECT * EXCEPT detail FROM alerts", "(" + common("a1", 900, 0) + ",'huoma.alert.capacity.v1','capacity',1,'',[])"},
		{"SELECT event_id, code_id, status, expires_at, renewal_due_at, max_scans, current, targets.n, targets.members_from, targets.eta_full FROM codes",
			fmt.Sprintf("('3.8.0','abc','active','2026-02-01 15:00:00.000',NULL,100,%d,%s)", view.Current, targets(view))},
		{"SELECT * FROM commits", "(3,8,900,'2026-02-01 10:20:31.450','2026-02-01 10:21:30.450','w',70,5,true,2,3,1,0,1,1,1,1,2,3,1,6,1,1,1,4,5)"},
	} {
		if got := askOne(t, s, row.sql); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.sql, got, row.want)
		}
	}
}

// One row that the server refuses becomes a dead letter; all others of its batch are stored, and a repetition changes nothing.
func TestInsertRefused(t *testing.T) {
	s := migrated(t)
	exec(t, s, "ALTER TABLE scans ADD CONSTRAINT poison CHECK tracking NOT LIKE 'POISON%'")
	g := chgen.New(2, 3)
	b := g.Batch("b", 6, 40, 0)
	var poisoned []string
	for _, at := range [][2]int{{0, 3}, {2, 20}, {5, 39}} {
		it := b.Commits[at[0]].Commit.Items[at[1]]
		for i := at[1]; i >= 0; i-- {
			if sc, ok := b.Commits[at[0]].Commit.Items[i].Event.Data.(*events.Scan); ok {
				it, sc.Tracking = b.Commits[at[0]].Commit.Items[i], "POISON"
				break
			}
		}
		poisoned = append(poisoned, fmt.Sprintf("%d/%d", it.Seq, it.Idx))
	}
	for range 2 {
		res := put1(t, s, b)
		var dead []string
		for _, d := range res.Dead {
			dead = append(dead, fmt.Sprintf("%d/%d", d.Seq, d.Idx))
			if d.Reason != CodeRefused || !strings.Contains(d.Detail, "469") || !strings.Contains(string(d.Data), `"POISON"`) || strings.Contains(d.Detail, "POISON") {
				t.Errorf("dead letter %+v", d)
			}
		}
		if got, want := strings.Join(dead, " "), strings.Join(poisoned, " "); got != want {
			t.Errorf("dead %s, want %s", got, want)
		}
	}
	reconciled(t, s, "(0,3,0)")
	rollups(t, s)

	// A table that takes nothing is not the rows' fault.
	exec(t, s, "ALTER TABLE members ADD CONSTRAINT broken CHECK partition > 1000")
	if _, err := s.Insert(t.Context(), g.Batch("c", 6, 40, 6)); ClassOf(err) != Never || !strings.Contains(fmt.Sprint(err), "every one") {
		t.Errorf("a table that refuses everything: %v", err)
	}
}

// After an outage that outlasts the deduplication window, or with a range the log no longer has in full, the tables are asked.
func TestInsertMissingOnly(t *testing.T) {
	for _, name := range []string{"window", "window of long history", "partial"} {
		t.Run(name, func(t *testing.T) {
			s := migrated(t)
			g := chgen.New(3, 3)
			b := g.Batch("b", 6, 40, 0)
			put1(t, s, b)
			// Part of it gets lost.
			for _, q := range []string{"scans DELETE WHERE stream_seq % 3 = 0", "members DELETE WHERE stream_seq % 2 = 0", "commits DELETE WHERE step > 4"} {
				exec(t, s, "ALTER TABLE "+q+" SETTINGS mutations_sync = 2")
			}
			b.Replayed = true
			if name == "partial" {
				b.Partial = true // and the tables remember the token: under it, nothing would go in
			} else {
				for _, table := range []string{"scans", "members", "conversions", "forged", "alerts", "decisions", "commits"} {
					exec(t, s, "ALTER TABLE "+table+" MODIFY SETTING non_replicated_deduplication_window = 0")
				}
				later := replayMargin + 1
				if name != "window" { // every later batch may have been a block in each of a hundred months
					later = dedupWindow/100 + 1
					exec(t, s, "INSERT INTO scans (partition, ts, ingested_at) SELECT 8, toDateTime64('2010-01-15 00:00:00', 3, 'UTC') + toIntervalMonth(number), now64(3) FROM numbers(100) SETTINGS max_partitions_per_insert_block = 0")
				}
				exec(t, s, fmt.Sprintf("INSERT INTO commits (partition, step, ts, ingested_at) SELECT 9, number + 1, now64(3), fromUnixTimestamp64Milli(%d) + toIntervalMillisecond(number + 1) FROM numbers(%d)", b.At.UnixMilli(), later))
			}
			res := put1(t, s, b)
			if res.Skipped == 0 || res.Rows["conversions"] != 0 || res.Rows["scans"] == 0 || res.Rows["commits"] != 2 {
				t.Errorf("inserted %v, skipped %d", res.Rows, res.Skipped)
			}
			exec(t, s, "ALTER TABLE commits DELETE WHERE partition = 9 SETTINGS mutations_sync = 2")
			reconciled(t, s, "(0,0,0)")
		})
	}
}

func TestReconcileSees(t *testing.T) {
	for _, row := range []struct{ name, change, want string }{
		{"nothing", "", "(0,0,0)"},
		{"a lost scan", "ALTER TABLE scans DELETE WHERE (stream_seq, idx) IN (SELECT stream_seq, idx FROM scans ORDER BY stream_seq LIMIT 1 OFFSET 20)", "(0,1,0)"},
		{"a lost alert", "ALTER TABLE alerts DELETE WHERE (stream_seq, idx) IN (SELECT stream_seq, idx FROM alerts LIMIT 1)", "(0,1,0)"},
		{"a doubled member event", "INSERT INTO members SELECT * FROM members LIMIT 1", "(0,0,1)"},
		{"two doubled forged counts", "INSERT INTO forged SELECT * FROM forged LIMIT 2", "(0,0,2)"},
		{"a lost commit record", "ALTER TABLE commits DELETE WHERE step = 5", "(1,0,0)"},
		{"a lost first record", "ALTER TABLE commits DELETE WHERE step = 1", "(1,0,0)"},
		{"a doubled commit record", "INSERT INTO commits SELECT * FROM commits WHERE step = 3", "(0,0,0)"},
		{"a commit record of rows not there", "INSERT INTO commits (partition, step, commit_seq, reached_seq, total_scans, total_members) SELECT 0, 13, 13, 100000, max(total_scans) + 7, max(total_members) FROM commits", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := migrated(t)
			put1(t, s, chgen.New(4, 3).Batch("b", 12, 30, 0))
			if row.change != "" {
				change := row.change
				if strings.HasPrefix(change, "ALTER") {
					change += " SETTINGS mutations_sync = 2"
				}
				exec(t, s, change)
			}
			if row.want == "" {
				got := askOne(t, s, "SELECT missing FROM reconcile_tables WHERE `table` = 'scans'")
				if got != "(7)" {
					t.Errorf("missing scans %s, want 7", got)
				}
				return
			}
			reconciled(t, s, row.want)
		})
	}
}

// Where rows expire, reconcile compares what cannot have expired.
func TestReconcileRetention(t *testing.T) {
	s := open(t, 30)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := chgen.New(5, 3)
	old := g.Batch("old", 5, 30, 0)
	old.At = old.At.AddDate(0, 0, -40)
	put1(t, s, old)
	put1(t, s, g.Batch("new", 5, 30, 5))
	for _, table := range ttlTables {
		if table != "commits" { // merges come when they come, not in all tables at once
			exec(t, s, "OPTIMIZE TABLE "+table+" FINAL")
		}
	}
	reconciled(t, s, "(0,0,0)")
	exec(t, s, "ALTER TABLE scans DELETE WHERE (stream_seq, idx) IN (SELECT stream_seq, idx FROM scans ORDER BY stream_seq DESC LIMIT 3) SETTINGS mutations_sync = 2")
	reconciled(t, s, "(0,3,0)")
}

// targets writes n, members_from and eta_full of a view's targets as ClickHouse does.
func targets(v code.View) string {
	var n, from, eta []string
	for _, t := range v.Targets {
		n, from = append(n, fmt.Sprint(t.N)), append(from, "'"+t.MembersFrom+"'")
		if t.EtaFull.IsZero() {
			eta = append(eta, "NULL")
		} else {
			eta = append(eta, t.EtaFull.Format("'2006-01-02 15:04:05.000'"))
		}
	}
	return "[" + strings.Join(n, ",") + "],[" + strings.Join(from, ",") + "],[" + strings.Join(eta, ",") + "]"
}
