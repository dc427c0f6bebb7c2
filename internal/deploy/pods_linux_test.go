package deploy

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
	corev1 "k8s.io/api/core/v1"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// readyWithin is generous: other tests run on the same processors.
const readyWithin = 60 * time.Second

// The pods of the example run as their manifests say: the same programs, flags, variables, files, user and probes, against a NATS and a
// ClickHouse that stand for the cluster's. They come up before the schema is there, wait, serve, write to no file, and end in time.
func TestPodsRun(t *testing.T) {
	c := newCluster(t)
	pods := map[string]*pod{}
	for _, w := range c.o.workloads() {
		if !w.job {
			p := c.start(w)
			if p.addr == "" {
				t.Fatalf("%s has ended: %v", p.name, p.err)
			}
			pods[w.name] = p
		}
	}
	gate, scans, warehouse := pods["huoma-gateway"], pods["huoma-scan-worker"], pods["huoma-analytics-worker"]
	if len(pods) != 3 || gate == nil || scans == nil || warehouse == nil {
		t.Fatalf("the deployments are %v", pods)
	}
	for _, p := range pods {
		within(t, readyWithin, p.name+" to be alive", func() bool { return p.probe(p.container.StartupProbe) && p.probe(p.container.LivenessProbe) })
	}
	for _, p := range []*pod{gate, scans} {
		within(t, readyWithin, p.name+" to be ready", func() bool { return p.probe(p.container.ReadinessProbe) })
	}
	if warehouse.probe(warehouse.container.ReadinessProbe) {
		t.Error("the analytics worker is ready without a schema")
	}

	migrate := c.start(c.workload("huoma-migrate"))
	migrate.ends(readyWithin)
	if got := migrate.log(); !strings.Contains(got, "went from version 0") {
		t.Errorf("the migration says %q", got)
	}
	within(t, readyWithin, "the analytics worker to be ready", func() bool { return warehouse.probe(warehouse.container.ReadinessProbe) })

	c.mintAndScan(gate)
	for _, p := range pods {
		if status, body := get(t, "http://"+p.addr+p.workload.template.Annotations["prometheus.io/path"]); status != http.StatusOK || !strings.Contains(body, "go_goroutines") {
			t.Errorf("%s: what Prometheus scrapes is %d %.80q", p.name, status, body)
		}
		p.writesNothingElse()
		p.fits()
	}
	for _, p := range pods {
		p.terminate()
	}
	for _, p := range pods {
		grace := time.Duration(*p.workload.template.Spec.TerminationGracePeriodSeconds)*time.Second - pauseOf(p.container)
		p.ends(grace)
	}

	again := c.start(c.workload("huoma-migrate"))
	again.ends(readyWithin)
	if got := again.log(); !strings.Contains(got, "up to date") {
		t.Errorf("the second migration says %q", got)
	}
}

// The image has no C library and no loader. A program that imports one that opens shared libraries needs both, even without cgo.
func TestProgramsOfTheImageAreStatic(t *testing.T) {
	commands, _ := image(t)
	for _, command := range commands {
		file, err := elf.Open(filepath.Join(binaries(t), command[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		needs, err := file.ImportedLibraries()
		if err != nil || len(needs) > 0 || slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s needs a loader, or the libraries %v (%v)", command[0], needs, err)
		}
	}
	if !strings.Contains(readFile(t, "tools/image.sh"), "go build -tags static ") {
		t.Error("tools/image.sh builds other programs than these tests")
	}
}

// A keyring that others may read is refused, however it came to be mounted like that.
func TestKeyringForAllToReadIsRefused(t *testing.T) {
	c := newCluster(t)
	w := c.workload("huoma-scan-worker")
	for i := range w.template.Spec.Volumes {
		if v := w.template.Spec.Volumes[i].Secret; v.SecretName == "huoma-keyring" {
			mode := int32(0o444)
			v.DefaultMode = &mode
		}
	}
	p := c.start(w)
	if err := p.wait(readyWithin); err == nil || !strings.Contains(p.log(), "can be used by others than its owner") {
		t.Errorf("it ended with %v and said %s", err, p.log())
	}
}

// cluster is what the pods find around them.
type cluster struct {
	t       *testing.T
	o       objects
	dir     string
	nats    string
	secrets map[string][]byte // by "name key"
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	docs, err := readTree(t).build("overlays/example")
	if err != nil {
		t.Fatal(err)
	}
	o, err := decode(docs)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the pods' user passes through
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	keys := filepath.Join(dir, "keyring.json")
	if _, err := keyfile.LoadOrCreate(keys); err != nil {
		t.Fatal(err)
	}
	keyring, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, o: o, dir: dir, nats: natstest.Start(t), secrets: map[string][]byte{
		"huoma-api-key api-key":       []byte("the-key-of-this-test"),
		"huoma-keyring keyring.json":  keyring,
		"huoma-clickhouse url":        []byte("clickhouse://" + chtest.Start(t).Addr() + "/huoma"),
		"huoma-nats-creds nats.creds": credentials(t),
	}}
}

// credentials is a file like nsc writes it. The server of the test asks for none, so the token in it does not matter.
func credentials(t *testing.T) []byte {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "-----BEGIN NATS USER JWT-----\nnone\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", seed)
}

