package verify

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/oracle"
)

// expectations is what is compared once all partitions have been read.
type expectations struct {
	alerts  map[string]wantedAlert // by id
	letters map[letterKey]wantedLetter
	codes   map[string]wantedCode // by tenant and id
	states  map[string]state      // by id
	hourly  [len(rollups)]map[string]*hour
	seed    maphash.Seed
	keep    time.Time // rows of records stored before may have expired
}

type wantedAlert struct {
	text    [16]byte
	decided time.Time // when its record was stored
}

type letterKey struct {
	partition int
	seq       uint64
	idx       int
}

type wantedLetter struct {
	reason, subject string
	data            [16]byte
	size            int
	seen            bool
}

type wantedCode struct {
	partition int
	codeRow
}

// state is a code as it is at the end.
type state struct {
	view []byte // JSON of oracle.View
}

// hour is one row of a rollup.
type hour struct {
	n       int64
	value   *big.Int            // ten-thousandths
	persons map[uint64]struct{} // hashes of those counted once
}

func (x *expectations) init() {
	x.alerts, x.letters, x.codes, x.states = map[string]wantedAlert{}, map[letterKey]wantedLetter{}, map[string]wantedCode{}, map[string]state{}
	x.seed = maphash.MakeSeed()
	for i := range x.hourly {
		x.hourly[i] = make(map[string]*hour)
	}
}

// old reports whether the warehouse may have let go of the rows of a record stored at that time.
func (x *expectations) old(stored time.Time) bool { return stored.Before(x.keep) }

func digest(b []byte) [16]byte {
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

func (x *expectations) alert(e *events.Event, stored time.Time) {
	b, _ := e.Marshal() // an alert the oracle made
	x.alerts[e.ID] = wantedAlert{text: digest(b), decided: stored}
}

func (x *expectations) letter(p int, o *oracle.Outcome) {
	l := o.Letter
	x.letters[letterKey{p, o.Seq, o.Idx}] = wantedLetter{reason: string(l.Reason), subject: l.Subject, data: digest(l.Data), size: len(l.Data)}
}

// codesOf takes over the last states of a partition's codes.
func (x *expectations) codesOf(s *side) {
	for key, r := range s.touched {
		x.codes[key] = wantedCode{partition: s.p, codeRow: r}
	}
	s.o.Codes(func(id string) {
		view, _ := s.o.View(id)
		x.states[id] = state{viewJSON(view)}
	})
}

// The rollups, by their numbers in rollups.
const (
	scansHourly = iota
	membersHourly
	conversionsHourly
	forgedHourly
)

// rollup is a table of hourly counts: its key, its sums, and the distinct it counts.
type rollup struct {
	name, from string
	key        []column // of the rollup and, but for the hour, of the table it is from
	count      string
	value      string // sum of a decimal, or ""
	persons    string
}

var rollups = [...]rollup{
	scansHourly: {"scans_hourly", "scans", text("tenant", "code_id", "verdict", "rule", "toString(variant)", "utm_source", "utm_medium", "utm_campaign", "province", "os"),
		"sum(scans)", "", "visitors"},
	membersHourly:     {"members_hourly", "members", text("tenant", "code_id", "toString(target)", "kind"), "sum(events)", "", "visitors"},
	conversionsHourly: {"conversions_hourly", "conversions", text("tenant", "code_id", "name", "currency"), "sum(events)", "value", "visitors"},
	forgedHourly:      {"forged_hourly", "forged", text("tenant"), "sum(scans)", "", "networks"},
}

// count adds to a row of a rollup. person is "" when there is none to count.
func (x *expectations) count(rollup int, at time.Time, n int64, value *big.Int, person string, key ...string) {
	// The rollup's hour is a DateTime: 32 bits of seconds.
	sec := at.Unix()
	k := strconv.FormatUint(uint64(uint32(sec-sec%3600)), 10) + "\x00" + strings.Join(key, "\x00")
	h := x.hourly[rollup][k]
	if h == nil {
		h = &hour{}
		x.hourly[rollup][k] = h
	}
	h.n += n
	if value != nil {
		if h.value == nil {
			h.value = new(big.Int)
		}
		h.value.Add(h.value, value)
	}
	if person != "" {
		if h.persons == nil {
			h.persons = make(map[uint64]struct{})
		}
		h.persons[maphash.String(x.seed, person)] = struct{}{}
	}
}

func (x *expectations) scan(tenant string, e *events.Event, d *events.Scan, u events.UTM, it *oracle.Item) {
	x.count(scansHourly, e.Time, 1, nil, d.Visitor, tenant, e.Subject, it.Verdict, it.Rule, strconv.Itoa(d.Variant), u.Source, u.Medium, u.Campaign, d.Province, d.OS)
}

func (x *expectations) member(tenant string, e *events.Event, target int, kind, visitor string) {
	x.count(membersHourly, e.Time, 1, nil, visitor, tenant, e.Subject, strconv.Itoa(target), kind)
}

func (x *expectations) conversion(tenant string, e *events.Event, d *events.Conversion) {
	x.count(conversionsHourly, e.Time, 1, fourths(string(d.Value)), d.Visitor, tenant, e.Subject, d.Name, d.Currency)
}

// forged counts the network even if it is not known, as one.
func (x *expectations) forged(e *events.Event, d *events.Forged) {
	x.count(forgedHourly, e.Time, d.Count, nil, "network "+d.Network, e.Tenant)
}

// retention finds out how far back the warehouse keeps rows.
func (v *verifier) retention(ctx context.Context) error {
	var days uint32
	sql := `SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay\\((\\d+)\\)')) FROM system.tables WHERE database = currentDatabase() AND name = 'commits'`
	err := v.Warehouse.Select(ctx, "ask how long rows are kept", sql, func(scan func(...any) error) error { return scan(&days) })
	if err == nil && days > 0 {
		v.expect.keep = v.Now().Add(-time.Duration(days)*24*time.Hour + time.Minute)
	}
	return err
}
