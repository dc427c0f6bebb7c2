package scanning

import (
	"fmt"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// A gateway's own scan of a live picture is judged by its own time, however late it comes; a producer's by the log's, or by when a gateway spooled it.
func TestLivePicturesAreJudgedByTheTimeThatCounts(t *testing.T) {
	shown := epoch.Add(10 * time.Minute)
	type row struct {
		name    string
		message func(seq uint64) events.Message
		verdict string
	}
	scan := func(at time.Time, s events.Scan) *events.Event {
		s.ShownAt = events.FormatMinute(shown)
		return event(events.TypeScan, fmt.Sprint("s", s.Visitor, at), "c1", at, &s)
	}
	early, late := shown.Add(2*time.Minute-time.Millisecond), shown.Add(2*time.Minute)
	rows := []row{
		{"a gateway's, in time and recorded late", func(seq uint64) events.Message {
			return record(t, seq, int(seq), shown.Add(30*time.Minute), scan(early, events.Scan{Visitor: "a", Answered: "accepted"}))
		}, "accepted"},
		{"a gateway's, too late", func(seq uint64) events.Message {
			return record(t, seq, int(seq), shown.Add(30*time.Minute), scan(late, events.Scan{Visitor: "b", Answered: "expired", AnsweredRule: "live-window"}))
		}, "expired"},
		{"a robot, too late", func(seq uint64) events.Message {
			return record(t, seq, int(seq), shown.Add(30*time.Minute), scan(late, events.Scan{Answered: "bot", AnsweredRule: "declared"}))
		}, "bot"},
		{"a producer's through a gateway, that came too late", func(seq uint64) events.Message {
			return record(t, seq, int(seq), shown.Add(30*time.Minute), scan(early, events.Scan{Visitor: "c"}))
		}, "expired"},
		{"a producer's, dated in time, that came too late", func(seq uint64) events.Message {
			return published(t, seq, "scan", shown.Add(30*time.Minute), scan(early, events.Scan{Visitor: "d"}))
		}, "expired"},
		{"history", func(seq uint64) events.Message {
			e := scan(late, events.Scan{Visitor: "e"})
			e.Historical = true
			return published(t, seq, "scan", shown.Add(30*time.Minute), e)
		}, "accepted"},
		{"a token of the minute before", func(seq uint64) events.Message {
			e := event(events.TypeScan, "t1", "c1", shown, &events.Scan{Visitor: "f", Token: "c1:2@1"})
			return published(t, seq, "scan", shown.Add(30*time.Minute), e)
		}, "accepted"},
		{"a token of two minutes before, whatever its producer says", func(seq uint64) events.Message {
			e := event(events.TypeScan, "t2", "c1", shown, &events.Scan{Visitor: "g", Token: "c1:2@2", ShownAt: events.FormatMinute(shown.Add(30 * time.Minute))})
			return published(t, seq, "scan", shown.Add(30*time.Minute), e)
		}, "expired"},
		{"a printed token, whatever its producer says", func(seq uint64) events.Message {
			return published(t, seq, "scan", shown.Add(30*time.Minute), scan(late, events.Scan{Visitor: "h", Token: "c1:2"}))
		}, "accepted"},
	}
	messages := []events.Message{record(t, 1, 1, epoch, minted(definition("c1")))}
	for i, r := range rows {
		messages = append(messages, r.message(uint64(i+2)))
	}
	commits, _ := decide(t, messages...)
	for i, r := range rows {
		if len(commits[i+1].Items) != 1 {
			t.Errorf("%s: %+v", r.name, commits[i+1].Dead)
			continue
		}
		it := commits[i+1].Items[0]
		rule := map[string]string{"expired": "live-window", "bot": "declared"}[r.verdict]
		if r.name == "history" {
			rule = "historical"
		}
		if string(it.Verdict) != r.verdict || it.Rule != rule {
			t.Errorf("%s: %s, %q, want %s", r.name, it.Verdict, it.Rule, r.verdict)
		}
	}
}
