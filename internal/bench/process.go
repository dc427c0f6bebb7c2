package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// answersWithin bounds how long a process may take to answer: a busy machine
// that recovers ten million events takes its time.
const answersWithin = 3 * time.Minute

// pollEvery is how often a condition is looked at: seldom enough to cost
// nothing, often enough for runs of seconds.
const pollEvery = 20 * time.Millisecond

// A process is one helper that serves.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  *tail
	done chan struct{}
	addr string // what it said, or listens on
	mu   sync.Mutex
}

// start starts a helper of that kind. It is stopped with the bench at the latest.
func (b *bench) start(kind string, args ...string) (*process, error) {
	p := &process{name: kind, log: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(b.self, append([]string{helperCommand, kind}, args...)...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the bench, which stops them in order
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	b.running = append(b.running, p)
	return p, nil
}

// saysReady waits for the address that a server says when it is ready.
func (p *process) saysReady() error {
	var said struct{ Ready string }
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		return p.failed(fmt.Errorf("did not start (%v): %w", p.ended(), err))
	}
	p.addr = said.Ready
	return nil
}

// answersReady waits until the role answers 200 to /readyz.
func (p *process) answersReady(ctx context.Context) error {
	return p.until(ctx, "is not ready", func() bool {
		resp, err := http.Get("http://" + p.addr + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// until polls a condition, and gives up when the process has ended.
func (p *process) until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	deadline := time.Now().Add(answersWithin)
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return p.failed(errors.New("ended"))
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return p.failed(fmt.Errorf("%s after %s", what, answersWithin))
		}
	}
	return nil
}

// ended says how the process ended, if it has or is about to.
func (p *process) ended() string {
	select {
	case <-p.done:
		return p.cmd.ProcessState.String()
	case <-time.After(time.Second):
		return "it runs"
	}
}

func (p *process) failed(err error) error {
	return fmt.Errorf("the %s %w; its log ends with: %s", p.name, err, p.log.String())
}

func (p *process) ask(what string) (u usage, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		return u, p.failed(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return u, p.failed(err)
	}
	if err := json.Unmarshal(line, &u); err != nil {
		return u, p.failed(err)
	}
	if u.Error != "" {
		return u, p.failed(errors.New(u.Error))
	}
	return u, nil
}

// stop ends a process in order and waits for it.
func (p *process) stop() error {
	_ = p.in.Close() // it may have ended
	select {
	case <-p.done:
	case <-time.After(answersWithin):
		p.kill()
		return p.failed(errors.New("does not stop"))
	}
	if c := p.cmd.ProcessState.ExitCode(); c != 0 {
		return p.failed(fmt.Errorf("ended with status %d", c))
	}
	return nil
}

// kill ends a process, and the embedded engine below it, without a word.
func (p *process) kill() {
	select {
	case <-p.done: // its number may be another's by now
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// do runs a task in a process of its own and reads what came of it into result.
func (b *bench) do(ctx context.Context, kind string, spec, result any) error {
	body, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, "spec-*.json")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(body); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.self, helperCommand, kind, f.Name())
	log := &tail{}
	cmd.Stderr = log
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", kind, err, log.String())
	}
	return json.Unmarshal(out, result)
}

// freeAddr is a loopback address that nobody listens on just now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailBytes {
		t.b = append([]byte(nil), t.b[len(t.b)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
