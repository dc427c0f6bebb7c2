package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/chstore"
	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsjs"
)

type doctorCmd struct {
	access
	NATSURL        string `name:"nats-url" help:"NATS server of the installation." default:"nats://127.0.0.1:4222"`
	ClickHouseURL  string `name:"clickhouse-url" help:"ClickHouse of the installation, for its own protocol." default:"clickhouse://127.0.0.1:9000/huoma"`
	ClickHouseHTTP string `name:"clickhouse-http" help:"ClickHouse of the installation, for HTTP." default:"http://127.0.0.1:8123"`
}

// Grades of a finding.
const (
	gradeOK   = "ok"
	gradeWarn = "warn" // works, but somebody should know
	gradeFail = "fail" // does not work
)

// finding is the outcome of one check.
type finding struct {
	Grade string `json:"grade"`
	Check string `json:"check"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // what to do about it
}

func fine(format string, args ...any) finding {
	return finding{Grade: gradeOK, Text: fmt.Sprintf(format, args...)}
}

func warn(do, format string, args ...any) finding {
	return finding{Grade: gradeWarn, Text: fmt.Sprintf(format, args...), Do: do}
}

func bad(do, format string, args ...any) finding {
	return finding{Grade: gradeFail, Text: fmt.Sprintf(format, args...), Do: do}
}

// Bounds of the checks.
const (
	leastFree  = 512 << 20       // bytes: below it, streams and parts soon stop growing
	littleFree = 4 << 30         // bytes: worth a word
	mostSkew   = 2 * time.Second // between this clock and the gateway's
	checkTime  = 10 * time.Second
)

// Run makes all checks, in the order in which one depends on another.
func (c *doctorCmd) Run(ctx context.Context, a *App) error {
	failed := 0
	for _, check := range []struct {
		name string
		run  func(context.Context, *App) finding
	}{
		{"data folder", c.folder}, {"disk space", c.disk}, {"ports", c.ports}, {"engine library", c.engine}, {"gateway", c.gateway}, {"api key", c.key}, {"clock", c.clock},
		{"nats", c.nats}, {"streams", c.streams}, {"log", c.damage}, {"dead letters", c.deadLetters},
		{"clickhouse", c.clickhouse}, {"schema", c.schema}, {"clickhouse http", c.clickhouseHTTP}, {"reconcile", c.reconcile},
	} {
		cctx, cancel := context.WithTimeout(ctx, checkTime)
		f := check.run(cctx, a)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.Check, f.Text = check.name, oneLine(f.Text)
		if f.Grade == gradeFail {
			failed++
		}
		if err := c.print(a.Stdout, f); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of the checks failed: do what their lines say and run huoma doctor again", failed)
	}
	return nil
}

func (c *doctorCmd) print(w io.Writer, f finding) error {
	if c.JSON {
		return printJSON(w, f)
	}
	line := fmt.Sprintf("%-5s %-16s %s", f.Grade, f.Check, f.Text)
	if f.Do != "" {
		line += ": " + f.Do
	}
	_, err := fmt.Fprintln(w, plain(line))
	return err
}

// running reports whether another process has the data folder.
func (c *doctorCmd) running() bool {
	f, err := os.OpenFile(filepath.Join(c.Data, "lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return true
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // closing does it as well
	return false
}

func (c *doctorCmd) folder(context.Context, *App) finding {
	info, err := os.Stat(c.Data)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fine("%s is not there yet; huoma up makes it", c.Data)
	case err != nil:
		return bad("choose another with --data", "%s cannot be read", c.Data)
	case !info.IsDir():
		return bad("choose another with --data", "%s is no folder", c.Data)
	}
	f, err := os.CreateTemp(c.Data, ".doctor-*")
	if err != nil {
		return bad("make it writable for this user, or choose another with --data", "%s is not writable", c.Data)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	if c.running() {
		return fine("%s is writable and in use by a huoma up", c.Data)
	}
	return fine("%s is writable and free", c.Data)
}

func (c *doctorCmd) disk(context.Context, *App) finding {
	dir := c.Data
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return warn("look at the disk yourself", "the free space of %s cannot be read", dir)
	}
	free := s.Bavail * uint64(s.Bsize) //nolint:unconvert // the type differs between systems
	text := fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))
	switch {
	case free < leastFree:
		return bad("make room, or choose another disk with --data", "only %s", text)
	case free < littleFree:
		return warn("make room before there is much traffic", "only %s", text)
	}
	return fine("%s", text)
}

// ports looks who has the addresses that `huoma up` would listen on.
func (c *doctorCmd) ports(context.Context, *App) finding {
	if c.running() {
		return fine("in use by the huoma up of this folder")
	}
	var busy []string
	for _, address := range []string{c.Gateway, c.NATSURL, c.ClickHouseURL, c.ClickHouseHTTP} {
		if u, err := url.Parse(address); err == nil && u.Host != "" && taken(u.Host) {
			busy = append(busy, u.Host)
		}
	}
	if len(busy) > 0 {
		return warn("if it is not the installation you mean, stop it or give huoma up other addresses", "something listens at %s", strings.Join(busy, ", "))
	}
	return fine("free")
}

func (c *doctorCmd) engine(_ context.Context, a *App) finding {
	if a.EngineLibrary == nil {
		return warn("use the huoma program", "this program has no embedded ClickHouse")
	}
	path, err := a.EngineLibrary()
	if err != nil {
		return warn("needed only for the embedded ClickHouse", "%v", err)
	}
	return fine("%s", path)
}

func (c *doctorCmd) gateway(ctx context.Context, _ *App) finding {
	cl, err := client.New(c.Gateway, "")
	if err != nil {
		return bad("write --gateway as http://127.0.0.1:8080", "%s is no address", c.Gateway)
	}
	err = cl.Ready(ctx)
	var away *client.Unreachable
	var p *client.Problem
	switch {
	case err == nil:
		return fine("%s is ready", c.Gateway)
	case errors.As(err, &away):
		if u, perr := url.Parse(c.Gateway); perr == nil && !taken(u.Host) {
			return bad("start it with huoma up", "nothing listens at %s", u.Host)
		}
		return bad("start it with huoma up, or name another with --gateway", "%s does not answer (%v)", c.Gateway, client.Cause(away.Cause))
	case errors.As(err, &p) && p.Status == http.StatusServiceUnavailable:
		return bad("wait a moment, then look at its log", "%s answers but is not ready: %v", c.Gateway, p)
	}
	return bad("another program may have the port: see who, or name another with --gateway", "%s is not a gateway (%v)", c.Gateway, err)
}

// taken reports whether something listens at host:port.
func taken(host string) bool {
	conn, err := net.DialTimeout("tcp", host, 2*time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (c *doctorCmd) key(ctx context.Context, _ *App) finding {
	cl, err := c.client()
	if err != nil {
		return bad("pass --api-key", "%v", err)
	}
	err = cl.Codes(ctx, 1, func(client.Code) error { return nil })
	var p *client.Problem
	switch {
	case err == nil:
		return fine("the gateway takes it")
	case errors.As(err, &p) && p.Status == http.StatusUnauthorized:
		return bad("pass --api-key, set HUOMA_API_KEY, or name the installation's folder with --data", "the gateway does not take it")
	}
	return warn("see the gateway's line", "it cannot be tried")
}

func (c *doctorCmd) clock(ctx context.Context, _ *App) finding {
	if year := time.Now().Year(); year < 2025 {
		return bad("set it", "this machine's clock says %d", year)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.Gateway, "/")+"/healthz", nil)
	if err != nil {
		return warn("see the gateway's line", "it cannot be compared with the gateway's")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return warn("see the gateway's line", "it cannot be compared with the gateway's")
	}
	defer resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return warn("see the gateway's line", "the gateway does not say what time it is")
	}
	// The header has whole seconds.
	if skew := time.Since(there) - 500*time.Millisecond; skew.Abs() > mostSkew {
		return bad("run a time service on both machines: events more than 5 min ahead are refused", "it differs from the gateway's by %s", skew.Round(time.Second))
	}
	return fine("it agrees with the gateway's")
}

func (c *doctorCmd) nats(ctx context.Context, _ *App) finding {
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: c.NATSURL, Name: "huoma doctor"})
	if err != nil {
		return bad("start one with huoma up, or name another with --nats-url", "%v", err)
	}
	defer conn.Close()
	inst, err := conn.Installation(ctx)
	switch {
	case errors.Is(err, events.ErrNotFound):
		return bad("start huoma up, or a gateway, once: it makes the streams", "%s answers, but nothing is installed there", redactNATS(c.NATSURL))
	case err != nil:
		return bad("see the server's log", "%v", err)
	}
	return fine("%s, %d partitions, %d replicas", redactNATS(c.NATSURL), inst.Partitions, inst.Replicas)
}

// withNATS runs a check that needs JetStream.
func (c *doctorCmd) withNATS(ctx context.Context, check func(*natsClient) finding) finding {
	n, err := dialNATS(ctx, c.NATSURL)
	if err != nil {
		return bad("see the line of nats", "they cannot be read")
	}
	defer n.close()
	return check(n)
}

func (c *doctorCmd) streams(ctx context.Context, _ *App) finding {
	return c.withNATS(ctx, func(n *natsClient) finding {
		var parts []string
		for _, name := range []string{events.StreamEvents, events.StreamDecisions, events.StreamAlerts, events.StreamDLQ} {
			s, err := n.js.Stream(ctx, name)
			if err != nil {
				return bad("start huoma up, or a gateway, once: it makes the streams", "%s cannot be read (%v)", name, err)
			}
			info := s.CachedInfo()
			if info.Cluster != nil && info.Cluster.Leader == "" {
				return bad("bring the missing servers of the cluster back", "%s has no leader", name)
			}
			parts = append(parts, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "HUOMA_"), info.State.Msgs))
		}
		return fine("messages: %s; server %s", strings.Join(parts, ", "), n.nc.ConnectedServerVersion())
	})
}

// damage asks whether the log has all that was ever in it: a NATS server starts without what it cannot read.
func (c *doctorCmd) damage(ctx context.Context, _ *App) finding {
	conn, err := natsjs.Connect(ctx, natsjs.Options{URL: c.NATSURL, Name: "huoma doctor"})
	if err != nil {
		return bad("see the line of nats", "it cannot be read")
	}
	defer conn.Close()
	found, err := conn.Damage(ctx)
	switch {
	case err != nil:
		return bad("see the line of nats", "it cannot be read (%v)", err)
	case len(found) > 0:
		return bad("docs/durability.md has what to do", "%s", strings.Join(found, "; "))
	}
	return fine("whole: no gaps in the decisions, and snapshots and events go with them")
}

func (c *doctorCmd) deadLetters(ctx context.Context, _ *App) finding {
	return c.withNATS(ctx, func(n *natsClient) finding {
		s, err := n.js.Stream(ctx, events.StreamDLQ)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return bad("see the line of streams", "there is no stream for them")
		case err != nil:
			return bad("see the line of nats", "they cannot be read (%v)", err)
		}
		if have := s.CachedInfo().State.Msgs; have > 0 {
			return warn("see them with huoma replay --dlq --list", "%d wait", have)
		}
		return fine("none")
	})
}

func (c *doctorCmd) withStore(ctx context.Context, check func(*chstore.Store) finding) finding {
	s, err := chstore.Open(ctx, chstore.Options{URL: c.ClickHouseURL, DialTimeout: 3 * time.Second})
	if err != nil {
		return bad("write --clickhouse-url as clickhouse://user:password@host:9000/huoma", "%v", err)
	}
	defer s.Close()
	return check(s)
}

func (c *doctorCmd) clickhouse(ctx context.Context, _ *App) finding {
	return c.withStore(ctx, func(s *chstore.Store) finding {
		v, err := s.Version(ctx)
		if err != nil {
			return bad("start one with huoma up, or name another with --clickhouse-url", "%v", err)
		}
		return fine("%s, version %s", chstore.Redact(c.ClickHouseURL), v)
	})
}

func (c *doctorCmd) schema(ctx context.Context, _ *App) finding {
	return c.withStore(ctx, func(s *chstore.Store) finding {
		if err := s.Check(ctx); err != nil {
			return bad("run huoma migrate when ClickHouse answers", "%v", err)
		}
		v, err := s.SchemaVersion(ctx)
		if err != nil {
			return bad("run huoma migrate", "%v", err)
		}
		return fine("version %d of database %s", v, s.Database())
	})
}

// ask returns the first line that a statement answers, in columns.
func (c *doctorCmd) ask(ctx context.Context, sql string) ([]string, error) {
	resp, err := clickhouse(ctx, c.ClickHouseHTTP, "", "TabSeparated", sql)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.Split(line, "\t"), nil
}

func (c *doctorCmd) clickhouseHTTP(ctx context.Context, _ *App) finding {
	v, err := c.ask(ctx, "SELECT version()")
	if err != nil {
		return bad("huoma query needs it: name it with --clickhouse-http", "%v", err)
	}
	return fine("%s, version %s", redactNATS(c.ClickHouseHTTP), v[0])
}

// reconcile asks whether the warehouse has what the log has decided. What has
// only just been decided may still be on its way.
func (c *doctorCmd) reconcile(ctx context.Context, _ *App) finding {
	s, err := chstore.Open(ctx, chstore.Options{URL: c.ClickHouseURL})
	if err != nil {
		return bad("see the line of clickhouse", "it cannot be asked")
	}
	defer s.Close()
	sql := "SELECT count(), sum(missing), sum(doubled) FROM " + s.Database() + ".reconcile"
	deadline := time.Now().Add(5 * time.Second)
	for {
		row, err := c.ask(ctx, sql)
		if err != nil || len(row) != 3 {
			return bad("see the lines of clickhouse and schema", "the view reconcile cannot be read (%v)", err)
		}
		missing, err1 := strconv.ParseInt(row[1], 10, 64)
		doubled, err2 := strconv.ParseInt(row[2], 10, 64)
		switch {
		case err1 != nil || err2 != nil:
			return bad("see the lines of clickhouse and schema", "the view reconcile cannot be read")
		case missing == 0 && doubled == 0:
			return fine("nothing missing, nothing doubled, in %s partitions", row[0])
		case doubled == 0 && time.Now().Before(deadline):
			select {
			case <-time.After(250 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if doubled != 0 {
			return bad("keep the data folder and report it", "%d rows missing, %d doubled", missing, doubled)
		}
		return warn("look again when traffic is low; if it stays, look at the analytics worker's log", "%d rows have not arrived yet", missing)
	}
}
