package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/huoma/huoma/internal/chaos/plan"
	"github.com/huoma/huoma/internal/chaos/procs"
	"github.com/huoma/huoma/internal/chaos/traffic"
	"github.com/huoma/huoma/internal/chaos/wire"
)

// Injected is a fault of the plan and what came of it.
type Injected struct {
	plan.Fault
	At       time.Duration `json:"at"`   // since the traffic began
	Took     time.Duration `json:"took"` // until it was over and its victims were ready again
	Observed string        `json:"observed,omitempty"`
	Error    string        `json:"error,omitempty"` // why it could not be injected

	// For a lost leader: how long until there was another, a publish to NATS was acknowledged, every gateway had taken an event, and had
	// answered a scan.
	Elected time.Duration `json:"elected,omitempty"`
	Publish time.Duration `json:"publish_resumed,omitempty"`
	Write   time.Duration `json:"write_resumed,omitempty"`
	Scan    time.Duration `json:"scan_resumed,omitempty"`
}

// injector does what the plan says.
type injector struct {
	in     *procs.Installation
	ledger *traffic.Ledger
	probe  *probe
	newBin string
	begun  time.Time
	log    *slog.Logger

	alone sync.RWMutex // held whole by a fault whose bound would not hold beside another

	mu   sync.Mutex
	done []Injected
}

// readyWithin is how long a victim may take to be ready again.
const readyWithin = 90 * time.Second

// lane injects the faults of a lane, each when so many events have been
// acknowledged and the one before is over. It stops when ctx ends.
func (j *injector) lane(ctx context.Context, list []plan.Fault) {
	for _, f := range list {
		if f.Not != "" {
			j.note(Injected{Fault: f})
			continue
		}
		if !j.reached(ctx, f.After) {
			j.note(Injected{Fault: f, Error: "the time was over before its turn"})
			continue
		}
		j.inject(ctx, f)
	}
}

// reached waits until n events have been acknowledged.
func (j *injector) reached(ctx context.Context, n int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for j.ledger.Acked() < n {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return ctx.Err() == nil
}

func (j *injector) inject(ctx context.Context, f plan.Fault) {
	if f.Kind == plan.Leader {
		j.alone.Lock()
		defer j.alone.Unlock()
	} else {
		j.alone.RLock()
		defer j.alone.RUnlock()
	}
	d := Injected{Fault: f, At: time.Since(j.begun)}
	j.log.Info("inject", "fault", strings.TrimSpace(f.String()))
	begun := time.Now()
	if err := j.act(ctx, f, &d); err != nil {
		d.Error = err.Error()
		j.log.Error("fault", "n", f.N, "err", err)
	}
	d.Took = time.Since(begun)
	j.log.Info("over", "n", f.N, "took", d.Took.Round(time.Millisecond).String(), "observed", d.Observed)
	j.note(d)
}

func (j *injector) note(d Injected) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done = append(j.done, d)
}

// act is one fault from its beginning to its end.
func (j *injector) act(ctx context.Context, f plan.Fault, d *Injected) error {
	switch f.Kind {
	case plan.Kill:
		return j.kill(ctx, f, d)
	case plan.Pause:
		return j.pause(ctx, f, d)
	case plan.InFlight:
		return j.inFlight(ctx, f, d)
	case plan.MidInsert:
		return j.midInsert(ctx, f, d)
	case plan.Leader:
		return j.leader(ctx, f, d)
	case plan.Minority:
		return j.minority(ctx, f, d)
	case plan.Majority:
		return j.majority(ctx, f, d)
	case plan.DiskFull, plan.EngineFull:
		return j.diskFull(ctx, f, d)
	case plan.DiskSlow, plan.Clock:
		return j.page(ctx, f, d)
	case plan.Cut, plan.Delay, plan.Hold, plan.Duplicate, plan.LoseAcks:
		return j.link(ctx, f, d)
	case plan.StaleOwner:
		return j.staleOwner(ctx, f, d)
	case plan.RollingStop:
		return j.rolling(ctx, d)
	case plan.Upgrade:
		return j.upgrade(ctx, d)
	}
	return fmt.Errorf("there is no fault %s", f.Kind)
}

