package procs

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// roomy is how large a disk of ours is while it is not full; it takes memory
// only for what is on it.
const roomy = 8 << 30

// Disk is a file system in memory whose size can be changed while it is used.
type Disk struct{ dir string }

// DiskNeeds says why no Disk can be made here, or "".
func DiskNeeds() string {
	if os.Geteuid() != 0 {
		return "a full disk needs root, which may mount a tmpfs: run it as root, or leave it out with --faults"
	}
	return ""
}

// NewDisk mounts a file system at dir, which it makes. Close it when done.
func NewDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d := &Disk{dir}
	if err := syscall.Mount("huoma-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", int64(roomy))); err != nil {
		return nil, fmt.Errorf("mount a tmpfs at %s: %w: leave full disks out with --faults", dir, err)
	}
	return d, nil
}

// Fill leaves no room for another page. It returns the bytes in use.
func (d *Disk) Fill() (int64, error) {
	for slack := int64(0); ; slack += 256 << 10 {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &s); err != nil {
			return 0, err
		}
		used := int64(s.Blocks-s.Bfree)*s.Bsize + slack
		err := d.resize(used)
		switch {
		case err == nil:
			return used, nil
		case !errors.Is(err, syscall.EINVAL) || slack > 64<<20: // EINVAL: more is in use by now
			return 0, err
		}
	}
}

// Empty makes room again.
func (d *Disk) Empty() error { return d.resize(roomy) }

func (d *Disk) resize(size int64) error {
	return syscall.Mount("huoma-chaos", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size))
}

// Close takes the file system away, with what is on it.
func (d *Disk) Close() error { return syscall.Unmount(d.dir, syscall.MNT_DETACH) }
