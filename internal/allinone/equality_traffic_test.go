package allinone_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// Traffic that means the same wherever and however fast it is played. What
// decides is in it, not in the clock: windows and locks last for hours, the
// times of producers' events are written down once, a code that expires is
// scanned before anything is due or when all of it is, and each code's steps
// are played one after the other, each answered before the next.

// scenario is what happens to one code.
type scenario struct {
	name  string
	mint  string // the body
	code  minted
	steps []step
}

// step is one thing that happens; play says what the fields are for.
type step struct {
	do      string // scan, forged, nats, post, patch, renew, revoke, expired
	visitor int
	agent   string
	method  string
	network string
	query   string
	token   string
	subject string
	body    string
	status  int // wanted of post
}

// browsers are who scans, with the kind that each is taken for.
var browsers = []string{
	phone,
	"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
	"Googlebot/2.1 (+http://www.google.com/bot.html)",
	"facebookexternalhit/1.1",
	"curl/8.0",
}

// definitions are the codes: each kind of life that a code may have.
var definitions = []string{
	`{"targets":[{"url":"https://example.com/a","capacity":10},{"url":"https://example.com/b","capacity":12},{"url":"https://example.com/c","capacity":500}]}`,
	`{"targets":[{"url":"https://example.com/capped"}],"max_scans":15}`,
	`{"targets":[{"url":"https://example.com/once"}],"dedupe":"12h"}`,
	`{"targets":[{"url":"https://example.com/full","capacity":6}]}`,
	`{"targets":[{"url":"https://example.com/networks"}],"rules":[
		{"id":"crowd","scope":"network","limit":5,"window":"6h","action":"flag","for":"12h"},
		{"id":"all","scope":"code","limit":25,"window":"6h","action":"dry-run","for":"12h"},
		{"id":"person","scope":"visitor","limit":3,"window":"6h","action":"lock","for":"12h"}]}`,
	`{"targets":[{"url":"https://example.com/revoked"}]}`,
	`{"targets":[{"url":"https://example.com/renewed"}],"renewal_every":"30d"}`,
	`{"targets":[{"url":"https://example.com/expired"}],"validity":"2s"}`,
	`{"targets":[{"url":"https://example.com/overdue"}],"renewal_every":"2s"}`,
	`{"targets":[{"url":"https://example.com/variants","capacity":400}],"variants":[{"n":1},{"n":2},{"n":3}]}`,
}

