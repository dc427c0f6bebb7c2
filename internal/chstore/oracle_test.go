package chstore

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
)

// oracle answers the views' questions in the plainest way, from the rows as they were decided. It shares no code with them.
type oracle struct {
	*rowSet
	codes map[string]code.View // latest, by id
}

func newOracle(batches ...events.Batch) (*oracle, error) {
	o := &oracle{rowSet: &rowSet{}, codes: map[string]code.View{}}
	for _, b := range batches {
		r, err := rowsOf(b)
		if err != nil {
			return nil, err
		}
		o.scans = append(o.scans, r.scans...)
		o.members = append(o.members, r.members...)
		o.conversions = append(o.conversions, r.conversions...)
		o.forged = append(o.forged, r.forged...)
		for _, c := range r.codes {
			o.codes[c.code] = *c.view
		}
	}
	return o, nil
}

func earlier(a, b *scanRow) bool {
	return cmp.Or(a.ts.Compare(b.ts), cmp.Compare(a.seq, b.seq), cmp.Compare(a.idx, b.idx)) < 0
}

func led(s *scanRow) bool { return s.verdict == "accepted" || s.verdict == "duplicate" }

const month = 30 * 24 * time.Hour

type act struct {
	code, visitor, click, name, currency string
	ts                                   time.Time
	value                                int64 // ten-thousandths
}

func (o *oracle) acts() (out []act) {
	for _, m := range o.members {
		if m.kind == "joined" {
			out = append(out, act{code: m.code, visitor: m.visitor, click: m.click, name: "join", ts: m.ts})
		}
	}
	for _, c := range o.conversions {
		var whole, frac int64
		if c.data.Value != "" {
			fmt.Sscanf(string(c.data.Value), "%d.%d", &whole, &frac)
		}
		out = append(out, act{code: c.code, visitor: c.data.Visitor, click: c.data.ClickID, name: c.data.Name, currency: c.data.Currency, ts: c.ts, value: whole*10000 + frac})
	}
	return out
}

func (o *oracle) campaign(s *scanRow) [3]string {
	v := o.codes[s.code]
	return [3]string{cmp.Or(s.utm.Campaign, v.Campaign), cmp.Or(s.utm.Source, v.Source), cmp.Or(s.utm.Medium, v.Medium)}
}

func (o *oracle) attribution() []string {
	type key struct {
		led  [3]string
		code string
		day  string
	}
	type sums struct {
		accepted, joins, leads, sales int
		visitors                      map[string]bool
		worth                         map[string]int64
	}
	table := map[key]*sums{}
	at := func(l [3]string, id string, ts time.Time) *sums {
		k := key{l, id, ts.UTC().Format(time.DateOnly)}
		if table[k] == nil {
			table[k] = &sums{visitors: map[string]bool{}, worth: map[string]int64{}}
		}
		return table[k]
	}
	for i := range o.scans {
		if s := &o.scans[i]; s.verdict == "accepted" {
			row := at(o.campaign(s), s.code, s.ts)
			row.accepted++
			if s.scan.Visitor != "" {
				row.visitors[s.scan.Visitor] = true
			}
		}
	}
	for _, a := range o.acts() {
		var byClick, byVisitor *scanRow
		for i := range o.scans {
			s := &o.scans[i]
			if !led(s) || s.code != a.code {
				continue
			}
			if a.click != "" && s.scan.ClickID == a.click && (byClick == nil || earlier(byClick, s)) {
				byClick = s
			}
			if a.visitor != "" && s.scan.Visitor == a.visitor && !s.ts.After(a.ts) && a.ts.Sub(s.ts) <= month && (byVisitor == nil || earlier(byVisitor, s)) {
				byVisitor = s
			}
		}
		v := o.codes[a.code]
		l := [3]string{v.Campaign, v.Source, v.Medium}
		if s := cmp.Or(byClick, byVisitor); s != nil {
			l = o.campaign(s)
		}
		row := at(l, a.code, a.ts)
		switch a.name {
		case "join":
			row.joins++
		case "lead":
			row.leads++
		case "sale":
			row.sales++
		}
		if a.currency != "" {
			row.worth[a.currency] += a.value
		}
	}
	var out []string
	for k, r := range table {
		value := "NULL"
		if len(r.worth) < 2 {
			var n int64
			for _, v := range r.worth {
				n = v
			}
			value = fmt.Sprint(n)
		}
		out = append(out, fmt.Sprintf("('%s','%s','%s','%s','%s',%d,%d,%d,%d,%d,%s)", k.led[0], k.led[1], k.led[2], k.code, k.day, r.accepted, len(r.visitors), r.joins, r.leads, r.sales, value))
	}
	slices.Sort(out)
	return out
}

