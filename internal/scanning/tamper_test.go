package scanning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/verify"
)

// decided is a small log with a bit of everything, one record a message.
func decided(t testing.TB) *stored {
	t.Helper()
	def := definition("c1", func(d *code.Definition) { d.ID = ours[0] })
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	s := &stored{input: []events.Message{record(t, 1, 1, epoch, minted(def))}}
	for i := range 6 { // the fifth locks, the sixth is refused
		s.input = append(s.input, record(t, uint64(i+2), i+2, at(i+1), scanBy(fmt.Sprint("s", i), def.ID, "v", at(i+1)), scanBy(fmt.Sprint("o", i), def.ID, "", at(i+1))))
	}
	join := event(events.TypeMemberJoined, "join", def.ID, at(8), &events.Member{Target: target(0), OpenID: "o1"})
	s.input = append(s.input, published(t, 8, "member", at(8), join), events.Message{Seq: 9, At: at(9), Subject: events.StoredSubject(0, "in.scan"), Data: []byte("no event")})
	s.input[3] = spooled(s.input[3], at(2).Add(500*time.Millisecond)) // half a second late
	s.take(t)
	return s
}

// take decides the input, one record a message.
func (s *stored) take(t testing.TB) {
	t.Helper()
	tr := NewTransform(0, 2, "a", testIdentity())
	for _, m := range s.input {
		b := tr.begin()
		tr.take(b, m)
		s.keep(t, tr.end(b), b.letters)
	}
}

// change rewrites commit record n, from 0.
func (s *stored) change(t testing.TB, n int, how func(c *events.Commit)) {
	t.Helper()
	c, err := events.ParseCommit(s.commits[n].Data)
	if err != nil {
		t.Fatal(err)
	}
	how(c)
	if s.commits[n].Data, err = c.Marshal(); err != nil {
		t.Fatal(err)
	}
}