func (c *cluster) workload(name string) workload {
	c.t.Helper()
	list := c.o.workloads()
	i := slices.IndexFunc(list, func(w workload) bool { return w.name == name })
	if i < 0 {
		c.t.Fatalf("%s is not there", name)
	}
	return list[i]
}

// pod is a running program of a pod.
type pod struct {
	t         *testing.T
	name      string
	workload  workload
	container corev1.Container
	cmd       *exec.Cmd
	addr      string // where it listens; empty when it ended before it did
	volume    string // that it may write to; empty: none
	ended     chan struct{}
	err       error

	mu   sync.Mutex
	said bytes.Buffer
}

func (p *pod) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// start does what a kubelet does: it mounts the secrets, sets the variables and starts the program as the pod's user. What it changes are the
// addresses: of NATS, of a server with one replica, and a free port for each pod, since they share one network here.
func (c *cluster) start(w workload) *pod {
	c.t.Helper()
	container := w.template.Spec.Containers[0]
	p := &pod{t: c.t, name: w.name, workload: w, container: container, ended: make(chan struct{})}
	mounts, volume := c.mount(w)
	p.volume = volume
	told := func(value string) string { return mounts.Replace(value) }

	args := slices.Clone(container.Args)
	for i, a := range args {
		if strings.HasPrefix(a, "--addr=") {
			a = "--addr=127.0.0.1:0"
		}
		args[i] = told(a)
	}
	env := map[string]string{}
	for _, from := range container.EnvFrom {
		for name, value := range c.o.configMaps[from.ConfigMapRef.Name].Data {
			env[name] = value
		}
	}
	for _, e := range container.Env {
		env[e.Name] = told(e.Value)
		if e.ValueFrom != nil {
			env[e.Name] = string(c.secrets[e.ValueFrom.SecretKeyRef.Name+" "+e.ValueFrom.SecretKeyRef.Key])
		}
	}
	if _, ok := env["HUOMA_NATS_URL"]; ok {
		env["HUOMA_NATS_URL"], env["HUOMA_REPLICAS"] = c.nats, "1"
	}

	p.cmd = exec.Command(filepath.Join(binaries(c.t), container.Command[0]), args...)
	p.cmd.Dir = "/"
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	if s := w.template.Spec.SecurityContext; os.Geteuid() == 0 {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(*s.RunAsUser), Gid: uint32(*s.RunAsGroup), Groups: groups(s)}}
	}
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		c.t.Fatalf("%s: %v", w.name, err)
	}
	listens := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() { p.read(out, listens) })
	go func() {
		p.err = p.cmd.Wait()
		_ = in.Close()
		reading.Wait()
		close(p.ended)
	}()
	c.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if c.t.Failed() {
			said := p.log()
			c.t.Logf("%s said at the end\n%s", p.name, said[max(0, len(said)-4<<10):])
		}
	})
	if w.job {
		return p
	}
	select {
	case p.addr = <-listens:
	case <-p.ended:
	case <-time.After(readyWithin):
		c.t.Fatalf("%s tells no address", w.name)
	}
	return p
}

func groups(s *corev1.PodSecurityContext) (list []uint32) {
	if s.FSGroup != nil {
		list = append(list, uint32(*s.FSGroup))
	}
	return list
}

// mount lays the volumes out as a kubelet does: secrets are root's files, which the group of the pod may read, behind two links. It returns what
// makes of a path in the pod one on this machine, and the volume that can be written to.
func (c *cluster) mount(w workload) (told *strings.Replacer, volume string) {
	c.t.Helper()
	spec := w.template.Spec
	var paths []string
	for _, m := range spec.Containers[0].VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		secret := spec.Volumes[i].Secret
		dir, err := os.MkdirTemp(c.dir, w.name+"-"+m.Name+"-")
		if err != nil {
			c.t.Fatal(err)
		}
		if spec.Volumes[i].EmptyDir != nil { // anybody in the pod may write to it
			if err := os.Chmod(dir, 0o777); err != nil {
				c.t.Fatal(err)
			}
			paths, volume = append(paths, m.MountPath+"/", dir+"/"), dir+"/"
			continue
		}
		err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "..first"), 0o755), os.Symlink("..first", filepath.Join(dir, "..data")))
		for _, item := range secret.Items {
			value, ok := c.secrets[secret.SecretName+" "+item.Key]
			if !ok {
				c.t.Fatalf("%s: nobody has made %s of %s", w.name, item.Key, secret.SecretName)
			}
			file, mode := filepath.Join(dir, "..first", item.Path), fs.FileMode(*secret.DefaultMode)
			err = errors.Join(err, os.WriteFile(file, value, 0o600), os.Symlink(path.Join("..data", item.Path), filepath.Join(dir, item.Path)))
			if os.Geteuid() == 0 && spec.SecurityContext.FSGroup != nil {
				err = errors.Join(err, os.Chown(file, 0, int(*spec.SecurityContext.FSGroup)))
				mode |= 0o440
			}
			err = errors.Join(err, os.Chmod(file, mode))
		}
		if err != nil {
			c.t.Fatal(err)
		}
		paths = append(paths, m.MountPath+"/", dir+"/")
	}
	return strings.NewReplacer(paths...), volume
}

