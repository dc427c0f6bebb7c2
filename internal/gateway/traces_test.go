package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/harm"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
)

// ask reads a picture as huoma trace does, and asks the gateway whose it is.
func (h *house) ask(img image.Image) map[string]any {
	h.t.Helper()
	o, err := observe.Read(img)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := json.Marshal(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.admin("POST", "/v1/traces", string(b)).want(h.t, 200).json(h.t)
}

// traced asks for a code's picture.
func (h *house) traced(c map[string]any, query string) (image.Image, string) {
	h.t.Helper()
	a := h.admin("GET", "/v1/codes/"+c["id"].(string)+"/qr.png?"+query, "").want(h.t, 200)
	img, err := png.Decode(bytes.NewReader(a.body))
	if err != nil {
		h.t.Fatal(err)
	}
	return img, a.header.Get("Huoma-Trace")
}

// who writes the claims of an answer as issuer/device.
func who(a map[string]any) string {
	var out []string
	for _, c := range a["claims"].([]any) {
		m := c.(map[string]any)
		out = append(out, m["issuer"].(string)+"/"+m["device"].(string))
	}
	return strings.Join(out, " ")
}

func (h *house) group(fields string) map[string]any {
	h.t.Helper()
	return h.admin("POST", "/v1/codes", `{"profile":"wecom-group","targets":[{"url":"https://example.com/a"}]`+fields+`}`).want(h.t, 201).json(h.t)
}

// A picture of a group's code is found somewhere: whose is it, and who asked for it?
func TestAPictureIsTraced(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) { o.Device = "gate-1" })
	c := h.group(`,"owner":"alice","name":"spring"`)
	img, trace := h.traced(c, "device=till+3&size=600")
	if trace == "" {
		t.Fatal("the answer names no trace")
	}
	h.until("the names are kept", func() bool { return h.admin("GET", "/v1/traces/"+trace, "").status == 200 })
	got := h.ask(harm.JPEG(img, 60))
	if got["found"] != true || got["trace"] != trace || who(got) != "alice/till 3" || got["code"] != c["id"] || got["name"] != "spring" || got["owner"] != "alice" ||
		got["registry"] != "read" || got["chance"].(float64) > 1e-11 || got["print"] != 0.0 {
		t.Errorf("%v", got)
	}
	names := h.admin("GET", "/v1/traces/"+trace, "").want(t, 200).json(t)
	if who(names) != "alice/till 3" || names["claims"].([]any)[0].(map[string]any)["first_seen"] == nil {
		t.Errorf("%v", names)
	}

	// Without a device it is the gateway's own; another owner has another number.
	img, trace = h.traced(c, "")
	if _, other := h.traced(h.group(""), ""); other == trace {
		t.Error("two owners share a number")
	}
	h.until("the gateway's own", func() bool { return who(h.ask(img)) == "alice/gate-1" })

	// The owner changes; an old picture names the old one.
	h.admin("PATCH", "/v1/codes/"+c["id"].(string), `{"owner":"bob"}`).want(t, 200)
	if got := h.ask(img); who(got) != "alice/gate-1" || got["owner"] != "bob" {
		t.Errorf("after the owner changed: %v", got)
	}

	// Somebody else's picture names nobody, and neither does one without a mark.
	img, trace = h.traced(c, "watermark=off")
	if got := h.ask(img); trace != "" || got["found"] != false || got["reason"] != "no-evidence" || who(got) != "" || got["trace"] != nil || got["chance"] != 1.0 || got["code"] != c["id"] {
		t.Errorf("without a mark: %q, %v", trace, got)
	}
}

