package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// What the gateway says of a scan besides its status.
const (
	headerEvent   = "Huoma-Event"
	headerVerdict = "Huoma-Verdict"
)

// scanLane scans as browsers do: with cookies, one scan of a visitor at a time.
func (r *runner) scanLane(ctx context.Context, in <-chan Item) error {
	transport := r.o.HTTP
	if transport == nil {
		transport = http.DefaultTransport
	}
	client := &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	jars := make(map[uint64][]*http.Cookie)
	for it := range in {
		var verdict string
		err := r.retry.do(ctx, func() (err error) {
			it.Event.ID, verdict, err = r.scan(ctx, client, it, jars)
			return err
		})
		if err != nil {
			return fmt.Errorf("scan a code: %w", err)
		}
		r.mu.Lock()
		r.sum.Answers[verdict]++
		r.mu.Unlock()
		r.stored([]Item{it}, 0)
	}
	return nil
}

// scan makes one request and returns the id and verdict the gateway gave it.
func (r *runner) scan(ctx context.Context, client *http.Client, it Item, jars map[uint64][]*http.Cookie) (id, verdict string, err error) {
	v := it.Visit
	req, err := http.NewRequestWithContext(ctx, v.Method, r.codes[it.Code].ScanURL, nil)
	if err != nil {
		return "", "", err
	}
	req.Header.Set("User-Agent", v.Agent)
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Accept-Language", "zh-CN,zh;q=0.9")
	req.Header.Set("X-Forwarded-For", v.Address)
	if v.Prefetch {
		req.Header.Set("Sec-Purpose", "prefetch")
	}
	if v.RefererOf != "" {
		req.Header.Set("Referer", "https://"+v.RefererOf+"/")
	}
	for _, c := range jars[v.Visitor] {
		req.AddCookie(c)
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" { // it may have been stored all the same
			r.unsure()
		}
		return "", "", away{errors.New("no answer from the gateway")} // the cause would quote the token
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	id, verdict = resp.Header.Get(headerEvent), resp.Header.Get(headerVerdict)
	switch {
	case id != "":
	case resp.StatusCode >= 500:
		r.unsure() // what could not be stored in time may have been stored after all
		return "", "", away{fmt.Errorf("the gateway answered %s", resp.Status)}
	default:
		return "", "", fmt.Errorf("the gateway answered %s without saying which event it stored: is --gateway the address of a gateway?", resp.Status)
	}
	if cookies := resp.Cookies(); v.Visitor != 0 && len(cookies) > 0 {
		jars[v.Visitor] = cookies
	}
	return id, strings.ToLower(verdict), nil
}

func (r *runner) unsure() {
	r.mu.Lock()
	r.sum.Unsure++
	r.mu.Unlock()
}
