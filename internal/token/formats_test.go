package token

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var formats = []Format{FormatAES, FormatSM, FormatShort, FormatScene}

func mustSealAs(t testing.TB, k *Keyring, f Format, p Picture) string {
	t.Helper()
	s, err := k.SealAs(f, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// knows is the resolver of who has drawn these pictures in a format.
func knows(k *Keyring, f Format, pictures ...Picture) Resolver {
	index := make(map[ShortID]Picture)
	for _, p := range pictures {
		if err := k.ShortIDs(f, p, func(id ShortID) { index[id] = p }); err != nil {
			panic(err)
		}
	}
	return func(id ShortID) (Picture, bool) { p, ok := index[id]; return p, ok }
}

// alphabet is the QR alphanumeric set, which all formats keep to.
const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

func TestEveryChangedCharacterIsRefused(t *testing.T) {
	k, _ := mustRotate(t, testRing(t, 1), 2, created, created)
	for _, f := range formats {
		for _, p := range []Picture{{Code: 0x123456789abcdef, Variant: 3, Number: 77}, {Code: 0, Variant: 1}, {Code: maxCodeID, Variant: 8, Number: math.MaxUint32}} {
			// Whatever a guess at a short id names, the resolver says it is there.
			resolve := func(ShortID) (Picture, bool) { return p, true }
			token := mustSealAs(t, k, f, p)
			if got, err := k.OpenWith(token, resolve); err != nil || got != p {
				t.Fatalf("%s: %+v, %v", f, got, err)
			}
			for i := range len(token) {
				for c := range 256 {
					if byte(c) == token[i] {
						continue
					}
					forged := token[:i] + string([]byte{byte(c)}) + token[i+1:]
					got, err := k.OpenWith(forged, resolve)
					if !errors.Is(err, ErrForged) || got != (Picture{}) || ReasonOf(err) == "" {
						t.Fatalf("%s: position %d, byte %#x: got %+v, %v", f, i, c, got, err)
					}
					if !strings.ContainsRune(alphanumeric, rune(c)) && i < shortLength && ReasonOf(err) != ReasonAlphabet {
						t.Errorf("%s: position %d, byte %#x: reason %s, want %s", f, i, c, ReasonOf(err), ReasonAlphabet)
					}
					if f == FormatShort && strings.IndexByte(trackingAlphabet, byte(c)) >= 0 && ReasonOf(err) != ReasonCheck {
						t.Errorf("position %d, byte %#x: reason %s, and not the check character's", i, c, ReasonOf(err))
					}
				}
			}
		}
	}
}

// Whoever exchanges two characters of an id meets the check character before anything is looked up.
func TestExchangedCharactersOfAnIDAreRefused(t *testing.T) {
	k := testRing(t, 3)
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		id := mustSealAs(t, k, FormatShort, Picture{Code: CodeID(r.Uint64() >> 4), Variant: 1 + r.IntN(Variants)})
		for i := range shortLength {
			for j := range i {
				b := []byte(id)
				if b[i], b[j] = b[j], b[i]; b[i] == b[j] {
					continue
				}
				if _, err := k.OpenWith(string(b), nil); ReasonOf(err) != ReasonCheck {
					t.Fatalf("%s became %s: %s", id, b, ReasonOf(err))
				}
			}
		}
	}
}

// A million guesses of each format, of which a part gets as far as a format lets a guess get without its key.
func TestRandomForgeriesAreRefused(t *testing.T) {
	n := 1_000_000
	if raced {
		n = 20_000
	}
	k := testRing(t, 2)
	r := rand.New(rand.NewPCG(1, 2))
	known := make([]Picture, 1000)
	for i := range known {
		known[i] = Picture{Code: CodeID(r.Uint64() >> 4), Variant: 1}
	}
	guess := map[Format]func() string{
		FormatAES: func() string { return randomSealed(r, FormatAES, rawSize) },
		FormatSM:  func() string { return randomSealed(r, FormatSM, smRawSize) },
		FormatShort: func() string {
			return randomShort(r, FormatShort)
		},
		FormatScene: func() string {
			return randomShort(r, FormatScene) + ".1.0"
		},
	}
	for _, f := range formats {
		resolve := knows(k, f, known...)
		reasons := map[Reason]int{}
		for range n {
			token := guess[f]()
			if p, err := k.OpenWith(token, resolve); !errors.Is(err, ErrForged) || p != (Picture{}) {
				t.Fatalf("%s: %s was opened", f, token)
			} else {
				reasons[ReasonOf(err)]++
			}
		}
		if reasons[ReasonSeal] < n/3 || reasons[ReasonVersion] == 0 || reasons[ReasonUnknownKey] == 0 {
			t.Errorf("%s: %v of %d", f, reasons, n)
		}
	}
}

func randomSealed(r *rand.Rand, f Format, size int) string {
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 {
		raw[0] = f.header(0)
	}
	return encoding.EncodeToString(raw)
}

// randomShort is an id whose check character is right: the check is no secret.
func randomShort(r *rand.Rand, f Format) string {
	s := ShortID(r.Uint64() >> 4)
	if r.IntN(2) == 0 {
		s = ShortID(f.header(0))<<shortBits | s&(1<<shortBits-1)
	}
	return s.String()
}

func TestFormatsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := testRingOf(t)
		p := drawPicture(t)
		f := rapid.SampledFrom(formats).Draw(t, "format")
		token, err := k.SealAs(f, p)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(token, alphanumeric) != "" || len(token) > f.Length() || f != FormatScene && len(token) != f.Length() {
			t.Fatalf("%s: token %q, longest %d", f, token, f.Length())
		}
		if again, _ := k.SealAs(f, p); again != token {
			t.Fatalf("sealed twice: %s, %s", token, again)
		}
		if got, err := k.OpenWith(token, knows(k, f, p)); err != nil || got != p || !Possible(token) || Possible(strings.ToLower(token)+"~") {
			t.Fatalf("Open = %+v, %v, want %+v", got, err, p)
		}
		sealed := f == FormatAES || f == FormatSM
		if _, err := k.Open(token); sealed != (err == nil) {
			t.Fatalf("%s without a resolver: %v", f, err)
		}
		p.Number = 0
		token, _ = k.SealAs(f, p)
		if got, err := k.OpenFor(token, p.Code, created.AddDate(1, 0, 0)); err != nil || got != p {
			t.Fatalf("OpenFor = %+v, %v, want %+v", got, err, p)
		}
		other, err := k.OpenFor(token, p.Code^1, created)
		if sealed && (err != nil || other != p) || !sealed && !errors.Is(err, ErrForged) {
			t.Fatalf("%s of another code: %+v, %v", f, other, err)
		}
	})
}

