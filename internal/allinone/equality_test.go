package allinone_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// account is what an installation has made of its traffic, in words that do
// not depend on chance, time or place: lines by what they are about.
type account map[string][]string

// placed are columns that say where in the log a row is from. There is one
// partition here and eight there, and a message's sequence depends on what
// else was published meanwhile.
var placed = []string{"partition", "stream_seq", "idx"}

// ignored are columns of a table that may differ, besides placed.
var ignored = map[string][]string{
	// ingested_at is when the analytics worker took a batch, by its clock.
	"scans":       {"ingested_at"},
	"members":     {"ingested_at"},
	"conversions": {"ingested_at"},
	// ts is the broker's time of the step. event_id has the place of the cause in the log; the rows are compared in their order
	// instead, so a doubled or missing one is seen.
	"alerts":    {"ingested_at", "ts", "event_id"},
	"decisions": {"ingested_at", "ts", "event_id"},
	// Times of this run, by the clocks of gateways and broker, and what is reckoned from them: arrivals an hour and the estimate made
	// of it. event_id is the place of the record in the log.
	"codes": {"ingested_at", "ts", "event_id", "minted_at", "expires_at", "renewal_due_at", "renewed_at", "revoked_at", "targets.per_hour", "targets.eta_full"},
}

// ofGateways are columns that may differ in scans which a gateway took. ts is
// its clock's. answered is what it knew of the code at that moment: the lock
// that the scan before brought about may or may not have reached it, and which
// verdict is final does not depend on it.
var ofGateways = []string{"ts", "answered"}

// ofDetail are fields in the detail of alerts and decisions that are times of
// this run, or reckoned from them.
var ofDetail = []string{"until", "due_at", "per_hour", "eta_full"}

// drawn is an id that a gateway drew for the change of a definition.
var drawn = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)

// name is a text in which what was drawn by chance has the name of its step.
func (s *stage) name(v any) any {
	switch v := v.(type) {
	case string:
		if n, ok := s.names[v]; ok {
			return n
		}
		if drawn.MatchString(v) {
			return "a change of the definition"
		}
	case []any:
		for i := range v {
			v[i] = s.name(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = s.name(v[k])
		}
	}
	return v
}

// rows are a query's, each a line of JSON with its columns in order.
func (s *stage) rows(in *installation, sql string, change func(map[string]any)) (list []string) {
	s.t.Helper()
	for line := range strings.Lines(in.query(sql + " FORMAT JSONEachRow")) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			s.t.Fatalf("%s: %v: %s", sql, err, line)
		}
		if change != nil {
			change(row)
		}
		b, err := json.Marshal(s.name(row))
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}