// process finds the victim of a fault. What is called engine is the child of
// the process that serves ClickHouse.
func (j *injector) process(name string) (*procs.Process, error) {
	if p := j.in.Find(name); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no process %s", name)
}

// kill ends a process without a word. Every second time the victim is
// ClickHouse it is the engine's own process, which its parent starts again.
func (j *injector) kill(ctx context.Context, f plan.Fault, d *Injected) error {
	name := f.Target
	engine := name == "engine" || name == "clickhouse" && f.N%2 == 0
	if name == "engine" {
		name = "huoma"
	}
	p, err := j.process(name)
	if err != nil {
		return err
	}
	if engine {
		pid, err := child(p.PID())
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the engine: %w", err)
		}
		d.Observed = "the engine's process; "
		wait(ctx, f.For)
		return j.await(ctx, p, d)
	}
	p.Kill()
	wait(ctx, f.For)
	return j.again(ctx, p, d)
}

// again starts a process that was ended, and waits until it is ready.
func (j *injector) again(ctx context.Context, p *procs.Process, d *Injected) error {
	if err := p.Start(); err != nil {
		return err
	}
	return j.await(ctx, p, d)
}

// await waits until a process is ready and notes how long that took. One that
// waits for somebody the other lane has hurt is ready later.
func (j *injector) await(ctx context.Context, p *procs.Process, d *Injected) error {
	bounded, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	begun := time.Now()
	if err := p.Await(bounded); err != nil {
		d.Observed += err.Error()
		return nil // the checks will tell whether that did harm
	}
	d.Observed += fmt.Sprintf("%s ready again after %s", p.Name, time.Since(begun).Round(time.Millisecond))
	return nil
}

func (j *injector) pause(ctx context.Context, f plan.Fault, d *Injected) error {
	if f.Target == "engine" {
		p, err := j.process("huoma")
		if err != nil {
			return err
		}
		pid, err := child(p.PID())
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		wait(ctx, f.For)
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return err
		}
		return j.await(ctx, p, d)
	}
	p, err := j.process(f.Target)
	if err != nil {
		return err
	}
	if err := j.running(ctx, p); err != nil {
		return err
	}
	if err := p.Pause(); err != nil {
		return err
	}
	wait(ctx, f.For)
	if err := p.Continue(); err != nil {
		return err
	}
	return j.await(ctx, p, d)
}

// running waits until a process is there, for it may be about to be started
// again.
func (j *injector) running(ctx context.Context, p *procs.Process) error {
	for p.PID() == 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait(ctx, 20*time.Millisecond)
	}
	return nil
}

// inFlight holds what a process says to a server until it has said something,
// kills it, and loses what was held: the server never hears what the process
// may have taken for said. A worker that owns nothing says nothing for so
// long that it is killed without.
func (j *injector) inFlight(ctx context.Context, f plan.Fault, d *Injected) error {
	p, err := j.process(f.Target)
	if err != nil {
		return err
	}
	links := j.in.LinksOf(f.Target, f.To)
	if len(links) == 0 {
		return fmt.Errorf("%s has no link to %s", f.Target, f.To)
	}
	before := counts(links).Held
	for _, k := range links {
		k.Set(wire.Faults{HoldQueries: true})
	}
	for until := time.Now().Add(4 * time.Second); counts(links).Held == before && time.Now().Before(until); {
		wait(ctx, time.Millisecond)
	}
	wait(ctx, 150*time.Millisecond) // more of it, and answers that should not have been given
	p.Kill()
	for _, k := range links {
		k.Set(wire.Faults{Cut: true})
	}
	d.Observed = fmt.Sprintf("%d connections had something on its way; ", counts(links).Held-before)
	wait(ctx, f.For)
	for _, k := range links {
		k.Set(wire.Faults{})
	}
	return j.again(ctx, p, d)
}

