// Package client speaks the public HTTP contract of a gateway, for the
// commands of huoma. Start at [New]; every call is one request.
//
// It refuses to hide what a gateway says: an answer that is no success is a
// *[Problem] with the gateway's own words, and a gateway that cannot be
// reached is an *[Unreachable]. It retries nothing.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client is one gateway with the key to its admin calls. Safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// New makes a client for the gateway at base, such as http://127.0.0.1:8080.
func New(base, key string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--gateway %q is no address: write it as http://127.0.0.1:8080", base)
	}
	u.Path, u.RawQuery, u.Fragment = strings.TrimRight(u.Path, "/"), "", ""
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	return &Client{base: u, key: key, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Transport is what requests go through.
func (c *Client) Transport() http.RoundTripper { return c.http.Transport }

// URL is the gateway's address of a path.
func (c *Client) URL(path string) string { return c.base.String() + path }

// Problem is what a gateway answered instead of what was asked for (RFC 9457).
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
	Index  *int   `json:"index"` // which of many, from 0

	Wait time.Duration `json:"-"` // Retry-After; 0 when the gateway named none
}

// RetryAfter is how long to wait before the same request, as far as the gateway said.
func (p *Problem) RetryAfter() time.Duration { return p.Wait }

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = fmt.Sprintf("the gateway answered %d %s", p.Status, http.StatusText(p.Status))
	}
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Index != nil {
		text = fmt.Sprintf("number %d: %s", *p.Index, text)
	}
	if p.Status == http.StatusUnauthorized {
		text = "the gateway does not take this API key: pass --api-key, set HUOMA_API_KEY, or name the installation's folder with --data"
	}
	return text
}

// Temporary reports whether the same request may succeed later.
func (p *Problem) Temporary() bool {
	return p.Status >= 500 && p.Status != http.StatusNotImplemented || p.Status == http.StatusTooManyRequests
}

// Unreachable is a gateway that did not answer.
type Unreachable struct {
	Gateway string
	Cause   error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("no gateway answers at %s (%v): start one with `huoma up`, or name another with --gateway", u.Gateway, Cause(u.Cause))
}

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Cause }

// Temporary is true: it may be back.
func (u *Unreachable) Temporary() bool { return true }

// Cause is the reason of a failed request. It leaves out the request's URL, which may carry a token.
func Cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Do makes a request and returns the answer with its body still to be read, if
// its status is a success. header may be nil.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL(path), body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &Unreachable{Gateway: c.base.String(), Cause: err}
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &Problem{}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err == nil {
		_ = json.Unmarshal(b, p) // a foreign server answers something else: the status says enough
	}
	p.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.Wait = time.Duration(s) * time.Second
	}
	return nil, p
}

// JSON makes a request with in as its JSON body, if it is not nil, and decodes
// the answer into out, if it is not nil. Numbers keep their digits in a
// json.RawMessage.
func (c *Client) JSON(ctx context.Context, method, path string, header http.Header, in, out any) (http.Header, error) {
	var body io.Reader
	h := http.Header{"Accept": {"application/json"}}
	for k, v := range header {
		h[k] = v
	}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json")
		}
	}
	resp, err := c.Do(ctx, method, path, h, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return nil, &Unreachable{Gateway: c.base.String(), Cause: err}
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return nil, fmt.Errorf("%s does not answer like a gateway: check --gateway", c.base)
		}
	}
	return resp.Header, nil
}

// Target is one target of a mint: a URL or a picture.
type Target struct {
	URL      string `json:"url,omitempty"`
	Picture  string `json:"picture,omitempty"`
	Capacity *int64 `json:"capacity,omitempty"`
}

// Rule is one rule of a mint.
type Rule struct {
	ID     string `json:"id,omitempty"`
	Scope  string `json:"scope,omitempty"`
	Limit  int    `json:"limit"`
	Window string `json:"window"`
	Action string `json:"action,omitempty"`
	For    string `json:"for,omitempty"`
}

// Variant is one rendering of an experiment.
type Variant struct {
	Name       string `json:"name,omitempty"`
	Foreground string `json:"fg,omitempty"`
	Background string `json:"bg,omitempty"`
	Shape      string `json:"shape,omitempty"`
	Badge      string `json:"badge,omitempty"`
	Copy       string `json:"copy,omitempty"`
}

// Style is how pictures are drawn. What is left out is the gateway's default.
type Style struct {
	Foreground string  `json:"fg,omitempty"`
	Background string  `json:"bg,omitempty"`
	Size       int     `json:"size,omitempty"`
	MM         float64 `json:"mm,omitempty"`
	DPI        int     `json:"dpi,omitempty"`
	Quiet      int     `json:"quiet,omitempty"`
	Shape      string  `json:"shape,omitempty"`
	Plate      string  `json:"plate,omitempty"`
	Badge      string  `json:"badge,omitempty"`
	Copy       string  `json:"copy,omitempty"`
	Logo       string  `json:"logo,omitempty"`
}

// Mint is what to mint. Durations are strings such as "2h". What is left out
// is the profile's default.
type Mint struct {
	Name         string    `json:"name,omitempty"`
	Profile      string    `json:"profile"`
	Targets      []Target  `json:"targets"`
	Campaign     string    `json:"campaign,omitempty"`
	Source       string    `json:"source,omitempty"`
	Medium       string    `json:"medium,omitempty"`
	Term         string    `json:"term,omitempty"`
	Content      string    `json:"content,omitempty"`
	Owner        string    `json:"owner,omitempty"`
	Verified     bool      `json:"verified,omitempty"`
	Validity     string    `json:"validity,omitempty"`
	RenewalEvery string    `json:"renewal_every,omitempty"`
	Dedupe       string    `json:"dedupe,omitempty"`
	MaxScans     *int64    `json:"max_scans,omitempty"`
	WarnPercent  *int64    `json:"warn_percent,omitempty"`
	Rules        []Rule    `json:"rules,omitempty"`
	Variants     []Variant `json:"variants,omitempty"`
	Style        *Style    `json:"style,omitempty"`
}

