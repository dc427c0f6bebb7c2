package procs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/chaos/clock"
	"github.com/huoma/huoma/internal/chaos/plan"
	"github.com/huoma/huoma/internal/chaos/wire"
)

// Options say what to install.
type Options struct {
	Dir        string // data, logs and settings go below it
	Bin        string // folder of the programs, nats-server among them
	OldBin     string // folder of the programs of the previous schema; "": begin with the newest
	Library    string // the engine's library; "": where it is looked for anyway
	Shape      plan.Shape
	Partitions int
	Paged      bool     // the programs are built with the overlay of package clock
	Disks      []string // names of servers whose disk is to be a Disk
	Spool      bool     // gateways keep what they cannot publish in a spool
}

// Installation is all processes of a shape, with the links between them.
//
//	gateway-N ─────────link──┐
//	scan-worker-N ─────link──┤──► nats-1 (─link─ nats-2, nats-3)
//	analytics-worker-N ─link─┘
//	        └──────────link─────► clickhouse
//	producers ─────────link─────► each nats
type Installation struct {
	Options
	Processes []*Process              // in the order they are started in
	Links     map[string][]*wire.Link // by whose and to what: "gateway-1 nats", "analytics-worker-1 clickhouse"
	Routes    map[string]*wire.Link   // by the NATS server they lead to
	Pages     map[string]*clock.Page  // by process
	DiskOf    map[string]*Disk        // by process

	Gateways       []string // URLs
	NATS           string   // the servers' own addresses
	Monitors       []string // URLs of the servers' monitors, in order
	ProducerNATS   string   // the same servers through the producers' links
	ClickHouse     string   // URL of the native protocol
	ClickHouseHTTP string
	APIKey         string
	Keyring        string

	natsPorts []int
	cleanups  []func() error
}

// New makes folders, keys, links and command lines, and starts nothing. Close
// it whatever happens, also after an error.
func New(o Options) (*Installation, error) {
	in := &Installation{
		Options: o, Links: map[string][]*wire.Link{}, Routes: map[string]*wire.Link{}, Pages: map[string]*clock.Page{}, DiskOf: map[string]*Disk{},
		Keyring: filepath.Join(o.Dir, "keyring.json"),
	}
	for _, d := range []string{"log", "run", "data"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o755); err != nil {
			return in, err
		}
	}
	key := make([]byte, 24)
	_, _ = rand.Read(key) // never fails: the program ends instead
	in.APIKey = "hk_" + hex.EncodeToString(key)
	if err := os.WriteFile(in.keyFile(), []byte(in.APIKey+"\n"), 0o600); err != nil {
		return in, err
	}
	if out, err := exec.Command(filepath.Join(o.Bin, "huoma"), "keys", "new", "--keyring", in.Keyring).CombinedOutput(); err != nil {
		return in, fmt.Errorf("make a keyring: %w: %s", err, out)
	}
	ports, err := freePorts(24)
	if err != nil {
		return in, err
	}
	if o.Shape == plan.AllInOne {
		return in, in.allInOne(ports)
	}
	return in, in.production(ports)
}

func (in *Installation) keyFile() string { return filepath.Join(in.Dir, "api-key") }

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// process adds a process.
func (in *Installation) process(name, program, probe string, env []string, args ...string) error {
	if in.Library != "" {
		env = append(env, "HUOMA_CHDB_LIB="+in.Library)
	}
	if in.Paged {
		page, err := clock.NewPage(filepath.Join(in.Dir, "run", name+".page"))
		if err != nil {
			return err
		}
		in.Pages[name] = page
		in.cleanups = append(in.cleanups, page.Close)
		env = append(env, clock.Env+"="+page.Path())
	}
	in.Processes = append(in.Processes, &Process{
		Name: name, Path: filepath.Join(in.Bin, program), Args: args, Env: env, Log: filepath.Join(in.Dir, "log", name+".log"), Probe: probe,
	})
	return nil
}

