package role

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

func rotated(t *testing.T, path string, now, seals time.Time) {
	t.Helper()
	err := keyfile.Update(path, func(k *token.Keyring) (next *token.Keyring, err error) {
		next, _, err = k.Rotate(rand.Reader, now, seals)
		return next, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWorkerAndOracleOpenTheSame holds both readings of a producer's token against each other: of every format, of the right code and another,
// before and after its key was retired, whatever the time it is read at.
func TestWorkerAndOracleOpenTheSame(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	k, err := token.NewKeyring(rand.Reader, start)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := k.Rotate(rand.Reader, start.Add(time.Hour), start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	gone := start.Add(2 * time.Hour)
	retired, err := two.Retire(0, gone)
	if err != nil {
		t.Fatal(err)
	}
	worker, oracle := identity(still{retired}), Oracle(retired)
	id, other := token.CodeID(77), token.CodeID(78)
	for _, f := range []token.Format{token.FormatAES, token.FormatSM, token.FormatShort, token.FormatScene} {
		p := token.Picture{Code: id, Variant: 3}
		for key, ring := range map[int]*token.Keyring{0: k, 1: two} {
			text, err := ring.SealAs(f, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []time.Time{start, gone.Add(-1), gone, gone.AddDate(1, 0, 0)} {
				for _, of := range []string{id.String(), other.String(), "no-code-of-ours"} {
					got, refused := worker.Picture(text, of, at)
					second, ok := oracle.Picture(text, of, at)
					code, variant, tracking := second.Code, second.Variant, second.Tracking
					if got.Code != code || got.Variant != variant || got.Tracking != tracking || (refused == "") != ok {
						t.Errorf("%s of key %d for %s at %s: the worker reads %+v (%s), the oracle %s, %d, %s, %v", f, key, of, at, got, refused, code, variant, tracking, ok)
					}
					sealed := f == token.FormatAES || f == token.FormatSM
					want := (key == 1 || at.Before(gone)) && (sealed || of == id.String())
					if ok != want || ok && (code != id.String() || variant != 3 || tracking != retired.Tracking(p)) {
						t.Errorf("%s of key %d for %s at %s: %s, %d, %s, %v, want %v", f, key, of, at, code, variant, tracking, ok, want)
					}
				}
			}
		}
	}
}

// A scan worker that meets a key it has not read yet looks at the file before it gives a producer's token up.
func TestWorkerLooksForAKeyItDoesNotKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyfile.Create(path); err != nil {
		t.Fatal(err)
	}
	keys, err := FollowKeys(path, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	worker := identity(keys)
	now := time.Now()
	rotated(t, path, now, now)
	k, err := keyfile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	id := token.CodeID(5)
	text, err := k.SealAs(token.FormatSM, token.Picture{Code: id, Variant: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p, refused := worker.Picture(text, id.String(), now); refused != "" || p.Code != id.String() {
		t.Errorf("refused for %s", refused)
	}
}

func TestFollowKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyfile.Create(path); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	keys, err := FollowKeys(path, registry, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FollowKeys("", prometheus.NewRegistry(), slog.Default()); err == nil || !strings.Contains(err.Error(), "--keyring") {
		t.Errorf("no keyring: %v", err)
	}
	metric := func(name, outcome string) float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == name && (outcome == "" || m.GetLabel()[0].GetValue() == outcome) {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
		t.Fatalf("no metric %s of %q", name, outcome)
		return 0
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	for range 13 { // a minute, and once more
		if outcome, err := keys.Look(); outcome != keyfile.Refused || !errors.Is(err, token.ErrKeyring) {
			t.Fatal(outcome, err)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 || metric("huoma_keyring_refused", "") != 1 || metric("huoma_keyring_looks_total", "refused") != 13 {
		t.Errorf("%d lines of\n%s", n, &log)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	rotated(t, path, now, now)
	// A signal is enough: what looks is started here, and its next tick is far.
	stop := keys.Follow(true)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(4 * time.Second); metric("huoma_keyring_sealing_key", "") != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the new key does not seal before the next tick")
		}
		<-time.After(time.Millisecond)
	}
	stop()
	if metric("huoma_keyring_refused", "") != 0 || metric("huoma_keyring_newest_key", "") != 1 || metric("huoma_keyring_open_keys", "") != 2 || metric("huoma_keyring_looks_total", "taken") != 1 {
		t.Error("metrics do not say what is in force")
	}
	for _, want := range []string{"can be used again", "has changed"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
}
