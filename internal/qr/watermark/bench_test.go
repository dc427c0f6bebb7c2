package watermark_test

import (
	"fmt"
	"image"
	"testing"

	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
)

// BenchmarkPicture is a whole picture, with and without a mark.
func BenchmarkPicture(b *testing.B) {
	key, err := watermark.NewKey(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	const content = "HTTPS://GO.EXAMPLE.COM/S/E6CF42CTI7QKACYSSBLZLCNOZ4P46ZLEGU"
	for _, size := range []int{512, 1024} {
		for _, marked := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d px, marked %v", size, marked), func(b *testing.B) {
				for b.Loop() {
					o := qr.Options{Content: content, Version: 4, Size: size}
					if marked {
						o.Mark = func(img *image.NRGBA, g qr.Geometry) error {
							m, err := key.Mark(content, g.Modules, 1)
							if err != nil {
								return err
							}
							return m.Draw(img, g)
						}
					}
					s, err := qr.Encode(o)
					if err != nil {
						b.Fatal(err)
					}
					p, err := s.PNG()
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(p)), "bytes")
				}
			})
		}
	}
}
