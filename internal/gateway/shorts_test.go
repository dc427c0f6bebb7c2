package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/token"
)

// A code that a worker's snapshot tells of before its definition comes is found by its short ids.
func TestShortIDsOfASnapshot(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ring, err := token.NewKeyring(bytes.NewReader(bytes.Repeat([]byte("entropy."), 8)), now)
	if err != nil {
		t.Fatal(err)
	}
	m := newMirror()
	m.shorts = newShortIndex(ring, slog.New(slog.DiscardHandler))
	def := code.Definition{ID: token.CodeID(7).String(), Revision: 1, Profile: "wechat-static", Targets: []code.Target{{URL: "https://example.com"}}}
	m.restore(7, code.New(def).Save(), now, false)
	m.define(7, &def, now) // the same revision is no news
	want := token.Picture{Code: 7, Variant: 1}
	text, err := ring.SealAs(token.FormatShort, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.OpenWith(text, m.shorts.resolve); err != nil || got != want {
		t.Errorf("%s is of %+v, %v", text, got, err)
	}
}

// Of two pictures with one id, the code with the smaller one has it, whichever comes first, and the log says so without the id.
func TestShortIDsThatMeet(t *testing.T) {
	a, b := token.Picture{Code: 5, Variant: 2}, token.Picture{Code: 9, Variant: 1}
	for _, order := range [][]token.Picture{{a, b}, {b, a}} {
		var log bytes.Buffer
		x := newShortIndex(nil, slog.New(slog.NewTextHandler(&log, nil)))
		for _, p := range order {
			x.put(42, p)
			x.put(42, p)
		}
		if got, ok := x.resolve(42); !ok || got != a {
			t.Errorf("the id is of %+v, %v", got, ok)
		}
		if strings.Count(log.String(), "level=WARN") == 0 || !strings.Contains(log.String(), a.Code.String()) {
			t.Errorf("the log says %q", &log)
		}
	}
}
