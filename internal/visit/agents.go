package visit

import "strings"

// named is a mark in a lower-case agent and the name it has in rules.
type named struct{ mark, name string }

// previewAgents fetch a page to show its title and picture beside a link. The special come before the general: many
// also claim to be facebookexternalhit, to get the same page. A mark that an in-app browser carries as
// well (line/, kakaotalk, micromessenger) must not be here: that is a person.
var previewAgents = []named{
	{"whatsapp/", "whatsapp"}, // Signal sends the same
	{"line-poker", "line"},
	{"linespider", "line"},
	{"kakaotalk-scrap", "kakaotalk"},
	{"blueno/", "naver"},
	{"telegrambot", "telegram"},
	{"slackbot", "slack"},
	{"slack-imgproxy", "slack"},
	{"discordbot", "discord"},
	{"linkedinbot", "linkedin"},
	{"skypeuripreview", "skype"}, // Teams too
	{"microsoftpreview", "microsoft"},
	{"bingpreview", "bing"},
	{"google web preview", "google"},
	{"google-pagerenderer", "google"},
	{"developers.google.com/+/web/snippet", "google"},
	{"yahoo link preview", "yahoo"},
	{"quora link preview", "quora"},
	{"snap url preview", "snapchat"},
	{"mpcrawler", "wechat"},
	{"wechatshareextension", "wechat"},
	{"dingtalkbot-linkservice", "dingtalk"},
	{"embedly", "embedly"},
	{"iframely", "iframely"},
	{"cardyb", "bluesky"},
	{"mastodon", "mastodon"},
	{"misskey", "misskey"},
	{"summalybot", "misskey"},
	{"pleroma", "pleroma"},
	{"akkoma", "pleroma"},
	{"friendica", "friendica"},
	{"synapse (bot", "matrix"},
	{"vkshare", "vk"},
	{"redditbot", "reddit"},
	{"pinterestbot", "pinterest"},
	{"pinterest/0.", "pinterest"},
	{"tumblr/", "tumblr"},
	{"mattermost", "mattermost"},
	{"rocket.chat", "rocketchat"},
	{"notionembedder", "notion"},
	{"discourse forum onebox", "discourse"},
	{"xing-contenttabreceiver", "xing"},
	{"viberurlpreview", "viber"},
	// What calls itself a preview is one, whoever sends it.
	{"link preview", "other"},
	{"link-preview", "other"},
	{"linkpreview", "other"},
	{"url preview", "other"},
	{"url-preview", "other"},
	{"urlpreview", "other"},
	{"unfurl", "other"},
}

// imitatedPreviewAgents are those whose names others borrow, so that they are looked for last. iMessage
// borrows both at once.
var imitatedPreviewAgents = []named{
	{"twitterbot", "twitter"},
	{"facebookexternalhit", "facebook"},
	{"facebookcatalog", "facebook"},
	{"facebot", "facebook"},
}

// robot is a program which says what it is. A mark ending in / or starting a line is anchored by
// start, so that a model's or app's name cannot hold it by chance.
type robot struct {
	mark, name string
	start      bool // only at the beginning of the agent
}

func (r robot) in(agent string) bool {
	if r.start {
		return strings.HasPrefix(agent, r.mark)
	}
	return strings.Contains(agent, r.mark)
}

// robots have a name of their own in rules, or are missing from the crawler list, which knows a thousand more.
var robots = []robot{
	{"curl/", "curl", false},
	{"wget", "wget", true},
	{"python-requests", "python", false},
	{"python-urllib", "python", false},
	{"python-httpx", "python", false},
	{"aiohttp/", "python", false},
	{"python/", "python", true},
	{"scrapy", "scrapy", false},
	{"go-http-client", "go", false},
	{"fasthttp", "go", true},
	{"java/", "java", true},
	{"apache-httpclient", "java", false},
	{"okhttp/", "okhttp", true},
	{"axios/", "node", true},
	{"node-fetch", "node", false},
	{"undici", "node", true},
	{"node", "node", true},
	{"got (", "node", true},
	{"deno/", "deno", true},
	{"bun/", "bun", true},
	{"dart/", "dart", true},
	{"php", "php", true},
	{"guzzlehttp", "php", false},
	{"ruby", "ruby", true},
	{"libwww-perl", "perl", false},
	{"reqwest/", "rust", true},
	{"hyper/", "rust", true},
	{"ureq/", "rust", true},
	{"powershell/", "powershell", false},
	{"httpie/", "httpie", true},
	{"xh/", "xh", true},
	{"postmanruntime", "postman", false},
	{"insomnia/", "insomnia", true},
	{"bruno-runtime", "bruno", true},
	{"k6/", "k6", true},
	{"wrk/", "wrk", true},
	{"hey/", "hey", true},
	{"apachebench", "apachebench", false},
	{"locust", "locust", true},
	{"headlesschrome", "headless-browser", false},
	{"phantomjs", "headless-browser", false},
	{"puppeteer", "headless-browser", false},
	{"playwright", "headless-browser", false},
	{"selenium", "headless-browser", false},
	{"googlebot", "googlebot", false},
	{"bingbot", "bingbot", false},
	{"baiduspider", "baiduspider", false},
	{"sogou web spider", "sogou", false},
	{"360spider", "360spider", false},
	{"yisouspider", "yisouspider", false},
	{"bytespider", "bytespider", false},
	{"petalbot", "petalbot", false},
	{"yandex.com/bots", "yandexbot", false},
	{"applebot", "applebot", false},
	{"gptbot", "openai", false},
	{"chatgpt-user", "openai", false},
	{"oai-searchbot", "openai", false},
	{"claudebot", "anthropic", false},
	{"claude-user", "anthropic", false},
	{"perplexity", "perplexity", false},
	{"ahrefsbot", "ahrefsbot", false},
	{"semrushbot", "semrushbot", false},
	{"uptimerobot", "uptime", false},
	{"pingdom", "uptime", false},
	{"kube-probe/", "probe", true},
	{"elb-healthchecker", "probe", true},
	{"prometheus/", "probe", true},
	{"blackbox exporter", "probe", true},
	{"zgrab", "scanner", false},
	{"censysinspect", "scanner", false},
	{"masscan", "scanner", false},
	{"nmap scripting", "scanner", false},
	{"nuclei", "scanner", false},
	{"sqlmap", "scanner", false},
	{"expanse, a palo alto", "scanner", false},
}

// saysRobot looks for words by which robots in general declare themselves.
func saysRobot(s string) bool {
	for _, mark := range [...]string{"bot/", "bot;", "bot)", "robot", "spider", "crawl", "scrap", "headless", "http-client", "httpclient", "phantom", "+http"} {
		if strings.Contains(s, mark) {
			return true
		}
	}
	return strings.HasSuffix(s, "bot")
}
