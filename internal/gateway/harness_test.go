package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/code"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
	"github.com/huoma/huoma/internal/natsjs"
	"github.com/huoma/huoma/internal/scanning"
	"github.com/huoma/huoma/internal/token"
)

const (
	apiKey = "test-key-1234567"
	iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN"
)

// keyring is one for all tests: what it seals does not matter to them.
var keyring = sync.OnceValue(func() *token.Keyring {
	k, err := token.NewKeyring(rand.Reader, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		panic(err)
	}
	return k
})

// house is a running installation: NATS, a scan worker and a gateway.
type house struct {
	t    testing.TB
	conn *natsjs.Conn
	gate *gateway.Gateway
	url  string
}

func connect(t testing.TB, url string, partitions int) *natsjs.Conn {
	t.Helper()
	conn, err := natsjs.Connect(t.Context(), natsjs.Options{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Ensure(t.Context(), natsjs.Config{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// newHouse starts everything and waits until it is ready.
func newHouse(t testing.TB, change ...func(*gateway.Options)) *house {
	t.Helper()
	h := newGateway(t, connect(t, natstest.Start(t), 2), change...)
	h.work()
	return h
}

// newGateway starts a gateway on conn, without a scan worker.
func newGateway(t testing.TB, conn *natsjs.Conn, change ...func(*gateway.Options)) *house {
	t.Helper()
	o := gateway.Options{Addr: "127.0.0.1:0", APIKey: apiKey, Keyring: keyring(), Backend: conn, Partitions: 2}
	for _, c := range change {
		c(&o)
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	h := &house{t: t, conn: conn, gate: g, url: "http://" + g.Addr()}
	h.until("the gateway is ready", g.Ready)
	return h
}

// work runs a scan worker until the test, or stop, ends it.
func (h *house) work() (stop func()) {
	h.t.Helper()
	visitors := token.NewVisitorHasher(keyring().Purpose("visitor"))
	w, err := scanning.New(scanning.Options{
		Instance: "worker", Partitions: 2, Backend: h.conn,
		Identity: scanning.Identity{
			Visitor: visitors.FromOpenID, Classify: func(string) (code.Verdict, string) { return "", "" },
			Network: func(s string) string { return s }, Device: func(string) (string, string, string) { return "", "", "" },
			Picture: func(string, string, time.Time) (scanning.Picture, string) { return scanning.Picture{}, "seal" },
		},
		Claim: func(ctx context.Context, p int) (scanning.Input, error) { return h.conn.ClaimPartition(ctx, p) },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			h.t.Errorf("worker: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	h.t.Cleanup(stop)
	return stop
}

// until waits for a condition that something running in the background brings about.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within 20 s: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("status %d: not JSON: %v: %.300s", a.status, err, a.body)
	}
	return v
}

// client follows no redirect and has no cookies but those of the test.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// do sends a request; headers are "Name: value".
func (h *house) do(method, path string, body string, headers ...string) answer {
	h.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = h.url + path
	}
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, path, in)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// admin sends a request with the API key and a JSON body.
func (h *house) admin(method, path, body string, headers ...string) answer {
	h.t.Helper()
	return h.do(method, path, body, append([]string{"Authorization: Bearer " + apiKey, "Content-Type: application/json"}, headers...)...)
}

// want fails unless a has the status.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status = %d, want %d: %.500s", a.status, status, a.body)
	}
	return a
}

// mint mints a code with these fields beside one target.
func (h *house) mint(fields string) map[string]any {
	h.t.Helper()
	if fields == "" {
		fields = `"targets":[{"url":"https://example.com/a"}]`
	}
	return h.admin("POST", "/v1/codes", `{"profile":"wechat-group",`+fields+`}`).want(h.t, 201).json(h.t)
}

// scan scans as a person with WeChat.
func (h *house) scan(c map[string]any, headers ...string) answer {
	h.t.Helper()
	return h.do("GET", "/s/"+c["token"].(string), "", append([]string{"User-Agent: " + iPhone}, headers...)...)
}

func (h *house) stats(c map[string]any) map[string]any {
	h.t.Helper()
	return h.admin("GET", "/v1/codes/"+c["id"].(string)+"/stats", "").want(h.t, 200).json(h.t)
}

// count is a verdict's count in the code's statistics.
func (h *house) count(c map[string]any, verdict string) int {
	h.t.Helper()
	return int(h.stats(c)["counts"].(map[string]any)[verdict].(float64))
}

// log reads all events the gateways have stored so far.
func (h *house) log(partitions int) (out []*events.Event) {
	h.t.Helper()
	for p := range partitions {
		err := h.conn.Replay(h.t.Context(), p, 1, 1<<40, func(m events.Message) error {
			if _, kind, _ := events.StoredKind(m.Subject); kind != events.KindGateway {
				return nil
			}
			list, err := events.ParseBatch(m.Data)
			out = append(out, list...)
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return out
}

// serve calls the handler without a network.
func serve(g *gateway.Gateway, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	w.Body = new(bytes.Buffer)
	g.Handler().ServeHTTP(w, r)
	return w
}
