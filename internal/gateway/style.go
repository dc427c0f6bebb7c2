package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/qr"
)

// styleRequest is a style as it is asked for: a number that is given and 0 is not one that is left out.
type styleRequest struct {
	Foreground string   `json:"fg"`
	Background string   `json:"bg"`
	Size       *int     `json:"size"`
	MM         *float64 `json:"mm"`
	DPI        *int     `json:"dpi"`
	Quiet      *int     `json:"quiet"`
	Shape      string   `json:"shape"`
	Plate      string   `json:"plate"`
	Badge      string   `json:"badge"`
	Copy       string   `json:"copy"`
	Logo       string   `json:"logo"`
	Watermark  *bool    `json:"watermark"`
}

func (q *styleRequest) style() (code.Style, error) {
	s := code.Style{Foreground: q.Foreground, Background: q.Background, Shape: q.Shape, Plate: q.Plate, Badge: q.Badge, Copy: q.Copy, Logo: q.Logo, Watermark: q.Watermark}
	set(&s.Size, q.Size)
	set(&s.MM, q.MM)
	set(&s.DPI, q.DPI)
	set(&s.Quiet, q.Quiet)
	for _, f := range []struct {
		field string
		zero  bool
	}{
		{"size", q.Size != nil && s.Size == 0}, {"mm", q.MM != nil && s.MM == 0}, {"dpi", q.DPI != nil && s.DPI == 0}, {"quiet", q.Quiet != nil && s.Quiet == 0},
	} {
		if f.zero {
			return s, invalid(events.CodeInvalid, "style."+f.field, "0 is no measure: leave it out for the default")
		}
	}
	for field, text := range map[string]string{"style.badge": s.Badge, "style.copy": s.Copy} {
		if err := checkText(field, text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// specimenToken stands for a token before there is one.
const specimenToken = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// drawable remembers styles that could be drawn, so that minting thousands of codes alike draws a few pictures.
type drawable struct {
	mu    sync.Mutex
	known map[drawableKey]struct{}
}

type drawableKey struct {
	profile string
	style   code.Style
	variant code.Variant
}

// maxDrawable is how many are remembered. A key may hold a logo.
const maxDrawable = 64

func (d *drawable) has(k drawableKey) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[k]
	return ok
}

func (d *drawable) add(k drawableKey) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxDrawable {
		d.known = make(map[drawableKey]struct{}, maxDrawable)
	}
	d.known[k] = struct{}{}
}

// checkStyle draws a specimen of each picture that def is to have, so that what cannot be drawn is refused when it is asked for and
// not when it is printed.
func (p policy) checkStyle(def *code.Definition, profile code.Profile) error {
	variants := def.Variants
	if len(variants) == 0 {
		variants = []code.Variant{{}}
	}
	for i, v := range variants {
		v.N, v.Name = 0, ""
		key := drawableKey{profile.Name, def.Style, v}
		key.style.Watermark = nil
		if p.drawable.has(key) {
			continue
		}
		o, err := styled(def.Style, v)
		if err == nil {
			version, level := SymbolOf(profile.Name, p.free)
			o.Content, o.Tracking = firstOf(p.scans, "HTTPS://HUOMA/S/")+strings.Repeat("A", profile.Token.Length()), "AAAAAAAA"
			o.Version, o.Forced, o.Level = version, version > 0, qr.Level(level)
			_, err = qr.Encode(o)
		}
		if qe, ok := errors.AsType[*qr.Error](err); ok {
			return invalid(events.CodeInvalid, blame(i, v, qe.Field), "%s", qe.Message)
		}
		if err != nil {
			return err
		}
		p.drawable.add(key)
	}
	return nil
}

// blame says whose field it is: the variant's, if that sets it, else the style's.
func blame(i int, v code.Variant, field string) string {
	own := map[string]bool{"fg": v.Foreground != "" || v.Background != "", "bg": v.Background != "", "shape": v.Shape != "", "badge": v.Badge != "", "copy": v.Copy != ""}
	if own[field] {
		return fmt.Sprintf("variants[%d].%s", i, field)
	}
	return "style." + field
}

// styled are the options which style and variant make.
func styled(s code.Style, v code.Variant) (o qr.Options, err error) {
	o = qr.Options{
		Size: s.Size, MM: s.MM, DPI: s.DPI, Quiet: s.Quiet, Plate: qr.Plate(s.Plate),
		Foreground: firstOf(v.Foreground, s.Foreground), Background: firstOf(v.Background, s.Background),
		Shape: qr.Shape(firstOf(v.Shape, s.Shape)), Badge: firstOf(v.Badge, s.Badge), Copy: firstOf(v.Copy, s.Copy),
	}
	if s.Logo != "" {
		o.Logo, err = logoOf(s.Logo)
	}
	return o, err
}

// logoOf reads a logo from a data: URI.
func logoOf(text string) (*qr.Logo, error) {
	refuse := func(format string, args ...any) error {
		return &qr.Error{Field: "logo", Message: fmt.Sprintf(format, args...)}
	}
	encoded, ok := strings.CutPrefix(text, "data:image/png;base64,")
	if !ok {
		if encoded, ok = strings.CutPrefix(text, "data:image/jpeg;base64,"); !ok {
			return nil, refuse("write a PNG or JPEG as data:image/png;base64,… or data:image/jpeg;base64,…")
		}
	}
	if len(encoded) > base64.StdEncoding.EncodedLen(qr.MaxLogoBytes) {
		return nil, refuse("it has more than %d bytes: scale it down to about 256 pixels", qr.MaxLogoBytes)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, refuse("what follows the comma is no base64")
	}
	return qr.ParseLogo(b)
}

// override changes o by a picture's query.
func override(o *qr.Options, q url.Values) (err error) {
	o.Foreground = firstOf(q.Get("fg"), o.Foreground)
	o.Background = firstOf(q.Get("bg"), o.Background)
	o.Shape = qr.Shape(firstOf(q.Get("shape"), string(o.Shape)))
	o.Plate = qr.Plate(firstOf(q.Get("plate"), string(o.Plate)))
	if q.Has("badge") {
		o.Badge = q.Get("badge") // empty: none
	}
	if o.Quiet, err = queryInt(q, "quiet", qr.QuietZone, qr.MaxQuiet, o.Quiet); err != nil {
		return err
	}
	size, err := queryInt(q, "size", qr.MinSize, qr.MaxSize, 0)
	if err != nil {
		return err
	}
	mm := 0.0
	if text := q.Get("mm"); text != "" {
		if mm, err = strconv.ParseFloat(text, 64); err != nil || !(mm > 0) {
			return invalid(events.CodeInvalid, "mm", "it is the printed width of the picture in millimetres, such as 30")
		}
	}
	if size > 0 || mm > 0 { // a measure of the request's own; the style's resolution goes with the style's
		o.Size, o.MM, o.DPI = size, mm, 0
	}
	o.DPI, err = queryInt(q, "dpi", qr.MinDPI, qr.MaxDPI, o.DPI)
	return err
}
