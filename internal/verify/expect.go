package verify

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"maps"
	"math/big"
	"slices"
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
	codes   map[string]wantedCode  // by tenant and id
	states  map[string]oracle.View // of every code, at the end
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
}

type wantedCode struct {
	partition int
	codeRow
}

// hour is one row of a rollup.
type hour struct {
	n       int64
	value   *big.Int            // ten-thousandths
	few     []uint64            // hashes of those counted once
	persons map[uint64]struct{} // likewise, once there are many
}

// add counts a person once.
func (h *hour) add(person uint64) {
	const many = 16
	if h.persons != nil {
		h.persons[person] = struct{}{}
		return
	}
	if slices.Contains(h.few, person) {
		return
	}
	if h.few = append(h.few, person); len(h.few) < many {
		return
	}
	h.persons = make(map[uint64]struct{}, 2*many)
	for _, p := range h.few {
		h.persons[p] = struct{}{}
	}
	h.few = nil
}

// unique is how many persons there are.
func (h *hour) unique() uint64 { return uint64(len(h.few) + len(h.persons)) }

func (x *expectations) init() {
	x.alerts, x.letters, x.codes, x.states = map[string]wantedAlert{}, map[letterKey]wantedLetter{}, map[string]wantedCode{}, map[string]oracle.View{}
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
		view.Counts = maps.Clone(view.Counts)
		x.states[id] = view
	})
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
		h.add(maphash.String(x.seed, person))
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
