package code

import (
	"slices"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code/span"
)

func TestExpiry(t *testing.T) {
	const h = time.Hour
	for _, row := range []struct {
		name  string
		def   func(*Definition)
		scans []time.Duration // accepted scans
		want  time.Duration   // expiry after the mint; 0: permanent
	}{
		{"permanent", validity(CountdownNone, 0, 0), []time.Duration{h}, 0},
		{"permanent whatever its validity says", validity(CountdownNone, 2*h, 0), []time.Duration{h}, 0},
		{"sliding without validity", validity(CountdownSliding, 0, 0), []time.Duration{h}, 0},
		{"fixed, never scanned", validity(CountdownFixed, 2*h, 0), nil, 2 * h},
		{"fixed is not moved by scans", validity(CountdownFixed, 2*h, 0), []time.Duration{h, h + 1}, 2 * h},
		{"fixed has a longest too", validity(CountdownFixed, 9*h, 7*h), nil, 7 * h},
		{"sliding, never scanned", validity(CountdownSliding, 2*h, 7*day), nil, 2 * h},
		{"sliding restarts", validity(CountdownSliding, 2*h, 7*day), []time.Duration{h, 2 * h, 3*h + 1}, 5*h + 1},
		{"never past the longest", validity(CountdownSliding, 2*h, 3*h), []time.Duration{h, 2 * h}, 3 * h},
		{"without a longest it slides on", validity(CountdownSliding, 2*h, 0), []time.Duration{h, 2 * h, 3 * h, 4 * h}, 6 * h},
		{"as short as a second", validity(CountdownSliding, time.Second, 0), []time.Duration{time.Second - 1}, 2*time.Second - 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, row.def)
			if at, ok := l.Def.FirstExpiry(); ok != (row.want != 0) || ok && !at.Equal(l.ExpiresAt) {
				t.Errorf("first expiry %v %v, state %v", at, ok, l.ExpiresAt)
			}
			for _, d := range row.scans {
				l.verdict("scan", l.at(d).scan("v"), Accepted, "")
			}
			if row.want == 0 {
				if _, due := l.NextDue(); !l.ExpiresAt.IsZero() || due {
					t.Errorf("expires at %v", l.ExpiresAt)
				}
				return
			}
			l.expires(row.want)
			if next, ok := l.NextDue(); !ok || !next.Equal(t0.Add(row.want)) {
				t.Errorf("next due %v", next)
			}
			l.wants("a nanosecond before", l.at(row.want-1).tick())
			out := l.at(row.want + h).tick()
			l.wants("after", out, "expire validity", "alert expiry validity")
			if d, a := out.Decisions[0], out.Alerts[0]; !d.At.Equal(t0.Add(row.want)) || !a.At.Equal(d.At) || !a.DueAt.Equal(d.At) || d.Target != -1 {
				t.Errorf("dated %v and %v", d, a)
			}
			l.verdict("scan", l.scan("v"), Expired, ReasonValidity)
			l.wants("once", l.at(row.want+2*h).tick())
			if _, due := l.NextDue(); due || l.View().Reason != ReasonValidity {
				t.Error("an expired code has something due, or no reason")
			}
		})
	}
}

func TestOnlyAcceptedScansRestartTheCountdown(t *testing.T) {
	l := begin(t, validity(CountdownSliding, 2*time.Hour, 0), dedupe(day), capacities(1))
	l.at(time.Hour).apply(Input{Scan: &Scan{Class: Preview}})
	l.apply(Input{Scan: &Scan{Class: Bot}})
	l.apply(Input{Historical: true, Scan: &Scan{}})
	l.expires(2 * time.Hour)
	l.scan("v")
	l.expires(3 * time.Hour)
	l.at(2 * time.Hour).scan("v") // full
	l.expires(3 * time.Hour)
	l.verdict("at the instant", l.at(3*time.Hour).scan("v"), Expired, ReasonValidity)
}

func TestRenewal(t *testing.T) {
	l := begin(t, renewal(72*time.Hour), validity(CountdownSliding, 100*time.Hour, 0))
	if due, ok := l.Def.FirstRenewalDue(); !ok || !due.Equal(t0.Add(72*time.Hour)) || !l.RenewalDueAt.Equal(due) {
		t.Errorf("first due %v", due)
	}
	if next, _ := l.NextDue(); !next.Equal(t0.Add(48 * time.Hour)) {
		t.Errorf("next due %v, want the reminder", next)
	}
	l.wants("a nanosecond before the reminder", l.at(48*time.Hour-1).tick())
	out := l.at(48 * time.Hour).tick()
	l.wants("24 h before", out, "alert renewal due-soon")
	if a := out.Alerts[0]; !a.DueAt.Equal(t0.Add(72*time.Hour)) || !a.At.Equal(l.now) {
		t.Errorf("alert %+v", a)
	}
	l.wants("once", l.at(49*time.Hour).tick())

	l.wants("renewed", l.at(50*time.Hour).renew(), "renew owner")
	if want := t0.Add(122 * time.Hour); !l.RenewalDueAt.Equal(want) || l.Reminded {
		t.Errorf("due %v, want %v, reminded %v", l.RenewalDueAt, want, l.Reminded)
	}
	l.wants("the old due time", l.at(72*time.Hour).tick())
	l.scan("v")
	l.wants("24 h before the new one", l.at(98*time.Hour).tick(), "alert renewal due-soon")
	l.wants("a nanosecond before", l.at(122*time.Hour-1).tick())
	out = l.at(122 * time.Hour).tick()
	l.wants("when it is due", out, "expire renewal-overdue", "alert renewal overdue", "alert expiry renewal-overdue")
	l.verdict("scan", l.scan("v"), Expired, ReasonRenewal)

	out = l.at(130 * time.Hour).renew()
	l.wants("the owner acts late", out, "renew owner", "reopen was-expired")
	if l.Current != 0 || out.Decisions[1].Target != 0 || l.View().Reason != "" {
		t.Errorf("current %d, reopened to %d", l.Current, out.Decisions[1].Target)
	}
	l.expires(230 * time.Hour)
	l.verdict("scan", l.scan("v"), Accepted, "")
}

