package tour

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startWithin = 90 * time.Second
	stopWithin  = 60 * time.Second
	blockWithin = 60 * time.Second // for one block; the readers' patience is less
)

// The tour of README.md does what it says: its commands run, in order, in one shell, on an installation that has just been started.
func TestTour(t *testing.T) {
	blocks := parseBlocks(read(t, "README.md"))
	if len(blocks) == 0 {
		t.Fatal("README.md has no tour")
	}
	bin, dir := programs(t), t.TempDir()
	up := start(t, bin, dir)
	sh := openShell(t, bin, dir, up)
	for _, b := range blocks {
		sh.tour(t, b)
		if t.Failed() {
			return // what follows builds on it
		}
	}
}

// built is the folder of the programs, built once; TestMain removes it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(status)
}

// programs builds the programs and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "huoma-tour-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir+string(filepath.Separator), "./cmd/...")
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

// addresses are what the ready file of huoma up says.
type addresses struct {
	Gateway        string `json:"gateway"`
	NATS           string `json:"nats"`
	ClickHouse     string `json:"clickhouse"`
	ClickHouseHTTP string `json:"clickhouse_http"`
	APIKey         string `json:"api_key"`
}

// local puts the addresses of this run in the place of the default ones the README uses; readme puts them back.
func (a addresses) local() *strings.Replacer {
	return strings.NewReplacer("http://127.0.0.1:8080", a.Gateway, "http://127.0.0.1:8123", a.ClickHouseHTTP)
}

func (a addresses) readme() *strings.Replacer {
	return strings.NewReplacer(a.Gateway, "http://127.0.0.1:8080", strings.ToUpper(a.Gateway), "HTTP://127.0.0.1:8080", a.ClickHouseHTTP, "http://127.0.0.1:8123")
}

