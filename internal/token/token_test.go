package token

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testRing returns a one-key ring drawn from seed.
func testRing(t testing.TB, seed byte) *Keyring {
	t.Helper()
	k, err := NewKeyring(rand.NewChaCha8([32]byte{seed}), created)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSeal(t testing.TB, k *Keyring, p Picture) string {
	t.Helper()
	s, err := k.Seal(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTruncatedTokensAreRefused(t *testing.T) {
	k := testRing(t, 3)
	token := mustSeal(t, k, Picture{Code: 5, Variant: 1})
	for n := range Length {
		for _, part := range []string{token[:n], token[Length-n:]} {
			// As long as another format's, it is not of that format.
			other := n == shortLength || n >= sceneLeast && n <= sceneMost
			if _, err := k.Open(part); !errors.Is(err, ErrForged) || !other && ReasonOf(err) != ReasonLength {
				t.Errorf("%d characters: %v (%s)", n, err, ReasonOf(err))
			}
		}
	}
}

func TestForeignKeyIsRefused(t *testing.T) {
	ours, theirs := testRing(t, 4), testRing(t, 5)
	p := Picture{Code: 9, Variant: 2, Number: 1}
	_, err := ours.Open(mustSeal(t, theirs, p))
	if !errors.Is(err, ErrForged) || ReasonOf(err) != ReasonSeal {
		t.Errorf("got %v (%s)", err, ReasonOf(err))
	}
}

// TestEveryBitOfTheTagCounts gives the tag one wrong bit and the cipher text that opens to the right payload under
// it, so that nothing but the comparison can refuse.
func TestEveryBitOfTheTagCounts(t *testing.T) {
	k := testRing(t, 13)
	s := k.get().newest().sealer
	payload, err := Picture{Code: 11, Variant: 1, Number: 2}.pack()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * tagSize {
		tag := s.tag(&payload)
		tag[bit/8] ^= 1 << (bit % 8)
		raw := append([]byte{s.header}, tag[:]...)
		raw = append(raw, make([]byte, payloadSize)...)
		s.crypt(raw[1+tagSize:], payload[:], tag)
		if _, err := k.Open(encoding.EncodeToString(raw)); ReasonOf(err) != ReasonSeal {
			t.Errorf("bit %d: %v (%s)", bit, err, ReasonOf(err))
		}
	}
}

func TestErrorTellsNothingButThatItIsForged(t *testing.T) {
	k := testRing(t, 6)
	for _, bad := range []string{"", strings.Repeat("a", Length), strings.Repeat("7", Length)} {
		_, err := k.Open(bad)
		if err.Error() != ErrForged.Error() {
			t.Errorf("Open(%q): %q says more than %q", bad, err, ErrForged)
		}
	}
	if r := ReasonOf(errors.New("other")); r != "" {
		t.Errorf("ReasonOf a foreign error = %q", r)
	}
}

func TestSealRefuses(t *testing.T) {
	k := testRing(t, 7)
	for name, p := range map[string]Picture{
		"variant 0":        {Code: 1},
		"variant 9":        {Code: 1, Variant: 9},
		"variant -1":       {Code: 1, Variant: -1},
		"code of 61 bits":  {Code: 1 << 60, Variant: 1},
		"code of all bits": {Code: ^CodeID(0), Variant: 1},
	} {
		if s, err := k.Seal(p); err == nil {
			t.Errorf("%s: sealed as %s", name, s)
		}
		if s := k.Tracking(p); s != "" {
			t.Errorf("%s: tracking code %s", name, s)
		}
	}
}

func drawPicture(t *rapid.T) Picture {
	return Picture{
		Code:    CodeID(rapid.Uint64Range(0, maxCodeID).Draw(t, "code")),
		Variant: rapid.IntRange(1, Variants).Draw(t, "variant"),
		Number:  rapid.Uint32().Draw(t, "number"),
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), masterSize, masterSize).Draw(t, "secret")
		id := rapid.IntRange(0, MaxKeys-1).Draw(t, "id")
		m, err := newMasterKey(id, secret, created, created, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		k := newRing(keyringVersion, secret, []*masterKey{m})
		p := drawPicture(t)
		token, err := k.Seal(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(token) != Length || strings.Trim(token, b32Alphabet) != "" {
			t.Fatalf("token %q", token)
		}
		if again, _ := k.Seal(p); again != token {
			t.Fatalf("sealed twice: %s, %s", token, again)
		}
		if got, err := k.Open(token); err != nil || got != p {
			t.Fatalf("Open = %+v, %v, want %+v", got, err, p)
		}
	})
}

func TestDifferentPicturesHaveDifferentTokensAndTrackingCodes(t *testing.T) {
	k := testRing(t, 8)
	tokens, codes := map[string]Picture{}, map[string]Picture{}
	for code := range CodeID(20) {
		for variant := 1; variant <= Variants; variant++ {
			for number := range uint32(20) {
				p := Picture{code, variant, number}
				token, tracking := mustSeal(t, k, p), k.Tracking(p)
				if len(tracking) != TrackingLength || strings.Trim(tracking, trackingAlphabet) != "" {
					t.Fatalf("tracking code %q", tracking)
				}
				if q, ok := tokens[token]; ok {
					t.Fatalf("%+v and %+v are both %s", p, q, token)
				}
				if q, ok := codes[tracking]; ok {
					t.Fatalf("%+v and %+v are both %s", p, q, tracking)
				}
				tokens[token], codes[tracking] = p, p
			}
		}
	}
}

func TestCodeID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := CodeID(rapid.Uint64Range(0, maxCodeID).Draw(t, "id"))
		if got, err := ParseCodeID(id.String()); err != nil || got != id {
			t.Fatalf("ParseCodeID(%s) = %v, %v", id, got, err)
		}
		text, err := id.MarshalText()
		var back CodeID
		if err != nil || back.UnmarshalText(text) != nil || back != id {
			t.Fatalf("text %s, %v, back %v", text, err, back)
		}
	})
	for _, bad := range []string{"", "0123456789a", "0123456789abc", "0123456789aB", "0123456789ai", "0123456789al", "0123456789ao", "0123456789au", "0123456789a\n", "0123456789é", "ABCDEFGHJKMN"} {
		if id, err := ParseCodeID(bad); !errors.Is(err, ErrCodeID) || id != 0 {
			t.Errorf("ParseCodeID(%q) = %v, %v", bad, id, err)
		}
	}
	if b, err := CodeID(1 << 60).MarshalText(); err == nil {
		t.Errorf("61 bits were written as %s", b)
	}
}

func TestNewCodeID(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	seen := map[CodeID]bool{}
	var all CodeID
	for range 10_000 {
		id, err := NewCodeID(r)
		if err != nil || id > maxCodeID || seen[id] {
			t.Fatalf("id %#x, %v, seen %v", uint64(id), err, seen[id])
		}
		seen[id] = true
		all |= id
	}
	if all != maxCodeID {
		t.Errorf("bits ever set: %#x", uint64(all))
	}
	if _, err := NewCodeID(bytes.NewReader(make([]byte, 7))); err == nil {
		t.Error("a code id was drawn from too few bytes")
	}
}

func TestDeriveCodeIDDependsOnKeyAndText(t *testing.T) {
	k := testRing(t, 10)
	a := DeriveCodeID(k.Purpose("code-id"), "x")
	if DeriveCodeID(k.Purpose("code-id"), "x") != a {
		t.Error("not the same id twice")
	}
	if DeriveCodeID(k.Purpose("code-id"), "y") == a || DeriveCodeID(k.Purpose("other"), "x") == a {
		t.Error("another key or text gives the same id")
	}
}
