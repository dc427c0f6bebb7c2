package main

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// serveRedirect is `bare-http`: what net/http can do. It answers every request
// with a 302 of the same headers as a scan's, and does nothing for it.
func serveRedirect([]string) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	ctx, stop := untilTold()
	defer stop()
	headers := map[string][]string{
		"X-Content-Type-Options": {"nosniff"},
		"Cache-Control":          {"no-store"},
		"Huoma-Event":            {"01K0000000000000000000000A"},
		"Huoma-Verdict":          {"accepted"},
		"Location":               {target},
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, // as the gateway's
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			for k, v := range headers {
				h[k] = v
			}
			w.WriteHeader(http.StatusFound)
		}),
	}
	go func() { <-ctx.Done(); _ = server.Close() }()
	say(l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fail(err)
	}
	return 0
}