func TestRenewalAfterALongSilence(t *testing.T) {
	l := begin(t, renewal(72*time.Hour))
	out := l.at(100 * day).scan("v")
	l.wants("all that was missed", out, "expire renewal-overdue", "alert renewal due-soon", "alert renewal overdue", "alert expiry renewal-overdue")
	l.verdict("scan", out, Expired, ReasonRenewal)
	var at []time.Duration
	for _, a := range out.Alerts {
		at = append(at, a.At.Sub(t0))
	}
	if want := []time.Duration{48 * time.Hour, 72 * time.Hour, 72 * time.Hour}; !slices.Equal(at, want) {
		t.Errorf("dated %v, want %v", at, want)
	}
}

func TestShortRenewalIsRemindedInItsLastThird(t *testing.T) {
	l := begin(t, renewal(3*time.Second))
	if next, _ := l.NextDue(); !next.Equal(t0.Add(2 * time.Second)) {
		t.Errorf("reminder at %v", next)
	}
	l = begin(t, renewal(4*time.Hour), validity(CountdownFixed, time.Hour, 0))
	l.wants("nobody is reminded of a code that will have expired", l.at(5*time.Hour).tick(), "expire validity", "alert expiry validity")
}

func TestRenewRevivesAFixedCode(t *testing.T) {
	l := begin(t, validity(CountdownFixed, 7*day, 7*day))
	l.at(8 * day).tick()
	l.wants("renewed", l.renew(), "renew owner", "reopen was-expired")
	l.expires(15 * day)
}

func TestInTheOrderItFellDue(t *testing.T) {
	l := begin(t, lockout, validity(CountdownFixed, time.Minute, 0))
	for range 5 {
		l.scan("v")
	}
	out := l.at(time.Hour).tick()
	l.wants("an hour on", out, "expire validity", "unlock lock-ended", "alert expiry validity")
}

