package powercut

import (
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// mounted is a disk as the kernel has it, from one mount to the next cut.
type mounted struct {
	fuse.RawFileSystem // what a disk need not do is answered by it

	mu      *sync.Mutex // of the Disk
	d       *disk
	gone    bool          // the power is off
	left    int           // changes and syncs until it goes by itself; 0: it does not
	over    chan struct{} // closed when whoever used the disk is dead
	nodes   map[uint64]*known
	handles map[uint64]*handle
	lastFh  uint64
}

// known is an inode that the kernel knows of, and how often it was told.
type known struct {
	*inode
	told uint64
}

// handle is an open file or folder.
type handle struct {
	n     *inode
	sync  bool     // opened with O_SYNC or O_DSYNC
	names []string // of a folder, when it was opened
}

func newMounted(mu *sync.Mutex, d *disk) *mounted {
	return &mounted{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), mu: mu, d: d, over: make(chan struct{}),
		nodes: map[uint64]*known{fuse.FUSE_ROOT_ID: {inode: d.root, told: 1}}, handles: make(map[uint64]*handle),
	}
}

// enter begins an operation: the lock is held, unless the power is off.
func (m *mounted) enter() bool {
	m.mu.Lock()
	if !m.gone {
		return true
	}
	m.mu.Unlock()
	<-m.over
	return false
}

// enterChange is enter for what changes the disk or makes sure of something.
func (m *mounted) enterChange() bool {
	if !m.enter() {
		return false
	}
	if m.left == 1 {
		m.gone = true
		close(m.over)
		m.mu.Unlock()
		return false
	}
	m.left = max(m.left-1, 0)
	return true
}

func (m *mounted) String() string { return "powercut" }

// keep is how long the kernel may remember: nobody else changes anything.
const keep = uint64(time.Hour / time.Second)

func (n *inode) attr(a *fuse.Attr) {
	a.Ino, a.Mode, a.Nlink, a.Owner = n.id, n.mode, n.links, fuse.Owner{Uid: n.uid, Gid: n.gid}
	a.Size = uint64(len(n.data) + len(n.target))
	a.Blocks, a.Blksize = (a.Size+511)/512, page
	a.SetTimes(&n.at, &n.at, &n.at)
}

// tell answers with an inode, which the kernel then knows.
func (m *mounted) tell(n *inode, out *fuse.EntryOut) {
	id := n.id
	if n == m.d.root {
		id = fuse.FUSE_ROOT_ID
	}
	k := m.nodes[id]
	if k == nil {
		k = &known{inode: n}
		m.nodes[id] = k
	}
	k.told++
	out.NodeId, out.Generation, out.EntryValid, out.AttrValid = id, 1, keep, keep
	n.attr(&out.Attr)
}

func (m *mounted) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[h.NodeId].names[name]
	if n == nil {
		return fuse.ENOENT
	}
	m.tell(n, out)
	return fuse.OK
}

func (m *mounted) Forget(id, n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.nodes[id]; k != nil && id != fuse.FUSE_ROOT_ID {
		if k.told -= min(n, k.told); k.told == 0 {
			delete(m.nodes, id)
		}
	}
}

func (m *mounted) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	out.AttrValid = keep
	m.nodes[in.NodeId].attr(&out.Attr)
	return fuse.OK
}

func (m *mounted) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId].inode
	if in.Valid&fuse.FATTR_MODE != 0 {
		n.mode = n.mode&typeMask | in.Mode&0o7777
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		n.uid = in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		n.gid = in.Gid
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		m.d.truncate(n, int64(in.Size))
	}
	if t, ok := in.GetMTime(); ok {
		n.at = t
	}
	out.AttrValid = keep
	n.attr(&out.Attr)
	return fuse.OK
}

// add makes a new inode under a name.
func (m *mounted) add(h *fuse.InHeader, name string, mode uint32, target string) (*inode, fuse.Status) {
	dir := m.nodes[h.NodeId].inode
	if dir.names[name] != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	n := m.d.node(mode, h.Uid, h.Gid)
	n.target = target
	m.d.change(edit{dir, name, n})
	return n, fuse.OK
}

func (m *mounted) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	if in.Mode&typeMask != typeFile {
		return fuse.EPERM
	}
	n, status := m.add(&in.InHeader, name, in.Mode, "")
	if status == fuse.OK {
		m.tell(n, out)
	}
	return status
}

func (m *mounted) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n, status := m.add(&in.InHeader, name, typeDir|in.Mode&0o7777, "")
	if status == fuse.OK {
		m.tell(n, out)
	}
	return status
}

func (m *mounted) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n, status := m.add(h, name, typeLink|0o777, target)
	if status == fuse.OK {
		m.tell(n, out)
	}
	return status
}

func (m *mounted) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	if !m.enter() {
		return nil, fuse.EIO
	}
	defer m.mu.Unlock()
	return []byte(m.nodes[h.NodeId].target), fuse.OK
}

