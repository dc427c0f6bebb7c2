package analytics

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	p := Policy{Rows: 10, Bytes: 100, Age: time.Second}.withDefaults(1)
	for _, row := range []struct {
		name        string
		rows, bytes int
		want        Reason
		full        bool
	}{
		{"empty", 0, 0, "", false},
		{"below both", 9, 99, "", false},
		{"rows", 10, 0, ReasonRows, true},
		{"bytes", 1, 100, ReasonBytes, true},
		{"both: rows are named", 12, 120, ReasonRows, true},
	} {
		if why, full := p.full(row.rows, row.bytes); why != row.want || full != row.full {
			t.Errorf("%s: %q %v, want %q %v", row.name, why, full, row.want, row.full)
		}
	}
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := p.due(since); !got.Equal(since.Add(time.Second)) {
		t.Errorf("due %v", got)
	}
	if few, many := (Policy{}).withDefaults(4), (Policy{}).withDefaults(64); few.Age != 250*time.Millisecond || many.Age != time.Second || few.Rows != 50_000 || few.Bytes != 32<<20 {
		t.Errorf("defaults %+v, %+v", few, many)
	}
}

func TestManifest(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 5e6, time.UTC)
	m := manifest{Version: manifestVersion, Partition: 3, FirstSeq: 10, LastSeq: 30, FirstStep: 4, LastStep: 9, Commits: 6, Token: tokenFor(3, 10, 30, at), At: at, Open: true}
	b, err := m.marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readManifest(b, 3); err != nil || got != m {
		t.Errorf("read back %+v, %v; want %+v", got, err, m)
	}
	m.Version++
	b, _ = m.marshal()
	if _, err := readManifest(b, 3); err == nil || errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("a newer manifest: %v", err)
	}
	if _, err := readManifest([]byte(`{"v":2,"partition":"three","token":7}`), 3); err == nil || errors.Is(err, errDamaged) {
		t.Errorf("a newer one whose fields are others: %v", err)
	}
	m.Version--
	for name, change := range map[string]func(m *manifest){
		"version":   func(m *manifest) { m.Version = 0 },
		"partition": func(m *manifest) { m.Partition = 2 },
		"range":     func(m *manifest) { m.LastSeq = 9 },
		"no range":  func(m *manifest) { m.FirstSeq = 0 },
		"no token":  func(m *manifest) { m.Token = "" },
		"empty":     func(m *manifest) { m.Commits = 0 },
	} {
		bad := m
		change(&bad)
		b, _ := bad.marshal()
		if _, err := readManifest(b, 3); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tokenFor(3, 10, 30, at) == tokenFor(3, 10, 30, at.Add(time.Millisecond)) {
		t.Error("the same range at another time has the same token")
	}
}
