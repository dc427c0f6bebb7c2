package token

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// noon is a minute in the middle of the modulo.
var noon = MinuteOf(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))

func mustSealLive(t testing.TB, k *Keyring, l Live) string {
	t.Helper()
	s, err := k.SealLive(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A picture opens in its minute and the next, is told to be old until the modulo is round, and is forged at every other time.
func TestLiveWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := testRingOf(t)
		l := Live{
			Picture: Picture{Code: CodeID(rapid.Uint64Range(0, maxCodeID).Draw(t, "code")), Variant: rapid.IntRange(1, Variants).Draw(t, "variant")},
			Device:  rapid.Uint32Range(0, Devices-1).Draw(t, "device"), Minute: Minute(rapid.Int64Range(0, 1<<40).Draw(t, "minute")),
		}
		text, err := k.SealLive(l)
		if err != nil {
			t.Fatal(err)
		}
		if !IsLive(text) || len(text) != LiveLength || strings.Trim(text, alphanumeric) != "" {
			t.Fatalf("%q is no live token", text)
		}
		if again, _ := k.SealLive(l); again != text {
			t.Fatalf("sealed twice: %s, %s", text, again)
		}
		for _, f := range formats {
			if other, err := k.SealAs(f, l.Picture); err != nil || IsLive(other) {
				t.Fatalf("%s: %s is live, or %v", f, other, err)
			}
		}
		if _, err := k.OpenWith(text, nil); !errors.Is(err, ErrForged) {
			t.Fatalf("opened as a printed picture: %v", err)
		}
		later := rapid.OneOf(rapid.Int64Range(-3, 4), rapid.Int64Range(LiveModulo-3, LiveModulo+3), rapid.Int64Range(-5000, 5000)).Draw(t, "later")
		got, err := k.OpenLive(text, l.Minute+Minute(later))
		switch {
		case later == 0 || later == 1:
			if err != nil || got != l {
				t.Fatalf("%d minutes later: %+v, %v, want %+v", later, got, err, l)
			}
		case later > 1 && later < LiveModulo:
			if !errors.Is(err, ErrStale) || errors.Is(err, ErrForged) || got != l {
				t.Fatalf("%d minutes later: %+v, %v, want %+v, stale", later, got, err, l)
			}
		case !errors.Is(err, ErrForged) || ReasonOf(err) != ReasonSeal || got != (Live{}):
			t.Fatalf("%d minutes later: %+v, %v", later, got, err)
		}
	})
}

func TestEveryChangedCharacterOfALiveTokenIsRefused(t *testing.T) {
	k, _ := mustRotate(t, testRing(t, 1), 2, created, created)
	for _, l := range []Live{
		{Picture{Code: 0x123456789abcdef, Variant: 3}, 77, noon}, {Picture{Code: 0, Variant: 1}, 0, 0}, {Picture{Code: maxCodeID, Variant: 8}, Devices - 1, noon},
	} {
		token := mustSealLive(t, k, l)
		for _, now := range []Minute{l.Minute, l.Minute + 1, l.Minute + 2, l.Minute + 1000} {
			for i := range len(token) {
				for c := range 256 {
					if byte(c) == token[i] {
						continue
					}
					got, err := k.OpenLive(token[:i]+string([]byte{byte(c)})+token[i+1:], now)
					if !errors.Is(err, ErrForged) || got != (Live{}) || ReasonOf(err) == "" {
						t.Fatalf("position %d, byte %#x: got %+v, %v", i, c, got, err)
					}
				}
			}
		}
	}
}

// A screen's picture says nothing of another screen's, nor of another minute's: all but the header differs.
func TestLiveTokensOfScreensAndMinutesAreUnrelated(t *testing.T) {
	k := testRing(t, 3)
	seen := map[string]Live{}
	for device := range uint32(40) {
		for minute := range Minute(40) {
			l := Live{Picture{Code: 9, Variant: 1}, device, noon + minute}
			secret := mustSealLive(t, k, l)[8:] // 40 bits are in the clear
			if other, again := seen[secret]; again {
				t.Fatalf("%+v and %+v are sealed alike", l, other)
			}
			seen[secret] = l
		}
	}
}

