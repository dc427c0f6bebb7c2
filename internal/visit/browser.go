package visit

import "strings"

// platforms open the first parenthesis of a browser's agent. "compatible" is none: robots write that.
var platforms = []string{
	"linux; android", "linux; u; android", "linux; arm", "linux; harmonyos", "iphone", "ipad", "ipod", "macintosh;", "windows nt ",
	"x11; ", "phone; openharmony", "tablet; openharmony", "pc; openharmony", "2in1; openharmony", "android", "mobile; ", "windows phone",
}

// suspect marks are never in a person's platform or word. What holds one goes the long way, where it is decided.
var suspect = []string{"bot", "crawl", "spider", "http", "compatible", "preview", "headless", "+", "@", "snap", "fetch", "scan", "scrap", "check", "monitor", "reader", "archiv", "agent", "google", "generator", "wpm"}

// platformParts are what desktop and Apple browsers write into the first parenthesis, by their beginnings. Android's
// is not held to it: a model can have any name.
var platformParts = []string{
	"windows nt ", "win64", "wow64", "x64", "arm64", "rv:", "touch", "trident/", "macintosh", "intel mac os x", "x11", "linux", "cros ", "ubuntu", "fedora",
	"iphone", "ipad", "ipod", "cpu ", "wayland",
}

// parenthesized words may have a ( right behind their name.
var parenthesized = map[string]bool{"alipaydefined": true, "aliapp": true, "channelid": true, "psdtype": true, "windowswechat": true, "macwechat": true}

// words are the product names of browsers and of the apps people open links in, in lower case, up to their
// first / ( or : character. An agent made of these alone is a browser.
var words = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`
		mozilla applewebkit chrome chromium safari mobile version gecko firefox focus edg edga edgios edge crios fxios opr opt opera ddg duckduckgo brave vivaldi
		yabrowser mobiledesktop gsa silk webview like wv u presto
		micromessenger nettype language wechat weixin abi xweb mmwebsdk mmwebid miniprogramenv miniprogram windowswechat macwechat unifiedpcwindowswechat
		unifiedpcmacwechat unifiedpclinuxwechat flue wxwork wxworklocal colorscheme desktop mqqbrowser qqbrowser qbcore tbs mttcustomua mqqminiprogram
		qq tim pixel core qbwebviewtype device webp qimei statusbarheight simpleuiswitch qqtheme studymode currentmode currentfontscale globaldensityscale
		allowlandscape inmagicwin nightmode colormode pa mobileqq
		channelid nebulasdk nebula psdtype alipaydefined aliapp alipayclient alipay alipaychannelid ucbs uws usestatusbar isconcavescreen region nebulax ariver
		dtn windvane wk ttid t-uci ap abtest
		dingtalk com.laiwang.dingtalk com.alibaba.android.rimet channel unidingtalk dingweb
		lark larklocale feishu mobilelark appname channelname ttwebview hybridlark
		weibo weibo__ webviewhost fontscale
		aweme jssdk app_version bytelocale appskin apptheme bytedancewebview byteffectsdk webviewengine falcon loadmode
		baiduboxapp baidubrowser baidubrowser_i18n t7 sp-engine dueriosapp info swan swan-baiduboxapp bdopen baidubrowser lite dark
		discover xhsdiscover xhsminiapp theme
		ucbrowser u3 u4 ucturbo quark quarkpc
		miuibrowser xiaomi xiaomimiuibrowser swan-mibrowser huaweibrowser huawei hms hmscore honorbrowser honor heytapbrowser oppobrowser vivobrowser samsungbrowser
		realmebrowser nubiabrowser meizu mxbrowser lenovo coolpad arkweb harmonyos
		metasr se sogoumobilebrowser sogousearch 360se qhbrowser 360browser qihoobrowser
		lang appid covc nabar ut4aplus wktype revealtype resolution xiaohongshu
		newsarticle toutiaomicroapp taobao jdapp jd4iphone jdjr zhihuhybrid zhihu osee2unifiedrelease bilibili biliapp build mobi_app kwai ksnebula meituan titans
		pinduoduo com.xunmeng.pinduoduo android_version
		fb_iab fban fbav fbdv fbmd fbsn fbsv fbss fbid fblc fbop fbrv fbcr instagram line iab kakaotalk inapp naver whale snapchat twitter telegram telegram-android
	`) {
		m[w] = true
	}
	return m
}()

