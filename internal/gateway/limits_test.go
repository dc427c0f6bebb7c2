package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/gateway"
	"github.com/huoma/huoma/internal/natsdev/natstest"
)

// wire is a client that says exactly what a test wants said.
type wire struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (h *house) wire() *wire {
	h.t.Helper()
	c, err := net.Dial("tcp", h.gate.Addr())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		h.t.Fatal(err)
	}
	return &wire{c, h.t, bufio.NewReader(c)}
}

func (c *wire) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// scanOf is a person's scan as it goes over the wire.
func scanOf(c map[string]any, headers string) string {
	return fmt.Sprintf("GET /s/%s HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n%s\r\n", c["token"], iPhone, headers)
}

// answer reads one.
func (c *wire) answer() (status int, header http.Header, body string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("the answer ends early: %v", err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func (c *wire) ended() bool {
	_, err := io.Copy(io.Discard, c.in)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Those who find no place are told at once, at no cost to the others; whoever watches the gateway is always let in.
func TestRefusedEarly(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) {
		o.Backend = f
		o.Limits.MostScans, o.Limits.Store = 10, time.Minute
	})
	c := h.mint("")
	f.hold = make(chan struct{})
	status := make(chan int, 10)
	for range 10 {
		go func() { status <- h.scan(c).status }()
	}
	metrics := func() string { return string(h.do("GET", "/metrics", "").want(t, 200).body) }
	h.until("ten have their places", func() bool { return strings.Contains(metrics(), "huoma_gateway_scans_in_flight 10\n") })

	program := h.scan(c, "Accept: application/json").want(t, 503)
	if p := program.json(t); p["code"] != "overloaded" || p["type"] != "urn:huoma:problem:overloaded" || p["detail"] == "" {
		t.Errorf("problem = %s", program.body)
	}
	for lang, words := range map[string]string{"zh-CN": "请稍候", "en": "One moment"} {
		person := h.scan(c, "Accept: text/html", "Accept-Language: "+lang).want(t, 503)
		if !strings.Contains(string(person.body), words) || person.header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %s", lang, person.body)
		}
		program.header.Set("Retry-After", person.header.Get("Retry-After"))
	}
	if h := program.header; h.Get("Retry-After") == "" || h.Get("Cache-Control") != "no-store" || h.Get("Set-Cookie") != "" || h.Get("Huoma-Event") != "" || h.Get("Huoma-Verdict") != "" {
		t.Errorf("refused with %v", h)
	}
	// Scans being refused, the others have places of their own.
	h.do("GET", "/healthz", "").want(t, 200)
	h.do("GET", "/readyz", "").want(t, 200)
	h.admin("GET", "/v1/codes/"+c["id"].(string), "").want(t, 200)
	if got := metrics(); !strings.Contains(got, `huoma_gateway_overloaded_total{class="scan"} 3`) {
		t.Error("the metrics do not tell of three refusals")
	}
	close(f.hold)
	for range 10 {
		if got := <-status; got != 302 {
			t.Errorf("one with a place got %d", got)
		}
	}
	h.until("the next is let in", func() bool { return h.scan(c).status == 302 })
	if n := len(f.records()); n == 0 || n > 4 {
		t.Errorf("%d records were stored", n)
	}
	scans := 0
	for _, e := range h.log(2) {
		if e.Type == events.TypeScan {
			scans++
		}
	}
	if scans != 11 {
		t.Errorf("%d scans are in the log, want the 11 that were answered", scans)
	}
}

