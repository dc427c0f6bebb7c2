package token

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustRotate(t testing.TB, k *Keyring, seed byte, now, seals time.Time) (*Keyring, int) {
	t.Helper()
	k, id, err := k.Rotate(rand.NewChaCha8([32]byte{seed}), now, seals)
	if err != nil {
		t.Fatal(err)
	}
	return k, id
}

func mustRetire(t testing.TB, k *Keyring, id int, at time.Time) *Keyring {
	t.Helper()
	k, err := k.Retire(id, at)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewestSealsAllOpenUntilTheyAreRetired(t *testing.T) {
	day := created.AddDate(0, 0, 1)
	first := testRing(t, 1)
	second, id := mustRotate(t, first, 2, day, day.Add(5*time.Minute))
	if id != 1 || first.Len() != 1 || second.Len() != 2 {
		t.Fatalf("key %d, rings of %d and %d", id, first.Len(), second.Len())
	}
	before, after := second.At(day.Add(299*time.Second)), second.At(day.Add(300*time.Second))
	if before.NewestID() != 0 || after.NewestID() != 1 {
		t.Errorf("before its time key %d seals, after it key %d", before.NewestID(), after.NewestID())
	}
	retired := mustRetire(t, second, 0, day.Add(time.Hour))
	for _, f := range formats {
		p := Picture{Code: 77, Variant: 4}
		old, fresh := mustSealAs(t, before, f, p), mustSealAs(t, after, f, p)
		if old == fresh {
			t.Errorf("%s: both keys make %s", f, old)
		}
		for _, k := range []*Keyring{before, after, retired.At(day.Add(time.Hour - time.Second))} {
			for _, token := range []string{old, fresh} {
				if got, err := k.OpenWith(token, knows(k, f, p)); err != nil || got != p {
					t.Errorf("%s: Open(%s) = %+v, %v", f, token, got, err)
				}
			}
		}
		for _, k := range []*Keyring{retired.At(day.Add(time.Hour)), retired} {
			if _, err := k.OpenWith(old, knows(second, f, p)); ReasonOf(err) != ReasonUnknownKey {
				t.Errorf("%s: token of a retired key: %v (%s)", f, err, ReasonOf(err))
			}
			if got, err := k.OpenWith(fresh, knows(k, f, p)); err != nil || got != p {
				t.Errorf("%s: Open(%s) = %+v, %v", f, fresh, got, err)
			}
			// What came before is read alike, whenever it is read.
			if got, err := k.OpenFor(old, p.Code, day.Add(time.Hour-time.Second)); err != nil || got != p {
				t.Errorf("%s: a token that came before its key was retired: %+v, %v", f, got, err)
			}
			if _, err := k.OpenFor(old, p.Code, day.Add(time.Hour)); ReasonOf(err) != ReasonUnknownKey {
				t.Errorf("%s: a token that came after its key was retired: %v", f, err)
			}
		}
	}
	if got := retired.Opens(); !slices.Equal(got, []int{1}) {
		t.Errorf("keys that open: %v", got)
	}
}

// Whatever becomes of the keys, also of a ring of version 1, nobody is a new visitor and every print keeps its tracking code.
func TestWhatHangsOnTheRootStays(t *testing.T) {
	for name, k := range map[string]*Keyring{"version 1": mustParse(t, ringJSON(keyJSON(30, secretA, "2026-01-01T00:00:00Z"))), "version 2": testRing(t, 1)} {
		p := Picture{Code: 77, Variant: 4, Number: 3}
		tracking, purpose, visitor := k.Tracking(p), k.Purpose("x"), k.Visitors().FromOpenID("o")
		now := created
		for i := range 3 * MaxKeys { // ids go round
			old := k.Keys()[0].ID
			k, _ = mustRotate(t, k, byte(i), now, now)
			k = mustRetire(t, k, old, now.Add(time.Second))
			now = now.Add(time.Minute)
			var err error
			if k, err = k.Forget(old, now); err != nil {
				t.Fatal(err)
			}
			b, err := k.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			k = mustParse(t, string(b))
			if k.Tracking(p) != tracking || !bytes.Equal(k.Purpose("x"), purpose) || k.Visitors().FromOpenID("o") != visitor {
				t.Fatalf("%s: rotation %d changed what hangs on the root", name, i)
			}
		}
	}
}

func TestKeysThatStay(t *testing.T) {
	now := created
	two, _ := mustRotate(t, testRing(t, 1), 2, now, now.Add(time.Minute))
	gone := mustRetire(t, two, 0, now.Add(time.Hour))
	full := testRing(t, 1)
	for i := range MaxKeys - 1 {
		full, _ = mustRotate(t, full, byte(i), now, now)
	}
	rotate := func(k *Keyring, now, seals time.Time) error {
		_, _, err := k.Rotate(rand.NewChaCha8([32]byte{}), now, seals)
		return err
	}
	retire := func(k *Keyring, id int, at time.Time) error { _, err := k.Retire(id, at); return err }
	forget := func(k *Keyring, id int, now time.Time) error { _, err := k.Forget(id, now); return err }
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{"a full ring", rotate(full, now, now), "forget one"},
		{"a clock that goes wrong", rotate(two, now.Add(-time.Second), now.Add(time.Hour)), "set the clock"},
		{"to seal in the past", rotate(two, now.Add(time.Hour), now), "name a later time"},
		{"to seal before the key before", rotate(two, now, now.Add(59*time.Second)), "seals only from"},
		{"to retire the newest", retire(two, 1, now.Add(time.Hour)), "rotate first"},
		{"to retire what seals then", retire(two, 0, now.Add(59*time.Second)), "still seals"},
		{"to retire none", retire(two, 9, now.Add(time.Hour)), "no key 9"},
		{"to retire twice", retire(gone, 0, now.Add(2*time.Hour)), "retired already"},
		{"to retire before it was there", retire(two, 0, now.Add(-time.Second)), "name a later time"},
		{"to forget what opens", forget(gone, 0, now.Add(time.Hour-time.Second)), "retire it first"},
		{"to forget the newest", forget(gone, 1, now.Add(time.Hour)), "retire it first"},
		{"to forget none", forget(gone, 9, now), "no key 9"},
	} {
		if !errors.Is(row.err, ErrKeys) || !strings.Contains(row.err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, row.err, row.want)
		}
	}
	if err := retire(two, 0, now.Add(time.Minute)); err != nil {
		t.Errorf("once another seals: %v", err)
	}
}

