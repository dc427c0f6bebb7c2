package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// column is a column that the log determines, and how the warehouse writes it as text.
type column struct{ name, sql string }

// table is a table of the warehouse with a place (partition, stream_seq, idx) in every row. Its rows are held and compared as one text:
// the columns in their order, with zero bytes between, which no column holds.
type table struct {
	name    string
	idx     string   // SQL of the place within stream_seq
	seq     string   // SQL of the sequence
	commits bool     // the sequence is that of a commit record, else of the input
	columns []column // without the place, and without ingested_at, which the log does not determine
}

// text are columns that are text.
func text(names ...string) (out []column) {
	for _, n := range names {
		out = append(out, column{n, "CAST(" + n + " AS String)"})
	}
	return out
}

func moments(names ...string) (out []column) {
	for _, n := range names {
		out = append(out, column{n, "toString(toUnixTimestamp64Milli(" + n + "))"})
	}
	return out
}

// maybe are moments that may be NULL.
func maybe(names ...string) (out []column) {
	for _, n := range names {
		out = append(out, column{n, "if(isNull(" + n + "), '', toString(toUnixTimestamp64Milli(assumeNotNull(" + n + "))))"})
	}
	return out
}

func numbers(names ...string) (out []column) {
	for _, n := range names {
		out = append(out, column{n, "toString(" + n + ")"})
	}
	return out
}

func columns(groups ...[]column) []column { return slices.Concat(groups...) }

// The tables, by their numbers in tables.
const (
	scans = iota
	members
	conversions
	forged
	alerts
	decisions
	commits
)

var notice = columns(text("event_id"), moments("ts"), text("tenant", "code_id", "type", "kind"), numbers("target"), text("rule"),
	[]column{{"cause", "arrayStringConcat(cause, '\\x01')"}}, text("detail"))

