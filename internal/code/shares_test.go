package code

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/huoma/huoma/internal/risk"
)

func TestDefinitionsShare(t *testing.T) {
	var s Shares
	def := func(campaign string) *Definition {
		return &Definition{ID: "c", Profile: strings.Clone("wecom-group"), Countdown: CountdownNone, Campaign: campaign, Owner: strings.Repeat("o", 80), Rules: risk.DefaultRules()}
	}
	a, b := def(strings.Clone("spring")), def(strings.Clone("spring"))
	for _, d := range []*Definition{a, b} {
		was := *d
		was.Rules = risk.DefaultRules()
		s.Definition(d)
		if !reflect.DeepEqual(*d, was) {
			t.Errorf("sharing made\n%+v of\n%+v", *d, was)
		}
	}
	if unsafe.StringData(a.Campaign) != unsafe.StringData(b.Campaign) || unsafe.StringData(a.Profile) != unsafe.StringData(b.Profile) {
		t.Error("equal texts stand in two places")
	}
	if &a.Rules[0] != &b.Rules[0] {
		t.Error("equal rules stand in two places")
	}
	if c := def("spring"); true {
		c.Rules[0].Limit++
		if s.Definition(c); c.Rules[0] == a.Rules[0] {
			t.Error("other rules were taken for known ones")
		}
	}
	for i := range 2 * mostTexts {
		s.Text(fmt.Sprint("campaign ", i))
		r := risk.DefaultRules()
		r[0].Limit = i
		s.shared(r)
	}
	if len(s.texts) > mostTexts || len(s.rules) > mostRules {
		t.Errorf("remembers %d texts and %d rules", len(s.texts), len(s.rules))
	}
}
