package gateway_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/png"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
)

func TestBadMintsNameTheField(t *testing.T) {
	h := newHouse(t)
	one := func(fields string) string { return `{"profile":"wechat-group",` + fields + `}` }
	to := func(url string) string { return one(`"targets":[{"url":"` + url + `"}]`) }
	with := func(fields string) string { return one(`"targets":[{"url":"https://example.com/a"}],` + fields) }
	big := base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 33<<10)...))
	rows := []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"empty", "", 400, "malformed_json", "body"},
		{"no JSON", "{", 400, "malformed_json", "body"},
		{"array", "[]", 400, "invalid_value", "body"},
		{"trailing", to("https://example.com") + "x", 400, "malformed_json", "body"},
		{"unknown field", with(`"colour":"red"`), 400, "unknown_field", "colour"},
		{"unknown field deep", with(`"rules":[{"limit":5,"window":"30s","windw":"1s"}]`), 400, "unknown_field", "rules[0].windw"},
		{"repeated field", with(`"name":"a","name":"b"`), 400, "duplicate_field", "name"},
		{"no profile", `{"targets":[{"url":"https://example.com"}]}`, 400, "missing_field", "profile"},
		{"unknown profile", `{"profile":"wechat","targets":[{"url":"https://example.com"}]}`, 400, "unknown_profile", "profile"},
		{"no targets", `{"profile":"wechat-group"}`, 400, "missing_field", "targets"},
		{"empty targets", one(`"targets":[]`), 400, "missing_field", "targets"},
		{"empty target", one(`"targets":[{}]`), 400, "missing_field", "targets[0].url"},
		{"both", one(`"targets":[{"url":"https://example.com","picture":"https://example.com/p.png"}]`), 400, "invalid_value", "targets[0]"},
		{"65 targets", one(`"targets":[` + strings.Repeat(`{"url":"https://example.com"},`, 64) + `{"url":"https://example.com"}]`), 400, "too_many", "targets"},
		{"number in a mint", one(`"targets":[{"n":3,"url":"https://example.com"}]`), 400, "unknown_field", "targets[0]"},
		{"no scheme", to("example.com/a"), 400, "invalid_value", "targets[0].url"},
		{"javascript", to("javascript:alert(1)"), 400, "invalid_value", "targets[0].url"},
		{"JavaScript", to("JaVaScRiPt://example.com/%0aalert(1)"), 400, "invalid_value", "targets[0].url"},
		{"weixin", to("weixin://dl/chat"), 400, "invalid_value", "targets[0].url"},
		{"no host", to("https:///a"), 400, "invalid_value", "targets[0].url"},
		{"password", to("https://me:pw@example.com"), 400, "invalid_value", "targets[0].url"},
		{"line end", to(`https://example.com/a\nSet-Cookie: x=y`), 400, "invalid_value", "targets[0].url"},
		{"private", to("http://10.1.2.3/a"), 400, "private_target", "targets[0].url"},
		{"loopback", to("http://127.0.0.1:8080"), 400, "private_target", "targets[0].url"},
		{"loopback in hex", to("http://0x7f000001/"), 400, "private_target", "targets[0].url"},
		{"loopback as a number", to("http://2130706433/"), 400, "private_target", "targets[0].url"},
		{"loopback in octal", to("http://0177.1/"), 400, "private_target", "targets[0].url"},
		{"loopback 6", to("http://[::1]/"), 400, "private_target", "targets[0].url"},
		{"loopback 4 in 6", to("http://[::ffff:127.0.0.1]/"), 400, "private_target", "targets[0].url"},
		{"link-local", to("http://169.254.169.254/latest/meta-data"), 400, "private_target", "targets[0].url"},
		{"unique local", to("http://[fd00::1]/"), 400, "private_target", "targets[0].url"},
		{"localhost", to("http://LocalHost./"), 400, "private_target", "targets[0].url"},
		{".local", to("http://printer.local"), 400, "private_target", "targets[0].url"},
		{"bare name", to("http://intranet/"), 400, "private_target", "targets[0].url"},
		{"capacity 0", one(`"targets":[{"url":"https://example.com","capacity":0}]`), 400, "invalid_value", "targets[0].capacity"},
		{"capacity -1", one(`"targets":[{"url":"https://example.com","capacity":-1}]`), 400, "invalid_value", "targets[0].capacity"},
		{"capacity 1.5", one(`"targets":[{"url":"https://example.com","capacity":1.5}]`), 400, "invalid_value", "targets[0].capacity"},
		{"max_scans 0", with(`"max_scans":0`), 400, "invalid_value", "max_scans"},
		{"validity", with(`"validity":"8d"`), 400, "invalid_value", "validity"},
		{"validity 0", with(`"validity":"0s"`), 400, "invalid_value", "validity"},
		{"validity below a second", with(`"validity":"999ms"`), 400, "invalid_value", "validity"},
		{"validity as a number", with(`"validity":90`), 400, "invalid_value", "validity"},
		{"validity's unit", with(`"validity":"90 seconds"`), 400, "invalid_value", "validity"},
		{"rule's window", with(`"rules":[{"limit":5,"window":"10ms"}]`), 400, "invalid_value", "rules[0].window"},
		{"rule without window", with(`"rules":[{"limit":5}]`), 400, "missing_field", "rules[0].window"},
		{"rule's limit", with(`"rules":[{"limit":5,"window":"1s"},{"limit":0,"window":"1s"}]`), 400, "invalid_value", "rules[1].limit"},
		{"rule's scope", with(`"rules":[{"limit":5,"window":"1s","scope":"planet"}]`), 400, "invalid_value", "rules[0].scope"},
		{"rule's action", with(`"rules":[{"limit":5,"window":"1s","action":"shout"}]`), 400, "invalid_value", "rules[0].action"},
		{"rule twice", with(`"rules":[{"id":"a","limit":5,"window":"1s"},{"id":"a","limit":6,"window":"1s"}]`), 400, "invalid_value", "rules[1].id"},
		{"9 variants", with(`"variants":[{},{},{},{},{},{},{},{},{}]`), 400, "too_many", "variants"},
		{"variant's number", with(`"variants":[{"n":9}]`), 400, "invalid_value", "variants[0].n"},
		{"variant's colour", with(`"variants":[{"fg":"#fff"}]`), 400, "invalid_value", "variants[0].fg"},
		{"style", with(`"style":{"fg":"blurple"}`), 400, "invalid_value", "style.fg"},
		{"long name", with(`"name":"` + strings.Repeat("x", 201) + `"`), 400, "too_large", "name"},
		{"control character", with(`"campaign":"a\u0000b"`), 400, "invalid_value", "campaign"},
		{"invalid UTF-8", with("\"name\":\"\xff\""), 400, "invalid_utf8", "body"},
		{"nested", with(`"name":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), 400, "too_deep", "body"},
		{"2 MB", with(`"name":"` + strings.Repeat("x", 2<<20) + `"`), 413, "body_too_large", "body"},
		{"picture's type", one(`"targets":[{"picture":"data:image/svg+xml;base64,PHN2Zy8+"}]`), 400, "invalid_value", "targets[0].picture"},
		{"picture's bytes", one(`"targets":[{"picture":"data:image/png;base64,PHN2Zy8+"}]`), 400, "invalid_value", "targets[0].picture"},
		{"picture's size", one(`"targets":[{"picture":"data:image/png;base64,` + big + `"}]`), 400, "too_large", "targets[0].picture"},
		{"picture over http", one(`"targets":[{"picture":"http://example.com/p.png"}]`), 400, "invalid_value", "targets[0].picture"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := h.admin("POST", "/v1/codes", row.body).want(t, row.status).json(t)
			if p["code"] != row.code || p["field"] != row.field {
				t.Errorf("problem = %v, want code %s of field %s", p, row.code, row.field)
			}
			if p["detail"] == "" || p["title"] == "" || p["status"] != float64(row.status) {
				t.Errorf("problem = %v is not complete", p)
			}
		})
	}
	if got := len(h.log(2)); got != 0 {
		t.Errorf("%d events were stored for refused mints", got)
	}
	h.do("POST", "/v1/codes", to("https://example.com"), "Authorization: Bearer "+apiKey, "Content-Type: text/plain").want(t, 415)

	open := newGateway(t, h.conn, func(o *gateway.Options) { o.AllowPrivateTargets = true })
	open.admin("POST", "/v1/codes", to("http://127.0.0.1:9/a")).want(t, 201)
	listed := newGateway(t, h.conn, func(o *gateway.Options) { o.RegisteredDomains = []string{"example.com"} })
	mini := `{"profile":"miniprogram","targets":[{"url":"https://%s/a"}]}`
	listed.admin("POST", "/v1/codes", fmt.Sprintf(mini, "www.example.com")).want(t, 201)
	if p := listed.admin("POST", "/v1/codes", fmt.Sprintf(mini, "badexample.com")).want(t, 400).json(t); p["code"] != "unregistered_domain" {
		t.Errorf("problem = %v", p)
	}
}

func TestProfilesFillIn(t *testing.T) {
	h := newHouse(t)
	rows := []struct {
		name, body string
		want       map[string]any
		capacity   float64
		permanent  bool
	}{
		{"group", `{"profile":"wechat-group","targets":[{"url":"https://example.com"}]}`, map[string]any{"validity": "2h", "max_scans": 100.0, "renewal_every": "3d", "countdown": "sliding"}, 200, false},
		{"group, verified", `{"profile":"wechat-group","verified":true,"targets":[{"url":"https://example.com"}]}`, map[string]any{"max_scans": 200.0, "verified": true}, 500, false},
		{"group, own values", `{"profile":"wechat-group","validity":"7d","max_scans":1000000,"renewal_every":"0s","targets":[{"url":"https://example.com","capacity":7}]}`, map[string]any{"validity": "7d", "max_scans": 1e6, "renewal_due_at": nil}, 7, false},
		{"wecom", `{"profile":"wecom-group","targets":[{"url":"https://example.com"}]}`, map[string]any{"validity": "0s", "max_scans": 0.0, "expires_at": nil, "renewal_due_at": nil}, 2000, true},
		{"wecom, limited", `{"profile":"wecom-group","validity":"1h","targets":[{"url":"https://example.com"}]}`, map[string]any{"validity": "1h", "countdown": "fixed"}, 2000, false},
		{"miniprogram", `{"profile":"miniprogram","targets":[{"url":"https://example.com"}]}`, map[string]any{"max_scans": 0.0, "expires_at": nil}, 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := h.admin("POST", "/v1/codes", row.body).want(t, 201).json(t)
			for k, want := range row.want {
				if c[k] != want {
					t.Errorf("%s = %v, want %v", k, c[k], want)
				}
			}
			capacity, _ := c["targets"].([]any)[0].(map[string]any)["capacity"].(float64)
			if capacity != row.capacity {
				t.Errorf("capacity = %v, want %v", capacity, row.capacity)
			}
			if (c["expires_at"] == nil) != row.permanent {
				t.Errorf("expires_at = %v", c["expires_at"])
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	h := newHouse(t)
	body := `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}],"name":"x"}`
	first := h.admin("POST", "/v1/codes", body, "Idempotency-Key: k1").want(t, 201)
	spaced := `{ "name":"x", "targets":[{"url":"https://example.com/a"}], "profile":"wechat-group" }`
	if again := h.admin("POST", "/v1/codes", spaced, "Idempotency-Key: k1").want(t, 201); !bytes.Equal(first.body, again.body) {
		t.Errorf("repeated: %s, first: %s", again.body, first.body)
	}
	if first.header.Get("Location") != h.url+"/v1/codes/"+first.json(t)["id"].(string) || first.header.Get("ETag") != `"1"` {
		t.Errorf("headers = %v", first.header)
	}
	if p := h.admin("POST", "/v1/codes", strings.Replace(body, "x", "y", 1), "Idempotency-Key: k1").want(t, 422).json(t); p["code"] != "idempotency_key_reused" {
		t.Errorf("problem = %v", p)
	}
	if other := h.admin("POST", "/v1/codes", body, "Idempotency-Key: k2").want(t, 201).json(t); other["id"] == first.json(t)["id"] {
		t.Error("two keys made one code")
	}
	// Also after the code was changed, and at another gateway.
	id := first.json(t)["id"].(string)
	h.admin("PATCH", "/v1/codes/"+id, `{"name":"z"}`).want(t, 200)
	if again := newGateway(t, h.conn).admin("POST", "/v1/codes", body, "Idempotency-Key: k1").want(t, 201).json(t); again["id"] != id {
		t.Errorf("id = %v, want %s", again["id"], id)
	}
}

func TestBatchMintsAllOrNone(t *testing.T) {
	h := newHouse(t)
	rows := []string{}
	for i := range 300 {
		rows = append(rows, fmt.Sprintf(`{"profile":"wechat-group","campaign":"spring","targets":[{"url":"https://example.com/%d"}]}`, i))
	}
	out := h.admin("POST", "/v1/codes/batch", `{"name":"{campaign}-{seq:4}","codes":[`+strings.Join(rows, ",")+`]}`).want(t, 201).json(t)
	codes := out["codes"].([]any)
	if len(codes) != 300 || out["minted"] != 300.0 {
		t.Fatalf("%d codes, minted = %v", len(codes), out["minted"])
	}
	last := codes[299].(map[string]any)
	if last["name"] != "spring-0300" || last["targets"].([]any)[0].(map[string]any)["url"] != "https://example.com/299" {
		t.Errorf("last = %v", last)
	}
	h.scan(last).want(t, 302)
	minted := 0
	for _, e := range h.log(2) {
		if e.Type == events.TypeCodeMinted {
			minted++
		}
	}
	if minted != 300 {
		t.Errorf("%d codes in the log, want 300", minted)
	}

	csv := "\ufeffprofile,url,capacity,url_2,capacity_2,campaign,validity\nwechat-group,https://example.com/a,10,https://example.com/b,20,\"spring, early\",1h\nwechat-group,https://example.com/c,,,,autumn,\n"
	out = h.admin("POST", "/v1/codes/batch?name={campaign}-{seq}", csv, "Content-Type: text/csv; charset=utf-8").want(t, 201).json(t)
	first := out["codes"].([]any)[0].(map[string]any)
	if first["name"] != "spring, early-1" || first["validity"] != "1h" || len(first["targets"].([]any)) != 2 {
		t.Errorf("first = %v", first)
	}

	many := `{"codes":[` + strings.Repeat(`{},`, 10_000) + `{}]}`
	bad := []struct {
		name, body, media string
		code, field       string
		index, line       any
	}{
		{"too many", many, "application/json", "too_many", "codes", nil, nil},
		{"none", `[]`, "application/json", "missing_field", "codes", nil, nil},
		{"second is bad", `[` + rows[0] + `,{"profile":"wechat-group","targets":[{"url":"ftp://x.example"}]}]`, "application/json", "invalid_value", "targets[0].url", 1.0, nil},
		{"unknown field", `[` + rows[0] + `,{"profil":"x"}]`, "application/json", "unknown_field", "profil", 1.0, nil},
		{"template", `{"name":"{colour}","codes":[` + rows[0] + `]}`, "application/json", "invalid_value", "name", 0.0, nil},
		{"column", "profile,link\nwechat-group,https://example.com\n", "text/csv", "unknown_field", "link", nil, 1.0},
		{"row", "profile,url,url_2\nwechat-group,https://example.com,\nwechat-group,https://example.com,nowhere\n", "text/csv", "invalid_value", "url_2", 1.0, 3.0},
		{"number", "profile,url,max_scans\nwechat-group,https://example.com,many\n", "text/csv", "invalid_value", "max_scans", 0.0, 2.0},
		{"ragged", "profile,url\nwechat-group\n", "text/csv", "bad_csv", "body", nil, 2.0},
		{"quotes", "profile,url\n\"wechat-group,https://example.com\n", "text/csv", "bad_csv", "body", nil, 2.0},
		{"no rows", "profile,url\n", "text/csv", "missing_field", "codes", nil, nil},
	}
	before := len(h.log(2))
	for _, row := range bad {
		t.Run(row.name, func(t *testing.T) {
			p := h.admin("POST", "/v1/codes/batch", row.body, "Content-Type: "+row.media).want(t, 400).json(t)
			if p["code"] != row.code || p["field"] != row.field || p["index"] != row.index || p["line"] != row.line {
				t.Errorf("problem = %v, want %+v", p, row)
			}
		})
	}
	if got := len(h.log(2)); got != before {
		t.Errorf("%d events were stored for refused batches", got-before)
	}
	key := "Idempotency-Key: batch"
	a := h.admin("POST", "/v1/codes/batch", `[`+rows[0]+`,`+rows[1]+`]`, key).want(t, 201).json(t)["codes"].([]any)
	b := h.admin("POST", "/v1/codes/batch", `[`+rows[0]+`,`+rows[1]+`]`, key).want(t, 201).json(t)["codes"].([]any)
	for i := range a {
		if a[i].(map[string]any)["id"] != b[i].(map[string]any)["id"] {
			t.Error("a repeated batch made other codes")
		}
	}
}

func TestPictures(t *testing.T) {
	h := newHouse(t)
	c := h.mint(`"targets":[{"url":"https://example.com/a"}],"variants":[{"name":"red","fg":"#aa0000"},{"name":"blue","fg":"#0000aa"}],"style":{"size":300}`)
	read := func(path string) (string, image.Image) {
		t.Helper()
		a := h.admin("GET", path, "").want(t, 200)
		if a.header.Get("Content-Type") != "image/png" {
			t.Fatalf("Content-Type = %s", a.header.Get("Content-Type"))
		}
		img, _, err := image.Decode(bytes.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
		if err != nil {
			t.Fatal(err)
		}
		text, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
		if err != nil {
			t.Fatal(err)
		}
		return text.GetText(), img
	}
	text, img := read(c["qr_png"].(string))
	if want := strings.ToUpper(c["scan_url"].(string)); text != want {
		t.Errorf("the picture says %s, want %s", text, want)
	}
	if got := img.Bounds().Dx(); got != 300 {
		t.Errorf("size = %d, want the style's 300", got)
	}
	second := c["pictures"].([]any)[1].(map[string]any)
	text, _ = read(second["qr_png"].(string) + "&size=500&rendering=article")
	if want := strings.ToUpper(second["scan_url"].(string)); text != want {
		t.Errorf("the second picture says %s, want %s", text, want)
	}
	if second["tracking"] == c["tracking"] || second["token"] == c["token"] {
		t.Error("two variants share a token or a tracking code")
	}
	a := h.do("GET", strings.Replace(text, "HTTP://127.0.0.1", "http://127.0.0.1", 1), "", "User-Agent: "+iPhone).want(t, 302)
	h.until("the scan names its variant", func() bool {
		for _, e := range h.log(2) {
			if d, ok := e.Data.(*events.Scan); ok && e.ID == a.header.Get("Huoma-Event") {
				return d.Variant == 2 && d.Tracking == second["tracking"]
			}
		}
		return false
	})
	svg := h.admin("GET", c["qr_svg"].(string), "").want(t, 200)
	if svg.header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(string(svg.body), `fill="#aa0000"`) {
		t.Errorf("svg: %v %.200s", svg.header, svg.body)
	}
	path := "/v1/codes/" + c["id"].(string) + "/qr.png"
	for query, field := range map[string]string{
		"?size=10": "size", "?size=x": "size", "?variant=3": "variant", "?variant=9": "variant", "?ec=Z": "ec", "?rendering=odd": "rendering",
		"?badge=%F0%9F%98%80": "badge", "?fg=zzz": "fg", "?bg=%23000": "fg", "?colour=red": "colour", "?size=100&size=200": "size",
	} {
		if p := h.admin("GET", path+query, "").want(t, 400).json(t); p["field"] != field {
			t.Errorf("%s: problem = %v, want field %s", query, p, field)
		}
	}
	h.do("GET", path, "").want(t, 401)
}