// heatmap is of one code, or of all with an empty id.
func (o *oracle) heatmap(id string, tz *time.Location) []string {
	var n [8][24]int
	var who [8][24]map[string]bool
	for _, s := range o.scans {
		if s.verdict == "accepted" && (id == "" || s.code == id) {
			t := s.ts.In(tz)
			day, hour := (int(t.Weekday())+6)%7+1, t.Hour()
			n[day][hour]++
			if who[day][hour] == nil {
				who[day][hour] = map[string]bool{}
			}
			if s.scan.Visitor != "" {
				who[day][hour][s.scan.Visitor] = true
			}
		}
	}
	var out []string
	for d := range n {
		for h := range n[d] {
			if n[d][h] > 0 {
				out = append(out, fmt.Sprintf("(%d,%d,%d,%d)", d, h, n[d][h], len(who[d][h])))
			}
		}
	}
	return out
}

// unit is who a scan stands for.
func unit(s *scanRow) string {
	if s.scan.Visitor != "" {
		return "v" + s.scan.Visitor
	}
	if s.scan.ClickID != "" {
		return "c" + s.scan.ClickID
	}
	return fmt.Sprintf("e%d/%d", s.seq, s.idx)
}

// unitOf is who an act belongs to: the scan of its click, else its visitor. "": nobody known.
func (o *oracle) unitOf(a act, among func(*scanRow) bool) string {
	for i := range o.scans {
		if s := &o.scans[i]; a.click != "" && s.code == a.code && led(s) && among(s) && s.scan.ClickID == a.click {
			return unit(s)
		}
	}
	if a.visitor != "" {
		return "v" + a.visitor
	}
	return ""
}

type arm struct {
	variant, scans, unique, trials, joins      int
	conversion, lift, low, high, z, p, chi2, q float64 // NaN: NULL
}

func (o *oracle) abTest(id string) []arm {
	first := map[string]*scanRow{}
	arms := map[int]*arm{}
	seen := map[int]map[string]bool{}
	for i := range o.scans {
		s := &o.scans[i]
		if s.code != id || s.verdict != "accepted" || s.scan.Variant == 0 {
			continue
		}
		v := s.scan.Variant
		if arms[v] == nil {
			arms[v], seen[v] = &arm{variant: v}, map[string]bool{}
		}
		arms[v].scans++
		if s.scan.Visitor != "" {
			seen[v][s.scan.Visitor] = true
		}
		if f := first[unit(s)]; f == nil || earlier(s, f) {
			first[unit(s)] = s
		}
	}
	won := map[string]bool{}
	for _, a := range o.acts() {
		if a.name != "join" || a.code != id {
			continue
		}
		u := o.unitOf(a, func(s *scanRow) bool { return s.scan.Variant > 0 })
		if f := first[u]; f != nil && !a.ts.Before(f.ts) {
			won[u] = true
		}
	}
	total := 0
	for u, s := range first {
		arms[s.scan.Variant].trials++
		total++
		if won[u] {
			arms[s.scan.Variant].joins++
		}
	}
	var out []arm
	for v := range 9 {
		if a := arms[v]; a != nil {
			a.unique = len(seen[v])
			out = append(out, *a)
		}
	}
	chi2 := 0.0
	for _, a := range out {
		expected := float64(total) / float64(len(out))
		chi2 += (float64(a.trials) - expected) * (float64(a.trials) - expected) / expected
	}
	for i := range out {
		a := &out[i]
		n, x, n1, x1 := float64(a.trials), float64(a.joins), float64(out[0].trials), float64(out[0].joins)
		a.conversion, a.chi2, a.q = x/n, chi2, chiTail(chi2, len(out)-1)
		if len(out) < 2 {
			a.chi2, a.q = math.NaN(), math.NaN()
		}
		a.lift, a.low, a.high, a.z, a.p = math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()
		if i == 0 || n == 0 || n1 == 0 {
			continue
		}
		if x1 > 0 {
			a.lift = (x/n)/(x1/n1) - 1
		}
		if x > 0 && x1 > 0 {
			se := math.Sqrt(1/x - 1/n + 1/x1 - 1/n1)
			a.low, a.high = (1+a.lift)*math.Exp(-1.959963984540054*se)-1, (1+a.lift)*math.Exp(1.959963984540054*se)-1
		}
		if pool := (x + x1) / (n + n1); pool > 0 && pool < 1 {
			a.z = (x/n - x1/n1) / math.Sqrt(pool*(1-pool)*(1/n+1/n1))
			a.p = chiTail(a.z*a.z, 1)
		}
	}
	return out
}

