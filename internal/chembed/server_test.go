package chembed_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/huoma/huoma/internal/chembed"
	"github.com/huoma/huoma/internal/chembed/chtest"
)

// residentMemory reads a process's resident memory, in bytes.
func residentMemory(t testing.TB, pid int) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kb int64
		if _, err := fmt.Sscanf(sc.Text(), "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// TestKill kills the engine again and again while rows are inserted: every insert that was answered is there, and a retry
// with its token adds nothing.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := chtest.StartDir(t, dir)
	c := open(t, s)
	mustExec(t, c, "CREATE TABLE t (a UInt64, b UInt32) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000")
	const (
		batches, rows = 60, 200
		kills         = 3
	)
	send := func(batch int) error {
		ctx, cancel := context.WithTimeout(clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
			"insert_deduplication_token": fmt.Sprint("batch ", batch),
		})), 20*time.Second)
		defer cancel()
		b, err := c.PrepareBatch(ctx, "INSERT INTO t")
		if err != nil {
			return err
		}
		defer b.Close()
		for i := range rows {
			if err := b.Append(uint64(batch), uint32(i)); err != nil {
				return err
			}
		}
		return b.Send()
	}
	answered, failed := 0, 0
	for batch := range batches {
		if batch%(batches/kills) == 10 {
			pid := s.PID()
			go syscall.Kill(pid, syscall.SIGKILL)
		}
		for try := 0; ; try++ {
			err := send(batch)
			if err == nil {
				break
			}
			failed++
			if try > 20 {
				t.Fatalf("batch %d: %v", batch, err)
			}
		}
		if answered++; count(t, c, "SELECT count() FROM t") == 0 {
			t.Fatal("the table is empty")
		}
	}
	if n := count(t, c, "SELECT count() FROM t"); n != uint64(answered*rows) {
		t.Errorf("%d rows, want %d", n, answered*rows)
	}
	if n := count(t, c, "SELECT uniqExact(a, b) FROM t"); n != uint64(answered*rows) {
		t.Errorf("%d different rows, want %d", n, answered*rows)
	}
	t.Logf("%d inserts failed and were tried again", failed)

	// Again, with a server of its own on the same directory.
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := open(t, chtest.StartDir(t, dir))
	if n := count(t, again, "SELECT count() FROM t"); n != uint64(answered*rows) {
		t.Errorf("after a restart: %d rows, want %d", n, answered*rows)
	}
}

// TestWaitsWhileDown: a client that connects while the engine is down is served once it is back.
func TestWaitsWhileDown(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	pid := s.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !alive(pid) || s.PID() != pid })
	if n := count(t, open(t, s), "SELECT toUInt64(7)"); n != 7 {
		t.Errorf("got %d", n)
	}
	if _, body := do(t, s, "GET", q("SELECT 8"), ""); body != "8\n" {
		t.Errorf("got %q", body)
	}
}

// TestClose: running queries end first, nothing is left behind, and the data directory can be used again at once.
func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := chtest.StartDir(t, dir)
	c := open(t, s)
	pid := s.PID()
	done := make(chan error, 1)
	go func() {
		var n uint64
		done <- c.QueryRow(t.Context(), "SELECT sum(sleepEachRow(0.1)) + count() FROM numbers(5)").Scan(&n)
	}()
	until(t, func() bool {
		return count(t, c, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%'") >= 2
	})
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the running query: %v", err)
	}
	if alive(pid) {
		t.Error("the engine's process is still there")
	}
	if err := s.Run(t.Context()); err != nil {
		t.Errorf("Run after Close: %v", err)
	}
	chtest.StartDir(t, dir)
}

// TestRun ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	cancel()
	if err := <-done; err != nil || s.PID() != 0 {
		t.Errorf("got %v, pid %d", err, s.PID())
	}
}

