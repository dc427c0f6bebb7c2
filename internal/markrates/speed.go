package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
)

// speeds is what a mark costs: the least of many, since a machine is seldom idle.
func speeds(o options, b *strings.Builder) ([]string, error) {
	if !o.speed {
		return nil, nil
	}
	k := key(o.seed)
	fmt.Fprintf(b, "\nOne core, least of 25 of each, %s/%s.\n\n| | 512 px | 1024 px |\n|---|---|---|\n", runtime.GOOS, runtime.GOARCH)
	sizes := []int{512, 1024}
	row := func(name string, one func(size int) (func() error, error)) error {
		fmt.Fprintf(b, "| %s |", name)
		for _, size := range sizes {
			do, err := one(size)
			if err != nil {
				return err
			}
			least := time.Hour
			for range 25 {
				begun := time.Now()
				if err := do(); err != nil {
					return err
				}
				least = min(least, time.Since(begun))
			}
			fmt.Fprintf(b, " %.2f ms |", float64(least.Microseconds())/1000)
		}
		b.WriteByte('\n')
		return nil
	}
	r := rand.New(rand.NewPCG(o.seed, 1))
	encode := func(k *watermark.Key) func(size int) (func() error, error) {
		return func(size int) (func() error, error) {
			return func() error {
				p := plain(r, size)
				if k != nil {
					p.Mark = func(img *image.NRGBA, g qr.Geometry) error {
						m, err := k.Mark(p.Content, g.Modules, 1)
						if err != nil {
							return err
						}
						return m.Draw(img, g)
					}
				}
				s, err := qr.Encode(p)
				if err != nil {
					return err
				}
				_, err = s.PNG()
				return err
			}, nil
		}
	}
	if err := row("PNG without a mark", encode(nil)); err != nil {
		return nil, err
	}
	if err := row("PNG with a mark", encode(k)); err != nil {
		return nil, err
	}
	if err := row("the mark alone: made and drawn", func(size int) (func() error, error) {
		p := plain(r, size)
		s, err := qr.Encode(p)
		if err != nil {
			return nil, err
		}
		img, err := s.Image()
		return func() error {
			m, err := k.Mark(p.Content, s.Geometry().Modules, 1)
			if err != nil {
				return err
			}
			return m.Draw(img, s.Geometry())
		}, err
	}); err != nil {
		return nil, err
	}
	if err := row("reading a picture", func(size int) (func() error, error) {
		img, err := marked(plain(r, size), k, 1)
		return func() error { _, err := observe.Read(img); return err }, err
	}); err != nil {
		return nil, err
	}
	return nil, row("deciding", func(size int) (func() error, error) {
		img, err := marked(plain(r, size), k, 1)
		if err != nil {
			return nil, err
		}
		seen, err := observe.Read(img)
		return func() error { _, err := k.Decide(seen); return err }, err
	})
}

// readers lets zbarimg read marked pictures.
func readers(o options, b *strings.Builder) ([]string, error) {
	if !o.zbar {
		return nil, nil
	}
	folder, err := os.MkdirTemp("", "markrates-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var failed []string
	k := key(o.seed)
	n, read := 0, 0
	err = each(min(o.n, 100), o.seed, "zbar", func(i int, r *rand.Rand) error {
		p := plain(r, 256+r.IntN(800))
		if i%2 == 0 {
			p = looks[r.IntN(len(looks))].draw(r)
		}
		img, err := marked(p, k, r.Uint32())
		if err != nil {
			return err
		}
		name := filepath.Join(folder, fmt.Sprint(i, ".png"))
		if err := save(name, img); err != nil {
			return err
		}
		got, err := exec.Command("zbarimg", "-q", "--raw", name).Output()
		if err != nil {
			return fmt.Errorf("zbarimg %s: %w", name, err)
		}
		if strings.TrimSpace(string(got)) != p.Content {
			return fmt.Errorf("zbarimg reads %q, want %q", got, p.Content)
		}
		return nil
	})
	if n = min(o.n, 100); err == nil {
		read = n
	} else {
		failed = append(failed, err.Error())
	}
	fmt.Fprintf(b, "\nzbarimg reads %d of %d marked pictures.\n", read, n)
	return failed, nil
}

// samples writes pictures to look at.
func samples(folder string, seed uint64) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 2))
	for _, l := range append([]look{{"black on white", func(r *rand.Rand) qr.Options { return plain(r, 512) }}}, looks...) {
		o := l.draw(r)
		with, err := marked(o, key(seed), r.Uint32())
		if err != nil {
			return err
		}
		without, err := marked(o, nil, 0)
		if err != nil {
			return err
		}
		diff := image.NewGray(with.Rect)
		for i := range diff.Pix {
			v := 128
			for c := range 3 {
				if d := int(with.Pix[4*i+c]) - int(without.Pix[4*i+c]); d != 0 {
					v = 128 + 40*d
				}
			}
			diff.Pix[i] = color.Gray{uint8(min(max(v, 0), 255))}.Y
		}
		side := image.NewNRGBA(image.Rect(0, 0, 3*with.Rect.Dx(), with.Rect.Dy()))
		for y := range with.Rect.Dy() {
			for x := range with.Rect.Dx() {
				side.Set(x, y, without.At(x, y))
				side.Set(with.Rect.Dx()+x, y, with.At(x, y))
				side.Set(2*with.Rect.Dx()+x, y, diff.At(x, y))
			}
		}
		if err := save(filepath.Join(folder, strings.NewReplacer(" ", "-", ",", "").Replace(l.name)+".png"), side); err != nil {
			return err
		}
	}
	return nil
}

func save(name string, img image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}