func (f *faulty) records() []events.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// What producers and mints send gives way while scans are refused.
func TestScansGoFirst(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	f := &faulty{Conn: conn}
	h := newGateway(t, conn, func(o *gateway.Options) {
		o.Backend = f
		o.Limits.MostScans, o.Limits.Store, o.Limits.Bodies = 1, time.Minute, 40<<10
	})
	c := h.mint("")
	f.hold = make(chan struct{})
	status := make(chan int, 2)
	go func() { status <- h.scan(c).status }()
	go func() {
		status <- h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "x", `{"target":0}`, "")).status
	}()
	h.until("both are under way", func() bool {
		return strings.Contains(string(h.do("GET", "/metrics", "").body), "huoma_gateway_queued_events 2\n")
	})
	// Bodies: those under way have a size in common.
	a := h.admin("POST", "/v1/codes/batch", strings.Repeat(" ", 41<<10)).want(t, 503)
	if a.json(t)["code"] != "overloaded" || a.header.Get("Retry-After") == "" {
		t.Errorf("a body beyond the room: %s", a.body)
	}
	h.scan(c).want(t, 503)
	a = h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "y", `{"target":0}`, "")).want(t, 503)
	if a.json(t)["code"] != "overloaded" || a.header.Get("Retry-After") == "" {
		t.Errorf("a producer's event: %s", a.body)
	}
	close(f.hold)
	if a, b := <-status, <-status; a+b != 302+202 {
		t.Errorf("those under way got %d and %d", a, b)
	}
	h.until("producers are let in again", func() bool {
		return h.admin("POST", "/v1/events", event(c, events.TypeMemberJoined, "z", `{"target":0}`, "")).status == 202
	})
}

// picture is a target as large as one may be.
var picture = "data:image/png;base64," + base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 30_000)...))

// A client that does not read its answer holds neither a place nor a flush, and not its connection for ever.
func TestAClientThatDoesNotRead(t *testing.T) {
	conn := connect(t, natstest.Start(t), 2)
	h := newGateway(t, conn, func(o *gateway.Options) { o.Limits.MostScans, o.Limits.Listener.Write = 1, time.Second })
	c := h.mint(`"max_scans":1000000,"targets":[{"picture":"` + picture + `","capacity":1000000}]`)
	stuck := h.wire()
	if err := stuck.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	// So many that no buffer of the system holds the answers.
	go func() { _, _ = io.WriteString(stuck, strings.Repeat(scanOf(c, ""), 2000)) }()
	open := func() bool {
		return !strings.Contains(string(h.do("GET", "/metrics", "", "Connection: close").body), "huoma_gateway_connections 1\n")
	}
	h.until("it has a connection", open)
	client.CloseIdleConnections()
	h.until("it was cut off", func() bool {
		if a := h.scan(c, "Connection: close"); a.status != 200 {
			t.Fatalf("another scan meanwhile: status %d", a.status)
		}
		return !open()
	})
}

