package gateway_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// heard is a log that a test looks for words in.
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

// A definition in the bucket that cannot be read is named and made again from the log, byte for byte, whether a gateway finds it at its start
// or while it runs; a newer program's is left alone; and none hides the others.
func TestDamagedDefinition(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"cut", func(b []byte) []byte { return b[:len(b)/2] }},
		{"no JSON", func(b []byte) []byte { return []byte("\x00\xff") }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"an empty object", func([]byte) []byte { return []byte("{}") }},
		{"no event", func(b []byte) []byte { return []byte(strings.Replace(string(b), `"event":"0`, `"event":"","x":"`, 1)) }},
		{"another code's", func(b []byte) []byte { return []byte(strings.Replace(string(b), `"id":"`, `"id":"x`, 1)) }},
		{"a field of another kind", func(b []byte) []byte { return []byte(strings.Replace(string(b), `"revision":2`, `"revision":"2"`, 1)) }},
		{"an older version there never was", func(b []byte) []byte { return []byte(strings.Replace(string(b), `"v":1`, `"v":0`, 1)) }},
	} {
		for _, running := range []bool{false, true} {
			t.Run(row.name+map[bool]string{false: " at the start", true: " while it runs"}[running], func(t *testing.T) {
				t.Parallel()
				conn := connect(t, natstest.Start(t), 2)
				h := newGateway(t, conn, func(o *gateway.Options) { o.Limits.RepairAfter = time.Hour }) // who does not mend in this test
				h.work()
				c, other := h.mint(""), h.mint("")
				id := c["id"].(string)
				h.admin("PATCH", "/v1/codes/"+id, `{"name":"second"}`).want(t, 200)
				h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
				whole, rev, err := conn.Definition(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				damage := func() {
					t.Helper()
					if string(row.change(whole)) == string(whole) {
						t.Fatal("nothing was changed")
					}
					if _, err := conn.UpdateDefinition(t.Context(), id, row.change(whole), rev); err != nil {
						t.Fatal(err)
					}
				}
				if !running {
					damage()
				}
				said := new(heard)
				g := newGateway(t, conn, func(o *gateway.Options) {
					o.Limits.RepairAfter = 20 * time.Millisecond
					o.Log = slog.New(slog.NewTextHandler(said, nil))
				})
				if running {
					damage()
				}
				g.scan(other).want(t, 302)
				g.until("it is made again", func() bool { return said.has("was made again from the log") })
				if !said.has("level=ERROR msg=\"a definition in the bucket is damaged") || !said.has(id) {
					t.Error("nothing was said")
				}
				if got, _, err := conn.Definition(t.Context(), id); err != nil || string(got) != string(whole) {
					t.Errorf("the definition is\n%s\nand was\n%s: %v", got, whole, err)
				}
				g.scan(c).want(t, 302)
				if got := g.admin("PATCH", "/v1/codes/"+id, `{"name":"third"}`, `If-Match: "2"`).want(t, 200).json(t); got["revision"] != 3.0 {
					t.Errorf("changed: %v", got)
				}
				if g.metric("definitions_mended_total") != 1 {
					t.Error("it is not counted")
				}
			})
		}
	}
}

func TestDefinitionThatNobodyCanMend(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	h := newGateway(t, conn, func(o *gateway.Options) { o.Limits.RepairAfter = time.Hour })
	c := h.mint("")
	id := c["id"].(string)
	_, rev, err := conn.Definition(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	newer := `{"v":2,"definition":{"id":"` + id + `"}}`
	if _, err := conn.UpdateDefinition(t.Context(), id, []byte(newer), rev); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.CreateDefinition(t.Context(), "0123456789ab", []byte("{")); err != nil {
		t.Fatal(err)
	}
	said := new(heard)
	g := newGateway(t, conn, func(o *gateway.Options) {
		o.Limits.RepairAfter = 20 * time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(said, nil))
	})
	g.until("one is not in the log", func() bool { return said.has("restore the bucket") })
	if !said.has("upgrade it") || said.has("was made again") {
		t.Error("the newer one was not told of, or something was made up")
	}
	if got, _, err := conn.Definition(t.Context(), id); err != nil || string(got) != newer {
		t.Errorf("the newer definition is %s now: %v", got, err)
	}
	g.scan(c, "Accept: application/json").want(t, 503)
}