// read keeps what the pod says and finds the address it listens on.
func (p *pod) read(out io.Reader, listens chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.mu.Lock()
		p.said.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var line struct{ Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" {
			select {
			case listens <- line.Addr:
			default:
			}
		}
	}
}

// probe is what the kubelet asks.
func (p *pod) probe(probe *corev1.Probe) bool {
	status, _ := get(p.t, "http://"+p.addr+probe.HTTPGet.Path)
	return status >= 200 && status < 400
}

func (p *pod) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

// wait returns how the program ended.
func (p *pod) wait(most time.Duration) error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(most):
		p.t.Fatalf("%s has not ended within %s", p.name, most)
		return nil
	}
}

// ends: with status 0, in time.
func (p *pod) ends(most time.Duration) {
	p.t.Helper()
	begun := time.Now()
	if err := p.wait(most); err != nil {
		p.t.Errorf("%s ended with %v", p.name, err)
	}
	p.t.Logf("%s ended after %s", p.name, time.Since(begun).Round(time.Millisecond))
}

// writesNothingElse: a read-only root file system is enough, beside its volume.
func (p *pod) writesNothingElse() {
	p.t.Helper()
	files, err := openForWriting(p.cmd.Process.Pid)
	files = slices.DeleteFunc(files, func(name string) bool { return p.volume != "" && strings.HasPrefix(name, p.volume) })
	if err != nil || len(files) > 0 {
		p.t.Errorf("%s has open for writing: %v, %v", p.name, files, err)
	}
}

// openForWriting are the files that a process has open for writing, devices apart.
func openForWriting(pid int) (files []string, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	open, err := os.ReadDir(proc + "fdinfo")
	if err != nil {
		return nil, err
	}
	for _, fd := range open {
		name, err := os.Readlink(proc + "fd/" + fd.Name())
		if err != nil || !strings.HasPrefix(name, "/") || strings.HasPrefix(name, "/dev/") {
			continue // a socket, a pipe, what the runtime polls with, or closed by now
		}
		text, err := os.ReadFile(proc + "fdinfo/" + fd.Name())
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "flags:")
		flags, err := strconv.ParseInt(firstWord(rest), 8, 64)
		if err != nil {
			return nil, fmt.Errorf("flags of %s: %w", name, err)
		}
		if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
			files = append(files, name)
		}
	}
	return files, nil
}

func TestOpenForWriting(t *testing.T) {
	dir := t.TempDir()
	written := filepath.Join(dir, "written")
	for name, flag := range map[string]int{written: os.O_CREATE | os.O_WRONLY, filepath.Join(dir, "read"): os.O_CREATE | os.O_RDONLY} {
		f, err := os.OpenFile(name, flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	got, err := openForWriting(os.Getpid())
	if err != nil || !slices.Contains(got, written) || slices.Contains(got, filepath.Join(dir, "read")) {
		t.Errorf("open for writing: %v, %v, want %s among it", got, err, written)
	}
}

func firstWord(s string) string {
	if words := strings.Fields(s); len(words) > 0 {
		return words[0]
	}
	return ""
}

// fits: a pod that has done little needs less memory than it asks for.
func (p *pod) fits() {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(firstWord(rest), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	if asked := p.container.Resources.Requests.Memory().Value(); kib<<10 > asked {
		p.t.Errorf("%s had %d KiB of memory and asks for %d", p.name, kib, asked>>10)
	}
}

// mintAndScan takes a code the whole way, with the API key and the keyring that are mounted.
func (c *cluster) mintAndScan(gate *pod) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+gate.addr+"/v1/codes",
		strings.NewReader(`{"profile": "wecom-group", "targets": [{"url": "https://example.com/group"}]}`))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(c.secrets["huoma-api-key api-key"]))
	req.Header.Set("Content-Type", "application/json")
	var code struct {
		ScanURL string `json:"scan_url"`
	}
	if status, body := do(c.t, req); status != http.StatusCreated || json.Unmarshal(body, &code) != nil {
		c.t.Fatalf("mint: %d %s", status, body)
	}
	public := c.o.settings(gate.container)["HUOMA_PUBLIC_URL"]
	where, ok := strings.CutPrefix(strings.ToLower(code.ScanURL), public)
	if !ok {
		c.t.Fatalf("the code is at %s, not at %s", code.ScanURL, public)
	}
	within(c.t, readyWithin, "the scan to be let through", func() bool {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+gate.addr+strings.ToUpper(where), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36")
		status, _ := do(c.t, req)
		return status == http.StatusFound
	})
}

func do(t *testing.T, req *http.Request) (int, []byte) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}
