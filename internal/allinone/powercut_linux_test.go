package allinone_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/allinone"
	"github.com/huoma/huoma/internal/powercut"
)

// machine is a `huoma up` on a disk whose power can be cut.
type machine struct {
	*installation
	disk  *powercut.Disk
	up    *process
	ready string
	key   string // API key, as the ready file has it
}

func newMachine(t testing.TB, more ...string) *machine {
	m := &machine{installation: &installation{t: t}, disk: powercut.New(t, powercut.Journaled), ready: filepath.Join(t.TempDir(), "ready.json")}
	m.up = run(t, nil, append([]string{"huoma", "up", "--data", filepath.Join(m.disk.Dir, "data"), "--addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--clickhouse-addr", "127.0.0.1:0",
		"--clickhouse-http-addr", "127.0.0.1:0", "--ready-file", m.ready}, more...)...)
	m.answers()
	return m
}

// answers waits until everything does.
func (m *machine) answers() {
	m.t.Helper()
	until(m.t, "ready", true, func() bool {
		b, err := os.ReadFile(m.ready)
		var at struct {
			Gateway, NATS  string
			ClickHouseHTTP string `json:"clickhouse_http"`
			Key            string `json:"api_key"`
		}
		if err != nil || json.Unmarshal(b, &at) != nil {
			return false
		}
		m.Addresses, m.key = allinone.Addresses{Gateway: at.Gateway, NATS: at.NATS, ClickHouseHTTP: at.ClickHouseHTTP}, at.Key
		return true
	})
}

// cut cuts the power and starts again on what the disk then has. stop is called at that moment.
func (m *machine) cut(seed uint64, stop func()) (lost powercut.Lost) {
	m.t.Helper()
	engine := child(m.t, m.up.cmd.Process.Pid)
	_ = os.Remove(m.ready)
	off := func() {
		stop()
		_ = m.up.cmd.Process.Kill()
		_ = syscall.Kill(engine, syscall.SIGKILL)
	}
	if seed%2 == 0 {
		lost = m.disk.Cut(off)
	} else {
		lost = m.disk.CutTorn(seed, off)
	}
	<-m.up.done
	m.up.start()
	m.answers()
	return lost
}

// The power goes the moment `huoma up` has told where everything is: the API key and the keys that printed codes are read with are kept.
func TestPowerCutRightAfterUp(t *testing.T) {
	m := newMachine(t)
	key := m.key
	m.cut(0, func() {})
	if m.key != key {
		t.Errorf("the API key that was told is not the one of the next start")
	}
	keys, err := os.ReadFile(filepath.Join(m.disk.Dir, "data", "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	m.cut(1, func() {})
	if again, err := os.ReadFile(filepath.Join(m.disk.Dir, "data", "keyring.json")); err != nil || !bytes.Equal(keys, again) {
		t.Errorf("the keyring has changed (%v)", err)
	}
}

// Everything under load on one machine, whose power goes again and again: what a phone, an operator and a producer were told is kept, and
// the warehouse has all of it, once.
func TestPowerCutUnderLoad(t *testing.T) {
	m := newMachine(t, "--api-key", apiKey)
	rnd := rand.New(rand.NewPCG(9, 9))
	var mu sync.Mutex
	events, codes := map[string]bool{}, map[string]string{}
	first := m.mint(map[string]any{"name": "first", "profile": "wecom-group", "targets": []any{map[string]any{"url": "https://example.com/1"}},
		"rules": []any{map[string]any{"id": "never", "scope": "visitor", "limit": 1000, "window": "1s", "action": "dry-run", "for": "1s"}}})
	scan, err := url.Parse(first.ScanURL)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		var told, over atomic.Int64
		want := int64(50 + rnd.IntN(1500))
		enough := make(chan struct{})
		count := func() {
			if told.Add(1) == want {
				close(enough)
			}
		}
		var wg sync.WaitGroup
		for v := range 8 {
			wg.Go(func() {
				c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				for i := 0; over.Load() == 0; i++ {
					if v == 0 && i >= 30 {
						return
					}
					if v == 0 {
						name := fmt.Sprintf("code %d.%d", round, i)
						req, _ := http.NewRequest("POST", m.Gateway+"/v1/codes", strings.NewReader(`{"name":"`+name+`","profile":"wecom-group","targets":[{"url":"https://example.com/2"}]}`))
						req.Header.Set("Authorization", "Bearer "+apiKey)
						req.Header.Set("Content-Type", "application/json")
						resp, err := c.Do(req)
						if err != nil {
							continue
						}
						var made minted
						err = json.NewDecoder(resp.Body).Decode(&made)
						resp.Body.Close()
						if err == nil && resp.StatusCode == http.StatusCreated {
							mu.Lock()
							codes[made.ID] = name
							mu.Unlock()
							count()
						}
						continue
					}
					req, _ := http.NewRequest("GET", m.Gateway+scan.RequestURI(), nil)
					req.Header.Set("User-Agent", phone)
					resp, err := c.Do(req)
					if err != nil {
						return // the power is off
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if id := resp.Header.Get("Huoma-Event"); resp.StatusCode != http.StatusServiceUnavailable && id != "" {
						mu.Lock()
						events[id] = true
						mu.Unlock()
						count()
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(within):
			t.Error("the load does not get on")
		}
		if round%3 == 2 { // amid merges
			go func() {
				_, _ = http.Post(m.ClickHouseHTTP+"/?database=huoma", "text/plain", strings.NewReader("OPTIMIZE TABLE scans FINAL"))
			}()
		}
		lost := m.cut(uint64(round), func() { over.Store(1) })
		wg.Wait()
		t.Logf("round %d: %d scans and %d codes acknowledged so far; lost with the power: %+v", round, len(events), len(codes), lost)
		m.kept(events, codes)
	}
	m.agree()
	m.warnings()
}

// kept holds what was acknowledged against what there is.
func (m *machine) kept(events map[string]bool, codes map[string]string) {
	m.t.Helper()
	until(m.t, "missing, doubled and gaps", "0", func() string { return m.query("SELECT sum(missing) + sum(doubled) + sum(gaps) FROM reconcile") })
	have := map[string]bool{}
	until(m.t, "every acknowledged scan in the warehouse", 0, func() int {
		for _, id := range strings.Split(m.query("SELECT event_id FROM scans"), "\n") {
			have[id] = true
		}
		missing := 0
		for id := range events {
			if !have[id] {
				missing++
			}
		}
		return missing
	})
	if n := m.query("SELECT count() - uniqExact(event_id) FROM scans"); n != "0" {
		m.t.Errorf("%s scans are there twice", n)
	}
	for id, name := range codes {
		var c struct{ Name string }
		if status := m.call("GET", "/v1/codes/"+id, nil, &c); status != http.StatusOK || c.Name != name {
			m.t.Errorf("code %s answers %s: %q, want %q", id, strconv.Itoa(status), c.Name, name)
		}
	}
}
