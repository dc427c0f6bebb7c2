package main

import (
	"fmt"
	"image"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
)

// key is made of a seed: measured pictures are nobody's.
func key(seed uint64) *watermark.Key {
	secret := make([]byte, 32)
	r := rand.New(rand.NewPCG(seed, 0x6b6579))
	for i := range secret {
		secret[i] = byte(r.Uint32())
	}
	k, err := watermark.NewKey(secret)
	if err != nil {
		panic(err) // the secret is long enough
	}
	return k
}

// content is what a picture of ours says: an upper-case address with a token of 34 characters, or of 12 for small symbols.
func content(r *rand.Rand, token int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, token)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return "HTTPS://GO.EXAMPLE.COM/S/" + string(b)
}

// plain are the symbols of the platform profiles: a group's of version 3 and 4.
func plain(r *rand.Rand, size int) qr.Options {
	return qr.Options{Content: content(r, 34), Version: 3 + r.IntN(2), Level: qr.LevelM, Size: size}
}

// marked draws a picture with a mark, or without one when k is nil.
func marked(o qr.Options, k *watermark.Key, trace uint32) (*image.NRGBA, error) {
	if k != nil {
		o.Mark = func(img *image.NRGBA, g qr.Geometry) error {
			m, err := k.Mark(o.Content, g.Modules, trace)
			if err != nil {
				return err
			}
			return m.Draw(img, g)
		}
	}
	s, err := qr.Encode(o)
	if err != nil {
		return nil, err
	}
	return s.Image()
}

// each calls fn for 0 to n − 1 on all cores, each with random numbers of its own, so that who is first changes nothing.
func each(n int, seed uint64, name string, fn func(i int, r *rand.Rand) error) error {
	h := seed
	for _, c := range name {
		h = h*1099511628211 ^ uint64(c)
	}
	var wg sync.WaitGroup
	next := make(chan int)
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for i := range next {
				if errs[w] == nil {
					errs[w] = fn(i, rand.New(rand.NewPCG(h, uint64(i))))
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
