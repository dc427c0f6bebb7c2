package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/chaos/procs"
)

// probe looks at an installation from beside the links: who leads, and
// whether writes are taken.
type probe struct {
	in   *procs.Installation
	code string                                          // a code to write events of
	scan func(ctx context.Context, gateway string) error // scans it once, and notes what came of it
	nc   *nats.Conn
	js   jetstream.JetStream
	http *http.Client
	n    atomic.Int64
}

func newProbe(in *procs.Installation, code string, scan func(ctx context.Context, gateway string) error) (*probe, error) {
	nc, err := nats.Connect(in.NATS, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true), nats.Timeout(time.Second),
		nats.Name("chaos probe"), nats.DontRandomize(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &probe{in: in, code: code, scan: scan, nc: nc, js: js, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}}, nil
}

func (p *probe) close() { p.nc.Close() }

// leader is the name of the server that leads a stream.
func (p *probe) leader(ctx context.Context, stream string) (string, error) {
	var last error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until) && ctx.Err() == nil; wait(ctx, 100*time.Millisecond) {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := p.js.Stream(once, stream)
		cancel()
		if err != nil {
			last = err
			continue
		}
		if c := s.CachedInfo().Cluster; c != nil && c.Leader != "" {
			return c.Leader, nil
		}
	}
	return "", fmt.Errorf("nobody leads %s: %w", stream, last)
}

// elected returns how long after at a stream has a leader that is not was.
func (p *probe) elected(ctx context.Context, at time.Time, stream, was string) time.Duration {
	for time.Since(at) < resumeWithin && ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		s, err := p.js.Stream(once, stream)
		cancel()
		if err == nil {
			if c := s.CachedInfo().Cluster; c != nil && c.Leader != "" && c.Leader != was {
				return time.Since(at)
			}
		}
		wait(ctx, 20*time.Millisecond)
	}
	return resumeWithin
}

// resumeWithin is how long resumed waits for a write at all.
const resumeWithin = time.Minute

// resumption is how long after something writes were acknowledged again; resumeWithin for those that were not.
type resumption struct {
	publish time.Duration // a publish to NATS
	write   time.Duration // POST /v1/events, by every gateway
	scan    time.Duration // a scan, by every gateway
}

func (r resumption) String() string {
	return fmt.Sprintf("publishing resumed after %s, events through every gateway after %s, scans after %s", r.publish.Round(time.Millisecond), r.write.Round(time.Millisecond), r.scan.Round(time.Millisecond))
}

// resumed measures from at on. A write is tried every 100 ms, and each may take its time: it counts when its answer comes.
func (p *probe) resumed(ctx context.Context, at time.Time) resumption {
	r := resumption{}
	writes, scans := make([]time.Duration, len(p.in.Gateways)), make([]time.Duration, len(p.in.Gateways))
	var all sync.WaitGroup
	all.Go(func() { r.publish = p.first(ctx, at, p.publish) })
	for i, g := range p.in.Gateways {
		all.Go(func() { writes[i] = p.first(ctx, at, func(ctx context.Context) error { return p.write(ctx, g) }) })
		all.Go(func() { scans[i] = p.first(ctx, at, func(ctx context.Context) error { return p.scan(ctx, g) }) })
	}
	all.Wait()
	r.write, r.scan = slices.Max(writes), slices.Max(scans)
	return r
}

func (p *probe) first(ctx context.Context, at time.Time, try func(context.Context) error) time.Duration {
	bounded, cancel := context.WithTimeout(ctx, resumeWithin)
	defer cancel()
	answered := make(chan time.Duration, 1)
	var tries sync.WaitGroup
	defer tries.Wait()
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		tries.Go(func() {
			once, cancel := context.WithTimeout(bounded, 10*time.Second)
			defer cancel()
			if try(once) == nil {
				select {
				case answered <- time.Since(at):
				default:
				}
			}
		})
		select {
		case d := <-answered:
			return d
		case <-bounded.Done():
			return resumeWithin
		case <-tick.C:
		}
	}
}

// event is one event of the probe's code: an event of nobody's lane, which
// may be stored or not.
func (p *probe) event() (id string, b []byte) {
	id = fmt.Sprintf("probe-%d", p.n.Add(1))
	return id, fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"chaos","type":"huoma.scan.v1","subject":%q,"time":%q,"data":{"visitor":%q}}`,
		id, p.code, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), id)
}

func (p *probe) publish(ctx context.Context) error {
	id, b := p.event()
	_, err := p.js.PublishMsg(ctx, &nats.Msg{Subject: "huoma.in.scan." + p.code, Data: b, Header: nats.Header{"Nats-Msg-Id": {id}}}, jetstream.WithRetryAttempts(0))
	return err
}

// write posts an event to a gateway.
func (p *probe) write(ctx context.Context, gateway string) error {
	_, b := p.event()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/v1/events", bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.in.APIKey)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%d", resp.StatusCode)
	}
	return nil
}

// writable waits until a publish is acknowledged.
func (p *probe) writable(ctx context.Context) error {
	for {
		once, cancel := context.WithTimeout(ctx, time.Second)
		err := p.publish(once)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// owned is how many partitions a worker's metrics say that it owns.
func owned(ctx context.Context, url string) (n int) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "huoma_partition_owned{") && strings.HasSuffix(lines.Text(), " 1") {
			n++
		}
	}
	return n
}
