package natsjs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// MinServerVersion is the oldest NATS server this package works with: it has
// scheduled messages, pinned consumers and consumer reset.
const MinServerVersion = "2.14.0"

const (
	connectTimeout = 3 * time.Second
	// ackTimeout is after how long an acknowledgement that did not come is
	// asked for again.
	ackTimeout = 5 * time.Second
	// maxInFlight bounds the messages published and not yet acknowledged.
	maxInFlight = 4096
)

// Errors a caller may want to tell apart.
var (
	// ErrUnreachable: no server answered. A service that can wait may try again.
	ErrUnreachable = errors.New("NATS is unreachable")
	// ErrRefused: the server does not take the credentials. Trying again is of no use.
	ErrRefused = errors.New("NATS refused the credentials")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the connection to NATS is closed")
	// ErrTooLarge: the message is larger than the server takes.
	ErrTooLarge = fmt.Errorf("%w for NATS", events.ErrTooLarge)
	// ErrOldServer: the server is older than MinServerVersion.
	ErrOldServer = errors.New("NATS server is too old")
)

// Options say where NATS is and who we are.
type Options struct {
	URL             string       // nats://host:port, several with commas; may hold user:password
	Name            string       // shown in the server's connection list, such as "gateway"
	CredentialsFile string       // a .creds file, or
	NkeyFile        string       // a file with an nkey seed
	Log             *slog.Logger // default: nothing is logged
}

// Conn is a connection to NATS. It reconnects by itself, for ever. All methods
// may be used at once from many goroutines.
type Conn struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger
	addr string // for messages, without credentials

	closed chan struct{}
	up     atomic.Bool // there is a server at the other end

	mu        sync.Mutex
	lost      chan struct{} // closed at the next disconnect
	inst      *Installation
	snapshots jetstream.ObjectStore
}

// Connect makes a connection. When no server answers the error wraps
// ErrUnreachable, when the server refuses us ErrRefused, when it is too old
// ErrOldServer. No error or log line has the user or password of the URL.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.URL == "" {
		o.URL = nats.DefaultURL
	}
	addr, err := redact(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Conn{log: o.Log.With("component", "nats"), addr: addr, closed: make(chan struct{}), lost: make(chan struct{})}
	opts, err := c.options(o)
	if err != nil {
		return nil, err
	}
	c.up.Store(true) // before anything can say otherwise
	if c.nc, err = nats.Connect(o.URL, opts...); err != nil {
		return nil, c.connectError(err)
	}
	if v := c.nc.ConnectedServerVersion(); !atLeast(v, MinServerVersion) {
		c.nc.Close()
		return nil, fmt.Errorf("%w: the server at %s is NATS %s, Huoma needs %s or newer: upgrade it", ErrOldServer, addr, v, MinServerVersion)
	}
	c.js, err = jetstream.New(c.nc,
		jetstream.WithPublishAsyncMaxPending(maxInFlight),
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithDefaultTimeout(ackTimeout))
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	c.log.Info("connected", "server", c.nc.ConnectedAddr(), "version", c.nc.ConnectedServerVersion())
	return c, nil
}

func (c *Conn) options(o Options) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // credentials may be under rotation
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		// What is published while disconnected fails at once, and is tried
		// again by who knows whether it still matters.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.mu.Lock()
			c.up.Store(false)
			close(c.lost)
			c.lost = make(chan struct{})
			c.mu.Unlock()
			if err == nil {
				c.log.Info("disconnected")
				return
			}
			c.log.Warn("disconnected, trying to reconnect", "cause", err)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.up.Store(true)
			c.log.Info("reconnected", "server", nc.ConnectedAddr())
		}),
		nats.ClosedHandler(func(*nats.Conn) {
			c.up.Store(false)
			close(c.closed)
		}),
		// A server that takes nothing off its wire for so long is as good as gone.
		nats.FlusherTimeout(ackTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			if s != nil {
				c.log.Error("subscription", "subject", s.Subject, "cause", err)
				return
			}
			c.log.Error("connection", "cause", err)
		}),
	}
	switch {
	case o.CredentialsFile != "" && o.NkeyFile != "":
		return nil, errors.New("both a credentials file and an nkey file are named for NATS: keep one")
	case o.CredentialsFile != "":
		opts = append(opts, nats.UserCredentials(o.CredentialsFile))
	case o.NkeyFile != "":
		opt, err := nats.NkeyOptionFromSeed(o.NkeyFile)
		if err != nil {
			return nil, fmt.Errorf("the nkey file %s cannot be used: put a user seed (SU…) into it", o.NkeyFile)
		}
		opts = append(opts, opt)
	}
	return opts, nil
}

func (c *Conn) connectError(err error) error {
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrNkeysNotSupported) {
		return fmt.Errorf("%w at %s: check user and password in the URL, or the credentials file", ErrRefused, c.addr)
	}
	if errors.Is(err, nats.ErrNoServers) {
		return fmt.Errorf("%w at %s: start it, or name another with --nats-url", ErrUnreachable, c.addr)
	}
	return fmt.Errorf("%w at %s (%w): check --nats-url", ErrUnreachable, c.addr, err)
}

// Connected reports whether there is a server at the other end now. It does
// not block, not even while a write to a server that hangs does.
func (c *Conn) Connected() bool { return c.up.Load() }

