package role

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The health listener has the limits of any other, and answers probes whoever else has connections open.
func TestHealthHasLimits(t *testing.T) {
	h, err := NewHealth("127.0.0.1:0", prometheus.NewRegistry(), func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	ask := func(request string) *http.Response {
		t.Helper()
		c, err := net.Dial("tcp", h.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	var many strings.Builder
	for i := range h.listener.Limits().HeaderFields + 1 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"a probe":         {"GET /healthz HTTP/1.0\r\n\r\n", 200},
		"a long header":   {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 32<<10) + "\r\n\r\n", 431},
		"many headers":    {"GET /healthz HTTP/1.1\r\nHost: x\r\n" + many.String() + "\r\n", 431},
		"TLS":             {"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		"what is unknown": {"GET /s/x HTTP/1.1\r\nHost: x\r\n\r\n", 404},
	} {
		if got := ask(row.request).StatusCode; got != row.status {
			t.Errorf("%s: status %d, want %d", name, got, row.status)
		}
	}
	if s := h.server; s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
}
