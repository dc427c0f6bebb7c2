package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/natsdev"
	"github.com/huoma/huoma/internal/role"
)

// helperCommand is the first argument with which bench starts itself as one of
// the processes that it measures.
const helperCommand = "helper"

// A helper that serves answers on standard output what it is asked on standard
// input, a line each, and ends when its input does.
const (
	askUsage        = "usage"         // CPU so far, as usage
	askHeap         = "heap"          // live heap after a collection, as usage
	askProfileStart = "profile start" // followed by a file: begin a CPU profile there
	askProfileStop  = "profile stop"  // end it, and write the allocations beside it
)

// usage is what a process has used up so far.
type usage struct {
	CPU   float64 `json:"cpu_s"` // user and system, seconds, children included
	Heap  uint64  `json:"heap"`  // live bytes, when asked for
	Error string  `json:"error,omitempty"`
}

// serving are the helpers that run until they are told to stop.
var serving = map[string]func(args []string) int{
	"nats":             serveNATS,
	"clickhouse":       serveClickHouse,
	"bare-http":        serveRedirect,
	"gateway":          func(a []string) int { return role.Main(new(role.GatewayCommand), "gateway", "", a) },
	"scan-worker":      func(a []string) int { return role.Main(new(role.ScanWorkerCommand), "scan-worker", "", a) },
	"analytics-worker": func(a []string) int { return role.Main(new(role.AnalyticsCommand), "analytics-worker", "", a) },
}

// tasks are the helpers that do one thing, print what came of it and end.
var tasks = map[string]func(spec []byte) (any, error){
	"load":    task(load),
	"publish": task(publish),
	"post":    task(post),
	"fetch":   task(fetch),
	"insert":  task(insertRows),
	"windows": task(windows),
}

func task[S, R any](do func(S) (R, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		var spec S
		if err := json.Unmarshal(b, &spec); err != nil {
			return nil, err
		}
		return do(spec)
	}
}

// runHelper is the process of a helper. It returns the exit status.
func runHelper(args []string) int {
	if len(args) == 0 {
		return fail(errors.New("no helper is named"))
	}
	if do, ok := tasks[args[0]]; ok && len(args) == 2 {
		spec, err := os.ReadFile(args[1])
		if err != nil {
			return fail(err)
		}
		result, err := do(spec)
		if err != nil {
			return fail(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return fail(err)
		}
		return 0
	}
	serve, ok := serving[args[0]]
	if !ok {
		return fail(fmt.Errorf("there is no helper %q", args[0]))
	}
	go answer()
	return serve(args[1:])
}

func fail(err error) int {
	fmt.Fprintf(os.Stderr, "bench: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	return 1
}

// answer answers what the bench asks, and ends this process in order when the
// bench has closed the pipe or is gone.
func answer() {
	out := json.NewEncoder(os.Stdout)
	var profile *os.File
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		ask := in.Text()
		var u usage
		var err error
		switch file, start := strings.CutPrefix(ask, askProfileStart+" "); {
		case start:
			if profile, err = os.Create(file); err == nil {
				err = pprof.StartCPUProfile(profile)
			}
		case ask == askProfileStop:
			pprof.StopCPUProfile()
			err = errors.Join(profile.Close(), writeAllocs(strings.TrimSuffix(profile.Name(), ".cpu")+".allocs"))
		case ask == askHeap:
			u.Heap = liveHeap()
		}
		if err != nil {
			u.Error = err.Error()
		}
		u.CPU = cpuOf(os.Getpid())
		_ = out.Encode(u) // a bench that is gone reads nothing
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
}

func writeAllocs(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// liveHeap is what is reachable, in bytes.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// untilTold is a context that ends with SIGTERM or an interrupt.
func untilTold() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// say tells the bench the address of a server that is ready.
func say(address string) { _ = json.NewEncoder(os.Stdout).Encode(map[string]string{"ready": address}) }

// serveNATS is `nats DIR ADDR always|interval`.
func serveNATS(args []string) int {
	ctx, stop := untilTold()
	defer stop()
	s, err := natsdev.Start(natsdev.Options{Addr: args[1], StoreDir: args[0], RelaxedSync: args[2] == "interval"})
	if err != nil {
		return fail(err)
	}
	say(s.URL())
	<-ctx.Done()
	s.Shutdown()
	return 0
}

// serveClickHouse is `clickhouse DIR`: the engine as `huoma clickhouse` runs it.
func serveClickHouse(args []string) int {
	ctx, stop := untilTold()
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o := allinone.ClickHouseOptions{DataDir: filepath.Clean(args[0]), Addr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Log: log}
	if err := allinone.RunClickHouse(ctx, o, func(a allinone.Addresses) { say(a.ClickHouse) }); err != nil {
		return fail(err)
	}
	return 0
}
