package visit

import "strings"

// A DeviceInfo is what an agent says of its device, coarsely; "" is not known. Nothing in it names a person:
// versions are major ones, and the model is the maker's.
type DeviceInfo struct {
	Model string // "iPhone", "Mac", "PC" or what Android calls the model, such as "SM-S9180", at most 40 bytes
	OS    string // "iOS 17", "Android 14", "HarmonyOS 5", "Windows 10", "macOS", …
	App   string // what the page is open in: "wechat", "wecom", "alipay", …, "chrome", "safari", "other"
}

// inApps are the apps with a browser inside, the special before the general: WeCom also says MicroMessenger, DingTalk
// also AliApp, QQ also MQQBrowser.
var inApps = []named{
	{"wxwork/", "wecom"}, {"micromessenger/", "wechat"}, {"dingtalk", "dingtalk"}, {"alipayclient/", "alipay"}, {"aliapp(ap/", "alipay"},
	{"lark/", "feishu"}, {"feishu/", "feishu"}, {"__weibo__", "weibo"}, {" weibo", "weibo"}, {" aweme", "douyin"}, {"musical_ly", "tiktok"}, {"trill_", "tiktok"},
	{"xhsdiscover", "xiaohongshu"}, {" discover/", "xiaohongshu"}, {" xiaohongshu", "xiaohongshu"}, {" qq/", "qq"}, {"baiduboxapp/", "baidu"},
	{"aliapp(tb", "taobao"}, {"jdapp;", "jd"}, {" newsarticle/", "toutiao"}, {" biliapp", "bilibili"}, {"bili/", "bilibili"}, {"zhihuhybrid", "zhihu"},
	{" kwai/", "kuaishou"}, {"ksnebula/", "kuaishou"}, {"pinduoduo", "pinduoduo"}, {"meituan", "meituan"},
	{" instagram ", "instagram"}, {"fban/", "facebook"}, {"fbav/", "facebook"}, {"fb_iab/", "facebook"}, {" line/", "line"}, {"kakaotalk", "kakaotalk"},
	{"snapchat/", "snapchat"}, {"telegram-android/", "telegram"},
}

// browsers are looked for after the apps, those that imitate others first.
var browsers = []named{
	{"qqbrowser/", "qqbrowser"}, {"quark", "quark"}, {"ucbrowser/", "ucbrowser"}, {"ucweb/", "ucbrowser"}, {"miuibrowser/", "miui"},
	{"huaweibrowser/", "huawei"}, {"honorbrowser/", "honor"}, {"heytapbrowser/", "oppo"}, {"oppobrowser/", "oppo"}, {"vivobrowser/", "vivo"},
	{"samsungbrowser/", "samsung"}, {"baidubrowser/", "baidubrowser"}, {"bidubrowser/", "baidubrowser"}, {"metasr", "sogou"}, {"sogoumobilebrowser/", "sogou"},
	{"qhbrowser/", "360"}, {"360se", "360"}, {"yabrowser/", "yandex"}, {"duckduckgo/", "duckduckgo"}, {"ddg/", "duckduckgo"}, {"vivaldi/", "vivaldi"}, {"edg/", "edge"}, {"edga/", "edge"}, {"edgios/", "edge"}, {"edge/", "edge"},
	{"opr/", "opera"}, {"opt/", "opera"}, {"opera", "opera"}, {"firefox/", "firefox"}, {"fxios/", "firefox"}, {"gsa/", "google"}, {"crios/", "chrome"}, {"arkweb/", "arkweb"}, {"; wv)", "webview"}, {"chrome/", "chrome"},
	{"trident/", "ie"}, {"msie ", "ie"},
}

// seenDevices remembers what was read from the last 4096 agents.
var seenDevices = newLRU[DeviceInfo](4096)

// Device reads an agent. It looks at the first 1 KB, and needs a few microseconds for an agent that it has not seen lately.
func Device(userAgent string) DeviceInfo {
	if len(userAgent) > maxAgent {
		userAgent = userAgent[:maxAgent]
	}
	return seenDevices.get(userAgent, func() DeviceInfo { return readDevice(userAgent) })
}

func readDevice(userAgent string) DeviceInfo {
	agent := strings.ToLower(userAgent)
	if len(agent) != len(userAgent) {
		userAgent = agent // a letter whose lower case has another length: places would not agree
	}
	if agent == "" {
		return DeviceInfo{}
	}
	d := platformOf(agent, userAgent)
	d.App = appOf(agent)
	if d.App == "" {
		d.App = browserOf(agent)
	}
	return d
}

// appOf returns the app a lower-case agent's browser is inside of, or "".
func appOf(agent string) string {
	for _, a := range inApps {
		if strings.Contains(agent, a.mark) {
			return a.name
		}
	}
	return ""
}

func browserOf(agent string) string {
	for _, b := range browsers {
		if strings.Contains(agent, b.mark) {
			return b.name
		}
	}
	switch apple := strings.Contains(agent, "applewebkit/"); {
	case apple && strings.Contains(agent, "version/") && strings.Contains(agent, "safari/"):
		return "safari"
	case apple && (strings.Contains(agent, "iphone") || strings.Contains(agent, "ipad")):
		return "webview"
	}
	return "other"
}

