package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huoma/huoma/internal/token"
)

// A stream sends a picture as it opens and then at the begin of each minute, with a beat at least every 15 seconds in between.
func TestPicturesComeAsTheClockBeginsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Truncate(time.Minute).Add(time.Minute + 52*time.Second + 300*time.Millisecond)
		<-time.After(time.Until(begin)) // in the bubble, where nobody waits
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var pictures []time.Time
		var sent []string
		newest := time.Now()
		l := liveStream{
			now: time.Now, look: func(now time.Time) (screenState, error) {
				return screenState{id: fmt.Sprint(token.MinuteOf(now)), event: "picture", data: now.Format("15:04")}, nil
			},
			send: func(b []byte) error {
				if gap := time.Since(newest); gap > heartbeat {
					t.Errorf("nothing came for %s", gap)
				}
				newest = time.Now()
				sent = append(sent, string(b))
				if strings.Contains(string(b), "event: picture") {
					pictures = append(pictures, newest)
				}
				return nil
			},
		}
		if err := l.run(ctx); err != nil {
			t.Fatal(err)
		}
		next := begin.Truncate(time.Minute).Add(time.Minute)
		if want := []time.Time{begin, next, next.Add(time.Minute), next.Add(2 * time.Minute)}; !slices.EqualFunc(pictures, want, time.Time.Equal) {
			t.Errorf("pictures at %v, want %v", pictures, want)
		}
		if want := fmt.Sprintf("id: %d\nevent: picture\ndata: %q\n\n", token.MinuteOf(begin), begin.Format("15:04")); sent[1] != want {
			t.Errorf("sent %q, want %q", sent[1], want)
		}
	})
}

// Who comes back with the picture that is still to be shown is sent none, and who comes late is sent the newest.
func TestLastEventIDOfAScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for last, want := range map[string]bool{"7": false, "6": true, "": true} {
			ctx, cancel := context.WithCancel(t.Context())
			var sent strings.Builder
			l := liveStream{
				now: time.Now, last: last, look: func(time.Time) (screenState, error) { return screenState{id: "7", event: "picture", data: 1}, nil },
				send: func(b []byte) error { sent.Write(b); return nil },
			}
			time.AfterFunc(time.Minute, cancel)
			if err := l.run(ctx); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(sent.String(), "event: picture"); got != want || strings.Count(sent.String(), "beat") < 3 {
				t.Errorf("last %q: %q", last, sent.String())
			}
		}
	})
}

// A stream ends with what can never be shown again, with an error of its source, and with a reader who has gone.
func TestLiveStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		for name, row := range map[string]struct {
			look func() (screenState, error)
			send func(string) error
			want error
		}{
			"revoked": {look: func() (screenState, error) { return screenState{id: "closed", event: "closed", over: true}, nil }},
			"failing": {look: func() (screenState, error) { return screenState{}, gone }, want: gone},
			"left":    {send: func(string) error { return gone }, want: gone},
			"left with the picture": {send: func(s string) error {
				if strings.Contains(s, "event:") {
					return gone
				}
				return nil
			}, want: gone},
		} {
			l := liveStream{now: time.Now, look: func(time.Time) (screenState, error) { return screenState{id: "1", event: "picture"}, nil }, send: func([]byte) error { return nil }}
			if row.look != nil {
				l.look = func(time.Time) (screenState, error) { return row.look() }
			}
			if row.send != nil {
				l.send = func(b []byte) error { return row.send(string(b)) }
			}
			if err := l.run(t.Context()); !errors.Is(err, row.want) {
				t.Errorf("%s: %v, want %v", name, err, row.want)
			}
		}
	})
}

func FuzzKioskLink(f *testing.F) {
	k, err := token.NewKeyring(strings.NewReader(strings.Repeat("k", 64)), time.Unix(0, 0))
	if err != nil {
		f.Fatal(err)
	}
	good := kioskLink{5, 2, "lobby"}.sign(k)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good + "A")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if l, ok := openKiosk(k, s); ok && l.sign(k) != s {
			t.Fatalf("%q opens as %+v, which is signed %q", s, l, l.sign(k))
		}
	})
}

func TestKioskLinks(t *testing.T) {
	k, err := token.NewKeyring(strings.NewReader(strings.Repeat("k", 64)), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []kioskLink{{5, 2, "a"}, {1<<60 - 1, 8, strings.Repeat("x", maxScreen)}} {
		text := l.sign(k)
		if got, ok := openKiosk(k, text); !ok || got != l {
			t.Errorf("%+v is read as %+v, %v", l, got, ok)
		}
		for i := range text {
			for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. \n" {
				if changed := text[:i] + string(c) + text[i+1:]; changed != text {
					if got, ok := openKiosk(k, changed); ok {
						t.Fatalf("%q for %q is read as %+v", changed, text, got)
					}
				}
			}
		}
	}
	if _, ok := openKiosk(k, kioskLink{5, 2, ""}.sign(k)); ok {
		t.Error("a link of no device is good")
	}
}
