package code

import (
	"fmt"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code/span"
)

// spooledScan is a scan of a visitor that was made late before now.
func spooledScan(id string, late time.Duration, now time.Time) Input {
	in := Input{ID: id, At: now.Add(-late), Scan: &Scan{Visitor: "v", Picture: "p"}}
	if late > 0 {
		in.Spooled = now.Add(-late)
	}
	return in
}

func TestDedupeOfLateScans(t *testing.T) {
	type made struct{ at, now time.Duration }
	for _, row := range []struct {
		name string
		list []made
		want string
	}{
		{"within the window of one that came with it", []made{{0, time.Minute}, {5 * time.Second, time.Minute}}, "[accepted duplicate]"},
		{"a moment more", []made{{0, time.Minute}, {5*time.Second + time.Millisecond, time.Minute}}, "[accepted accepted]"},
		{"before the one that came first", []made{{10 * time.Second, time.Minute}, {5 * time.Second, time.Minute}}, "[accepted duplicate]"},
		{"long before it", []made{{10 * time.Second, time.Minute}, {4 * time.Second, time.Minute}}, "[accepted accepted]"},
		{"the newest is what counts", []made{{10 * time.Second, time.Minute}, {0, time.Minute}, {15 * time.Second, time.Minute}}, "[accepted accepted duplicate]"},
		{"and only the newest", []made{{10 * time.Second, time.Minute}, {0, time.Minute}, {time.Second, time.Minute}}, "[accepted accepted accepted]"},
		{"one decided long ago is forgotten", []made{{0, 0}, {3 * time.Second, time.Minute}}, "[accepted accepted]"},
		{"not as long as the window", []made{{0, 0}, {3 * time.Second, 5 * time.Second}}, "[accepted duplicate]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := New(plain(func(d *Definition) { d.Dedupe = span.Span(5 * time.Second); d.Rules = nil }))
			var got []Verdict
			for i, m := range row.list {
				now := t0.Add(m.now)
				got = append(got, s.Apply(spooledScan(fmt.Sprint(i), m.now-m.at, now), now).Verdict)
				s = snapshot(t, s)
			}
			if fmt.Sprint(got) != row.want {
				t.Errorf("verdicts = %v, want %s", got, row.want)
			}
		})
	}
}

// Arrivals in an outage are as far apart as they were, and the first scan is
// the one that was made first.
func TestRateAndFirstOfLateScans(t *testing.T) {
	s := New(plain(func(d *Definition) { d.Rules = nil; d.Targets[0].Capacity = 1000 }))
	now := t0.Add(time.Hour)
	for i, late := range []time.Duration{30 * time.Minute, 50 * time.Minute, 40 * time.Minute, 0} {
		s.Apply(spooledScan(fmt.Sprint("s", i), late, now), now)
	}
	if first := s.First; first.EventID != "s1" || !first.At.Equal(now.Add(-50*time.Minute)) {
		t.Errorf("first = %+v", first)
	}
	if v := s.View().Targets[0]; v.PerHour < 3.599 || v.PerHour > 3.601 { // three intervals in 50 min
		t.Errorf("%v an hour, want 3.6", v.PerHour)
	}
	for i := range 2 * rateHits {
		s.Apply(spooledScan(fmt.Sprint("old", i), 2*time.Hour, now), now)
	}
	recent := s.target(0).Recent
	if len(recent) != rateHits || recent[rateHits-1] != now.UnixMilli() || recent[rateHits-4] != now.Add(-50*time.Minute).UnixMilli() {
		t.Errorf("arrivals = %v", recent)
	}
	if !s.LastAccepted.Equal(now) {
		t.Errorf("last accepted %v", s.LastAccepted)
	}
}