// cookie is a browser's, made from a seed as a gateway would from chance.
func cookie(visitor int) string {
	var b [16]byte
	r := rand.New(rand.NewPCG(uint64(visitor), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// author writes the steps of a scenario.
type author struct {
	r    *rand.Rand
	s    *scenario
	base time.Time
	n    int
	keys *token.Keyring
	sent []step // producers' events, to be repeated
}

// event is a producer's. Joins and conversions are dated ahead of every scan
// of the run, so that attribution finds those before them.
func (a *author) event(typ, data, more string) string {
	a.n++
	at := a.base.Add(4*time.Minute + time.Duration(a.n)*time.Millisecond)
	if typ == events.TypeScan {
		at = a.base.Add(-time.Hour + time.Duration(a.n)*time.Second)
	}
	return fmt.Sprintf(`{"specversion":"1.0","id":"%s-%d","source":"producer","type":%q,"subject":%q,"time":%q,%s"data":%s}`,
		a.s.name, a.n, typ, a.s.code.ID, events.FormatTime(at), more, data)
}

func (a *author) produced(kind, body string) {
	st := step{do: "nats", subject: "huoma.in." + kind + "." + a.s.code.ID, body: body}
	if a.r.IntN(3) == 0 {
		st = step{do: "post", body: body, status: http.StatusAccepted}
	}
	a.s.steps = append(a.s.steps, st)
	a.sent = append(a.sent, st)
}

// malformed are events that become dead letters, each for a reason of its own.
func (a *author) malformed() {
	id := a.s.code.ID
	in := "huoma.in.scan." + id
	old := strings.Replace(a.event(events.TypeScan, "{}", ""), events.FormatTime(a.base.Add(-time.Hour+time.Duration(a.n)*time.Second)), events.FormatTime(a.base.Add(-48*time.Hour)), 1)
	early := strings.Replace(a.event(events.TypeScan, "{}", ""), events.FormatTime(a.base.Add(-time.Hour+time.Duration(a.n)*time.Second)), events.FormatTime(a.base.Add(2*time.Hour)), 1)
	a.s.steps = append(a.s.steps,
		step{do: "nats", subject: in, body: "not json"},
		step{do: "nats", subject: in, body: a.event("huoma.bogus.v1", "{}", "")},
		step{do: "nats", subject: in, body: a.event(events.TypeMemberJoined, `{"target":0}`, "")},
		step{do: "nats", subject: in, body: old},
		step{do: "nats", subject: in, body: early},
		step{do: "nats", subject: in, body: a.event(events.TypeScan, `{"token":"AAAA"}`, "")},
		step{do: "nats", subject: "huoma.in.member." + id, body: a.event(events.TypeMemberJoined, `{"target":77}`, "")},
		step{do: "nats", subject: "huoma.in.conversion." + id, body: a.event(events.TypeConversion, `{"visitor":"v","name":"sale","value":1,"currency":"yuan"}`, "")},
		step{do: "nats", subject: "huoma.in.scan.nobody", body: strings.ReplaceAll(a.event(events.TypeScan, "{}", ""), id, "nobody")},
		step{do: "nats", subject: "huoma.in." + a.s.name, body: "{}"},
		step{do: "post", body: "[" + a.event(events.TypeScan, "{}", "") + "," + a.event(events.TypeScan, `{"variant":99}`, "") + "]", status: http.StatusBadRequest},
	)
}

// ordinary is one of the things that happen all the time.
func (a *author) ordinary(targets int) {
	r := a.r
	network := fmt.Sprintf("203.0.%d.%d", r.IntN(3), r.IntN(200)+1)
	if r.IntN(4) == 0 {
		network = fmt.Sprintf("2001:db8:%d::%d", r.IntN(2), r.IntN(9)+1)
	}
	visitor := r.IntN(20)
	target := r.IntN(targets)
	switch r.IntN(16) {
	case 0, 1, 2, 3, 4, 5, 6:
		st := step{do: "scan", visitor: visitor, agent: browsers[r.IntN(3)], network: network, token: a.token()}
		switch r.IntN(8) {
		case 0:
			st.agent = browsers[3+r.IntN(3)]
		case 1:
			st.query = "?utm_source=wall&utm_campaign=autumn%20fair"
		case 2:
			st.method = "HEAD"
		}
		a.s.steps = append(a.s.steps, st)
	case 7:
		a.s.steps = append(a.s.steps, step{do: "forged", network: network})
	case 8:
		a.produced("scan", a.event(events.TypeScan, fmt.Sprintf(`{"openid":"o-%d","network":%q,"province":"Zhejiang","user_agent":%q}`, visitor, network, browsers[r.IntN(len(browsers))]), ""))
	case 9:
		// Three in one message, by one who knows the picture.
		a.produced("scan", "["+a.event(events.TypeScan, fmt.Sprintf(`{"openid":"o-%d","token":%q}`, visitor, a.token()), "")+","+
			a.event(events.TypeScan, fmt.Sprintf(`{"visitor":"v-%d","click_id":"click-%s-%d","variant":2}`, visitor, a.s.name, a.n), "")+","+
			a.event(events.TypeScan, `{"utm":{"source":"mail"}}`, "")+"]")
	case 10, 11, 12:
		typ := events.TypeMemberJoined
		if r.IntN(4) == 0 {
			typ = events.TypeMemberLeft
		}
		a.produced("member", a.event(typ, fmt.Sprintf(`{"target":%d,"visitor":"v-%d"}`, target, visitor), ""))
	case 13:
		a.produced("conversion", a.event(events.TypeConversion, fmt.Sprintf(`{"visitor":"v-%d","name":%q,"value":%d.25,"currency":"CNY"}`, visitor, []string{"lead", "sale"}[r.IntN(2)], r.IntN(90)), ""))
	case 14:
		e := a.event(events.TypeScan, fmt.Sprintf(`{"visitor":"h-%d","device_model":"Pixel 9","province":"Fujian","target":0}`, visitor), `"historical":true,`)
		at := a.base.Add(-time.Hour + time.Duration(a.n)*time.Second)
		a.produced("scan", strings.Replace(e, events.FormatTime(at), events.FormatTime(at.AddDate(0, 0, -40-r.IntN(10))), 1))
	case 15:
		if len(a.sent) > 0 { // a producer that repeats itself, by either way
			st := a.sent[r.IntN(len(a.sent))]
			a.s.steps = append(a.s.steps, st)
		}
	}
}

// token is a picture's: that of the code, or of one of its variants.
func (a *author) token() string {
	if !strings.Contains(a.s.mint, "variants") || a.r.IntN(3) == 0 {
		return a.s.code.Token
	}
	id, err := token.ParseCodeID(a.s.code.ID)
	if err == nil {
		var text string
		if text, err = a.keys.Seal(token.Picture{Code: id, Variant: 1 + a.r.IntN(3)}); err == nil {
			return text
		}
	}
	panic(err)
}

// write makes the steps of a code of kind n.
func (a *author) write(n, length int) {
	kind := n % len(definitions)
	var d struct{ Targets []struct{} }
	if err := json.Unmarshal([]byte(a.s.mint), &d); err != nil {
		panic(err)
	}
	if kind == 7 || kind == 8 { // nothing happens before it has expired
		a.s.steps = append(a.s.steps, step{do: "expired"})
	}
	for i := range length {
		a.ordinary(len(d.Targets))
		if i != length/2 {
			continue
		}
		a.malformed()
		// An id that was used for another code names another event.
		same := a.event(events.TypeScan, `{"visitor":"same"}`, "")
		same = strings.Replace(same, fmt.Sprintf(`"id":"%s-%d"`, a.s.name, a.n), `"id":"everybody's"`, 1)
		a.produced("scan", same)
		switch kind {
		case 3: // the group is smaller than was thought, then larger
			a.produced("member", a.event(events.TypeMemberSnapshot, `{"target":0,"count":6}`, ""))
			a.s.steps = append(a.s.steps, step{do: "scan", visitor: 99, agent: phone, network: "198.51.100.1", token: a.s.code.Token})
			a.produced("member", a.event(events.TypeMemberSnapshot, `{"target":0,"count":2}`, ""))
		case 5:
			a.s.steps = append(a.s.steps, step{do: "revoke"})
		case 6, 8:
			a.s.steps = append(a.s.steps, step{do: "renew"})
			if kind == 8 {
				a.s.steps = append(a.s.steps, step{do: "patch", body: `{"renewal_every":"30d"}`})
			}
		case 1:
			a.s.steps = append(a.s.steps, step{do: "patch", body: `{"max_scans":30}`})
		case 9:
			a.s.steps = append(a.s.steps, step{do: "patch", body: `{"campaign":"winter","owner":"shop"}`})
		}
	}
}

// stage is where a scenario is played.
type stage struct {
	t        testing.TB
	gateways []*installation
	js       jetstream.JetStream

	mu    sync.Mutex
	names map[string]string // what chance has named, by what stands for it
}

func newStage(t testing.TB, natsURL string, gateways ...*installation) *stage {
	t.Helper()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, gateways: gateways, js: js, names: map[string]string{}}
}

// call makes an admin call at a gateway.
func (s *stage) call(in *installation, method, path, body string, header ...string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, in.Gateway+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// mint mints a scenario's code. The key makes its id, with the keyring: the
// same one on every stage.
func (s *stage) mint(n int, sc *scenario) (m minted) {
	s.t.Helper()
	for range 2 { // at one gateway after the other, which must not make two of it
		var again minted
		in := s.gateways[n%len(s.gateways)]
		resp, b, err := s.call(in, "POST", "/v1/codes", sc.mint, "Content-Type", "application/json", "Idempotency-Key", sc.name)
		if err != nil || resp.StatusCode/100 != 2 || json.Unmarshal(b, &again) != nil {
			s.t.Fatalf("mint %s: %v %s", sc.name, err, b)
		}
		if m.ID != "" && m != again && m.ID != again.ID {
			s.t.Fatalf("%s was minted twice: %s and %s", sc.name, m.ID, again.ID)
		}
		m = again
		n++
	}
	return m
}

// play plays scenarios, several at a time, each in its order, and every step
// of a code at the next gateway. In the middle of it something may happen.
func (s *stage) play(list []*scenario, meanwhile func()) {
	s.t.Helper()
	todo := make(chan *scenario, len(list))
	steps := 0
	for _, sc := range list {
		todo <- sc
		steps += len(sc.steps)
	}
	close(todo)
	var played atomic.Int64
	failed := make(chan error, len(list))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for sc := range todo {
				for k, st := range sc.steps {
					if int(played.Add(1)) == steps/3 {
						meanwhile()
					}
					if err := s.step(sc, k, st); err != nil {
						failed <- fmt.Errorf("%s, step %d, %s: %w", sc.name, k, st.do, err)
						break
					}
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		s.t.Error(err)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

func (s *stage) step(sc *scenario, k int, st step) error {
	in := s.gateways[k%len(s.gateways)]
	id := sc.code.ID
	switch st.do {
	case "scan", "forged":
		return s.scan(in, sc, k, st)
	case "nats":
		m := nats.NewMsg(st.subject)
		m.Data = []byte(st.body)
		m.Header.Set("Content-Type", events.ContentType)
		if strings.HasPrefix(st.body, "[") {
			m.Header.Set("Content-Type", events.ContentTypeBatch)
		}
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		_, err := s.js.PublishMsg(ctx, m)
		return err
	case "post":
		content := events.ContentType
		if strings.HasPrefix(st.body, "[") {
			content = events.ContentTypeBatch
		}
		resp, b, err := s.call(in, "POST", "/v1/events", st.body, "Content-Type", content)
		if err == nil && resp.StatusCode != st.status {
			err = fmt.Errorf("%s instead of %d: %s", resp.Status, st.status, b)
		}
		return err
	case "expired":
		return s.wait(id, func(b []byte) bool { return bytes.Contains(b, []byte(`"status":"expired"`)) })
	case "patch", "renew", "revoke":
		method, path := map[string]string{"patch": "PATCH", "renew": "POST", "revoke": "DELETE"}[st.do], "/v1/codes/"+id
		if st.do == "renew" {
			path += "/renew"
		}
		resp, b, err := s.call(in, method, path, st.body, "Content-Type", "application/json")
		if err != nil || resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s %s: %v %s", method, path, err, b)
		}
		// A gateway writes the code's campaign into the scans it takes: each is to know the new one before the next scan.
		var now struct{ Revision int }
		if err := json.Unmarshal(b, &now); err != nil {
			return err
		}
		return s.wait(id, func(b []byte) bool {
			var seen struct{ Revision int }
			return json.Unmarshal(b, &seen) == nil && seen.Revision >= now.Revision
		})
	}
	return fmt.Errorf("there is no step %q", st.do)
}

// wait waits until every gateway says so of a code.
func (s *stage) wait(id string, so func(b []byte) bool) error {
	deadline := time.Now().Add(within)
	for _, in := range s.gateways {
		for {
			_, b, err := s.call(in, "GET", "/v1/codes/"+id, "")
			if err == nil && so(b) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("after %s %s says %s, %v", within, in.Gateway, b, err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return nil
}

func (s *stage) scan(in *installation, sc *scenario, k int, st step) error {
	text := st.token
	if st.do == "forged" {
		h := fnv.New64()
		fmt.Fprint(h, sc.name, k)
		b := []byte(sc.code.Token)
		i := 2 + int(h.Sum64()%20)
		if b[i] = 'A'; sc.code.Token[i] == 'A' {
			b[i] = 'B'
		}
		text, st.agent = string(b), phone
	}
	method := st.method
	if method == "" {
		method = "GET"
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, in.Gateway+"/S/"+text+st.query, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", st.agent)
	req.Header.Set("X-Forwarded-For", st.network)
	req.AddCookie(&http.Cookie{Name: "hm_v", Value: cookie(st.visitor)})
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	event := resp.Header.Get("Huoma-Event")
	if (event == "") != (st.do == "forged") {
		return fmt.Errorf("%s, event %q", resp.Status, event)
	}
	if event != "" {
		s.mu.Lock()
		s.names[event] = fmt.Sprintf("scan %s %d", sc.name, k)
		s.mu.Unlock()
	}
	return nil
}