// An answer that is being read may take longer than the server's limit, and so may a stream.
func TestLongAnswersToSlowReaders(t *testing.T) {
	const write = 500 * time.Millisecond
	h := newGateway(t, connect(t, natstest.Start(t), 2), func(o *gateway.Options) { o.Limits.Listener.Write = write })
	var rows []string
	for i := range 200 {
		rows = append(rows, fmt.Sprintf(`{"profile":"wecom-group","name":"%d","targets":[{"picture":%q}]}`, i, picture))
	}
	body := "[" + strings.Join(rows, ",") + "]"
	begun := time.Now()
	slow := h.wire()
	if err := slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	slow.send("POST /v1/codes/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", apiKey, len(body), body)
	resp, err := http.ReadResponse(slow.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	pause := time.NewTicker(write / 5)
	defer pause.Stop()
	n, piece := 0, make([]byte, 256<<10)
	for err == nil {
		if n < len(body)/2 {
			<-pause.C // it reads slowly at first
		}
		var k int
		k, err = io.ReadFull(resp.Body, piece)
		n += k
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || n != int(resp.ContentLength) {
		t.Errorf("%d of %d bytes came: %v", n, resp.ContentLength, err)
	}
	if took := time.Since(begun); took < write {
		t.Errorf("it took %s only: the test shows nothing", took)
	}
}

func TestBodies(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) { o.Limits.Body, o.Limits.BatchBody = 10_000, 20_000 })
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 10<<20)) // to memory
	_ = z.Close()
	for name, row := range map[string]struct {
		path, body, headers string
		status              int
		code                string
	}{
		"too long":                {"/v1/codes", strings.Repeat(" ", 10_001), "", 413, "body_too_large"},
		"too many events":         {"/v1/events", strings.Repeat(" ", 20_001), "", 413, "body_too_large"},
		"compressed":              {"/v1/events", bomb.String(), "Content-Encoding: gzip\r\n", 415, "unsupported_media_type"},
		"compressed, for a mint":  {"/v1/codes/batch", bomb.String(), "Content-Encoding: br\r\n", 415, "unsupported_media_type"},
		"not what it is":          {"/v1/events", "{}", "Content-Type: application/zip\r\n", 415, "unsupported_media_type"},
		"deeply nested":           {"/v1/codes", strings.Repeat("[", 9_000), "", 400, "too_deep"},
		"said to be long, unsent": {"/v1/codes", "", "Expect: 100-continue\r\nContent-Length: 99999999\r\n", 413, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.wire()
			length := fmt.Sprintf("Content-Length: %d\r\n", len(row.body))
			if strings.Contains(row.headers, "Content-Length") {
				length = ""
			}
			if !strings.Contains(row.headers, "Content-Type") {
				row.headers += "Content-Type: application/json\r\n"
			}
			c.send("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s%s\r\n", row.path, apiKey, row.headers, length)
			go func() { _, _ = io.WriteString(c, row.body) }() // it may be refused in the middle
			status, header, body := c.answer()
			if status != row.status || !strings.Contains(body, `"code":"`+row.code+`"`) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s, want %d %s", status, body, row.status, row.code)
			}
		})
	}
	t.Run("without a length", func(t *testing.T) {
		c := h.wire()
		c.send("POST /v1/codes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n", apiKey)
		go func() { _, _ = io.WriteString(c, strings.Repeat("100\r\n"+strings.Repeat(" ", 256)+"\r\n", 100)) }()
		if status, _, body := c.answer(); status != 413 {
			t.Errorf("%d %s, want 413", status, body)
		}
	})
	t.Run("continued", func(t *testing.T) {
		c := h.wire()
		body := `{"profile":"wechat-group","targets":[{"url":"https://example.com/a"}]}`
		c.send("POST /v1/codes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", apiKey, len(body))
		if line, err := c.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q %v", line, err)
		}
		if _, err := c.in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.send("%s", body)
		if status, _, body := c.answer(); status != 201 {
			t.Errorf("%d %s, want 201", status, body)
		}
	})
	t.Run("not for those without a key", func(t *testing.T) {
		c := h.wire()
		c.send("POST /v1/codes HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 70\r\n\r\n")
		if status, _, body := c.answer(); status != 401 { // and no 100 before it
			t.Errorf("%d %s, want 401", status, body)
		}
	})
}

// A body that comes byte by byte, or not at all, holds its connection for a bounded time.
func TestSlowBodies(t *testing.T) {
	h := newHouse(t, func(o *gateway.Options) { o.Limits.Listener.Read = 200 * time.Millisecond })
	c := h.mint("")
	admin := h.wire()
	admin.send("POST /v1/codes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 70\r\n\r\n{", apiKey)
	if status, _, body := admin.answer(); status != 400 || !strings.Contains(body, "ended early") {
		t.Errorf("%d %s, want 400", status, body)
	}
	if !admin.ended() {
		t.Error("its connection stays open")
	}
	long := newGateway(t, h.conn)
	scan := long.wire()
	scan.send("%s", scanOf(c, "Content-Length: 1000\r\n")) // nobody reads a scan's body
	if status, _, body := scan.answer(); status != 302 {
		t.Errorf("%d %s, want 302", status, body)
	}
	if !scan.ended() {
		t.Error("its connection stays open")
	}
}

