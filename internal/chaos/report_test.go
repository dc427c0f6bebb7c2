package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/chaos/plan"
)

func TestJudge(t *testing.T) {
	one := plan.Plan{Faults: []plan.Fault{{N: 1, Kind: plan.Leader, Target: "its leader"}}}
	good := Check{Name: "rows", Expected: 5, Found: 5}
	for _, row := range []struct {
		name   string
		faults []Injected
		checks []Check
		want   string // part of the failure; "" none
	}{
		{"green", []Injected{{Fault: one.Faults[0], Write: time.Second}}, []Check{good}, ""},
		{"left out is not failed", []Injected{{Fault: plan.Fault{N: 1, Not: "no root"}}}, []Check{good}, ""},
		{"not injected", []Injected{{Fault: one.Faults[0], Error: "nobody leads"}}, []Check{good}, "could not be injected: nobody leads"},
		{"forgotten", nil, []Check{good}, "0 faults of 1"},
		{"events came back late", []Injected{{Fault: one.Faults[0], Write: 6 * time.Second}}, []Check{good}, "events resumed 6s after"},
		{"scans came back late", []Injected{{Fault: one.Faults[0], Scan: 6 * time.Second}}, []Check{good}, "scans resumed 6s after"},
		{"another fault may take longer", []Injected{{Fault: plan.Fault{N: 1, Kind: plan.Kill}, Write: 6 * time.Second}}, []Check{good}, ""},
		{"nothing checked", []Injected{{Fault: one.Faults[0]}}, nil, "nothing was checked"},
		{"missing", []Injected{{Fault: one.Faults[0]}}, []Check{{Name: "rows", Missing: 1}}, "1 missing"},
		{"extra", []Injected{{Fault: one.Faults[0]}}, []Check{{Name: "rows", Extra: 2}}, "2 extra"},
		{"different", []Injected{{Fault: one.Faults[0]}}, []Check{{Name: "rows", Different: 3}}, "3 different"},
		{"not checked", []Injected{{Fault: one.Faults[0]}}, []Check{{Name: "rows", Error: "gone"}}, "could not be made: gone"},
	} {
		r := &Report{Plan: one, Faults: row.faults, Checks: row.checks, Dir: t.TempDir(), Again: "make chaos SEED=1"}
		r.judge()
		text := r.Text()
		switch {
		case row.want == "" && (len(r.Failures) > 0 || !strings.Contains(text, "GREEN")):
			t.Errorf("%s: %v\n%s", row.name, r.Failures, text)
		case row.want != "" && (len(r.Failures) == 0 || !strings.Contains(strings.Join(r.Failures, "\n"), row.want) || !strings.Contains(text, "RED") || strings.Contains(text, "GREEN")):
			t.Errorf("%s: %v, want %q\n%s", row.name, r.Failures, row.want, text)
		}
		if !strings.Contains(text, r.Again) {
			t.Errorf("%s: the report does not say how to do it again", row.name)
		}
		if err := r.keep(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(r.Dir, "report.json"))
		var back Report
		if err != nil || json.Unmarshal(b, &back) != nil || len(back.Failures) != len(r.Failures) {
			t.Errorf("%s: kept %s, %v", row.name, b, err)
		}
	}
}

func TestLeftOutIsTold(t *testing.T) {
	f := plan.Fault{N: 1, Kind: plan.DiskFull, Target: "nats-1", Not: "a full disk needs root"}
	r := &Report{Plan: plan.Plan{Faults: []plan.Fault{f}}, Faults: []Injected{{Fault: f}}, Checks: []Check{{Name: "rows"}}}
	r.judge()
	if text := r.Text(); !strings.Contains(text, "LEFT OUT on this machine: 1 faults") || !strings.Contains(text, "a full disk needs root") {
		t.Errorf("%s", text)
	}
}

func TestLogsAreJudged(t *testing.T) {
	for _, row := range []struct {
		name, process, line string
		by                  plan.Kind
		ok                  bool
	}{
		{"plain", "gateway-1", `time=x level=INFO msg="gateway listens"`, plan.Kill, true},
		{"explained", "gateway-1", `time=x level=ERROR msg="events not stored" err=timeout`, plan.Cut, true},
		{"not explained by what was injected", "gateway-1", `time=x level=ERROR msg="events not stored" err=timeout`, plan.Clock, false},
		{"never explained", "scan-worker-1", `time=x level=ERROR msg="snapshot is not usable; replaying the log from its beginning"`, plan.Kill, false},
		{"panic", "scan-worker-1", "panic: runtime error: index out of range", plan.Kill, false},
		{"race", "gateway-1", "WARNING: DATA RACE", plan.Kill, false},
		{"nats explained", "nats-1", "[1] 2026/01/01 [ERR] Error trying to connect to route (attempt 1)", plan.Pause, true},
		{"nats not explained", "nats-1", "[1] 2026/01/01 [ERR] no space left on device", plan.Kill, false},
		{"nats with a full disk", "nats-1", "[1] 2026/01/01 [ERR] no space left on device", plan.DiskFull, true},
		{"embedded nats with a full disk", "huoma", `level=ERROR msg="write: no space left on device" component=nats-server`, plan.DiskFull, true},
		{"nats fatal", "nats-1", "[1] 2026/01/01 [FTL] cannot listen", plan.Kill, false},
	} {
		name := filepath.Join(t.TempDir(), row.process+".log")
		if err := os.WriteFile(name, []byte(row.line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		var c Check
		if err := scanLog(name, &c, []plan.Kind{row.by}); err != nil || c.OK() != row.ok {
			t.Errorf("%s: %+v, %v, want ok %v", row.name, c, err, row.ok)
		}
	}
}

func TestFolderOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := emptied(dir); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error %v, want what to do", err)
	}
	ours := filepath.Join(t.TempDir(), "new")
	for range 2 {
		if err := emptied(ours); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ours, "report.txt"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKinds(t *testing.T) {
	if got, err := kinds("kill, cut"); err != nil || len(got) != 2 || got[1] != plan.Cut {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := kinds("earthquake"); err == nil || !strings.Contains(err.Error(), "kill") {
		t.Errorf("error %v, want those there are", err)
	}
}