var tables = [...]table{
	scans: {name: "scans", seq: "stream_seq", idx: "idx", columns: columns(text("event_id"), moments("ts"), text("tenant", "code_id"), numbers("variant"),
		text("tracking", "visitor", "verdict", "rule", "answered"), numbers("target"),
		text("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "country", "province", "city", "device_model", "os", "app", "referrer_host", "network", "click_id"))},
	members: {name: "members", seq: "stream_seq", idx: "idx", columns: columns(text("event_id"), moments("ts"), text("tenant", "code_id", "kind"),
		numbers("target"), text("visitor", "click_id"), numbers("count"))},
	conversions: {name: "conversions", seq: "stream_seq", idx: "idx", columns: columns(text("event_id"), moments("ts"), text("tenant", "code_id", "name"),
		numbers("value"), text("currency", "click_id", "visitor"))},
	forged:    {name: "forged", seq: "stream_seq", idx: "idx", columns: columns(text("event_id"), moments("ts"), text("tenant", "network"), numbers("count"))},
	alerts:    {name: "alerts", seq: "stream_seq", idx: "idx", commits: true, columns: notice},
	decisions: {name: "decisions", seq: "stream_seq", idx: "idx", commits: true, columns: notice},
	commits: {name: "commits", seq: "commit_seq", idx: "toUInt32(0)", commits: true, columns: columns(numbers("step"), moments("ts"), text("owner"),
		numbers("reached_seq", "reached_idx"), []column{{"reached_more", "toString(toUInt8(reached_more))"}},
		numbers("step_scans", "step_members", "step_conversions", "step_codes", "step_forged", "step_decisions", "step_alerts", "step_dead",
			"total_scans", "total_members", "total_conversions", "total_codes", "total_forged", "total_decisions", "total_alerts", "total_repeated", "total_dead"))},
}

// codesTable has one row a code: its newest state.
var codesTable = table{name: "codes", columns: columns(text("event_id"), moments("ts"), text("tenant", "code_id"), numbers("revision"),
	text("name", "profile", "campaign", "source", "medium", "owner", "status", "reason"), moments("minted_at"),
	maybe("expires_at", "renewal_due_at", "renewed_at", "revoked_at"), numbers("max_scans", "current", "consumed"),
	[]column{{"counts", "arrayStringConcat(arraySort(arrayMap((k, n) -> concat(CAST(k AS String), '=', toString(n)), mapKeys(counts), mapValues(counts))), ',')"}},
	numbers("unique"),
	[]column{{"targets", "arrayStringConcat(arrayMap((n, m, f, c, s, r, e) -> concatWithSeparator(' ', toString(n), toString(m), CAST(f AS String), toString(c), toString(s), " +
		"toString(reinterpretAsUInt64(r)), if(isNull(e), '', toString(toUnixTimestamp64Milli(assumeNotNull(e))))), " +
		"targets.n, targets.members, targets.members_from, targets.capacity, targets.scans, targets.per_hour, targets.eta_full), ',')"}})}

// row is what one row of a table must be.
type row struct {
	seq  uint64
	idx  uint32
	text string
	old  bool // the warehouse may have let it go, by its retention
}

// line is the text of a row.
type line struct{ b strings.Builder }

func (l *line) text(list ...string) *line {
	for _, s := range list {
		if l.b.Len() > 0 {
			l.b.WriteByte(0)
		}
		l.b.WriteString(s)
	}
	return l
}

func number[N ~int | ~int32 | ~int64 | ~uint8 | ~uint64](n N) string { return fmt.Sprint(n) }

// keep notes the rows that follow from a record and from what its input has led to.
func (s *side) keep(r record, out []oracle.Outcome, decided, alerted []*events.Event, touched map[string]bool) {
	old := s.v.expect.old(r.stored)
	hold := func(t int, seq uint64, idx int, l *line) {
		s.held[t] = append(s.held[t], row{seq, uint32(idx), l.b.String(), old})
		s.rows++
	}
	tenants := make(map[string]string, len(touched))
	views := make(map[string]oracle.View, len(touched))
	for id := range touched {
		if view, ok := s.o.View(id); ok {
			tenants[id], views[id] = view.Tenant, view
		}
	}
	tenantOf := func(e *events.Event) string {
		if t, known := tenants[e.Subject]; known {
			return t
		}
		return e.Tenant
	}
	var n [8]int
	for i := range out {
		o := &out[i]
		if o.Letter != nil {
			n[7]++
			s.v.expect.letter(s.p, o)
		}
		if o.Item == nil {
			continue
		}
		e := o.Item.Event
		l := new(line).text(e.ID, millis(e.Time))
		switch d := e.Data.(type) {
		case *events.Scan:
			n[0]++
			var u events.UTM
			if d.UTM != nil {
				u = *d.UTM
			}
			tenant := tenantOf(e)
			hold(scans, o.Seq, o.Idx, l.text(tenant, e.Subject, strconv.Itoa(d.Variant), d.Tracking, d.Visitor, o.Item.Verdict, o.Item.Rule, d.Answered,
				strconv.Itoa(o.Item.Target), u.Source, u.Medium, u.Campaign, u.Term, u.Content, d.Country, d.Province, d.City, d.DeviceModel, d.OS, d.App,
				d.RefererHost, d.Network, d.ClickID))
			s.v.expect.scan(tenant, e, d, u, o.Item)
		case *events.Member:
			n[1]++
			kind, count := "joined", "1"
			if e.Type == events.TypeMemberLeft {
				kind, count = "left", "-1"
			}
			hold(members, o.Seq, o.Idx, l.text(tenantOf(e), e.Subject, kind, strconv.Itoa(*d.Target), d.Visitor, d.ClickID, count))
			s.v.expect.member(tenantOf(e), e, *d.Target, kind, d.Visitor)
		case *events.MemberSnapshot:
			n[1]++
			hold(members, o.Seq, o.Idx, l.text(tenantOf(e), e.Subject, "snapshot", strconv.Itoa(*d.Target), "", "", strconv.FormatInt(*d.Count, 10)))
			s.v.expect.member(tenantOf(e), e, *d.Target, "snapshot", "")
		case *events.Conversion:
			n[2]++
			hold(conversions, o.Seq, o.Idx, l.text(tenantOf(e), e.Subject, d.Name, decimal(fourths(string(d.Value))), d.Currency, d.ClickID, d.Visitor))
			s.v.expect.conversion(tenantOf(e), e, d)
		case *events.CodeData:
			n[3]++
		case *events.Forged:
			n[4]++
			hold(forged, o.Seq, o.Idx, l.text(e.Tenant, d.Network, strconv.FormatInt(d.Count, 10)))
			s.v.expect.forged(e, d)
		}
	}
	n[5], n[6] = len(decided), len(alerted)
	for i, e := range decided {
		hold(decisions, r.seq, i, noticeLine(e, tenantOf(e)))
	}
	for i, e := range alerted {
		hold(alerts, r.seq, i, noticeLine(e, tenantOf(e)))
		s.v.expect.alert(e, r.stored)
	}
	c, t := r.c, s.o.Totals()
	more := "0"
	if c.Reached.More {
		more = "1"
	}
	l := new(line).text(number(c.Step), millis(s.o.Clock()), c.Owner, number(c.Reached.Seq), number(c.Reached.Idx), more)
	for _, k := range n {
		l.text(strconv.Itoa(k))
	}
	for _, k := range []int64{t.Scans, t.Members, t.Conversions, t.Codes, t.Forged, t.Decisions, t.Alerts, t.Repeated, t.Dead} {
		l.text(number(k))
	}
	hold(commits, r.seq, 0, l)
	s.states(r, views)
}

func noticeLine(e *events.Event, tenant string) *line {
	detail, err := json.Marshal(e.Data, json.Deterministic(true))
	if err != nil {
		detail = []byte(err.Error()) // no row has this
	}
	var kind, rule string
	var target *int
	var cause []string
	switch d := e.Data.(type) {
	case *events.Decision:
		kind, rule, target, cause = d.Kind, d.Rule, d.Target, d.Cause
	case *events.Alert:
		kind, rule, target, cause = d.Kind, d.Rule, d.Target, d.Cause
	}
	n := -1
	if target != nil {
		n = *target
	}
	return new(line).text(e.ID, millis(e.Time), tenant, e.Subject, e.Type, kind, strconv.Itoa(n), rule, strings.Join(cause, "\x01"), string(detail))
}

// codeRow is the newest state of a code that a record tells.
type codeRow struct {
	seq  uint64 // of the record
	idx  int
	text string
}

// states notes the states of codes that a record tells, in the order of their ids.
func (s *side) states(r record, views map[string]oracle.View) {
	if s.touched == nil {
		s.touched = make(map[string]codeRow)
	}
	ids := make([]string, 0, len(views))
	for id := range views {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i, id := range ids {
		v := views[id]
		var counts, targets []string
		for verdict, n := range v.Counts {
			counts = append(counts, verdict+"="+number(n))
		}
		slices.Sort(counts)
		for _, t := range v.Targets {
			eta := ""
			if !t.EtaFull.IsZero() {
				eta = millis(t.EtaFull)
			}
			targets = append(targets, strings.Join([]string{number(t.N), number(t.Members), t.MembersFrom, number(t.Capacity), number(t.Scans),
				number(math.Float64bits(t.PerHour)), eta}, " "))
		}
		l := new(line).text(fmt.Sprintf("%d.%d.%d", s.p, r.c.Step, i), millis(s.o.Clock()), v.Tenant, v.ID, number(v.Revision),
			v.Name, v.Profile, v.Campaign, v.Source, v.Medium, v.Owner, v.Status, v.Reason, millis(v.MintedAt))
		for _, at := range []string{orNull(v.ExpiresAt), orNull(v.RenewalDueAt), orNull(v.RenewedAt), orNull(v.RevokedAt)} {
			l.text(at)
		}
		l.text(number(v.MaxScans), number(v.Current), number(v.Consumed), strings.Join(counts, ","), number(v.Unique), strings.Join(targets, ","))
		s.touched[v.Tenant+"\x00"+id] = codeRow{r.seq, i, l.b.String()}
	}
}