func TestOddScans(t *testing.T) {
	h := newHouse(t)
	c := h.mint("")
	for name, row := range map[string]struct {
		send   string
		status int
	}{
		"HTTP/1.0":     {fmt.Sprintf("GET /s/%s HTTP/1.0\r\nUser-Agent: %s\r\n\r\n", c["token"], iPhone), 302},
		"a method":     {fmt.Sprintf("BREW /s/%s HTTP/1.1\r\nHost: x\r\n\r\n", c["token"]), 405},
		"CONNECT":      {"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"any address":  {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"many cookies": {scanOf(c, "Cookie: "+strings.Repeat("a=b; ", 5000)+"\r\n"), 302},
		"long token":   {"GET /s/" + strings.Repeat("A", 30_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"huge header":  {scanOf(c, "X-Huge: "+strings.Repeat("y", 40<<10)+"\r\n"), 431},
		"pipelined":    {strings.Repeat(scanOf(c, ""), 3), 302},
	} {
		t.Run(name, func(t *testing.T) {
			conn := h.wire()
			conn.send("%s", row.send)
			n := max(strings.Count(row.send, "HTTP/1.1\r\nHost"), 1)
			for range n {
				if status, _, body := conn.answer(); status != row.status {
					t.Errorf("%d %.100s, want %d", status, body, row.status)
				}
			}
		})
	}
}

// One reader of the alert stream that never reads, and one that stops after a while, while ten thousand alerts flow: the others get all
// of them, and the two are dropped with their reasons.
func TestStalledReadersHoldNobodyUp(t *testing.T) {
	const alerts = 10_000
	conn := connect(t, natstest.Start(t), 2)
	h := newGateway(t, conn)
	stalled := h.wire()
	if err := stalled.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	stalled.send("GET /v1/alerts/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", apiKey)
	if line, err := stalled.in.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var readers sync.WaitGroup
	var opened sync.WaitGroup
	for range 3 {
		opened.Add(1)
		readers.Go(func() {
			req, err := http.NewRequestWithContext(ctx, "GET", h.url+"/v1/alerts/stream", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+apiKey)
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			n := 0
			in := bufio.NewReader(resp.Body)
			for n < alerts {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Errorf("after %d alerts: %v", n, err)
					return
				}
				if strings.HasPrefix(line, ": open") {
					opened.Done()
				}
				if id, ok := strings.CutPrefix(line, "id: "); ok {
					if want := fmt.Sprintf("a%05d\n", n); id != want {
						t.Errorf("alert %q comes after %d, want %q", id, n, want)
						return
					}
					n++
				}
			}
		})
	}
	opened.Wait()
	key := strings.Repeat("k", 800)
	for from := 0; from < alerts; from += 500 {
		var list []*events.Event
		for i := from; i < from+500; i++ {
			list = append(list, &events.Event{
				ID: fmt.Sprintf("a%05d", i), Source: "test", Type: "huoma.alert.risk.v1", Subject: "000000000001", Time: time.Now(),
				Data: &events.Alert{Code: "000000000001", Kind: "risk", Reason: "test", Key: key},
			})
		}
		if err := conn.PublishAlerts(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
	h.until("the stalled one is dropped", func() bool {
		return strings.Contains(string(h.do("GET", "/metrics", "").body), `huoma_gateway_alert_readers_dropped_total{reason="`)
	})
}

func TestStreamsAreBounded(t *testing.T) {
	h := newGateway(t, connect(t, natstest.Start(t), 2), func(o *gateway.Options) { o.Limits.Streams = 2 })
	var open []*wire
	for range 2 {
		c := h.wire()
		c.send("GET /v1/alerts/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", apiKey)
		if line, err := c.in.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("%q %v", line, err)
		}
		open = append(open, c)
	}
	if a := h.admin("GET", "/v1/alerts/stream", "").want(t, 503); a.json(t)["code"] != "overloaded" {
		t.Errorf("a third stream: %s", a.body)
	}
	_ = open[0].Close()
	h.until("there is a place again", func() bool {
		c := h.wire()
		c.send("GET /v1/alerts/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", apiKey)
		line, _ := c.in.ReadString('\n')
		_ = c.Close()
		return strings.Contains(line, "200")
	})
}
