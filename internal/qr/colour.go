package qr

import (
	"image/color"
	"math"
	"strconv"
	"strings"

	"golang.org/x/image/colornames"
)

// minContrast is the least ratio of the two colours' luminances (WCAG 2.2, 1.4.11 asks it of graphics).
// Readers binarize by brightness; below this, shadows and cheap print lose modules.
const minContrast = 3.0

// colours parses both colours and refuses a pair that readers cannot tell apart or take for a negative.
func colours(foreground, background string) (fg, bg color.RGBA, err error) {
	if fg, err = parseColour("fg", foreground, color.RGBA{A: 255}); err != nil {
		return fg, bg, err
	}
	if bg, err = parseColour("bg", background, color.RGBA{255, 255, 255, 255}); err != nil {
		return fg, bg, err
	}
	f, b := luminance(fg), luminance(bg)
	ratio := contrast(f, b)
	if ratio < minContrast {
		return fg, bg, refuse("fg", "%s on %s has a contrast of %.2f:1, and readers need %.0f:1: take a darker foreground or a lighter background", hex(fg), hex(bg), math.Floor(ratio*100)/100, minContrast)
	}
	if f > b {
		return fg, bg, refuse("fg", "%s on %s is light on dark, which many readers cannot read: exchange the two", hex(fg), hex(bg))
	}
	return fg, bg, nil
}

// parseColour reads rgb or rrggbb in hexadecimal, with or without a # in front; "" is def. A colour that is not opaque is
// refused: what shows through is not known here, so nobody could promise that it scans. Names are refused with the
// number to write, so that a definition means the same to every program that reads it.
func parseColour(field, text string, def color.RGBA) (color.RGBA, error) {
	if text == "" {
		return def, nil
	}
	s := strings.TrimPrefix(text, "#")
	if len(s) == 3 || len(s) == 4 {
		long := make([]byte, 0, 8)
		for i := range len(s) {
			long = append(long, s[i], s[i])
		}
		s = string(long)
	}
	if (len(s) == 6 || len(s) == 8) && strings.Trim(s, "0123456789abcdefABCDEF") == "" {
		v, err := strconv.ParseUint(s[:6], 16, 32)
		if err != nil {
			return def, refuse(field, "%q is not a colour: write #rgb or #rrggbb", clip(text))
		}
		if len(s) == 8 && !strings.EqualFold(s[6:], "ff") {
			return def, refuse(field, "%q is transparent, and what will show through is not known here: write the colour that it will stand on, such as #ffffff", clip(text))
		}
		return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}, nil
	}
	if strings.EqualFold(text, "transparent") || strings.EqualFold(text, "none") {
		return def, refuse(field, "%q cannot be checked for contrast, because what will show through is not known here: write the colour that it will stand on, such as #ffffff", clip(text))
	}
	if c, ok := colornames.Map[strings.ToLower(text)]; ok {
		return def, refuse(field, "%q is a name, and colours are numbers: write %s", clip(text), hex(c))
	}
	return def, refuse(field, "%q is not a colour: write #rgb or #rrggbb", clip(text))
}

// luminance is the relative luminance of c, 0 to 1 (WCAG 2.2, "relative luminance").
func luminance(c color.RGBA) float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

// contrast is the ratio of two luminances, 1 to 21 (WCAG 2.2, "contrast ratio").
func contrast(a, b float64) float64 {
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

// hex writes c as #rrggbb.
func hex(c color.RGBA) string {
	const digits = "0123456789abcdef"
	return string([]byte{'#', digits[c.R>>4], digits[c.R&15], digits[c.G>>4], digits[c.G&15], digits[c.B>>4], digits[c.B&15]})
}

// clip keeps a quoted input short.
func clip(s string) string {
	const most = 32
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