// Code is what a gateway says of a code; Raw is its whole answer.
type Code struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Profile      string          `json:"profile"`
	Campaign     string          `json:"campaign"`
	Status       string          `json:"status"`
	Token        string          `json:"token"`
	ScanURL      string          `json:"scan_url"`
	QRPNG        string          `json:"qr_png"`
	QRSVG        string          `json:"qr_svg"`
	Tracking     string          `json:"tracking"`
	ExpiresAt    string          `json:"expires_at"`
	RenewalDueAt string          `json:"renewal_due_at"`
	ETag         string          `json:"-"`
	Raw          json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (c *Code) UnmarshalJSON(b []byte) error {
	type plain Code
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return err
	}
	c.Raw = bytes.Clone(b)
	return nil
}

func keyed(idempotencyKey string) http.Header {
	if idempotencyKey == "" {
		return nil
	}
	return http.Header{"Idempotency-Key": {idempotencyKey}}
}

// Mint mints a code. The same idempotency key, if it is not empty, returns the same code.
func (c *Client) Mint(ctx context.Context, in any, idempotencyKey string) (Code, error) {
	var out Code
	_, err := c.JSON(ctx, "POST", "/v1/codes", keyed(idempotencyKey), in, &out)
	return out, err
}

// Code reads a code.
func (c *Client) Code(ctx context.Context, id string) (Code, error) {
	var out Code
	h, err := c.JSON(ctx, "GET", "/v1/codes/"+url.PathEscape(id), nil, nil, &out)
	out.ETag = h.Get("ETag")
	return out, err
}

// Change changes fields of a code that still has the ETag.
func (c *Client) Change(ctx context.Context, id, etag string, fields any) (Code, error) {
	var out Code
	h := http.Header{}
	if etag != "" {
		h.Set("If-Match", etag)
	}
	_, err := c.JSON(ctx, "PATCH", "/v1/codes/"+url.PathEscape(id), h, fields, &out)
	return out, err
}

// Revoke ends a code for good.
func (c *Client) Revoke(ctx context.Context, id string) error {
	resp, err := c.Do(ctx, "DELETE", "/v1/codes/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Renew renews a code.
func (c *Client) Renew(ctx context.Context, id string) (Code, error) {
	var out Code
	_, err := c.JSON(ctx, "POST", "/v1/codes/"+url.PathEscape(id)+"/renew", nil, nil, &out)
	return out, err
}

// Stats reads a code's counts.
func (c *Client) Stats(ctx context.Context, id string) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := c.JSON(ctx, "GET", "/v1/codes/"+url.PathEscape(id)+"/stats", nil, nil, &out)
	return out, err
}

// PNG draws a code's picture with size pixels a side; 0 is the gateway's default.
func (c *Client) PNG(ctx context.Context, id string, size, variant int) ([]byte, error) {
	q := url.Values{}
	if size > 0 {
		q.Set("size", strconv.Itoa(size))
	}
	if variant > 0 {
		q.Set("variant", strconv.Itoa(variant))
	}
	resp, err := c.Do(ctx, "GET", "/v1/codes/"+url.PathEscape(id)+"/qr.png?"+q.Encode(), nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		return nil, &Unreachable{Gateway: c.base.String(), Cause: err}
	}
	return b, nil
}

// Publish stores a CloudEvents batch, all or none.
func (c *Client) Publish(ctx context.Context, batch []byte) error {
	resp, err := c.Do(ctx, "POST", "/v1/events", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, bytes.NewReader(batch))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

// Tokens says which codes tokens belong to, in order; "" for one that is not the installation's. At most 1000.
func (c *Client) Tokens(ctx context.Context, list []string) ([]string, error) {
	var out struct {
		Tokens []struct {
			Code string `json:"code"`
		} `json:"tokens"`
	}
	if _, err := c.JSON(ctx, "POST", "/v1/tokens", nil, map[string][]string{"tokens": list}, &out); err != nil {
		return nil, err
	}
	if len(out.Tokens) != len(list) {
		return nil, fmt.Errorf("%s does not answer like a gateway: check --gateway", c.base)
	}
	codes := make([]string, len(list))
	for i, t := range out.Tokens {
		codes[i] = t.Code
	}
	return codes, nil
}

// Count is how many codes the gateway knows.
func (c *Client) Count(ctx context.Context) (int, error) {
	var out struct {
		Codes int `json:"codes"`
	}
	_, err := c.JSON(ctx, "GET", "/readyz", nil, nil, &out)
	return out.Codes, err
}

// Ready reports whether the gateway serves, with its reason if it does not.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := c.Do(ctx, "GET", "/readyz", nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// MaxBatch is how many codes one request may mint.
const MaxBatch = 10_000

// MintBatch mints at most MaxBatch codes, all or none. template names those
// without a name, such as "{campaign}-{seq:4}".
func (c *Client) MintBatch(ctx context.Context, list []Mint, template, idempotencyKey string) ([]Code, error) {
	in := struct {
		Name  string `json:"name,omitempty"`
		Codes []Mint `json:"codes"`
	}{template, list}
	var out struct {
		Codes []Code `json:"codes"`
	}
	_, err := c.JSON(ctx, "POST", "/v1/codes/batch", keyed(idempotencyKey), in, &out)
	return out.Codes, err
}
