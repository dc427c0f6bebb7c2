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
	"image"
	"image/color"
	"sort"
	"strings"
	"unicode/utf8"

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

	// QuietZone is the least and usual width in modules of the empty border (ISO/IEC 18004:2015, 5.3.8: 4X), MaxQuiet the most.
	QuietZone = 4
	MaxQuiet  = 32

	minDot = 3 // pixels of a module: below, dots are no dots and readers meet nothing

	maxVersion = 40
	maxContent = 7089 // digits in version 40 at level L; nothing longer fits any symbol
)

// A Shape is what a module looks like.
type Shape string

const (
	ShapeSquare Shape = "square"
	ShapeRound  Shape = "round" // squares whose free corners are round, grown together where they touch
	ShapeDots   Shape = "dots"  // each a dot; finders and alignment patterns are rings
)

// A Plate says whether the tracking code stands in the middle. Empty is on where there is a tracking code, no logo, and room to read it.
type Plate string

const (
	PlateOn  Plate = "on"
	PlateOff Plate = "off"
)

// Options say what to draw. Only Content is required.
type Options struct {
	Content   string
	Version   int       // 1 to 40: used where Content fits, else the next larger one in which it does; 0 is the smallest
	Forced    bool      // Version and no other: content too long for it is an error
	Level     Level     // default M; case does not matter
	Rendering Rendering // "" is RenderingDefault

	Size  int     // width in pixels, MinSize to MaxSize; 0 is DefaultSize. Words under the picture add to the height
	MM    float64 // printed width in millimetres instead of Size
	DPI   int     // MinDPI to MaxDPI; 0 is DefaultDPI with MM, else not known
	Quiet int     // modules of quiet zone, QuietZone to MaxQuiet; 0 is QuietZone

	Foreground string // colour of the dark modules, #rgb or #rrggbb, the # may be absent; default #000000
	Background string // colour of the light ones and of the quiet zone, default #ffffff
	Shape      Shape  // "" is ShapeSquare

	Tracking string // 8 characters for the plate
	Plate    Plate
	Logo     *Logo  // in the middle, instead of the plate
	Badge    string // in the lower right corner
	Copy     string // words under the picture
	Mark     Mark   // applied to the pixels of [Symbol.Image] and [Symbol.PNG]; nil: none. SVG has no pixels and is not marked
}

// An Error is an option that cannot be drawn. Field is its name in a picture's URL or a style (content, version, ec, rendering, size, mm,
// dpi, quiet, fg, bg, shape, tracking, plate, logo, badge, copy); Message is for people and quotes no content.
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

	size, dpi, quiet int
	printed          float64 // mm of the width, 0: not given
	fg, bg           color.RGBA
	shape            Shape
	mark             Mark

	covered []bool // modules something is drawn over, by row; nil: none
	eye     []bool // modules that eyes are drawn for
	eyes    []item // finders and alignment patterns of round shapes
	items   []item // plate, badge, copy
	logo    *Logo
	logoAt  image.Rectangle // modules from the corner of the quiet zone
	foot    float32         // modules of height under the quiet zone, for the copy
}

// Version returns the version that was chosen, 1 to 40.
func (s *Symbol) Version() int { return s.version }

// Level returns the level it was encoded at.
func (s *Symbol) Level() Level { return s.level }

// Width returns the modules of one side, quiet zone included.
func (s *Symbol) Width() int { return len(s.modules) + 2*s.quiet }

// dark says whether the module at x, y is dark, counted from the corner of the quiet zone.
func (s *Symbol) dark(x, y int) bool {
	x, y = x-s.quiet, y-s.quiet
	return x >= 0 && y >= 0 && x < len(s.modules) && y < len(s.modules) && s.modules[y][x]
}

// drawn says whether the module at x, y is drawn as one: it is dark, nothing lies over it, and it is no part of an eye.
func (s *Symbol) drawn(x, y int) bool {
	if !s.dark(x, y) {
		return false
	}
	at := (y-s.quiet)*len(s.modules) + x - s.quiet
	return (s.covered == nil || !s.covered[at]) && (s.eye == nil || !s.eye[at])
}

