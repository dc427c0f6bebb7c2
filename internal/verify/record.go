package verify

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// compare holds one commit record against what its input must have led to, and keeps the rows that follow from it.
func (s *side) compare(ctx context.Context, r record) error {
	steps := s.v.check("commits.steps")
	steps.Expected++
	at := place(s.p, r.seq, 0)
	if r.err != nil {
		steps.different(at, "", difference{"record", "a commit record", r.err.Error()})
		return nil
	}
	steps.Found++
	c := r.c
	var wrong []difference
	note := func(field string, want, got any) {
		if want != got {
			wrong = append(wrong, difference{field, fmt.Sprint(want), fmt.Sprint(got)})
		}
	}
	note("partition", s.p, c.Partition)
	note("step", s.step+1, c.Step)
	if s.reached.Covers(c.Reached.Seq, c.Reached.Idx) && (c.Reached.More || !s.reached.More || c.Reached.Seq < s.reached.Seq) {
		wrong = append(wrong, difference{"reached", fmt.Sprintf("beyond %d/%d", s.reached.Seq, s.reached.Idx), fmt.Sprintf("%d/%d", c.Reached.Seq, c.Reached.Idx)})
	}
	out := s.advance(c.Reached)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	note("time", events.FormatTime(s.o.Clock()), events.FormatTime(c.Time))
	if len(wrong) > 0 {
		steps.different(at, "", wrong...)
	}
	s.step, s.reached, s.commit = c.Step, c.Reached, r.seq

	s.items(out, c)
	var decisions, alerts []*events.Event
	codes := make(map[string]bool)
	for i := range out {
		decisions = append(decisions, out[i].Decisions...)
		alerts = append(alerts, out[i].Alerts...)
		if id := out[i].Touched; id != "" {
			codes[id] = true
		}
	}
	notices(s.v.check("commits.decisions"), at, decisions, c.Decisions)
	notices(s.v.check("commits.alerts"), at, alerts, c.Alerts)
	s.dead(out, c)
	s.codes(codes, c, at)
	s.totals(c, at)
	s.keep(r, out, decisions, alerts, codes)
	return nil
}

// items compares the events that were taken, with what they came to.
func (s *side) items(out []oracle.Outcome, c *events.Commit) {
	check := s.v.check("commits.items")
	got := c.Items
	check.Found += int64(len(got))
	for i := range out {
		o := &out[i]
		if o.Item == nil {
			continue
		}
		check.Expected++
		for len(got) > 0 && cmp.Or(cmp.Compare(got[0].Seq, o.Seq), cmp.Compare(got[0].Idx, o.Idx)) < 0 {
			check.extra(place(s.p, got[0].Seq, got[0].Idx), got[0].Event.ID)
			got = got[1:]
		}
		at := place(s.p, o.Seq, o.Idx)
		if len(got) == 0 || got[0].Seq != o.Seq || got[0].Idx != o.Idx {
			check.missing(at, o.Item.Event.ID)
			continue
		}
		var wrong []difference
		note := func(field, want, got string) {
			if want != got {
				wrong = append(wrong, difference{field, want, got})
			}
		}
		it := &got[0]
		got = got[1:]
		target := -1
		if it.Target != nil {
			target = *it.Target
		}
		note("verdict", o.Item.Verdict, string(it.Verdict))
		note("rule", o.Item.Rule, it.Rule)
		note("target", fmt.Sprint(o.Item.Target), fmt.Sprint(target))
		note("at", events.FormatTime(o.At), events.FormatTime(it.At))
		note("spooled", events.FormatTime(o.Spooled), events.FormatTime(it.Spooled))
		if !reflect.DeepEqual(o.Item.Event, it.Event) {
			wrong = append(wrong, eventDifferences(o.Item.Event, it.Event)...)
		}
		if len(wrong) > 0 {
			check.different(at, o.Item.Event.ID, wrong...)
		}
	}
	for i := range got {
		check.extra(place(s.p, got[i].Seq, got[i].Idx), got[i].Event.ID)
	}
}

// notices compares decisions or alerts, in their order.
func notices(check *Result, at string, want, got []*events.Event) {
	check.Expected += int64(len(want))
	check.Found += int64(len(got))
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(e *events.Event) bool { return e.ID == w.ID })
		if i < 0 {
			check.missing(at, w.ID)
			continue
		}
		wrong := eventDifferences(w, rest[i])
		if i > 0 && rest[0] != nil && slices.ContainsFunc(want, func(e *events.Event) bool { return e.ID == rest[0].ID }) {
			wrong = append(wrong, difference{"order", w.ID, rest[0].ID})
		}
		rest = slices.Delete(rest, i, i+1)
		if len(wrong) > 0 {
			check.different(at, w.ID, wrong...)
		}
	}
	for _, e := range rest {
		check.extra(at, e.ID)
	}
}

