package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/huoma/huoma/internal/token"
)

// ErrReadOnly is matched by the error of [Update] for a file that cannot be replaced where it is, such as a mounted secret.
var ErrReadOnly = errors.New("the keyring cannot be changed where it is")

// Update puts what change makes of the keyring in path in its place. Whoever reads the file meanwhile, also after a power cut, has the old
// ring or the new one; when Update returns, the new one is on disk. Updates of a folder's files come one after the other. An error of change is returned
// as it is, and the file stays. Links are followed; the file keeps its owner and its mode.
func Update(path string, change func(*token.Keyring) (*token.Keyring, error)) (err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("open keyring: %w", err)
	}
	dir := filepath.Dir(real)
	unlock, err := lock(dir)
	if err != nil {
		return fmt.Errorf("lock the keyring's folder %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, err := Load(real)
	if err != nil {
		return err
	}
	next, err := change(old)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("open keyring: %w", err)
	}
	tmp, err := write(dir, next)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w: change the copy it is made of, and put that in its place", ErrReadOnly, err)
	}
	if err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	if err := errors.Join(keepOwner(tmp, info), os.Chmod(tmp, info.Mode().Perm())); err != nil {
		return errors.Join(fmt.Errorf("write keyring: %w: change it as the user it belongs to", err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, real); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrReadOnly, err), os.Remove(tmp))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	return nil
}
