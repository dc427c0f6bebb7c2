package gateway_test

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
)

func TestMintedScannedDecided(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"Tea","campaign":"spring","source":"poster","targets":[{"url":"https://example.com/group?a=1#b","capacity":50}]`)
	for _, field := range []string{"id", "token", "scan_url", "qr_png", "qr_svg", "tracking", "status", "expires_at", "renewal_due_at"} {
		if c[field] == nil || c[field] == "" {
			t.Errorf("%s is missing in the answer of a mint", field)
		}
	}
	if c["status"] != "active" {
		t.Errorf("status = %v, want active", c["status"])
	}

	a := h.scan(c, "Referer: https://t.example.org/page?q=secret").want(t, 302)
	if got := a.header.Get("Location"); got != "https://example.com/group?a=1#b" {
		t.Errorf("Location = %q", got)
	}
	if a.header.Get("Huoma-Verdict") != "accepted" || a.header.Get("Huoma-Event") == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers = %v", a.header)
	}
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"hm_v=", "HttpOnly", "SameSite=Lax", "Max-Age=34560000", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("Set-Cookie = %q, without %s", cookie, part)
		}
	}
	if strings.Contains(cookie, "Secure") {
		t.Errorf("Set-Cookie = %q is Secure, though the public URL is http", cookie)
	}
	h.until("the scan is counted", func() bool { return h.count(c, "accepted") == 1 })

	var scan *events.Event
	for _, e := range h.log(2) {
		if e.Type == events.TypeScan {
			scan = e
		}
	}
	if scan == nil {
		t.Fatal("no scan in the log")
	}
	d := scan.Data.(*events.Scan)
	if scan.ID != a.header.Get("Huoma-Event") || d.ClickID != scan.ID || d.Answered != "accepted" || d.Token != "" || d.OpenID != "" || d.Network != "127.0.0.0/24" ||
		d.RefererHost != "t.example.org" || d.UTM == nil || d.UTM.Campaign != "spring" || d.UTM.Source != "poster" || d.App != "wechat" || d.Tracking != c["tracking"] ||
		d.Visitor == "" || *d.Target != 0 || d.Variant != 1 || !strings.HasPrefix(scan.Source, "huoma/gateway/") {
		t.Errorf("scan = %+v, data = %+v", scan, d)
	}

	// The cookie names the same visitor as the scan it was given with.
	value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "hm_v="), ";")
	again := h.scan(c, "Cookie: hm_v="+value).want(t, 302)
	if again.header.Get("Set-Cookie") != "" {
		t.Error("a visitor with a cookie was given another")
	}
	h.until("both are one visitor", func() bool {
		s := h.stats(c)
		return s["unique"] == 1.0 && s["counts"].(map[string]any)["accepted"] == 2.0
	})
	for _, bad := range []string{"nonsense", "AAAAAAAAAAAAAAAAAAAAAB", "!!!!!!!!!!!!!!!!!!!!!!", ""} {
		if h.scan(c, "Cookie: hm_v="+bad).want(t, 302).header.Get("Set-Cookie") == "" {
			t.Errorf("the invalid cookie %q was not replaced", bad)
		}
	}
}

func TestFifthScanLocks(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],"rules":[{"id":"fast","limit":5,"window":"30s"}]`)
	first := h.scan(c).want(t, 302)
	cookie := "Cookie: " + strings.Split(first.header.Get("Set-Cookie"), ";")[0]
	for range 4 {
		h.scan(c, cookie).want(t, 302)
	}
	var refused answer
	h.until("the visitor is locked", func() bool { refused = h.scan(c, cookie); return refused.status == 429 })
	if refused.header.Get("Huoma-Verdict") != "locked" || refused.header.Get("Huoma-Rule") != "fast" {
		t.Errorf("headers = %v", refused.header)
	}
	if got := refused.header.Get("Retry-After"); got < "590" || got > "601" || len(got) != 3 { // from when it was asked, a moment before it was locked
		t.Errorf("Retry-After = %s, want about 600", got)
	}
	h.scan(c).want(t, 302) // somebody else

	// An owner who lifts the rule for a moment has let everybody in again.
	for i, rule := range []string{`{"id":"fast","limit":5,"window":"30s","action":"flag"}`, `{"id":"fast","limit":50,"window":"30s"}`} {
		h.admin("PATCH", "/v1/codes/"+c["id"].(string), `{"rules":[`+rule+`]}`).want(t, 200)
		h.until("the log has the rule", func() bool { return h.stats(c)["revision"] == float64(i+2) })
	}
	h.scan(c, cookie).want(t, 302)
}

// A target's address in Chinese reaches every browser: a header carries ASCII only.
func TestLocationIsASCII(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/读书会?a=%20&q=é#b"}]`)
	if got := h.scan(c).want(t, 302).header.Get("Location"); got != "https://example.com/%E8%AF%BB%E4%B9%A6%E4%BC%9A?a=%20&q=%C3%A9#b" {
		t.Errorf("Location = %q", got)
	}
}