// Encode checks o, encodes its content and arranges what is drawn over it. Every error is an [*Error].
func Encode(o Options) (*Symbol, error) {
	level, err := levelOf(o)
	if err != nil {
		return nil, err
	}
	switch o.Shape {
	case "":
		o.Shape = ShapeSquare
	case ShapeSquare, ShapeRound, ShapeDots:
	default:
		return nil, refuse("shape", "%q is not known: use square, round or dots", clip(string(o.Shape)))
	}
	if o.Quiet == 0 {
		o.Quiet = QuietZone
	}
	if o.Quiet < QuietZone || o.Quiet > MaxQuiet {
		return nil, refuse("quiet", "a quiet zone is %d to %d modules wide: ISO/IEC 18004 asks for 4, and readers lose symbols that have less", QuietZone, MaxQuiet)
	}
	size, dpi, err := measure(o)
	if err != nil {
		return nil, err
	}
	fg, bg, err := colours(o.Foreground, o.Background)
	if err != nil {
		return nil, err
	}
	s, err := encode(o.Content, o.Version, o.Forced, level)
	if err != nil {
		return nil, err
	}
	if o.Rendering == RenderingArticle && s.level != LevelL { // the same version, so that the symbol is as large as ever
		if s, err = encode(o.Content, s.version, true, LevelL); err != nil {
			return nil, err
		}
	}
	s.size, s.dpi, s.printed, s.quiet, s.fg, s.bg, s.shape, s.mark = size, dpi, o.MM, o.Quiet, fg, bg, o.Shape, o.Mark
	scale := size / s.Width()
	least := 1
	if s.shape == ShapeDots {
		least = minDot
	}
	if scale < least {
		as := ""
		if least > 1 {
			as = " drawn as dots"
		}
		return nil, refuse("size", "%d pixels are too few for a symbol of version %d%s: it has %d modules with its quiet zone, so take at least %d pixels, better %d", size, s.version, as, s.Width(), least*s.Width(), 4*s.Width())
	}
	if err := s.checkPrint(); err != nil {
		return nil, err
	}
	s.drawEyes()
	if err := s.arrange(o, scale); err != nil {
		return nil, err
	}
	if err := s.drawCopy(o.Copy, scale); err != nil {
		return nil, err
	}
	return s, nil
}

// levelOf is the level to choose the version at.
func levelOf(o Options) (Level, error) {
	level := Level(strings.ToUpper(string(o.Level)))
	if level == "" {
		level = LevelM
	}
	if _, ok := levels[level]; !ok {
		return "", refuse("ec", "%q is no error correction level: use L, M, Q or H", clip(string(o.Level)))
	}
	switch o.Rendering {
	case "", RenderingDefault, RenderingArticle:
	case RenderingInternational:
		for i := range len(o.Content) {
			if o.Content[i] >= 0x80 {
				return "", refuse("content", "the international rendering takes ASCII only, and byte %d is not: use the default rendering or an ASCII address", i)
			}
		}
	default:
		return "", refuse("rendering", "%q is not known: use default, article or international", clip(string(o.Rendering)))
	}
	return level, nil
}

// encode makes the symbol of content at level: in the version, if it is forced, else in the first from there upwards
// that content fits.
func encode(content string, version int, forced bool, level Level) (*Symbol, error) {
	switch {
	case content == "":
		return nil, refuse("content", "there is nothing to encode")
	case len(content) > maxContent:
		return nil, refuse("content", "%d bytes fit no QR symbol", len(content))
	case version < 0 || version > maxVersion || forced && version == 0:
		return nil, refuse("version", "%d is outside 1 to %d (0 is the smallest that fits)", version, maxVersion)
	}
	end := maxVersion
	if forced {
		end = version
	}
	for v := max(version, 1); v <= end; v++ {
		code, err := qrcode.NewWithForcedVersion(content, v, levels[level])
		if err != nil {
			continue // too long for this version: the content is not empty and the version is in range
		}
		code.DisableBorder = true
		return &Symbol{version: v, level: level, modules: code.Bitmap()}, nil
	}
	if forced {
		return nil, refuse("content", "its %d characters do not fit version %d at level %s, which is forced: save %d", utf8.RuneCountInString(content), version, level, excess(content, version, level))
	}
	return nil, refuse("content", "%d bytes fit no QR symbol at level %s", len(content), level)
}

// excess is how many characters must go from the end of content until it fits.
func excess(content string, version int, level Level) int {
	runes := []rune(content)
	return sort.Search(len(runes), func(n int) bool {
		_, err := qrcode.NewWithForcedVersion(string(runes[:len(runes)-n]), version, levels[level])
		return err == nil
	})
}