// account reads everything. since is when the traffic began.
func (s *stage) account(in *installation, codes []*scenario, since time.Time) account {
	s.t.Helper()
	a := account{}
	drop := func(row map[string]any, names ...string) {
		for _, n := range names {
			if _, ok := row[n]; !ok {
				s.t.Fatalf("there is no column %s to be ignored in %v", n, row)
			}
			delete(row, n)
		}
	}
	for _, table := range []string{"scans", "members", "conversions", "codes"} {
		a[table] = s.rows(in, "SELECT * FROM "+table, func(row map[string]any) {
			if _, ours := s.names[fmt.Sprint(row["event_id"])]; ours {
				drop(row, ofGateways...)
			}
			drop(row, slices.Concat(placed, ignored[table])...)
		})
		slices.Sort(a[table])
	}
	for _, table := range []string{"alerts", "decisions"} {
		// In the order of each code's log.
		a[table] = s.rows(in, "SELECT * FROM "+table+" ORDER BY code_id, stream_seq, idx", func(row map[string]any) {
			drop(row, slices.Concat(placed, ignored[table])...)
			var detail map[string]any
			if err := json.Unmarshal([]byte(row["detail"].(string)), &detail); err != nil {
				s.t.Fatal(err)
			}
			for _, f := range ofDetail {
				if _, ok := detail[f]; ok {
					detail[f] = "some"
				}
			}
			row["detail"] = detail
		})
	}
	// The hour of the run may have turned in between: its hours count as one. Those of history and of producers are their own.
	hour := fmt.Sprintf("if(hour >= toDateTime('%s', 'UTC'), toDateTime('2100-01-01 00:00:00', 'UTC'), hour) AS h", since.Truncate(time.Hour).Format(time.DateTime))
	for name, sql := range map[string]string{
		"scans_hourly": "SELECT " + hour + ", tenant, code_id, verdict, rule, variant, utm_source, utm_medium, utm_campaign, province, os, sum(scans) AS n, uniqCombined64Merge(visitors) AS v" +
			" FROM scans_hourly GROUP BY ALL ORDER BY ALL",
		"members_hourly":     "SELECT " + hour + ", tenant, code_id, target, kind, sum(events) AS n, uniqCombined64Merge(visitors) AS v FROM members_hourly GROUP BY ALL ORDER BY ALL",
		"conversions_hourly": "SELECT " + hour + ", tenant, code_id, name, currency, sum(events) AS n, sum(value) AS worth, uniqCombined64Merge(visitors) AS v FROM conversions_hourly GROUP BY ALL ORDER BY ALL",
		// Each gateway counts for itself, by the minute: only the sums are the same.
		"forged":        "SELECT network, sum(count) AS n FROM forged GROUP BY ALL ORDER BY ALL",
		"forged_hourly": "SELECT sum(scans) AS n, uniqCombined64Merge(networks) AS v FROM forged_hourly",
		"verdicts":      "SELECT verdict, rule, sum(scans) AS n FROM verdicts GROUP BY ALL ORDER BY ALL",
		// Days of the run as one, for the same reason; unique visitors of a day cannot be added.
		"attribution": fmt.Sprintf("SELECT if(day >= toDate('%s'), toDate('2100-01-01'), day) AS d, campaign, source, medium, code_id, sum(accepted) AS a, sum(joins) AS j, sum(leads) AS l, sum(sales) AS s, sum(value) AS v"+
			" FROM attribution GROUP BY ALL ORDER BY ALL", since.Format(time.DateOnly)),
		"heatmap of history": "SELECT toDayOfWeek(ts) AS w, toHour(ts) AS h, count() AS n FROM scans WHERE rule = 'historical' GROUP BY ALL ORDER BY ALL",
		// first_at is the gateway's clock.
		"first_scans": "SELECT * EXCEPT (first_at) FROM first_scans ORDER BY ALL",
		// The estimates are made of arrivals in this run's time.
		"capacity":  "SELECT * EXCEPT (per_hour, eta_full, seconds_to_full, as_of) FROM capacity ORDER BY ALL",
		"reconcile": "SELECT sum(missing) AS m, sum(doubled) AS d, sum(gaps) AS g, sum(unknown) AS u FROM reconcile",
		// How many messages forged scans are counted in depends on the gateways and the minute.
		"decided": "SELECT table, sum(decided) AS n FROM reconcile_tables WHERE table != 'forged' GROUP BY ALL ORDER BY ALL",
	} {
		a[name] = s.rows(in, sql, nil)
		slices.Sort(a[name])
	}
	for n, c := range codes {
		id := c.code.ID
		if n < len(definitions) { // one of each kind
			for _, view := range []string{"funnel(code = '" + id + "')", "ab_test(code = '" + id + "')"} {
				a[view] = s.rows(in, "SELECT * FROM "+view, nil)
			}
			// By weekday and hour, and the hour of the run may have turned.
			a["heatmap of "+c.name] = s.rows(in, "SELECT sum(scans) AS n FROM heatmap(tz = 'Asia/Shanghai', code = '"+id+"')", nil)
		}
		// What each gateway says is what the others say.
		for n, g := range s.gateways {
			_, b, err := s.call(g, "GET", "/v1/codes/"+id+"/stats", "")
			if err != nil {
				s.t.Fatal(err)
			}
			var st map[string]any
			if err := json.Unmarshal(b, &st); err != nil {
				s.t.Fatal(err)
			}
			line, err := json.Marshal(map[string]any{"counts": st["counts"], "unique": st["unique"], "members": st["members"], "status": st["status"]})
			if err != nil {
				s.t.Fatal(err)
			}
			if said := a["stats of "+c.name]; n > 0 && said[0] != string(line) {
				s.t.Errorf("the gateways disagree on %s: %s and %s", c.name, said[0], line)
			}
			a["stats of "+c.name] = []string{string(line)}
		}
	}
	a["dead letters"] = s.dead()
	return a
}

// dead are the dead letters, with reason and bytes.
func (s *stage) dead() (list []string) {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), events.StreamDLQ)
	if err != nil {
		s.t.Fatal(err)
	}
	n := stream.CachedInfo().State.Msgs
	cons, err := stream.OrderedConsumer(s.t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	for range n {
		m, err := cons.Next(jetstream.FetchMaxWait(within))
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, m.Headers().Get(events.HeaderReason)+" "+m.Headers().Get(events.HeaderDetail)+" "+string(m.Data()))
	}
	slices.Sort(list)
	return list
}

// settled waits until the warehouse has all that was published.
func (s *stage) settled(in *installation) {
	s.t.Helper()
	last := ""
	until(s.t, "the log's end in the warehouse", true, func() bool {
		for _, name := range []string{events.StreamEvents, events.StreamDecisions} {
			stream, err := s.js.Stream(s.t.Context(), name)
			if err != nil {
				s.t.Fatal(err)
			}
			for c := range stream.ListConsumers(s.t.Context()).Info() {
				if (strings.HasPrefix(c.Name, "scan-") || strings.HasPrefix(c.Name, "analytics-")) && (c.NumPending > 0 || c.NumAckPending > 0) {
					return false
				}
			}
		}
		// Twice the same, with nothing on its way.
		now := in.query("SELECT sum(decided), sum(rows), sum(missing), max(last_step) FROM reconcile")
		same := now == last
		last = now
		return same
	})
}

