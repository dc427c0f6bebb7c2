package qr

import "math"

const (
	// DefaultDPI is the resolution of pictures measured in millimetres.
	DefaultDPI = 300
	// MinDPI and MaxDPI bound it.
	MinDPI = 72
	MaxDPI = 2400

	inch = 25.4 // mm

	// minModule is the least printed side of a module in mm. The GS1 General Specifications ask for 0.396 mm where phones
	// scan from paper; below a quarter of a millimetre common printers lose single modules.
	minModule = 0.25
)

// measure turns the options' size, in pixels or in millimetres at a resolution, into pixels. A dpi of 0 says that the
// printed size is not known.
func measure(o Options) (size, dpi int, err error) {
	switch {
	case o.DPI != 0 && (o.DPI < MinDPI || o.DPI > MaxDPI):
		return 0, 0, refuse("dpi", "%d is outside %d to %d", o.DPI, MinDPI, MaxDPI)
	case math.IsNaN(o.MM) || o.MM < 0 || o.MM > 10_000:
		return 0, 0, refuse("mm", "it is the printed side of the picture, such as 30")
	case o.MM == 0:
		size, dpi = o.Size, o.DPI
		if size == 0 {
			size = DefaultSize
		}
		if size < MinSize || size > MaxSize {
			return 0, 0, refuse("size", "%d pixels are outside %d to %d", size, MinSize, MaxSize)
		}
		return size, dpi, nil
	case o.Size != 0:
		return 0, 0, refuse("size", "give pixels or millimetres, not both: with mm and dpi the pixels follow")
	}
	if dpi = o.DPI; dpi == 0 {
		dpi = DefaultDPI
	}
	size = int(math.Round(o.MM / inch * float64(dpi)))
	if size < MinSize || size > MaxSize {
		return 0, 0, refuse("mm", "%g mm at %d dpi are %d pixels, outside %d to %d: at this resolution %.0f to %.0f mm can be drawn",
			o.MM, dpi, size, MinSize, MaxSize, math.Ceil(MinSize*inch/float64(dpi)), math.Floor(MaxSize*inch/float64(dpi)))
	}
	return size, dpi, nil
}

// checkPrint refuses modules too small for paper.
func (s *Symbol) checkPrint() error {
	if s.dpi == 0 {
		return nil
	}
	scale := s.size / s.Width()
	module := float64(scale) / float64(s.dpi) * inch
	if module < minModule {
		field := "mm"
		if s.printed == 0 {
			field = "dpi"
		}
		return refuse(field, "a module would be %.2f mm in print, and readers need %.2f: make it at least %.0f mm", module, minModule, math.Ceil(minModule*float64(s.Width())))
	}
	return nil
}

// mm is the printed length of pixels.
func (s *Symbol) mm(pixels int) float64 { return float64(pixels) / float64(s.dpi) * inch }
