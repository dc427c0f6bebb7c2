package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

// style is the only style sheet. It is inside the pages, which load nothing
// but, on a landing page, the group's picture.
const style = `:root{color-scheme:light dark}body{font:1.1rem/1.6 system-ui,"PingFang SC","Microsoft YaHei",sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}` +
	`main{max-width:26rem;padding:1.5rem;text-align:center}h1{font-size:1.4rem}img{width:100%;max-width:20rem;background:#fff}` +
	`button{font:inherit;padding:.7rem 1.6rem;border-radius:.5rem;border:1px solid;cursor:pointer}small{opacity:.75}`

var csp = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data: https:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

// page is what the one template shows. Empty fields are left out.
type page struct {
	Lang, Title, Text, Note string
	OpenGraph               bool
	Picture                 template.URL
	PictureAlt              string
	Button                  string // posts to the same address
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="{{.Lang}}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>{{.Title}}</title>{{if .OpenGraph}}
<meta property="og:title" content="{{.Title}}"><meta property="og:type" content="website">{{with .Text}}<meta property="og:description" content="{{.}}">{{end}}{{end}}
<style>` + style + `</style></head>
<body><main><h1>{{.Title}}</h1>{{with .Text}}<p>{{.}}</p>{{end}}{{if .Picture}}<p><img src="{{.Picture}}" alt="{{.PictureAlt}}"></p>{{end}}{{if .Button}}
<form method="post"><button>{{.Button}}</button></form>{{end}}{{with .Note}}<p><small>{{.}}</small></p>{{end}}</main></body></html>
`))

func (g *Gateway) page(w http.ResponseWriter, status int, p page) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	h := w.Header()
	pageHeaders(h, p.Lang)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client has gone
	return nil
}

// Values of headers, which nobody writes to.
var (
	htmlType     = []string{"text/html; charset=utf-8"}
	varyLanguage = []string{"Accept, Accept-Language"}
	pagePolicy   = []string{csp}
	noReferrer   = []string{"no-referrer"}
)

func pageHeaders(h http.Header, lang string) {
	h["Content-Type"] = htmlType
	h["Content-Language"] = []string{lang}
	h["Vary"] = varyLanguage
	h["Content-Security-Policy"] = pagePolicy
	h["Referrer-Policy"] = noReferrer
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}

// problemPage makes the page of a problem in advance, in every language.
func problemPage(code string) (map[string][]byte, error) {
	pages := make(map[string][]byte, len(words))
	for lang, texts := range words {
		var b bytes.Buffer
		if err := pageTemplate.Execute(&b, page{Lang: lang, Title: texts[code][0], Text: texts[code][1]}); err != nil {
			return nil, fmt.Errorf("write page: %w", err)
		}
		pages[lang] = b.Bytes()
	}
	return pages, nil
}

// words are a problem's title and text for people who scan, by language and code.
var words = map[string]map[string][2]string{
	"en": {
		"forged":       {"This code is not valid", "Please scan the printed code again."},
		"unknown_code": {"This code is not known", "Please ask whoever gave it to you for a new one."},
		"expired":      {"This code has expired", "Please ask whoever gave it to you for a new one."},
		"live_window":  {"Please look at the screen again", "This picture was for %s UTC, %d minutes ago. The screen shows a new one every minute: scan the one that is there now."},
		"revoked":      {"This code was withdrawn", "Please ask whoever gave it to you for a new one."},
		"capped":       {"This code has been used up", "It was made for a limited number of scans. Please ask for a new one."},
		"full":         {"The group is full", "Please ask whoever gave you the code for another group."},
		"locked":       {"Too many scans", "Please wait a few minutes, then scan again."},
		"bot":          {"For people only", "This address does not serve robots."},
		"preview":      {"Please open the link", "There is nothing to fetch ahead."},
		"busy":         {"One moment, please", "Very many people are scanning right now. Please scan again in a few seconds."},
		"overloaded":   {"One moment, please", "Very many people are scanning right now. Please scan again in a few seconds."},
		"not_stored":   {"One moment, please", "Please scan again in a few seconds."},
		"bad_link":     {"This link is not valid", "Please open the link of the newest message."},
		"link_expired": {"This link has run out", "Please open the link of the newest message."},
		"bad_kiosk":    {"This screen's address is not valid", "Please open the newest one: huoma codes kiosk makes it."},
		"":             {"Something went wrong", "Please try again in a moment."},
	},
	"zh": {
		"forged":       {"二维码无效", "请重新扫描印刷的二维码。"},
		"unknown_code": {"找不到这个二维码", "请向提供者索取新的二维码。"},
		"expired":      {"二维码已过期", "请向提供者索取新的二维码。"},
		"live_window":  {"请再看一眼屏幕", "您扫描的是屏幕在 %s（UTC，%d 分钟前）显示的二维码。屏幕每分钟更换一次，请扫描当前显示的二维码。"},
		"revoked":      {"二维码已停用", "请向提供者索取新的二维码。"},
		"capped":       {"二维码的扫描次数已用完", "请向提供者索取新的二维码。"},
		"full":         {"群已满员", "请向提供者索取其他群的二维码。"},
		"locked":       {"扫描过于频繁", "请等待几分钟后再扫。"},
		"bot":          {"仅供个人访问", "此地址不向机器人提供服务。"},
		"preview":      {"请打开链接", "此处没有可预取的内容。"},
		"busy":         {"请稍候", "当前扫码人数很多，请几秒后再扫。"},
		"overloaded":   {"请稍候", "当前扫码人数很多，请几秒后再扫。"},
		"not_stored":   {"请稍候", "请几秒后再扫一次。"},
		"bad_link":     {"链接无效", "请打开最新消息中的链接。"},
		"link_expired": {"链接已失效", "请打开最新消息中的链接。"},
		"bad_kiosk":    {"屏幕地址无效", "请打开最新的地址：可用 huoma codes kiosk 生成。"},
		"":             {"出了点问题", "请稍后再试。"},
	},
}

// texts are the words of the other pages, by language.
var texts = map[string]map[string]string{
	"en": {
		"group": "Group invitation", "open": "Open this page on your phone to join.", "press": "Press and hold the picture to join the group.",
		"picture": "QR code of the group", "renew": "Renew this code", "renewText": "The code “%s” runs until %s. Renewing it starts a new period.",
		"renewButton": "Renew", "renewed": "Renewed", "renewedText": "The code “%s” runs until %s.", "already": "This code was renewed already", "nolimit": "further notice",
	},
	"zh": {
		"group": "群聊邀请", "open": "请在手机上打开此页面加入。", "press": "长按图片识别二维码，加入群聊。",
		"picture": "群二维码", "renew": "续期二维码", "renewText": "二维码“%s”有效期至 %s。续期后将重新开始计时。",
		"renewButton": "续期", "renewed": "续期成功", "renewedText": "二维码“%s”有效期至 %s。", "already": "此二维码已续期", "nolimit": "另行通知",
	},
}

// refuse sends a person a page in their language, and a program the problem.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, p *Problem) error {
	if wantsJSON(r) {
		w.Header().Set("Vary", "Accept, Accept-Language")
		return p
	}
	lang := language(r.Header.Get("Accept-Language"))
	text, ok := words[lang][p.Code]
	if !ok {
		text = words[lang][""]
	}
	p.headers(w.Header())
	return g.page(w, p.Status, page{Lang: lang, Title: text[0], Text: text[1]})
}

// previewPage is what link previews get: the name, and nothing to follow.
func (g *Gateway) previewPage(w http.ResponseWriter, r *http.Request, name string) error {
	lang := language(r.Header.Get("Accept-Language"))
	if name == "" {
		name = texts[lang]["group"]
	}
	return g.page(w, http.StatusOK, page{Lang: lang, Title: name, Text: texts[lang]["open"], OpenGraph: true})
}

// landingPage shows a group's picture to press and hold.
func (g *Gateway) landingPage(w http.ResponseWriter, r *http.Request, name, picture string) error {
	lang := language(r.Header.Get("Accept-Language"))
	if name == "" {
		name = texts[lang]["group"]
	}
	return g.page(w, http.StatusOK, page{
		Lang: lang, Title: name, Text: texts[lang]["press"], PictureAlt: texts[lang]["picture"],
		Picture: template.URL(picture), //nolint:gosec // the mint let only https URLs and image data in
	})
}

// wantsJSON reports whether a program asks: one that accepts JSON and not HTML.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return (strings.Contains(accept, "application/json") || strings.Contains(accept, "application/problem+json")) && !strings.Contains(accept, "text/html")
}

// language picks zh or en from an Accept-Language header; en when it names neither.
func language(accept string) string {
	best, quality := "en", 0.0
	for i, item := range strings.Split(accept, ",") {
		if i == 16 {
			break
		}
		tag, params, _ := strings.Cut(item, ";")
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if tag != "zh" && tag != "en" {
			continue
		}
		q := 1.0
		if _, v, ok := strings.Cut(params, "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil || q > 1 {
				continue
			}
		}
		if q > quality {
			best, quality = tag, q
		}
	}
	return best
}
