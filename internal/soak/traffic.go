package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/simulate"
)

// traffic is a day pressed into some minutes.
type traffic struct {
	o      options
	at     *installation
	client *client.Client

	codes, events, scans, renewals atomic.Int64 // so far
}

const phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49"

// run plays the day: hour after hour of simulated traffic, busy at noon and in the evening, and beside it codes with a short life.
func (t *traffic) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	day := make(chan struct{})
	var beside sync.WaitGroup
	const lanes = 4
	for lane := range lanes {
		beside.Go(func() {
			if err := t.churn(ctx, day, lane, t.o.Churn/lanes+1); err != nil {
				cancel(err)
			}
		})
	}
	err := t.hours(ctx)
	close(day)
	beside.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// curve is how busy each hour is, the mean is 1.
func curve(hour, hours int) float64 {
	x := float64(hour) / float64(hours) * 24
	bump := func(at, wide float64) float64 { return math.Exp(-(x - at) * (x - at) / (2 * wide * wide)) }
	return (0.3 + 1.5*bump(12.5, 2) + 2*bump(20, 2.5)) / 1.15
}

func (t *traffic) hours(ctx context.Context) error {
	begun := time.Now()
	slice := t.o.Duration / time.Duration(t.o.Hours)
	total := 0.0
	for h := range t.o.Hours {
		total += curve(h, t.o.Hours)
	}
	for h := range t.o.Hours {
		n := max(int(float64(t.o.Events)*curve(h, t.o.Hours)/total), 1)
		hour := 22 * time.Hour / time.Duration(t.o.Hours) // producers' events may be a day old, not more
		before := t.events.Load()
		minted := 0
		sum, err := simulate.Run(ctx, simulate.RunOptions{
			Generate: simulate.Options{
				Events: n, Seed: t.o.Seed + uint64(h), Run: fmt.Sprintf("soak-%d", begun.UnixMilli()), Start: begun.Add(-22*time.Hour + time.Duration(h)*hour).UTC(),
				Span: hour, Codes: max(t.o.Codes/t.o.Hours, 1), Direct: 0.4,
			},
			Gateway: port{t.client}, HTTP: t.client.Transport(), Rate: float64(n) / (0.9 * slice.Seconds()),
			Report: func(p simulate.Progress) {
				t.codes.Add(int64(p.Minted - minted))
				minted = p.Minted
				t.events.Store(before + int64(p.Done))
			},
		})
		if err != nil {
			return fmt.Errorf("hour %d: %w", h, err)
		}
		t.scans.Add(int64(sum.Stored[events.TypeScan]))
		t.o.Progress("hour %2d of %d: %d events, %d codes so far, %.0f s", h+1, t.o.Hours, t.events.Load(), t.codes.Load(), time.Since(begun).Seconds())
		select { // an hour that was quick is waited for
		case <-time.After(time.Until(begun.Add(time.Duration(h+1) * slice))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// churn lives short lives until the day is over: a code is minted for some seconds, scanned, and then one visitor is locked out, or it is
// renewed, or revoked, or left to run out.
func (t *traffic) churn(ctx context.Context, over <-chan struct{}, lane, codes int) error {
	r := rand.New(rand.NewPCG(t.o.Seed, uint64(lane)))
	every := time.NewTicker(max(t.o.Duration/time.Duration(codes), time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		code, err := t.client.Mint(ctx, map[string]any{
			"profile": "wechat-group", "name": "short life", "validity": fmt.Sprintf("%ds", 3+r.IntN(20)), "campaign": "soak",
			"targets": []map[string]any{{"url": "https://example.com/short", "capacity": 100}},
			"rules":   []map[string]any{{"scope": "visitor", "limit": 3, "window": "10s", "for": "5s"}},
		}, "")
		if err != nil {
			return fmt.Errorf("mint: %w", err)
		}
		t.codes.Add(1)
		fate := r.IntN(4)
		scans := 1 + r.IntN(2)
		if fate == 0 {
			scans = 5 // the third locks
		}
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		browser := &http.Client{Jar: jar, Transport: t.client.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		for range scans {
			if err := t.scan(ctx, browser, t.client.URL("/s/"+code.Token)); err != nil {
				return fmt.Errorf("scan: %w", err)
			}
		}
		switch fate {
		case 1:
			_, err = t.client.Renew(ctx, code.ID)
			t.renewals.Add(1)
		case 2:
			err = t.client.Revoke(ctx, code.ID)
		}
		if err != nil {
			return fmt.Errorf("renew or revoke: %w", err)
		}
	}
}

func (t *traffic) scan(ctx context.Context, browser *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", phone)
	resp, err := browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 500 {
		return fmt.Errorf("the gateway answers %s", resp.Status)
	}
	t.scans.Add(1)
	return nil
}

// port is what a simulation needs of a gateway.
type port struct{ c *client.Client }

// Mint mints a code.
func (p port) Mint(ctx context.Context, key string, spec simulate.CodeSpec) (simulate.Minted, error) {
	code, err := p.c.Mint(ctx, spec, key)
	return simulate.Minted{ID: code.ID, ScanURL: p.c.URL("/s/" + code.Token)}, err
}

// Publish stores a batch.
func (p port) Publish(ctx context.Context, batch []byte, _ int) error { return p.c.Publish(ctx, batch) }
