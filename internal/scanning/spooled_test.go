package scanning

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
)

// spooled is a gateway's record as it comes out of a spool.
func spooled(m events.Message, at time.Time) events.Message {
	h := map[string][]string{events.HeaderSpooled: {events.SpooledTime(at)}}
	for k, v := range m.Header {
		h[k] = v
	}
	m.Header = h
	return m
}

// A record's time in the spool counts where it is believed, to the millisecond.
func TestWhichSpooledTimesAreBelieved(t *testing.T) {
	now := epoch.Add(30 * time.Hour)
	mint := record(t, 1, 1, epoch, minted(definition("c1", func(d *code.Definition) { d.Validity, d.Longest = span.Span(90*24*time.Hour), 0 })))
	for _, row := range []struct {
		name, header string
		want         time.Time // zero: the broker's
	}{
		{"none", "", time.Time{}},
		{"a while ago", events.SpooledTime(now.Add(-time.Hour)), now.Add(-time.Hour)},
		{"just now", events.SpooledTime(now.Add(-time.Millisecond)), now.Add(-time.Millisecond)},
		{"now", events.SpooledTime(now), time.Time{}},
		{"later than the broker's", events.SpooledTime(now.Add(time.Millisecond)), time.Time{}},
		{"25 h ago", events.SpooledTime(now.Add(-25 * time.Hour)), now.Add(-25 * time.Hour)},
		{"longer ago", events.SpooledTime(now.Add(-25*time.Hour - time.Millisecond)), time.Time{}},
		{"no milliseconds", "2026-03-02T13:00:00Z", time.Time{}},
		{"another zone", "2026-03-02T13:00:00.000+00:00", time.Time{}},
		{"nonsense", "yesterday", time.Time{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			made := now
			if !row.want.IsZero() {
				made = row.want
			}
			m := record(t, 2, 2, now, scanBy("s", "c1", "v", made))
			if row.header != "" {
				m.Header[events.HeaderSpooled] = []string{row.header}
			}
			commits, letters := decide(t, mint, m)
			if len(letters) > 0 || len(commits[1].Items) != 1 {
				t.Fatalf("dead letters: %+v", letters)
			}
			it := commits[1].Items[0]
			if !it.Spooled.Equal(row.want) || !it.At.Equal(now) {
				t.Errorf("spooled %v, at %v, want %v", it.Spooled, it.At, row.want)
			}
			if got := commits[1].Codes[0].First.At; !got.Equal(made) {
				t.Errorf("the first scan is of %v, want %v", got, made)
			}
		})
	}
	// It is a gateway's word, and nobody else's.
	m := spooled(published(t, 2, "scan", now, scanBy("s", "c1", "v", now)), now.Add(-time.Hour))
	commits, _ := decide(t, mint, m)
	if it := commits[1].Items[0]; !it.Spooled.IsZero() {
		t.Errorf("a producer's header was believed: %v", it.Spooled)
	}
}

func TestAgesOfWhatWasSpooled(t *testing.T) {
	now := epoch.Add(60 * time.Hour)
	mint := record(t, 1, 1, epoch, minted(definition("c1", func(d *code.Definition) { d.Validity, d.Longest = span.Span(90*24*time.Hour), 0 })))
	own := func(age time.Duration) *events.Event { return scanBy("s", "c1", "v", now.Add(-age)) }
	other := func(age time.Duration) *events.Event {
		return event(events.TypeMemberJoined, "j", "c1", now.Add(-age), &events.Member{Target: target(0)})
	}
	for _, row := range []struct {
		name string
		e    *events.Event
		ago  time.Duration // when it was spooled
		want events.Code
	}{
		{"a scan, an outage of 25 h", own(25 * time.Hour), 25 * time.Hour, ""},
		{"a scan, a longer one", own(25*time.Hour + time.Second), 25*time.Hour + time.Second, events.CodeTooOld},
		{"a scan dated more than 24 h before it was spooled", own(26*time.Hour + time.Millisecond), 2 * time.Hour, events.CodeTooOld},
		{"a producer's event, 24 h before it was spooled", other(25 * time.Hour), time.Hour, ""},
		{"a moment more", other(25*time.Hour + time.Millisecond), time.Hour, events.CodeTooOld},
		{"for longer than its repeats are told", other(25*time.Hour + time.Millisecond), 2 * time.Hour, events.CodeTooOld},
		{"5 min ahead when it was spooled", other(55 * time.Minute), time.Hour, ""},
		{"a moment more ahead", other(55*time.Minute - time.Millisecond), time.Hour, events.CodeTooNew},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, letters := decide(t, mint, spooled(record(t, 2, 2, now, row.e), now.Add(-row.ago)))
			var got events.Code
			if len(letters) > 0 {
				got = letters[0].Reason
			}
			if got != row.want {
				t.Errorf("reason %q, want %q", got, row.want)
			}
		})
	}
}

// A code that has expired when the spool arrives: what was answered stays a
// fact, and the verdict is the log's. Locks and their ends go by the log's time.
func TestStateKeepsTheClock(t *testing.T) {
	now := epoch.Add(2 * time.Hour)
	late := spooled(record(t, 2, 2, now, scanBy("s", "c1", "v", epoch.Add(time.Minute))), epoch.Add(time.Minute))
	commits, _ := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), late)
	it := commits[1].Items[0]
	if it.Verdict != code.Expired || it.Event.Data.(*events.Scan).Answered != "accepted" {
		t.Errorf("verdict %s, answered %s", it.Verdict, it.Event.Data.(*events.Scan).Answered)
	}

	list := []events.Message{record(t, 1, 1, epoch, minted(definition("c1", func(d *code.Definition) { d.Validity, d.Longest = span.Span(24*time.Hour), 0 })))}
	for i := range 6 {
		at := epoch.Add(time.Minute + time.Duration(i)*time.Second)
		list = append(list, spooled(record(t, uint64(i+2), i+2, now, scanBy(fmt.Sprint("s", i), "c1", "v", at)), at))
	}
	commits, _ = decide(t, list...)
	if got := strings.Join(verdicts(commits), " "); got != "accepted accepted accepted accepted accepted locked" {
		t.Errorf("verdicts = %s", got)
	}
	lock := commits[5].Decisions[0]
	if until := lock.Data.(*events.Decision).Until; !lock.Time.Equal(now) || !until.Equal(now.Add(10*time.Minute)) {
		t.Errorf("locked at %v until %v", lock.Time, until)
	}
}

// The same record stored directly, late, and out of the spool: it counts once.
func TestDirectAndSpooledAreOne(t *testing.T) {
	m := record(t, 2, 2, epoch.Add(time.Minute), scanBy("s", "c1", "v", epoch))
	for name, pair := range map[string][2]events.Message{
		"direct first":  {m, spooled(m, epoch)},
		"spooled first": {spooled(m, epoch), m},
	} {
		pair[1].Seq = 3
		commits, _ := decide(t, record(t, 1, 1, epoch, minted(definition("c1"))), pair[0], pair[1])
		if got := commits[2].Totals; got.Scans != 1 || got.Repeated != 1 {
			t.Errorf("%s: totals = %+v", name, got)
		}
	}
}
