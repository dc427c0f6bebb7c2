package clock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// program says on each line of input what time it is, how far a timer and the
// monotonic clock have gone, and how long a sync took.
const program = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	begun := time.Now()
	for in.Scan() {
		f, err := os.Create(os.Args[1])
		if err != nil {
			panic(err)
		}
		before := time.Now()
		if err := f.Sync(); err != nil {
			panic(err)
		}
		fmt.Println(time.Now().UnixNano(), int64(time.Since(begun)), int64(time.Since(before)))
		f.Close()
	}
}
`

func TestProgramSeesTheJump(t *testing.T) {
	dir := t.TempDir()
	root := goroot(t)
	overlay, err := Overlay(filepath.Join(dir, "overlay"), root)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "main.go"), program)
	write(t, filepath.Join(dir, "go.mod"), "module jump\n\ngo 1.26\n")
	build := exec.Command("go", "build", "-overlay", overlay, "-o", "jump", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	page, err := NewPage(filepath.Join(dir, "page"))
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	ask := start(t, filepath.Join(dir, "jump"), filepath.Join(dir, "synced"), page.Path())
	begun := time.Now()
	const slack = time.Minute // of a busy machine
	for _, row := range []struct {
		name        string
		shift, slow time.Duration
	}{
		{"as it is", 0, 0},
		{"forward", 90 * time.Minute, 0},
		{"backward", -3*time.Hour - 999*time.Millisecond, 0},
		{"back", 0, 0},
		{"slow", 0, 200 * time.Millisecond},
		{"both", 24 * time.Hour, 100 * time.Millisecond},
	} {
		if err := page.Shift(row.shift); err != nil {
			t.Fatal(err)
		}
		if err := page.SlowSync(row.slow); err != nil {
			t.Fatal(err)
		}
		wall, since, took := ask()
		if off := wall.Sub(time.Now().Add(row.shift)); off < -slack || off > slack {
			t.Errorf("%s: the clock is %s off, want %s", row.name, time.Until(wall), row.shift)
		}
		if since < 0 || since > time.Since(begun)+slack {
			t.Errorf("%s: the monotonic clock has gone %s", row.name, since)
		}
		if took < row.slow {
			t.Errorf("%s: a sync took %s, want at least %s", row.name, took, row.slow)
		}
	}

	plain := start(t, filepath.Join(dir, "jump"), filepath.Join(dir, "synced"), "")
	if wall, _, _ := plain(); time.Until(wall).Abs() > slack {
		t.Errorf("without a page the clock says %s", wall)
	}
}

// start runs the program and returns what asks it.
func start(t *testing.T, exe, file, page string) func() (wall time.Time, since, took time.Duration) {
	cmd := exec.Command(exe, file)
	if page != "" {
		cmd.Env = append(os.Environ(), Env+"="+page)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(out)
	return func() (time.Time, time.Duration, time.Duration) {
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var wall, since, took int64
		if _, err := fmt.Sscan(line, &wall, &since, &took); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return time.Unix(0, wall), time.Duration(since), time.Duration(took)
	}
}

// Another Go than the one known is refused.
func TestUnknownTextIsRefused(t *testing.T) {
	root := t.TempDir()
	for _, p := range patches(runtime.GOOS) {
		write(t, filepath.Join(root, p.file), "package changed\n")
	}
	if _, err := Overlay(filepath.Join(root, "overlay"), root); err == nil || !strings.Contains(err.Error(), "internal/chaos/clock") {
		t.Errorf("error = %v, want what to do", err)
	}
	for _, goos := range []string{"linux", "darwin"} { // both are patched as the Go of this machine is
		for _, p := range patches(goos) {
			b, err := os.ReadFile(filepath.Join(goroot(t), p.file))
			if err != nil || strings.Count(string(b), p.old) != 1 {
				t.Errorf("%s: %s has not once %q (%v)", goos, p.file, p.old, err)
			}
		}
	}
	if _, err := Overlay(filepath.Join(root, "overlay"), filepath.Join(root, "nowhere")); err == nil {
		t.Error("a Go that is not there is taken")
	}
}

func goroot(t *testing.T) string {
	t.Helper()
	root, err := Goroot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
