// Package qr draws a scan URL as a QR symbol: PNG, SVG or text for a terminal.
//
// Start at [Encode], which checks the options and chooses the symbol; a [Symbol] can then be drawn in any
// form, always to the same modules. The encoder is github.com/skip2/go-qrcode; quiet zone, scale and
// colours are drawn here, on its bitmap. There is no I/O and no clock: the same options give the same bytes.
//
// What it refuses, each as an [*Error] that names the option: a picture in which a module would be
// smaller than a pixel, colours a reader cannot tell apart (contrast below 3:1) or takes for a negative
// (light on dark), and, for the international rendering, text outside ASCII.
//
// Capacity matters more than it seems: an upper-case URL fits alphanumeric mode, 61 characters
// in version 3 at level M, where a lower-case one has 42 bytes.
package qr

import (
	"fmt"
	"image/color"
	"strings"

	qrcode "github.com/skip2/go-qrcode"
)

// A Level is an error correction level: how much of a symbol may be unreadable.
type Level string

const (
	LevelL Level = "L" // 7 %
	LevelM Level = "M" // 15 %
	LevelQ Level = "Q" // 25 %
	LevelH Level = "H" // 30 %
)

var levels = map[Level]qrcode.RecoveryLevel{
	LevelL: qrcode.Low, LevelM: qrcode.Medium, LevelQ: qrcode.High, LevelH: qrcode.Highest,
}

// A Rendering is what a picture is meant for.
type Rendering string

const (
	// RenderingDefault is the profile's own version and level.
	RenderingDefault Rendering = "default"
	// RenderingArticle is for embedding in articles: level L, whatever level is asked for.
	RenderingArticle Rendering = "article"
	// RenderingInternational is plain ISO/IEC 18004: ASCII only, so that no reader has to guess a character set.
	RenderingInternational Rendering = "international"
)

const (
	// DefaultSize, MinSize and MaxSize are a picture's width and height in pixels.
	DefaultSize = 512
	MinSize     = 64
	MaxSize     = 4096

	// QuietZone is the width in modules of the empty border (ISO/IEC 18004, 9.1: 4X).
	QuietZone = 4

	maxVersion = 40
	maxContent = 7089 // digits in version 40 at level L; nothing longer fits any symbol
)

// Options say what to draw. Only Content is required.
type Options struct {
	Content    string
	Version    int       // preferred version, 1 to 40: used where Content fits, else the next larger one in which it does; 0 is the smallest
	Level      Level     // default M; case does not matter
	Size       int       // pixels, MinSize to MaxSize; 0 is DefaultSize
	Foreground string    // colour of the dark modules, #rgb or #rrggbb, the # may be absent; default #000000
	Background string    // colour of the light ones and of the quiet zone, default #ffffff
	Rendering  Rendering // "" is RenderingDefault
	Mark       Mark      // applied to the pixels of [Symbol.Image] and [Symbol.PNG]; nil: none. SVG has no pixels and is not marked
}

// An Error is an option that cannot be drawn. Field is its name in a picture's URL (content, version, ec, size,
// fg, bg, rendering); Message is for people and quotes no content.
type Error struct {
	Field   string
	Message string
}

func (e *Error) Error() string { return "picture: " + e.Field + ": " + e.Message }

func refuse(field, format string, args ...any) error {
	return &Error{Field: field, Message: fmt.Sprintf(format, args...)}
}

// A Symbol is an encoded QR symbol with the way to draw it. Immutable.
type Symbol struct {
	version int
	level   Level
	modules [][]bool // true is dark, no quiet zone
	size    int
	fg, bg  color.RGBA
	mark    Mark
}

// Version returns the version that was chosen, 1 to 40.
func (s *Symbol) Version() int { return s.version }

// Level returns the level it was encoded at.
func (s *Symbol) Level() Level { return s.level }

// Width returns the modules of one side, quiet zone included.
func (s *Symbol) Width() int { return len(s.modules) + 2*QuietZone }

// dark says whether the module at x, y is dark, counted from the corner of the quiet zone.
func (s *Symbol) dark(x, y int) bool {
	x, y = x-QuietZone, y-QuietZone
	return x >= 0 && y >= 0 && x < len(s.modules) && y < len(s.modules) && s.modules[y][x]
}

// Encode checks o and encodes its content. Every error is an [*Error].
func Encode(o Options) (*Symbol, error) {
	level := Level(strings.ToUpper(string(o.Level)))
	if level == "" {
		level = LevelM
	}
	if _, ok := levels[level]; !ok {
		return nil, refuse("ec", "%q is no error correction level: use L, M, Q or H", o.Level)
	}
	switch o.Rendering {
	case "", RenderingDefault:
	case RenderingArticle:
		level = LevelL
	case RenderingInternational:
		for i := range len(o.Content) {
			if o.Content[i] >= 0x80 {
				return nil, refuse("content", "the international rendering takes ASCII only, and byte %d is not: use the default rendering or an ASCII address", i)
			}
		}
	default:
		return nil, refuse("rendering", "%q is not known: use default, article or international", o.Rendering)
	}
	size := o.Size
	if size == 0 {
		size = DefaultSize
	}
	if size < MinSize || size > MaxSize {
		return nil, refuse("size", "%d pixels are outside %d to %d", size, MinSize, MaxSize)
	}
	fg, bg, err := colours(o.Foreground, o.Background)
	if err != nil {
		return nil, err
	}
	s, err := encode(o.Content, o.Version, level)
	if err != nil {
		return nil, err
	}
	if s.Width() > size {
		return nil, refuse("size", "%d pixels are too few for a symbol of version %d: it has %d modules with its quiet zone, so take at least that, better four times as many", size, s.version, s.Width())
	}
	s.size, s.fg, s.bg, s.mark = size, fg, bg, o.Mark
	return s, nil
}

// encode finds the first version from preferred upwards that content fits at level.
func encode(content string, preferred int, level Level) (*Symbol, error) {
	switch {
	case content == "":
		return nil, refuse("content", "there is nothing to encode")
	case len(content) > maxContent:
		return nil, refuse("content", "%d bytes fit no QR symbol", len(content))
	case preferred < 0 || preferred > maxVersion:
		return nil, refuse("version", "%d is outside 1 to %d (0 is the smallest that fits)", preferred, maxVersion)
	}
	for version := max(preferred, 1); version <= maxVersion; version++ {
		code, err := qrcode.NewWithForcedVersion(content, version, levels[level])
		if err != nil {
			continue // too long for this version: the content is not empty and the version is in range
		}
		code.DisableBorder = true
		return &Symbol{version: version, level: level, modules: code.Bitmap()}, nil
	}
	return nil, refuse("content", "%d bytes fit no QR symbol at level %s", len(content), level)
}
