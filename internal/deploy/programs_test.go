package deploy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/huoma/huoma/internal/chembed/chtest"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/role"
	"github.com/huoma/huoma/internal/token/keyfile"
	"github.com/huoma/huoma/schemas"
)

func TestMain(m *testing.M) {
	chtest.Child()
	status := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(status)
}

// built is the folder of the programs, built once as they are for the image; TestMain removes it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func binaries(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "huoma-deploy-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil { // another user runs them
			return
		}
		cmd := exec.Command("go", "build", "-tags", "static", "-o", built.dir+string(filepath.Separator), "./cmd/...")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("build the programs: %v", built.err)
	}
	return built.dir
}

// truth is what the manifests are held against.
type truth struct {
	programs map[string]program  // by command, such as "/gateway" or "/huoma migrate"
	served   map[string][]string // by the same: the paths of its HTTP server that answer 200
	routes   []string            // of schemas/openapi.yaml
	user     string              // of the image
	secrets  map[string]bool     // "name key" of the page that says how to make them
}

// program is what a command says of itself with --help.
type program struct {
	flags map[string]bool // such as --addr
	envs  map[string]bool // such as HUOMA_ADDR
}

func readTruth(t *testing.T) truth {
	t.Helper()
	tr := truth{programs: map[string]program{}, secrets: secretsOfPage(t), served: servedPaths(t)}
	var commands [][]string
	commands, tr.user = image(t)
	for _, c := range commands {
		tr.programs["/"+strings.Join(c, " ")] = help(t, c)
	}
	var openAPI struct {
		Paths map[string]any `json:"paths"`
	}
	text, err := schemas.API.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &openAPI); err != nil {
		t.Fatal(err)
	}
	tr.routes = slices.Sorted(maps.Keys(openAPI.Paths))
	return tr
}

// image is what the Containerfile puts into the image: the commands that pods run, and the user they run as.
func image(t *testing.T) (commands [][]string, user string) {
	t.Helper()
	container := readFile(t, "deploy/image/Containerfile")
	copied := regexp.MustCompile(`(?m)^COPY (.*) /$`).FindStringSubmatch(container)
	users := regexp.MustCompile(`(?m)^USER ([0-9]+):[0-9]+$`).FindStringSubmatch(container)
	if copied == nil || users == nil {
		t.Fatal("the Containerfile copies no programs or names no numeric user")
	}
	for _, name := range strings.Fields(copied[1]) {
		if name == "huoma" {
			commands = append(commands, []string{name, "migrate"})
		} else {
			commands = append(commands, []string{name})
		}
	}
	return commands, users[1]
}

// secretsOfPage are the "name key" that the table of secrets lists.
func secretsOfPage(t *testing.T) map[string]bool {
	t.Helper()
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `([a-z.-]+)` \\|").FindAllStringSubmatch(readFile(t, "deploy/k8s/README.md"), -1) {
		listed[m[1]+" "+m[2]] = true
	}
	return listed
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func help(t *testing.T, command []string) program {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries(t), command[0]), append(command[1:], "--help")...)
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v --help: %v", command, err)
	}
	p := program{flags: map[string]bool{}, envs: map[string]bool{}}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z][a-z0-9-]*)`).FindAllStringSubmatch(string(out), -1) {
		p.flags[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`\[\$(HUOMA_[A-Z0-9_]+)\]`).FindAllStringSubmatch(string(out), -1) {
		p.envs[m[1]] = true
	}
	if len(p.envs) == 0 {
		t.Fatalf("%v --help lists no variables:\n%s", command, out)
	}
	return p
}

// candidates are the paths that are asked for: those the programs are told to have, and more.
var candidates = []string{"/healthz", "/readyz", "/metrics", "/health", "/ready", "/live", "/livez", "/"}

// servedPaths asks a running gateway, and the health server that both workers have.
func servedPaths(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	keys, err := keyfile.LoadOrCreate(filepath.Join(dir, "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	conn, err := role.Connect(ctx, role.NATS{NATSURL: natstest.Start(t)}, "deploy", false, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	inst, err := role.Install(ctx, conn, role.Streams{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := role.Gateway{Conn: conn, Partitions: inst.Partitions, Keyring: keys, Addr: "127.0.0.1:0", APIKey: "a-key-of-the-test", Log: log, Registry: prometheus.NewRegistry()}.New()
	if err != nil {
		t.Fatal(err)
	}
	h, err := role.NewHealth("127.0.0.1:0", prometheus.NewRegistry(), func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { _ = g.Run(ctx) })
	running.Go(func() { _ = h.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	within(t, 20*time.Second, "the gateway to be ready", g.Ready)

	worker := answering(t, h.Addr())
	return map[string][]string{"/gateway": answering(t, g.Addr()), "/scan-worker": worker, "/analytics-worker": worker}
}

func answering(t *testing.T, addr string) (paths []string) {
	t.Helper()
	for _, p := range candidates {
		if status, _ := get(t, "http://"+addr+p); status == http.StatusOK {
			paths = append(paths, p)
		}
	}
	return paths
}

// get returns the status and body of a GET, or 0 where nobody answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// within polls until done.
func within(t *testing.T, most time.Duration, what string, done func() bool) {
	t.Helper()
	ticker, end := time.NewTicker(50*time.Millisecond), time.After(most)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-end:
			t.Fatalf("waited %s for %s", most, what)
		}
	}
}
