package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/token"
)

// phone is the browser `huoma scan` is unless told otherwise.
const phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"

type scanCmd struct {
	access
	Code       string `arg:"" help:"A scan URL, a token or a code's id."`
	Count      int    `help:"Scans, one after the other." default:"1"`
	NewVisitor bool   `name:"new-visitor" help:"Be somebody who has never scanned before."`
	CookieJar  string `name:"cookie-jar" help:"File that remembers who you are. Default: one in your cache folder." type:"path"`
	UserAgent  string `name:"user-agent" help:"Browser to be. Default: a phone's."`
	Referer    string `help:"Page the scan comes from."`
}

// scanned is what a gateway answered.
type scanned struct {
	Status     int    `json:"status"`
	Verdict    string `json:"verdict"`
	Rule       string `json:"rule,omitempty"`
	Location   string `json:"location,omitempty"`
	Event      string `json:"event,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"` // seconds
	Title      string `json:"title,omitempty"`       // of a page that was answered
}

// Run scans and prints what each scan was answered. A refusal is an answer
// too: the exit status is 1 only when there was none.
func (c *scanCmd) Run(ctx context.Context, a *App) error {
	if c.Count < 1 {
		return usagef("--count is at least 1")
	}
	address, err := c.address(ctx)
	if err != nil {
		return err
	}
	if c.UserAgent == "" {
		c.UserAgent = phone
	}
	jar, err := openJar(c.CookieJar, address)
	if err != nil {
		return err
	}
	if c.NewVisitor {
		jar.forget()
	}
	h := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range c.Count {
		out, err := c.scan(ctx, h, address, jar)
		if err != nil {
			return err
		}
		if err := c.print(a.Stdout, out); err != nil {
			return err
		}
	}
	return jar.save()
}

// address is the URL to scan.
func (c *scanCmd) address(ctx context.Context) (*url.URL, error) {
	if u, err := url.Parse(c.Code); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		u.Host = strings.ToLower(u.Host) // pictures carry upper case
		return u, nil
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	text := c.Code
	if _, err := token.ParseCodeID(strings.ToLower(text)); err == nil {
		known, err := cl.Code(ctx, strings.ToLower(text))
		if err != nil {
			return nil, err
		}
		text = tokenOf(known)
	}
	if text == "" || strings.ContainsAny(text, "/?#") {
		return nil, usagef("%q is no scan URL, token or code id: huoma codes lists the codes", clipText(c.Code))
	}
	return url.Parse(cl.URL("/s/" + url.PathEscape(text)))
}

// tokenOf is the token of a code, out of its scan URL where it stands alone.
func tokenOf(c client.Code) string {
	if c.Token != "" {
		return c.Token
	}
	return c.ScanURL[strings.LastIndexByte(c.ScanURL, '/')+1:]
}

func (c *scanCmd) scan(ctx context.Context, h *http.Client, address *url.URL, jar *cookieFile) (scanned, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return scanned{}, err
	}
	req.Header.Set("User-Agent", c.UserAgent)
	req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	req.Header.Set("Accept-Language", "en")
	if c.Referer != "" {
		req.Header.Set("Referer", c.Referer)
	}
	jar.add(req)
	resp, err := h.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return scanned{}, ctx.Err()
		}
		return scanned{}, &client.Unreachable{Gateway: address.Scheme + "://" + address.Host, Cause: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256<<10))
	if err != nil {
		return scanned{}, &client.Unreachable{Gateway: address.Scheme + "://" + address.Host, Cause: err}
	}
	jar.keep(resp)
	out := scanned{
		Status: resp.StatusCode, Verdict: resp.Header.Get("Huoma-Verdict"), Rule: resp.Header.Get("Huoma-Rule"),
		Location: resp.Header.Get("Location"), Event: resp.Header.Get("Huoma-Event"), RetryAfter: resp.Header.Get("Retry-After"), Title: title(body),
	}
	switch {
	case out.Verdict != "":
	case resp.StatusCode == http.StatusServiceUnavailable:
		return out, errors.New("the gateway cannot store scans just now: try again in a moment, and see its /readyz")
	case resp.StatusCode == http.StatusNotFound:
		return out, errors.New("the gateway does not know this code: it may belong to another installation, see --gateway")
	default:
		return out, fmt.Errorf("%s://%s answered %s and no verdict: is it a gateway?", address.Scheme, address.Host, resp.Status)
	}
	return out, nil
}

func (c *scanCmd) print(w io.Writer, s scanned) error {
	if c.JSON {
		return printJSON(w, s)
	}
	line := fmt.Sprintf("%d %s", s.Status, s.Verdict)
	if s.Rule != "" {
		line += "  rule " + s.Rule
	}
	if s.RetryAfter != "" {
		line += "  again in " + s.RetryAfter + " s"
	}
	switch {
	case s.Location != "":
		line += "  → " + s.Location
	case s.Title != "":
		line += fmt.Sprintf("  page %q", s.Title)
	}
	if s.Event != "" {
		line += "  event " + s.Event
	}
	_, err := fmt.Fprintln(w, plain(line))
	return err
}

// title is what a page calls itself.
func title(body []byte) string {
	_, rest, ok := strings.Cut(string(body), "<title>")
	if !ok {
		return ""
	}
	text, _, ok := strings.Cut(rest, "</title>")
	if !ok {
		return ""
	}
	return oneLine(text)
}

func clipText(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// cookieFile keeps the cookies of scans between runs, by origin, for their
// owner only: whoever has it is that visitor.
type cookieFile struct {
	path   string
	origin string
	all    map[string][]savedCookie
	dirty  bool
}

type savedCookie struct {
	Name    string    `json:"name"`
	Value   string    `json:"value"`
	Expires time.Time `json:"expires"`
}

// openJar reads the file, if it is there.
func openJar(path string, address *url.URL) (*cookieFile, error) {
	if path == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			dir = os.TempDir()
		}
		path = filepath.Join(dir, "huoma", "cookies.json")
	}
	j := &cookieFile{path: path, origin: address.Scheme + "://" + address.Host, all: map[string][]savedCookie{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &j.all)
	}
	if err != nil || j.all == nil {
		return nil, fmt.Errorf("the cookie jar %s cannot be read: remove it, or name another with --cookie-jar", path)
	}
	return j, nil
}

func (j *cookieFile) forget() { delete(j.all, j.origin); j.dirty = true }

func (j *cookieFile) add(req *http.Request) {
	for _, c := range j.all[j.origin] {
		if time.Now().Before(c.Expires) {
			req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
}

func (j *cookieFile) keep(resp *http.Response) {
	for _, c := range resp.Cookies() {
		kept := j.all[j.origin][:0:0]
		for _, old := range j.all[j.origin] {
			if old.Name != c.Name {
				kept = append(kept, old)
			}
		}
		expires := c.Expires
		if c.MaxAge > 0 {
			expires = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		} else if expires.IsZero() {
			expires = time.Now().Add(24 * time.Hour)
		}
		j.all[j.origin] = append(kept, savedCookie{c.Name, c.Value, expires.UTC()})
		j.dirty = true
	}
}

func (j *cookieFile) save() error {
	if !j.dirty {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(j.path), 0o700)
	if err == nil {
		var b []byte
		if b, err = json.Marshal(j.all); err == nil {
			var f *os.File
			if f, err = ownerOnly(j.path); err == nil {
				_, err = f.Write(b)
				if cerr := f.Close(); err == nil {
					err = cerr
				}
			}
		}
	}
	if err != nil {
		return fmt.Errorf("the cookie jar %s cannot be written: name another with --cookie-jar", j.path)
	}
	return nil
}
