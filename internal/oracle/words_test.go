package oracle_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
	"github.com/huoma/huoma/internal/risk"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// story is one code and what is told to the oracle of it, as the product's description has it.
type story struct {
	t   *testing.T
	p   *oracle.Partition
	seq uint64
	def code.Definition
}

func tell(t *testing.T, change func(*code.Definition)) *story {
	s := &story{t: t, p: oracle.New(0, 1, nobody), def: code.Definition{
		ID: "c", Revision: 1, Profile: "test", Countdown: code.CountdownNone, WarnPercent: 80, MintedAt: t0, ChangedAt: t0,
		Targets: []code.Target{{N: 0, URL: "https://example.com/0"}, {N: 1, URL: "https://example.com/1"}},
	}}
	change(&s.def)
	s.record(0, events.TypeCodeMinted, &events.CodeData{Definition: s.def})
	return s
}

// record tells one event at some time after the mint and returns what it led to, in words.
func (s *story) record(after time.Duration, typ string, data events.Data) (said []string) {
	s.t.Helper()
	s.seq++
	e := &events.Event{ID: fmt.Sprint("e", s.seq), Source: "g", Type: typ, Subject: "c", Time: t0.Add(after), Data: data}
	b, err := events.MarshalBatch([]*events.Event{e})
	if err != nil {
		s.t.Fatal(err)
	}
	r := s.p.Read(events.Message{Seq: s.seq, At: t0.Add(after), Subject: events.StoredSubject(0, events.KindGateway), Data: b, Header: map[string][]string{
		events.HeaderProducer: {"g"}, events.HeaderRecord: {strconv.FormatUint(s.seq, 10)},
	}})
	o, _ := r.Next()
	if o.Item == nil {
		s.t.Fatalf("not taken: %+v", o.Letter)
	}
	if o.Item.Verdict != "" {
		said = append(said, o.Item.Verdict)
	}
	for _, d := range o.Decisions {
		said = append(said, d.Data.(*events.Decision).Kind)
	}
	for _, a := range o.Alerts {
		said = append(said, a.Data.(*events.Alert).Kind+"!")
	}
	return said
}

func (s *story) scan(after time.Duration, visitor string) []string {
	s.t.Helper()
	return s.record(after, events.TypeScan, &events.Scan{Visitor: visitor, Answered: "accepted"})
}

func (s *story) member(after time.Duration, typ string) []string {
	s.t.Helper()
	zero := 0
	return s.record(after, typ, &events.Member{Target: &zero})
}

func (s *story) want(what string, got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// The oracle is held to the words of the product itself, with the numbers they give.
func TestWordsOfTheProduct(t *testing.T) {
	const sec = time.Second
	lockout := func(d *code.Definition) { d.Rules = risk.DefaultRules() }

	s := tell(t, lockout)
	for i := range 4 {
		s.want("a scan", s.scan(time.Duration(i)*sec, "v"), "accepted")
	}
	s.want("the fifth within exactly 30 s", s.scan(30*sec, "v"), "accepted", "lock", "risk!")
	s.want("another visitor", s.scan(31*sec, "w"), "accepted")
	s.want("the locked one, ten minutes later but for a nanosecond", s.scan(10*time.Minute+30*sec-1, "v"), "locked")
	s.want("and ten minutes later", s.scan(10*time.Minute+30*sec, "v"), "accepted", "unlock")

	s = tell(t, lockout)
	for i := range 4 {
		s.scan(time.Duration(i)*sec, "v")
	}
	s.want("the fifth a nanosecond too late", s.scan(30*sec+1, "v"), "accepted")

	s = tell(t, func(d *code.Definition) { d.Targets[0].Capacity = 10 })
	for i := range 7 {
		s.want("a join", s.member(time.Duration(i)*sec, events.TypeMemberJoined))
	}
	s.want("80 %", s.member(8*sec, events.TypeMemberJoined), "capacity!")
	s.want("more", s.member(9*sec, events.TypeMemberJoined))
	s.want("80 % again", s.member(10*sec, events.TypeMemberLeft))
	s.want("70 %", s.member(11*sec, events.TypeMemberLeft))
	s.want("armed again", s.member(12*sec, events.TypeMemberJoined), "capacity!")
	s.member(13*sec, events.TypeMemberJoined)
	s.want("100 %: the next target", s.member(14*sec, events.TypeMemberJoined), "rotate")

	s = tell(t, func(d *code.Definition) { d.MaxScans = 2 })
	s.scan(sec, "v")
	s.want("the last scan of the cap", s.scan(2*sec, "v"), "accepted", "cap")
	s.want("beyond", s.scan(3*sec, "v"), "capped")

	s = tell(t, func(d *code.Definition) {
		d.Countdown, d.Validity, d.Longest = code.CountdownSliding, span.Span(2*time.Hour), span.Span(3*time.Hour)
	})
	s.want("within the validity", s.scan(2*time.Hour-1, "v"), "accepted")
	s.want("which that scan restarted", s.scan(3*time.Hour-1, "v"), "accepted")
	s.want("but never past the longest", s.scan(3*time.Hour, "v"), "expired", "expire", "expiry!")

	s = tell(t, func(d *code.Definition) { d.RenewalEvery = span.Span(72 * time.Hour) })
	s.want("before the reminder", s.scan(48*time.Hour-1, "v"), "accepted")
	s.want("24 h before the renewal is due", s.scan(48*time.Hour, "v"), "accepted", "renewal!")
	s.want("once", s.scan(49*time.Hour, "v"), "accepted")
	s.want("when it is due", s.scan(72*time.Hour, "v"), "expired", "expire", "renewal!", "expiry!")

	s = tell(t, func(d *code.Definition) { d.Dedupe = span.Span(10 * sec) })
	s.scan(0, "v")
	s.want("the same visitor and picture again", s.scan(10*sec, "v"), "duplicate")
	s.want("later", s.scan(10*sec+time.Millisecond, "v"), "accepted")
	if v, _ := s.p.View("c"); v.Counts["accepted"] != 2 || v.Counts["duplicate"] != 1 || v.Unique != 1 || v.Consumed != 2 {
		t.Errorf("view %+v", v)
	}
}
