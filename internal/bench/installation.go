package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// installation is Huoma on a folder of its own, each part a process.
type installation struct {
	b      *bench
	dir    string
	codes  int
	filled int // scans
	like   *mintTemplate

	nats, gateway, worker, analytics, clickhouse *process

	bus *bus
}

// Codes of a run, as they are minted.
const (
	permanent = `{"profile":"wecom-group","name":"bench","campaign":"spring","targets":[{"url":"` + target + `","capacity":1000000000}]}`
	expiring  = `{"profile":"wechat-static","max_scans":1000000000,"name":"bench","campaign":"spring","targets":[{"url":"` + target + `","capacity":1000000000}]}`
)

// install is installLike with codes that never expire.
func (b *bench) install(ctx context.Context, codes int, form string, scans int) (*installation, error) {
	return b.installLike(ctx, permanent, codes, form, scans)
}

// installLike makes an installation with so many codes and so many scans in its
// log. What is measured on it afterwards is written with every write synced;
// what is put there before is not, to be quick.
func (b *bench) installLike(ctx context.Context, mint string, codes int, form string, scans int) (in *installation, err error) {
	dir, err := os.MkdirTemp(b.dir, "installation-")
	if err != nil {
		return nil, err
	}
	in = &installation{b: b, dir: dir, codes: codes}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.remove())
		}
	}()
	if _, err := keyfile.Create(in.keyring()); err != nil {
		return nil, err
	}
	if err := in.startNATS("interval"); err != nil {
		return nil, err
	}
	if in.like, err = in.mint(ctx, mint); err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	if err := in.define(0, codes); err != nil {
		return nil, fmt.Errorf("define codes: %w", err)
	}
	if err := in.fill(form, scans); err != nil {
		return nil, fmt.Errorf("fill the log: %w", err)
	}
	if err := in.writeTokens(); err != nil {
		return nil, err
	}
	return in, in.resync("always")
}

// resync starts NATS anew with another sync policy.
func (in *installation) resync(policy string) error {
	in.bus.close()
	if err := in.nats.stop(); err != nil {
		return err
	}
	return in.startNATS(policy)
}

func (in *installation) startNATS(policy string) (err error) {
	if in.nats, err = in.b.start("nats", filepath.Join(in.dir, "nats"), "127.0.0.1:0", policy); err != nil {
		return err
	}
	if err := in.nats.saysReady(); err != nil {
		return err
	}
	in.bus, err = dial(in.nats.addr)
	return err
}

func (in *installation) startGateway(ctx context.Context) error {
	p, err := in.startRole(ctx, "gateway", "--api-key", apiKey, "--keyring", in.keyring(), "--spool-dir", filepath.Join(filepath.Dir(in.keyring()), "spool"))
	in.gateway = p
	return err
}

func (in *installation) startWorker(ctx context.Context) error {
	p, err := in.startRole(ctx, "scan-worker", "--keyring", in.keyring())
	in.worker = p
	return err
}

// startAnalytics starts the analytics worker on a database, which it finds made.
func (in *installation) startAnalytics(ctx context.Context, database string) error {
	p, err := in.startRole(ctx, "analytics-worker", "--clickhouse-url", in.clickhouseURL(database))
	in.analytics = p
	return err
}

func (in *installation) startRole(ctx context.Context, kind string, args ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := in.b.start(kind, append([]string{"--nats-url", in.nats.addr, "--addr", addr}, args...)...)
	if err != nil {
		return nil, err
	}
	p.addr = addr
	return p, p.answersReady(ctx)
}

func (in *installation) startClickHouse() (err error) {
	if in.clickhouse, err = in.b.start("clickhouse", in.dir); err != nil {
		return err
	}
	return in.clickhouse.saysReady()
}

func (in *installation) clickhouseURL(database string) string {
	return "clickhouse://" + in.clickhouse.addr + "/" + database
}

func (in *installation) stopGateway() error { return stopped(&in.gateway) }

func stopped(p **process) error {
	if *p == nil {
		return nil
	}
	err := (*p).stop()
	*p = nil
	return err
}

// remove stops everything, gateways first and servers last, and removes the folder.
func (in *installation) remove() error {
	var errs []error
	for _, p := range []**process{&in.gateway, &in.worker, &in.analytics, &in.clickhouse} {
		errs = append(errs, stopped(p))
	}
	if in.bus != nil {
		in.bus.close()
	}
	errs = append(errs, stopped(&in.nats), os.RemoveAll(in.dir))
	return errors.Join(errs...)
}

// undecide forgets everything the scan worker has made of the log, so that it
// decides it again.
func (in *installation) undecide(ctx context.Context) error {
	s, err := in.bus.js.Stream(ctx, events.StreamDecisions)
	if err != nil {
		return err
	}
	state, err := in.bus.js.ObjectStore(ctx, events.BucketState)
	if err != nil {
		return err
	}
	return errors.Join(
		s.Purge(ctx),
		unless(state.Delete(ctx, "snapshot.0"), jetstream.ErrObjectNotFound),
		unless(in.bus.js.DeleteConsumer(ctx, events.StreamEvents, "scan-0"), jetstream.ErrConsumerNotFound),
		in.unread(ctx),
	)
}

// unread forgets what the analytics worker has read. The manifest goes without
// a marker of its deletion: to the worker it was never there.
func (in *installation) unread(ctx context.Context) error {
	s, err := in.bus.js.Stream(ctx, "KV_"+natsjs.BucketAnalytics)
	if err != nil {
		return err
	}
	return errors.Join(
		unless(in.bus.js.DeleteConsumer(ctx, events.StreamDecisions, "analytics-0"), jetstream.ErrConsumerNotFound),
		s.Purge(ctx),
	)
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// uncompressed does not let a process compress what is read here: that would
// cost more than all else about it.
var uncompressed = &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: answersWithin}

// metric adds up the samples of a metric of a role, of those with the label if
// one is given, such as table="scans".
func (p *process) metric(name, label string) (float64, error) {
	resp, err := uncompressed.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var sum float64
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		sample, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || !strings.HasPrefix(sample, name) || !strings.Contains(sample, label) {
			continue
		}
		if rest := sample[len(name):]; rest != "" && rest[0] != '{' {
			continue // a longer name
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, lines.Err()
}