func TestWhichPicturesAreMarked(t *testing.T) {
	h := newHouse(t)
	on, off := h.group(""), h.mint("")
	styleOff, styleOn := h.group(`,"style":{"watermark":false}`), h.mint(`"targets":[{"url":"https://example.com/a"}],"style":{"watermark":true}`)
	for _, row := range []struct {
		what  string
		c     map[string]any
		query string
		want  bool
	}{
		{"wecom-group", on, "", true}, {"wechat-group", off, "", false}, {"wecom-group, off by style", styleOff, "", false}, {"wechat-group, on by style", styleOn, "", true},
		{"off by request", on, "watermark=off", false}, {"on by request", off, "watermark=on", true}, {"request over style", styleOff, "watermark=on", true}, {"request over style, off", styleOn, "watermark=off", false},
		{"too small, and nobody asked", on, "size=100", false}, {"article", on, "rendering=article", true}, {"large", on, "size=1500", true},
	} {
		img, trace := h.traced(row.c, row.query)
		if (trace != "") != row.want {
			t.Errorf("%s: trace %q", row.what, trace)
		}
		if img.Bounds().Dx() < 200 {
			continue
		}
		if got := h.ask(img); got["found"] != row.want || row.want && got["trace"] != trace {
			t.Errorf("%s: %v, want %q", row.what, got, trace)
		}
	}
	for query, want := range map[string]string{
		"qr.png?watermark=yes": "watermark: use on or off", "qr.png?watermark=on&size=100": "watermark: it needs 4 pixels a module", "qr.svg?watermark=on": "watermark: an SVG carries no watermark",
		"qr.png?device=" + strings.Repeat("x", 65): "device: it has 65 bytes", "qr.png?device=" + url.QueryEscape("a\nb"): "device: it has a control character", "qr.png?device=a&device=b": "device: give it once",
	} {
		p := h.admin("GET", "/v1/codes/"+on["id"].(string)+"/"+query, "").want(t, 400).json(t)
		if got := p["field"].(string) + ": " + p["detail"].(string); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	h.admin("GET", "/v1/codes/"+on["id"].(string)+"/qr.svg?device=x&watermark=off", "").want(t, 200)
	h.admin("POST", "/v1/codes", `{"profile":"wecom-group","targets":[{"url":"https://example.com/a"}],"style":{"watermark":"on"}}`).want(t, 400)
}

// away is the real log with a bucket of traces that can be out of reach.
type away struct {
	*natsjs.Conn
	off atomic.Bool
}

var errOutOfReach = errors.New("out of reach")

func (a *away) Connected() bool { return !a.off.Load() && a.Conn.Connected() }

func (a *away) PutTrace(ctx context.Context, id string, value []byte, rev uint64) (uint64, error) {
	if a.off.Load() {
		return 0, errOutOfReach
	}
	return a.Conn.PutTrace(ctx, id, value, rev)
}

func (a *away) Trace(ctx context.Context, id string) ([]byte, uint64, error) {
	if a.off.Load() {
		return nil, 0, errOutOfReach
	}
	return a.Conn.Trace(ctx, id)
}

// While NATS is away pictures are drawn and marked, and their names are kept once it is back.
func TestPicturesWhileNATSIsAway(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	a := &away{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) { o.Backend, o.Device = a, "gate-1" })
	h.work()
	c := h.group(`,"owner":"alice"`)
	a.off.Store(true)
	img, trace := h.traced(c, "device=till-9")
	got := h.ask(img)
	if got["found"] != true || got["trace"] != trace || got["registry"] != "away" || who(got) != "alice/till-9" {
		t.Errorf("while it is away: %v", got)
	}
	if c := got["claims"].([]any)[0].(map[string]any); c["first_seen"] != nil {
		t.Errorf("a guess says when it was first seen: %v", c)
	}
	h.admin("GET", "/v1/traces/"+trace, "").want(t, 503)
	if _, _, err := conn.Trace(t.Context(), trace); err == nil {
		t.Fatal("the names were kept meanwhile")
	}
	a.off.Store(false)
	h.until("the names are kept", func() bool { return h.admin("GET", "/v1/traces/"+trace, "").status == 200 })
	if got := h.ask(img); who(got) != "alice/till-9" || got["registry"] != "read" {
		t.Errorf("when it is back: %v", got)
	}
}

// Two pairs may share a number: both are named, the owner of the code first. What another version wrote is not touched.
func TestSharedNumbers(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) { o.Device = "gate-1" })
	key, err := watermark.NewKey(keyring().Purpose("watermark"))
	if err != nil {
		t.Fatal(err)
	}
	trace := watermark.FormatTrace(key.Trace("alice", "till"))
	if _, err := h.conn.PutTrace(t.Context(), trace, []byte(`{"v":1,"claims":[{"issuer":"mallory","device":"van","first_seen":"2026-01-01T00:00:00Z"}]}`), 0); err != nil {
		t.Fatal(err)
	}
	c := h.group(`,"owner":"alice"`)
	img, got := h.traced(c, "device=till")
	if got != trace {
		t.Fatalf("trace %s, want %s", got, trace)
	}
	h.until("both are named, alice first", func() bool { return who(h.ask(img)) == "alice/till mallory/van" })
	for range 3 { // asked for again, nothing is added, by this gateway or by another one
		h.traced(c, "device=till")
	}
	second := newGateway(t, h.conn)
	second.traced(c, "device=till")
	_, marker := second.traced(c, "device=marker")
	h.until("the second gateway has written", func() bool { return h.admin("GET", "/v1/traces/"+marker, "").status == 200 })
	if names := h.admin("GET", "/v1/traces/"+trace, "").want(t, 200).json(t); who(names) != "mallory/van alice/till" {
		t.Errorf("%v", names)
	}

	later := watermark.FormatTrace(key.Trace("alice", "later"))
	if _, err := h.conn.PutTrace(t.Context(), later, []byte(`{"v":2}`), 0); err != nil {
		t.Fatal(err)
	}
	h.traced(c, "device=later")
	h.admin("GET", "/v1/traces/"+later, "").want(t, 503)
	if b, _, err := h.conn.Trace(t.Context(), later); err != nil || string(b) != `{"v":2}` {
		t.Errorf("it was changed: %s, %v", b, err)
	}
}