// What a resolver says is checked: an index may hold what a retired key made, or another code's.
func TestResolversAreNotBelieved(t *testing.T) {
	k := testRing(t, 4)
	p := Picture{Code: 5, Variant: 2}
	for _, f := range []Format{FormatShort, FormatScene} {
		token := mustSealAs(t, k, f, p)
		for name, wrong := range map[string]Picture{"code": {Code: 6, Variant: 2}, "variant": {Code: 5, Variant: 1}, "number": {Code: 5, Variant: 2, Number: 1}, "nothing": {}} {
			if got, err := k.OpenWith(token, func(ShortID) (Picture, bool) { return wrong, true }); ReasonOf(err) != ReasonSeal || got != (Picture{}) {
				t.Errorf("%s, another %s: %+v, %v", f, name, got, err)
			}
		}
	}
}

func TestShortIDs(t *testing.T) {
	k, _ := mustRotate(t, testRing(t, 5), 6, created, created)
	seen := map[ShortID]bool{}
	for _, f := range []Format{FormatShort, FormatScene} {
		for code := range CodeID(500) {
			for variant := 1; variant <= Variants; variant++ {
				p := Picture{Code: code, Variant: variant}
				var keys []int
				if err := k.ShortIDs(f, p, func(id ShortID) {
					if one, ok := k.ShortIDOf(f, p, id.Key()); !ok || one != id || id.Format() != f || seen[id] {
						t.Fatalf("%+v: %x and %x (%v), seen %v", p, id, one, ok, seen[id])
					}
					seen[id] = true
					keys = append(keys, id.Key())
					if got, reason := parseShort(id.String()); got != id || reason != "" {
						t.Fatalf("%s read back is %x, %s", id, got, reason)
					}
				}); err != nil || !slices.Equal(keys, []int{0, 1}) {
					t.Fatalf("keys %v, %v", keys, err)
				}
			}
		}
	}
	if _, ok := k.ShortIDOf(FormatShort, Picture{Code: 1, Variant: 1}, 9); ok {
		t.Error("a key that is not there made an id")
	}
	if err := k.ShortIDs(FormatShort, Picture{}, nil); err == nil {
		t.Error("a picture that cannot be sealed has an id")
	}
}

