package watermark

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func testKey(t testing.TB, first byte) *Key {
	t.Helper()
	secret := make([]byte, 32)
	secret[0] = first
	k, err := NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestCodeCorrects: the free distance is 18, so 8 bits of a codeword may be turned over, wherever they are.
func TestCodeCorrects(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m := r.Uint64() >> (64 - messageBits)
		var soft [codeBits]float64
		for i, b := range encode(m) {
			if soft[i] = -1; b {
				soft[i] = 1
			}
		}
		scattered, first := r.Perm(codeBits), r.IntN(codeBits)
		for i := range 8 {
			if m&1 == 0 {
				soft[scattered[i]] *= -1
			} else { // side by side
				soft[(first+i)%codeBits] *= -1
			}
		}
		if got, _ := decode(&soft); got != m {
			t.Fatalf("%014x decoded as %014x", m, got)
		}
	}
}

// TestCodeDistance walks all short detours from the zero codeword: none weighs less than the free distance of the standard.
func TestCodeDistance(t *testing.T) {
	least := codeBits
	for m := uint64(1); m < 1<<16; m += 2 {
		weight := 0
		for _, b := range encode(m << 20) {
			if b {
				weight++
			}
		}
		least = min(least, weight)
	}
	if least != 18 {
		t.Errorf("the least weight is %d, want 18", least)
	}
}

// TestDecodeIsTheBest: no codeword of many tried has a greater sum than the one decoded, and its sum is the one returned.
func TestDecodeIsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var soft [codeBits]float64
		for i := range soft {
			soft[i] = r.NormFloat64()
		}
		sum := func(m uint64) (s float64) {
			for i, b := range encode(m) {
				if b {
					s += soft[i]
				} else {
					s -= soft[i]
				}
			}
			return s
		}
		m, best := decode(&soft)
		if math.Abs(best-sum(m)) > 1e-9 {
			t.Fatalf("sum %v returned, %v is that of the codeword", best, sum(m))
		}
		for i := range messageBits { // neighbours
			if s := sum(m ^ 1<<i); s > best+1e-9 {
				t.Fatalf("turning bit %d over is better: %v > %v", i, s, best)
			}
		}
		for range 200 {
			if s := sum(r.Uint64() >> (64 - messageBits)); s > best+1e-9 {
				t.Fatalf("another codeword is better: %v > %v", s, best)
			}
		}
	}
}

// TestVectors: pictures that were printed must be read by later programs.
func TestVectors(t *testing.T) {
	k := testKey(t, 1)
	if got := FormatTrace(k.Trace("alice@example.com", "till 3")); got != "2d6fd681" {
		t.Errorf("trace number %s", got)
	}
	for _, row := range []struct {
		modules int
		want    string
	}{{21, "2632a0662b9cd785"}, {29, "28b5fa07e5cb6746"}, {33, "ad9ef88ae7a7755b"}} {
		m, err := k.Mark("HTTPS://GO.EXAMPLE.COM/S/E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU", row.modules, 0x2d6fd681)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, b := range m.bright {
			fmt.Fprint(h, b)
		}
		if got := hex.EncodeToString(h.Sum(nil)[:8]); got != row.want {
			t.Errorf("mark of %d modules: %s, want %s", row.modules, got, row.want)
		}
	}
}

// TestSpread: every bit of the codeword has as many modules as any other, or one less, and the mask is a fair coin.
func TestSpread(t *testing.T) {
	k := testKey(t, 1)
	for _, n := range []int{21, 33, 177} {
		s := k.spread("x", n)
		var each [codeBits]int
		ones := 0
		for i := range s.bit {
			each[s.bit[i]]++
			if s.mask[i] {
				ones++
			}
		}
		for bit, got := range each {
			if got != n*n/codeBits && got != n*n/codeBits+1 {
				t.Errorf("%d modules: bit %d is on %d", n, bit, got)
			}
		}
		if z := (float64(ones) - float64(n*n)/2) / (float64(n) / 2); math.Abs(z) > 4 {
			t.Errorf("%d modules: %d of the mask are set, %.1f standard deviations off", n, ones, z)
		}
	}
}