// residue cuts from a lower-case agent what browsers say about themselves: "mozilla/5.0", the platform and
// every known word with its version. What is left is "" for a plain browser, else the words nobody
// of ours knows, or the whole agent when it is not built like a browser's at all.
func residue(agent string) string {
	const opening = "mozilla/5.0 ("
	if !strings.HasPrefix(agent, opening) {
		return agent
	}
	platform, tail, ok := parenthesis(agent[len(opening)-1:])
	clean := !containsAny(agent, suspect) // mostly so, and then no part has to be asked
	if !ok || !hasAnyPrefix(platform, platforms) || !clean && containsAny(platform, suspect) || !knownPlatform(platform) {
		return agent
	}
	var left []byte
	for tail = strings.TrimLeft(tail, " "); tail != ""; tail = strings.TrimLeft(tail, " ") {
		var word string
		if tail[0] == '(' {
			inside, rest, ok := parenthesis(tail)
			if !ok {
				return agent
			}
			word, tail = tail[:len(tail)-len(rest)], rest
			if inside == "khtml, like gecko" || (strings.Contains(inside, "__weibo__") || strings.HasPrefix(inside, "baidu; p")) && (clean || !containsAny(inside, suspect)) {
				continue
			}
		} else {
			word, tail, _ = strings.Cut(tail, " ")
			if i := strings.IndexByte(word, ')'); i >= 0 && strings.HasPrefix(word[i+1:], "version/") {
				word, tail = word[:i+1], word[i+1:]+" "+tail // MQQBrowser leaves a blank out
			}
			name := word
			if i := strings.IndexAny(name, "/(:"); i >= 0 {
				name = name[:i]
			}
			odd := len(name) < len(word) && word[len(name)] == '(' && !parenthesized[name]
			if (words[name] || words[prefixBefore(name, '_')]) && !odd && (clean || !containsAny(word, suspect)) {
				continue
			}
			if plainVersion(word) {
				continue
			}
		}
		if len(left) > 0 {
			left = append(left, ' ')
		}
		left = append(left, word...)
	}
	return string(left)
}

// knownPlatform says that every part of a platform is one that browsers write, or that it is Android's.
func knownPlatform(platform string) bool {
	if strings.Contains(platform, "android") || strings.Contains(platform, "harmony") {
		return true
	}
	for part := range strings.SplitSeq(platform, ";") {
		if part = strings.TrimSpace(part); part != "u" && !locale(part) && !hasAnyPrefix(part, platformParts) {
			return false
		}
	}
	return true
}

// plainVersion says that word is a number, or the build and channel words QQ and Baidu write, as in
// V1_AND_SQ_8.8.68_2538_YYB_D.
func plainVersion(word string) bool {
	if strings.HasPrefix(word, "v1_") || strings.HasPrefix(word, "p1/") || strings.HasPrefix(word, "p2/") {
		return !containsAny(word, suspect)
	}
	return strings.Trim(word, "0123456789._x-;,") == ""
}

// parenthesis splits s, which starts with one, behind its closing partner.
func parenthesis(s string) (inside, rest string, ok bool) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], s[i+1:], true
			}
		}
	}
	return "", s, false
}

func prefixBefore(s string, c byte) string {
	if i := strings.IndexByte(s, c); i > 0 {
		return s[:i]
	}
	return s
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func containsAny(s string, marks []string) bool {
	for _, m := range marks {
		if strings.Contains(s, m) {
			return true
		}
	}
	return false
}
