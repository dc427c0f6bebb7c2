package main

import (
	"fmt"
	"image"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
)

// falseNames counts who is named where nobody may be: in pictures without a mark, with a mark of another key, with a mark of this key
// made for another symbol, and in random numbers.
func falseNames(o options, b *strings.Builder) (failed []string, err error) {
	ours, theirs := key(o.seed), key(o.seed+1)
	fmt.Fprintf(b, "\n| what nobody may be named in | tried | named | greatest evidence |\n|---|---|---|---|\n")
	row := func(name string, n int, one func(r *rand.Rand) (*watermark.Observation, error)) error {
		var mu sync.Mutex
		tried, named, most := 0, 0, 0.0
		err := each(n, o.seed, name, func(_ int, r *rand.Rand) error {
			seen, err := one(r)
			if err != nil {
				return nil //nolint:nilerr // a picture in which no symbol is read names nobody
			}
			d, err := ours.Decide(seen)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			tried++
			most = max(most, d.Evidence)
			if d.Found() {
				named++
			}
			return nil
		})
		fmt.Fprintf(b, "| %s | %d | %d | %.1f |\n", name, tried, named, most)
		if named > 0 {
			failed = append(failed, fmt.Sprintf("%s: %d named", name, named))
		}
		return err
	}
	harmed := func(r *rand.Rand, img image.Image) image.Image {
		return harm.All[r.IntN(len(harm.All))].Do(img, r)
	}
	picture := func(k *watermark.Key) func(r *rand.Rand) (*watermark.Observation, error) {
		return func(r *rand.Rand) (*watermark.Observation, error) {
			p := plain(r, 300+r.IntN(300))
			if k == nil && r.IntN(2) == 0 {
				p = looks[r.IntN(len(looks))].draw(r)
			}
			img, err := marked(p, k, r.Uint32())
			if err != nil {
				return nil, err
			}
			return observe.Read(harmed(r, img))
		}
	}
	err = row("pictures without a mark, harmed in all ways", o.foreign, picture(nil))
	if err != nil {
		return nil, err
	}
	err = row("pictures with a mark of another key", o.foreign/5, picture(theirs))
	if err != nil {
		return nil, err
	}
	err = row("a mark of this key, copied onto another symbol", o.foreign/5, func(r *rand.Rand) (*watermark.Observation, error) {
		img, err := marked(plain(r, 512), ours, r.Uint32())
		if err != nil {
			return nil, err
		}
		seen, err := observe.Read(img)
		if err == nil {
			seen.Content = content(r, 34)
		}
		return seen, err
	})
	if err != nil {
		return nil, err
	}
	return failed, row("random observations", o.random, func(r *rand.Rand) (*watermark.Observation, error) {
		n := 21 + 4*r.IntN(4)
		seen := &watermark.Observation{Content: content(r, 34), Modules: n, Values: make([]int8, n*n)}
		heavy := r.IntN(2) == 0 // half of them with few large values
		for i := range seen.Values {
			v := 24 * r.NormFloat64()
			if heavy && r.IntN(10) > 0 {
				v /= 20
			}
			seen.Values[i] = int8(min(max(v, -127), 127))
		}
		return seen, nil
	})
}