// Scene parameters have at most 32 visible characters, of a set that is smaller than the URL's.
func TestScenes(t *testing.T) {
	k := testRing(t, 7)
	for _, p := range []Picture{{Code: 1, Variant: 1}, {Code: maxCodeID, Variant: 8, Number: math.MaxUint32}} {
		scene := mustSealAs(t, k, FormatScene, p)
		if len(scene) > 32 || strings.Trim(scene, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$&'()*+,/:;=?@-._~") != "" {
			t.Errorf("%q does not go as scene parameters", scene)
		}
		for _, bad := range []string{scene + "0", scene[:shortLength], scene[:shortLength] + ".01.0", scene[:shortLength] + ".1.00", scene[:shortLength] + ".9.0", scene[:shortLength] + ".1.-0", strings.ReplaceAll(scene, ".", "-")} {
			if _, err := k.OpenWith(bad, func(ShortID) (Picture, bool) { return p, true }); !errors.Is(err, ErrForged) {
				t.Errorf("%q was opened: %v", bad, err)
			}
		}
	}
	// An id of one format is not one of the other.
	short := mustSealAs(t, k, FormatShort, Picture{Code: 1, Variant: 1})
	if _, err := k.OpenWith(short+".1.0", func(ShortID) (Picture, bool) { return Picture{Code: 1, Variant: 1}, true }); ReasonOf(err) != ReasonVersion {
		t.Errorf("a short id as a scene: %v", ReasonOf(err))
	}
}

func TestSealAsRefuses(t *testing.T) {
	k := testRing(t, 7)
	for _, f := range []Format{0, 4, 6, 7, 255} {
		if s, err := k.SealAs(f, Picture{Code: 1, Variant: 1}); err == nil || f.Length() != 0 || f.String() != "unknown" {
			t.Errorf("format %d: %q, %d characters", f, s, f.Length())
		}
	}
	for _, f := range formats {
		if s, err := k.SealAs(f, Picture{Code: 1 << 60, Variant: 1}); err == nil {
			t.Errorf("%s: a code id of 61 bits was sealed as %s", f, s)
		}
	}
}

// Every bit of the longer tag counts too, and no key of another format's opens anything.
func TestEveryBitOfTheSMTagCounts(t *testing.T) {
	k := testRing(t, 13)
	s := k.get().newest().sm
	payload, err := Picture{Code: 11, Variant: 1, Number: 2}.pack()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * smTagSize {
		tag := s.tag(&payload)
		tag[bit/8] ^= 1 << (bit % 8)
		raw := append([]byte{s.header}, tag[:]...)
		raw = append(raw, make([]byte, payloadSize)...)
		s.crypt(raw[1+smTagSize:], payload[:], tag)
		if _, err := k.Open(encoding.EncodeToString(raw)); ReasonOf(err) != ReasonSeal {
			t.Errorf("bit %d: %v (%s)", bit, err, ReasonOf(err))
		}
	}
	payload[7] |= 1
	if _, err := k.Open(s.seal(&payload)); ReasonOf(err) != ReasonReserved {
		t.Errorf("the reserved bit: %v (%s)", err, ReasonOf(err))
	}
}

