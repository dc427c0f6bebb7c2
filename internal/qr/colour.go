package qr

import (
	"image/color"
	"math"
	"strconv"
	"strings"
)

// minContrast is the least ratio of the two colours' luminances (WCAG 2.2, 1.4.11 asks it of graphics).
// Readers binarize by brightness; below this, shadows and cheap print lose modules.
const minContrast = 3.0

// colours parses both colours and refuses a pair that readers cannot tell apart or take for a negative.
func colours(foreground, background string) (fg, bg color.RGBA, err error) {
	fg, ok := parseColour(foreground, color.RGBA{A: 255})
	if !ok {
		return fg, bg, refuse("fg", "%q is not a colour: write #rgb or #rrggbb", clip(foreground))
	}
	bg, ok = parseColour(background, color.RGBA{255, 255, 255, 255})
	if !ok {
		return fg, bg, refuse("bg", "%q is not a colour: write #rgb or #rrggbb", clip(background))
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

// parseColour reads rgb or rrggbb in hexadecimal, with or without a # in front; "" is def.
func parseColour(s string, def color.RGBA) (color.RGBA, bool) {
	if s == "" {
		return def, true
	}
	s = strings.TrimPrefix(s, "#")
	if len(s) == 3 {
		s = string([]byte{s[0], s[0], s[1], s[1], s[2], s[2]})
	}
	if len(s) != 6 || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return def, false
	}
	v, err := strconv.ParseUint(s, 16, 32)
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}, err == nil
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
		return s[:most] + "…"
	}
	return s
}
