package natsjs

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// all reads the whole ledger.
func all(t testing.TB, im *Imports) (list []events.ImportEntry, last uint64) {
	t.Helper()
	last, _, err := im.Read(testContext(t), 1, ImportScope{}, func(e events.ImportEntry) error { list = append(list, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return list, last
}

func TestImportsNeedAnInstallation(t *testing.T) {
	c := connect(t, natstest.Start(t))
	if _, err := c.Imports(testContext(t), true); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("without an installation: %v", err)
	}
}

// A ledger that forgets would let everything in a second time.
func TestImportsRefuseALedgerThatForgets(t *testing.T) {
	_, c := install(t, 1)
	if _, err := c.Imports(testContext(t), true); err != nil {
		t.Fatal(err)
	}
	cfg := importStream(1)
	cfg.MaxBytes = 1 << 20
	if _, err := c.js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	var wrong *IncompatibleError
	if _, err := c.Imports(testContext(t), true); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "a second time") {
		t.Errorf("with a limit: %v", err)
	}
}

// Two that announce at once, over a connection that is cut and a server that is restarted: what one of them is told, it can rely on.
func TestImportsUnderTheFence(t *testing.T) {
	s, direct := install(t, 1)
	if _, err := direct.Imports(testContext(t), true); err != nil {
		t.Fatal(err)
	}
	proxy := natstest.NewProxy(t, s.URL())
	var both [2]*Imports
	for i, url := range []string{s.URL(), proxy.URL()} {
		im, err := connect(t, url).Imports(testContext(t), true)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = im
	}
	key, err := both[0].Key(testContext(t), true)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := both[1].Key(testContext(t), true); err != nil || string(again) != string(key) {
		t.Errorf("two keys: %v", err)
	}
	stored := 0
	for i := range 60 {
		switch i {
		case 20:
			s.Restart()
		case 40:
			proxy.Cut()
			proxy.Mend()
		}
		im := both[i%2]
		list, last := all(t, im)
		if len(list) != stored {
			t.Fatalf("round %d: %d entries, want %d", i, len(list), stored)
		}
		run := []string{"a", "b"}[i%2]
		next := []events.ImportEntry{{Run: run, Chunk: uint64(i), Day: 1, IDs: make([]byte, 16)}, {Run: run, Chunk: uint64(i), Day: 2, IDs: make([]byte, 16)}}
		for {
			got, err := im.Announce(testContext(t), last, next)
			if err == nil {
				if got != last+2 {
					t.Fatalf("round %d: announced up to %d, want %d", i, got, last+2)
				}
				break
			}
			if !errors.Is(err, events.ErrConflict) {
				t.Fatal(err)
			}
			// Its acknowledgement got lost, or it never arrived: the ledger says which.
			list, last = all(t, im)
			if len(list) > stored {
				next = next[len(list)-stored:]
			}
			if len(next) == 0 {
				break
			}
		}
		stored += 2
	}
	if _, err := both[0].Close(testContext(t), events.ImportEntry{Run: "a", Closes: []uint64{2, 3}}); err != nil {
		t.Fatal(err)
	}
	for _, im := range both {
		if list, _ := all(t, im); len(list) != stored+1 {
			t.Errorf("%d entries, want %d", len(list), stored+1)
		}
	}
	if _, err := both[1].Announce(testContext(t), 1, []events.ImportEntry{{Run: "b", Chunk: 1, Day: 1}}); !errors.Is(err, events.ErrConflict) {
		t.Errorf("behind the fence: %v", err)
	}
}

// What stands in the ledger and is none of ours is not passed over.
func TestImportsCannotReadWhatIsNotTheirs(t *testing.T) {
	_, c := install(t, 1)
	im, err := c.Imports(testContext(t), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.js.Publish(testContext(t), events.ImportDaySubject("soon"), []byte("x"), jetstream.WithMsgID("1")); err != nil {
		t.Fatal(err)
	}
	_, _, err = im.Read(testContext(t), 1, ImportScope{}, func(events.ImportEntry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "entry 1 of HUOMA_IMPORTS cannot be read") {
		t.Errorf("read: %v", err)
	}
}
