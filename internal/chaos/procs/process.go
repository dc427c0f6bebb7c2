// Package procs runs the programs of an installation as processes of their own: it starts, signals and reaps them, and starts again
// what ends by itself, as an init system would. Start with Process; Installation is a whole of them.
//
// It ends only what it has started, by its process id.
package procs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is one program that may be killed, stopped and started again.
type Process struct {
	Name  string
	Path  string // of the program
	Args  []string
	Env   []string // beside the harness's own
	Log   string   // file that its output is appended to
	Probe string   // URL that answers 200 when it is ready

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{} // of cmd
	wanted bool          // it is to run
	held   bool          // by SIGSTOP
	starts int
	ends   []End
}

// End is an end of a process that nobody had asked for.
type End struct {
	At    time.Time `json:"at"`
	State string    `json:"state"` // exit status or signal
	Words string    `json:"words"` // last line of its log
}

// again is how long a process that ended by itself stays away.
const again = 500 * time.Millisecond

// spawner starts all processes from one thread that lives as long as we do:
// on Linux a child is told to die with the thread that made it.
var spawner = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts the process and returns at once. It is started again whenever it
// ends by itself, until Kill or Stop.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	if p.cmd != nil {
		return nil
	}
	return p.launch()
}

// launch is Start with p.mu held.
func (p *Process) launch() error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	p.held = false
	p.starts++
	go p.reap(cmd, ended)
	return nil
}

// reap waits for a process's end and starts the next when it was not asked for.
func (p *Process) reap(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait() // its state is what counts
	p.mu.Lock()
	p.cmd = nil
	unasked := p.wanted
	if unasked {
		p.ends = append(p.ends, End{At: time.Now().UTC(), State: cmd.ProcessState.String(), Words: lastLine(p.Log)})
	}
	p.mu.Unlock()
	close(ended)
	if !unasked {
		return
	}
	for {
		time.Sleep(again)
		p.mu.Lock()
		var err error
		if p.wanted && p.cmd == nil {
			err = p.launch()
		}
		p.mu.Unlock()
		if err == nil {
			return
		}
	}
}

// Kill ends the process without a word, as a power cut would, and returns when
// it is gone. It is not started again by itself.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 0) }

// Stop ends the process as an operator would and returns when it is gone. One
// that does not end within the time is killed, and that is the error.
func (p *Process) Stop(within time.Duration) error {
	if !p.end(syscall.SIGTERM, within) {
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.Name, within)
	}
	return nil
}

func (p *Process) end(sig syscall.Signal, within time.Duration) bool {
	p.mu.Lock()
	p.wanted = false
	cmd, ended := p.cmd, p.ended
	if cmd != nil {
		_ = cmd.Process.Signal(sig) // it may be gone
		if p.held {
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
	}
	p.mu.Unlock()
	if cmd == nil {
		return true
	}
	if within > 0 {
		select {
		case <-ended:
			return true
		case <-time.After(within):
			_ = cmd.Process.Kill()
			<-ended
			return false
		}
	}
	<-ended
	return true
}

// Pause stops the process where it is; Continue lets it go on.
func (p *Process) Pause() error    { return p.signal(syscall.SIGSTOP, true) }
func (p *Process) Continue() error { return p.signal(syscall.SIGCONT, false) }

func (p *Process) signal(sig syscall.Signal, held bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s: %w", p.Name, os.ErrProcessDone)
	}
	p.held = held
	return p.cmd.Process.Signal(sig)
}

// PID is the process's id, 0 while there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Starts is how often it was started, and Ends when it ended by itself.
func (p *Process) Starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// Ends are the ends nobody had asked for.
func (p *Process) Ends() []End {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]End(nil), p.ends...)
}

// Ready asks whether the process is ready; the error says why not.
func (p *Process) Ready(ctx context.Context) error {
	if p.PID() == 0 {
		return fmt.Errorf("%s does not run: %s", p.Name, lastLine(p.Log))
	}
	if p.Probe == "" {
		return nil
	}
	return Probe(ctx, p.Probe)
}

// Await waits until the process is ready or ctx ends.
func (p *Process) Await(ctx context.Context) error {
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (more in %s)", p.Name, err, p.Log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lastLine is the last line of a log that says something.
func lastLine(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(-4<<10, io.SeekEnd); err != nil && !errors.Is(err, syscall.EINVAL) {
		return ""
	}
	b, _ := io.ReadAll(f) // as much as there is
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	last := string(lines[len(lines)-1])
	return last[:min(len(last), 300)]
}