// windows are NT's versions by the names they were sold under; 11 also says 10.0.
var windows = []named{{"10.0", "10"}, {"6.3", "8.1"}, {"6.2", "8"}, {"6.1", "7"}, {"6.0", "Vista"}, {"5.1", "XP"}}

// platformOf reads model and system of agent, the lower-case form of userAgent, byte for byte.
func platformOf(agent, userAgent string) DeviceInfo {
	switch {
	case strings.Contains(agent, "openharmony"):
		return DeviceInfo{Model: "HarmonyOS", OS: versioned("HarmonyOS", agent, "openharmony ")}
	case strings.Contains(agent, "windows phone"):
		return DeviceInfo{OS: "Windows Phone"}
	case strings.Contains(agent, "ipad"):
		return DeviceInfo{Model: "iPad", OS: versioned("iPadOS", agent, "cpu os ")}
	case strings.Contains(agent, "(iphone"), strings.Contains(agent, "iphone os"):
		return DeviceInfo{Model: "iPhone", OS: versioned("iOS", agent, "iphone os ")}
	case strings.Contains(agent, "ipod"):
		return DeviceInfo{Model: "iPod", OS: versioned("iOS", agent, "iphone os ")}
	case strings.Contains(agent, "android"), strings.Contains(agent, "harmonyos"):
		d := DeviceInfo{Model: androidModel(userAgent, agent), OS: versioned("Android", agent, "android ")}
		if strings.Contains(agent, "harmonyos") {
			d.OS = "HarmonyOS" // the Android number it gives is that of its compatibility layer
		}
		return d
	case strings.Contains(agent, "windows nt "):
		for _, w := range windows {
			if strings.Contains(agent, "windows nt "+w.mark) {
				return DeviceInfo{Model: "PC", OS: "Windows " + w.name}
			}
		}
		return DeviceInfo{Model: "PC", OS: "Windows"}
	case strings.Contains(agent, "macintosh"):
		return DeviceInfo{Model: "Mac", OS: "macOS"} // its number has stood still at 10.15 since 2020
	case strings.Contains(agent, "cros "):
		return DeviceInfo{Model: "PC", OS: "ChromeOS"}
	case strings.Contains(agent, "linux"), strings.Contains(agent, "x11"):
		return DeviceInfo{Model: "PC", OS: "Linux"}
	}
	return DeviceInfo{}
}

// versioned appends the major version that follows mark, at most three digits, to name.
func versioned(name, agent, mark string) string {
	_, after, ok := strings.Cut(agent, mark)
	n := 0
	for ok && n < len(after) && after[n] >= '0' && after[n] <= '9' {
		n++
	}
	if n == 0 || n > 3 {
		return name
	}
	return name + " " + after[:n]
}

// androidModel finds the model in the first parenthesis: the first part behind the system's which is no locale
// or flag, without its build.
func androidModel(userAgent, agent string) string {
	open := strings.IndexByte(agent, '(')
	if open < 0 {
		return ""
	}
	inside, _, ok := parenthesis(agent[open:])
	if !ok {
		return ""
	}
	original := userAgent[open+1 : open+1+len(inside)]
	seen := false
	for len(inside) > 0 {
		part, _, _ := strings.Cut(inside, ";")
		raw := original[:len(part)]
		inside, original = inside[len(part):], original[len(part):]
		if len(inside) > 0 {
			inside, original = inside[1:], original[1:]
		}
		part = strings.TrimSpace(part)
		switch {
		case strings.HasPrefix(part, "android"), part == "harmonyos":
			seen = true
			continue
		case !seen, part == "u", part == "wv", part == "k", part == "mobile", part == "tablet", part == "arm_64", locale(part),
			strings.HasPrefix(part, "hmscore"), strings.HasPrefix(part, "gmscore"), strings.HasPrefix(part, "rv:"), strings.HasPrefix(part, "build/"), part == "":
			continue
		}
		return modelName(raw)
	}
	return ""
}

// modelName trims a build off and keeps what can be shown, at most 40 bytes.
func modelName(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.Index(strings.ToLower(s), " build"); i >= 0 && i < len(s) {
		s = s[:i]
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '<' && c != '>' && c != '"' {
			b = append(b, c)
		}
	}
	const most = 40
	return strings.TrimSpace(string(b[:min(len(b), most)]))
}

// locale recognizes zh-cn, en_us, zh and zh-hans-cn.
func locale(s string) bool {
	if len(s) == 2 {
		return s[0] >= 'a' && s[0] <= 'z' && s[1] >= 'a' && s[1] <= 'z'
	}
	return len(s) >= 5 && len(s) <= 10 && (s[2] == '-' || s[2] == '_') && locale(s[:2]) && strings.Trim(s[3:], "abcdefghijklmnopqrstuvwxyz-_") == ""
}
