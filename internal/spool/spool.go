package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/huoma/huoma/internal/events"
)

// Defaults of Options.
const (
	DefaultBytes        = 256 << 20
	defaultSegmentBytes = 8 << 20
)

// Options say where a spool is and how much it may hold. Dir is required.
type Options struct {
	Dir          string // made when missing; one process at a time
	Bytes        int64  // most the whole folder may hold; default DefaultBytes
	SegmentBytes int64  // at this size another segment is begun; default 8 MiB
	Log          *slog.Logger

	Crash func(Point) error // tests: an error stops the spool dead at that point
}

// Point names a place between two effects of a spool, so that a test can stop
// it dead there.
type Point string

// The points of a spool in use, and of one that is opened after damage.
const (
	AfterHeader   Point = "after-header"  // the next segment is written, under a name that does not count
	AfterSegment  Point = "after-segment" // it has its name
	AfterWrite    Point = "after-write"   // records are written and not synced
	AfterSync     Point = "after-sync"
	BeforeRemove  Point = "before-remove" // all records of a segment are done with
	AfterRemove   Point = "after-remove"
	AfterAside    Point = "after-aside"   // damaged pieces are kept aside, and still in their segment
	AfterRewrite  Point = "after-rewrite" // the segment without them is written, under a name that does not count
	AfterReplaced Point = "after-replaced"
)

// Points are all there are.
var Points = []Point{AfterHeader, AfterSegment, AfterWrite, AfterSync, BeforeRemove, AfterRemove, AfterAside, AfterRewrite, AfterReplaced}

// Spool keeps records until they are done with. All methods may be used at
// once from many goroutines, but only one may take out.
type Spool struct {
	o    Options
	log  *slog.Logger
	lock *os.File

	mu       sync.Mutex
	closed   bool
	segments []*segment // oldest first
	tail     *os.File   // the last one, open to append; nil: the next record begins another
	number   uint64     // of the last segment
	stats    events.Spool
	aside    int64 // bytes of .bad files

	head loaded

	// Tests: what a write and a sync do.
	write func(*os.File, []byte, int64) (int, error)
	sync  func(*os.File) error
}

func (s *Spool) at(p Point) error {
	if s.o.Crash == nil {
		return nil
	}
	return s.o.Crash(p)
}

// segment is one file.
type segment struct {
	number  uint64
	path    string
	size    int64 // of what is synced
	records int
	events  int
	oldest  time.Time // of its first record
}

// loaded is the oldest segment, read.
type loaded struct {
	number uint64 // 0: none
	size   int64  // read so far
	frames []frame
	next   int // the first not done with
}

