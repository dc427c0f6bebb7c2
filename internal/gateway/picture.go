package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/qr"
)

// picturePNG answers GET /v1/codes/{id}/qr.png.
func (g *Gateway) picturePNG(w http.ResponseWriter, r *http.Request) error {
	s, err := g.symbol(r)
	if err != nil {
		return err
	}
	b, err := s.PNG()
	if err != nil {
		return err
	}
	return writePicture(w, "image/png", b)
}

// pictureSVG answers GET /v1/codes/{id}/qr.svg.
func (g *Gateway) pictureSVG(w http.ResponseWriter, r *http.Request) error {
	s, err := g.symbol(r)
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

func (g *Gateway) symbol(r *http.Request) (*qr.Symbol, error) {
	q, err := query(r, "size", "variant", "ec", "rendering", "badge", "fg", "bg", "shape", "plate", "mm", "dpi", "quiet")
	if err != nil {
		return nil, err
	}
	k, err := g.known(r)
	if err != nil {
		return nil, err
	}
	var s *qr.Symbol
	o, err := g.pictureOptions(k, q)
	if err == nil {
		s, err = qr.Encode(o)
	}
	if qe, ok := errors.AsType[*qr.Error](err); ok {
		return nil, invalid(events.CodeInvalid, qe.Field, "%s", qe.Message)
	}
	return s, err
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
