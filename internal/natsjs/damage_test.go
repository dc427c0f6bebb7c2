package natsjs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// blocks are the files of a stream's messages, oldest first.
func blocks(t testing.TB, dir, stream string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no blocks of %s: %v", stream, err)
	}
	slices.SortFunc(list, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return list
}

func flip(t testing.TB, path string, at func(size int) int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at(len(b))] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cutShort(t testing.TB, path string, by func(size int64) int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, by(info.Size()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a NATS server makes of damaged files, and what we make of that. A server starts with what it can read, and tells no client.
func TestDamage(t *testing.T) {
	index := func(block string) string { return filepath.Join(filepath.Dir(block), "index.db") }
	for _, row := range []struct {
		name, stream string
		do           func(t *testing.T, blocks []string)
		found        string // what Damage says, "" when nothing is lost
	}{
		{"nothing", events.StreamDecisions, func(*testing.T, []string) {}, ""},
		{"a broken index", events.StreamDecisions, func(t *testing.T, b []string) { flip(t, index(b[0]), func(n int) int { return n / 2 }) }, ""},
		{"no index", events.StreamDecisions, func(t *testing.T, b []string) { _ = os.Remove(index(b[0])) }, ""},
		{"a bit of the decisions", events.StreamDecisions, func(t *testing.T, b []string) {
			_ = os.Remove(index(b[0]))
			flip(t, b[0], func(n int) int { return n / 2 })
		}, "HUOMA_DECISIONS"},
		{"a block of the decisions", events.StreamDecisions, func(t *testing.T, b []string) { _ = os.Remove(b[1]) }, "HUOMA_DECISIONS has lost messages in its middle"},
		{"the end of the decisions", events.StreamDecisions, func(t *testing.T, b []string) {
			cutShort(t, b[len(b)-1], func(n int64) int64 { return n - 100 })
		}, "HUOMA_DECISIONS ends at step"},
		{"the end of the events", events.StreamEvents, func(t *testing.T, b []string) {
			_ = os.Remove(index(b[0])) // with which the server would know how far they went
			cutShort(t, b[len(b)-1], func(n int64) int64 { return n - 100 })
		}, "HUOMA_EVENTS ends at sequence"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := natstest.New(t, natstest.WithStoreDir(dir))
			c := connect(t, s.URL())
			if _, err := c.Ensure(testContext(t), Config{Partitions: 1}); err != nil {
				t.Fatal(err)
			}
			filler := strings.Repeat("x", 400_000)
			last := uint64(0)
			for i := range 60 {
				appendRecords(t, c, 0, i+1, i+1)
				commit := &events.Commit{Version: events.CommitVersion, Step: uint64(i + 1), Owner: filler, Reached: events.Place{Seq: uint64(i + 1)}}
				b, err := commit.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if last, err = c.AppendCommit(testContext(t), 0, last, b); err != nil {
					t.Fatal(err)
				}
			}
			snap := &events.Snapshot{Version: events.SnapshotVersion, Step: 60, CommitSeq: last, Reached: events.Place{Seq: 60}}
			b, err := snap.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SaveSnapshot(testContext(t), 0, b); err != nil {
				t.Fatal(err)
			}
			s.Stop()
			row.do(t, blocks(t, dir, row.stream))
			s.Start()
			c = connect(t, s.URL())
			found, err := c.Damage(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{events.StreamEvents, events.StreamDecisions} {
				info, err := c.streamInfo(testContext(t), name)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d to %d, %d messages, %d gone", name, info.State.FirstSeq, info.State.LastSeq, info.State.Msgs, info.State.NumDeleted)
			}
			if got := strings.Join(found, "; "); row.found == "" && got != "" || !strings.Contains(got, row.found) {
				t.Errorf("found %q, want %q", got, row.found)
			}
		})
	}
}

// A snapshot that is cut, flipped, of a newer version or ahead of the log is named.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	_, c := install(t, 1)
	whole := func(version int, step uint64) []byte {
		b, err := (&events.Snapshot{Version: version, Step: step}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := whole(events.SnapshotVersion, 0)
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 4
	for _, row := range []struct {
		name  string
		b     []byte
		found string
	}{
		{"whole", good, ""}, {"cut", good[:len(good)/2], "not usable"}, {"flipped", flipped, "not usable"}, {"newer", whole(events.SnapshotVersion+1, 0), "upgrade"},
		{"ahead of the log", whole(events.SnapshotVersion, 7), "remove the snapshot"},
	} {
		if err := c.SaveSnapshot(testContext(t), 0, row.b); err != nil {
			t.Fatal(err)
		}
		found, err := c.Damage(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(found, "; "); row.found == "" && got != "" || !strings.Contains(got, row.found) {
			t.Errorf("%s: found %q, want %q", row.name, got, row.found)
		}
	}
}

// Bits of a snapshot's pieces are flipped on the server's disk: it is not waited for, and the next snapshot takes its place.
func TestSnapshotFlippedOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := natstest.New(t, natstest.WithStoreDir(dir))
	c := connect(t, s.URL())
	if _, err := c.Ensure(testContext(t), Config{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSnapshot(testContext(t), 0, make([]byte, 3*snapshotChunk)); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	list := blocks(t, dir, "OBJ_"+events.BucketState)
	flip(t, list[0], func(n int) int { return n / 2 })
	_ = os.Remove(filepath.Join(filepath.Dir(list[0]), "index.db"))
	s.Start()
	c = connect(t, s.URL())
	_, err := c.LoadSnapshot(testContext(t), 0)
	if !errors.Is(err, events.ErrDamaged) && !errors.Is(err, events.ErrNotFound) { // the server drops what is behind the bit too, and that may be all
		t.Fatalf("the snapshot: %v", err)
	}
	if err := c.SaveSnapshot(testContext(t), 0, []byte("next")); err != nil {
		t.Fatal(err)
	}
	if b, err := c.LoadSnapshot(testContext(t), 0); err != nil || string(b) != "next" {
		t.Errorf("the next snapshot: %q, %v", b, err)
	}
}

// A piece of a snapshot is gone.
func TestSnapshotWithoutAPiece(t *testing.T) {
	t.Parallel()
	_, c := install(t, 1)
	if err := c.SaveSnapshot(testContext(t), 0, make([]byte, 3*snapshotChunk)); err != nil {
		t.Fatal(err)
	}
	st, err := c.js.Stream(testContext(t), "OBJ_"+events.BucketState)
	if err == nil {
		err = st.DeleteMsg(testContext(t), 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.LoadSnapshot(testContext(t), 0)
	wantErr(t, err, events.ErrDamaged)
}
