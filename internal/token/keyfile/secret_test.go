package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhoMayReadAKeyring(t *testing.T) {
	const root, pod, other = 0, 65532, 1000
	for _, tt := range []struct {
		name        string
		perm        fs.FileMode
		owner, user int
		want        bool
	}{
		{"one's own", 0o600, other, other, true},
		{"one's own, to read", 0o400, other, other, true},
		{"one's own, and the group's", 0o640, other, other, false},
		{"one's own, and everybody's", 0o604, other, other, false},
		{"root's own, and the group's", 0o640, root, root, false},
		{"a mounted secret, defaultMode 0400 and fsGroup", 0o440, root, pod, true},
		{"a mounted secret, defaultMode 0600 and fsGroup", 0o640, root, pod, true},
		{"a mounted secret, the default mode", 0o644, root, pod, false},
		{"a mounted secret, for all to read", 0o444, root, pod, false},
		{"a mounted secret, for its group to write", 0o660, root, pod, false},
		{"a mounted secret, for its group to run", 0o450, root, pod, false},
		{"somebody else's, and the group's", 0o440, other, pod, false},
		{"of nobody known, and the group's", 0o440, -1, pod, false},
	} {
		if got := private(tt.perm, tt.owner, tt.user); got != tt.want {
			t.Errorf("%s: mode %04o of user %d, read by %d: %v, want %v", tt.name, tt.perm, tt.owner, tt.user, got, tt.want)
		}
	}
}

// A secret is mounted as a link to a file in a folder that is itself behind a link, so that all files change at once.
func TestLinksOfAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026_01_01"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "..2026_01_01", "keyring.json")
	want, err := LoadOrCreate(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keyring.json")
	if err := errors.Join(os.Symlink("..2026_01_01", filepath.Join(dir, "..data")), os.Symlink("..data/keyring.json", path)); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if tokenOf(t, got) != tokenOf(t, want) {
		t.Error("the keyring behind the links is another one")
	}
	if err := os.Chmod(file, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "defaultMode 0400") {
		t.Errorf("readable by all: %v, want ErrPermissions", err)
	}
}
