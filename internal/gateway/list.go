package gateway

import (
	"container/heap"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

type listAnswer struct {
	Codes []codeAnswer `json:"codes"`
	Next  string       `json:"next,omitzero"` // absent: that was all
}

// place orders codes: the newest mint first, then by id.
type place struct {
	minted int64 // Unix milliseconds
	id     token.CodeID
}

func (a place) before(b place) bool {
	if a.minted != b.minted {
		return a.minted > b.minted
	}
	return a.id < b.id
}

// cursor writes a place as the opaque text of a list's next.
func (a place) cursor() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(a.minted))
	binary.BigEndian.PutUint64(b[8:], uint64(a.id))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// parseCursor reads what cursor wrote, and nothing else.
func parseCursor(s string) (place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 16 || len(s) != 22 {
		return place{}, problem(http.StatusBadRequest, "bad_cursor", "use the next of the answer before, to the letter").at("cursor")
	}
	return place{int64(binary.BigEndian.Uint64(b[:8])), token.CodeID(binary.BigEndian.Uint64(b[8:]))}, nil
}

// first keeps the first n places of those it is given; its head is the last of them.
type first []place

func (f first) Len() int           { return len(f) }
func (f first) Less(i, j int) bool { return f[j].before(f[i]) }
func (f first) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *first) Push(x any)        { *f = append(*f, x.(place)) }
func (f *first) Pop() any          { old := *f; x := old[len(old)-1]; *f = old[:len(old)-1]; return x }
func (f *first) offer(p place, n int) {
	if len(*f) < n {
		heap.Push(f, p)
	} else if p.before((*f)[0]) {
		(*f)[0] = p
		heap.Fix(f, 0)
	}
}

// listCodes answers GET /v1/codes: newest first.
func (g *Gateway) listCodes(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "limit", "cursor", "campaign", "owner", "profile", "status")
	if err != nil {
		return err
	}
	limit, err := queryInt(q, "limit", 1, 1000, 100)
	if err != nil {
		return err
	}
	var from place
	after := q.Get("cursor") != ""
	if after {
		if from, err = parseCursor(q.Get("cursor")); err != nil {
			return err
		}
	}
	campaign, owner, profile, status := q.Get("campaign"), q.Get("owner"), q.Get("profile"), code.Status(q.Get("status"))
	if status != "" && !slices.Contains(statuses, status) {
		return invalid(events.CodeInvalid, "status", "use one of active, capped, full, expired, revoked")
	}
	if profile != "" {
		if _, err := profileOf(&profile); err != nil {
			return err
		}
	}
	now := g.now()
	var page first
	g.mirror.each(func(id token.CodeID, def *code.Definition, state *packed, _ uint64) {
		p := place{def.MintedAt.UnixMilli(), id}
		if campaign != "" && def.Campaign != campaign || owner != "" && def.Owner != owner || profile != "" && def.Profile != profile || after && !from.before(p) {
			return
		}
		if status != "" {
			if s, _ := state.at(now); s != status {
				return
			}
		}
		page.offer(p, limit+1)
	})
	slices.SortFunc(page, func(a, b place) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	out := listAnswer{Codes: []codeAnswer{}}
	for i, p := range page {
		if i == limit {
			out.Next = page[i-1].cursor()
			break
		}
		k, ok := g.mirror.get(p.id, now)
		if !ok {
			continue
		}
		a, err := g.answer(k)
		if err != nil {
			return err
		}
		out.Codes = append(out.Codes, a)
	}
	return writeJSON(w, http.StatusOK, out)
}

type targetStats struct {
	N           int        `json:"n"`
	Members     int64      `json:"members"`
	MembersFrom string     `json:"members_from"` // "members": member events; "scans": accepted scans stand in
	Capacity    int64      `json:"capacity"`     // 0: no limit
	Percent     *float64   `json:"percent"`      // null: no limit
	Scans       int64      `json:"scans"`
	PerHour     float64    `json:"per_hour"` // recent arrivals; 0: unknown
	EtaFull     *time.Time `json:"eta_full"` // null: unknown
	Closed      bool       `json:"closed,omitzero"`
}

type statsAnswer struct {
	ID        string                 `json:"id"`
	Status    code.Status            `json:"status"`
	Reason    string                 `json:"reason,omitzero"`
	Revision  uint64                 `json:"revision"` // of the definition the log has decided by
	Scans     int64                  `json:"scans"`    // of every verdict
	Counts    map[code.Verdict]int64 `json:"counts"`   // by verdict, all of them
	Unique    int64                  `json:"unique"`   // visitors with an accepted scan
	Consumed  int64                  `json:"consumed"` // of max_scans
	MaxScans  int64                  `json:"max_scans"`
	Members   int64                  `json:"members"` // of all targets
	Current   *int                   `json:"current"`
	Targets   []targetStats          `json:"targets"`
	FirstScan *code.First            `json:"first_scan"` // null: none was accepted yet
	ExpiresAt *time.Time             `json:"expires_at"`
}

// codeStats answers GET /v1/codes/{id}/stats, from what the scan workers decided.
func (g *Gateway) codeStats(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	k, err := g.known(r)
	if err != nil {
		return err
	}
	v := &k.view
	out := statsAnswer{
		ID: v.ID, Status: v.Status, Reason: v.Reason, Revision: k.heard, Counts: make(map[code.Verdict]int64), Unique: v.Unique, Consumed: v.Consumed,
		MaxScans: v.MaxScans, FirstScan: v.First, ExpiresAt: timeOrNull(v.ExpiresAt), Targets: make([]targetStats, 0, len(v.Targets)),
	}
	if v.Current >= 0 {
		out.Current = &v.Current
	}
	for _, verdict := range code.Verdicts {
		n := v.Counts.Of(verdict)
		out.Counts[verdict] = n
		out.Scans += n
	}
	for _, t := range v.Targets {
		out.Members += t.Members
		ts := targetStats{
			N: t.N, Members: t.Members, MembersFrom: t.MembersFrom, Capacity: t.Capacity, Scans: t.Scans, PerHour: t.PerHour, EtaFull: timeOrNull(t.EtaFull),
		}
		if t.Capacity > 0 {
			percent := float64(t.Members) * 100 / float64(t.Capacity)
			ts.Percent = &percent
		}
		if def, ok := k.def.Target(t.N); ok {
			ts.Closed = def.Closed
		}
		out.Targets = append(out.Targets, ts)
	}
	return writeJSON(w, http.StatusOK, out)
}
