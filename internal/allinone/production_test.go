package allinone_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/events"
)

// production is deploy/local/production.sh with what it has started.
type production struct {
	*installation
	script   string
	dir      string
	gateways []string
	cmd      *exec.Cmd
	out      tail
	done     chan struct{}
}

// produce runs the script on dir until the end of the test, on free ports.
func produce(t testing.TB, dir string, options ...string) *production {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../deploy/local/production.sh")
	if err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready.json")
	p := &production{installation: &installation{t: t, keys: filepath.Join(dir, "keyring.json")}, script: script, dir: dir, done: make(chan struct{})}
	p.cmd = exec.Command(script, append([]string{"up", "--data", dir, "--bin", bin, "--port", "0", "--ready-file", ready}, options...)...)
	p.cmd.Env = append(os.Environ(), "HUOMA_API_KEY="+apiKey)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	p.stop = sync.OnceFunc(p.end)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			p.logs(func(name string, text string) { t.Logf("%s:\n%s", name, text[max(0, len(text)-4<<10):]) })
			t.Logf("production.sh:\n%s", p.out.String())
		}
	})
	var at struct {
		Gateway        string   `json:"gateway"`
		Gateways       []string `json:"gateways"`
		NATS           string   `json:"nats"`
		ClickHouse     string   `json:"clickhouse"`
		ClickHouseHTTP string   `json:"clickhouse_http"`
		APIKey         string   `json:"api_key"`
	}
	until(t, "readiness", true, func() bool {
		select {
		case <-p.done:
			t.Fatalf("the script has ended:\n%s", p.out.String())
		default:
		}
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &at) == nil
	})
	if at.APIKey != apiKey || at.Gateway != at.Gateways[0] {
		t.Fatalf("the ready file says %+v", at)
	}
	p.gateways = at.Gateways
	p.Addresses = allinone.Addresses{Gateway: at.Gateway, NATS: at.NATS, ClickHouse: at.ClickHouse, ClickHouseHTTP: at.ClickHouseHTTP}
	return p
}

// end is Ctrl-C: everything stops in order, and nothing of it is left.
func (p *production) end() {
	p.t.Helper()
	names := p.names()
	var pids []int
	for _, name := range names {
		pids = append(pids, p.pid(name))
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(2 * within):
		p.t.Errorf("the script does not end")
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = exec.Command(p.script, "stop", "--data", p.dir).Run()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("the script's exit status is %d", code)
	}
	for i, pid := range pids {
		if runs(pid) {
			p.t.Errorf("%s still runs", names[i])
		}
	}
}

// runs reports whether a process does. One that ended and was never asked how
// is a zombie, which has no command line.
func runs(pid int) bool {
	if _, err := os.Stat("/proc/self"); err == nil {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && len(b) > 0
	}
	out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output() // it fails when there is none
	return len(out) > 0 && out[0] != 'Z'
}

// sh runs a sub-command of the script, as a second terminal would.
func (p *production) sh(command string, names ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.script, append([]string{command, "--data", p.dir}, names...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("production.sh %s %v: %v: %s", command, names, err, out)
	}
	return string(out)
}

// names are the processes there are.
func (p *production) names() (list []string) {
	files, _ := filepath.Glob(filepath.Join(p.dir, "run", "*.pid"))
	for _, f := range files {
		list = append(list, strings.TrimSuffix(filepath.Base(f), ".pid"))
	}
	return list
}

func (p *production) pid(name string) int {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "run", name+".pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// kill ends a process without a word.
func (p *production) kill(name string) {
	p.t.Helper()
	if err := syscall.Kill(p.pid(name), syscall.SIGKILL); err != nil {
		p.t.Fatalf("kill %s: %v", name, err)
	}
}

// logs calls f with the log of each process.
func (p *production) logs(f func(name, text string)) {
	files, _ := filepath.Glob(filepath.Join(p.dir, "log", "*.log"))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		f(filepath.Base(file), string(b))
	}
}

// complaints are the lines of the logs with one of these marks.
func (p *production) complaints(marks ...string) (list []string) {
	p.logs(func(name, text string) {
		for line := range strings.Lines(text) {
			if slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(line, m) }) {
				list = append(list, name+": "+line)
			}
		}
	})
	return list
}

// at is the installation as seen at its n-th gateway.
func (p *production) at(n int) *installation {
	in := *p.installation
	in.Gateway = p.gateways[n]
	return &in
}

// owners are the scan workers by the partition each owns, as their metrics say.
func (p *production) owners() map[string]string {
	owner := map[string]string{}
	for line := range strings.Lines(p.status()) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "scan-worker-") {
			continue
		}
		resp, err := http.Get("http://" + f[2] + "/metrics")
		if err != nil {
			continue // it is the one that was killed
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if partition, ok := strings.CutPrefix(lines.Text(), `huoma_partition_owned{partition="`); ok && strings.HasSuffix(partition, `"} 1`) {
				owner[strings.TrimSuffix(partition, `"} 1`)] = f[0]
			}
		}
		resp.Body.Close()
	}
	return owner
}

// status is what the script says of its processes; not all need to be well.
func (p *production) status() string {
	out, _ := exec.Command(p.script, "status", "--data", p.dir).Output()
	return string(out)
}