func TestSealLiveRefuses(t *testing.T) {
	k := testRing(t, 7)
	good := Live{Picture{Code: 1, Variant: 1}, 1, noon}
	for what, change := range map[string]func(*Live){
		"61 bits":     func(l *Live) { l.Code = 1 << 60 },
		"variant 9":   func(l *Live) { l.Variant = 9 },
		"a number":    func(l *Live) { l.Number = 1 },
		"a device":    func(l *Live) { l.Device = Devices },
		"before 1970": func(l *Live) { l.Minute = -1 },
	} {
		l := good
		change(&l)
		if s, err := k.SealLive(l); err == nil || s != "" {
			t.Errorf("%s: sealed as %q", what, s)
		}
	}
	if got := k.LiveTracking(Live{Picture{Code: 1, Variant: 0}, 1, noon}); got != "" {
		t.Errorf("a picture that cannot be sealed has the tracking code %s", got)
	}
}

// The tracking code tells screens and variants, and not minutes or keys; nor is it a printed picture's.
func TestLiveTracking(t *testing.T) {
	k := testRing(t, 7)
	rotated, _ := mustRotate(t, k, 8, created, created)
	a := Live{Picture{Code: 1, Variant: 1}, k.Device(1, "lobby"), noon}
	later := a
	later.Minute++
	other := a
	other.Device = k.Device(1, "door")
	if got := k.LiveTracking(a); len(got) != TrackingLength || got != k.LiveTracking(later) || got != rotated.LiveTracking(a) || got == k.LiveTracking(other) || got == k.Tracking(a.Picture) {
		t.Errorf("tracking %s, a minute later %s, after a rotation %s, another screen's %s, printed %s", got, k.LiveTracking(later), rotated.LiveTracking(a), k.LiveTracking(other), k.Tracking(a.Picture))
	}
	if k.Device(1, "lobby") == k.Device(2, "lobby") || k.Device(1, "lobby") != rotated.Device(1, "lobby") {
		t.Error("a device's number is another after a rotation, or the same for another code")
	}
}

func TestLiveKeysOfRetiredKeysOpenNothing(t *testing.T) {
	k := testRing(t, 7)
	l := Live{Picture{Code: 5, Variant: 2}, 3, noon}
	text := mustSealLive(t, k, l)
	k, _ = mustRotate(t, k, 8, created, created)
	end := noon.Time().Add(30 * time.Second)
	k = mustRetire(t, k, 0, end)
	if got, err := k.OpenLiveAt(text, end.Add(-time.Second)); err != nil || got != l {
		t.Errorf("before its key is retired: %+v, %v", got, err)
	}
	if _, err := k.OpenLiveAt(text, end); ReasonOf(err) != ReasonUnknownKey {
		t.Errorf("after: %v (%s)", err, ReasonOf(err))
	}
	if _, err := k.At(end).OpenLive(text, noon); ReasonOf(err) != ReasonUnknownKey {
		t.Errorf("the ring of that time: %v (%s)", err, ReasonOf(err))
	}
}

// Guesses push no keys out, and neither any number of screens nor of minutes makes more of them than there is room for.
func TestLiveKeysThatAreKeptAreBounded(t *testing.T) {
	k := testRing(t, 7)
	d := k.get().newest().live
	text := mustSealLive(t, k, Live{Picture{Code: 5, Variant: 2}, 3, noon})
	kept := d.kept[liveKeyOf{noon, 3}]
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		raw := make([]byte, liveRawSize)
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		raw[0] = liveVersion << 5
		if _, err := k.OpenLive(encoding.EncodeToString(raw), noon); ReasonOf(err) != ReasonSeal {
			t.Fatal(err)
		}
	}
	for later := range Minute(1000) {
		if _, err := k.OpenLive(text, noon+2+later); !errors.Is(err, ErrStale) {
			t.Fatal(err)
		}
	}
	if len(d.kept) != 1 || kept == nil || d.kept[liveKeyOf{noon, 3}] != kept {
		t.Errorf("%d keys are kept after guesses", len(d.kept))
	}
	for device := range uint32(3 * liveKeysMost) {
		mustSealLive(t, k, Live{Picture{Code: 5, Variant: 2}, device, noon + Minute(device/700)})
		if len(d.kept) > liveKeysMost {
			t.Fatalf("%d keys are kept", len(d.kept))
		}
	}
	if got, err := k.OpenLive(text, noon+1); err != nil || got.Device != 3 {
		t.Errorf("keys that were dropped are not derived again: %+v, %v", got, err)
	}
}

