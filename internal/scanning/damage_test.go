package scanning_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/scanning"
)

// heard is a log that a test waits for words in.
type heard struct {
	mu sync.Mutex
	b  strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heard) has(words string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(h.b.String(), words)
}

func streams(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// What has been decided is damaged while no worker runs; the next one names it, mends what the log can mend, and stops at what it cannot.
func TestDamaged(t *testing.T) {
	snapshot := func(t *testing.T, s *story, change func([]byte) []byte) {
		b, err := s.conn.LoadSnapshot(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.conn.SaveSnapshot(t.Context(), 0, change(slices.Clone(b))); err != nil {
			t.Fatal(err)
		}
	}
	last := func(t *testing.T, s *story) (*events.Commit, uint64) {
		payload, seq, err := s.conn.LastCommit(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.ParseCommit(payload)
		if err != nil {
			t.Fatal(err)
		}
		return c, seq
	}
	remove := func(t *testing.T, js jetstream.JetStream, stream string, seq uint64) {
		st, err := js.Stream(t.Context(), stream)
		if err == nil {
			err = st.DeleteMsg(t.Context(), seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		do    func(t *testing.T, s *story, js jetstream.JetStream)
		says  string
		mends bool // everything is decided in the end, as if nothing had been
	}{
		{"a snapshot is cut", func(t *testing.T, s *story, _ jetstream.JetStream) {
			snapshot(t, s, func(b []byte) []byte { return b[:len(b)/2] })
		}, "snapshot is not usable", true},
		{"a bit of a snapshot is flipped", func(t *testing.T, s *story, _ jetstream.JetStream) {
			snapshot(t, s, func(b []byte) []byte { b[len(b)/2] ^= 8; return b })
		}, "snapshot is not usable", true},
		{"a piece of a snapshot is gone", func(t *testing.T, s *story, js jetstream.JetStream) {
			st, err := js.Stream(t.Context(), "OBJ_"+events.BucketState)
			if err == nil {
				err = st.Purge(t.Context(), jetstream.WithPurgeSubject("$O."+events.BucketState+".C.>"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "snapshot is not usable", true},
		{"a snapshot is a newer program's", func(t *testing.T, s *story, _ jetstream.JetStream) {
			snapshot(t, s, func([]byte) []byte {
				b, err := (&events.Snapshot{Version: events.SnapshotVersion + 1}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		}, "upgrade it", true},
		{"the end of the decisions is lost", func(t *testing.T, s *story, js jetstream.JetStream) {
			_, seq := last(t, s)
			remove(t, js, events.StreamDecisions, seq)
		}, "remove the snapshot", false},
		{"the end of the decisions is lost, and the snapshot removed", func(t *testing.T, s *story, js jetstream.JetStream) {
			_, seq := last(t, s)
			remove(t, js, events.StreamDecisions, seq)
			store, err := js.ObjectStore(t.Context(), events.BucketState)
			if err == nil {
				err = store.Delete(t.Context(), "snapshot.0")
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "partition taken over", true},
		{"the last commit record cannot be read", func(t *testing.T, s *story, _ jetstream.JetStream) {
			_, seq := last(t, s)
			if _, err := s.conn.AppendCommit(t.Context(), 0, seq, []byte(`{"v":1,"step`)); err != nil {
				t.Fatal(err)
			}
		}, "commit record", false},
		{"the last commit record is a newer program's", func(t *testing.T, s *story, _ jetstream.JetStream) {
			c, seq := last(t, s)
			c.Version++
			b, err := c.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.conn.AppendCommit(t.Context(), 0, seq, b); err != nil {
				t.Fatal(err)
			}
		}, "upgrade it", false},
		{"the end of the events is lost", func(t *testing.T, s *story, _ jetstream.JetStream) {
			c, seq := last(t, s)
			c.Step, c.Reached.Seq = c.Step+1, c.Reached.Seq+1000
			b, err := c.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.conn.AppendCommit(t.Context(), 0, seq, b); err != nil {
				t.Fatal(err)
			}
		}, "its end is lost", false},
		{"an event amid a replay is lost, and the snapshot with it", func(t *testing.T, s *story, js jetstream.JetStream) {
			remove(t, js, events.StreamEvents, 5)
			snapshot(t, s, func(b []byte) []byte { return b[:len(b)/2] })
		}, "its input has been trimmed or altered", false},
		{"a record is lost before it was decided", func(t *testing.T, s *story, js jetstream.JetStream) {
			s.tell(1)
			seq, err := s.conn.LastSeq(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			lost := len(mustSplit(t, js, seq))
			s.tell(1)
			remove(t, js, events.StreamEvents, seq)
			s.sent -= lost
		}, "records of a gateway are missing", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			url := natstest.Start(t)
			conn := connect(t, url, 1)
			_, stop := work(t, conn, "w", 1)
			s := newStory(t, conn, 1, 3)
			s.tell(20)
			await(t, conn, 1, s.sent)
			stop()
			row.do(t, s, streams(t, url))
			h := new(heard)
			work(t, conn, "next", 1, func(o *scanning.Options) { o.Log = slog.New(slog.NewTextHandler(h, nil)) })
			eventually(t, func() bool { return h.has(row.says) })
			if !row.mends {
				if h.has("partition taken over") {
					t.Error("the partition was taken over all the same")
				}
				return
			}
			s.tell(3)
			await(t, conn, 1, s.sent)
			check(t, conn, 1, s.sent)
		})
	}
}

// mustSplit are the events of a stored message.
func mustSplit(t testing.TB, js jetstream.JetStream, seq uint64) []string {
	t.Helper()
	st, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(context.WithoutCancel(t.Context()), seq)
	if err != nil {
		t.Fatal(err)
	}
	list, err := events.Split(m.Data)
	if err = errors.Join(err); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(list))
	for i := range list {
		out[i] = string(list[i])
	}
	return out
}
