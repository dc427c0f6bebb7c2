package gateway

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/risk"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/visit"
)

// Response headers of a scan.
const (
	headerEvent   = "Huoma-Event"
	headerVerdict = "Huoma-Verdict"
	headerRule    = "Huoma-Rule"
)

// scan answers GET /s/{token}, once its event is stored durably.
func (g *Gateway) scan(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Cache-Control"] = noStore
	now := g.now().UTC().Truncate(time.Millisecond)
	picture, err := g.openToken(r.PathValue("token"), now)
	if err != nil {
		g.metrics.picture[token.ReasonOf(err)].Inc()
		g.metrics.scans[code.Forged].Inc()
		g.forged.add(g.network(r), 1)
		setVerdict(w.Header(), "", code.Forged, "token")
		return g.refuse(w, r, problem(http.StatusNotFound, "forged", "scan the printed code again: this address is not one of ours"))
	}
	stale := code.Stale(picture.Shown, now)
	if stale {
		g.metrics.picture[reasonLive].Inc()
	} else {
		g.metrics.picture[genuine].Inc()
	}
	s := g.scanOf(r, picture, now)
	a, ok := g.mirror.decide(picture.Code, s.class, s.classRule, risk.Subject{Visitor: s.data.Visitor, Network: s.data.Network}, s.data.Tracking, s.at)
	if !ok {
		if _, found, err := g.find(r.Context(), picture.Code); err != nil {
			return g.refuse(w, r, g.asProblem(g.unavailable(err), route{pattern: "/s/{token}"}))
		} else if found {
			a, ok = g.mirror.decide(picture.Code, s.class, s.classRule, risk.Subject{Visitor: s.data.Visitor, Network: s.data.Network}, s.data.Tracking, s.at)
		}
	}
	if !ok {
		g.metrics.checked(verdict{state: unknownCode, behaviour: cmp.Or(s.class, code.Accepted)})
		return g.refuse(w, r, problem(http.StatusNotFound, "unknown_code", "the code is not known here: it may belong to another installation"))
	}
	if a.unheard {
		if err := g.tellFirst(r.Context(), picture.Code); err != nil {
			return g.refuse(w, r, g.asProblem(err, route{pattern: "/s/{token}"}))
		}
	}
	if stale {
		a = a.stale(picture.Shown)
	}
	partition := events.Partition(s.code, g.opts.Partitions)
	capped := a.verdict == code.Accepted && a.def.MaxScans > 0
	if capped && !g.mirror.admit(picture.Code, s.at, g.held[partition].Load()) {
		a, capped = verdict{verdict: code.Capped, rule: "max_scans", def: a.def, state: code.Capped, behaviour: a.behaviour}, false
	}
	g.metrics.checked(a)
	s.complete(a)
	json, err := s.append(make([]byte, 0, 1024))
	if err != nil {
		return err
	}
	spooled, err := g.flusher.keep(r.Context(), encoded{partition: partition, json: json})
	if err != nil {
		if capped && r.Context().Err() == nil { // one that does not wait may be stored all the same
			g.mirror.dismiss(picture.Code)
		}
		return g.refuse(w, r, g.asProblem(err, route{pattern: "/s/{token}"}))
	}
	if spooled && a.verdict == code.Accepted { // it is a while until the worker says so
		g.mirror.accepted(picture.Code, s.data.Visitor, cmp.Or(s.data.Tracking, strconv.Itoa(s.data.Variant)), s.at)
	}
	g.metrics.scans[a.verdict].Inc()
	setVerdict(w.Header(), s.id, a.verdict, a.rule)
	if s.cookie != "" {
		g.setCookie(w, s.cookie)
	}
	return g.answerScan(w, r, a, s)
}

// scanned is one scan on its way to becoming an event.
type scanned struct {
	id, source, code string
	at               time.Time
	class            code.Verdict // preview or bot, else empty
	classRule        string
	prefetch         bool
	cookie           string // a new visitor's
	data             events.Scan
	utm              events.UTM
	target           int
}

// scanOf reads from the request what its event will say. Nothing in it names
// a person: the visitor is a keyed hash, the address is cut to its network.
func (g *Gateway) scanOf(r *http.Request, p token.Reading, now time.Time) *scanned {
	agent := r.UserAgent()
	class := visit.Classify(visit.Request{Method: r.Method, UserAgent: agent, Header: r.Header})
	device := visit.Device(agent)
	s := &scanned{id: g.newID(now), source: g.source, code: p.Code.String(), at: now, classRule: class.Rule, prefetch: class.Prefetch}
	value, known := visitorCookie(r)
	switch class.Kind {
	case visit.Preview:
		s.class = code.Preview
	case visit.Bot:
		s.class = code.Bot
	default:
		if !known {
			value = newVisitor()
			s.cookie = value
		}
	}
	s.data = events.Scan{
		Variant: p.Variant, Tracking: p.Tracking, ShownAt: shownAt(p), Visitor: g.visitors.FromCookie(value), UserAgent: clean(agent, events.MaxText),
		Network: g.network(r), DeviceModel: device.Model, OS: device.OS, App: device.App,
		RefererHost: visit.RefererHost(r.Referer()), ClickID: s.id,
	}
	if r.URL.RawQuery != "" {
		s.utm = utmOf(r.URL.Query())
	}
	return s
}

