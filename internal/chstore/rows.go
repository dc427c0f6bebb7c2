package chstore

import (
	"fmt"
	"math"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// place are the columns all tables of the log share.
type place struct {
	eventID   string
	ts        time.Time
	ingested  time.Time
	tenant    string
	code      string
	partition uint16
	seq       uint64
	idx       uint32

	dead func() ([]byte, error) // what a dead letter of this row carries
}

type (
	scanRow struct {
		place
		scan    *events.Scan
		utm     events.UTM
		verdict string
		rule    string
		target  int32
	}
	memberRow struct {
		place
		kind    string
		target  int32
		visitor string
		click   string
		count   int64
	}
	conversionRow struct {
		place
		data *events.Conversion
	}
	forgedRow struct {
		place
		data *events.Forged
	}
	noticeRow struct { // an alert or a decision
		place
		typ, kind, rule string
		target          int32
		cause           []string
		detail          string
	}
	codeRow struct {
		place
		view *code.View
	}
	commitRow struct {
		seq      uint64
		ingested time.Time
		c        *events.Commit
		n        [8]uint32 // in this step: as stepColumns
	}
)

// rowSet are the rows of a batch, in the order of the log.
type rowSet struct {
	scans       []scanRow
	members     []memberRow
	conversions []conversionRow
	forged      []forgedRow
	alerts      []noticeRow
	decisions   []noticeRow
	codes       []codeRow
	commits     []commitRow
}

// rowsOf unpacks a batch. The same batch gives the same rows. An event of a type without a table (a definition) gives none.
func rowsOf(b events.Batch) (*rowSet, error) {
	var r rowSet
	// Of each code's states the last of the batch is the one that counts.
	last := make(map[string]*code.View)
	for _, sc := range b.Commits {
		for i := range sc.Commit.Codes {
			v := &sc.Commit.Codes[i]
			last[v.ID] = v
		}
	}
	for _, sc := range b.Commits {
		c := sc.Commit
		if c.Partition < 0 || c.Partition > math.MaxUint16 {
			return nil, fmt.Errorf("commit record %d: partition %d is out of range", sc.Seq, c.Partition)
		}
		tenants := make(map[string]string, len(c.Codes))
		for _, v := range c.Codes {
			tenants[v.ID] = v.Tenant
		}
		at := func(e *events.Event, seq uint64, idx int) place {
			tenant, known := tenants[e.Subject]
			if !known {
				tenant = e.Tenant
			}
			return place{
				eventID: e.ID, ts: e.Time, ingested: b.At, tenant: tenant, code: e.Subject, partition: uint16(c.Partition), seq: seq, idx: uint32(idx),
				dead: e.Marshal,
			}
		}
		row := commitRow{seq: sc.Seq, ingested: b.At, c: c}
		for i := range c.Items {
			it := &c.Items[i]
			p := at(it.Event, it.Seq, it.Idx)
			switch d := it.Event.Data.(type) {
			case *events.Scan:
				row.n[0]++
				s := scanRow{place: p, scan: d, verdict: string(it.Verdict), rule: it.Rule, target: targetOf(it.Target)}
				if d.UTM != nil {
					s.utm = *d.UTM
				}
				r.scans = append(r.scans, s)
			case *events.Member:
				row.n[1]++
				m := memberRow{place: p, kind: "joined", target: targetOf(d.Target), visitor: d.Visitor, click: d.ClickID, count: 1}
				if it.Event.Type == events.TypeMemberLeft {
					m.kind, m.count = "left", -1
				}
				r.members = append(r.members, m)
			case *events.MemberSnapshot:
				row.n[1]++
				m := memberRow{place: p, kind: "snapshot", target: targetOf(d.Target)}
				if d.Count != nil {
					m.count = *d.Count
				}
				r.members = append(r.members, m)
			case *events.Conversion:
				row.n[2]++
				r.conversions = append(r.conversions, conversionRow{place: p, data: d})
			case *events.CodeData:
				row.n[3]++
			case *events.Forged:
				row.n[4]++
				p.tenant = it.Event.Tenant
				r.forged = append(r.forged, forgedRow{place: p, data: d})
			}
		}
		for i, e := range c.Decisions {
			n, err := noticeOf(at(e, sc.Seq, i), e)
			if err != nil {
				return nil, err
			}
			r.decisions = append(r.decisions, n)
		}
		for i, e := range c.Alerts {
			n, err := noticeOf(at(e, sc.Seq, i), e)
			if err != nil {
				return nil, err
			}
			r.alerts = append(r.alerts, n)
		}
		for i := range c.Codes {
			v := &c.Codes[i]
			if last[v.ID] != v {
				continue
			}
			r.codes = append(r.codes, codeRow{view: v, place: place{
				eventID: fmt.Sprintf("%d.%d.%d", c.Partition, c.Step, i), ts: c.Time, ingested: b.At, tenant: v.Tenant, code: v.ID,
				partition: uint16(c.Partition), seq: sc.Seq, idx: uint32(i),
				dead: func() ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) },
			}})
		}
		row.n[5], row.n[6], row.n[7] = uint32(len(c.Decisions)), uint32(len(c.Alerts)), uint32(len(c.Dead))
		r.commits = append(r.commits, row)
	}
	return &r, nil
}

func noticeOf(p place, e *events.Event) (noticeRow, error) {
	detail, err := json.Marshal(e.Data, json.Deterministic(true))
	if err != nil {
		return noticeRow{}, fmt.Errorf("event %s: %w", e.Type, err)
	}
	n := noticeRow{place: p, typ: e.Type, detail: string(detail)}
	switch d := e.Data.(type) {
	case *events.Alert:
		n.kind, n.rule, n.target, n.cause = d.Kind, d.Rule, targetOf(d.Target), d.Cause
	case *events.Decision:
		n.kind, n.rule, n.target, n.cause = d.Kind, d.Rule, targetOf(d.Target), d.Cause
	}
	return n, nil
}

func targetOf(n *int) int32 {
	if n == nil {
		return -1
	}
	return int32(*n)
}