// dead compares what could not be taken.
func (s *side) dead(out []oracle.Outcome, c *events.Commit) {
	check := s.v.check("commits.dead")
	got := c.Dead
	check.Found += int64(len(got))
	for i := range out {
		o := &out[i]
		if o.Letter == nil {
			continue
		}
		check.Expected++
		at := place(s.p, o.Seq, o.Idx)
		j := slices.IndexFunc(got, func(d events.Dead) bool { return d.Seq == o.Seq && d.Idx == o.Idx })
		if j < 0 {
			check.missing(at, "")
			continue
		}
		for _, d := range got[:j] {
			check.extra(place(s.p, d.Seq, d.Idx), "")
		}
		if got[j].Reason != o.Letter.Reason {
			check.different(at, "", difference{"reason", string(o.Letter.Reason), string(got[j].Reason)})
		}
		got = got[j+1:]
	}
	for _, d := range got {
		check.extra(place(s.p, d.Seq, d.Idx), "")
	}
}

// codes compares the states that a record tells.
func (s *side) codes(want map[string]bool, c *events.Commit, at string) {
	check := s.v.check("commits.codes")
	check.Expected += int64(len(want))
	check.Found += int64(len(c.Codes))
	told := make(map[string]bool, len(c.Codes))
	for i := range c.Codes {
		id := c.Codes[i].ID
		view, ok := s.o.View(id)
		if !want[id] || told[id] || !ok {
			check.extra(at, id)
			continue
		}
		told[id] = true
		if wrong := jsonDifferences(view, c.Codes[i]); len(wrong) > 0 {
			check.different(at, id, wrong...)
		}
	}
	for id := range want {
		if !told[id] {
			check.missing(at, id)
		}
	}
}

// totals compares the account of everything decided so far.
func (s *side) totals(c *events.Commit, at string) {
	check := s.v.check("commits.totals")
	check.Expected++
	check.Found++
	if want := s.o.Totals(); want != c.Totals {
		check.different(at, "", jsonDifferences(want, c.Totals)...)
	}
}

// eventDifferences are the fields in which two events differ.
func eventDifferences(want, got *events.Event) []difference {
	w, err1 := want.Marshal()
	g, err2 := got.Marshal()
	switch {
	case err1 != nil || err2 != nil:
		return []difference{{"event", "an event", "what cannot be written as one"}}
	case bytes.Equal(w, g):
		return nil
	}
	return rawDifferences(w, g)
}

// jsonDifferences are the fields in which two values differ as JSON.
func jsonDifferences(want, got any) []difference {
	w, err1 := json.Marshal(want, json.Deterministic(true))
	g, err2 := json.Marshal(got, json.Deterministic(true))
	switch {
	case err1 != nil || err2 != nil:
		return []difference{{"value", "a value", "what cannot be written as one"}}
	case bytes.Equal(w, g):
		return nil
	}
	return rawDifferences(w, g)
}

func rawDifferences(w, g []byte) []difference {
	want, got := flat(w), flat(g)
	var names []string
	for name := range want {
		names = append(names, name)
	}
	for name := range got {
		if _, both := want[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []difference
	for _, name := range names {
		if want[name] != got[name] {
			out = append(out, difference{name, shown(name, want[name]), shown(name, got[name])})
		}
	}
	return out
}

// flat are the values of JSON by their paths, in one spelling.
func flat(raw []byte) map[string]string {
	out := make(map[string]string)
	var walk func(path string, v jsontext.Value)
	walk = func(path string, v jsontext.Value) {
		if v.Kind() == '{' {
			var fields map[string]jsontext.Value
			if json.Unmarshal(v, &fields) == nil {
				for name, f := range fields {
					if path != "" {
						name = path + "." + name
					}
					walk(name, f)
				}
				return
			}
		}
		v = v.Clone()
		_ = v.Canonicalize() // what cannot be is compared as it is
		out[path] = string(v)
	}
	walk("", raw)
	return out
}

// private are the fields that hold what a producer may have sent of a person.
var private = []string{"data.openid", "data.token", "data.user_agent", "data.network"}

// shown is a value as it may be told.
func shown(name, value string) string {
	if value != "" && slices.Contains(private, name) {
		return "(withheld)"
	}
	return value
}