// start runs huoma up until the test ends, with its data in a folder of dir.
func start(t *testing.T, bin, dir string) addresses {
	t.Helper()
	const free = "127.0.0.1:0"
	ready := filepath.Join(dir, "ready.json")
	cmd := exec.Command(filepath.Join(bin, "huoma"), "up", "--data", filepath.Join(dir, "data"), "--ready-file", ready,
		"--addr", free, "--nats-addr", free, "--clickhouse-addr", free, "--clickhouse-http-addr", free)
	cmd.Env = append(environment(), "HUOMA_CHDB_LIB="+engineLibrary(t))
	log, err := os.Create(filepath.Join(dir, "up.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	showLog := func() {
		b, _ := os.ReadFile(log.Name())
		t.Logf("huoma up said:\n%s", b)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLog()
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return // it has ended already, and that was reported
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("huoma up ended with %v", err)
			}
		case <-time.After(stopWithin):
			_ = cmd.Process.Kill()
			t.Errorf("huoma up did not stop within %s", stopWithin)
		}
	})
	deadline := time.After(startWithin)
	for {
		if b, err := os.ReadFile(ready); err == nil {
			var a addresses
			if err := json.Unmarshal(b, &a); err != nil {
				t.Fatalf("ready file %q: %v", b, err)
			}
			return a
		}
		select {
		case err := <-ended:
			showLog()
			ended <- err
			t.Fatalf("huoma up ended before it was ready: %v", err)
		case <-deadline:
			t.Fatalf("huoma up was not ready within %s", startWithin)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// environment is the caller's, without what configures a Huoma of theirs.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "HUOMA_") })
}

// engineLibrary is the ClickHouse engine that make setup installed.
func engineLibrary(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "tools", "chdb", "node_modules", "@chdb", "*", "libchdb.so"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the engine library is not installed (%d found): run make setup", len(found))
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell is one sh that runs block after block, so that variables stay.
type shell struct {
	in     io.Writer
	out    *bufio.Reader
	up     addresses
	blocks int
}

// openShell starts a shell in dir, in which huoma is on the path and reaches the installation, as it does for a reader who
// keeps to the default addresses.
func openShell(t *testing.T, bin, dir string, up addresses) *shell {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "sh")
	cmd.Dir = dir
	cmd.Env = append(environment(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_CACHE_HOME=", "LC_ALL=C.UTF-8",
		"HUOMA_GATEWAY="+up.Gateway, "HUOMA_CLICKHOUSE_HTTP="+up.ClickHouseHTTP,
		"HUOMA_NATS_URL="+up.NATS, "HUOMA_CLICKHOUSE_URL=clickhouse://"+up.ClickHouse+"/huoma")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	return &shell{in: in, out: bufio.NewReader(out), up: up}
}

// tour runs a block and holds its output against what the README shows.
func (s *shell) tour(t *testing.T, b block) {
	t.Helper()
	deadline := time.Now().Add(blockWithin)
	for {
		out, status, err := s.run(s.up.local().Replace(b.script), deadline)
		if err != nil {
			t.Fatalf("README.md:%d: %v\n%s", b.line, err, out)
		}
		out = s.up.readme().Replace(out)
		if status == 0 && (b.want == "" || matches(b.want, out)) {
			return
		}
		if !b.until || time.Now().After(deadline) {
			t.Fatalf("README.md:%d: exit status %d, printed\n%s\nwant\n%s", b.line, status, out, b.want)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// run runs a script and returns what it wrote and its exit status.
func (s *shell) run(script string, deadline time.Time) (out string, status int, err error) {
	s.blocks++
	mark := fmt.Sprintf("--- end of block %d:", s.blocks)
	// In braces, so that the shell reads all of it before anything in it can read the rest from standard input.
	if _, err := fmt.Fprintf(s.in, "{\n%s\n} </dev/null\nprintf '\\n%s %%s\\n' \"$?\"\n", script, mark); err != nil {
		return "", 0, fmt.Errorf("write to the shell: %w", err)
	}
	type result struct {
		out    string
		status int
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var b strings.Builder
		for {
			line, err := s.out.ReadString('\n')
			if rest, ok := strings.CutPrefix(line, mark); ok {
				var n int
				_, err := fmt.Sscan(rest, &n)
				done <- result{strings.TrimSuffix(b.String(), "\n"), n, err}
				return
			}
			b.WriteString(line)
			if err != nil {
				done <- result{b.String(), 0, fmt.Errorf("the shell ended: %w", err)}
				return
			}
		}
	}()
	select {
	case r := <-done:
		return r.out, r.status, r.err
	case <-time.After(time.Until(deadline) + time.Second):
		return "", 0, errors.New("the commands did not end")
	}
}

// block is one run of commands in the README, and what they print.
type block struct {
	line   int // where the commands begin
	script string
	want   string // "": anything
	until  bool
}

var mark = regexp.MustCompile(`^<!-- tour(: until)? -->$`)

// parseBlocks finds the blocks of a document that take part in the tour.
func parseBlocks(text string) []block {
	var blocks []block
	lines := strings.Split(text, "\n")
	fenced := func(i int) (body string, next int) {
		j := i + 1
		for j < len(lines) && lines[j] != "```" {
			j++
		}
		return strings.Join(lines[i+1:min(j, len(lines))], "\n"), j + 1
	}
	for i := 0; i < len(lines); i++ {
		m := mark.FindStringSubmatch(lines[i])
		if m == nil || i+1 >= len(lines) || lines[i+1] != "```sh" {
			continue
		}
		b := block{line: i + 3, until: m[1] != ""}
		var next int
		b.script, next = fenced(i + 1)
		for next < len(lines) && lines[next] == "" {
			next++
		}
		if next < len(lines) && lines[next] == "```text" {
			b.want, next = fenced(next)
		}
		blocks = append(blocks, b)
		i = next - 1
	}
	return blocks
}

// matches holds output against what a document shows of it. Spaces at the ends of lines do not matter, nor do empty lines at the ends.
func matches(want, got string) bool {
	clean := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " \r")
		}
		return strings.Trim(strings.Join(lines, "\n"), "\n")
	}
	return linesMatch(strings.Split(clean(want), "\n"), strings.Split(clean(got), "\n"))
}

func linesMatch(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "…":
		for i := range len(got) + 1 {
			if linesMatch(want[1:], got[i:]) {
				return true
			}
		}
		return false
	case len(got) == 0:
		return false
	}
	var parts []string
	for part := range strings.SplitSeq(want[0], "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	line := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
	return line.MatchString(got[0]) && linesMatch(want[1:], got[1:])
}

func TestMatches(t *testing.T) {
	for _, row := range []struct {
		name, want, got string
		ok              bool
	}{
		{"the same", "a\nb", "a\nb", true},
		{"ends do not matter", "a\nb\n", "\na  \nb\n\n", true},
		{"another", "a\nb", "a\nc", false},
		{"more", "a", "a\nb", false},
		{"less", "a\nb", "a", false},
		{"two lines are not one", "a\nb", "ab", false},
		{"within a line", "a … c", "a b c", true},
		{"within a line only", "a … c", "a b\nb c", false},
		{"any lines", "a\n…\nc", "a\nb\nb\nc", true},
		{"no lines", "a\n…\nc", "a\nc", true},
		{"any lines at the end", "a\n…", "a\nb\nc", true},
		{"any lines at the beginning", "…\nc", "a\nb\nc", true},
		{"any lines, then another", "…\nc", "a\nb\nd", false},
		{"signs stand for themselves", "a.c (", "abc (", false},
	} {
		if got := matches(row.want, row.got); got != row.ok {
			t.Errorf("%s: matches(%q, %q) = %v", row.name, row.want, row.got, got)
		}
	}
}

func TestParseBlocks(t *testing.T) {
	doc := "# Title\n```sh\nnot part of it\n```\n<!-- tour -->\n```sh\none\ntwo\n```\n\n```text\nout\n```\n<!-- tour: until -->\n```sh\nthree\n```\nText.\n```text\nnot its output\n```\n"
	want := []block{{line: 7, script: "one\ntwo", want: "out"}, {line: 16, script: "three", until: true}}
	got := parseBlocks(doc)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
