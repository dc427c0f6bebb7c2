package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/crc32"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func record(n int) events.Record {
	return events.Record{
		Partition: n % 3, Payload: fmt.Appendf(nil, `[{"id":"e%d"},{"id":"f%d"}]`, n, n), Producer: "gw", Number: uint64(n), Events: 2,
		Spooled: noon.Add(time.Duration(n) * time.Second),
	}
}

func open(t testing.TB, dir string, change ...func(*Options)) *Spool {
	t.Helper()
	o := Options{Dir: dir}
	for _, c := range change {
		c(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := s.Append([]events.Record{record(n)}); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers are what is left, by Next and Done to the end.
func numbers(t testing.TB, s *Spool) (out []int) {
	t.Helper()
	for {
		list, err := s.Next(2, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return out
		}
		for _, r := range list {
			n := int(r.Number)
			if want := record(n); fmt.Sprint(r) != fmt.Sprint(want) {
				t.Fatalf("record %d is %v, want %v", n, r, want)
			}
			out = append(out, n)
		}
		if err := s.Done(len(list)); err != nil {
			t.Fatal(err)
		}
	}
}

func series(from, to int) (out []int) {
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func small(o *Options) { o.SegmentBytes = 200 }

func TestWhatIsAppendedIsReadInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small)
	add(t, s, 1, 10)
	if err := s.Append([]events.Record{record(11), record(12)}); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	same(t, "records, events, oldest, partition", fmt.Sprint(st.Records, st.Events, st.Oldest, st.Partition), fmt.Sprint(12, 24, record(1).Spooled, 2))
	if n := len(segments(t, dir)); n < 3 {
		t.Errorf("%d segments, want several", n)
	}
	list, err := s.Next(3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Done(len(list) - 1); err != nil { // not all of what was handed out
		t.Fatal(err)
	}
	same(t, "oldest left", s.Stats().Oldest, record(len(list)).Spooled)
	same(t, "the rest", numbers(t, s), series(len(list), 12))
	add(t, s, 13, 13) // while it is read
	same(t, "one more", numbers(t, s), []int{13})
	if err := s.Trim(); err != nil {
		t.Fatal(err)
	}
	st = s.Stats()
	same(t, "in the end", fmt.Sprint(st.Records, st.Events, st.Bytes, st.Oldest.IsZero()), "0 0 0 true")
	same(t, "segments in the end", len(segments(t, dir)), 0)
}

func TestAnotherProcessGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small)
	add(t, s, 1, 9)
	before := s.Stats()
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Fatalf("a second process: %v", err)
	}
	_ = s.Close()
	s = open(t, dir, small)
	same(t, "stats", s.Stats(), before)
	add(t, s, 10, 12)
	same(t, "all", numbers(t, s), series(1, 12))
}

func TestRoomIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small, func(o *Options) { o.Bytes = 1000 })
	n := 0
	for {
		err := s.Append([]events.Record{record(n + 1), record(n + 2)})
		if errors.Is(err, events.ErrNoRoom) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += 2
	}
	size := int64(0)
	for _, path := range segments(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	st := s.Stats()
	if size > 1000 || size != st.Bytes || !st.Full || n < 8 {
		t.Errorf("%d records in %d bytes, stats %+v", n, size, st)
	}
	list, err := s.Next(100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Done(len(list)); err != nil {
		t.Fatal(err)
	}
	if s.Stats().Full {
		t.Error("full after a segment was removed")
	}
	add(t, s, n+1, n+1)
	same(t, "what was taken, and nothing else", numbers(t, s), series(len(list)+1, n+1))
}

func TestFullDiskLeavesNothing(t *testing.T) {
	for name, half := range map[string]func(f *os.File, b []byte, off int64) (int, error){
		"half a write": func(f *os.File, b []byte, off int64) (int, error) {
			n, _ := f.WriteAt(b[:len(b)/2], off)
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		},
		"all but a byte": func(f *os.File, b []byte, off int64) (int, error) {
			n, _ := f.WriteAt(b[:len(b)-1], off)
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.EDQUOT}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			add(t, s, 1, 3)
			write := s.write
			s.write = half
			if err := s.Append([]events.Record{record(4)}); !errors.Is(err, events.ErrNoRoom) || !s.Stats().Full {
				t.Fatalf("error %v, stats %+v", err, s.Stats())
			}
			s.write = write
			info, err := os.Stat(s.last().path)
			if err != nil || info.Size() != s.last().size {
				t.Errorf("the file has %d bytes, want %d: %v", info.Size(), s.last().size, err)
			}
			add(t, s, 5, 5)
			s.sync = func(*os.File) error { return syscall.EIO }
			if err := s.Append([]events.Record{record(6)}); err == nil || errors.Is(err, events.ErrNoRoom) {
				t.Errorf("a sync that failed: %v", err)
			}
			s.sync = (*os.File).Sync
			add(t, s, 7, 7)
			same(t, "segments", len(segments(t, dir)), 2) // a file whose sync failed gets no more
			_ = s.Close()
			s = open(t, dir)
			same(t, "damaged", s.Stats().Damaged, 0)
			same(t, "left", numbers(t, s), []int{1, 2, 3, 5, 7})
		})
	}
}

