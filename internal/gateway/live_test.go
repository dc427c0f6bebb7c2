package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/token"
)

// dial is a clock that is set by hand.
type dial struct {
	mu sync.Mutex
	at time.Time
}

func (d *dial) now() time.Time  { d.mu.Lock(); defer d.mu.Unlock(); return d.at }
func (d *dial) set(t time.Time) { d.mu.Lock(); defer d.mu.Unlock(); d.at = t }

// stopped is a gateway's clock that stands at the begin of this minute: events may be dated five minutes ahead of the broker's clock.
func stopped(o *dial) func(*gateway.Options) {
	o.set(time.Now().UTC().Truncate(time.Minute))
	return func(opts *gateway.Options) { opts.Now = o.now }
}

// sseEvent is one server-sent event.
type sseEvent struct {
	id, name string
	data     map[string]any
}

// stream opens server-sent events; next waits for one, and is nil at the end.
func (h *house) stream(path string, headers ...string) (next func() *sseEvent, leave func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	leave = func() { cancel(); _ = resp.Body.Close() }
	h.t.Cleanup(leave)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		h.t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() *sseEvent {
		var e sseEvent
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.data); err != nil {
					h.t.Error(err)
				}
			case "":
				if e.name != "" {
					return &e
				}
				e = sseEvent{}
			}
		}
		return nil
	}, leave
}

const bearer = "Authorization: Bearer " + apiKey

// live reads the picture that a screen shows now.
func (h *house) live(path string, headers ...string) map[string]any {
	h.t.Helper()
	next, leave := h.stream(path, append(headers, bearer)...)
	defer leave()
	e := next()
	if e == nil || e.name != "picture" {
		h.t.Fatalf("%s: %+v, want a picture", path, e)
	}
	return e.data
}

// A live picture is scanned in its minute and the next like a printed one; later it is refused, says why, and the scan worker says the same.
func TestALivePictureDies(t *testing.T) {
	clock := new(dial)
	h := newHouse(t, stopped(clock))
	c := h.mint(`"name":"Lobby","targets":[{"url":"https://example.com/a"}]`)
	id := c["id"].(string)
	begin := clock.now()
	p := h.live("/v1/codes/" + id + "/live?device=lobby")
	if p["minute"] != begin.Format(time.RFC3339) || p["valid_until"] != begin.Add(2*time.Minute).Format(time.RFC3339) || p["device"] != "lobby" || p["name"] != "Lobby" || p["tracking"] == c["tracking"] {
		t.Errorf("picture %v", p)
	}
	live := map[string]any{"token": p["token"]}
	agree := 0
	for _, row := range []struct {
		after           time.Duration
		status          int
		verdict, rule   string
		page, problemAs string
	}{
		{0, 302, "accepted", "", "", ""}, {59*time.Second + 999*time.Millisecond, 302, "accepted", "", "", ""}, {2*time.Minute - time.Millisecond, 302, "accepted", "", "", ""},
		{2 * time.Minute, 410, "expired", "live-window", "2 minutes ago", "live_window"}, {4*time.Minute + 30*time.Second, 410, "expired", "live-window", "4 minutes ago", "live_window"},
	} {
		clock.set(begin.Add(row.after))
		a := h.scan(live)
		if a.status != row.status || a.header.Get("Huoma-Verdict") != row.verdict || a.header.Get("Huoma-Rule") != row.rule || a.header.Get("Huoma-Event") == "" {
			t.Fatalf("after %s: %d %v", row.after, a.status, a.header)
		}
		agree++
		if row.page == "" {
			continue
		}
		if !bytes.Contains(a.body, []byte(row.page)) || !bytes.Contains(a.body, []byte(begin.Format("15:04")+" UTC")) || !bytes.Contains(a.body, []byte("look at the screen")) {
			t.Errorf("the page does not say why: %s", a.body)
		}
		zh := h.scan(live, "Accept-Language: zh-CN")
		if !bytes.Contains(zh.body, []byte("屏幕在 "+begin.Format("15:04"))) {
			t.Errorf("the page does not say why in Chinese: %s", zh.body)
		}
		problem := h.scan(live, "Accept: application/json").want(t, 410).json(t)
		if problem["code"] != row.problemAs || !strings.Contains(fmt.Sprint(problem["detail"]), begin.Format("15:04")) {
			t.Errorf("problem %v", problem)
		}
		agree += 2
	}
	h.until("the worker has decided every scan", func() bool { return h.count(c, "accepted") == 3 && h.count(c, "expired") == agree-3 })
	for _, e := range h.log(2) {
		if d, ok := e.Data.(*events.Scan); ok && (d.ShownAt != begin.Format(time.RFC3339) || d.Tracking != p["tracking"] || d.Variant != 1) {
			t.Errorf("the event says %+v", d)
		}
	}
	clock.set(begin.Add(-time.Second))
	if a := h.scan(live); a.status != 404 || a.header.Get("Huoma-Verdict") != "forged" {
		t.Errorf("a picture of a minute to come: %d %v", a.status, a.header)
	}
	metrics := string(h.do("GET", "/metrics", "").body)
	for _, want := range []string{`huoma_gateway_picture_checks_total{verdict="live-window"} 6`, `huoma_gateway_picture_checks_total{verdict="genuine"} 3`, `huoma_gateway_scans_total{verdict="expired"} 6`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics have no %s", want)
		}
	}
}

