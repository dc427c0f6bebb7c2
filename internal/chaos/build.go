package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/huoma/huoma/internal/chaos/clock"
	"github.com/huoma/huoma/internal/chaos/plan"
	"github.com/huoma/huoma/internal/chaos/procs"
)

// programs is what a run is made of: where the programs are, and how they were
// built.
type programs struct {
	bin     string
	old     string // those of the previous schema; "": none
	library string // of the engine; "": it is found anyway
	paged   bool
}

// natsServer is the NATS server of go.mod, built as a program.
const natsServer = "github.com/nats-io/nats-server/v2"

// build builds the programs below dir: with the overlay of package clock where
// the plan calls for it, and those of the previous schema.
func build(ctx context.Context, dir string, p plan.Plan, paged bool) (programs, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return programs{}, fmt.Errorf("find the module: %w: run it in the project's folder", err)
	}
	root := strings.TrimSpace(string(out))
	b := programs{bin: filepath.Join(dir, "bin"), paged: paged, library: os.Getenv("HUOMA_CHDB_LIB")}
	if lib := filepath.Join(root, "bin", "libchdb.so"); b.library == "" {
		if _, err := os.Stat(lib); err == nil {
			b.library = lib
		} else if found, err := filepath.Glob(filepath.Join(root, "tools", "chdb", "node_modules", "@chdb", "lib-*", "libchdb.so")); err == nil && len(found) > 0 {
			b.library = found[0]
		}
	}
	overlay := ""
	if paged {
		goroot, err := clock.Goroot()
		if err != nil {
			return b, err
		}
		if overlay, err = clock.Overlay(filepath.Join(dir, "overlay"), goroot); err != nil {
			return b, err
		}
	}
	if err := goBuild(ctx, b.bin, overlay); err != nil || !p.Upgrade {
		return b, err
	}
	newest, err := newestMigration(root)
	if err != nil {
		return b, err
	}
	goroot, err := clock.Goroot()
	if err != nil {
		return b, err
	}
	if overlay, err = clock.Overlay(filepath.Join(dir, "overlay-old"), goroot, newest); err != nil {
		return b, err
	}
	b.old = filepath.Join(dir, "bin-old")
	return b, goBuild(ctx, b.old, overlay)
}

func goBuild(ctx context.Context, bin, overlay string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-o", bin + string(filepath.Separator)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	const module = "github.com/huoma/huoma"
	cmd := exec.CommandContext(ctx, "go", append(args, module+"/cmd/...", natsServer)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w: %s", err, out)
	}
	return nil
}

// newestMigration is the file that the programs of the previous schema do not
// know.
func newestMigration(root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "schemas", "clickhouse", "*.sql"))
	if err != nil || len(files) < 2 {
		return "", errors.New("there is no previous version of the schema")
	}
	slices.Sort(files)
	return files[len(files)-1], nil
}

// needs says why a kind of fault cannot be injected on this machine, or "".
func needs(k plan.Kind, paged bool) string {
	switch k {
	case plan.DiskFull, plan.EngineFull:
		return procs.DiskNeeds()
	case plan.DiskSlow, plan.Clock, plan.Upgrade:
		if !paged {
			return needsOverlay(k)
		}
	case plan.Kill, plan.Pause, plan.InFlight, plan.StaleOwner:
		if runtime.GOOS == "windows" {
			return "it needs the signals of Unix"
		}
	}
	return ""
}

// needsOverlay says why a kind of fault is none of the short form, or "".
func needsOverlay(k plan.Kind) string {
	switch k {
	case plan.DiskSlow, plan.Clock, plan.Upgrade:
		return "it needs programs built for it: run the long form"
	}
	return ""
}

// lacking is a line for each kind of fault that cannot be injected here.
func lacking() string {
	var b strings.Builder
	for _, k := range plan.Kinds {
		if why := needs(k, true); why != "" {
			fmt.Fprintf(&b, "chaos: %s is LEFT OUT on this machine: %s\n", k, why)
		}
	}
	return b.String()
}

// kinds reads a list of kinds of faults.
func kinds(list string) (out []plan.Kind, err error) {
	for name := range strings.SplitSeq(list, ",") {
		k := plan.Kind(strings.TrimSpace(name))
		if !slices.Contains(plan.Kinds, k) {
			return nil, fmt.Errorf("there is no fault %q: there are %v", name, plan.Kinds)
		}
		out = append(out, k)
	}
	return out, nil
}
