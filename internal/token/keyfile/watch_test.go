package keyfile

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huoma/huoma/internal/token"
)

// clock is a passed one.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func newClock() *clock { return &clock{at: time.Now().Add(time.Hour).Truncate(time.Second)} }

func rotate(t testing.TB, path string, now, seals time.Time) (id int) {
	t.Helper()
	err := Update(path, func(k *token.Keyring) (next *token.Keyring, err error) {
		next, id, err = k.Rotate(rand.Reader, now, seals)
		return next, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func retire(t testing.TB, path string, id int, at time.Time) {
	t.Helper()
	if err := Update(path, func(k *token.Keyring) (*token.Keyring, error) { return k.Retire(id, at) }); err != nil {
		t.Fatal(err)
	}
}

// The whole life of a rotation, as a program that runs sees it.
func TestWatcherFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	w, err := Watch(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	var used []int
	w.Use(func(k *token.Keyring) { used = append(used, k.NewestID()) })
	look := func(want Outcome, sealing int, opens ...int) {
		t.Helper()
		got, err := w.Look()
		k := w.Keyring()
		if got != want || (err != nil) != (want == Refused) || k.NewestID() != sealing || !slices.Equal(k.Opens(), opens) {
			t.Errorf("looked: %s, %v; key %d seals and %v open, want %s, %d and %v", got, err, k.NewestID(), k.Opens(), want, sealing, opens)
		}
	}
	look(Unchanged, 0, 0)
	rotate(t, path, c.now(), c.now().Add(5*time.Minute))
	look(Taken, 0, 0, 1) // what others seal is opened before anybody does
	c.pass(5*time.Minute - time.Second)
	look(Unchanged, 0, 0, 1)
	c.pass(time.Second)
	look(Turned, 1, 0, 1)
	look(Unchanged, 1, 0, 1)
	retire(t, path, 0, c.now().Add(time.Minute))
	look(Taken, 1, 0, 1)
	c.pass(time.Minute)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	look(Refused, 1, 1) // time passes also while the file is broken
	if w.Fault() == nil {
		t.Error("a broken file is no fault")
	}
	if !slices.Equal(used, []int{0, 0, 1, 1, 1}) {
		t.Errorf("rings that were used: %v", used)
	}
}

func TestWatcherKeepsWhatIsInForce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keyring.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	rotate(t, path, c.now(), c.now())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.json")
	if _, err := Create(other); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Watch(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte, mode fs.FileMode) func() error {
		return func() error {
			return errors.Join(os.Remove(path), os.WriteFile(path, b, 0o600), os.Chmod(path, mode))
		}
	}
	restore := write(good, 0o600)
	for _, row := range []struct {
		name string
		do   func() error
		is   error
		want string
	}{
		{"truncated", write(good[:len(good)/2], 0o600), token.ErrKeyring, "expected JSON"},
		{"empty", write(nil, 0o600), token.ErrKeyring, "it is empty"},
		{"newer", write([]byte(strings.Replace(string(good), `"version": 2`, `"version": 3`, 1)), 0o600), token.ErrKeyring, "upgrade this program"},
		{"a key twice", write([]byte(strings.Replace(string(good), `"id": 1`, `"id": 0`, 1)), 0o600), token.ErrKeyring, "there twice"},
		{"for all to read", write(good, 0o644), ErrPermissions, "chmod 600"},
		{"another installation's", write(foreign, 0o600), token.ErrKeys, "another installation"},
		{"gone", func() error { return os.Remove(path) }, fs.ErrNotExist, "open keyring"},
		{"a folder", func() error { return os.Mkdir(path, 0o700) }, nil, "not a regular file"},
		{"a pipe", func() error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, nil, "not a regular file"},
	} {
		before := w.Keyring()
		if err := row.do(); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		outcome, err := w.Look()
		if outcome != Refused || err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %s, %v, want %q", row.name, outcome, err, row.want)
		}
		if w.Keyring() != before {
			t.Errorf("%s: another ring is in force", row.name)
		}
		if row.name == "gone" {
			continue
		}
		if err := restore(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: %v", row.name, err)
		}
		if outcome, err := w.Look(); outcome != Unchanged || w.Fault() != nil {
			t.Errorf("%s, mended: %s, %v, fault %v", row.name, outcome, err, w.Fault())
		}
	}
}

// A mounted secret changes all at once: a link to a folder is replaced by one to another folder.
func TestWatcherFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	one, two, path := filepath.Join(dir, "..1"), filepath.Join(dir, "..2"), filepath.Join(dir, "keyring.json")
	link := func(to string) error {
		tmp := filepath.Join(dir, "..tmp")
		return errors.Join(os.Symlink(to, tmp), os.Rename(tmp, filepath.Join(dir, "..data")))
	}
	if err := errors.Join(os.Mkdir(one, 0o755), os.Mkdir(two, 0o755), link("..1"), os.Symlink("..data/keyring.json", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(one, "keyring.json")); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	w, err := Watch(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two, "keyring.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	rotate(t, filepath.Join(two, "keyring.json"), c.now(), c.now())
	if outcome, err := w.Look(); outcome != Unchanged {
		t.Fatalf("before the link changed: %s, %v", outcome, err)
	}
	if err := link("..2"); err != nil {
		t.Fatal(err)
	}
	if outcome, err := w.Look(); outcome != Taken || w.Keyring().NewestID() != 1 {
		t.Errorf("after it: %s, %v, key %d", outcome, err, w.Keyring().NewestID())
	}
}

func TestAskLooksOnceASecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	w, err := Watch(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if w.Ask() {
			t.Fatal("nothing has changed")
		}
	}
	if w.looks != 1 {
		t.Errorf("%d looks of a hundred questions", w.looks)
	}
	rotate(t, path, c.now(), c.now())
	c.pass(askedEvery - 1)
	if w.Ask() {
		t.Error("looked again too early")
	}
	c.pass(1)
	if !w.Ask() || w.Keyring().NewestID() != 1 {
		t.Error("a new key was not found")
	}
	c.pass(-time.Hour) // a clock that is set back does not stop it
	if w.Ask(); w.looks != 3 {
		t.Errorf("%d looks", w.looks)
	}
}

func TestRunLooksWhenToldTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := Watch(path, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		var looks []Outcome
		w.OnLook(func(o Outcome, _ error) { looks = append(looks, o) })
		ctx, stop := context.WithCancel(t.Context())
		tick, hangUp := make(chan time.Time), make(chan os.Signal)
		var ended sync.WaitGroup
		ended.Go(func() { w.Run(ctx, tick, hangUp) })
		tick <- time.Time{}
		hangUp <- syscall.SIGHUP
		synctest.Wait()
		stop()
		ended.Wait()
		if !slices.Equal(looks, []Outcome{Unchanged, Unchanged}) {
			t.Errorf("looks: %v", looks)
		}
	})
}
