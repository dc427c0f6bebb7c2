package scanning

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// TestViewSize holds the estimate of a view to what is written, for the longest
// and for a plain one.
func TestViewSize(t *testing.T) {
	written := func(s *code.State) int {
		b, err := (&events.Commit{Codes: []code.View{s.View()}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		empty, err := (&events.Commit{Codes: []code.View{}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return len(b) - len(empty)
	}
	plain := code.New(definition("code000001"))
	plain.Apply(code.Input{ID: "01J00000000000000000000000", Scan: &code.Scan{Visitor: "v", Device: "PJD110"}}, epoch)
	if n, about := written(plain), viewSize(plain); about < n || about > 2*n {
		t.Errorf("a view of %d bytes is taken for %d", n, about)
	}
	far := time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	text := strings.Repeat(`"`, events.MaxName)
	d := definition(strings.Repeat("c", 64))
	d.Tenant, d.Name, d.Campaign, d.Source, d.Medium, d.Owner = text, text, text, text, text, text
	d.Revision, d.MaxScans = math.MaxUint64, math.MaxInt64
	d.MintedAt, d.RenewedAt, d.RevokedAt = far, far, far
	d.Targets = nil
	for i := range 40 {
		d.Targets = append(d.Targets, code.Target{N: math.MaxInt32 - i, URL: "https://example.com", Capacity: math.MaxInt64})
	}
	s := code.New(d)
	s.Status, s.ExpiredBy, s.ExpiresAt, s.RenewalDueAt, s.Consumed = code.StatusExpired, code.ReasonRenewal, far, far, math.MaxInt64
	s.First = &code.First{EventID: text, At: far, DeviceModel: text, Province: text}
	for _, v := range code.Verdicts {
		s.Counts.Set(v, math.MaxInt64)
	}
	for i := range s.Targets {
		at := far.UnixMilli()
		s.Targets[i].Members, s.Targets[i].Joined, s.Targets[i].Scans = math.MinInt64/2, true, math.MaxInt64
		s.Targets[i].Recent = []int64{at - 7, at}
	}
	if n, about := written(s), viewSize(s); n > 3*about/2 {
		t.Errorf("the longest view, of %d bytes, is taken for %d", n, about)
	}
}