// chiTail is the upper tail of the chi-square distribution: one minus the power series of the regularised lower incomplete gamma
// function, P(a, x) = x^a e^-x sum x^n / Γ(a+n+1).
func chiTail(chi2 float64, df int) float64 {
	if df < 1 {
		return math.NaN()
	}
	a, x := float64(df)/2, chi2/2
	term := math.Exp(a*math.Log(x)-x) / math.Gamma(a+1)
	if x == 0 {
		return 1
	}
	sum := 0.0
	for n := 1.0; n < 2000; n++ {
		sum += term
		term *= x / (a + n)
	}
	return 1 - sum
}

func (o *oracle) funnel(id string) [4]int {
	type stage struct {
		ts   time.Time
		step int
	}
	walks := map[string][]stage{}
	for i := range o.scans {
		if s := &o.scans[i]; s.code == id && s.verdict == "accepted" {
			walks[unit(s)] = append(walks[unit(s)], stage{s.ts, 1})
		}
	}
	step := map[string]int{"join": 2, "lead": 3, "sale": 4}
	for _, a := range o.acts() {
		if a.code != id || step[a.name] == 0 {
			continue
		}
		if u := o.unitOf(a, func(*scanRow) bool { return true }); u != "" {
			walks[u] = append(walks[u], stage{a.ts, step[a.name]})
		}
	}
	var out [4]int
	for _, list := range walks {
		best := 0
		var walk func(from, at time.Time, step int)
		walk = func(from, at time.Time, step int) {
			best = max(best, step)
			for _, n := range list {
				if n.step == step+1 && !n.ts.Before(at) && n.ts.Sub(from) <= month {
					walk(from, n.ts, step+1)
				}
			}
		}
		for _, n := range list {
			if n.step == 1 {
				walk(n.ts, n.ts, 1)
			}
		}
		for i := range best {
			out[i]++
		}
	}
	return out
}

func (o *oracle) firstScans() []string {
	type key struct {
		code     string
		variant  int
		tracking string
	}
	first := map[key]*scanRow{}
	for i := range o.scans {
		if s := &o.scans[i]; s.verdict == "accepted" {
			k := key{s.code, s.scan.Variant, s.scan.Tracking}
			if f := first[k]; f == nil || earlier(s, f) {
				first[k] = s
			}
		}
	}
	var out []string
	for k, s := range first {
		out = append(out, fmt.Sprintf("('%s',%d,'%s','%s','%s','%s','%s')", k.code, k.variant, k.tracking, s.ts.UTC().Format("2006-01-02 15:04:05.000"), s.eventID, s.scan.DeviceModel, s.scan.Province))
	}
	slices.Sort(out)
	return out
}

func (o *oracle) verdicts() []string {
	n := map[string]int64{}
	hour := func(t time.Time) string { return t.UTC().Truncate(time.Hour).Format(time.DateTime) }
	for _, s := range o.scans {
		n[fmt.Sprintf("('%s','%s','%s',", hour(s.ts), s.verdict, s.rule)]++
	}
	for _, f := range o.forged {
		n[fmt.Sprintf("('%s','forged','forged',", hour(f.ts))] += f.data.Count
	}
	var out []string
	for k, v := range n {
		out = append(out, fmt.Sprintf("%s%d)", k, v))
	}
	slices.Sort(out)
	return out
}

func (o *oracle) capacity() []string {
	var out []string
	for id, v := range o.codes {
		for _, t := range v.Targets {
			percent, eta := "NULL", "NULL"
			if t.Capacity > 0 {
				percent = strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", 100*float64(t.Members)/float64(t.Capacity)), "0"), ".")
			}
			if !t.EtaFull.IsZero() {
				eta = t.EtaFull.UTC().Format("'2006-01-02 15:04:05.000'")
			}
			out = append(out, fmt.Sprintf("('%s',%d,%d,%d,'%s',%d,%s,%s)", id, t.N, map[bool]int{true: 1}[t.N == v.Current], t.Members, t.MembersFrom, t.Capacity, percent, eta))
		}
	}
	slices.Sort(out)
	return out
}