// busiest is the worker that owns most partitions.
func busiest(owners map[string]string) (name string) {
	n := map[string]int{}
	for _, w := range owners {
		n[w]++
	}
	for w := range n {
		if name == "" || n[w] > n[name] {
			name = w
		}
	}
	return name
}

// takenOver waits until every partition has an owner that is not gone.
func (p *production) takenOver(gone string, partitions int) {
	p.t.Helper()
	until(p.t, "partitions that others than "+gone+" own", partitions, func() int {
		n := 0
		for _, w := range p.owners() {
			if w != gone {
				n++
			}
		}
		return n
	})
}

// everywhere mints codes until each partition has one.
func (p *production) everywhere(partitions int) (list []minted) {
	p.t.Helper()
	have := map[int]bool{}
	for n := 0; len(have) < partitions; n++ {
		m := p.at(n % 2).mint(map[string]any{"profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/group", "capacity": 1 << 30}}})
		if k := events.Partition(m.ID, partitions); !have[k] {
			have[k] = true
			list = append(list, m)
		}
	}
	return list
}

// decided sees that every code's scans are decided: five lock their visitor
// out, at whichever gateway, and all of them become rows.
func (p *production) decided(codes []minted) {
	p.t.Helper()
	visitors := make([]*person, len(codes))
	var all, fifth []string
	for n, c := range codes {
		visitors[n] = p.person()
		for i := range 5 {
			visitors[n].in = p.at(i % 2)
			all = append(all, visitors[n].scan(c.ScanURL).Header.Get("Huoma-Event"))
		}
		fifth = append(fifth, all[len(all)-1])
	}
	for n, c := range codes {
		visitors[n].in = p.at(1)
		until(p.t, "a sixth scan of "+c.ID, http.StatusTooManyRequests, func() int { return visitors[n].scan(c.ScanURL).StatusCode })
	}
	until(p.t, "rows of the scans and of the locks", fmt.Sprintf("%d\t%d", len(all), len(codes)), func() string {
		return p.query("SELECT (SELECT count() FROM scans WHERE verdict = 'accepted' AND event_id IN ('" + strings.Join(all, "','") + "'))," +
			" (SELECT count() FROM decisions WHERE kind = 'lock' AND hasAny(cause, ['" + strings.Join(fifth, "','") + "']))")
	})
}

// crowd is people who scan codes at all gateways until it is stopped.
type crowd struct {
	p        *production
	wg       sync.WaitGroup
	stop     chan struct{}
	mu       sync.Mutex
	answered map[string]bool // event ids: what was promised to be stored
	refused  int             // answers without one, and none at all
}

func (p *production) crowd(codes []minted) *crowd {
	c := &crowd{p: p, stop: make(chan struct{}), answered: map[string]bool{}}
	for _, gateway := range p.gateways {
		c.wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			for n := 0; ; n++ {
				select {
				case <-c.stop:
					return
				case <-tick.C:
				}
				u, _ := url.Parse(codes[n%len(codes)].ScanURL)
				req, _ := http.NewRequest("GET", gateway+u.RequestURI(), nil)
				req.Header.Set("User-Agent", phone)
				id := ""
				if resp, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					id = resp.Header.Get("Huoma-Event")
				}
				c.mu.Lock()
				if id != "" {
					c.answered[id] = true
				} else {
					c.refused++
				}
				c.mu.Unlock()
			}
		})
	}
	return c
}

// so says how many scans have been answered so far.
func (c *crowd) so() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.answered) }

// goesOn waits until many more scans have been answered.
func (c *crowd) goesOn() {
	c.p.t.Helper()
	first := c.so()
	until(c.p.t, "more scans", true, func() bool { return c.so() >= first+100 })
}

// home stops the crowd and holds what it was answered against the rows: each
// event once.
func (c *crowd) home() {
	c.p.t.Helper()
	close(c.stop)
	c.wg.Wait()
	rows := map[string]int{}
	until(c.p.t, "answered scans without a row", 0, func() int {
		clear(rows)
		for id := range strings.FieldsSeq(c.p.query("SELECT event_id FROM scans")) {
			rows[id]++
		}
		missing := 0
		for id := range c.answered {
			if rows[id] == 0 {
				missing++
			}
		}
		return missing
	})
	for id, n := range rows {
		if n != 1 {
			c.p.t.Errorf("event %s has %d rows", id, n)
		}
	}
	c.p.t.Logf("%d scans answered, %d refused", len(c.answered), c.refused)
}

// tool runs a program that is not ours and returns what it says.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out, complaint bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s (make test installs what tests need)", name, args, err, complaint.String())
	}
	return strings.TrimSpace(out.String())
}

// picture fetches a code's picture and has zbarimg read it.
func (in *installation) picture(address string) string {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), "GET", in.Gateway+address, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		in.t.Fatalf("%s answers %s: %v", address, resp.Status, err)
	}
	file := filepath.Join(in.t.TempDir(), "code.png")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		in.t.Fatal(err)
	}
	return tool(in.t, "zbarimg", "-q", "--raw", file)
}

// path is what comes after the host.
func path(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.RequestURI()
}
