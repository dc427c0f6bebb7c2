package gateway_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser opens a page in Chromium, on a screen of so many pixels. The page ends with the test.
func browser(t *testing.T, width, height int64, media ...*emulation.MediaFeature) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the kiosk page is tested in Chromium, which is missing: make test installs it (Debian and Ubuntu: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser to end
		cancel()
	})
	if err := chromedp.Run(ctx, chromedp.EmulateViewport(width, height), emulation.SetEmulatedMedia().WithFeatures(media)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// page is what the kiosk page shows.
type page struct {
	Text, Scan      string
	Picture, Footer bool
	Broken          []string
}

func look(t *testing.T, ctx context.Context) (p page) {
	t.Helper()
	err := chromedp.Run(ctx, chromedp.Evaluate(`(() => {
		const seen = el => el && el.checkVisibility();
		return {Text: document.body.innerText, Scan: document.body.dataset.scan || '', Picture: !!seen(document.getElementById('picture')), Footer: !!seen(document.getElementById('foot')),
			Broken: [...document.querySelectorAll('main, main *')].filter(el => { const r = el.getBoundingClientRect(); return seen(el) && (r.left < -1 || r.top < -1 || r.right > innerWidth + 1 || r.bottom > innerHeight + 1); }).map(el => el.tagName + '#' + el.id)};
	})()`, &p))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// awaits waits until the page shows what is wanted.
func awaits(t *testing.T, ctx context.Context, what string, ok func(page) bool) page {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		p := look(t, ctx)
		if ok(p) {
			if len(p.Broken) > 0 {
				t.Errorf("%s: %v are outside the screen", what, p.Broken)
			}
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s; the page shows %+v", what, p)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// shot takes a picture of the screen, and keeps it where HUOMA_SHOTS says.
func shot(t *testing.T, ctx context.Context, name string) []byte {
	t.Helper()
	var b []byte
	if err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&b)); err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("HUOMA_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// passes makes the page believe that so much time has gone by.
func passes(t *testing.T, ctx context.Context, d time.Duration) {
	t.Helper()
	if err := chromedp.Run(ctx, chromedp.Evaluate(fmt.Sprintf(`{ const now = Date.now.bind(Date); Date.now = () => now() + %d; }`, d.Milliseconds()), nil)); err != nil {
		t.Fatal(err)
	}
}

// The screen shows a picture that a decoder reads and that scans; without the gateway it shows it for as long as it is good, and then none.
func TestKioskPageInABrowser(t *testing.T) {
	clock := new(dial)
	h := newHouse(t, stopped(clock))
	c := h.mint(`"name":"Lunch club","targets":[{"url":"https://example.com/a"}]`)
	url := h.admin("POST", "/v1/codes/"+c["id"].(string)+"/kiosks", `{"device":"lobby"}`).want(t, 201).json(t)["url"].(string)
	ctx := browser(t, 1280, 720)
	if err := chromedp.Run(ctx, chromedp.Navigate(url+"?lang=en")); err != nil {
		t.Fatal(err)
	}
	p := awaits(t, ctx, "a picture", func(p page) bool { return p.Picture && strings.Contains(p.Text, "A new code every minute") })
	if !strings.Contains(p.Text, "Lunch club") || !strings.Contains(p.Text, "lobby") {
		t.Errorf("the page says %q", p.Text)
	}
	read := zbar(t, shot(t, ctx, "live"))
	if !strings.EqualFold(read, p.Scan) {
		t.Fatalf("zbarimg reads %q off the screen, want %q", read, p.Scan)
	}
	scanned := map[string]any{"token": read[strings.LastIndex(read, "/")+1:]}
	if a := h.scan(scanned); a.status != 302 || a.header.Get("Huoma-Verdict") != "accepted" {
		t.Errorf("what is on the screen is answered %d %v", a.status, a.header)
	}

	clock.set(clock.now().Add(time.Minute)) // noticed at the next beat; the page asks at once when its own minute is over
	passes(t, ctx, 69*time.Second)
	next := awaits(t, ctx, "the next picture", func(q page) bool { return q.Picture && q.Scan != p.Scan })
	if !strings.EqualFold(zbar(t, shot(t, ctx, "next")), next.Scan) {
		t.Error("the next picture does not read")
	}

	stop, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.gate.Close(stop); err != nil {
		t.Fatal(err)
	}
	awaits(t, ctx, "that it is offline", func(q page) bool { return q.Picture && strings.Contains(q.Text, "No connection") })
	passes(t, ctx, 95*time.Second)
	awaits(t, ctx, "its last minute", func(q page) bool {
		return q.Picture && q.Scan == next.Scan && strings.Contains(q.Text, "No connection")
	})
	passes(t, ctx, 25*time.Second)
	awaits(t, ctx, "a blank screen", func(q page) bool {
		return !q.Picture && strings.Contains(q.Text, "Reconnecting: there is no code to scan right now")
	})
	if dead := shot(t, ctx, "blank"); reads(t, dead) {
		t.Error("a dead picture is still on the screen")
	}
}

// reads reports whether there is anything to scan in a picture.
func reads(t *testing.T, png []byte) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "picture.png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", file).Output() // its status says that there was none
	return len(out) > 0
}

// Dark and light, wide and tall, in both languages, nothing of it moving by itself: the picture is read off each of them and nothing is cut off.
func TestKioskPageOnEveryScreen(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"前台 · 午餐俱乐部 Lunch club","targets":[{"url":"https://example.com/a"}]`)
	id := c["id"].(string)
	url := h.admin("POST", "/v1/codes/"+id+"/kiosks", `{"device":"lobby"}`).want(t, 201).json(t)["url"].(string)
	feature := func(name, value string) *emulation.MediaFeature {
		return &emulation.MediaFeature{Name: name, Value: value}
	}
	ctx := browser(t, 1280, 720)
	for _, row := range []struct {
		name, lang    string
		width, height int64
		media         []*emulation.MediaFeature
		says          string
	}{
		{"wide-dark", "zh", 1920, 1080, []*emulation.MediaFeature{feature("prefers-color-scheme", "dark")}, "每分钟更新"},
		{"tall-light", "en", 1080, 1920, []*emulation.MediaFeature{feature("prefers-color-scheme", "light"), feature("prefers-reduced-motion", "reduce")}, "A new code every minute"},
		{"phone", "zh", 360, 640, nil, "每分钟更新"},
	} {
		if err := chromedp.Run(ctx, chromedp.EmulateViewport(row.width, row.height), emulation.SetEmulatedMedia().WithFeatures(row.media), chromedp.Navigate(url+"?lang="+row.lang)); err != nil {
			t.Fatal(err)
		}
		p := awaits(t, ctx, row.name, func(p page) bool { return p.Picture && strings.Contains(p.Text, row.says) })
		if got := zbar(t, shot(t, ctx, row.name)); !strings.EqualFold(got, p.Scan) {
			t.Errorf("%s: zbarimg reads %q, want %q", row.name, got, p.Scan)
		}
		var ring struct {
			Left, Count float64
			Moving      int
		}
		if err := chromedp.Run(ctx, chromedp.Evaluate(`({Left: 100 - parseFloat(getComputedStyle(document.getElementById('left')).strokeDashoffset), Count: +document.getElementById('count').textContent, Moving: document.getAnimations().length})`, &ring)); err != nil {
			t.Fatal(err)
		}
		if apart := ring.Left*0.6 - ring.Count; ring.Count < 1 || ring.Moving != 0 || apart > 0.1 || apart < -1.1 { // seconds are rounded up
			t.Errorf("%s: the ring shows %.1f seconds and the number %.0f, and %d things move", row.name, ring.Left*0.6, ring.Count, ring.Moving)
		}
	}
	h.admin("DELETE", "/v1/codes/"+id, "").want(t, 200)
	awaits(t, ctx, "that it was withdrawn", func(p page) bool { return !p.Picture && !p.Footer && strings.Contains(p.Text, "二维码已停用") })
	if reads(t, shot(t, ctx, "revoked")) {
		t.Error("a revoked code is still on the screen")
	}
}
