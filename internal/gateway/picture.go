package gateway

import (
	"errors"
	"image"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/qr/watermark"
)

// picturePNG answers GET /v1/codes/{id}/qr.png.
func (g *Gateway) picturePNG(w http.ResponseWriter, r *http.Request) error {
	d, err := g.drawing(r)
	if err != nil {
		return err
	}
	mark, traced := d.mark, false
	if mark.wanted {
		d.options.Mark = func(img *image.NRGBA, geo qr.Geometry) error {
			m, err := g.traces.key.Mark(d.options.Content, geo.Modules, g.traces.key.Trace(mark.pair.Issuer, mark.pair.Device))
			if err != nil {
				return err
			}
			if err = m.Draw(img, geo); errors.Is(err, watermark.ErrTooSmall) && !mark.asked {
				return nil // the profile's wish, and this picture cannot have it
			}
			traced = err == nil
			return err
		}
	}
	s, err := encodeSymbol(d.options)
	if err != nil {
		return err
	}
	b, err := s.PNG()
	if errors.Is(err, watermark.ErrTooSmall) {
		return problem(http.StatusBadRequest, "not_markable", "%s, or leave watermark out", strings.TrimPrefix(watermark.ErrTooSmall.Error(), "watermark: ")).at("watermark")
	}
	if err != nil {
		return err
	}
	if traced {
		w.Header().Set("Huoma-Trace", watermark.FormatTrace(g.traces.note(mark.pair, g.now())))
	}
	return writePicture(w, "image/png", b)
}

// pictureSVG answers GET /v1/codes/{id}/qr.svg. It has no pixels that could be marked.
func (g *Gateway) pictureSVG(w http.ResponseWriter, r *http.Request) error {
	d, err := g.drawing(r)
	if err != nil {
		return err
	}
	if d.mark.asked {
		return problem(http.StatusBadRequest, "not_markable", "an SVG carries no watermark: ask for qr.png, or leave watermark out").at("watermark")
	}
	s, err := encodeSymbol(d.options)
	if err != nil {
		return err
	}
	return writePicture(w, "image/svg+xml", s.SVG())
}

func writePicture(w http.ResponseWriter, mediaType string, b []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
	h.Set("Cache-Control", "private, max-age=300")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the client has gone
	return nil
}

// drawing is what a request asks for.
type drawing struct {
	options qr.Options
	mark    marking
}

// marking is whether a picture is to carry a trace, and whose.
type marking struct {
	wanted bool
	asked  bool // by the request itself: one that cannot be drawn is an error
	pair   pair
}

func (g *Gateway) drawing(r *http.Request) (d drawing, err error) {
	q, err := query(r, "size", "variant", "ec", "rendering", "badge", "fg", "bg", "shape", "plate", "mm", "dpi", "quiet", "watermark", "device")
	if err != nil {
		return d, err
	}
	k, err := g.known(r)
	if err != nil {
		return d, err
	}
	if d.options, err = g.pictureOptions(k, q); err != nil {
		return d, notDrawable(err)
	}
	d.mark, err = g.markingOf(k.def, q)
	return d, err
}

// markingOf is the request's, else the code's, else the profile's.
func (g *Gateway) markingOf(def *code.Definition, q url.Values) (m marking, err error) {
	switch v := q.Get("watermark"); v {
	case "":
		if m.wanted = profileOfCode(def).Watermark; def.Style.Watermark != nil {
			m.wanted = *def.Style.Watermark
		}
	case "on", "off":
		m.wanted, m.asked = v == "on", v == "on"
	default:
		return m, invalid(events.CodeInvalid, "watermark", "use on or off, or leave it out for what the code says")
	}
	device := q.Get("device")
	if err := checkDevice(device); err != nil {
		return m, err
	}
	m.pair = pair{issuerOf(def), firstOf(device, g.opts.Device)}
	return m, nil
}

func encodeSymbol(o qr.Options) (*qr.Symbol, error) {
	s, err := qr.Encode(o)
	return s, notDrawable(err)
}

// notDrawable says of an option that cannot be drawn which it is.
func notDrawable(err error) error {
	if qe, ok := errors.AsType[*qr.Error](err); ok {
		return invalid(events.CodeInvalid, qe.Field, "%s", qe.Message)
	}
	return err
}

// pictureOptions are the request's, else the variant's, else the code's, else the profile's.
func (g *Gateway) pictureOptions(k known, q url.Values) (o qr.Options, err error) {
	def := k.def
	n, err := variantOf(def, q)
	if err != nil {
		return o, err
	}
	variant, _ := def.Variant(n)
	if o, err = styled(def.Style, variant); err != nil {
		return o, err
	}
	if err := override(&o, q); err != nil {
		return o, err
	}
	p, err := g.pictureOf(def, k.id, n)
	if err != nil {
		return o, err
	}
	version, level := SymbolOf(def.Profile, g.opts.QRFree)
	o.Content, o.Tracking, o.Level = printed(p.ScanURL), p.Tracking, qr.Level(firstOf(q.Get("ec"), level))
	o.Version, o.Forced = version, version > 0
	o.Rendering = qr.Rendering(q.Get("rendering"))
	return o, nil
}

func firstOf(list ...string) string {
	for _, v := range list {
		if v != "" {
			return v
		}
	}
	return ""
}
