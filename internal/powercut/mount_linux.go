package powercut

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Disk is mounted at Dir until the test ends.
type Disk struct {
	Dir string

	t      testing.TB
	mu     sync.Mutex // of d, and of every mount of it
	d      *disk
	now    *mounted
	server *fuse.Server
}

// New mounts an empty disk for the test.
func New(t testing.TB, m Model) *Disk {
	t.Helper()
	k := &Disk{Dir: t.TempDir(), t: t, d: newDisk(m)}
	k.mount()
	t.Cleanup(func() {
		k.off(nil)
		k.unmount()
	})
	return k
}

// Mount is New with the model Journaled, for tests that use the disk in their own process: after cut, what they still have open answers
// every call with an error, and dir has what the disk has.
func Mount(t testing.TB) (dir string, cut func()) {
	t.Helper()
	k := New(t, Journaled)
	return k.Dir, func() { k.Cut(nil) }
}

// Cut cuts the power and mounts the disk again with what it has. kill sends SIGKILL to the processes that use it, without waiting for their
// end, as they may be waiting for the disk; it is called while the disk answers nobody, and after it every call that waits gets an error,
// which a killed process does not live to see. nil: it is this process alone that uses the disk. It returns what was lost.
func (k *Disk) Cut(kill func()) Lost { return k.cut(nil, kill) }

// CutTorn is Cut amid writing: a choice of what was not made sure of stays, by seed.
func (k *Disk) CutTorn(seed uint64, kill func()) Lost {
	return k.cut(rand.New(rand.NewPCG(seed, seed)), kill)
}

// OffAfter lets n changes of the disk (what is created, written, renamed, removed, synced) pass, and cuts the power at the next: it and
// everything after it fails. It is for tests that use the disk in their own process and go through all the moments that there are, and then
// Cut. done reports whether it has come to that.
func (k *Disk) OffAfter(n int) (done func() bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.now
	m.left = n + 1
	return func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return m.gone
	}
}

func (k *Disk) cut(rnd *rand.Rand, kill func()) Lost {
	k.t.Helper()
	l := k.off(func() Lost { return k.d.cut(rnd) })
	if kill != nil {
		kill()
	}
	k.now.release()
	k.unmount()
	k.mount()
	return l
}

// off cuts the power: from here on nothing is answered before over is closed. at is called at that instant.
func (k *Disk) off(at func() Lost) (l Lost) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now.gone = true
	if at != nil {
		return at()
	}
	k.now.release()
	return Lost{}
}

// release lets who waits for the disk go on, with errors.
func (m *mounted) release() {
	select {
	case <-m.over:
	default:
		close(m.over)
	}
}

func (k *Disk) mount() {
	k.t.Helper()
	root := os.Geteuid() == 0
	m := newMounted(&k.mu, k.d)
	s, err := fuse.NewServer(m, k.Dir, &fuse.MountOptions{
		FsName: "powercut", Name: "powercut", MaxWrite: 1 << 20, DirectMountStrict: root, DisableXAttrs: true, DisableReadDirPlus: true,
	})
	if err != nil {
		k.t.Fatalf("mount a FUSE file system for the power cut tests: %v: Linux needs /dev/fuse (modprobe fuse; in a container, pass the device and the right to mount), and who is not root the package fuse3", err)
	}
	go s.Serve()
	if err := s.WaitMount(); err != nil {
		k.t.Fatalf("mount a FUSE file system for the power cut tests: %v", err)
	}
	k.now, k.server = m, s
}

// unmount takes the disk away, also from who has files open on it.
func (k *Disk) unmount() {
	k.t.Helper()
	err := error(nil)
	if os.Geteuid() == 0 {
		err = syscall.Unmount(k.Dir, syscall.MNT_DETACH)
	} else {
		err = exec.Command("fusermount3", "-uz", k.Dir).Run()
	}
	if err != nil {
		k.t.Errorf("unmount %s: %v", k.Dir, err)
	}
}