// A snapshot that is damaged or a newer program's: a gateway that starts says so and reads every commit record instead, and knows the same.
func TestStartsWithoutItsSnapshot(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 8; return b },
		"empty":   func([]byte) []byte { return nil },
		"newer": func([]byte) []byte {
			b, _ := (&events.Snapshot{Version: events.SnapshotVersion + 1}).Marshal()
			return b
		},
		"another partition's": func([]byte) []byte {
			b, _ := (&events.Snapshot{Version: events.SnapshotVersion, Partition: 7}).Marshal()
			return b
		},
		"a piece is gone": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := natstest.Start(t)
			conn := connect(t, url, 2)
			h := newGateway(t, conn)
			stop := h.work()
			locked := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"id":"r","limit":2,"window":"30s","for":"1h"}]`)
			capped := h.mint(`"max_scans":1,"targets":[{"url":"https://example.com/a"}]`)
			cookie := "Cookie: " + strings.Split(h.scan(locked).header.Get("Set-Cookie"), ";")[0]
			h.until("the visitor is locked", func() bool { return h.scan(locked, cookie).status == 429 })
			h.scan(capped).want(t, 302)
			h.until("the cap is used up", func() bool { return h.scan(capped).status == 410 })
			stop() // with a snapshot of every partition
			for p := range 2 {
				b, err := conn.LoadSnapshot(t.Context(), p)
				if errors.Is(err, events.ErrNotFound) {
					continue
				}
				if err == nil && change != nil {
					err = conn.SaveSnapshot(t.Context(), p, change(b))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if change == nil {
				nc, err := nats.Connect(url)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				js, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				st, err := js.Stream(t.Context(), "OBJ_"+events.BucketState)
				if err == nil {
					err = st.Purge(t.Context(), jetstream.WithPurgeSubject("$O."+events.BucketState+".C.>"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			said := new(heard)
			g := newGateway(t, conn, func(o *gateway.Options) { o.Log = slog.New(slog.NewTextHandler(said, nil)) })
			if !said.has("a snapshot is not usable") || name == "newer" && !said.has("upgrade") {
				t.Error("nothing was said")
			}
			g.scan(locked, cookie).want(t, 429)
			g.scan(locked).want(t, 302)
			g.scan(capped).want(t, 410)
			for _, c := range []map[string]any{locked, capped} {
				if a, b := fmt.Sprint(h.stats(c)["counts"]), fmt.Sprint(g.stats(c)["counts"]); a != b {
					t.Errorf("stats differ: %s and %s", a, b)
				}
			}
		})
	}
}

// NATS has lost a definition from its files and started without it: a gateway that starts finds that out from what the scan worker knows. One that
// somebody has removed stays removed.
func TestLostDefinition(t *testing.T) {
	url := natstest.Start(t)
	conn := connect(t, url, 2)
	h := newGateway(t, conn)
	h.work()
	lost, removed := h.mint(""), h.mint("")
	h.until("the worker has heard", func() bool { return h.gate.Outbox() == 0 })
	id := lost["id"].(string)
	whole, _, err := conn.Definition(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "KV_"+events.BucketCodes)
	if err == nil {
		err = st.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+events.BucketCodes+"."+id))
	}
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), events.BucketCodes)
	if err == nil {
		err = kv.Delete(t.Context(), removed["id"].(string))
	}
	if err != nil {
		t.Fatal(err)
	}
	said := new(heard)
	g := newGateway(t, conn, func(o *gateway.Options) {
		o.Limits.RepairAfter = 20 * time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(said, nil))
	})
	g.until("it is made again", func() bool { return said.has("was made again from the log") })
	if got, _, err := conn.Definition(t.Context(), id); err != nil || string(got) != string(whole) {
		t.Errorf("the definition is\n%s\nand was\n%s: %v", got, whole, err)
	}
	if !said.has("the bucket has lost a definition") {
		t.Error("nothing was said")
	}
	g.scan(lost).want(t, 302)
	g.admin("PATCH", "/v1/codes/"+id, `{"name":"x"}`).want(t, 200)
	if _, _, err := conn.Definition(t.Context(), removed["id"].(string)); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
	if g.metric("definitions_mended_total") != 1 {
		t.Error("another was made again too")
	}
}
