package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/qr"
	"github.com/huoma/huoma/internal/token"
)

const (
	// defaultDevice is the screen of who names none.
	defaultDevice = "screen"
	maxScreen     = 32
	// liveVersion is the smallest symbol of a live picture: a token of 34 characters and a short host fill it.
	liveVersion = 3
)

// screen is one device that shows a code's live pictures, and how.
type screen struct {
	id      token.CodeID
	device  string
	variant int
	query   url.Values // of the picture's style
	png     bool
}

// deviceName reads a device's name.
func deviceName(text string) (string, error) {
	if text == "" {
		return defaultDevice, nil
	}
	if len(text) > maxScreen || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return "", invalid(events.CodeInvalid, "device", "name the screen with at most %d letters, digits, dots, dashes and underscores, such as lobby", maxScreen)
	}
	return text, nil
}

// screenState is what a screen is to show at one moment.
type screenState struct {
	id    string // of the event: the same while the screen is to show the same
	event string // picture or closed
	data  any
	over  bool // nothing will follow
}

// livePicture is the data of the event picture. Times are RFC 3339.
type livePicture struct {
	Code       string    `json:"code"`
	Name       string    `json:"name,omitzero"`
	Variant    int       `json:"variant"`
	Device     string    `json:"device"`
	Tracking   string    `json:"tracking"` // of all pictures of this code, variant and device
	Token      string    `json:"token"`
	ScanURL    string    `json:"scan_url"`
	Image      string    `json:"image"`       // data: URL
	Minute     string    `json:"minute"`      // begin of the minute it is for
	Now        time.Time `json:"now"`         // the gateway's clock as it was sent
	NextAt     string    `json:"next_at"`     // when the next one comes
	ValidUntil string    `json:"valid_until"` // from when on it is refused
}

// liveClosed is the data of the event closed: scans lead nowhere.
type liveClosed struct {
	Code   string `json:"code"`
	Name   string `json:"name,omitzero"`
	Status string `json:"status"`
	Reason string `json:"reason,omitzero"`
}

// look works out what a screen is to show at now. It needs no broker: what the mirror knows and the keys.
func (g *Gateway) look(s screen, now time.Time) (screenState, error) {
	k, ok := g.mirror.get(s.id, now)
	if !ok {
		return screenState{}, noSuchCode()
	}
	if k.view.Status != code.StatusActive {
		return screenState{
			id: fmt.Sprintf("closed.%s.%s", k.view.Status, k.view.Reason), event: "closed", over: k.view.Status == code.StatusRevoked,
			data: liveClosed{k.def.ID, k.def.Name, string(k.view.Status), k.view.Reason},
		}, nil
	}
	minute := token.MinuteOf(now)
	keys := g.keyring()
	l := token.Live{Picture: token.Picture{Code: s.id, Variant: s.variant}, Device: keys.Device(s.id, s.device), Minute: minute}
	text, err := keys.SealLive(l)
	if err != nil {
		return screenState{}, err
	}
	p := livePicture{
		Code: k.def.ID, Name: k.def.Name, Variant: s.variant, Device: s.device, Tracking: keys.LiveTracking(l), Token: text, ScanURL: g.publicURL + scanPath + text,
		Minute: events.FormatMinute(minute.Time()), Now: now.UTC().Truncate(time.Millisecond), NextAt: events.FormatMinute((minute + 1).Time()),
		ValidUntil: events.FormatMinute((minute + token.LiveMinutes).Time()),
	}
	if p.Image, err = g.liveImage(k, s, p.ScanURL, p.Tracking); err != nil {
		return screenState{}, err
	}
	return screenState{id: fmt.Sprintf("%d.%d.%d", minute, k.def.Revision, keys.NewestID()), event: "picture", data: p}, nil
}

