// Package visit says who is scanning, from the facts of an HTTP request: a person, a link preview or a declared
// robot; with which device; from which network and page.
//
// Start at [Classify]. [Device], [ClientAddr], [Network] and [RefererHost] answer one question each. Everything
// is a pure function of its input (a bounded cache of user agents aside), safe for concurrent use and
// bounded in time and memory, whatever is sent. Nothing here returns a raw user agent or, but for
// [ClientAddr], a raw address.
//
// What it refuses to do: guess. A robot which says it is a browser is a person here; catching it
// is the business of the frequency rules. A word is a robot's only when the robot says so itself.
package visit

import (
	"strings"

	"github.com/x-way/crawlerdetect"
)

// maxAgent bounds how much of a user agent is looked at, in bytes. Real ones end below 600.
const maxAgent = 1024

// maxListed bounds how much of what is unknown is held against the crawler list, whose time grows with it: 3 µs a
// byte. Robots say who they are at the beginning, and in less.
const maxListed = 256

// A Kind is what sent a request.
type Kind string

const (
	Person  Kind = "person"
	Preview Kind = "preview" // a link preview, a prefetch or a HEAD: somebody may come later
	Bot     Kind = "bot"     // a declared robot
)

// A Class is a decision with its reason.
type Class struct {
	Kind Kind
	// Prefetch is true for the previews of a browser which asks again when a person follows the link,
	// and so has to be told that there is nothing to keep. Kind is Preview then.
	Prefetch bool
	// Rule names the reason. It is one of a fixed set of names, never text from the request: "browser", "head",
	// "prefetch-header", "empty-agent", "preview-agent:<name>" or "declared-robot:<name>".
	Rule string
}

// A Header gives the first value of a header field, "" for none; http.Header is one.
type Header interface{ Get(name string) string }

// A Request is what [Classify] looks at.
type Request struct {
	Method    string
	UserAgent string
	Header    Header // may be nil
}

// prefetchFields are the headers by which browsers announce that no person has asked yet: the current one, that of
// older Chromium and Safari, Safari's and old WebViews', and Firefox's.
var prefetchFields = [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// Classify says what sent r. A prefetch header counts before HEAD, and HEAD before the agent: both say
// that nobody looks at the answer. An empty user agent is a robot's: every browser sends one. The agent's case
// does not matter, and of more than 1 KB only the beginning counts.
func Classify(r Request) Class {
	if r.Header != nil {
		for _, field := range prefetchFields {
			if announcesPrefetch(r.Header.Get(field)) {
				return Class{Preview, true, "prefetch-header"}
			}
		}
	}
	if r.Method == "HEAD" {
		return Class{Preview, false, "head"}
	}
	return classifyAgent(r.UserAgent)
}

// announcesPrefetch reads values such as "prefetch;prerender" and "preview".
func announcesPrefetch(v string) bool {
	if v == "" || len(v) > 256 {
		return false
	}
	for part := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		if strings.EqualFold(part, "prefetch") || strings.EqualFold(part, "preview") || strings.EqualFold(part, "prerender") {
			return true
		}
	}
	return false
}

// What was decided is remembered, by whole agent and by residue: each the last 4096.
var (
	seenAgents   = newLRU[Class](4096)
	seenResidues = newLRU[Class](4096)
)

// classifyAgent decides in steps, each only for what the one before leaves open: agents seen before (a fraction of a
// microsecond), agents without any unknown word (a few; WeChat's on Android, all different, are such),
// unknown words seen before, and at last the regular expressions, which take up to a millisecond.
func classifyAgent(agent string) Class {
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	return seenAgents.get(agent, func() Class { return classifyNew(agent) })
}

func classifyNew(agent string) Class {
	agent = strings.ToLower(strings.TrimSpace(agent))
	if agent == "" {
		return Class{Bot, false, "empty-agent"}
	}
	rest := residue(agent)
	if rest == "" {
		return Class{Person, false, "browser"}
	}
	// What decides is the residue and what it was cut from, so that is the key.
	from := program
	if rest != agent {
		from = browser
		if appOf(agent) != "" {
			from = app
		}
	}
	return seenResidues.get(string(from)+rest, func() Class { return judge(rest, from) })
}

// origin says what an agent is built like.
type origin string

const (
	program origin = "program "
	browser origin = "browser "
	app     origin = "app " // a browser inside a known app
)

// judge decides by what is left of an agent without known browser words.
func judge(rest string, from origin) Class {
	for _, p := range previewAgents {
		if strings.Contains(rest, p.mark) {
			return Class{Preview, false, "preview-agent:" + p.name}
		}
	}
	if strings.Contains(rest, "facebookexternalhit") && strings.Contains(rest, "twitterbot") {
		return Class{Preview, false, "preview-agent:imessage"}
	}
	for _, p := range imitatedPreviewAgents {
		if strings.Contains(rest, p.mark) {
			return Class{Preview, false, "preview-agent:" + p.name}
		}
	}
	// An Apple app's own request, without a web view (which would say Mozilla): share sheets and chats looking a link up.
	if strings.Contains(rest, "cfnetwork/") && from == program && !strings.HasPrefix(rest, "mozilla/") {
		return Class{Preview, false, "preview-agent:apple-native"}
	}
	for _, r := range robots {
		if r.in(rest) {
			return Class{Bot, false, "declared-robot:" + r.name}
		}
	}
	if !crawlerdetect.IsCrawler(rest[:min(len(rest), maxListed)]) {
		return Class{Person, false, "browser"}
	}
	// The list's widest patterns ("reader", "monitoring", "\w+bot" in a model's name) also fit words that apps
	// add to a browser's agent. In an app, only a word that says robot counts.
	if from == app && !saysRobot(rest) {
		return Class{Person, false, "browser"}
	}
	return Class{Bot, false, "declared-robot:other"}
}