// A repeat within the code's window is answered as one: led on, and said not to count.
func TestRepeatIsAnsweredAsDuplicate(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"dedupe":"1h","targets":[{"url":"https://example.com/a"}]`)
	first := h.scan(c).want(t, 302)
	cookie := "Cookie: " + strings.Split(first.header.Get("Set-Cookie"), ";")[0]
	h.until("the first scan is counted", func() bool { return h.count(c, "accepted") == 1 })
	again := h.scan(c, cookie).want(t, 302)
	if again.header.Get("Huoma-Verdict") != "duplicate" || again.header.Get("Huoma-Rule") != "dedupe" || again.header.Get("Location") != "https://example.com/a" {
		t.Errorf("headers of the repeat = %v", again.header)
	}
	h.until("the repeat is counted apart", func() bool { return h.count(c, "duplicate") == 1 && h.count(c, "accepted") == 1 })
	if got := h.scan(c).want(t, 302).header.Get("Huoma-Verdict"); got != "accepted" {
		t.Errorf("somebody else's scan is %s", got)
	}
}

// A crowd at one gateway is let in to the last scan and not beyond it.
func TestCapHoldsAgainstACrowd(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"max_scans":5,"rules":[],"targets":[{"url":"https://example.com/a"}]`)
	var led atomic.Int64
	var crowd sync.WaitGroup
	for range 60 {
		crowd.Go(func() {
			if h.scan(c).status == 302 {
				led.Add(1)
			}
		})
	}
	crowd.Wait()
	if led.Load() != 5 {
		t.Errorf("%d scans were led to the target, want 5", led.Load())
	}
	h.until("all are decided", func() bool { return h.count(c, "accepted")+h.count(c, "capped") == 60 })
	if got := h.count(c, "accepted"); got != 5 {
		t.Errorf("%d scans are accepted, want 5", got)
	}
}

func TestCapFullRotationAndRevocation(t *testing.T) {
	h := newHouse(t)
	capped := h.mint(`"max_scans":1,"targets":[{"url":"https://example.com/a"}]`)
	h.scan(capped).want(t, 302)
	h.until("the cap is used up", func() bool { return h.scan(capped).status == 410 })
	if got := h.scan(capped).header.Get("Huoma-Verdict"); got != "capped" {
		t.Errorf("verdict = %s", got)
	}

	full := h.mint(`"targets":[{"url":"https://example.com/a","capacity":1},{"url":"https://example.com/b","capacity":1}]`)
	h.scan(full).want(t, 302)
	h.until("scans go to the second target", func() bool {
		return h.admin("GET", "/v1/codes/"+full["id"].(string), "").json(t)["current"] == 1.0
	})
	if got := h.scan(full).want(t, 302).header.Get("Location"); got != "https://example.com/b" {
		t.Errorf("Location = %s", got)
	}
	h.until("the code is full", func() bool { return h.scan(full).status == 409 })

	c := h.mint("")
	h.admin("DELETE", "/v1/codes/"+c["id"].(string), "").want(t, 200)
	if a := h.scan(c).want(t, 410); a.header.Get("Huoma-Verdict") != "revoked" {
		t.Errorf("verdict = %s", a.header.Get("Huoma-Verdict"))
	}
	h.admin("DELETE", "/v1/codes/"+c["id"].(string), "").want(t, 200)
	if p := h.admin("PATCH", "/v1/codes/"+c["id"].(string), `{"name":"x"}`).want(t, 409).json(t); p["code"] != "revoked" {
		t.Errorf("problem = %v", p)
	}
}

func TestExpiryAndRenewal(t *testing.T) {
	h := newHouse(t)
	c := h.admin("POST", "/v1/codes", `{"profile":"wechat-static","validity":"1s","targets":[{"url":"https://example.com/a"}]}`).want(t, 201).json(t)
	path := "/v1/codes/" + c["id"].(string)
	h.until("the code has expired", func() bool { return h.admin("GET", path, "").json(t)["status"] == "expired" })
	if a := h.scan(c).want(t, 410); a.header.Get("Huoma-Verdict") != "expired" || a.header.Get("Huoma-Rule") != "validity" {
		t.Errorf("headers = %v", a.header)
	}
	if got := h.admin("GET", path, "").json(t); got["status"] != "expired" || got["reason"] != "validity" {
		t.Errorf("code = %v", got)
	}
	got := h.admin("POST", path+"/renew", "").want(t, 200).json(t)
	if got["status"] != "active" {
		t.Errorf("status after renewal = %v", got["status"])
	}
	h.scan(c).want(t, 302)
}

