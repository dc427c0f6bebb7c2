package observe

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	qrcode "github.com/skip2/go-qrcode"

	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
)

func drawMark(content string, version, size int, k *watermark.Key, trace uint32, dark, light uint8) image.Image {
	c, err := qrcode.NewWithForcedVersion(content, version, qrcode.Medium)
	if err != nil {
		panic(err)
	}
	c.DisableBorder = true
	bm := c.Bitmap()
	n := len(bm)
	m, _ := k.Mark(content, n, trace)
	img := image.NewGray(image.Rect(0, 0, size, size))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	scale := size / (n + 8)
	off := (size-scale*(n+8))/2 + 4*scale
	for y := range n {
		for x := range n {
			v := uint8(255)
			if bm[y][x] {
				v = 0
				if m.Bright(x, y) {
					v += dark
				}
			} else if !m.Bright(x, y) {
				v -= light
			}
			for py := range scale {
				for px := range scale {
					img.SetGray(off+x*scale+px, off+y*scale+py, color.Gray{v})
				}
			}
		}
	}
	return img
}

func TestProto(t *testing.T) {
	k, _ := watermark.NewKey(make([]byte, 32))
	r := rand.New(rand.NewPCG(3, 4))
	N := 12
	if os.Getenv("N") != "" {
		fmt.Sscan(os.Getenv("N"), &N)
	}
	dark, light := uint8(3), uint8(2)
	if os.Getenv("DL") != "" {
		fmt.Sscan(os.Getenv("DL"), &dark, &light)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	for _, size := range []int{512, 1024} {
		for _, h := range harm.All {
			found, wrong, nosym := 0, 0, 0
			minE, sumE := 1e9, 0.0
			var took time.Duration
			for i := range N {
				tok := make([]byte, 34)
				for j := range tok {
					tok[j] = letters[r.IntN(32)]
				}
				content := "HTTPS://GO.EXAMPLE.COM/S/" + string(tok)
				tr := r.Uint32()
				img := h.Do(drawMark(content, 3+i%2, size, k, tr, dark, light), r)
				t0 := time.Now()
				o, err := Read(img)
				took += time.Since(t0)
				if err != nil {
					nosym++
					continue
				}
				d, err := k.Decide(o)
				if err != nil {
					t.Fatal(err)
				}
				minE = min(minE, d.Evidence)
				sumE += d.Evidence
				if d.Found() && d.Trace == tr {
					found++
				} else if d.Found() {
					wrong++
				}
			}
			fmt.Printf("%4d %-36s found %3d/%d wrong %d nosym %d evidence mean %.1f min %.1f read %v\n", size, h.Name, found, N, wrong, nosym, sumE/float64(N-nosym), minE, took/time.Duration(N))
		}
	}
}
