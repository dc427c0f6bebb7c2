package powercut

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// page is what a disk writes at once: a cut may tear a write between two.
const page = 4 << 10

// Model says when names are durable.
type Model int

// Models, see the package's comment.
const (
	Journaled Model = iota
	Strict
)

// inode is a file, a folder or a link. What programs see is in data and names; what the disk has is in disk and diskNames.
type inode struct {
	id         uint64
	mode       uint32 // with the type
	uid, gid   uint32
	at         time.Time // of the last change
	links      uint32
	target     string
	data, disk []byte
	pending    []write
	names      map[string]*inode // nil but for folders
	diskNames  map[string]*inode
}

// write is what a file's program did since it last synced: bytes at an offset, or a new size.
type write struct {
	at       int64
	bytes    []byte
	truncate bool
}

// edit is one name in one folder; to is nil when it is taken away.
type edit struct {
	dir  *inode
	name string
	to   *inode
}

// A change of names stands as a whole.
type change []edit

// disk is the model. Its caller locks.
type disk struct {
	model   Model
	root    *inode
	lastID  uint64
	journal []change // names that are not durable yet, in order
	dirty   map[*inode]bool
	syncs   int // since the beginning
}

func newDisk(m Model) *disk {
	d := &disk{model: m, dirty: make(map[*inode]bool)}
	d.root = d.node(typeDir|0o700, 0, 0)
	d.root.links = 1
	return d
}

func (d *disk) node(mode, uid, gid uint32) *inode {
	d.lastID++
	n := &inode{id: d.lastID, mode: mode, uid: uid, gid: gid, at: time.Now()}
	if n.isDir() {
		n.names, n.diskNames = make(map[string]*inode), make(map[string]*inode)
	}
	return n
}

const (
	typeMask = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

func (n *inode) isDir() bool { return n.mode&typeMask == typeDir }

// apply makes a write in a file's content.
func (w write) apply(b []byte) []byte {
	end := w.at + int64(len(w.bytes))
	if w.truncate && end < int64(len(b)) {
		return b[:end]
	}
	if grow := end - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[w.at:], w.bytes)
	return b
}

func (d *disk) write(n *inode, at int64, p []byte) {
	for len(p) > 0 {
		part := min(int64(len(p)), page-at%page)
		w := write{at: at, bytes: slices.Clone(p[:part])}
		n.data = w.apply(n.data)
		n.pending = append(n.pending, w)
		p, at = p[part:], at+part
	}
	n.at = time.Now()
	d.dirty[n] = true
}

func (d *disk) truncate(n *inode, size int64) {
	w := write{at: size, truncate: true}
	n.data = w.apply(n.data)
	n.pending = append(n.pending, w)
	n.at = time.Now()
	d.dirty[n] = true
}

// sync makes sure of an inode.
func (d *disk) sync(n *inode) {
	d.syncs++
	for _, w := range n.pending {
		n.disk = w.apply(n.disk)
	}
	n.pending = nil
	delete(d.dirty, n)
	if d.model == Journaled {
		for _, c := range d.journal {
			c.stand()
		}
		d.journal = nil
		return
	}
	d.journal = slices.DeleteFunc(d.journal, func(c change) bool {
		if !slices.ContainsFunc(c, func(e edit) bool { return e.dir == n }) {
			return false
		}
		c.stand()
		return true
	})
}

// stand makes a change durable.
func (c change) stand() {
	for _, e := range c {
		if e.to == nil {
			delete(e.dir.diskNames, e.name)
		} else {
			e.dir.diskNames[e.name] = e.to
		}
	}
}

// change makes names be for programs.
func (d *disk) change(c ...edit) {
	for _, e := range c {
		if old := e.dir.names[e.name]; old != nil {
			old.links--
		}
		if e.to == nil {
			delete(e.dir.names, e.name)
		} else {
			e.dir.names[e.name] = e.to
			e.to.links++
		}
		e.dir.at = time.Now()
	}
	d.journal = append(d.journal, c)
}

// Lost says what a cut took.
type Lost struct {
	Files int   // that had writes not made sure of
	Bytes int64 // written and not made sure of
	Names int   // changes of names not made sure of
	Syncs int   // made before, since the beginning or the last cut
}

// cut takes what was not made sure of. With rnd, a choice of it stays.
func (d *disk) cut(rnd *rand.Rand) (l Lost) {
	l.Syncs, d.syncs = d.syncs, 0
	chance := 0.0
	if rnd != nil {
		chance = rnd.Float64()
	}
	dirty := slices.SortedFunc(maps.Keys(d.dirty), func(a, b *inode) int { return cmp.Compare(a.id, b.id) })
	for _, n := range dirty {
		l.Files++
		for _, w := range n.pending {
			if rnd != nil && rnd.Float64() < chance {
				n.disk = w.apply(n.disk)
			} else {
				l.Bytes += int64(len(w.bytes))
			}
		}
	}
	kept := 0
	for i, c := range d.journal {
		switch {
		case rnd == nil:
			l.Names++
		case d.model == Journaled && kept == i && rnd.Float64() < chance, d.model == Strict && rnd.Float64() < chance:
			c.stand()
			kept++
		default:
			l.Names++
		}
	}
	d.journal = nil
	clear(d.dirty)
	d.root.reborn(make(map[*inode]bool))
	d.root.links = 1
	return l
}

// reborn makes an inode and all below it what the disk has.
func (n *inode) reborn(seen map[*inode]bool) {
	if seen[n] {
		n.links++
		return
	}
	seen[n] = true
	n.links, n.pending = 1, nil
	if !n.isDir() {
		n.data = slices.Clone(n.disk)
		return
	}
	n.names = maps.Clone(n.diskNames)
	for _, c := range n.names {
		c.reborn(seen)
	}
}
