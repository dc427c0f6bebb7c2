// Package keyfile keeps a token keyring in a file. Start at [LoadOrCreate], or at [Create] where a ring must be new; at [Watch] in a
// program that runs on while keys come and go, and at [Update] in one that makes them.
//
// It refuses a file that others than its owner can read or write (a secret that Kubernetes mounts is the exception, see [Load]), a file
// that is not a regular one, and a damaged one: it never puts another keyring in the place of one that is there, since printed codes are read with it.
package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/huoma/huoma/internal/token"
)

// maxSize is well above a full ring of 32 keys (about 4 kB).
const maxSize = 64 << 10

// ErrPermissions is matched when the file can be used by others than its owner.
var ErrPermissions = errors.New("the keyring file can be used by others than its owner")

// Load reads the keyring in path, following links. A missing file is fs.ErrNotExist, one that this process may not read
// fs.ErrPermission; permissions wider than 0600 are [ErrPermissions]; damaged contents are [token.ErrKeyring].
//
// A process that is not root's may also read root's file through its group, mode 0440 or 0640. That is how Kubernetes mounts a secret
// for a pod with an fsGroup: the files are root's, and the group is the pod's own.
func Load(path string) (*token.Keyring, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would be waited for
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open keyring: %w: give the file to the user this program runs as; a pod that mounts it as a secret needs an fsGroup", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open keyring: %s is not a regular file: name the keyring file itself", path)
	}
	if perm := info.Mode().Perm(); !private(perm, owner(info), os.Geteuid()) {
		return nil, fmt.Errorf("%w: %s has mode %04o: run chmod 600 on it, or give a mounted secret the defaultMode 0400", ErrPermissions, path, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", path, err)
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("read keyring %s: %w: it has more than %d bytes", path, token.ErrKeyring, maxSize)
	}
	k, err := token.ParseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", path, err)
	}
	return k, nil
}

// private reports whether perm keeps a file of owner's from others, for a process of user's: to its owner alone, or, of
// root's file, to read by a group that root has put the process in.
func private(perm fs.FileMode, owner, user int) bool {
	most := fs.FileMode(0o600)
	if owner == 0 && user != 0 {
		most = 0o640
	}
	return perm&^most == 0
}

// LoadOrCreate is [Load], or where there is no file yet, a new keyring written to path with mode 0600. When it
// returns, the file and its name are on disk. Of several processes which create at once one wins
// and all return its ring. The directory must exist.
func LoadOrCreate(path string) (*token.Keyring, error) {
	k, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k, err = Create(path)
	if errors.Is(err, fs.ErrExist) {
		return Load(path)
	}
	return k, err
}

// Create writes a new keyring to path with mode 0600. It is fs.ErrExist where there is a file of that name, which stays as
// it is. When it returns, the file and its name are on disk. The directory must exist.
func Create(path string) (*token.Keyring, error) {
	k, err := token.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	if err := create(path, k); err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	return k, nil
}

// create writes k beside path and gives it the name only when it is whole. It is fs.ErrExist
// when the name is taken: a link, unlike a rename, does not replace.
func create(path string, k *token.Keyring) (err error) {
	tmp, err := write(filepath.Dir(path), k)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp)) }()
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// write puts k on disk in a new file of dir, mode 0600.
func write(dir string, k *token.Keyring) (name string, err error) {
	b, err := k.Marshal()
	if err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dir, ".keyring-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