// MaxPayload is the most bytes the server takes as one message, headers included.
func (c *Conn) MaxPayload() int { return int(c.nc.MaxPayload()) }

// Close lets what is under way end, for at most a few seconds, and closes the
// connection. Calls under way fail with ErrClosed or their context's error.
func (c *Conn) Close() error {
	if c.ended() {
		return nil
	}
	if err := c.nc.Drain(); err != nil {
		c.nc.Close()
		if errors.Is(err, nats.ErrConnectionReconnecting) {
			return nil // nothing to drain to
		}
		return fmt.Errorf("close the connection to NATS: %w", err)
	}
	select {
	case <-c.closed:
	case <-time.After(ackTimeout):
		c.nc.Close()
	}
	return nil
}

// ended: Close was called.
func (c *Conn) ended() bool { return c.nc.IsClosed() || c.nc.IsDraining() }

// redact is the list of servers without users, passwords and tokens.
func redact(list string) (string, error) {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return "", errors.New("the NATS URL cannot be read: write nats://host:port, several with commas, and percent-encode special characters of a password")
		}
		out = append(out, u.Scheme+"://"+u.Host)
	}
	return strings.Join(out, ","), nil
}

// atLeast compares versions such as 2.15.2 and 2.14.0-RC.1 by their numbers.
func atLeast(have, want string) bool {
	h, w := numbers(have), numbers(want)
	for i := range h {
		if h[i] != w[i] {
			return h[i] > w[i]
		}
	}
	return true
}

func numbers(v string) (n [3]int) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, p := range strings.SplitN(v, ".", 3) {
		n[i], _ = strconv.Atoi(p)
	}
	return n
}

// notFound says what is missing in the words of the domain.
func notFound(what string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("%s: Huoma is not set up on this NATS: start a gateway or a worker, which makes its streams, or huoma up: %w", what, events.ErrNotFound)
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return fmt.Errorf("%s: %w", what, events.ErrNotFound)
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("%s: this NATS, or our account on it, is without JetStream (%w): enable it", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// passing reports whether an error may go away by waiting: the connection is
// down, the server is starting, the stream has no leader.
func passing(err error) bool {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		// 503: no leader, no JetStream, no resources for now. 10158: the same
		// message id is being stored at this moment.
		return api.Code == 503 || api.ErrorCode == 10158
	}
	for _, e := range []error{
		nats.ErrTimeout, nats.ErrDisconnected, nats.ErrNoResponders, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting,
		jetstream.ErrAsyncPublishTimeout, jetstream.ErrNoStreamResponse, jetstream.ErrTooManyStalledMsgs, jetstream.ErrServerShutdown,
		jetstream.ErrConsumerLeadershipChanged, nats.ErrStaleConnection, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits between two attempts: a little longer each time, at most a
// second. It reports false when ctx ended or the connection was closed.
func (c *Conn) pause(ctx context.Context, attempt int) bool {
	return c.wait(ctx, min(20*time.Millisecond<<min(attempt, 6), time.Second))
}

// wait waits. It reports false when ctx ended or the connection was closed.
func (c *Conn) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.closed:
	case <-ctx.Done():
	}
	return false
}

// gaveUp is the error of a call that tried until its context ended: both the
// context's error and the last reason are in its chain.
func (c *Conn) gaveUp(ctx context.Context, what string, last error) error {
	if c.ended() {
		return fmt.Errorf("%s: %w", what, ErrClosed)
	}
	switch {
	case errors.Is(last, nats.ErrNoResponders) || errors.Is(last, jetstream.ErrNoStreamResponse):
		last = fmt.Errorf("JetStream does not answer at %s: it is not enabled there (nats-server -js), or its cluster has no leader at the moment: %w", c.addr, last)
	case !c.Connected():
		last = fmt.Errorf("%w at %s, trying to reconnect", ErrUnreachable, c.addr)
	}
	return fmt.Errorf("%s: no answer from NATS in time: %w", what, errors.Join(ctx.Err(), last))
}

// attempt is a context for one try of a request: it ends after ackTimeout, and
// when the connection is lost, because then no answer will come. cancel must
// be called.
func (c *Conn) attempt(ctx context.Context) (once context.Context, cancel func()) {
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	once, end := context.WithCancelCause(ctx)
	t := time.NewTimer(ackTimeout)
	go func() {
		defer t.Stop()
		select {
		case <-t.C:
			end(nats.ErrTimeout)
		case <-lost:
			end(nats.ErrDisconnected)
		case <-once.Done():
		}
	}()
	return once, func() { end(nil) }
}

// retry runs f until it succeeds, fails for good or ctx ends.
func (c *Conn) retry(ctx context.Context, what string, f func(context.Context) error) error {
	for attempt := 0; ; attempt++ {
		once, cancel := c.attempt(ctx)
		err := f(once)
		if err != nil && once.Err() != nil {
			err = context.Cause(once)
		}
		cancel()
		if err == nil {
			return nil
		}
		if c.ended() {
			return fmt.Errorf("%s: %w", what, ErrClosed)
		}
		if !passing(err) {
			return notFound(what, err)
		}
		if ctx.Err() != nil || !c.pause(ctx, attempt) {
			return c.gaveUp(ctx, what, err)
		}
	}
}
