package gateway

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page is in the program: a screen loads nothing from elsewhere
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

//go:embed kiosk/kiosk.html
var kioskHTML string

//go:embed kiosk/kiosk.css
var kioskStyle string

//go:embed kiosk/kiosk.js
var kioskScript string

var kioskTemplate = template.Must(template.New("kiosk").Parse(kioskHTML))

var kioskPolicy = func() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; script-src " + hash(kioskScript) + "; style-src " + hash(kioskStyle) +
		"; img-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
}()

// kioskWords are what a screen says: those of statuses, of the connection, and of the page itself.
var kioskWords = map[string]map[string]string{
	"en": {
		"live": "A new code every minute", "last": "No connection: this code works a little longer", "reconnecting": "Reconnecting: there is no code to scan right now",
		"connecting": "Connecting…", "closed": "This code is closed right now", "expired": "This code has expired", "revoked": "This code was withdrawn", "capped": "This code has been used up",
		"full": "The group is full", "retired": "This screen's address was withdrawn: open its new one", "group": "Group invitation", "how": "Scan it with your phone", "alt": "QR code to scan", "script": "This page needs JavaScript.",
	},
	"zh": {
		"live": "二维码每分钟更新一次", "last": "网络已断开：此二维码即将失效", "reconnecting": "正在重新连接：暂时没有可扫描的二维码",
		"connecting": "正在连接…", "closed": "此二维码暂不可用", "expired": "二维码已过期", "revoked": "二维码已停用", "capped": "二维码的扫描次数已用完",
		"full": "群已满员", "retired": "此屏幕的地址已失效，请打开新的地址", "group": "群聊邀请", "how": "请用手机扫描", "alt": "待扫描的二维码", "script": "此页面需要启用 JavaScript。",
	},
}

// showKiosk answers GET /k/{signed}: a page for a screen that nobody attends. ?lang=zh and ?lang=en are for screens whose browser asks for neither.
func (g *Gateway) showKiosk(w http.ResponseWriter, r *http.Request) error {
	s, k, err := g.openScreen(r)
	if err != nil {
		return g.refuse(w, r, g.asProblem(err, route{pattern: "/k/{signed}"}))
	}
	lang := r.URL.Query().Get("lang")
	words, ok := kioskWords[lang]
	if !ok {
		lang = language(r.Header.Get("Accept-Language"))
		words = kioskWords[lang]
	}
	said, err := json.Marshal(words, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	var b bytes.Buffer
	err = kioskTemplate.Execute(&b, map[string]any{
		"Lang": lang, "Name": firstOf(k.def.Name, words["group"]), "Words": string(said), "Alt": words["alt"], "Connecting": words["connecting"], "Script": words["script"],
		"How": words["how"], "Device": s.device,
		"Style": template.CSS(kioskStyle), "Code": template.JS(kioskScript), //nolint:gosec // both are constants of the program
	})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	h := w.Header()
	pageHeaders(h, lang)
	h.Set("Content-Security-Policy", kioskPolicy)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes()) // the client has gone
	return nil
}
