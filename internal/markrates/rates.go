package main

import (
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
)

// What is promised.
const (
	promiseUndamaged = 0.99
	promiseHarmed    = 0.95
)

// tally counts what was read.
type tally struct {
	mu                     sync.Mutex
	n, right, wrong, blind int // blind: no symbol
	least                  float64
}

func (t *tally) add(o *watermark.Observation, err error, k *watermark.Key, trace uint32) error {
	if err != nil && !errors.Is(err, observe.ErrNoSymbol) {
		return err
	}
	var d watermark.Decision
	if err == nil {
		var derr error
		if d, derr = k.Decide(o); derr != nil {
			return derr
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	switch {
	case err != nil:
		t.blind++
		return nil
	case d.Found() && d.Trace == trace:
		t.right++
	case d.Found():
		t.wrong++
	}
	if t.n-t.blind == 1 || d.Evidence < t.least {
		t.least = d.Evidence
	}
	return nil
}

func (t *tally) rate() float64 { return float64(t.right) / float64(max(t.n, 1)) }

func (t *tally) String() string {
	s := fmt.Sprintf("%.1f %%", math.Floor(1000*t.rate())/10)
	if t.blind > 0 {
		s += fmt.Sprintf(", %d without a symbol", t.blind)
	}
	if t.wrong > 0 {
		s += fmt.Sprintf(", **%d wrong**", t.wrong)
	}
	return s
}

// measure marks n pictures, harms them and reads them.
func measure(o options, name string, draw func(r *rand.Rand) qr.Options, do func(image.Image, *rand.Rand) image.Image) (*tally, error) {
	k := key(o.seed)
	t := new(tally)
	return t, each(o.n, o.seed, name, func(_ int, r *rand.Rand) error {
		trace := r.Uint32()
		img, err := marked(draw(r), k, trace)
		if err != nil {
			return err
		}
		seen, err := observe.Read(do(img, r))
		return t.add(seen, err, k, trace)
	})
}

// rates is the table of harms.
func rates(o options, b *strings.Builder) (failed []string, err error) {
	table := func(list []harm.Harm, promised bool) error {
		fmt.Fprintf(b, "| what happened to the picture | named, of 512 px | least evidence | named, of 1024 px | least evidence |\n|---|---|---|---|---|\n")
		for i, h := range list {
			fmt.Fprintf(b, "| %s |", h.Name)
			for _, size := range []int{512, 1024} {
				t, err := measure(o, fmt.Sprint(h.Name, size), func(r *rand.Rand) qr.Options { return plain(r, size) }, h.Do)
				if err != nil {
					return err
				}
				fmt.Fprintf(b, " %s | %.1f |", t, t.least)
				want := promiseHarmed
				if i == 0 {
					want = promiseUndamaged
				}
				if promised && t.rate() < want || t.wrong > 0 {
					failed = append(failed, fmt.Sprintf("%s at %d px: %s", h.Name, size, t))
				}
			}
			b.WriteByte('\n')
		}
		return nil
	}
	fmt.Fprintf(b, "Promised: 99 %% undamaged, 95 %% under each single harm. %d pictures a cell, versions 3 and 4, level M, black on white, seed %d.\n\n", o.n, o.seed)
	if err := table(harm.All, true); err != nil || !o.beyond {
		return failed, err
	}
	o.n = max(1, o.n/4)
	fmt.Fprintf(b, "\nNot promised, %d pictures a cell:\n\n", o.n)
	return failed, table(harm.Beyond, false)
}

// styles is the table of styles.
func styles(o options, b *strings.Builder) (failed []string, err error) {
	fmt.Fprintf(b, "\nStyles, 512 px. Promised as above.\n\n| style | undamaged | JPEG, quality 60 | screenshot, then JPEG, quality 75 |\n|---|---|---|---|\n")
	for _, style := range looks {
		fmt.Fprintf(b, "| %s |", style.name)
		for i, do := range []func(image.Image, *rand.Rand) image.Image{
			func(img image.Image, _ *rand.Rand) image.Image { return img },
			func(img image.Image, _ *rand.Rand) image.Image { return harm.JPEG(img, 60) },
			func(img image.Image, r *rand.Rand) image.Image { return harm.JPEG(harm.Screenshot(img, r), 75) },
		} {
			t, err := measure(o, fmt.Sprint(style.name, i), style.draw, do)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(b, " %s |", t)
			if want := []float64{promiseUndamaged, promiseHarmed, promiseHarmed}[i]; t.rate() < want || t.wrong > 0 {
				failed = append(failed, fmt.Sprintf("%s, harm %d: %s", style.name, i, t))
			}
		}
		b.WriteByte('\n')
	}
	return failed, nil
}

type look struct {
	name string
	draw func(r *rand.Rand) qr.Options
}

var looks = []look{
	coloured("blue on white", "#1a5fb4", "#ffffff"),
	coloured("green on near white", "#06803f", "#f8f8f8"),
	coloured("dark red on yellow", "#990000", "#ffe680"),
	coloured("red on white", "#ff0000", "#ffffff"),
	styled("round modules", func(o *qr.Options) { o.Shape = qr.ShapeRound }),
	styled("dots", func(o *qr.Options) { o.Shape = qr.ShapeDots }),
	styled("tracking code, badge and words", func(o *qr.Options) {
		o.Version, o.Tracking, o.Badge, o.Copy = 4, "7ZZ0KQ3M", "VIP", "Scan to join the group"
	}),
	styled("blue dots with a tracking code", func(o *qr.Options) {
		o.Version, o.Shape, o.Tracking, o.Foreground = 4, qr.ShapeDots, "7ZZ0KQ3M", "#1a5fb4"
	}),
	{"version 2, a short token", func(r *rand.Rand) qr.Options {
		return qr.Options{Content: content(r, 13), Version: 2, Level: qr.LevelM, Size: 512}
	}},
	{"version 7, level H", func(r *rand.Rand) qr.Options {
		return qr.Options{Content: content(r, 34), Version: 7, Level: qr.LevelH, Size: 512}
	}},
	styled("rendering article", func(o *qr.Options) { o.Rendering = qr.RenderingArticle }),
}

func coloured(name, fg, bg string) look {
	return styled(name, func(o *qr.Options) { o.Foreground, o.Background = fg, bg })
}

func styled(name string, change func(o *qr.Options)) look {
	return look{name, func(r *rand.Rand) qr.Options {
		o := plain(r, 512)
		change(&o)
		return o
	}}
}