// store is where a process keeps its files: on a Disk of its own where that is
// to run full. Of huoma up it is the disk of the embedded NATS.
func (in *Installation) store(name string) (string, error) {
	dir := filepath.Join(in.Dir, "data", name)
	small := dir
	if name == "huoma" {
		small = filepath.Join(dir, "nats")
	}
	for _, d := range in.Disks {
		if d != name {
			continue
		}
		disk, err := NewDisk(small)
		if err != nil {
			return "", err
		}
		in.DiskOf[name] = disk
		in.cleanups = append(in.cleanups, disk.Close)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// link adds the link of a process to an address.
func (in *Installation) link(whose, to, target string, nats bool) (string, error) {
	k, err := wire.Listen(wire.Options{Target: target, NATS: nats})
	if err != nil {
		return "", err
	}
	in.cleanups = append(in.cleanups, func() error { k.Close(); return nil })
	in.Links[whose+" "+to] = append(in.Links[whose+" "+to], k)
	return k.Addr(), nil
}

// natsFor are the NATS servers' addresses through a process's own links.
func (in *Installation) natsFor(whose string) (string, error) {
	var urls []string
	for _, p := range in.natsPorts {
		addr, err := in.link(whose, "nats", at(p), true)
		if err != nil {
			return "", err
		}
		urls = append(urls, "nats://"+addr)
	}
	return strings.Join(urls, ","), nil
}

func (in *Installation) production(ports []int) error {
	next := func() (p int) { p, ports = ports[0], ports[1:]; return p }
	n := 1
	if in.Shape == plan.Cluster {
		n = 3
	}
	if err := in.servers(n, next); err != nil {
		return err
	}
	native, web := next(), next()
	data, err := in.store("clickhouse")
	if err != nil {
		return err
	}
	err = in.process("clickhouse", "huoma", "http://"+at(web)+"/ping", nil, "clickhouse", "--addr", at(native), "--http-addr", at(web), "--data", data)
	if err != nil {
		return err
	}
	in.ClickHouse, in.ClickHouseHTTP = "clickhouse://"+at(native)+"/huoma", "http://"+at(web)
	var direct []string
	for _, p := range in.natsPorts {
		direct = append(direct, "nats://"+at(p))
	}
	in.NATS = strings.Join(direct, ",")
	if in.ProducerNATS, err = in.natsFor("producers"); err != nil {
		return err
	}
	public := ""
	roles := []struct {
		program string
		count   int
	}{{"gateway", 2}, {"scan-worker", 3}, {"analytics-worker", 2}}
	for _, r := range roles {
		for i := range r.count {
			name := fmt.Sprintf("%s-%d", r.program, i+1)
			port := next()
			urls, err := in.natsFor(name)
			if err != nil {
				return err
			}
			args := []string{"--addr", at(port), "--nats-url", urls, "--partitions", fmt.Sprint(in.Partitions)}
			if in.Shape == plan.Cluster {
				args = append(args, "--replicas", "3")
			}
			switch r.program {
			case "gateway":
				in.Gateways = append(in.Gateways, "http://"+at(port))
				public = in.Gateways[0]
				args = append(args, "--public-url", public, "--api-key-file", in.keyFile(), "--keyring", in.Keyring)
				if in.Spool {
					args = append(args, "--spool-dir", filepath.Join(in.Dir, "data", "spool-"+name))
				}
			case "scan-worker":
				args = append(args, "--keyring", in.Keyring)
			case "analytics-worker":
				ch, err := in.link(name, "clickhouse", at(native), false)
				if err != nil {
					return err
				}
				args = append(args, "--clickhouse-url", "clickhouse://"+ch+"/huoma")
			}
			if err := in.process(name, r.program, "http://"+at(port)+"/readyz", nil, args...); err != nil {
				return err
			}
			if r.program == "analytics-worker" && in.OldBin != "" {
				p := in.Processes[len(in.Processes)-1]
				p.Path = filepath.Join(in.OldBin, r.program)
			}
		}
	}
	return nil
}

// servers adds n NATS servers. Of three each reaches another through the
// other's route link, which tells by its name who comes.
func (in *Installation) servers(n int, next func() int) error {
	routePorts := make([]int, n)
	var routes []string
	for i := range n {
		in.natsPorts = append(in.natsPorts, next())
		routePorts[i] = next()
		if n == 1 {
			break
		}
		k, err := wire.Listen(wire.Options{Target: at(routePorts[i]), Route: true})
		if err != nil {
			return err
		}
		in.cleanups = append(in.cleanups, func() error { k.Close(); return nil })
		in.Routes[fmt.Sprintf("nats-%d", i+1)] = k
		routes = append(routes, `"nats-route://`+k.Addr()+`"`)
	}
	for i := range n {
		name := fmt.Sprintf("nats-%d", i+1)
		store, err := in.store(name)
		if err != nil {
			return err
		}
		monitor := next()
		in.Monitors = append(in.Monitors, "http://"+at(monitor))
		var b strings.Builder
		fmt.Fprintf(&b, "server_name: %q\nlisten: %q\nhttp: %q\nmax_payload: 8388608\n", name, at(in.natsPorts[i]), at(monitor))
		fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n", store)
		if n == 1 {
			b.WriteString("  sync_interval: always\n")
		}
		b.WriteString("}\n")
		if n > 1 {
			own := strings.TrimSuffix(strings.TrimPrefix(routes[i], `"nats-route://`), `"`)
			fmt.Fprintf(&b, "cluster {\n  name: \"huoma\"\n  listen: %q\n  advertise: %q\n  no_advertise: true\n  routes: [%s]\n}\n", at(routePorts[i]), own, strings.Join(routes, ", "))
		}
		conf := filepath.Join(in.Dir, "run", name+".conf")
		if err := os.WriteFile(conf, []byte(b.String()), 0o644); err != nil {
			return err
		}
		if err := in.process(name, "nats-server", "http://"+at(monitor)+"/healthz", nil, "--config", conf); err != nil {
			return err
		}
	}
	return nil
}

func (in *Installation) allInOne(ports []int) error {
	gateway, broker, native, web := ports[0], ports[1], ports[2], ports[3]
	data, err := in.store("huoma")
	if err != nil {
		return err
	}
	in.natsPorts = []int{broker}
	in.Gateways = []string{"http://" + at(gateway)}
	in.NATS = "nats://" + at(broker)
	in.ClickHouse, in.ClickHouseHTTP = "clickhouse://"+at(native)+"/huoma", "http://"+at(web)
	if in.ProducerNATS, err = in.natsFor("producers"); err != nil {
		return err
	}
	args := []string{"up", "--data", data, "--addr", at(gateway), "--nats-addr", at(broker), "--clickhouse-addr", at(native), "--clickhouse-http-addr", at(web),
		"--partitions", fmt.Sprint(in.Partitions), "--keyring", in.Keyring, "--json"}
	return in.process("huoma", "huoma", in.Gateways[0]+"/readyz", []string{"HUOMA_API_KEY=" + in.APIKey}, args...)
}

// LinksOf are the links of a process, or of all of a kind, such as gateways, to
// a kind of server.
func (in *Installation) LinksOf(whose, to string) (list []*wire.Link) {
	for name, links := range in.Links {
		from, server, _ := strings.Cut(name, " ")
		if server == to && (from == whose || whose != "producers" && strings.HasPrefix(from, strings.TrimSuffix(whose, "s")+"-") && strings.HasSuffix(whose, "s")) {
			list = append(list, links...)
		}
	}
	return list
}

// Find is the process of a name, nil for none.
func (in *Installation) Find(name string) *Process {
	for _, p := range in.Processes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Start starts everything and returns when all of it is ready: servers, the
// schema, then the roles, the first of which makes the streams.
func (in *Installation) Start(ctx context.Context) error {
	var servers, roles []*Process
	for _, p := range in.Processes {
		if strings.HasPrefix(p.Name, "nats-") || p.Name == "clickhouse" {
			servers = append(servers, p)
		} else {
			roles = append(roles, p)
		}
	}
	for _, p := range servers {
		if err := p.Start(); err != nil {
			return err
		}
	}
	for _, p := range servers {
		if err := p.Await(ctx); err != nil {
			return err
		}
	}
	if in.Shape != plan.AllInOne {
		bin := in.Bin
		if in.OldBin != "" {
			bin = in.OldBin
		}
		if err := in.Migrate(ctx, bin); err != nil {
			return err
		}
	}
	for i, p := range roles {
		if err := p.Start(); err != nil {
			return err
		}
		if i == 0 {
			if err := p.Await(ctx); err != nil {
				return err
			}
		}
	}
	for _, p := range roles {
		if err := p.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Migrate runs `huoma migrate` of a folder of programs.
func (in *Installation) Migrate(ctx context.Context, bin string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "huoma"), "migrate", "--clickhouse-url", in.ClickHouse)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("huoma migrate: %w: %s", err, out)
	}
	return nil
}

// Heal takes every fault back: links pass, clocks are right, disks have room,
// nothing is paused, everything runs.
func (in *Installation) Heal() error {
	var errs []error
	for _, list := range in.Links {
		for _, k := range list {
			k.Set(wire.Faults{})
		}
	}
	for _, k := range in.Routes {
		k.Set(wire.Faults{})
		k.Isolate()
	}
	for _, p := range in.Pages {
		errs = append(errs, p.Shift(0), p.SlowSync(0))
	}
	for _, d := range in.DiskOf {
		errs = append(errs, d.Empty())
	}
	for _, p := range in.Processes {
		_ = p.Continue() // it may not run
		errs = append(errs, p.Start())
	}
	return errors.Join(errs...)
}

// Await waits until everything is ready.
func (in *Installation) Await(ctx context.Context) error {
	for _, p := range in.Processes {
		if err := p.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopWithin is how long a process may take to drain.
const stopWithin = 60 * time.Second

// Stop ends everything in order: gateways, workers, servers. The error names
// those that did not end by themselves.
func (in *Installation) Stop() error {
	var errs []error
	for _, kind := range []string{"huoma", "gateway", "scan-worker", "analytics-worker", "nats", "clickhouse"} {
		for _, p := range in.Processes {
			if strings.HasPrefix(p.Name, kind) {
				errs = append(errs, p.Stop(stopWithin))
			}
		}
	}
	return errors.Join(errs...)
}

// Close kills what still runs and gives links and disks back.
func (in *Installation) Close() error {
	for _, p := range in.Processes {
		p.Kill()
	}
	var errs []error
	for i := len(in.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, in.cleanups[i]())
	}
	return errors.Join(errs...)
}
