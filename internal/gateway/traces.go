package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/qr/watermark"
)

// Bounds on traces.
const (
	maxDevice  = 64      // bytes of a device's name
	maxClaims  = 64      // pairs that share a number: more is no accident
	maxKnown   = 100_000 // pairs a gateway remembers to have written
	maxPending = 10_000  // pairs that wait to be written
)

// Traces keeps whose watermarks are, opaque bytes by trace number, changed by compare-and-set.
// Errors: events.ErrConflict, ErrNotFound.
type Traces interface {
	Trace(ctx context.Context, id string) (value []byte, rev uint64, err error)
	PutTrace(ctx context.Context, id string, value []byte, rev uint64) (uint64, error)
}

// pair is whose a trace is.
type pair struct {
	Issuer string `json:"issuer"` // owner of the code, else its tenant; "" for neither
	Device string `json:"device"` // what asked for the picture
}

// claim is a pair as it is kept, and as it is told.
type claim struct {
	pair
	First time.Time `json:"first_seen,omitzero"` // when a picture with it was first asked for; zero where only the number says so
}

// traceRecord is what the bucket keeps of a trace number.
type traceRecord struct {
	Version int     `json:"v"`
	Claims  []claim `json:"claims"`
}

const traceVersion = 1

// issuerOf is who a code's pictures are traced to.
func issuerOf(def *code.Definition) string { return firstOf(def.Owner, def.Tenant) }

// traceBook writes down whose traces are, behind the requests: drawing a picture waits for nothing, and the number is
// a function of the pair. While NATS is away pairs wait in memory.
type traceBook struct {
	key *watermark.Key

	mu      sync.Mutex
	known   map[pair]bool
	pending []claim
	lost    int // pairs there was no room for
	wake    chan struct{}
}

func newTraceBook(secret []byte) (*traceBook, error) {
	key, err := watermark.NewKey(secret)
	return &traceBook{key: key, known: make(map[pair]bool), wake: make(chan struct{}, 1)}, err
}

// note remembers that a picture was drawn for a pair, and returns its trace number.
func (b *traceBook) note(p pair, now time.Time) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known[p] {
		if len(b.pending) >= maxPending {
			b.lost++ // not known: the next picture tries again
		} else {
			if len(b.known) >= maxKnown {
				clear(b.known) // writing a pair again changes nothing
			}
			p = pair{strings.Clone(p.Issuer), strings.Clone(p.Device)}
			b.known[p] = true
			b.pending = append(b.pending, claim{p, now.UTC().Truncate(time.Millisecond)})
			select {
			case b.wake <- struct{}{}:
			default:
			}
		}
	}
	return b.key.Trace(p.Issuer, p.Device)
}

// devices are the names of devices that this gateway has drawn for.
func (b *traceBook) devices() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]bool)
	for p := range b.known {
		out[p.Device] = true
	}
	return out
}

// next is the oldest pair that waits.
func (b *traceBook) next() (claim, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 {
		return claim{}, false
	}
	return b.pending[0], true
}

// written takes the oldest pair out. No other goroutine does.
func (b *traceBook) written() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending = b.pending[1:]; len(b.pending) == 0 {
		b.pending = nil
	}
}

func (b *traceBook) waiting() (pending, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending), b.lost
}