func results(t testing.TB, s *stored) map[string]verify.Result {
	t.Helper()
	out := map[string]verify.Result{}
	_, err := verify.Run(context.Background(), verify.Options{Log: s, Partitions: 2, Who: asOracle(testIdentity())}, func(r verify.Result) error { out[r.Check] = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever is done to a record or a stream is found, in the check it belongs to and in no other that it says nothing of.
func TestTamperedLogs(t *testing.T) {
	for check, r := range results(t, decided(t)) {
		if r.Expected == 0 || r.Differences() != 0 {
			t.Fatalf("%s of a log that nobody touched: %+v", check, r)
		}
	}
	id := ours[0]
	for _, row := range []struct {
		name string
		do   func(s *stored)
		want map[string]string // check → first example; every other check finds nothing
	}{
		{"another verdict", func(s *stored) { s.change(t, 6, func(c *events.Commit) { c.Items[0].Verdict = code.Accepted }) },
			map[string]string{"commits.items": "different 0/7/0 s5 verdict locked accepted"}},
		{"another rule", func(s *stored) { s.change(t, 6, func(c *events.Commit) { c.Items[0].Rule = "x" }) },
			map[string]string{"commits.items": "different 0/7/0 s5 rule frequency x"}},
		{"when it was spooled", func(s *stored) {
			s.change(t, 3, func(c *events.Commit) { c.Items[1].Spooled = c.Items[1].Spooled.Add(time.Millisecond) })
		},
			map[string]string{"commits.items": "different 0/4/1 o2 spooled 2026-03-01T08:00:02.500Z 2026-03-01T08:00:02.501Z"}},
		{"it was not spooled", func(s *stored) { s.change(t, 3, func(c *events.Commit) { c.Items[0].Spooled = time.Time{} }) },
			map[string]string{"commits.items": "different 0/4/0 s2 spooled 2026-03-01T08:00:02.500Z"}},
		{"it was never spooled", func(s *stored) {
			s.change(t, 1, func(c *events.Commit) { c.Items[0].Spooled = c.Items[0].At.Add(-time.Second) })
		},
			map[string]string{"commits.items": "different 0/2/0 s0 spooled"}},
		{"the spool's header of an input", func(s *stored) { s.input[3].Header[events.HeaderSpooled][0] = events.SpooledTime(epoch) },
			map[string]string{"commits.items": "different 0/4/0 s2 spooled 2026-03-01T08:00:00.000Z 2026-03-01T08:00:02.500Z"}},
		{"led elsewhere", func(s *stored) { s.change(t, 1, func(c *events.Commit) { c.Items[1].Target = target(3) }) },
			map[string]string{"commits.items": "different 0/2/1 o0 target 0 3"}},
		{"an event's field", func(s *stored) {
			s.change(t, 2, func(c *events.Commit) { c.Items[0].Event.Data.(*events.Scan).Visitor = "w" })
		},
			map[string]string{"commits.items": `different 0/3/0 s1 data.visitor "v" "w"`}},
		{"an OpenID that was not hidden", func(s *stored) {
			s.change(t, 7, func(c *events.Commit) { c.Items[0].Event.Data.(*events.Member).OpenID = "o1" })
		},
			map[string]string{"commits.items": "different 0/8/0 join data.openid  (withheld)"}},
		{"an item is gone", func(s *stored) { s.change(t, 3, func(c *events.Commit) { c.Items = c.Items[1:] }) },
			map[string]string{"commits.items": "missing 0/4/0 s2"}},
		{"an item stands twice", func(s *stored) {
			s.change(t, 3, func(c *events.Commit) { c.Items = append(c.Items[:1:1], c.Items...) })
		},
			map[string]string{"commits.items": "extra 0/4/0 s2"}},
		{"a decision is gone", func(s *stored) { s.change(t, 5, func(c *events.Commit) { c.Decisions = nil }) },
			map[string]string{"commits.decisions": "missing 0/6/0 d." + id + ".6.0.0"}},
		{"a decision's cause", func(s *stored) {
			s.change(t, 5, func(c *events.Commit) { c.Decisions[0].Data.(*events.Decision).Cause[0] = "x" })
		},
			map[string]string{"commits.decisions": "different 0/6/0 d." + id + `.6.0.0 data.cause ["s0","s1","s2","s3","s4"] ["x","s1","s2","s3","s4"]`}},
		{"an alert more", func(s *stored) {
			s.change(t, 2, func(c *events.Commit) {
				c.Alerts = []*events.Event{event(events.TypeAlertRisk, "a.x", id, epoch, &events.Alert{Code: id, Kind: "risk"})}
			})
		}, map[string]string{"commits.alerts": "extra 0/3/0 a.x"}},
		{"a dead letter's reason", func(s *stored) { s.change(t, 8, func(c *events.Commit) { c.Dead[0].Reason = events.CodeTooOld }) },
			map[string]string{"commits.dead": "different 0/9/0  reason malformed_json too_old"}},
		{"a state", func(s *stored) { s.change(t, 4, func(c *events.Commit) { c.Codes[0].Consumed-- }) },
			map[string]string{"commits.codes": "different 0/5/0 " + id + " consumed 8 7"}},
		{"a state that was not looked at", func(s *stored) { s.change(t, 8, func(c *events.Commit) { c.Codes = []code.View{{ID: id}} }) },
			map[string]string{"commits.codes": "extra 0/9/0 " + id}},
		{"a total", func(s *stored) { s.change(t, 4, func(c *events.Commit) { c.Totals.Scans++ }) },
			map[string]string{"commits.totals": "different 0/5/0  scans 8 9"}},
		{"the time", func(s *stored) { s.change(t, 4, func(c *events.Commit) { c.Time = c.Time.Add(time.Second) }) },
			map[string]string{"commits.steps": "different 0/5/0  time 2026-03-01T08:00:04.000Z 2026-03-01T08:00:05.000Z"}},
		{"a step's number", func(s *stored) { s.change(t, 8, func(c *events.Commit) { c.Step = 12 }) },
			map[string]string{"commits.steps": "different 0/9/0  step 9 12"}},
		{"a record is gone", func(s *stored) { s.commits = slices.Delete(s.commits, 3, 4) },
			map[string]string{"commits.steps": "different 0/5/0  step 4 5", "commits.items": "missing 0/4/0 s2"}},
		{"a record stands twice", func(s *stored) {
			s.commits = append(s.commits, s.commits[8])
			s.commits[9].Seq = 10
		}, map[string]string{"commits.steps": "different 0/10/0  step 10 9", "commits.dead": "extra 0/9/0 "}},
		{"a record is no record", func(s *stored) { s.commits[2].Data = []byte("{") }, map[string]string{"commits.steps": "different 0/3/0  record a commit record"}},
		{"an input was altered", func(s *stored) {
			s.input[7].Data = []byte(strings.Replace(string(s.input[7].Data), `"join"`, `"left"`, 1))
		},
			map[string]string{"commits.items": `different 0/8/0 left id "left" "join"`}},
		{"a gateway's record is gone", func(s *stored) { // as if it had been lost before it was decided
			s.input = slices.Delete(s.input, 4, 5)
			s.commits, s.alerts, s.letters = nil, nil, nil
			s.take(t)
		}, map[string]string{"log.records": "missing 0/6/0 g1/5-5"}},
		{"an alert is gone", func(s *stored) { s.alerts = s.alerts[1:] }, map[string]string{"stream.alerts": "missing HUOMA_ALERTS a." + id}},
		{"an alert's data", func(s *stored) {
			s.alerts[1].Data = []byte(strings.Replace(string(s.alerts[1].Data), `"s0"`, `"s9"`, 1))
		},
			map[string]string{"stream.alerts": "different HUOMA_ALERTS/2 a." + id}},
		{"an alert's subject", func(s *stored) { s.alerts[0].Subject = "huoma.alert.expiry." + id }, map[string]string{"stream.alerts": "different HUOMA_ALERTS/1 a." + id}},
		{"a dead letter is gone", func(s *stored) { s.letters = nil }, map[string]string{"stream.dlq": "missing 0/9/0"}},
		{"a dead letter's bytes", func(s *stored) { s.letters[0].Data = []byte("other") }, map[string]string{"stream.dlq": "different HUOMA_DLQ/1 0/9/0 data the 8 bytes that came 5 other bytes"}},
		{"the worker stands still", func(s *stored) { s.commits = s.commits[:8] }, map[string]string{"decided": "missing 0/9/0"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := decided(t)
			row.do(s)
			for check, r := range results(t, s) {
				want, named := row.want[check]
				if !named {
					if r.Differences() > 0 && len(s.commits) == 9 && !strings.Contains(row.name, "no record") && !strings.Contains(row.name, "input") {
						t.Errorf("%s: %+v", check, r)
					}
					continue
				}
				if len(r.Examples) == 0 {
					t.Errorf("%s finds nothing, want %s", check, want)
					continue
				}
				e := r.Examples[0]
				if said := strings.Join([]string{e.Kind, e.Place, e.ID, e.Field, e.Want, e.Got}, " "); !strings.HasPrefix(said, want) {
					t.Errorf("%s says %s\nwant %s", check, said, want)
				}
			}
		})
	}
}

// Letters that were put back are taken out of their stream, and alerts and letters go with its retention: that is no loss.
func TestWhatMayBeGone(t *testing.T) {
	s := decided(t)
	s.letters, s.removed = nil, 1
	s.alerts, s.maxAge = nil, 24*time.Hour
	for check, r := range results(t, s) { // decided in March 2026, verified long after
		if r.Differences() != 0 {
			t.Errorf("%s: %+v", check, r)
		}
	}
}

// Of a log without its beginning nothing is claimed.
func TestTrimmedLog(t *testing.T) {
	for _, stream := range []string{events.StreamEvents, events.StreamDecisions} {
		s := decided(t)
		s.trimmed = stream
		n := 0
		_, err := verify.Run(t.Context(), verify.Options{Log: s, Partitions: 2, Who: asOracle(testIdentity())}, func(verify.Result) error { n++; return nil })
		if !errors.Is(err, verify.ErrTrimmed) || n != 0 || !strings.Contains(err.Error(), stream) {
			t.Errorf("%s without its first message: %d results, %v", stream, n, err)
		}
	}
}