// TestHoeffding: with signs of the key, whatever a picture shows correlates with a number as the sum of fair coins does: the mean of
// squares is 1, and tails are below exp(−z²/2).
func TestHoeffding(t *testing.T) {
	k := testKey(t, 2)
	shapes := map[string]func(i int) float64{
		"all the same":  func(int) float64 { return 1 },
		"stripes":       func(i int) float64 { return float64(i%2*2 - 1) },
		"a few large":   func(i int) float64 { return map[bool]float64{true: 100, false: 1}[i%17 == 0] },
		"a slope":       func(i int) float64 { return float64(i%29) - 14 },
		"only the rims": func(i int) float64 { return map[bool]float64{true: 5}[i < 60 || i > 780] },
	}
	const tries = 1500
	for name, value := range shapes {
		var squares float64
		over := map[float64]int{2: 0, 3: 0}
		for try := range tries {
			content := fmt.Sprint(name, try)
			m, err := k.Mark(content, 29, uint32(try))
			if err != nil {
				t.Fatal(err)
			}
			var sum, norm float64
			for i, b := range m.bright {
				v := value(i)
				norm += v * v
				if b {
					sum += v
				} else {
					sum -= v
				}
			}
			z := sum / math.Sqrt(norm)
			squares += z * z
			for limit := range over {
				if z > limit {
					over[limit]++
				}
			}
		}
		if mean := squares / tries; math.Abs(mean-1) > 0.2 {
			t.Errorf("%s: the mean square is %.2f, want 1", name, mean)
		}
		for limit, n := range over {
			if bound := math.Exp(-limit * limit / 2); float64(n)/tries > bound {
				t.Errorf("%s: %d of %d are over %.0f, the bound is %.4f", name, n, tries, limit, bound)
			}
		}
	}
}

// TestCheckBits: a codeword of this key's pattern whose check is wrong names nobody, however clear it is.
func TestCheckBits(t *testing.T) {
	k := testKey(t, 3)
	s := k.spread("x", 29)
	for i := range checkBits {
		word := encode(k.message("x", 29, 7) ^ 1<<i)
		o := &Observation{Content: "x", Modules: 29, Values: make([]int8, 29*29)}
		for j := range o.Values {
			if o.Values[j] = -20; word[s.bit[j]] != s.mask[j] {
				o.Values[j] = 20
			}
		}
		d, err := k.Decide(o)
		if err != nil || d.Reason != ReasonCheck || d.Trace != 0 || d.Chance != 1 || d.Evidence < 20 {
			t.Errorf("check bit %d wrong: %+v, %v", i, d, err)
		}
	}
}

func TestShades(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	try := func(c [3]uint8) {
		for _, dark := range []bool{true, false} {
			out := shaded(c, dark)
			for i := range c {
				d := int(out[i]) - int(c[i])
				if d > 3 || d < -2 || dark && d < 0 || !dark && d > 0 {
					t.Fatalf("%v becomes %v", c, out)
				}
			}
			if d := math.Abs(lightness(out) - lightness(c)); d > MaxLightness {
				t.Fatalf("%v becomes %v: the lightness changes by %.2f", c, out, d)
			}
		}
	}
	for v := range 256 {
		try([3]uint8{uint8(v), uint8(v), uint8(v)})
	}
	for range 20_000 {
		try([3]uint8{uint8(r.UintN(256)), uint8(r.UintN(256)), uint8(r.UintN(256))})
	}
	if got := shaded([3]uint8{}, true); got != [3]uint8{3, 3, 3} {
		t.Errorf("black becomes %v", got)
	}
	if got := shaded([3]uint8{255, 255, 255}, false); got != [3]uint8{253, 253, 253} {
		t.Errorf("white becomes %v", got)
	}
	// The values of the CIE: L* is 50 at a luminance of 18.42 %, and 100 for white.
	if l := lightness([3]uint8{119, 119, 119}); math.Abs(l-50) > 0.2 {
		t.Errorf("L* of the middle grey is %.2f", l)
	}
	if l := lightness([3]uint8{255, 255, 255}); math.Abs(l-100) > 1e-9 {
		t.Errorf("L* of white is %v", l)
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	k := testKey(t, 9)
	a, b, c := k.sub()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		text := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, struct{ K *Key }{k})
		for _, secret := range [][]byte{a, b, c} {
			if strings.Contains(text, hex.EncodeToString(secret)) || strings.Contains(text, fmt.Sprint(secret)) || strings.Contains(text, string(secret)) {
				t.Errorf("%s shows a subkey: %s", verb, text)
			}
		}
	}
	if _, err := NewKey(make([]byte, 15)); err == nil {
		t.Error("a secret of 15 bytes was taken")
	}
}
