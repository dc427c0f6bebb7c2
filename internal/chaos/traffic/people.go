package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// agents are what is seen of who scans.
var agents = []struct{ name, agent string }{
	{"person", "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36"},
	{"person", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.54"},
	{"person", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1"},
	{"preview", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
	{"robot", "curl/8.5.0"},
}

// browser scans as people do, some of them too often, some without being
// people, and now and then what is no code of ours.
func (t *Traffic) browser(ctx, sending context.Context, rng *rand.Rand) {
	whole := float64(t.o.Events) * browserShare / 4
	cookies := map[int]string{}
	for n := 0; t.pace(sending, n, whole); n++ {
		code := t.known(rng)
		token := code.Token
		forged := rng.IntN(30) == 0
		if forged {
			token = token[1:] + token[:1]
		}
		who := agents[rng.IntN(len(agents))]
		method := http.MethodGet
		if rng.IntN(40) == 0 {
			method = http.MethodHead
		}
		// Without an answer nobody knows whether the scan is stored, and who
		// scans again is another scan.
		for {
			visitor := rng.IntN(2000)
			if rng.IntN(4) == 0 {
				visitor = rng.IntN(12) // too often
			}
			gateway := t.o.Gateways[rng.IntN(len(t.o.Gateways))]
			if t.scan(ctx, method, gateway+"/s/"+token, who.agent, cookies, visitor, forged) {
				break
			}
			select {
			case <-sending.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// scan scans once and reports whether there was an answer that counts.
func (t *Traffic) scan(ctx context.Context, method, url, agent string, cookies map[int]string, visitor int, forged bool) bool {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "application/json")
	if c := cookies[visitor]; c != "" {
		req.Header.Set("Cookie", c)
	}
	l := t.Ledger
	if forged {
		l.mu.Lock()
		l.forgedOf++
		l.mu.Unlock()
	}
	resp, err := t.http.Do(req)
	if err != nil {
		l.mu.Lock()
		if !forged && !errors.Is(err, syscall.ECONNREFUSED) {
			l.unsure++
		}
		l.mu.Unlock()
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == "hm_v" {
			cookies[visitor] = "hm_v=" + c.Value
		}
	}
	id, verdict := resp.Header.Get("Huoma-Event"), resp.Header.Get("Huoma-Verdict")
	switch {
	case id != "":
		l.scan(id, verdict)
		l.count("scans answered "+verdict, 1)
		return true
	case verdict == "forged":
		l.mu.Lock()
		l.forged++
		l.mu.Unlock()
		return true
	}
	l.count(fmt.Sprintf("scans answered %d", resp.StatusCode), 1)
	if !forged {
		l.mu.Lock()
		l.unsure++
		l.mu.Unlock()
	}
	return false
}

// operator mints, changes, renews and revokes, one thing after the other.
func (t *Traffic) operator(ctx, sending context.Context, rng *rand.Rand) {
	whole := max(20, float64(t.o.Duration/time.Second)) // about one a second
	for n := 0; t.pace(sending, n, whole); n++ {
		if rng.IntN(4) == 0 {
			t.mint(ctx, rng, fmt.Sprintf("chaos-%d-%d", t.o.Seed, n))
			continue
		}
		c := t.known(rng)
		switch rng.IntN(8) {
		case 0:
			t.revoke(ctx, rng, c)
		case 1, 2:
			t.renew(ctx, rng, c)
		default:
			t.rename(ctx, rng, c, fmt.Sprintf("name %d", n))
		}
	}
}

// ScanOnce scans a code as a new visitor. The error is for a scan that had no answer: it may be stored.
func (t *Traffic) ScanOnce(ctx context.Context, gateway string, c Code) error {
	if !t.scan(ctx, http.MethodGet, gateway+"/s/"+c.Token, agents[0].agent, map[int]string{}, 0, false) {
		return errors.New("no answer")
	}
	return nil
}

// call makes an admin call. Nothing that was answered below 500 will be
// answered otherwise by another try.
func (t *Traffic) call(ctx context.Context, rng *rand.Rand, method, path, key string, body []byte) (status int, said []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, t.o.Gateways[rng.IntN(len(t.o.Gateways))]+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.o.APIKey)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	said, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode >= 500 {
		err = fmt.Errorf("%d: %s", resp.StatusCode, said)
	}
	return resp.StatusCode, said, err
}

// mint mints a code under an idempotency key until there is an answer.
func (t *Traffic) mint(ctx context.Context, rng *rand.Rand, key string) bool {
	targets := 1 + rng.IntN(3)
	var list []string
	for i := range targets {
		list = append(list, fmt.Sprintf(`{"url":"https://example.com/%s/%d","capacity":%d}`, key, i, 20+rng.IntN(30000)))
	}
	extra := ""
	switch rng.IntN(5) {
	case 0:
		extra = fmt.Sprintf(`,"max_scans":%d`, 500+rng.IntN(50000))
	case 1:
		extra = fmt.Sprintf(`,"validity":"%ds"`, 20+rng.IntN(200))
	case 2:
		extra = `,"rules":[{"id":"often","scope":"visitor","limit":3,"window":"20s","action":"lock","for":"15s"},{"id":"crowd","scope":"network","limit":50,"window":"10s","action":"flag","for":"1m"}]`
	}
	profile := []string{"wecom-group", "wecom-group", "wechat-group", "wechat-static"}[rng.IntN(4)]
	body := fmt.Appendf(nil, `{"name":%q,"profile":%q,"campaign":"chaos","targets":[%s]%s}`, key, profile, strings.Join(list, ","), extra)
	var got struct {
		ID, Token string
	}
	ok := t.insist(ctx, "mint", func() error {
		status, said, err := t.call(ctx, rng, http.MethodPost, "/v1/codes", key, body)
		switch {
		case err != nil:
			return err
		case status != http.StatusCreated:
			return fmt.Errorf("%w with %d: %s", errRefused, status, said)
		}
		return json.Unmarshal(said, &got)
	})
	if !ok {
		return false
	}
	c := &Code{ID: got.ID, Token: got.Token, Targets: targets, Names: []string{key}, Late: map[string]bool{}}
	t.Ledger.mu.Lock()
	t.Ledger.codes[c.ID] = c
	t.Ledger.mu.Unlock()
	t.mu.Lock()
	t.codes = append(t.codes, c)
	t.mu.Unlock()
	t.Ledger.count("mints", 1)
	return true
}

func (t *Traffic) rename(ctx context.Context, rng *rand.Rand, c *Code, name string) {
	t.edit(c, func() { c.Names = append(c.Names, name) })
	for {
		status, _, err := t.call(ctx, rng, http.MethodPatch, "/v1/codes/"+c.ID, "", fmt.Appendf(nil, `{"name":%q}`, name))
		if err == nil {
			if status == http.StatusOK {
				t.edit(c, func() { c.Named = len(c.Names) - 1 })
				t.Ledger.count("changes", 1)
			}
			return // or it is revoked
		}
		t.edit(c, func() { c.Late[name] = true })
		if !rest(ctx) {
			return
		}
	}
}

func (t *Traffic) renew(ctx context.Context, rng *rand.Rand, c *Code) {
	for {
		status, _, err := t.call(ctx, rng, http.MethodPost, "/v1/codes/"+c.ID+"/renew", "", nil)
		if err == nil {
			if status == http.StatusOK {
				t.edit(c, func() { c.Renewed++ })
				t.Ledger.count("renewals", 1)
			}
			return
		}
		if !rest(ctx) {
			return
		}
	}
}

func (t *Traffic) revoke(ctx context.Context, rng *rand.Rand, c *Code) {
	t.edit(c, func() { c.Revoke = max(c.Revoke, 1) })
	for {
		status, _, err := t.call(ctx, rng, http.MethodDelete, "/v1/codes/"+c.ID, "", nil)
		if err == nil {
			if status == http.StatusOK {
				t.edit(c, func() { c.Revoke = 2 })
				t.Ledger.count("revocations", 1)
			}
			return
		}
		if !rest(ctx) {
			return
		}
	}
}

func (t *Traffic) edit(_ *Code, f func()) {
	t.Ledger.mu.Lock()
	defer t.Ledger.mu.Unlock()
	f()
}

func rest(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}