func (m *mounted) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	dir, n := m.nodes[in.NodeId].inode, m.nodes[in.Oldnodeid].inode
	if dir.names[name] != nil {
		return fuse.Status(syscall.EEXIST)
	}
	m.d.change(edit{dir, name, n})
	m.tell(n, out)
	return fuse.OK
}

func (m *mounted) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return m.remove(h, name, false)
}

func (m *mounted) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return m.remove(h, name, true)
}

func (m *mounted) remove(h *fuse.InHeader, name string, folder bool) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	dir := m.nodes[h.NodeId].inode
	n := dir.names[name]
	switch {
	case n == nil:
		return fuse.ENOENT
	case folder && !n.isDir():
		return fuse.ENOTDIR
	case folder && len(n.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	m.d.change(edit{dir, name, nil})
	return fuse.OK
}

// Flags of renameat2.
const (
	renameNoReplace = 1
	renameExchange  = 2
)

func (m *mounted) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	dir, toDir := m.nodes[in.NodeId].inode, m.nodes[in.Newdir].inode
	n, old := dir.names[from], toDir.names[to]
	switch {
	case n == nil || in.Flags&renameExchange != 0 && old == nil:
		return fuse.ENOENT
	case in.Flags&renameNoReplace != 0 && old != nil:
		return fuse.Status(syscall.EEXIST)
	case n == old:
	case in.Flags&renameExchange != 0:
		m.d.change(edit{dir, from, old}, edit{toDir, to, n})
	case old != nil && len(old.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	default:
		m.d.change(edit{toDir, to, n}, edit{dir, from, nil})
	}
	return fuse.OK
}

func (m *mounted) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// open makes a handle.
func (m *mounted) open(h *handle, out *fuse.OpenOut) {
	m.lastFh++
	m.handles[m.lastFh] = h
	out.Fh, out.OpenFlags = m.lastFh, fuse.FOPEN_KEEP_CACHE
}

func synced(flags uint32) bool { return flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0 }

func (m *mounted) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n, status := m.add(&in.InHeader, name, typeFile|in.Mode&0o7777, "")
	if status == fuse.OK {
		m.tell(n, &out.EntryOut)
		m.open(&handle{n: n, sync: synced(in.Flags)}, &out.OpenOut)
	}
	return status
}

func (m *mounted) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId].inode
	if in.Flags&syscall.O_TRUNC != 0 && len(n.data) > 0 {
		m.d.truncate(n, 0)
	}
	m.open(&handle{n: n, sync: synced(in.Flags)}, out)
	return fuse.OK
}

func (m *mounted) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.handles, in.Fh)
}

func (m *mounted) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if !m.enter() {
		return nil, fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId].inode
	if in.Offset >= uint64(len(n.data)) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	return fuse.ReadResultData(buf[:copy(buf, n.data[in.Offset:])]), fuse.OK
}

func (m *mounted) Write(_ <-chan struct{}, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	if !m.enterChange() {
		return 0, fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId].inode
	m.d.write(n, int64(in.Offset), p)
	if h := m.handles[in.Fh]; h != nil && h.sync {
		m.d.sync(n)
	}
	return uint32(len(p)), fuse.OK
}

func (m *mounted) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS // Write does it
}

func (m *mounted) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	if n, size := m.nodes[in.NodeId].inode, int64(in.Offset+in.Length); size > int64(len(n.data)) {
		m.d.truncate(n, size)
	}
	return fuse.OK
}

// Flush is a close, which makes sure of nothing.
func (m *mounted) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	m.mu.Unlock()
	return fuse.OK
}

func (m *mounted) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if !m.enterChange() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	m.d.sync(m.nodes[in.NodeId].inode)
	return fuse.OK
}

func (m *mounted) FsyncDir(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status { return m.Fsync(c, in) }

func (m *mounted) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	n := m.nodes[in.NodeId].inode
	m.open(&handle{n: n, names: slices.Sorted(maps.Keys(n.names))}, out)
	out.OpenFlags = 0
	return fuse.OK
}

func (m *mounted) ReleaseDir(in *fuse.ReleaseIn) { m.Release(nil, in) }

func (m *mounted) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !m.enter() {
		return fuse.EIO
	}
	defer m.mu.Unlock()
	h := m.handles[in.Fh]
	for i := int(in.Offset); i < len(h.names); i++ {
		n := h.n.names[h.names[i]]
		if n == nil {
			continue // gone since
		}
		if !out.AddDirEntry(fuse.DirEntry{Mode: n.mode, Name: h.names[i], Ino: n.id, Off: uint64(i + 1)}) {
			break
		}
	}
	return fuse.OK
}

func (m *mounted) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 64 << 30 / page
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: 1 << 30, Ffree: 1 << 30, Bsize: page, Frsize: page, NameLen: 255}
	return fuse.OK
}