// Opening and refusing do the same work. Batches of both are timed by turns, so that whatever else the machine does falls on both alike, and
// the fastest batch of each is compared: noise only ever adds. Leaving out the tag, or half of the work of a short id, is 40 % and more.
func TestOpeningAndRefusingTakeTheSameTime(t *testing.T) {
	const batch, most = 200, 0.25
	k := testRing(t, 14)
	p := Picture{Code: 77, Variant: 2}
	for _, f := range formats {
		good := mustSealAs(t, k, f, p)
		known := knows(k, f, p)
		// The guess differs in its last bits of what is secret, and has a right check character.
		bad := good
		switch f {
		case FormatAES, FormatSM:
			raw, err := encoding.DecodeString(good)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)-1] ^= 1
			bad = encoding.EncodeToString(raw)
		default:
			id, _ := parseShort(good[:shortLength])
			bad = (id ^ 1).String() + good[shortLength:]
		}
		if _, err := k.OpenWith(bad, known); ReasonOf(err) != ReasonSeal {
			t.Fatalf("%s: %v", f, ReasonOf(err))
		}
		timed := func(token string) time.Duration {
			start := time.Now()
			for range batch {
				_, _ = k.OpenWith(token, known)
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
			if round >= 200 && apart() < most/2 {
				break // more rounds can only find faster batches of both
			}
		}
		if apart() > most {
			t.Errorf("%s: %v to open %d, %v to refuse as many", f, opened, batch, refused)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := testRing(f, 9)
	pictures := []Picture{{0, 1, 0}, {maxCodeID, 8, 1<<32 - 1}}
	for _, p := range pictures {
		for _, format := range formats {
			token := mustSealAs(f, k, format, p)
			f.Add(token)
			f.Add(strings.ToLower(token))
			f.Add(token[:len(token)-1] + "B")
			f.Add(token + "=")
		}
	}
	f.Add("")
	short, scene := knows(k, FormatShort, pictures...), knows(k, FormatScene, pictures...)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := k.OpenWith(s, func(id ShortID) (Picture, bool) {
			if id.Format() == FormatShort {
				return short(id)
			}
			return scene(id)
		})
		if err != nil {
			if !errors.Is(err, ErrForged) || !slices.Contains(Reasons, ReasonOf(err)) || p != (Picture{}) {
				t.Fatalf("Open(%q) = %+v, %v", s, p, err)
			}
			return
		}
		if !slices.ContainsFunc(formats, func(format Format) bool { again, err := k.SealAs(format, p); return err == nil && again == s }) {
			t.Fatalf("Open(%q) = %+v, which has no such token", s, p)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := testRing(b, 11)
	p := Picture{Code: 1, Variant: 1}
	for _, f := range formats {
		token, resolve := mustSealAs(b, k, f, p), knows(k, f, p)
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.OpenWith(token, resolve); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	k := testRing(b, 12)
	for _, f := range formats {
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.SealAs(f, Picture{Code: 1, Variant: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSealAndOpen is both halves, one after the other: at least a million a second on one core.
func BenchmarkSealAndOpen(b *testing.B) {
	k := testRing(b, 12)
	for _, f := range formats {
		resolve := knows(k, f, Picture{Code: 1, Variant: 1})
		b.Run(f.String(), func(b *testing.B) {
			for b.Loop() {
				token, err := k.SealAs(f, Picture{Code: 1, Variant: 1})
				if err == nil {
					_, err = k.OpenWith(token, resolve)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}

func TestPossible(t *testing.T) {
	k := testRing(t, 16)
	for _, f := range formats {
		token := mustSealAs(t, k, f, Picture{Code: 12345, Variant: 2})
		if !Possible(token) || Possible(strings.ToLower(token)) || Possible(token[1:]) || Possible("!"+token[1:]) {
			t.Errorf("%s: %q", f, token)
		}
	}
	for _, other := range []string{"", "7zz0kq3m5d8a", "7ZZ0KQ3M5D8A", "HTTPS://GO.EXAMPLE.COM"} {
		if Possible(other) {
			t.Errorf("%q may be a token", other)
		}
	}
}