// Open takes a folder for this process, checks every record in it and makes
// it ready to be read from its oldest. What a write left that did not get to
// its end is cut off. Damage is logged with segment and offset, kept aside and
// counted; it is no error. Errors: the folder cannot be used, another process
// uses it, or a segment is of a newer version.
func Open(o Options) (*Spool, error) {
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = min(defaultSegmentBytes, max(o.Bytes/4, 1))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the spool's folder %s cannot be made: %w: choose another with --spool-dir", o.Dir, cause(err))
	}
	lock, err := os.OpenFile(filepath.Join(o.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the spool's folder %s is not writable: %w: make it so, or choose another with --spool-dir", o.Dir, cause(err))
	}
	if err := flock(lock); err != nil {
		_ = lock.Close() // nothing was written
		return nil, fmt.Errorf("the spool's folder %s is in use by another gateway: stop that one, or give this one another with --spool-dir", o.Dir)
	}
	s := &Spool{
		o: o, log: o.Log, lock: lock, stats: events.Spool{Most: o.Bytes, Partition: -1},
		write: func(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) },
		sync:  (*os.File).Sync,
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// cause is an error without the operation and the path.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Append writes records at the end, with one write and one sync, and returns
// when they are on disk: all of them or, after an error, none is promised.
// The error wraps events.ErrNoRoom when the folder or the disk is full; then
// none of them is there, nor will be after a crash. After any other error
// some may be.
func (s *Spool) Append(records []events.Record) error {
	if len(records) == 0 {
		return nil
	}
	var b []byte
	var err error
	for _, r := range records {
		if b, err = appendFrame(b, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	if s.tail != nil && s.last().size >= s.o.SegmentBytes {
		s.end()
	}
	more := int64(len(b))
	if s.tail == nil {
		more += int64(headerSize)
	}
	if s.stats.Bytes+more > s.o.Bytes {
		s.stats.Full = true
		return fmt.Errorf("the spool in %s: %w: %d of %d bytes are used", s.o.Dir, events.ErrNoRoom, s.stats.Bytes, s.o.Bytes)
	}
	if s.tail == nil {
		if err := s.begin(); err != nil {
			return s.failed(err)
		}
	}
	seg := s.last()
	if _, err := s.write(s.tail, b, seg.size); err != nil {
		return s.takeBack(seg, err)
	}
	if err := s.at(AfterWrite); err != nil {
		return err
	}
	if err := s.sync(s.tail); err != nil {
		// What is on disk is unknown, and may stay so: this file is not trusted with more.
		err = s.takeBack(seg, err)
		s.end()
		return err
	}
	if err := s.at(AfterSync); err != nil {
		return err
	}
	if seg.records == 0 {
		seg.oldest = records[0].Spooled
	}
	if s.stats.Records == 0 {
		s.stats.Oldest = records[0].Spooled
	}
	seg.size += int64(len(b))
	s.stats.Bytes += int64(len(b))
	for _, r := range records {
		s.count(seg, r)
	}
	s.stats.Full = false
	return nil
}

func (s *Spool) count(seg *segment, r events.Record) {
	seg.records++
	seg.events += r.Events
	s.stats.Records++
	s.stats.Events += r.Events
	s.stats.Partition = max(s.stats.Partition, r.Partition)
}

func (s *Spool) last() *segment { return s.segments[len(s.segments)-1] }

// takeBack removes what a failed write left behind.
func (s *Spool) takeBack(seg *segment, err error) error {
	if back := errors.Join(s.tail.Truncate(seg.size), s.tail.Sync()); back != nil {
		s.end()
		return fmt.Errorf("the spool in %s: %w", s.o.Dir, errors.Join(err, back)) // not ErrNoRoom: something may be there
	}
	return s.failed(err)
}

// failed is an error of the disk in words.
func (s *Spool) failed(err error) error {
	for _, e := range noRoom {
		if errors.Is(err, e) {
			s.stats.Full = true
			return fmt.Errorf("the spool in %s: %w: %w", s.o.Dir, events.ErrNoRoom, err)
		}
	}
	return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
}

// begin makes the next segment, whole and under its name or not at all.
func (s *Spool) begin() error {
	number := s.number + 1
	path := s.path(number)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = s.write(f, header(number), 0)
	if err == nil {
		err = s.sync(f)
	}
	if err == nil {
		if err := s.at(AfterHeader); err != nil {
			return err
		}
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err == nil {
		if err := s.at(AfterSegment); err != nil {
			return err
		}
	}
	if err != nil {
		_, _, _ = f.Close(), os.Remove(path+".new"), os.Remove(path) // there is nothing in it
		return err
	}
	s.tail, s.number = f, number
	s.segments = append(s.segments, &segment{number: number, path: path, size: int64(headerSize)})
	s.stats.Bytes += int64(headerSize)
	return nil
}

// end closes the tail; the next record begins another segment.
func (s *Spool) end() {
	if s.tail != nil {
		_ = s.tail.Close() // synced, or not trusted
		s.tail = nil
	}
}

func (s *Spool) path(number uint64) string {
	return filepath.Join(s.o.Dir, fmt.Sprintf("%016d%s", number, suffix))
}

// syncDir makes names durable.
func (s *Spool) syncDir() error {
	d, err := os.Open(s.o.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Next returns the oldest records that are not done with: at least one if
// there are any, else at most so many, of at most so many bytes. They stay
// until Done. What is found damaged is passed over, as by Open.
func (s *Spool) Next(most int, bytes int) ([]events.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	for {
		if len(s.segments) == 0 {
			return nil, nil
		}
		if err := s.load(); err != nil {
			return nil, err
		}
		if s.head.next < len(s.head.frames) {
			break
		}
		if s.segments[0].number == s.number && s.tail != nil {
			return nil, nil
		}
		if err := s.remove(); err != nil {
			return nil, err
		}
	}
	var out []events.Record
	size := 0
	for _, f := range s.head.frames[s.head.next:] {
		size += len(f.record.Payload)
		if len(out) > 0 && (len(out) >= most || size > bytes) {
			break
		}
		out = append(out, f.record)
	}
	return out, nil
}

// load reads what is new of the oldest segment.
func (s *Spool) load() error {
	seg := s.segments[0]
	if s.head.number != seg.number {
		s.head = loaded{number: seg.number}
	}
	if s.head.size == seg.size {
		return nil
	}
	f, err := os.Open(seg.path)
	if err != nil {
		return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
	}
	defer f.Close()
	from := max(s.head.size, int64(headerSize))
	b := make([]byte, max(seg.size-from, 0))
	if n, err := f.ReadAt(b, from); n < len(b) {
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
		}
		s.stats.Damaged++
		s.log.Error("a segment of the spool is shorter than what was written; what is missing is lost", "segment", seg.path, "offset", from+int64(n), "bytes", len(b)-n)
		b = b[:n]
	}
	frames, bad := scan(b, int(from))
	for _, p := range bad {
		p.torn = false // it had been synced
		s.setAside(seg.path, b[int64(p.off)-from:int64(p.end)-from], p.off)
	}
	s.head.frames, s.head.size = append(s.head.frames, frames...), seg.size
	if lost := seg.records - len(s.head.frames); lost > 0 { // gone bad since they were counted
		have := 0
		for _, f := range s.head.frames {
			have += f.record.Events
		}
		s.stats.Records -= lost
		s.stats.Events -= seg.events - have
		seg.records, seg.events = len(s.head.frames), have
	}
	s.dated()
	return nil
}

// dated works out how old the oldest record is.
func (s *Spool) dated() {
	s.stats.Oldest = time.Time{}
	if s.head.next < len(s.head.frames) {
		s.stats.Oldest = s.head.frames[s.head.next].record.Spooled
		return
	}
	for _, seg := range s.segments {
		if seg.number != s.head.number && seg.records > 0 {
			s.stats.Oldest = seg.oldest
			return
		}
	}
}

// Done says that the n oldest records, as Next returned them, are stored
// elsewhere. A segment is removed when all of it is.
func (s *Spool) Done(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	if n < 0 || n > len(s.head.frames)-s.head.next {
		return fmt.Errorf("the spool in %s: %d records cannot be done with, %d are out", s.o.Dir, n, len(s.head.frames)-s.head.next)
	}
	if n == 0 {
		return nil
	}
	for range n {
		f := &s.head.frames[s.head.next]
		s.head.next++
		s.stats.Records--
		s.stats.Events -= f.record.Events
		f.record.Payload = nil
	}
	s.dated()
	seg := s.segments[0]
	if s.head.next < len(s.head.frames) || s.head.size != seg.size || seg.number == s.number && s.tail != nil && seg.size < s.o.SegmentBytes {
		return nil
	}
	return s.remove()
}

// Trim removes the last segment too if all of it is done with: nothing more
// is about to come.
func (s *Spool) Trim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.segments) > 0 && s.stats.Records == 0 {
		if err := s.remove(); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the oldest segment.
func (s *Spool) remove() error {
	seg := s.segments[0]
	if err := s.at(BeforeRemove); err != nil {
		return err
	}
	if seg.number == s.number {
		s.end()
	}
	if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
	}
	s.segments = slices.Delete(s.segments, 0, 1)
	s.stats.Bytes -= seg.size
	s.stats.Full = false
	s.head = loaded{}
	s.dated()
	if err := s.syncDir(); err != nil {
		return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
	}
	return s.at(AfterRemove)
}

// Stats says what the spool holds.
func (s *Spool) Stats() events.Spool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close ends the use of the folder. What is in it stays.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.end()
	return s.lock.Close()
}

// lastNumber is beyond what file names have room for.
const lastNumber = math.MaxInt64
