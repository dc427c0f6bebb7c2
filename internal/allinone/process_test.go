package allinone_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// built is the folder of the programs, for TestMain to remove.
var built string

// binaries builds the programs once and returns their folder.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "huoma-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "github.com/huoma/huoma/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
})

// process is one program that a test may kill and start again.
type process struct {
	t    testing.TB
	args []string
	env  []string
	cmd  *exec.Cmd
	log  tail
	done chan struct{}
}

func run(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	args[0] = filepath.Join(dir, args[0])
	p := &process{t: t, args: args, env: env}
	p.start()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-p.done:
			case <-time.After(within):
				t.Errorf("%s does not stop", filepath.Base(p.args[0]))
				p.kill()
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(p.args, " "), p.log.String())
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	cmd := p.cmd
	go func() { _ = cmd.Wait(); close(done) }()
	p.done = done
}

// kill ends the process without a word, as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// child is the one child of a process.
func child(t testing.TB, parent int) int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent)) // by the thread that started it
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range lists {
		b, _ := os.ReadFile(name) // a thread may be gone
		all = append(all, b...)
	}
	if len(lists) == 0 { // no such files on this system
		if all, err = exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output(); err != nil {
			t.Fatalf("children of %d: %v", parent, err)
		}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(all)))
	if err != nil {
		t.Fatalf("children of %d: %q, want one", parent, all)
	}
	return pid
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// simulated runs `huoma simulate` and calls meanwhile while it does.
func (in *installation) simulated(events int, natsURL string, meanwhile func()) {
	in.t.Helper()
	dir, err := binaries()
	if err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "huoma"), "simulate", "--gateway", in.Gateway, "--api-key", apiKey, "--nats-url", natsURL,
		"--events", strconv.Itoa(events), "--rate", "2500", "--seed", "3", "--json")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	meanwhile()
	if err := cmd.Wait(); err != nil {
		in.t.Fatalf("simulate: %v: %s", err, complaints.String())
	}
	var sent struct {
		Unsure int
		Stored map[string]int
	}
	if err := json.Unmarshal(out.Bytes(), &sent); err != nil {
		in.t.Fatalf("simulate says %s", out.String())
	}
	// Distinct events that were acknowledged; of those it is unsure of, some
	// may have been stored more than told.
	for typ, table := range map[string]string{"huoma.scan.v1": "scans", "huoma.conversion.v1": "conversions"} {
		got, want := 0, sent.Stored[typ]
		until(in.t, table+" at least "+strconv.Itoa(want), true, func() bool {
			got, _ = strconv.Atoi(in.query("SELECT count() FROM " + table))
			return got >= want
		})
		if got > want+sent.Unsure {
			in.t.Errorf("%d %s, want %d and at most %d more", got, table, want, sent.Unsure)
		}
	}
}

// warnings holds the alerts in the stream, in the warehouse and in the rules
// together: every capacity warning once.
func (in *installation) warnings() {
	in.t.Helper()
	if got := in.query("SELECT count() - uniqExact(event_id) FROM alerts"); got != "0" {
		in.t.Errorf("%s alerts are doubled", got)
	}
}

// pass waits for a part of the traffic to have arrived, by rows.
func (in *installation) pass(rows int) {
	in.t.Helper()
	until(in.t, "rows at least "+strconv.Itoa(rows), true, func() bool {
		resp, err := http.Post(in.ClickHouseHTTP+"/?database=huoma", "text/plain", strings.NewReader("SELECT count() FROM scans"))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var n int
		_, _ = fmt.Fscan(resp.Body, &n)
		return n >= rows
	})
}

// Everything in one process group, killed at any moment, with its engine killed too.
func TestKilledInstallation(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	in := &installation{t: t, keys: filepath.Join(dir, "data", "keyring.json")}
	gateway, broker, ch, web := freePort(t), freePort(t), freePort(t), freePort(t)
	up := run(t, nil, "huoma", "up", "--data", filepath.Join(dir, "data"), "--addr", gateway, "--nats-addr", broker, "--clickhouse-addr", ch,
		"--clickhouse-http-addr", web, "--api-key", apiKey, "--ready-file", ready)
	answers := func() {
		t.Helper()
		until(t, "ready", true, func() bool {
			b, err := os.ReadFile(ready)
			var at struct{ Gateway, NATS, ClickHouse, ClickHouse_HTTP, API_Key string }
			return err == nil && json.Unmarshal(b, &at) == nil && at.Gateway == "http://"+gateway && at.API_Key == apiKey
		})
	}
	answers()
	in.Addresses = allinone.Addresses{Gateway: "http://" + gateway, NATS: "nats://" + broker, ClickHouse: ch, ClickHouseHTTP: "http://" + web}
	in.simulated(15_000, in.NATS, func() {
		for i := range 3 {
			in.pass(2000 * (i + 1))
			if i == 1 {
				if err := syscall.Kill(child(t, up.cmd.Process.Pid), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				continue
			}
			up.kill()
			_ = os.Remove(ready)
			up.start()
			answers()
		}
	})
	in.agree()
	in.warnings()
}

// The roles as processes of their own, each killed under load: another of its
// kind, or its next start, goes on where it ended.
func TestKilledRoles(t *testing.T) {
	broker := natstest.New(t).URL()
	ch, err := chembed.New(chembed.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close(t.Context()) })
	keys := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyfile.LoadOrCreate(keys); err != nil {
		t.Fatal(err)
	}
	env := []string{"HUOMA_SPOOL_DIR=" + filepath.Join(t.TempDir(), "spool"), "HUOMA_NATS_URL=" + broker, "HUOMA_KEYRING=" + keys, "HUOMA_PARTITIONS=4", "HUOMA_API_KEY=" + apiKey,
		"HUOMA_CLICKHOUSE_URL=clickhouse://" + ch.Addr() + "/huoma"}
	addr := freePort(t)
	gateway := run(t, env, "gateway", "--addr", addr)
	scanners := []*process{run(t, env, "scan-worker", "--addr", "127.0.0.1:0"), run(t, env, "scan-worker", "--addr", "127.0.0.1:0")}
	// They wait for the schema.
	writers := []*process{run(t, env, "analytics-worker", "--addr", "127.0.0.1:0"), run(t, env, "analytics-worker", "--addr", "127.0.0.1:0")}
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(dir, "huoma"), "migrate", "--clickhouse-url", "clickhouse://"+ch.Addr()+"/huoma").CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	in := &installation{t: t, keys: keys, Addresses: allinone.Addresses{Gateway: "http://" + addr, NATS: broker, ClickHouse: ch.Addr(), ClickHouseHTTP: "http://" + ch.HTTPAddr()}}
	until(t, "readiness", http.StatusOK, func() int {
		resp, err := http.Get(in.Gateway + "/readyz")
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	})
	in.simulated(15_000, broker, func() {
		in.pass(1000)
		scanners[0].kill()
		in.pass(3000)
		writers[0].kill()
		gateway.kill()
		gateway.start()
		in.pass(5000)
		scanners[0].start()
		scanners[1].kill()
		writers[0].start()
		writers[1].kill()
	})
	in.agree()
	in.warnings()
}
