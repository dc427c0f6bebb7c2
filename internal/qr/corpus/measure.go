package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A result is what was measured.
type result struct {
	Seed     uint64   `json:"seed"`
	Pictures int      `json:"pictures"`
	Failures []string `json:"failures"` // undamaged pictures that were not read as they should be, and why
	Rates    []rate   `json:"rates"`
	Smallest int      `json:"smallest"` // pixels
	Largest  int      `json:"largest"`
	DrawMS   float64  `json:"draw_ms"` // a picture, encoding and drawing, on one core
	Seconds  float64  `json:"seconds"`
}

// A rate is how many of the damaged pictures each decoder read.
type rate struct {
	Key   string `json:"key"`
	Name  string `json:"name"`
	Of    int    `json:"of"`
	ZXing int    `json:"gozxing"`
	ZBar  int    `json:"zbarimg"`
	Both  int    `json:"both"`
	Any   int    `json:"any"`
	Wrong int    `json:"wrong"` // read as something else: the worst that can happen
	floor int
}

func measure(o options) (*result, error) {
	dir := o.Keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "corpus"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	start := time.Now()
	list, err := specimens(o.Seed, o.Pictures)
	if err != nil {
		return nil, err
	}
	r := &result{Seed: o.Seed, Pictures: len(list), Failures: []string{}, Smallest: list[0].size}
	r.DrawMS = time.Since(start).Seconds() * 1000 / float64(len(list))
	for _, s := range list {
		r.Smallest, r.Largest = min(r.Smallest, s.size), max(r.Largest, s.size)
	}
	if err := r.undamaged(dir, list, o.Keep == ""); err != nil {
		return nil, err
	}
	for i, d := range damages {
		if o.Damaged == 0 {
			break
		}
		sample := make([]*specimen, min(o.Damaged, len(list)))
		for j := range sample {
			sample[j] = list[j*len(list)/len(sample)]
		}
		if err := r.damaged(dir, uint64(i), d, sample, o.Keep == ""); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// batch is how many files one zbarimg reads.
const batch = 60

// each calls f with parts of list, on all cores. It returns the first error.
func each[T any](list []T, size int, f func(at int, part []T) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	for range runtime.NumCPU() {
		wg.Go(func() {
			for {
				mu.Lock()
				at := next
				next += size
				failed := first != nil
				mu.Unlock()
				if failed || at >= len(list) {
					return
				}
				if err := f(at, list[at:min(at+size, len(list))]); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// undamaged reads every picture with both decoders.
func (r *result) undamaged(dir string, list []*specimen, remove bool) error {
	var mu sync.Mutex
	fail := func(s *specimen, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		r.Failures = append(r.Failures, s.name+": "+fmt.Sprintf(format, args...))
	}
	err := each(list, batch, func(_ int, part []*specimen) error {
		names := make([]string, len(part))
		for i, s := range part {
			names[i] = s.name + ".png"
			if err := write(dir, names[i], s.png); err != nil {
				return err
			}
			img, err := decode(s.png)
			if err != nil {
				fail(s, "is no PNG: %v", err)
				continue
			}
			got, err := zxing(img)
			switch {
			case err != nil:
				fail(s, "gozxing: %v", err)
			case got.text != s.content:
				fail(s, "gozxing read %q", got.text)
			case s.version != 0 && got.version != s.version || got.level != string(s.level):
				fail(s, "is version %d at level %s, want %d at %s", got.version, got.level, s.version, s.level)
			}
		}
		answers, err := zbar(dir, names)
		if err != nil {
			return err
		}
		for i, s := range part {
			if answers[names[i]] != s.content {
				fail(s, "zbarimg read %q", answers[names[i]])
			}
			if remove {
				if err := os.Remove(dir + "/" + names[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	slices.Sort(r.Failures)
	return err
}

// damaged damages a sample in one way and counts who reads it still.
func (r *result) damaged(dir string, salt uint64, d damage, sample []*specimen, remove bool) error {
	var mu sync.Mutex
	total := rate{Key: d.key, Name: d.name, Of: len(sample), floor: d.floor}
	err := each(sample, batch, func(at int, part []*specimen) error {
		names := make([]string, len(part))
		zx := make([]string, len(part))
		for i, s := range part {
			img, err := toNRGBA(s.png)
			if err != nil {
				return err
			}
			file, kind := d.apply(rand.New(rand.NewPCG(r.Seed, salt<<32|uint64(at+i))), s, img)
			names[i] = s.name + "-" + d.key + "." + kind
			if err := write(dir, names[i], file); err != nil {
				return err
			}
			grey, err := decode(file)
			if err != nil {
				return err
			}
			if got, err := zxing(grey); err == nil {
				zx[i] = got.text
			}
		}
		zb, err := zbar(dir, names)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for i, s := range part {
			a, b := zx[i], zb[names[i]]
			if a == s.content {
				total.ZXing++
			}
			if b == s.content {
				total.ZBar++
			}
			if a == s.content && b == s.content {
				total.Both++
			}
			if a == s.content || b == s.content {
				total.Any++
			}
			if a != "" && a != s.content || b != "" && b != s.content {
				total.Wrong++
			}
			if remove {
				if err := os.Remove(dir + "/" + names[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	r.Rates = append(r.Rates, total)
	return err
}
