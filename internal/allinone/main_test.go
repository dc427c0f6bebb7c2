package allinone_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/allinone"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == allinone.EngineCommand {
		os.Exit(allinone.RunEngine())
	}
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

const (
	apiKey = "test-key-of-the-installation"
	within = time.Minute
	phone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49"
)

// installation is everything, running.
type installation struct {
	allinone.Addresses
	t    testing.TB
	keys string // its keyring; empty: the test has no NATS user that may read the log
	stop func()
}

// start runs everything on dir until stop, or the end of the test.
func start(t testing.TB, dir string, change ...func(*allinone.Options)) *installation {
	t.Helper()
	log := &tail{}
	o := allinone.Options{
		DataDir: dir, APIKey: apiKey, Addr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", ClickHouseAddr: "127.0.0.1:0", ClickHouseHTTPAddr: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan allinone.Addresses, 1), make(chan error, 1)
	go func() { done <- allinone.Run(ctx, o, func(a allinone.Addresses) { ready <- a }) }()
	in := &installation{t: t, keys: cmp.Or(o.Keyring, filepath.Join(dir, "keyring.json"))}
	in.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v\n%s", err, log)
		}
	})
	t.Cleanup(func() {
		in.stop()
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	select {
	case in.Addresses = <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("start: %v\n%s", err, log)
	case <-time.After(2 * within):
		t.Fatalf("not up after %s\n%s", 2*within, log)
	}
	return in
}

// tail keeps the last of a log.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - 32<<10; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(p), nil
}

func (l *tail) String() string { l.mu.Lock(); defer l.mu.Unlock(); return string(l.b) }

// call makes an admin call and decodes the answer into out.
func (in *installation) call(method, path string, body any, out any) int {
	in.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			in.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(in.t.Context(), method, in.Gateway+path, r)
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			in.t.Fatalf("%s %s answers %s: %s", method, path, resp.Status, b)
		}
	}
	return resp.StatusCode
}

type minted struct {
	ID       string `json:"id"`
	Token    string `json:"token"`
	ScanURL  string `json:"scan_url"`
	Tracking string `json:"tracking"`
	QRPNG    string `json:"qr_png"`
	Status   string `json:"status"`
}

func (in *installation) mint(body map[string]any) minted {
	in.t.Helper()
	var m minted
	if status := in.call("POST", "/v1/codes", body, &m); status != http.StatusCreated {
		in.t.Fatalf("mint answers %d", status)
	}
	return m
}

type stats struct {
	Status  string           `json:"status"`
	Counts  map[string]int64 `json:"counts"`
	Unique  int64            `json:"unique"`
	Members int64            `json:"members"`
}

func (in *installation) stats(id string) (s stats) {
	in.t.Helper()
	in.call("GET", "/v1/codes/"+id+"/stats", nil, &s)
	return s
}

// person is a browser with cookies that does not follow redirects.
type person struct {
	in     *installation
	client *http.Client
}

func (in *installation) person() *person {
	jar, _ := cookiejar.New(nil) // never fails without options
	return &person{in, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p *person) scan(rawURL string) *http.Response {
	p.in.t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		p.in.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.in.t.Context(), "GET", p.in.Gateway+u.RequestURI(), nil)
	if err != nil {
		p.in.t.Fatal(err)
	}
	req.Header.Set("User-Agent", phone)
	resp, err := p.client.Do(req)
	if err != nil {
		p.in.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

// query asks the embedded ClickHouse by HTTP; the answer is tab-separated.
func (in *installation) query(sql string) string {
	in.t.Helper()
	resp, err := http.Post(in.ClickHouseHTTP+"/?database=huoma", "text/plain", strings.NewReader(sql))
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		in.t.Fatalf("%s: %s %s %v", sql, resp.Status, b, err)
	}
	return strings.TrimSpace(string(b))
}

// until waits for got to become want.
func until[T comparable](t testing.TB, what string, want T, got func() T) {
	t.Helper()
	deadline := time.Now().Add(within)
	var last T
	for {
		if last = got(); last == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v after %s, want %v", what, last, within, want)
		}
		<-time.After(10 * time.Millisecond) // leaves the machine to what is waited for
	}
}

// agree holds every code's statistics at the gateway against the tables and
// the rollups, and the warehouse against the log.
func (in *installation) agree() {
	in.t.Helper()
	if in.keys != "" {
		in.proven()
	}
	until(in.t, "missing and doubled", "0", func() string { return in.query("SELECT sum(missing) + sum(doubled) + sum(gaps) FROM reconcile") })
	var cursor string
	for {
		var page struct {
			Codes []minted `json:"codes"`
			Next  string   `json:"next"`
		}
		in.call("GET", "/v1/codes?limit=200&cursor="+cursor, nil, &page)
		for _, c := range page.Codes {
			var want []string
			s := in.stats(c.ID)
			for _, v := range []string{"accepted", "bot", "capped", "duplicate", "expired", "full", "locked", "preview", "revoked"} {
				if n := s.Counts[v]; n > 0 {
					want = append(want, fmt.Sprintf("%s\t%d", v, n))
				}
			}
			wanted := strings.Join(want, "\n")
			until(in.t, "rows of "+c.ID, wanted, func() string {
				return in.query("SELECT verdict, count() FROM scans WHERE code_id = '" + c.ID + "' GROUP BY verdict ORDER BY toString(verdict)")
			})
			// The rows of an insert are seen a moment before its rollups.
			until(in.t, "rollups of "+c.ID, wanted, func() string {
				return in.query("SELECT verdict, sum(scans) FROM scans_hourly WHERE code_id = '" + c.ID + "' GROUP BY verdict ORDER BY toString(verdict)")
			})
			if got := in.query("SELECT uniqExact(visitor) FROM scans WHERE verdict = 'accepted' AND visitor != '' AND code_id = '" + c.ID + "'"); got != fmt.Sprint(s.Unique) {
				in.t.Errorf("unique visitors of %s: %s in the table, %d at the gateway", c.ID, got, s.Unique)
			}
		}
		if cursor = page.Next; cursor == "" {
			return
		}
	}
}
