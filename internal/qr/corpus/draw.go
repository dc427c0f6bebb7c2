package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/huoma/huoma/internal/qr"
)

// A specimen is one picture with what it must say.
type specimen struct {
	name    string
	content string
	version int // 0: whatever fits
	level   qr.Level
	png     []byte
	size    int
	fg, bg  color.Color
	geo     qr.Geometry
}

const (
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	crock  = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

func letters(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// pick returns one of list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// colours are pairs that people take: brands, pastels behind, all dark enough.
var colours = [][2]string{
	{"#000000", "#ffffff"}, {"#000000", "#ffffff"}, {"#1a5fb4", "#ffffff"}, {"#07602f", "#f2fff6"}, {"#7a1f1f", "#fff8f0"}, {"#3a0ca3", "#ffffff"},
	{"#102a43", "#f0f4f8"}, {"#5c2a00", "#fff4d6"}, {"#6a1b9a", "#fbeaff"}, {"#b00020", "#ffffff"}, {"#00596b", "#e6fbff"}, {"#333333", "#eeeeee"},
}

var (
	badges = []string{"", "", "3群", "VIP", "满", "A", "社群活码", "Nº 7", "12", "Группа", "読書会"}
	copies = []string{"", "", "", "扫码入群", "Scan to join", "长按识别二维码，加入第三群", "Join the reading circle, every Tuesday at eight"}
)

// specimens draws n pictures. What cannot be drawn, because a badge is too long for its symbol or a picture too small for its words, is
// drawn again with less.
func specimens(seed uint64, n int) ([]*specimen, error) {
	var logos []*qr.Logo
	for i := range 3 {
		logo, err := qr.ParseLogo(logoImage(i))
		if err != nil {
			return nil, err
		}
		logos = append(logos, logo)
	}
	out := make([]*specimen, n)
	err := each(out, 16, func(at int, part []*specimen) (err error) {
		for i := range part {
			if part[i], err = drawOne(rand.New(rand.NewPCG(seed, uint64(at+i))), at+i, logos); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func drawOne(r *rand.Rand, i int, logos []*qr.Logo) (*specimen, error) {
	s := &specimen{}
	o := qr.Options{Level: qr.LevelM, Tracking: letters(r, crock, 8), Rendering: pick(r, qr.RenderingDefault, qr.RenderingDefault, qr.RenderingArticle, qr.RenderingInternational)}
	host := pick(r, "GO.EXAMPLE.COM", "H.EXAMPLE", "QR.EXAMPLE.ORG")
	profile := pick(r, "wechat-group", "wechat-static", "wecom-group", "miniprogram")
	switch profile {
	case "wechat-group":
		o.Content, o.Version = "HTTPS://"+host+"/S/"+letters(r, base32, 34), 3
	case "wechat-static":
		o.Content, o.Version = "HTTPS://"+host+"/S/"+letters(r, crock, 12), 2
	case "wecom-group":
		o.Content, o.Version = "HTTPS://"+host+"/S/"+letters(r, base32, 34+r.IntN(20)), 4
	default:
		o.Content = "https://go.example.com/m?id=" + strings.ToLower(letters(r, crock, 12)) + "&scene=" + strings.ToLower(letters(r, base32, 4+r.IntN(60)))
		o.Level = pick(r, qr.LevelL, qr.LevelM, qr.LevelQ, qr.LevelH)
	}
	o.Forced = o.Version > 0
	o.Shape = pick(r, qr.ShapeSquare, qr.ShapeSquare, qr.ShapeRound, qr.ShapeDots)
	c := pick(r, colours...)
	o.Foreground, o.Background = c[0], c[1]
	o.Size = int(math.Round(120 * math.Pow(2000.0/120, math.Pow(r.Float64(), 2.2))))
	o.Quiet = pick(r, 0, 0, 0, 6)
	o.Badge, o.Copy = pick(r, badges...), pick(r, copies...)
	switch r.IntN(4) {
	case 0:
		o.Logo = pick(r, logos...)
	case 1:
		o.Plate = qr.PlateOff
	}
	for {
		symbol, err := qr.Encode(o)
		if e, ok := err.(*qr.Error); ok {
			switch {
			case e.Field == "badge" && o.Badge != "":
				o.Badge = ""
			case e.Field == "logo" && o.Logo != nil:
				o.Logo = nil
			case e.Field == "copy" && o.Copy != "":
				o.Copy = ""
			case e.Field == "size" && o.Size < 2000:
				o.Size += 40
			default:
				return nil, fmt.Errorf("picture %d of %s: %w", i, profile, err)
			}
			continue
		}
		if s.png, err = symbol.PNG(); err != nil {
			return nil, err
		}
		s.content, s.version, s.level, s.size, s.geo = o.Content, o.Version, symbol.Level(), o.Size, symbol.Geometry()
		s.fg, s.bg = rgb(o.Foreground), rgb(o.Background)
		s.name = fmt.Sprintf("%04d-%s-%s-%s-%d", i, profile, o.Rendering, o.Shape, o.Size)
		if o.Badge != "" {
			s.name += "-badge"
		}
		if o.Logo != nil {
			s.name += "-logo"
		}
		return s, nil
	}
}

func rgb(hex string) color.Color {
	var c color.NRGBA
	c.A = 255
	_, _ = fmt.Sscanf(hex, "#%02x%02x%02x", &c.R, &c.G, &c.B) // the list above
	return c
}

// logoImage is a small round, square or wide logo.
func logoImage(kind int) []byte {
	w, h := 96, 96
	if kind == 2 {
		w = 160
	}
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			if kind == 0 && math.Hypot(float64(x)-48, float64(y)-48) > 47 {
				continue // transparent
			}
			img.SetNRGBA(x, y, color.NRGBA{uint8(200 - x), uint8(60 + y), uint8(90 + 40*kind), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}