// TestStartFailures: one sentence each, and nothing left running.
func TestStartFailures(t *testing.T) {
	t.Parallel()
	taken := chtest.Start(t)
	dir := t.TempDir()
	held := chtest.StartDir(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		opts chembed.Options
		is   error
		want string
	}{
		{"data directory in use", chembed.Options{DataDir: dir}, nil, "in use by another process"},
		{"data directory is a file", chembed.Options{DataDir: file}, nil, "choose another with --data"},
		{"port in use", chembed.Options{DataDir: t.TempDir(), Addr: taken.Addr()}, nil, "choose another port"},
		{"every address", chembed.Options{DataDir: t.TempDir(), Addr: "0.0.0.0:0"}, nil, "loopback only"},
		{"no address", chembed.Options{DataDir: t.TempDir(), HTTPAddr: ":0"}, nil, "loopback only"},
		{"bad address", chembed.Options{DataDir: t.TempDir(), HTTPAddr: "127.0.0.1"}, nil, "port"},
		{"no library", chembed.Options{DataDir: t.TempDir(), Library: "/nowhere/libchdb.so"}, chembed.ErrNoLibrary, "make setup"},
		{"not a library", chembed.Options{DataDir: t.TempDir(), Library: file}, nil, "make setup"},
		{"not a program", chembed.Options{DataDir: t.TempDir(), Exe: file}, nil, "start the ClickHouse engine"},
	} {
		row.opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		s, err := chembed.New(row.opts)
		if err == nil {
			s.Close(t.Context())
			t.Errorf("%s: it starts", row.name)
			continue
		}
		if row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want %q in it", row.name, err, row.want)
		}
	}
	if n := count(t, open(t, held), "SELECT toUInt64(1)"); n != 1 {
		t.Error("the engine whose directory was wanted does not answer any more")
	}
}

// TestOrphan: a child whose parent was killed ends by itself.
func TestOrphan(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHEMBED_TEST_PARENT="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	if !alive(child) {
		t.Fatal("no child")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	until(t, func() bool { return !alive(child) })
}

// TestStandardInputEnds: where the kernel does not tell a child of its parent's death, the end of its standard input does.
func TestStandardInputEnds(t *testing.T) {
	t.Parallel()
	library, err := chembed.FindLibrary("")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], chembed.ChildCommand)
	var addr string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles, addr = append(cmd.ExtraFiles, f), ln.Addr().String()
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(stdin, "{\"Library\": %q, \"DataDir\": %q}\n", library, t.TempDir())
	resp, err := http.Get("http://" + addr + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr.String())
	}
}

// orphanParent is what TestOrphan starts: a parent that tells its child's id and stays.
func orphanParent(dir string) {
	s, err := chembed.New(chembed.Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	s.Run(context.Background())
}

// TestMemory: what the engine needs at rest after work.
func TestMemory(t *testing.T) {
	t.Parallel()
	s := chtest.Start(t)
	c := open(t, s)
	mustExec(t, c, "CREATE TABLE t (a UInt64, s String, l LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
	for i := range 5 {
		mustExec(t, c, fmt.Sprintf("INSERT INTO t SELECT number + %d, toString(number), toString(number %% 100) FROM numbers(100000)", i))
	}
	count(t, c, "SELECT uniqExact(s) FROM t GROUP BY l ORDER BY 1 LIMIT 1")
	if n := rss(t, s); n > 600<<20 {
		t.Errorf("%d MiB resident", n>>20)
	} else {
		t.Logf("%d MiB resident", n>>20)
	}
}

// TestNoLibrary: the sentence, from a place where nothing is installed.
func TestNoLibrary(t *testing.T) {
	if p, err := chembed.FindLibrary(""); err != nil || !filepath.IsAbs(p) {
		t.Errorf("from here: %q, %v", p, err)
	}
	t.Chdir(t.TempDir())
	t.Setenv(chembed.LibraryEnv, "")
	if _, err := chembed.FindLibrary(""); !errors.Is(err, chembed.ErrNoLibrary) {
		t.Errorf("from an empty place: %v", err)
	}
	t.Setenv(chembed.LibraryEnv, "gone.so")
	if _, err := chembed.FindLibrary(""); !errors.Is(err, chembed.ErrNoLibrary) || !strings.Contains(err.Error(), "gone.so") {
		t.Errorf("a path that is not there: %v", err)
	}
}

// TestChildAlone: started by a person, the hidden command says what it is.
func TestChildAlone(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], chembed.ChildCommand)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "huoma up") {
		t.Errorf("got %v, %q", err, stderr.String())
	}
}