func TestPreviewsRobotsAndPages(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"name":"Tea & <friends>","targets":[{"url":"https://example.com/secret"}]`)
	path := "/s/" + c["token"].(string)
	rows := []struct {
		name, method string
		headers      []string
		status       int
		verdict      string
		contains     string
	}{
		{"head", "HEAD", []string{"User-Agent: " + iPhone}, 200, "preview", ""},
		{"prefetch", "GET", []string{"User-Agent: " + iPhone, "Sec-Purpose: prefetch;prerender"}, 503, "preview", ""},
		{"unfurler", "GET", []string{"User-Agent: WhatsApp/2.23.20.0"}, 200, "preview", `<meta property="og:title" content="Tea &amp; &lt;friends&gt;">`},
		{"curl", "GET", []string{"User-Agent: curl/8.5.0"}, 403, "bot", "For people only"},
		{"curl, Chinese", "GET", []string{"User-Agent: curl/8.5.0", "Accept-Language: fr;q=1, zh-CN;q=0.9, en;q=0.1"}, 403, "bot", "机器人"},
		{"curl, JSON", "GET", []string{"User-Agent: curl/8.5.0", "Accept: application/json"}, 403, "bot", `"code":"bot"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := h.do(row.method, path, "", row.headers...).want(t, row.status)
			if got := a.header.Get("Huoma-Verdict"); got != row.verdict {
				t.Errorf("verdict = %s, want %s", got, row.verdict)
			}
			if a.header.Get("Huoma-Event") == "" || a.header.Get("Huoma-Rule") == "" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers = %v", a.header)
			}
			if !strings.Contains(string(a.body), row.contains) || strings.Contains(string(a.body), "secret") {
				t.Errorf("body = %s, want %s in it and no target", a.body, row.contains)
			}
			if row.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	h.until("all are recorded, and none counted", func() bool {
		return h.count(c, "preview") == 3 && h.count(c, "bot") == 3 && h.count(c, "accepted") == 0
	})

	pic := h.mint(`"targets":[{"picture":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}]`)
	a := h.scan(pic, "Accept-Language: zh-CN").want(t, 200)
	if !strings.Contains(string(a.body), `src="data:image/png;base64,iVBOR`) || !strings.Contains(string(a.body), "长按") {
		t.Errorf("landing page = %s", a.body)
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy = %s", csp)
	}
}

func TestForgedTokensTouchNothing(t *testing.T) {
	h := newHouse(t)
	c := h.mint("")
	good := c["token"].(string)
	flipped := []byte(good)
	flipped[20] = "AB"[flipped[20]&1]
	if string(flipped) == good {
		flipped[20] = 'C'
	}
	before := len(h.log(2))
	for _, bad := range []string{string(flipped), good[:33], good + "A", strings.ToLower(good), "x", "%FF", strings.Repeat("A", 34)} {
		a := h.do("GET", "/s/"+bad, "", "User-Agent: "+iPhone, "Accept: application/json").want(t, 404)
		if a.json(t)["code"] != "forged" || a.header.Get("Huoma-Verdict") != "forged" || a.header.Get("Set-Cookie") != "" || a.header.Get("Huoma-Event") != "" {
			t.Errorf("%q: %v %s", bad, a.header, a.body)
		}
	}
	h.do("GET", "/S/"+good, "", "User-Agent: "+iPhone).want(t, 302)
	if got := len(h.log(2)) - before; got != 1 {
		t.Errorf("%d events were stored, want the one good scan", got)
	}
	h.gate.PublishForged()
	var counted int64
	for _, e := range h.log(2) {
		if f, ok := e.Data.(*events.Forged); ok {
			counted += f.Count
			if f.Network != "127.0.0.0/24" || e.Subject != "forged" {
				t.Errorf("forged = %+v of %s", f, e.Subject)
			}
		}
	}
	if counted != 7 {
		t.Errorf("%d forged scans were counted, want 7", counted)
	}
}

func TestBehindAProxyUnderHTTPS(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) {
		o.PublicURL = "https://go.example.com/"
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	c := h.mint("")
	if !strings.HasPrefix(c["scan_url"].(string), "https://go.example.com/s/") {
		t.Errorf("scan_url = %v", c["scan_url"])
	}
	a := h.scan(c, "X-Forwarded-For: 10.0.0.1, 198.51.100.23").want(t, 302)
	if cookie := a.header.Get("Set-Cookie"); !strings.Contains(cookie, "; Secure") {
		t.Errorf("Set-Cookie = %s, not Secure", cookie)
	}
	q := h.do("GET", "/s/"+c["token"].(string)+"?utm_source=flyer&utm_term=a%00b", "", "User-Agent: "+iPhone).want(t, 302)
	for _, e := range h.log(2) {
		d, ok := e.Data.(*events.Scan)
		if ok && e.ID == a.header.Get("Huoma-Event") && d.Network != "198.51.100.0/24" {
			t.Errorf("network = %s", d.Network)
		}
		if ok && e.ID == q.header.Get("Huoma-Event") && (d.UTM == nil || d.UTM.Source != "flyer" || d.UTM.Term != "ab") {
			t.Errorf("utm = %+v", d.UTM)
		}
	}
}