// complete adds what was decided.
func (s *scanned) complete(a verdict) {
	def := a.def
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&s.utm.Source, def.Source}, {&s.utm.Medium, def.Medium}, {&s.utm.Campaign, def.Campaign}, {&s.utm.Term, def.Term}, {&s.utm.Content, def.Content},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if s.utm != (events.UTM{}) {
		s.data.UTM = &s.utm
	}
	if a.verdict.Redirected() {
		s.target = a.target.N
		s.data.Target = &s.target
	}
	s.data.Answered, s.data.AnsweredRule = string(a.verdict), a.rule
}

func utmOf(q url.Values) events.UTM {
	get := func(name string) string { return clean(q.Get("utm_"+name), events.MaxName) }
	return events.UTM{Source: get("source"), Medium: get("medium"), Campaign: get("campaign"), Term: get("term"), Content: get("content")}
}

// clean makes text of a request fit for an event: valid UTF-8, no control
// characters, at most so many bytes.
func clean(s string, most int) string {
	ok := len(s) <= most
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] >= ' ' && s[i] < 0x7f
	}
	if ok {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most]
	}
	return s
}

func (g *Gateway) network(r *http.Request) string {
	return visit.Network(visit.ClientAddr(r.RemoteAddr, r.Header["X-Forwarded-For"], g.opts.TrustedProxies))
}

const (
	cookieName   = "hm_v"
	cookieMaxAge = 400 * 24 * time.Hour // browsers keep none for longer
)

// visitorCookie returns the visitor's cookie if it is one of ours in form.
func visitorCookie(r *http.Request) (string, bool) {
	value := cookieOf(r.Header["Cookie"])
	if len(value) != 22 {
		return "", false
	}
	var b [16]byte
	n, err := strictBase64.Decode(b[:], []byte(value))
	return value, err == nil && n == len(b)
}

var strictBase64 = base64.RawURLEncoding.Strict()

// cookieOf is the value of the first cookie of our name, as Request.Cookie finds it: without making all the others, of which a phone
// may bring many.
func cookieOf(lines []string) string {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
			if ok && strings.Trim(name, " \t") == cookieName {
				if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
					value = value[1 : len(value)-1]
				}
				return value
			}
		}
	}
	return ""
}

func newVisitor() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the program ends instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (g *Gateway) setCookie(w http.ResponseWriter, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(cookieMaxAge / time.Second), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(g.publicURL, "https://"),
	})
}

var noStore = []string{"no-store"}

func setVerdict(h http.Header, event string, v code.Verdict, rule string) {
	values := []string{string(v), event, rule} // one piece of memory for all
	h[headerVerdict] = values[0:1:1]
	if event != "" {
		h[headerEvent] = values[1:2:2]
	}
	if rule != "" {
		h[headerRule] = values[2:3:3]
	}
}

// answerScan sends what the verdict calls for.
func (g *Gateway) answerScan(w http.ResponseWriter, r *http.Request, a verdict, s *scanned) error {
	switch a.verdict {
	case code.Preview:
		if s.prefetch {
			return g.refuse(w, r, problem(http.StatusServiceUnavailable, "preview", "ask again when a person follows the link").retry(time.Second))
		}
		return g.previewPage(w, r, a.def.Name)
	case code.Bot:
		return g.refuse(w, r, problem(http.StatusForbidden, "bot", "scans are for people: use the API for anything else"))
	case code.Accepted, code.Duplicate:
		if a.target.URL == "" {
			return g.landingPage(w, r, a.def.Name, a.target.Picture)
		}
		w.Header()["Location"] = []string{ascii(a.target.URL)}
		w.WriteHeader(http.StatusFound)
		return nil
	case code.Locked:
		return g.refuse(w, r, problem(http.StatusTooManyRequests, "locked", "wait a little, then scan again").retry(a.until.Sub(s.at)))
	case code.Full:
		return g.refuse(w, r, problem(http.StatusConflict, "full", "ask whoever gave you the code for another one"))
	case code.Expired, code.Revoked, code.Capped:
		if !a.shown.IsZero() {
			return g.refuseStale(w, r, a.shown, s.at)
		}
		return g.refuse(w, r, problem(http.StatusGone, string(a.verdict), "ask whoever gave you the code for a new one"))
	}
	return errors.New("a scan has the verdict " + string(a.verdict) + ", which has no answer")
}

// ascii escapes what a header may not carry: some browsers read the bytes of
// 中文 in it as Latin-1. All else stays to the letter.
func ascii(url string) string {
	if !strings.ContainsFunc(url, func(r rune) bool { return r > '~' }) {
		return url
	}
	var b strings.Builder
	for i := range len(url) {
		if c := url[i]; c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