// midInsert kills ClickHouse while rows are on their way to it.
func (j *injector) midInsert(ctx context.Context, f plan.Fault, d *Injected) error {
	p, err := j.process(f.Target)
	if err != nil {
		return err
	}
	const enough = 24 << 10 // more than any query of a worker has
	var sent atomic.Int64
	var once sync.Once
	struck := make(chan struct{})
	for name, links := range j.in.Links {
		if !strings.HasSuffix(name, " clickhouse") {
			continue
		}
		for _, k := range links {
			k.Watch(func(n int) {
				if sent.Add(int64(n)) > enough {
					once.Do(func() { close(struck); go p.Kill() })
				}
			})
			defer k.Watch(nil)
		}
	}
	select {
	case <-struck:
	case <-ctx.Done():
		return errors.New("no insert came in time")
	case <-time.After(readyWithin):
		return errors.New("no insert came within " + readyWithin.String())
	}
	d.Observed = fmt.Sprintf("after %d bytes of an insert; ", sent.Load())
	for p.PID() != 0 {
		wait(ctx, time.Millisecond)
	}
	wait(ctx, f.For)
	return j.again(ctx, p, d)
}

// leader kills the server that leads a stream, and measures until writes are
// acknowledged again.
func (j *injector) leader(ctx context.Context, f plan.Fault, d *Injected) error {
	name, err := j.probe.leader(ctx, f.To)
	if err != nil {
		return err
	}
	p, err := j.process(name)
	if err != nil {
		return err
	}
	p.Kill()
	at := time.Now()
	var both sync.WaitGroup
	both.Go(func() { d.Elected = j.probe.elected(ctx, at, f.To, name) })
	r := j.probe.resumed(ctx, at)
	both.Wait()
	d.Publish, d.Write, d.Scan = r.publish, r.write, r.scan
	d.Observed = fmt.Sprintf("%s led; another led after %s; %s; ", name, d.Elected.Round(time.Millisecond), r)
	wait(ctx, f.For-time.Since(at))
	return j.again(ctx, p, d)
}

// minority cuts one server off from the others. Its clients stay with it.
func (j *injector) minority(ctx context.Context, f plan.Fault, d *Injected) error {
	before := 0
	for _, k := range j.in.Routes {
		before += k.Counts().Cut
	}
	at := time.Now()
	for name, k := range j.in.Routes {
		if name == f.Target {
			k.Set(wire.Faults{Cut: true})
		} else {
			k.Isolate(f.Target)
		}
	}
	// A client that stays with the minority resumes when that is over.
	var measured sync.WaitGroup
	var r resumption
	measured.Go(func() { r = j.probe.resumed(ctx, at) })
	wait(ctx, f.For)
	cut := -before
	for _, k := range j.in.Routes {
		cut += k.Counts().Cut
		k.Set(wire.Faults{})
		k.Isolate()
	}
	measured.Wait()
	if cut == 0 {
		return errors.New("no route was there to be cut")
	}
	d.Observed = fmt.Sprintf("%d routes cut; %s", cut, r)
	return nil
}