// liveImage draws a picture as a data: URL.
func (g *Gateway) liveImage(k known, s screen, scanURL, tracking string) (string, error) {
	o, err := g.pictureOptions(k, s.query)
	if err != nil {
		return "", err
	}
	o.Content, o.Tracking, o.Version, o.Forced = printed(scanURL), tracking, max(o.Version, liveVersion), false
	drawn, err := qr.Encode(o)
	if qe, ok := errors.AsType[*qr.Error](err); ok {
		return "", invalid(events.CodeInvalid, qe.Field, "%s", qe.Message)
	}
	if err != nil {
		return "", err
	}
	if !s.png {
		return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(drawn.SVG()), nil
	}
	b, err := drawn.PNG()
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b), err
}

// screenOf reads which screen a request is for: of the code k, in the variant asked for, else the first.
func (g *Gateway) screenOf(k known, device string, q url.Values) (screen, error) {
	s := screen{id: k.id, query: q}
	var err error
	if s.device, err = deviceName(device); err != nil {
		return s, err
	}
	switch format := q.Get("format"); format {
	case "", "svg":
	case "png":
		s.png = true
	default:
		return s, invalid(events.CodeInvalid, "format", "pictures come as svg or png")
	}
	if s.variant, err = variantOf(k.def, q); err != nil {
		return s, err
	}
	_, err = g.liveImage(k, s, g.publicURL+scanPath+specimenToken, "AAAAAAAA") // what cannot be drawn is told at once
	return s, err
}

// streamLive answers GET /v1/codes/{id}/live.
func (g *Gateway) streamLive(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "device", "format", "size", "variant", "ec", "rendering", "badge", "fg", "bg", "shape", "plate", "mm", "dpi", "quiet")
	if err != nil {
		return err
	}
	k, err := g.known(r)
	if err != nil {
		return err
	}
	if !k.def.RevokedAt.IsZero() {
		return problem(http.StatusGone, "revoked", "a revoked code has no pictures to show: mint a new one")
	}
	s, err := g.screenOf(k, q.Get("device"), q)
	if err != nil {
		return err
	}
	return g.show(w, r, func(now time.Time) (screenState, error) { return g.look(s, now) })
}

// show streams what look says until the reader or the gateway goes.
func (g *Gateway) show(w http.ResponseWriter, r *http.Request, look func(time.Time) (screenState, error)) error {
	if _, err := look(g.now()); err != nil {
		return err
	}
	out := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.screensEnd, cancel)()
	live := liveStream{now: g.now, look: look, last: r.Header.Get("Last-Event-ID"), send: func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(WriteWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		_, err := w.Write(b)
		if err == nil {
			err = out.Flush()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			g.metrics.dropped.WithLabelValues(droppedNotReading).Inc()
			g.log.Warn("a screen was dropped: it did not read its picture in time, and may come back")
		}
		return err
	}}
	if err := live.run(ctx); err != nil && ctx.Err() == nil {
		g.log.Warn("a screen's stream ended", "route", "live", "err", err)
	}
	return nil
}

// liveStream writes server-sent events: what a screen is to show, as it changes. A new picture comes as the clock begins a minute; what else
// changes (the code is revoked, full, changed) comes with the next beat.
type liveStream struct {
	now  func() time.Time
	look func(time.Time) (screenState, error)
	send func([]byte) error
	last string // id of what the reader shows
}

func (l *liveStream) run(ctx context.Context) error {
	if err := l.send([]byte("retry: 2000\n: open\n\n")); err != nil {
		return err
	}
	for {
		now := l.now()
		s, err := l.look(now)
		if err != nil {
			return err
		}
		message := []byte(": beat\n\n")
		if s.id != l.last {
			b, err := json.Marshal(s.data)
			if err != nil {
				return err
			}
			message = fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", s.id, s.event, b)
		}
		if err := l.send(message); err != nil {
			return err
		}
		if l.last = s.id; s.over {
			return nil
		}
		next := now.Truncate(time.Minute).Add(time.Minute).Sub(now)
		timer := time.NewTimer(min(next, heartbeat))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