// TestChangedDeadlines has an owner change what a code expires by.
func TestChangedDeadlines(t *testing.T) {
	const h = time.Hour
	for _, row := range []struct {
		name   string
		def    []func(*Definition)
		at     time.Duration // the change; the last scan is at 1 h
		change func(*Definition)
		said   []string
		status Status
		want   time.Duration // expiry; 0: permanent
	}{
		{"validity raised in time", []func(*Definition){validity(CountdownSliding, 2*h, 0)}, 2 * h, validity(CountdownSliding, 5*h, 0), nil, StatusActive, 6 * h},
		{"validity raised, revives", []func(*Definition){validity(CountdownSliding, 2*h, 0)}, 4 * h, validity(CountdownSliding, 5*h, 0), []string{"reopen was-expired"}, StatusActive, 6 * h},
		{"validity raised, not enough", []func(*Definition){validity(CountdownSliding, 2*h, 0)}, 8 * h, validity(CountdownSliding, 5*h, 0), nil, StatusExpired, 6 * h},
		{"longest raised, revives", []func(*Definition){validity(CountdownSliding, 9*h, 3*h)}, 4 * h, validity(CountdownSliding, 9*h, 20*h), []string{"reopen was-expired"}, StatusActive, 10 * h},
		{"validity shortened into the past", []func(*Definition){validity(CountdownSliding, 9*h, 0)}, 4 * h, validity(CountdownSliding, h, 0), []string{"expire validity", "alert expiry validity"}, StatusExpired, 2 * h},
		{"made permanent", []func(*Definition){validity(CountdownFixed, 2*h, 0)}, 4 * h, validity(CountdownNone, 0, 0), []string{"reopen was-expired"}, StatusActive, 0},
		{"from permanent to sliding", nil, 2 * h, validity(CountdownSliding, 2*h, 0), nil, StatusActive, 3 * h},
		{"from permanent to fixed", nil, 4 * h, validity(CountdownFixed, 2*h, 0), []string{"expire validity", "alert expiry validity"}, StatusExpired, 2 * h},
		{"from fixed to sliding", []func(*Definition){validity(CountdownFixed, 4*h, 0)}, 2 * h, validity(CountdownSliding, 4*h, 0), nil, StatusActive, 5 * h},
		{"a new name moves nothing", []func(*Definition){validity(CountdownSliding, 2*h, 0)}, 2 * h, func(d *Definition) { d.Name = "other" }, nil, StatusActive, 3 * h},
		{"a new name revives nothing", []func(*Definition){validity(CountdownSliding, 2*h, 0)}, 4 * h, func(d *Definition) { d.Name = "other" }, nil, StatusExpired, 3 * h},
		{"renewal no longer asked, revives", []func(*Definition){renewal(2 * h)}, 4 * h, renewal(0), []string{"reopen was-expired"}, StatusActive, 0},
		{"renewal asked less often, revives", []func(*Definition){renewal(2 * h)}, 4 * h, renewal(9 * h), []string{"reopen was-expired"}, StatusActive, 0},
		{"validity does not help an overdue renewal", []func(*Definition){renewal(2 * h), validity(CountdownFixed, 9*h, 0)}, 4 * h, validity(CountdownFixed, 20*h, 0), nil, StatusExpired, 20 * h},
		{"one lapse mended, the other shows", []func(*Definition){renewal(3 * h), validity(CountdownFixed, 2*h, 0)}, 4 * h, validity(CountdownFixed, 20*h, 0),
			[]string{"expire renewal-overdue", "alert renewal due-soon", "alert renewal overdue", "alert expiry renewal-overdue"}, StatusExpired, 20 * h},
		{"revoked when expired", []func(*Definition){validity(CountdownFixed, 2*h, 0)}, 4 * h, revoked, []string{"revoke owner"}, StatusRevoked, 2 * h},
		{"revoked and shortened at once", []func(*Definition){validity(CountdownFixed, 9*h, 0)}, 4 * h, func(d *Definition) { revoked(d); d.Validity = span.Span(h) }, []string{"revoke owner"}, StatusRevoked, h},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := begin(t, row.def...)
			l.at(h).scan("v")
			l.at(row.at).tick()
			out := l.define(row.change)
			l.wants("change", out, row.said...)
			for _, d := range out.Decisions {
				if !d.At.Equal(l.now) {
					t.Errorf("%s is dated %v, before the change that made it", d.Kind, d.At)
				}
			}
			if l.Status != row.status {
				t.Errorf("status %s, want %s", l.Status, row.status)
			}
			if row.want == 0 {
				if !l.ExpiresAt.IsZero() {
					t.Errorf("expires at %v", l.ExpiresAt)
				}
			} else {
				l.expires(row.want)
			}
			if (l.Current >= 0) != (row.status == StatusActive) {
				t.Errorf("current target %d", l.Current)
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	l := begin(t, validity(CountdownFixed, time.Hour, 0), renewal(time.Hour))
	out := l.at(time.Minute).define(revoked)
	l.wants("revoked", out, "revoke owner")
	if out.Decisions[0].Target != -1 || l.Current != -1 || !l.View().RevokedAt.Equal(t0.Add(time.Second)) {
		t.Errorf("%+v, current %d", out.Decisions[0], l.Current)
	}
	if _, due := l.NextDue(); due {
		t.Error("something is due for a revoked code")
	}
	l.wants("nothing comes of it later", l.at(day).tick())
	l.verdict("scan", l.scan("v"), Revoked, "owner")
}

func TestStaleDefinitions(t *testing.T) {
	l := begin(t, maxScans(5))
	l.define(maxScans(7))
	older := l.Def
	older.Revision, older.MaxScans = 1, 1
	same := l.Def
	same.MaxScans = 2
	for name, d := range map[string]Definition{"older": older, "same revision": same} {
		out := l.apply(Input{Define: &Define{Kind: Changed, Def: d}})
		if !out.Stale || len(said(out)) > 0 || l.Def.MaxScans != 7 {
			t.Errorf("%s: stale = %v, said %q, cap %d", name, out.Stale, said(out), l.Def.MaxScans)
		}
	}
	newer := l.Def
	newer.Revision, newer.MaxScans = 9, 3 // 3 to 8 were never seen: a definition is whole
	if out := l.apply(Input{Define: &Define{Kind: Changed, Def: newer}}); out.Stale || l.Def.MaxScans != 3 {
		t.Errorf("a gap in revisions: %+v", out)
	}
}

func TestMintedFullOrRevoked(t *testing.T) {
	if s := New(plain(func(d *Definition) { d.Targets[0].Closed = true })); s.Status != StatusFull || s.Current != -1 {
		t.Errorf("all targets closed: %s, current %d", s.Status, s.Current)
	}
	if s := New(plain(revoked)); s.Status != StatusRevoked || s.Current != -1 {
		t.Errorf("revoked: %s, current %d", s.Status, s.Current)
	}
	s := New(plain(validity(CountdownFixed, time.Hour, 0), func(d *Definition) { d.RenewedAt = t0.Add(time.Hour) }))
	if !s.ExpiresAt.Equal(t0.Add(2 * time.Hour)) {
		t.Errorf("first seen renewed: expires %v", s.ExpiresAt)
	}
}
