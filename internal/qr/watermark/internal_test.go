package watermark

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestCodeRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := r.Uint64() >> (64 - messageBits)
		w := encode(m)
		var soft [codeBits]float64
		for i, b := range w {
			soft[i] = -1
			if b {
				soft[i] = 1
			}
		}
		for range 8 { // free distance 18: 8 turned over are put right
			soft[r.IntN(codeBits)] *= -1
		}
		got, _ := decode(&soft)
		if got != m {
			t.Fatalf("%014x decoded as %014x", m, got)
		}
	}
}

func TestNoise(t *testing.T) {
	k, _ := NewKey(make([]byte, 32))
	r := rand.New(rand.NewPCG(1, 2))
	for _, sigma := range []float64{1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2} {
		ok, min := 0, math.Inf(1)
		for range 200 {
			tr := r.Uint32()
			m, _ := k.Mark("x", 29, tr)
			o := &Observation{Content: "x", Modules: 29, Values: make([]int8, 29*29)}
			for i, b := range m.bright {
				v := -1.0
				if b {
					v = 1
				}
				o.Values[i] = int8(min8((v + sigma*r.NormFloat64()) * 16))
			}
			d, _ := k.Decide(o)
			if d.Found() && d.Trace == tr {
				ok++
			}
			min = math.Min(min, d.Evidence)
		}
		t.Log(sigma, ok, min)
	}
}

func min8(f float64) float64 { return math.Max(-127, math.Min(127, f)) }