// What is over for the code, and robots, are answered as ever whatever the picture; a locked visitor's stale picture is stale.
func TestAStalePictureOfACodeThatIsOver(t *testing.T) {
	clock := new(dial)
	h := newHouse(t, stopped(clock))
	c := h.mint(``)
	live := map[string]any{"token": h.live("/v1/codes/" + c["id"].(string) + "/live")["token"]}
	clock.set(clock.now().Add(3 * time.Minute))
	if a := h.scan(live, "User-Agent: Googlebot/2.1"); a.header.Get("Huoma-Verdict") != "bot" {
		t.Errorf("a robot: %v", a.header)
	}
	h.admin("DELETE", "/v1/codes/"+c["id"].(string), "").want(t, 200)
	if a := h.scan(live); a.status != 410 || a.header.Get("Huoma-Verdict") != "revoked" {
		t.Errorf("a revoked code: %d %v", a.status, a.header)
	}
}

// Producers' live tokens: the gateway keeps the minute, and the worker refuses by the broker's clock what was shown too long before.
func TestProducersLiveTokens(t *testing.T) {
	h := newHouse(t)
	c := h.mint(``)
	id, err := token.ParseCodeID(c["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(ago time.Duration) string {
		s, err := keyring().SealLive(token.Live{Picture: token.Picture{Code: id, Variant: 1}, Device: keyring().Device(id, "till-4"), Minute: token.MinuteOf(time.Now().Add(-ago))})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	event := func(name, text string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"p","type":"huoma.scan.v1","subject":%q,"time":%q,"data":{"token":%q,"visitor":%q}}`, name, id, time.Now().UTC().Format(time.RFC3339Nano), text, name)
	}
	fresh, old := sealed(0), sealed(20*time.Hour)
	for name, text := range map[string]string{"fresh": fresh, "old": strings.ToLower(old)} {
		h.admin("POST", "/v1/events", event(name, text)).want(t, 202)
	}
	if p := h.admin("POST", "/v1/events", event("other", sealed(40*time.Hour))).want(t, 400).json(t); p["code"] != "invalid_value" || p["field"] != "data.token" {
		t.Errorf("a token older than can be told: %v", p)
	}
	h.until("the worker has decided", func() bool { return h.count(c, "accepted") == 1 && h.count(c, "expired") == 1 })
	opened := h.admin("POST", "/v1/tokens", fmt.Sprintf(`{"tokens":[%q,%q,%q]}`, fresh, old, c["token"])).want(t, 200).json(t)["tokens"].([]any)
	for i, shown := range []bool{true, true, false} {
		o := opened[i].(map[string]any)
		if o["code"] != c["id"] || (o["shown_at"] != nil) != shown || o["tracking"] == nil {
			t.Errorf("token %d is of %v", i, o)
		}
	}
	if opened[0].(map[string]any)["tracking"] == opened[2].(map[string]any)["tracking"] {
		t.Error("the screen cannot be told from the printed picture")
	}
}

// Each screen has pictures of its own, in the form asked for; a decoder that is not ours reads what is to be scanned.
func TestLivePicturesAreReadable(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],"variants":[{"n":2,"name":"red","fg":"#7a0000"},{"n":5,"name":"plain"}],"style":{"badge":"A"}`)
	path := "/v1/codes/" + c["id"].(string) + "/live"
	first, second := h.live(path+"?device=lobby&format=png&size=600"), h.live(path+"?device=door&variant=5&format=png")
	if first["variant"] != 2.0 || second["variant"] != 5.0 || first["tracking"] == second["tracking"] || first["token"] == second["token"] {
		t.Errorf("pictures %v and %v", first["variant"], second["variant"])
	}
	for _, p := range []map[string]any{first, second} {
		data, ok := strings.CutPrefix(p["image"].(string), "data:image/png;base64,")
		if !ok {
			t.Fatalf("image %.60s", p["image"])
		}
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := zbar(t, b); !strings.EqualFold(got, p["scan_url"].(string)) {
			t.Errorf("zbarimg reads %q, want %q", got, p["scan_url"])
		}
	}
	if svg := h.live(path)["image"].(string); !strings.HasPrefix(svg, "data:image/svg+xml;base64,") {
		t.Errorf("image %.60s", svg)
	}
	for query, want := range map[string]string{"?device=a%20b": "device", "?device=" + strings.Repeat("x", 33): "device", "?variant=3": "variant", "?format=gif": "format", "?size=1": "size", "?fg=white": "fg", "?colour=red": "colour"} {
		if p := h.admin("GET", path+query, "").want(t, 400).json(t); p["field"] != want {
			t.Errorf("%s: %v", query, p)
		}
	}
	h.admin("GET", "/v1/codes/aaaaaaaaaaaa/live", "").want(t, 404)
	h.do("GET", path, "").want(t, 401)
}

// zbar reads a picture with a decoder that is not ours.
func zbar(t testing.TB, png []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "picture.png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", file).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v (make test installs it)", err)
	}
	return strings.TrimSpace(string(out))
}

