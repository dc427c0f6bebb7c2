package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say whom to send what. All but Log are required.
type Options struct {
	Seed     uint64
	Events   int           // to be acknowledged in all
	Duration time.Duration // over which they are spread, faults allowing
	Gateways []string      // URLs
	NATS     string        // URL
	APIKey   string
	Log      *slog.Logger
}

// Traffic is a run of it.
type Traffic struct {
	o      Options
	Ledger *Ledger
	http   *http.Client
	nc     *nats.Conn
	js     jetstream.JetStream

	mu    sync.Mutex
	codes []*Code // that may be scanned

	begun time.Time
}

// How events are divided. Batches are cheap, and most of what there is.
const (
	browserShare = 0.03
	singleShare  = 0.02
	// The rest: half by NATS, half by HTTP.
)

// New connects the producers.
func New(o Options) (*Traffic, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	nc, err := nats.Connect(o.NATS, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond), nats.RetryOnFailedConnect(true), nats.Name("chaos producers"),
		nats.Timeout(2*time.Second), nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2), nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what matters comes back from a call
	if err != nil {
		return nil, fmt.Errorf("connect the producers: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Traffic{
		o: o, Ledger: NewLedger(), nc: nc, js: js,
		// One connection a request: net/http repeats a GET by itself when a kept connection breaks, and the ledger must know of each.
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close ends the producers' connection.
func (t *Traffic) Close() { t.nc.Close() }

// Run mints the first codes and sends everything. It returns when all of it is
// acknowledged and until is closed; what is under way when ctx ends is
// given up.
func (t *Traffic) Run(ctx context.Context, until <-chan struct{}) error {
	t.begun = time.Now()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		over := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-until:
				over, until = true, nil
			case <-tick.C:
			}
			if over && t.Ledger.Acked() >= t.o.Events {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { t.natsBatches(ctx, sending, t.Ledger.Lane(fmt.Sprint("n", i)), t.rng(10+i)) })
		wg.Go(func() { t.httpBatches(ctx, sending, t.Ledger.Lane(fmt.Sprint("h", i)), t.rng(20+i)) })
		wg.Go(func() { t.singles(ctx, sending, t.Ledger.Lane(fmt.Sprint("s", i)), t.rng(30+i)) })
	}
	for i := range 4 {
		wg.Go(func() { t.browser(ctx, sending, t.rng(40+i)) })
	}
	wg.Go(func() { t.operator(ctx, sending, t.rng(50)) })
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("the traffic was not over in time: %s: %w", t.Ledger, context.Cause(ctx))
	}
	return nil
}

func (t *Traffic) rng(stream int) *rand.Rand { return rand.New(rand.NewPCG(t.o.Seed, uint64(stream))) }

// pace waits until a sender that has sent n of its whole may send more: it
// spreads them over the duration and lets who fell behind catch up.
func (t *Traffic) pace(ctx context.Context, n int, whole float64) bool {
	due := time.Duration(float64(n) / max(whole, 1) * float64(t.o.Duration))
	wait := due - time.Since(t.begun)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// errRefused: the installation says no, and would again.
var errRefused = errors.New("refused")

// insist calls try until it succeeds, is refused, or ctx ends. It reports
// whether it succeeded.
func (t *Traffic) insist(ctx context.Context, what string, try func() error) bool {
	pause := 20 * time.Millisecond
	for {
		err := try()
		switch {
		case err == nil:
			return true
		case errors.Is(err, errRefused):
			t.o.Log.Error("refused", "what", what, "err", err)
			t.Ledger.count("refused though well-formed", 1)
			return false
		}
		t.Ledger.count("repeated for want of an answer", 1)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// known is some code, and its number; nil before the first mint.
func (t *Traffic) known(rng *rand.Rand) *Code {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.codes) == 0 {
		return nil
	}
	// Some are scanned more than others.
	i := int(float64(len(t.codes)) * rng.Float64() * rng.Float64())
	return t.codes[i]
}

// Mint mints the first n codes, for what follows to have something to name.
func (t *Traffic) Mint(ctx context.Context, n int) error {
	rng := t.rng(1)
	for i := range n {
		if !t.mint(ctx, rng, fmt.Sprintf("chaos-%d-first-%d", t.o.Seed, i)) {
			return fmt.Errorf("mint the first codes: %w", errors.Join(ctx.Err(), errRefused))
		}
	}
	return nil
}