func TestFollows(t *testing.T) {
	now := created
	one := testRing(t, 1)
	two, _ := mustRotate(t, one, 2, now, now)
	other, _ := mustRotate(t, one, 3, now, now)
	retired := mustRetire(t, two, 0, now.Add(time.Hour))
	forgotten, err := retired.Forget(0, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name     string
		old, new *Keyring
		want     string
	}{
		{"the same", two, two, ""},
		{"rotated", one, two, ""},
		{"retired", two, retired, ""},
		{"forgotten, having seen it retired", retired.At(now.Add(time.Hour)), forgotten, ""},
		{"forgotten too early", retired.At(now), forgotten, "key 0 is not in it"},
		{"an older copy", two, one, "older copy"},
		{"rotated twice at once", two, other, "its key 1 is another one"},
		{"another installation's", one, testRing(t, 9), "another installation"},
	} {
		err := row.new.Follows(row.old)
		if (err == nil) != (row.want == "") || err != nil && (!errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if !two.Same(two.At(now)) || two.Same(one) || two.Same(other) || two.Same(retired) {
		t.Error("rings are not told apart")
	}
}

// At is held against the plainest reading of its promise.
func TestAtAgainstAPlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := testRingOf(t)
		keys := k.Keys()
		at := created.Add(time.Duration(rapid.IntRange(-10, 200).Draw(t, "at")) * time.Second)
		sealing, opens := -1, []int(nil)
		for _, key := range keys {
			if !key.Retired.IsZero() && !key.Retired.After(at) {
				continue
			}
			opens = append(opens, key.ID)
			if sealing < 0 || !key.Seals.After(at) {
				sealing = key.ID
			}
		}
		slices.Sort(opens)
		view := k.At(at)
		if view.NewestID() != sealing || !slices.Equal(view.Opens(), opens) {
			t.Fatalf("at %s of %+v: key %d seals and %v open, want %d and %v", at, keys, view.NewestID(), view.Opens(), sealing, opens)
		}
		// Between two changes there is none.
		if next := k.Next(at); next.IsZero() || next.After(at.Add(time.Second)) {
			later := k.At(at.Add(time.Second))
			if later.NewestID() != sealing || !slices.Equal(later.Opens(), opens) {
				t.Fatalf("at %s of %+v there is a change that Next (%s) does not tell", at, keys, next)
			}
		}
	})
}

// testRingOf draws a ring by rotating and retiring.
func testRingOf(t *rapid.T) *Keyring {
	k, err := NewKeyring(rand.NewChaCha8([32]byte{1}), created)
	if err != nil {
		t.Fatal(err)
	}
	now := created
	for i := range rapid.IntRange(0, 6).Draw(t, "steps") {
		now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "pause")) * time.Second)
		at := now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "delay")) * time.Second)
		if rapid.Bool().Draw(t, "rotate") {
			if next, _, err := k.Rotate(rand.NewChaCha8([32]byte{byte(i)}), now, at); err == nil {
				k = next
			}
		} else if next, err := k.Retire(rapid.IntRange(0, 5).Draw(t, "id"), at); err == nil {
			k = next
		}
	}
	return k
}

func FuzzParseKeyring(f *testing.F) {
	for _, s := range []string{
		"", "{}", ringJSON(keyJSON(0, secretA, "2026-01-01T00:00:00Z")), ring2(keyJSON(0, secretA, "2026-01-01T00:00:00.5+05:30")),
		ring2(with(keyJSON(3, secretA, "2026-01-01T00:00:00Z"), "retired", "2026-02-01T00:00:00Z"), with(keyJSON(4, secretB, "2026-01-01T00:00:00Z"), "seals", "2026-01-02T00:00:00Z")),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeyring(b)
		if err != nil {
			if !errors.Is(err, ErrKeyring) || k != nil || strings.Contains(err.Error(), secretA[:8]) {
				t.Fatalf("%v, %v", k, err)
			}
			return
		}
		first, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKeyring(first)
		if err != nil {
			t.Fatalf("%v of\n%s", err, first)
		}
		second, err := back.Marshal()
		if err != nil || !bytes.Equal(first, second) || !k.Same(back) {
			t.Fatalf("%v\n%s\n%s", err, first, second)
		}
	})
}