var errDead = errors.New("dead")

// Between any two effects of a spool its process may die, and the next one too, at whatever comes first: all that was promised is there, once
// unless a whole segment was about to be removed, and nothing is called damaged that is not.
func TestCrashPoints(t *testing.T) {
	wants := map[Point][]int{
		AfterHeader:   series(1, 5), // of a segment that never came to be
		AfterSegment:  series(1, 5),
		AfterWrite:    series(1, 6), // may be there, was never promised
		AfterSync:     series(1, 6),
		BeforeRemove:  series(1, 5), // all of the segment once more
		AfterRemove:   series(4, 5),
		AfterAside:    {1, 3, 4, 5}, // the second is damaged
		AfterRewrite:  {1, 3, 4, 5},
		AfterReplaced: {1, 3, 4, 5},
	}
	for _, p := range Points {
		want := wants[p]
		t.Run(string(p), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small)
			add(t, s, 1, 5)
			at, died := p, 0
			die := func(q Point) error {
				if q != at {
					return nil
				}
				died++
				return errDead
			}
			s.o.Crash = die
			switch p {
			case AfterHeader, AfterSegment:
				s.end() // the next record begins a segment
				fallthrough
			case AfterWrite, AfterSync:
				if err := s.Append([]events.Record{record(6)}); !errors.Is(err, errDead) {
					t.Fatal(err)
				}
			case BeforeRemove, AfterRemove:
				list, err := s.Next(100, 1<<20)
				if err != nil || len(list) != 3 {
					t.Fatalf("%d records in the first segment: %v", len(list), err)
				}
				if err := s.Done(3); !errors.Is(err, errDead) {
					t.Fatal(err)
				}
			default:
				first := s.segments[0]
				b, err := os.ReadFile(first.path)
				if err != nil {
					t.Fatal(err)
				}
				b[headerSize+(len(b)-headerSize)/2] ^= 1
				if err := os.WriteFile(first.path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				_ = s.Close()
				for range 2 { // and again, where it comes to that point again
					again, err := Open(Options{Dir: dir, Crash: die, SegmentBytes: s.o.SegmentBytes})
					if err != nil && !errors.Is(err, errDead) {
						t.Fatal(err)
					}
					if err == nil {
						_ = again.Close()
					}
				}
			}
			if died == 0 {
				t.Fatal("it was not come to")
			}
			_ = s.Close() // only lets go of the lock
			damaged := int64(0)
			if p == AfterAside || p == AfterRewrite {
				damaged = 1 // found once more, and kept in the same file
			}
			s = open(t, dir, small)
			same(t, "damaged", s.Stats().Damaged, damaged)
			add(t, s, 7, 7)
			same(t, "left", numbers(t, s), append(want, 7))
			if s.Trim() != nil || s.Stats().Bytes != s.aside || s.Stats().Records != 0 {
				t.Errorf("stats %+v, aside %d", s.Stats(), s.aside)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*"+newSuffix)); err != nil || len(left) > 0 {
				t.Errorf("left over: %v %v", left, err)
			}
		})
	}
}

// Every point that is declared in the source is in Points, and is passed somewhere.
func TestPointsAreAll(t *testing.T) {
	declared, passed := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Point" {
					declared[n.Names[0].Name] = true
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "at" && len(n.Args) == 1 {
					passed[n.Args[0].(*ast.Ident).Name] = true
				}
			}
			return true
		})
	}
	if !maps.Equal(declared, passed) || len(declared) != len(Points) {
		t.Errorf("declared %v, passed %v, %d are listed", slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(passed)), len(Points))
	}
}

