package simulate

import "fmt"

// place is a province with its share of the people and the networks they come
// from. The networks are shared address space (RFC 6598) and documentation
// prefixes (RFC 3849), so that no one's real address is ever in a sample.
type place struct {
	province, city string
	weight         float64
}

var places = []place{
	{"Guangdong", "Shenzhen", 15}, {"Guangdong", "Guangzhou", 11}, {"Jiangsu", "Suzhou", 8}, {"Shanghai", "Shanghai", 9},
	{"Beijing", "Beijing", 9}, {"Zhejiang", "Hangzhou", 9}, {"Shandong", "Jinan", 6}, {"Sichuan", "Chengdu", 7},
	{"Hubei", "Wuhan", 5}, {"Hunan", "Changsha", 4}, {"Henan", "Zhengzhou", 4}, {"Fujian", "Xiamen", 4}, {"Anhui", "Hefei", 3},
	{"Shaanxi", "Xi'an", 3}, {"Chongqing", "Chongqing", 3}, {"Liaoning", "Shenyang", 2}, {"Yunnan", "Kunming", 2},
	{"Guangxi", "Nanning", 1.5}, {"Heilongjiang", "Harbin", 1}, {"Hainan", "Haikou", 0.8}, {"Xinjiang", "Urumqi", 0.5},
}

// network is the prefix of the n-th network of a place, and an address in it
// for host. Few networks a place: carriers put many people behind each.
func network(place, n int, host byte) (prefix, address string) {
	if n%5 == 4 { // a fifth have IPv6
		return fmt.Sprintf("2001:db8:%x:%x::/64", place+1, n), fmt.Sprintf("2001:db8:%x:%x::%x", place+1, n, host)
	}
	return fmt.Sprintf("100.%d.%d.0/24", 64+place, n), fmt.Sprintf("100.%d.%d.%d", 64+place, n, max(host, 1))
}

const networksPerPlace = 40

// device is one kind of device with the browser or app that scans.
type device struct {
	agent  string
	weight float64
}

const (
	android = "Mozilla/5.0 (Linux; Android %s; %s) AppleWebKit/537.36 (KHTML, like Gecko) "
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS %s like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	webview = "Version/4.0 Chrome/130.0.6723.103 Mobile Safari/537.36 "
)

var devices = makeDevices()

func makeDevices() []device {
	type phone struct {
		os, model string
		weight    float64
	}
	androids := []phone{
		{"14", "V2318A Build/UP1A.231005.007", 8}, {"14", "PJD110 Build/UKQ1.230924.001", 9}, {"13", "2211133C Build/TKQ1.220905.001", 9},
		{"12", "ALN-AL00 Build/HUAWEIALN-AL00", 11}, {"10", "ELS-AN00 Build/HUAWEIELS-AN00", 6}, {"14", "SM-S9180 Build/UP1A.231005.007", 3},
		{"13", "RMX3562 Build/TP1A.220905.001", 3}, {"11", "M2102J2SC Build/RKQ1.200826.002", 4},
	}
	iphones := []phone{{"17_6_1", "", 12}, {"18_1", "", 14}, {"16_7_2", "", 5}, {"15_8", "", 2}}
	var out []device
	for _, p := range androids {
		base := fmt.Sprintf(android, p.os, p.model+"; wv")
		plain := fmt.Sprintf(android, p.os, p.model)
		out = append(out,
			device{base + webview + "XWEB/1300085 MMWEBSDK/20240802 MicroMessenger/8.0.51.2720(0x28003339) WeChat/arm64 NetType/5G Language/zh_CN", p.weight * 6},
			device{base + webview + "wxwork/4.1.30 MicroMessenger/7.0.1 NetType/WIFI Language/zh Lang/zh", p.weight},
			device{base + webview + "Alipay AlipayClient/10.6.60.8000 AliApp(AP/10.6.60.8000) Language/zh-Hans", p.weight * 0.8},
			device{plain + "Chrome/131.0.0.0 Mobile Safari/537.36", p.weight * 0.6},
		)
	}
	for _, p := range iphones {
		base := fmt.Sprintf(iphone, p.os)
		out = append(out,
			device{base + "Mobile/15E148 MicroMessenger/8.0.53(0x18003531) NetType/WIFI Language/zh_CN", p.weight * 6},
			device{base + "Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1 Language/zh ColorScheme/Light", p.weight},
			device{base + "Mobile/15E148 AliApp(AP/10.6.60.6000) AlipayClient/10.6.60.6000 Language/zh-Hans", p.weight * 0.8},
			device{base + "Version/17.6 Mobile/15E148 Safari/604.1", p.weight},
		)
	}
	return append(out,
		device{fmt.Sprintf(android, "12", "ALN-AL00") + "Chrome/114.0.5735.196 HuaweiBrowser/15.0.4.312 Mobile Safari/537.36", 6},
		device{fmt.Sprintf(android, "14", "23127PN0CC Build/UKQ1.230804.001") + "Version/4.0 Chrome/122.0.6261.119 Mobile Safari/537.36 XiaoMi/MiuiBrowser/18.9.51108", 4},
		device{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", 3},
	)
}

// previewAgents fetch a page to show it beside a link in a chat.
var previewAgents = []string{
	"WhatsApp/2.23.20.0", "TelegramBot (like TwitterBot)", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
	"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
	"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
}

// robotAgents say that they are programs.
var robotAgents = []string{
	"curl/8.5.0", "python-requests/2.32.3", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
	"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
	"Go-http-client/1.1", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
}

// campaign is what a code belongs to; convert is the share of its scans that join.
type campaign struct {
	name, source, medium, content string
	convert                       float64
}

var campaigns = []campaign{
	{"spring-sale", "moments", "social", "hero-a", 0.34}, {"spring-sale", "poster", "print", "metro", 0.22},
	{"new-members", "storefront", "print", "counter", 0.52}, {"new-members", "receipt", "print", "till-slip", 0.41},
	{"live-evening", "douyin", "screen", "live-room", 0.29}, {"live-evening", "xiaohongshu", "social", "note", 0.38},
	{"trade-fair", "booth", "print", "badge", 0.47}, {"trade-fair", "keynote", "screen", "last-slide", 0.31},
	{"delivery-card", "parcel", "print", "thank-you", 0.18}, {"parents-school", "notice-board", "print", "class-list", 0.61},
	{"refer-a-friend", "moments", "social", "coupon", 0.44},
}

// dayCurve is how busy each hour of the day is in Asia/Shanghai, from 0 h.
var dayCurve = [24]float64{
	1.2, 0.7, 0.4, 0.3, 0.3, 0.5, 1.2, 2.4, 3.6, 4.2, 4.6, 5.2, 6.4, 5.0, 4.2, 4.3, 4.6, 5.2, 6.2, 7.4, 8.6, 8.0, 5.6, 2.8,
}

// chinaOffset is Asia/Shanghai, which has had one offset since 1991.
const chinaOffset = 8 * 3600