// differ says where two accounts are not the same, a few lines each.
func differ(t testing.TB, one, many account) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(one)) {
		count := map[string]int{}
		for _, l := range one[what] {
			count[l]++
		}
		for _, l := range many[what] {
			count[l]--
		}
		shown := 0
		for _, l := range slices.Sorted(maps.Keys(count)) {
			if n := count[l]; n != 0 && shown < 6 {
				shown++
				t.Errorf("%s: %+d times in one process: %s", what, n, l)
			}
		}
		if shown == 0 && !slices.Equal(one[what], many[what]) {
			t.Errorf("%s: the same lines in another order", what)
		}
	}
	if len(one) != len(many) {
		t.Errorf("%d and %d things were compared", len(one), len(many))
	}
}

// The same traffic gives the same tables, rollups, views and statistics in
// one process with one partition, and in nine with eight, of which two die.
func TestOneProcessAndManyAgree(t *testing.T) {
	// The same keys make the same ids, tokens and hashes of visitors.
	keys, err := token.NewKeyring(bytes.NewReader(bytes.Repeat([]byte{42}, 256)), time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "keyring.json"), ring, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proxied := func(o *allinone.Options) { o.TrustedProxies = "127.0.0.0/8" }
	t.Setenv("HUOMA_TRUSTED_PROXIES", "127.0.0.0/8")
	in := start(t, dirs[0], proxied)
	p := produce(t, dirs[1])
	one, many := newStage(t, in.NATS, in), newStage(t, p.NATS, p.at(0), p.at(1))

	since := time.Now().UTC().Truncate(time.Millisecond)
	var list []*scenario
	for n := range 40 {
		kind := definitions[n%len(definitions)]
		sc := &scenario{name: fmt.Sprintf("code-%d", n), mint: strings.Replace(kind, "{", fmt.Sprintf(`{"profile":"wecom-group","name":"code-%d","campaign":"campaign-%d",`, n, n%3), 1)}
		if !strings.Contains(kind, `"rules"`) {
			sc.mint = strings.Replace(sc.mint, "{", `{"rules":[{"id":"frequency","scope":"visitor","limit":5,"window":"6h","action":"lock","for":"12h"}],`, 1)
		}
		sc.code = one.mint(n, sc)
		if m := many.mint(n, sc); m.ID != sc.code.ID || m.Token != sc.code.Token {
			t.Fatalf("%s is %s here and %s there", sc.name, sc.code.ID, m.ID)
		}
		list = append(list, sc)
	}
	owned := map[int]bool{}
	steps := 0
	for n, sc := range list {
		owned[events.Partition(sc.code.ID, partitions)] = true
		a := &author{r: rand.New(rand.NewPCG(7, uint64(n))), s: sc, base: since, keys: keys}
		a.write(n, 60)
		steps += len(sc.steps)
	}
	if len(owned) != partitions {
		t.Errorf("the codes are in %d partitions", len(owned))
	}
	one.play(list, func() {})
	// Workers that die in the middle of it change nothing.
	pids := []int{p.pid(busiest(p.owners())), p.pid("analytics-worker-1")}
	many.play(list, func() {
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("kill a worker: %v", err)
			}
		}
	})

	// Gateways tell of forged scans once a minute, and when they stop.
	in.stop()
	p.sh("restart", "gateway-1", "gateway-2")
	again := start(t, dirs[0], proxied)
	one.again(again)
	one.settled(again)
	many.settled(p.installation)
	here, there := one.account(again, list, since), many.account(p.installation, list, since)
	differ(t, here, there)

	// All of it was seen.
	for table, words := range map[string][]string{
		"scans":        {"accepted", "duplicate", "preview", "bot", "locked", "capped", "expired", "full", "revoked", "historical"},
		"decisions":    {"lock", "flag", "dry-run", "rotate", "full", "cap", "expire", "renew", "revoke", "reopen"},
		"alerts":       {"capacity", "risk", "renewal", "expiry"},
		"members":      {"joined", "left", "snapshot"},
		"conversions":  {"lead", "sale"},
		"dead letters": {"malformed_json", "unknown_type", "wrong_subject", "too_old", "too_new", "invalid", "wrong_unit", "unknown_code"},
		"forged":       {"203.0.", "2001:db8:"},
	} {
		text := strings.Join(here[table], "\n")
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("no %s among the %s", w, table)
			}
		}
	}
	t.Logf("%d steps; %d scans, %d members, %d conversions, %d alerts, %d decisions, %d dead letters", steps,
		len(here["scans"]), len(here["members"]), len(here["conversions"]), len(here["alerts"]), len(here["decisions"]), len(here["dead letters"]))
	again.stop()
	p.stop()
}

// again is the same stage after a restart.
func (s *stage) again(in *installation) {
	s.t.Helper()
	next := newStage(s.t, in.NATS, in)
	s.gateways, s.js = next.gateways, next.js
}