// Power is lost between the write and the sync: the last write is there in
// part, at most.
func TestTornTail(t *testing.T) {
	whole := t.TempDir()
	s := open(t, whole)
	add(t, s, 1, 2)
	kept := s.last().size
	add(t, s, 3, 3)
	_ = s.Close()
	b, err := os.ReadFile(segments(t, whole)[0])
	if err != nil {
		t.Fatal(err)
	}
	for n := kept; n <= int64(len(b)); n++ {
		for _, filled := range []bool{false, true} { // the rest missing, or there as zeros
			left := bytes.Clone(b[:n])
			if filled {
				left = append(left, make([]byte, int64(len(b))-n)...)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(segments(t, whole)[0])), left, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			want, bad := series(1, 2), s.Stats().Damaged
			if n == int64(len(b)) {
				want = series(1, 3)
			}
			if !filled && bad != 0 {
				t.Errorf("cut at %d: %d damaged pieces", n, bad)
			}
			add(t, s, 4, 4)
			same(t, fmt.Sprint("cut at ", n, filled), numbers(t, s), append(want, 4))
			_ = s.Close()
		}
	}
}

func TestDamageIsNamedAndTheRestUsed(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(b []byte, at []int64) []byte
		want    []int
		offset  int // index of the frame that is named; -1: the header
		damaged int64
	}{
		{"a bit of a record", func(b []byte, at []int64) []byte { b[at[2]+60] ^= 4; return b }, []int{1, 2, 4, 5}, 2, 1},
		{"a bit of a length", func(b []byte, at []int64) []byte { b[at[1]+5] ^= 1; return b }, []int{1, 3, 4, 5}, 1, 1},
		{"a bit of the last length", func(b []byte, at []int64) []byte { b[at[4]+5] ^= 1; return b }, []int{1, 2, 3, 4}, 4, 1},
		{"a bit of the last record", func(b []byte, at []int64) []byte { b[len(b)-1] ^= 1; return b }, []int{1, 2, 3, 4}, 4, 1},
		{"bytes missing", func(b []byte, at []int64) []byte { return append(b[:at[1]+40:at[1]+40], b[at[1]+50:]...) }, []int{1, 3, 4, 5}, 1, 1},
		{"bytes too many", func(b []byte, at []int64) []byte {
			return append(b[:at[3]:at[3]], append([]byte("HSPf nonsense"), b[at[3]:]...)...)
		}, []int{1, 2, 3, 4, 5}, 3, 1},
		{"two places", func(b []byte, at []int64) []byte { b[at[0]+50] ^= 1; b[at[3]+50] ^= 1; return b }, []int{2, 3, 5}, 3, 2},
		{"the header", func(b []byte, at []int64) []byte { b[3] ^= 1; return b }, []int{1, 2, 3, 4, 5}, -1, 1},
		{"half the header", func(b []byte, at []int64) []byte { return b[10:] }, []int{1, 2, 3, 4, 5}, -1, 1},
		{"nothing but half a header", func(b []byte, at []int64) []byte { return b[:10] }, nil, -1, 1},
		{"empty", func(b []byte, at []int64) []byte { return nil }, nil, -1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			var at []int64
			for n := 1; n <= 5; n++ {
				if n == 1 {
					at = append(at, int64(headerSize))
				} else {
					at = append(at, s.last().size)
				}
				add(t, s, n, n)
			}
			_ = s.Close()
			path := segments(t, dir)[0]
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, row.change(b, at), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s = open(t, dir, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			offset := int64(0)
			if row.offset >= 0 {
				offset = at[row.offset]
			}
			if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, filepath.Base(path)) || !strings.Contains(text, fmt.Sprintf("offset=%d ", offset)) {
				t.Errorf("log: %s", text)
			}
			same(t, "damaged", s.Stats().Damaged, row.damaged)
			if _, err := os.Stat(fmt.Sprintf("%s.%d%s", path, offset, badSuffix)); err != nil {
				t.Error(err)
			}
			_ = s.Close()
			s = open(t, dir) // found once
			same(t, "damaged at the next start", s.Stats().Damaged, 0)
			same(t, "left", numbers(t, s), row.want)
			if s.Trim() != nil || s.Stats().Bytes != s.aside {
				t.Errorf("stats %+v, aside %d", s.Stats(), s.aside)
			}
		})
	}
}

func TestDamageOfWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, 1, 3)
	f, err := os.OpenFile(s.last().path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{'!'}, int64(headerSize)+50); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	same(t, "left", numbers(t, s), []int{2, 3})
	st := s.Stats()
	same(t, "records, events, damaged", fmt.Sprint(st.Records, st.Events, st.Damaged), "0 0 1")
}

func TestNewerSegmentIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, 1, 1)
	path := s.last().path
	_ = s.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[8:], Version+1)
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], table))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "upgrade") {
		t.Fatalf("error = %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
		t.Errorf("it was touched: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "--spool-dir") {
		t.Errorf("a file: %v", err)
	}
	strange := filepath.Join(dir, "x"+suffix)
	if err := os.WriteFile(strange, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "none of its segments") {
		t.Errorf("a file of another name: %v", err)
	}
	if err := os.Rename(strange, filepath.Join(dir, "0000000000000001.spool.new")); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}