// There are so many streams and no more, none is lost with a reader that goes, and shutting down ends them.
func TestStreamsOfScreensAreBoundedAndEnd(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) { o.Limits.Screens = 2 })
	c := h.mint(``)
	path := "/v1/codes/" + c["id"].(string) + "/live"
	one, leave := h.stream(path, bearer)
	two, _ := h.stream(path, bearer)
	picture := one()
	if two() == nil || picture == nil {
		t.Fatal("no pictures")
	}
	if a := h.admin("GET", path, ""); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a third stream: %d", a.status)
	}
	leave()
	h.until("the place is free again", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
		req.Header.Set("Authorization", "Bearer "+apiKey)
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.gate.Close(ctx) }()
	if e := two(); e != nil {
		t.Errorf("after the end came %+v", e)
	}
	<-ended
}

// A kiosk's link shows its code on its device without an API key, until the code is revoked or the key that signed it retired.
func TestKiosks(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"Lobby <1>","targets":[{"url":"https://example.com/a"}]`)
	id := c["id"].(string)
	k := h.admin("POST", "/v1/codes/"+id+"/kiosks", `{"device":"lobby"}`).want(t, 201).json(t)
	url := k["url"].(string)
	if again := h.admin("POST", "/v1/codes/"+id+"/kiosks", `{"device":"lobby"}`).want(t, 201).json(t); again["url"] != url {
		t.Errorf("the same screen has two links: %v, %v", url, again["url"])
	}
	page := h.do("GET", url, "", "Accept-Language: zh-CN").want(t, 200)
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || page.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", page.header)
	}
	if body := string(page.body); !strings.Contains(body, "Lobby &lt;1&gt;") || !strings.Contains(body, `lang="zh"`) || strings.Contains(body, "src=\"http") || strings.Contains(body, "://") {
		t.Errorf("page %s", body)
	}
	if en := h.do("GET", url+"?lang=en", "", "Accept-Language: zh").want(t, 200); !bytes.Contains(en.body, []byte(`lang="en"`)) {
		t.Error("lang=en is Chinese")
	}
	path := strings.TrimPrefix(url, h.url)
	next, _ := h.stream(path + "/live")
	p := next()
	if p == nil || p.data["tracking"] != k["tracking"] || p.data["device"] != "lobby" {
		t.Fatalf("%+v", p)
	}
	if a := h.scan(p.data); a.status != 302 {
		t.Errorf("scanned: %d", a.status)
	}
	for body, want := range map[string]string{`{"device":"a/b"}`: "device", `{"variant":3}`: "variant", `{"screen":"x"}`: "screen"} {
		if p := h.admin("POST", "/v1/codes/"+id+"/kiosks", body).want(t, 400).json(t); p["field"] != want {
			t.Errorf("%s: %v", body, p)
		}
	}
	for _, bad := range []string{"/k/x", path[:len(path)-1], path + "A", path[:5] + "A" + path[6:]} {
		h.do("GET", bad, "").want(t, 404)
		h.do("GET", bad+"/live", "", "Accept: application/json").want(t, 404)
	}
	h.admin("DELETE", "/v1/codes/"+id, "").want(t, 200)
	if page := h.do("GET", url, "").want(t, 410); !bytes.Contains(page.body, []byte("withdrawn")) {
		t.Errorf("page of a revoked code: %s", page.body)
	}
	h.do("GET", path+"/live", "").want(t, 410)
	h.admin("POST", "/v1/codes/"+id+"/kiosks", `{}`).want(t, 409)
}

// A kiosk ends with the key that signed its link.
func TestAKioskEndsWithItsKey(t *testing.T) {
	h := newHouse(t)
	c := h.mint(``)
	path := strings.TrimPrefix(h.admin("POST", "/v1/codes/"+c["id"].(string)+"/kiosks", `{}`).want(t, 201).json(t)["url"].(string), h.url)
	now := time.Now()
	two, _, err := keyring().Rotate(rand.Reader, now, now)
	if err != nil {
		t.Fatal(err)
	}
	h.gate.UseKeyring(two)
	h.do("GET", path, "").want(t, 200)
	retired, err := two.Retire(0, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	h.gate.UseKeyring(retired.At(now.Add(2 * time.Hour)))
	h.do("GET", path, "").want(t, 404)
	h.do("GET", path+"/live", "").want(t, 404)
}
