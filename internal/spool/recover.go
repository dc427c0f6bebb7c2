package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What the folder's files end in.
const (
	suffix    = ".spool"
	badSuffix = ".bad"
	newSuffix = ".new"
)

// recover reads the folder as it was left.
func (s *Spool) recover() error {
	list, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return fmt.Errorf("the spool's folder %s cannot be read: %w: make it readable, or choose another with --spool-dir", s.o.Dir, cause(err))
	}
	var numbers []uint64
	for _, e := range list {
		name := e.Name()
		switch filepath.Ext(name) {
		case newSuffix: // never got its name, so nothing is in it
			if err := os.Remove(filepath.Join(s.o.Dir, name)); err != nil {
				return fmt.Errorf("the spool in %s: %w", s.o.Dir, err)
			}
		case badSuffix:
			if info, err := e.Info(); err == nil {
				s.aside += info.Size()
			}
		case suffix:
			n, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 64)
			if err != nil || n == 0 || n >= lastNumber || filepath.Base(s.path(n)) != name {
				return fmt.Errorf("the spool in %s has a file %s, which is none of its segments: move it elsewhere", s.o.Dir, name)
			}
			numbers = append(numbers, n)
		}
	}
	s.stats.Bytes = s.aside
	slices.Sort(numbers)
	for i, n := range numbers {
		s.number = n
		if err := s.recoverSegment(n, i == len(numbers)-1); err != nil {
			return err
		}
	}
	s.dated()
	return nil
}

// recoverSegment checks a segment. In the last one, an end that a write did
// not get to is cut off. Damage is kept aside, and the segment written anew of
// what is whole, so that it is found once.
func (s *Spool) recoverSegment(number uint64, last bool) error {
	path := s.path(number)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the spool's segment %s cannot be read: %w: make it readable, or move it elsewhere", path, cause(err))
	}
	from := headerSize
	reason := checkHeader(b, number)
	var newer errNewer
	if errors.As(reason, &newer) {
		return fmt.Errorf("the spool's segment %s cannot be used: %w", path, reason)
	}
	if reason != nil {
		s.log.Error("the header of a segment of the spool cannot be read; records in it are looked for", "segment", path, "offset", 0, "err", reason)
		if from = next(b, 0); from > headerSize && len(b) >= headerSize {
			from = headerSize // what lies between is looked at in its own right
		}
	}
	frames, bad := scan(b[from:], from)
	seg := &segment{number: number, path: path, size: int64(len(b))}
	if reason != nil {
		s.setAside(path, b[:from], 0)
	}
	damaged := reason != nil
	for _, p := range bad {
		if p.torn && last && reason == nil {
			s.log.Warn("the last write into the spool did not get to its end: it was never answered, and is cut off", "segment", path, "offset", p.off, "bytes", p.end-p.off)
			if err := truncate(path, int64(p.off)); err != nil {
				return fmt.Errorf("the spool's segment %s cannot be cut to %d bytes: %w", path, p.off, cause(err))
			}
			seg.size = int64(p.off)
			continue
		}
		damaged = true
		s.setAside(path, b[p.off:p.end], p.off)
	}
	if damaged {
		if err := s.at(AfterAside); err != nil {
			return err
		}
	}
	if damaged && len(frames) > 0 {
		if err := s.rewrite(seg, frames); err != nil {
			return fmt.Errorf("the spool's segment %s cannot be written anew without what is damaged: %w: make room on its disk", path, cause(err))
		}
	}
	for _, f := range frames {
		if seg.records == 0 {
			seg.oldest = f.record.Spooled
		}
		s.count(seg, f.record)
	}
	if seg.records == 0 {
		if err := errors.Join(os.Remove(path), s.syncDir()); err != nil {
			return fmt.Errorf("the spool's segment %s has no records and cannot be removed: %w", path, cause(err))
		}
		return nil
	}
	s.stats.Bytes += seg.size
	s.segments = append(s.segments, seg)
	return nil
}

// setAside keeps a piece that cannot be read, and says so.
func (s *Spool) setAside(path string, piece []byte, offset int) {
	s.stats.Damaged++
	name := fmt.Sprintf("%s.%d%s", path, offset, badSuffix)
	var old int64
	if info, err := os.Stat(name); err == nil {
		old = info.Size()
	}
	err := keep(name, piece)
	if err == nil {
		err = s.syncDir()
		s.aside += int64(len(piece)) - old
		s.stats.Bytes += int64(len(piece)) - old
	}
	attrs := []any{"segment", path, "offset", offset, "bytes", len(piece), "kept_in", name}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	s.log.Error("a piece of the spool is damaged; it is kept aside and passed over, the rest is used", attrs...)
}

// keep writes a file and syncs it.
func keep(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// rewrite puts a segment of these frames in the place of a damaged one.
func (s *Spool) rewrite(seg *segment, frames []frame) error {
	b := header(seg.number)
	var err error
	for _, f := range frames {
		if b, err = appendFrame(b, f.record); err != nil {
			return err
		}
	}
	if err := keep(seg.path+newSuffix, b); err != nil {
		return err
	}
	if err := s.at(AfterRewrite); err != nil {
		return err
	}
	if err := os.Rename(seg.path+newSuffix, seg.path); err != nil {
		return err
	}
	seg.size = int64(len(b))
	return errors.Join(s.syncDir(), s.at(AfterReplaced))
}