func TestMinutes(t *testing.T) {
	for text, want := range map[string]Minute{"1970-01-01T00:00:00Z": 0, "1970-01-01T00:00:59.999Z": 0, "1970-01-01T00:01:00Z": 1, "1969-12-31T23:59:59Z": -1, "1969-12-31T23:59:00Z": -1} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := MinuteOf(at); got != want || got.Time().After(at) || !got.Time().Add(time.Minute).After(at) {
			t.Errorf("MinuteOf(%s) = %d, want %d", text, got, want)
		}
	}
}

// Opening a live picture and refusing a guess at one do the same work: see TestOpeningAndRefusingTakeTheSameTime.
func TestOpeningAndRefusingLivePicturesTakeTheSameTime(t *testing.T) {
	const batch, most = 100, 0.25
	k := testRing(t, 14)
	good := mustSealLive(t, k, Live{Picture{Code: 77, Variant: 2}, 5, noon})
	raw, err := encoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	bad := encoding.EncodeToString(raw)
	timed := func(token string) time.Duration {
		start := time.Now()
		for range batch {
			_, _ = k.OpenLive(token, noon)
		}
		return time.Since(start)
	}
	var opened, refused time.Duration
	apart := func() float64 { return math.Abs(float64(opened)/float64(refused) - 1) }
	for round := range 3000 {
		a, b := timed(good), timed(bad)
		if round == 0 || a < opened {
			opened = a
		}
		if round == 0 || b < refused {
			refused = b
		}
		if round > 20 && apart() < most/2 {
			break
		}
	}
	if apart() > most {
		t.Errorf("opening takes %v, refusing %v for %d", opened, refused, batch)
	}
}

func TestSignatures(t *testing.T) {
	k := testRing(t, 9)
	message := []byte("a screen")
	s := k.Sign("kiosk", message)
	two, _ := mustRotate(t, k, 10, created, created)
	if !k.Verify("kiosk", message, s) || !two.Verify("kiosk", message, s) || two.Sign("kiosk", message) == s {
		t.Fatal("a signature is not good under its key, or the new key does not sign")
	}
	end := created.Add(time.Hour)
	gone := mustRetire(t, two, 0, end)
	if !gone.At(end.Add(-time.Second)).Verify("kiosk", message, s) || gone.At(end).Verify("kiosk", message, s) {
		t.Error("a signature does not end with its key")
	}
	if k.Verify("other", message, s) || k.Verify("kiosk", []byte("a scream"), s) || testRing(t, 11).Verify("kiosk", message, s) {
		t.Error("another purpose, message or ring is good")
	}
	for bit := range 8 * SignatureSize {
		changed := s
		changed[bit/8] ^= 1 << (bit % 8)
		if k.Verify("kiosk", message, changed) {
			t.Errorf("bit %d may be changed", bit)
		}
	}
}

func FuzzOpenLive(f *testing.F) {
	k := testRing(f, 1)
	f.Add(mustSealLive(f, k, Live{Picture{Code: 1, Variant: 1}, 1, noon}), int64(noon))
	f.Add(mustSealLive(f, k, Live{Picture{Code: maxCodeID, Variant: 8}, Devices - 1, noon}), int64(noon+7))
	f.Add("", int64(0))
	f.Add(strings.Repeat("Q", LiveLength), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, s string, now int64) {
		l, err := k.OpenLive(s, Minute(now))
		if errors.Is(err, ErrForged) {
			if l != (Live{}) || ReasonOf(err) == "" || strings.Contains(err.Error(), string(ReasonOf(err))) && ReasonOf(err) != "" {
				t.Fatalf("%q: %+v, %v (%s)", s, l, err, ReasonOf(err))
			}
			return
		}
		if err != nil && !errors.Is(err, ErrStale) {
			t.Fatalf("%q: %v", s, err)
		}
		if again, err := k.SealLive(l); err != nil || again != s {
			t.Fatalf("%q opens as %+v, which is sealed as %q, %v", s, l, again, err)
		}
	})
}

func BenchmarkOpenLive(b *testing.B) {
	k := testRing(b, 1)
	for _, now := range []Minute{noon, noon + 5} {
		text := mustSealLive(b, k, Live{Picture{Code: 1, Variant: 1}, 1, noon})
		b.Run(fmt.Sprintf("after %d minutes", now-noon), func(b *testing.B) {
			for b.Loop() {
				_, _ = k.OpenLive(text, now)
			}
		})
	}
}