// keepTraces writes pairs into the registry until ctx ends, and then what it can within a moment.
func (g *Gateway) keepTraces(ctx context.Context) {
	again := time.NewTicker(g.opts.Limits.Lookup)
	defer again.Stop()
	warned := false
	for ctx.Err() == nil {
		err := g.writeTraces(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, errAway) && !warned {
			g.log.Warn("the registry of watermarks cannot be written, will retry", "err", err)
		}
		warned = err != nil
		wake := g.traces.wake
		if err != nil {
			wake = nil // a new pair does not bring NATS back
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-again.C:
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.opts.Limits.Lookup)
	defer cancel()
	_ = g.writeTraces(last)
	if n, lost := g.traces.waiting(); n+lost > 0 {
		g.log.Warn("names of watermarks could not be kept: their pictures carry numbers that can be tested for a name, and no longer looked up; they are kept once the same pictures are asked for again", "names", n+lost)
	}
}

func (g *Gateway) writeTraces(ctx context.Context) error {
	for {
		c, ok := g.traces.next()
		if !ok {
			return nil
		}
		if err := g.writeTrace(ctx, c); err != nil {
			return err
		}
		g.traces.written()
	}
}

// writeTrace adds a pair to what is known of its number, unless it is there.
func (g *Gateway) writeTrace(ctx context.Context, c claim) error {
	id := watermark.FormatTrace(g.traces.key.Trace(c.Issuer, c.Device))
	for {
		r, rev, err := g.loadTrace(ctx, id)
		if err != nil {
			return err
		}
		if len(r.Claims) >= maxClaims || slices.ContainsFunc(r.Claims, func(was claim) bool { return was.pair == c.pair }) {
			return nil
		}
		r.Claims = append(r.Claims, c)
		b, err := json.Marshal(r, json.Deterministic(true))
		if err != nil {
			return fmt.Errorf("marshal trace: %w", err)
		}
		err = g.ask(ctx, g.opts.Limits.Store, func(ctx context.Context) error {
			_, err := g.opts.Backend.PutTrace(ctx, id, b, rev)
			return err
		})
		if !errors.Is(err, events.ErrConflict) {
			return err
		}
	}
}

// loadTrace reads what is known of a number; nothing is no error.
func (g *Gateway) loadTrace(ctx context.Context, id string) (r traceRecord, rev uint64, err error) {
	var b []byte
	err = g.ask(ctx, g.opts.Limits.Lookup, func(ctx context.Context) (err error) {
		b, rev, err = g.opts.Backend.Trace(ctx, id)
		return err
	})
	if errors.Is(err, events.ErrNotFound) {
		return traceRecord{Version: traceVersion}, 0, nil
	}
	if err != nil {
		return r, 0, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, 0, fmt.Errorf("read trace %s: %w", id, err)
	}
	if r.Version != traceVersion {
		return r, 0, fmt.Errorf("the trace %s has version %d, this program reads %d: upgrade it", id, r.Version, traceVersion)
	}
	return r, rev, nil
}

// traceNames answers GET /v1/traces/{id}.
func (g *Gateway) traceNames(w http.ResponseWriter, r *http.Request) error {
	n, ok := watermark.ParseTrace(r.PathValue("id"))
	if !ok {
		return invalid(events.CodeInvalid, "id", "a trace number has 8 hexadecimal digits, in lower case")
	}
	id := watermark.FormatTrace(n)
	rec, _, err := g.loadTrace(r.Context(), id)
	if err != nil {
		return g.unavailable(err)
	}
	if len(rec.Claims) == 0 {
		return problem(http.StatusNotFound, "unknown_trace", "no picture of this installation is known to carry it: check the digits, and that the gateway is the right one")
	}
	return writeJSON(w, http.StatusOK, struct {
		Trace  string  `json:"trace"`
		Claims []claim `json:"claims"`
	}{id, rec.Claims})
}

// traceAnswer is what a picture's observation is worth.
type traceAnswer struct {
	Found    bool             `json:"found"`
	Reason   watermark.Reason `json:"reason"`
	Trace    string           `json:"trace,omitzero"`
	Evidence float64          `json:"evidence"`
	Chance   float64          `json:"chance"`
	Seen     int              `json:"seen"`
	Claims   []claim          `json:"claims"`
	Registry string           `json:"registry,omitzero"` // read, or away
	Code     string           `json:"code,omitzero"`
	Variant  int              `json:"variant,omitzero"`
	Print    *uint32          `json:"print,omitzero"`
	Name     string           `json:"name,omitzero"`
	Owner    string           `json:"owner,omitzero"`
}

// readTrace answers POST /v1/traces: whose mark is in what was seen of a picture. The picture itself stays where it is.
func (g *Gateway) readTrace(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r, g.opts.Limits.Body, "application/json")
	if err != nil {
		return err
	}
	var o watermark.Observation
	if err := decode(body, &o); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return invalid(events.CodeInvalid, "values", "give modules, from 21 to 177, and one value for each module of the symbol, as `huoma trace` does")
	}
	d, err := g.traces.key.Decide(&o)
	if err != nil {
		return err
	}
	a := traceAnswer{Found: d.Found(), Reason: d.Reason, Evidence: d.Evidence, Chance: d.Chance, Seen: d.Seen, Claims: []claim{}}
	var def *code.Definition
	if p, err := g.opts.Keyring.Open(strings.ToUpper(o.Content[strings.LastIndexByte(o.Content, '/')+1:])); err == nil {
		if def, err = g.definition(r.Context(), p.Code); err == nil && def != nil {
			a.Code, a.Variant, a.Print, a.Name, a.Owner = p.Code.String(), p.Variant, &p.Number, def.Name, def.Owner
		}
	}
	if d.Found() {
		a.Trace = watermark.FormatTrace(d.Trace)
		g.claims(r.Context(), &a, d.Trace, def)
	}
	return writeJSON(w, http.StatusOK, a)
}

// claims finds whose a number is: the registry says, and where it does not, the owner of the code that the symbol names with a device
// that this gateway knows is tried. Of several, the owner of the code comes first.
func (g *Gateway) claims(ctx context.Context, a *traceAnswer, n uint32, def *code.Definition) {
	a.Registry = "read"
	rec, _, err := g.loadTrace(ctx, a.Trace)
	if err != nil {
		a.Registry = "away"
		_ = g.unavailable(err) // it is logged there
	}
	a.Claims = append(a.Claims, rec.Claims...)
	if def == nil {
		return
	}
	issuer := issuerOf(def)
	if len(a.Claims) == 0 {
		for device := range g.devicesKnown() {
			if g.traces.key.Trace(issuer, device) == n {
				a.Claims = append(a.Claims, claim{pair: pair{issuer, device}})
			}
		}
	}
	slices.SortStableFunc(a.Claims, func(x, y claim) int {
		return cmp.Compare(boolInt(x.Issuer != issuer), boolInt(y.Issuer != issuer))
	})
}

func (g *Gateway) devicesKnown() map[string]bool {
	m := g.traces.devices()
	m[g.opts.Device] = true
	return m
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkDevice holds a device's name to what is kept of it.
func checkDevice(v string) error {
	if len(v) > maxDevice {
		return invalid(events.CodeTooLarge, "device", "it has %d bytes; at most %d are allowed", len(v), maxDevice)
	}
	return checkText("device", v)
}
