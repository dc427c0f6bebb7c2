// Package clock builds programs whose wall clock can be made to jump, and whose syncs of files can be made slow, while they run
// and from outside. The machine's own clock is never touched.
//
// The programs are built with go build -overlay. The overlay replaces two files of the local Go installation by copies in which
// time.Now adds an offset and a file's Sync waits first; both numbers are read from a page of memory, which is the file that the
// environment variable Env names. Start with Overlay, then Page.
//
// The monotonic clock goes on as it is, as it does when a machine's clock is set: timers fire in their time, and only what asks for the
// date sees the jump. A Go installation whose text is not as expected is refused, never half patched.
package clock

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Env names the environment variable with the path of a process's page. A
// program built with the overlay and started without it runs as usual.
const Env = "HUOMA_CHAOS_PAGE"

const pageSize = 4096

// A patch replaces one piece of text, which must be there exactly once.
type patch struct{ file, old, new string }

// patches are those of a system.
func patches(goos string) []patch {
	fsync, imports := "src/internal/poll/fd_fsync_posix.go", patch{old: "import \"syscall\"\n", new: "import (\n\t\"syscall\"\n\t\"time\"\n)\n"}
	if goos == "darwin" {
		fsync, imports = "src/internal/poll/fd_fsync_darwin.go", patch{old: "\t\"syscall\"\n)\n", new: "\t\"syscall\"\n\t\"time\"\n)\n"}
	}
	const begin = "func (fd *FD) Fsync() error {\n\tif err := fd.incref(); err != nil {\n\t\treturn err\n\t}\n\tdefer fd.decref()\n"
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	return []patch{
		{"src/time/time.go", now, now + "\tsec, nsec = chaosShift(sec, nsec)\n"},
		{fsync, begin, begin + "\ttime.Sleep(time.ChaosSyncDelay())\n"},
		{fsync, imports.old, imports.new},
	}
}

// added is a file of ours in package time.
const added = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// chaosPage is two numbers of nanoseconds: what is added to the wall clock, and how long a sync waits.
var chaosPage = chaosMap()

func chaosMap() *[2]atomic.Int64 {
	name, ok := syscall.Getenv("` + Env + `")
	if !ok || name == "" {
		return nil
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("` + Env + `: open " + name + ": " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	syscall.Close(fd)
	if err != nil {
		panic("` + Env + `: map " + name + ": " + err.Error())
	}
	return (*[2]atomic.Int64)(unsafe.Pointer(&b[0]))
}

func chaosShift(sec int64, nsec int32) (int64, int32) {
	if chaosPage == nil {
		return sec, nsec
	}
	off := chaosPage[0].Load()
	if off == 0 {
		return sec, nsec
	}
	n := int64(nsec) + off%1e9
	sec += off / 1e9
	if n >= 1e9 {
		n -= 1e9
		sec++
	} else if n < 0 {
		n += 1e9
		sec--
	}
	return sec, int32(n)
}

// ChaosSyncDelay is how long a sync of a file waits first.
func ChaosSyncDelay() Duration {
	if chaosPage == nil {
		return 0
	}
	return Duration(chaosPage[1].Load())
}
`

// Overlay writes the files of an overlay into dir, which it makes, and returns
// the path of the JSON that go build -overlay takes. goroot is the Go
// installation's, as `go env GOROOT` says. without are files, by their
// absolute paths, that the build is not to see. The error says what text was not found.
func Overlay(dir, goroot string, without ...string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	replace := map[string]string{}
	text := map[string]string{}
	for _, p := range patches(runtime.GOOS) {
		name := filepath.Join(goroot, filepath.FromSlash(p.file))
		if _, ok := text[name]; !ok {
			b, err := os.ReadFile(name)
			if err != nil {
				return "", fmt.Errorf("read the Go installation: %w", err)
			}
			text[name] = string(b)
		}
		if n := strings.Count(text[name], p.old); n != 1 {
			return "", fmt.Errorf("%s of this Go has %d times what is to be patched, want once: bring internal/chaos/clock up to this version of Go\n%s", p.file, n, p.old)
		}
		text[name] = strings.Replace(text[name], p.old, p.new, 1)
	}
	text[filepath.Join(goroot, "src", "time", "chaos.go")] = added
	for name, t := range text {
		ours := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(name, goroot+string(filepath.Separator)), string(filepath.Separator), "_"))
		if err := os.WriteFile(ours, []byte(t), 0o644); err != nil {
			return "", err
		}
		replace[name] = ours
	}
	for _, name := range without {
		replace[name] = ""
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, b, 0o644)
}

// Goroot is where the Go installation is.
func Goroot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w: Go is needed to build the programs whose clock jumps", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Page is what one process reads: its clock's offset and its syncs' delay.
type Page struct {
	f    *os.File
	path string
}

// NewPage makes a page in which nothing is changed. Close it when done.
func NewPage(path string) (*Page, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(pageSize); err != nil {
		return nil, fmt.Errorf("%w (close: %v)", err, f.Close())
	}
	return &Page{f, path}, nil
}

// Path is what Env has to say.
func (p *Page) Path() string { return p.path }

// Shift makes the wall clock be by d off from now on.
func (p *Page) Shift(d time.Duration) error { return p.set(0, d) }

// SlowSync makes each sync wait for d from now on.
func (p *Page) SlowSync(d time.Duration) error { return p.set(8, d) }

// set writes a number whole: eight bytes in one page go in one copy.
func (p *Page) set(at int64, d time.Duration) error {
	_, err := p.f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(d)), at)
	return err
}

// Close closes the page's file; processes that have mapped it keep it.
func (p *Page) Close() error { return p.f.Close() }
