package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A day in twenty seconds, against the programs as they are built: everything is sampled, nothing leaks, nothing is missing or doubled.
func TestSoakShort(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "github.com/huoma/huoma/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	script, err := filepath.Abs("../../deploy/local/production.sh")
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	err = command(t.Context(), []string{
		"-duration", "20s", "-events", "6000", "-hours", "4", "-codes", "40", "-churn", "60", "-data", filepath.Join(t.TempDir(), "data"), "-bin", bin, "-script", script, "-json",
	}, &out, &progress)
	var r report
	if jerr := json.Unmarshal(out.Bytes(), &r); jerr != nil {
		t.Fatalf("%v; it says %v and\n%s", err, jerr, &progress)
	}
	for _, f := range r.Findings {
		if f.Verdict == leaks {
			t.Errorf("%s went from %s over %s to %s: grew %s, may grow %s: %s", f.Name, human(f.First), human(f.Middle), human(f.Last), human(f.Grew), human(f.May), f.Why)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, &progress)
	}
	if r.Events < 6000-4 || // each hour's share is cut to whole events
		r.Codes < 40 || r.Scans == 0 || r.Locks == 0 || r.Renewals == 0 || r.Expiries == 0 || r.Missing != 0 || r.Doubled != 0 {
		r.Findings = nil
		t.Errorf("%+v", r)
	}
	seen := map[string]bool{}
	for _, f := range r.Findings {
		seen[f.Name] = true
	}
	for _, name := range []string{
		"gateway-1 goroutines", "gateway-1 heap", "scan-worker-1 heap", "analytics-worker-1 fds", "nats-1 rss", "engine rss", "clickhouse fds",
		"stream HUOMA_EVENTS bytes", "stream KV_HUOMA_CODES messages", "timers messages", "table scans parts",
	} {
		if !seen[name] {
			t.Errorf("%s was not sampled", name)
		}
	}
}
