package listen_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huoma/huoma/internal/listen"
)

// within is generous: other tests run on the same processors.
const within = time.Minute

// hold is where the handler of tests waits until it is told to go on.
type hold struct{ in, out chan struct{} }

func serve(t *testing.T, l listen.Limits, change ...func(*listen.Listener)) (*listen.Listener, hold) {
	t.Helper()
	ln, err := listen.Listen("127.0.0.1:0", l)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(ln)
	}
	h := hold{make(chan struct{}, 1024), make(chan struct{})}
	s := ln.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			h.in <- struct{}{}
			<-h.out
		}
		_, _ = io.WriteString(w, "ok")
	}), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return ln, h
}

// client is one connection.
type client struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dial(t *testing.T, addr net.Addr) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr.String(), within)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) ask(path string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
}

// answer reads one answer; nil when the connection ends instead.
func (c *client) answer() *http.Response {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil
	}
	return resp
}

func (c *client) want(status int) *http.Response {
	c.t.Helper()
	resp := c.answer()
	if resp == nil || resp.StatusCode != status {
		c.t.Fatalf("answer = %+v, want %d", resp, status)
	}
	return resp
}

// ended waits for the other side to close the connection.
func (c *client) ended() bool {
	_, err := io.Copy(io.Discard, c.in)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func old(l *listen.Listener) { l.SetYoung(0) }

func TestIdleConnectionsMakeRoom(t *testing.T) {
	ln, _ := serve(t, listen.Limits{Connections: 8}, old)
	var idle []*client
	for range 8 {
		c := dial(t, ln.Addr())
		c.ask("/")
		c.want(200)
		idle = append(idle, c)
	}
	for range 20 {
		c := dial(t, ln.Addr())
		c.ask("/")
		c.want(200)
	}
	for i, c := range idle[:4] {
		if !c.ended() {
			t.Errorf("connection %d was idle for longest and is still open", i)
		}
	}
	if open, evicted, refused := ln.Counts(); open > 12 || evicted < 12 || refused != 0 {
		t.Errorf("%d open, %d evicted, %d refused", open, evicted, refused)
	}
}

// Those who send a header byte by byte are in no request yet.
func TestSlowHeadersMakeRoom(t *testing.T) {
	ln, _ := serve(t, listen.Limits{Connections: 8, ReadHeader: within}, old)
	for range 8 {
		dial(t, ln.Addr()).send("GET / HTTP/1.1\r\nX-Slow: ")
	}
	for range 20 {
		c := dial(t, ln.Addr())
		c.ask("/")
		c.want(200)
	}
}

func TestBusyConnectionsStay(t *testing.T) {
	ln, h := serve(t, listen.Limits{Connections: 8}, old)
	var busy []*client
	for range 8 {
		c := dial(t, ln.Addr())
		c.ask("/hold")
		<-h.in
		busy = append(busy, c)
	}
	var extra []*client // in the reserve
	for range 4 {
		c := dial(t, ln.Addr())
		c.ask("/hold")
		<-h.in
		extra = append(extra, c)
	}
	late := dial(t, ln.Addr())
	resp := late.want(503)
	if resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" || !resp.Close {
		t.Errorf("turned away with %v", resp.Header)
	}
	close(h.out)
	for _, c := range busy {
		c.want(200)
	}
	for _, c := range extra {
		c.want(200)
	}
	until(t, "there is room again", func() bool { open, _, _ := ln.Counts(); return open <= 8 })
	last := dial(t, ln.Addr())
	last.ask("/")
	last.want(200)
	if _, _, refused := ln.Counts(); refused != 1 {
		t.Errorf("%d refused, want 1", refused)
	}
}

// A crowd is not kept alive.
func TestCrowdedConnectionsEndWithTheirAnswer(t *testing.T) {
	ln, h := serve(t, listen.Limits{Connections: 4}, old)
	for range 4 {
		dial(t, ln.Addr()).ask("/hold")
		<-h.in
	}
	c := dial(t, ln.Addr())
	c.ask("/")
	if resp := c.want(200); !resp.Close || !c.ended() {
		t.Error("it is kept alive")
	}
	close(h.out)
}

func TestTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	for name, row := range map[string]struct {
		limits listen.Limits
		send   string
		status int // 0: it is closed without a word
	}{
		"nothing is sent":         {listen.Limits{ReadHeader: short}, "", 0},
		"the header does not end": {listen.Limits{ReadHeader: short}, "GET / HTTP/1.1\r\nHost: x\r\nX-", 400},
		"idle":                    {listen.Limits{Idle: short}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			ln, _ := serve(t, row.limits)
			c := dial(t, ln.Addr())
			c.send(row.send)
			if resp := c.answer(); resp != nil && resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			} else if resp == nil && row.status == 200 {
				t.Error("no answer")
			}
			if !c.ended() {
				t.Error("the connection stays open")
			}
			until(t, "it is forgotten", func() bool { open, _, _ := ln.Counts(); return open == 0 })
		})
	}
}

func TestOddRequests(t *testing.T) {
	ln, _ := serve(t, listen.Limits{HeaderBytes: 8 << 10, HeaderFields: 50})
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: y\r\n", i)
		}
		return b.String()
	}
	for name, row := range map[string]struct {
		send   string
		status int
		goesOn bool // the connection stays
	}{
		"huge header":         {"GET / HTTP/1.1\r\nHost: x\r\nX-Huge: " + strings.Repeat("y", 20<<10) + "\r\n\r\n", 431, false},
		"too many headers":    {"GET / HTTP/1.1\r\nHost: x\r\n" + many(60) + "\r\n", 431, false},
		"as many as allowed":  {"GET / HTTP/1.1\r\nHost: x\r\n" + many(50) + "\r\n", 200, true},
		"endless line":        {"GET /" + strings.Repeat("y", 20<<10), 431, false},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 100) + "\r\n\r\n", 400, false},
		"absurd method":       {"BREW@\x01 / HTTP/1.1\r\nHost: x\r\n\r\n", 400, false},
		"no such version":     {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505, false},
		"HTTP/0.9":            {"GET /\r\n\r\n", 400, false},
		"HTTP/1.0":            {"GET / HTTP/1.0\r\n\r\n", 200, false},
		"HTTP/1.0 keep-alive": {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, true},
		"no host":             {"GET / HTTP/1.1\r\n\r\n", 400, false},
		"two lengths":         {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, false},
		"two framings":        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, false},
		"space in a name":     {"GET / HTTP/1.1\r\nHost: x\r\nX y: z\r\n\r\n", 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, ln.Addr())
			c.send(row.send)
			c.want(row.status)
			if row.goesOn {
				c.ask("/")
				c.want(200)
			} else if !c.ended() {
				t.Error("the connection stays open")
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	ln, _ := serve(t, listen.Limits{})
	c := dial(t, ln.Addr())
	c.send(strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 50))
	for range 50 {
		c.want(200)
	}
}

const childVariable = "HUOMA_TEST_LISTEN_DESCRIPTORS"

// TestMain is also the program of which TestOutOfDescriptors takes the file descriptors.
func TestMain(m *testing.M) {
	if n := os.Getenv(childVariable); n != "" {
		if err := starved(n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func starved(n string) error {
	most, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return err
	}
	ln, err := listen.Listen("127.0.0.1:0", listen.Limits{Connections: 10_000})
	if err != nil {
		return err
	}
	ln.SetYoung(100 * time.Millisecond) // a connection whose request is on its way is no place to find room
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	r.Cur = most
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return ln.Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), slog.New(slog.DiscardHandler)).Serve(ln)
}

// A process that has no file descriptor left makes room, and answers everybody.
func TestOutOfDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=64")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp", strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		c := dial(t, addr)
		c.ask("/")
		c.want(200)
	}
}

func TestLimitsFitTheProcess(t *testing.T) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cur != r.Max && r.Cur < 1<<20 { // macOS has no end of it
		t.Errorf("the soft limit of files is %d and the hard one %d: the runtime did not raise it", r.Cur, r.Max)
	}
	if got := (listen.Limits{Connections: 1 << 30}).WithDefaults().Connections; got > int(min(r.Cur, 1<<30))/4*3 {
		t.Errorf("%d connections with %d files", got, r.Cur)
	}
}