// majority kills more servers than a quorum can miss.
func (j *injector) majority(ctx context.Context, f plan.Fault, d *Injected) error {
	var list []*procs.Process
	for name := range strings.SplitSeq(f.Target, ",") {
		p, err := j.process(name)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	for _, p := range list {
		p.Kill()
	}
	wait(ctx, f.For)
	for _, p := range list {
		if err := p.Start(); err != nil {
			return err
		}
	}
	d.Observed = fmt.Sprintf("started again, %s", j.probe.resumed(ctx, time.Now()))
	return nil
}

// diskFull leaves a server no room. One that does not recover by itself is
// started again, as an operator would.
func (j *injector) diskFull(ctx context.Context, f plan.Fault, d *Injected) error {
	disk := j.in.DiskOf[f.Target]
	p, err := j.process(f.Target)
	if err != nil {
		return err
	}
	if disk == nil {
		return fmt.Errorf("%s has no disk of its own", f.Target)
	}
	used, err := disk.Fill()
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	wait(ctx, f.For)
	if err := disk.Empty(); err != nil {
		return fmt.Errorf("make room again: %w", err)
	}
	d.Observed = fmt.Sprintf("full at %d MiB; ", used>>20)
	grace, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := j.writable(grace, p); err == nil {
		d.Observed += "went on by itself"
		return nil
	}
	d.Observed += "had to be restarted; "
	if err := p.Stop(20 * time.Second); err != nil {
		d.Observed += err.Error() + "; "
	}
	return j.again(ctx, p, d)
}

// writable waits until a server whose disk was full takes writes again.
func (j *injector) writable(ctx context.Context, p *procs.Process) error {
	if err := p.Await(ctx); err != nil || p.Name == "clickhouse" {
		return err
	}
	return j.probe.writable(ctx)
}

// page changes what a process reads from its page: its clock or its disk's
// speed.
func (j *injector) page(ctx context.Context, f plan.Fault, d *Injected) error {
	page := j.in.Pages[f.Target]
	if page == nil {
		return fmt.Errorf("%s was not built with the overlay", f.Target)
	}
	set := page.Shift
	if f.Kind == plan.DiskSlow {
		set = page.SlowSync
	}
	if err := set(f.Much); err != nil {
		return err
	}
	wait(ctx, f.For)
	return set(0)
}

// link is any fault of what passes between a process and a server.
func (j *injector) link(ctx context.Context, f plan.Fault, d *Injected) error {
	links := j.in.LinksOf(f.Target, f.To)
	if len(links) == 0 {
		return fmt.Errorf("%s has no link to %s", f.Target, f.To)
	}
	var do wire.Faults
	switch f.Kind {
	case plan.Cut:
		do.Cut = true
	case plan.Delay:
		do.Delay = f.Much
	case plan.Hold:
		do.HoldQueries, do.HoldAnswers = !f.Answer, f.Answer
	case plan.Duplicate:
		do.Duplicate = true
	case plan.LoseAcks:
		do.LoseAcks = true
	}
	before := counts(links)
	for _, k := range links {
		k.Set(do)
	}
	wait(ctx, f.For)
	for _, k := range links {
		k.Set(wire.Faults{})
	}
	after := counts(links)
	switch f.Kind {
	case plan.Cut:
		d.Observed = fmt.Sprintf("%d connections ended", after.Cut-before.Cut)
	case plan.Duplicate:
		d.Observed = fmt.Sprintf("%d messages twice", after.Duplicated-before.Duplicated)
	case plan.LoseAcks:
		d.Observed = fmt.Sprintf("%d acknowledgements lost", after.AcksLost-before.AcksLost)
	case plan.Hold:
		d.Observed = fmt.Sprintf("%d pieces waited", after.Held-before.Held)
	}
	return nil
}

func counts(links []*wire.Link) (sum wire.Counts) {
	for _, k := range links {
		c := k.Counts()
		sum.Cut += c.Cut
		sum.Duplicated += c.Duplicated
		sum.AcksLost += c.AcksLost
		sum.Held += c.Held
		sum.Lies += c.Lies
	}
	return sum
}

// staleOwner makes a scan worker miss that its partitions have gone to others:
// it is stopped, or, every second time, its connection carries nothing while
// it goes on deciding. The victim is one that owns something, from the one
// drawn on.
func (j *injector) staleOwner(ctx context.Context, f plan.Fault, d *Injected) error {
	p, owned, err := j.owner(ctx, f.Target)
	if err != nil {
		return err
	}
	if f.N%2 == 0 {
		if err := p.Pause(); err != nil {
			return err
		}
		wait(ctx, f.For)
		if err := p.Continue(); err != nil {
			return err
		}
		d.Observed = fmt.Sprintf("%s, owner of %d partitions, was stopped; ", p.Name, owned)
		return j.await(ctx, p, d)
	}
	links := j.in.Links[p.Name+" nats"]
	for _, k := range links {
		k.Set(wire.Faults{HoldQueries: true, HoldAnswers: true})
	}
	wait(ctx, f.For)
	for _, k := range links {
		k.Set(wire.Faults{})
	}
	d.Observed = fmt.Sprintf("%s, owner of %d partitions, was not heard; ", p.Name, owned)
	return j.await(ctx, p, d)
}

// owner is the first scan worker from name on that owns a partition.
func (j *injector) owner(ctx context.Context, name string) (*procs.Process, int, error) {
	var all []*procs.Process
	from := 0
	for _, p := range j.in.Processes {
		if strings.HasPrefix(p.Name, "scan-worker") {
			if p.Name == name {
				from = len(all)
			}
			all = append(all, p)
		}
	}
	for until := time.Now().Add(readyWithin); time.Now().Before(until) && ctx.Err() == nil; wait(ctx, 200*time.Millisecond) {
		for i := range all {
			p := all[(from+i)%len(all)]
			if n := owned(ctx, strings.TrimSuffix(p.Probe, "/readyz")+"/metrics"); n > 0 {
				return p, n, nil
			}
		}
	}
	return nil, 0, errors.New("no scan worker owns a partition")
}

// rolling restarts everything: workers before gateways, and each ready before
// the next.
func (j *injector) rolling(ctx context.Context, d *Injected) error {
	n := 0
	for _, kind := range []string{"analytics-worker", "scan-worker", "gateway", "huoma", "nats", "clickhouse"} {
		for _, p := range j.in.Processes {
			if !strings.HasPrefix(p.Name, kind) {
				continue
			}
			if err := p.Stop(45 * time.Second); err != nil {
				return err
			}
			if err := p.Start(); err != nil {
				return err
			}
			bounded, cancel := context.WithTimeout(ctx, readyWithin)
			err := p.Await(bounded)
			cancel()
			if err != nil {
				d.Observed += err.Error() + "; "
			}
			n++
		}
	}
	d.Observed += fmt.Sprintf("%d processes", n)
	return nil
}

// upgrade brings the schema and its workers from the previous version to the
// newest.
func (j *injector) upgrade(ctx context.Context, d *Injected) error {
	for try := 0; ; try++ { // the other lane may have ClickHouse down
		err := j.in.Migrate(ctx, j.newBin)
		if err == nil {
			break
		}
		if try == 100 || ctx.Err() != nil {
			return err
		}
		wait(ctx, 300*time.Millisecond)
	}
	for _, p := range j.in.Processes {
		if !strings.HasPrefix(p.Name, "analytics-worker") {
			continue
		}
		if err := p.Stop(45 * time.Second); err != nil {
			return err
		}
		p.Path = filepath.Join(j.newBin, filepath.Base(p.Path))
		if err := j.again(ctx, p, d); err != nil {
			return err
		}
		d.Observed += "; "
	}
	return nil
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// child is the one child of a process.
func child(parent int) (int, error) {
	if parent == 0 {
		return 0, os.ErrProcessDone
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent)) // by the thread that started it
	if err != nil {
		return 0, err
	}
	var all []byte
	for _, name := range lists {
		b, _ := os.ReadFile(name) // a thread may be gone
		all = append(all, b...)
	}
	if len(lists) == 0 { // no such files on this system
		all, _ = exec.Command("pgrep", "-P", strconv.Itoa(parent)).Output() // it fails when there is none
	}
	words := strings.Fields(string(all))
	if len(words) != 1 {
		return 0, fmt.Errorf("process %d has %d children, want one", parent, len(words))
	}
	return strconv.Atoi(words[0])
}
