package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/token/keyfile"
)

// TestKeysOfAnOperator goes the whole way of a key, by the commands alone.
func TestKeysOfAnOperator(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keyring.json")
	run(t, "keys", "new", "--keyring", path).ok(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secrets := regexp.MustCompile(`[A-Za-z0-9+/]{43}=`).FindAllString(string(b), -1)
	if len(secrets) != 2 {
		t.Fatalf("%d secrets", len(secrets))
	}
	var all strings.Builder
	ok := func(args ...string) string {
		t.Helper()
		out := run(t, args...).ok(t)
		all.WriteString(out)
		return out
	}
	does := func() (out []string) {
		t.Helper()
		for line := range strings.Lines(ok("keys", "list", "--json", "--data", dir)) {
			var l listedKey
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			out = append(out, l.Does)
		}
		return out
	}
	want := func(list ...string) {
		t.Helper()
		if got := does(); strings.Join(got, " ") != strings.Join(list, " ") {
			t.Errorf("keys do %v, want %v", got, list)
		}
	}
	want("seals")
	if out := ok("keys", "rotate", "--data", dir); !strings.Contains(out, "key 1") || !strings.Contains(out, "seals new pictures from") {
		t.Errorf("says %q", out)
	}
	want("seals", "prepared")
	refused := func(word string, args ...string) {
		t.Helper()
		r := run(t, append(args, "--data", dir)...)
		all.WriteString(r.stderr)
		if r.code != exitError || !strings.Contains(r.stderr, word) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d, %q, want %q", args, r.code, r.stderr, word)
		}
	}
	refused("still seals", "keys", "retire", "0", "--yes", "--in", "0s")
	refused("rotate first", "keys", "retire", "1", "--yes")
	refused("no key 7", "keys", "retire", "7", "--yes")
	refused("--yes", "keys", "retire", "0", "--in", "1h") // nobody is at a terminal
	refused("name a later time", "keys", "rotate", "--in", "0s")
	want("seals", "prepared")
	ok("keys", "rotate", "--data", dir, "--in", "10m")
	if out := ok("keys", "retire", "0", "--yes", "--in", "1h", "--data", dir); !strings.Contains(out, "opens nothing from") {
		t.Errorf("says %q", out)
	}
	want("seals", "prepared", "prepared")
	refused("retire it first", "keys", "forget", "0")
	list := ok("keys", "list", "--keyring", path)
	if strings.Count(list, "\n") != 4 || !strings.Contains(list, "RETIRED FROM") {
		t.Errorf("lists\n%s", list)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := keyfile.Load(path); err != nil {
		t.Error(err)
	}
	b, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range regexp.MustCompile(`[A-Za-z0-9+/]{43}=`).FindAllString(string(b), -1) {
		if strings.Contains(all.String(), secret[:12]) {
			t.Error("a secret was shown")
		}
	}
}

func TestKeysOfAFileForAllToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	run(t, "keys", "new", "--keyring", path).ok(t)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"keys", "list"}, {"keys", "rotate"}, {"keys", "retire", "0", "--yes"}, {"keys", "forget", "0"}} {
		if r := run(t, append(args, "--keyring", path)...); r.code != exitError || !strings.Contains(r.stderr, "chmod 600") {
			t.Errorf("%v: exit status %d, %q", args, r.code, r.stderr)
		}
	}
}

// Keys that leave at once: on one machine there is nobody to wait for.
func TestKeysAtOnce(t *testing.T) {
	dir := t.TempDir()
	run(t, "keys", "new", "--keyring", filepath.Join(dir, "keyring.json")).ok(t)
	out := run(t, "keys", "rotate", "--in", "0s", "--json", "--data", dir).ok(t)
	var made struct{ ID int }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID != 1 {
		t.Errorf("%q: %v", out, err)
	}
	run(t, "keys", "retire", "0", "--in", "0s", "--yes", "--json", "--data", dir).ok(t)
	for deadline := time.Now().Add(10 * time.Second); ; { // to the next whole second
		if r := run(t, "keys", "forget", "0", "--data", dir); r.code == exitOK {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(r.stderr)
		}
	}
	if out := run(t, "keys", "list", "--data", dir).ok(t); strings.Count(out, "\n") != 2 || !strings.Contains(out, "1    seals") {
		t.Errorf("lists\n%s", out)
	}
}
