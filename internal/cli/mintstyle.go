package cli

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/qr"
)

// styleFlags are how the pictures of a code are drawn, now and later.
type styleFlags struct {
	FG    string  `name:"fg" help:"Colour of the picture, #rrggbb." placeholder:"COLOUR"`
	BG    string  `name:"bg" help:"Colour behind it, #rrggbb." placeholder:"COLOUR"`
	Shape string  `help:"Shape of its modules: square, round or dots."`
	Badge string  `help:"Words in its corner, such as a group's number."`
	Plate string  `help:"The tracking code in its middle: on or off. Default: on where it can be read."`
	Logo  string  `help:"Image in its middle instead, a PNG or JPEG file of at most 32 KiB." type:"path"`
	Copy  string  `help:"Words under it."`
	Quiet int     `help:"Modules of empty border, 4 to 32. Default: 4."`
	MM    float64 `name:"mm" help:"Printed width in millimetres, such as 30."`
	DPI   int     `name:"dpi" help:"Resolution in print. Default with --mm: 300."`
}

// style is what the flags say, nil when they say nothing.
func (f *styleFlags) style() (*client.Style, error) {
	if *f == (styleFlags{}) {
		return nil, nil
	}
	if f.MM < 0 || f.DPI < 0 || f.Quiet < 0 {
		return nil, usagef("--mm, --dpi and --quiet are measures: give numbers above 0")
	}
	s := &client.Style{Foreground: f.FG, Background: f.BG, MM: f.MM, DPI: f.DPI, Quiet: f.Quiet, Shape: f.Shape, Plate: f.Plate, Badge: f.Badge, Copy: f.Copy}
	if f.Logo == "" {
		return s, nil
	}
	b, err := os.ReadFile(f.Logo)
	if err != nil {
		return nil, usagef("the logo %s cannot be read: name a PNG or JPEG file", clipText(f.Logo))
	}
	if _, err := qr.ParseLogo(b); err != nil {
		return nil, usagef("the logo %s cannot be drawn: %s", clipText(f.Logo), strings.TrimPrefix(err.Error(), "picture: logo: "))
	}
	s.Logo = "data:" + http.DetectContentType(b) + ";base64," + base64.StdEncoding.EncodeToString(b)
	return s, nil
}

// parseVariant reads "name,fg=#7a1f1f,copy=Join us".
func parseVariant(text string) (client.Variant, error) {
	name, rest, more := strings.Cut(text, ",")
	v := client.Variant{Name: strings.TrimSpace(name)}
	if key, _, ok := strings.Cut(name, "="); ok {
		return v, usagef("--variant %q: begin with its name, such as A,%s=…", clipText(text), clipText(key))
	}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return v, usagef("--variant %q: after the name write name=value, such as A,shape=dots", clipText(text))
		}
		switch key {
		case "fg":
			v.Foreground = value
		case "bg":
			v.Background = value
		case "shape":
			v.Shape = value
		case "badge":
			v.Badge = value
		case "copy":
			v.Copy = value
		default:
			return v, usagef("--variant %q: there is no %q; use fg, bg, shape, badge and copy", clipText(text), clipText(key))
		}
	}
	return v, nil
}
