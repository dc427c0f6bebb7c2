package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/events"
	"github.com/huoma/huoma/internal/token"
)

// percents are the percentiles told of every latency.
var percents = []int{50, 99}

// whens are the states in which latencies are measured.
var whens = []string{"idle", fmt.Sprintf("at %s scans/s", number(loadedRate))}

// warnedName is the latency of a capacity alert.
const warnedName = "member → capacity alert, idle"

// loadedRate is what "under load" means, in scans a second.
const loadedRate = 1000

func refusedName(when string) string { return "scan → refused, " + when }
func visibleName(when string) string { return "scan → visible, " + when }

// latencies is (d): the time from a scan to what follows from it.
func (b *bench) latencies() (err error) {
	in, err := b.install(b.ctx, 1000, packed, 0)
	if err != nil {
		return err
	}
	defer func() { err = keep(err, in.remove()) }()
	if err := in.startWorkers(b.ctx); err != nil {
		return err
	}
	if err := in.startGateway(b.ctx); err != nil {
		return err
	}
	list, err := os.ReadFile(in.tokens())
	if err != nil {
		return err
	}
	url := "http://" + in.gateway.addr + "/s/" + string(list[:token.Length])
	for _, when := range whens {
		ended := make(chan error, 1)
		span := few(b, time.Second, 20*time.Second)
		if when == whens[0] {
			ended <- nil
		} else {
			b.seed += 1 << 20
			spec := loadSpec{Addr: in.gateway.addr, Tokens: in.tokens(), Connections: 32, Rate: loadedRate, Measure: 2*span + time.Second, Seed: b.seed}
			go func() {
				var r loadResult
				ended <- b.do(b.ctx, "load", spec, &r)
			}()
		}
		refused, err := refusals(b.ctx, url, span)
		if err != nil {
			return keep(err, <-ended)
		}
		seen, err := in.sightings(b.ctx, url, span)
		if err = keep(err, <-ended); err != nil {
			return err
		}
		if err := b.percentiles(refusedName(when), refused); err != nil {
			return err
		}
		if err := b.percentiles(visibleName(when), seen); err != nil {
			return err
		}
	}
	warned, err := in.warnings(b.ctx, few(b, 3, 50))
	if err != nil {
		return err
	}
	return b.percentiles(warnedName, warned)
}

func (b *bench) percentiles(name string, took []time.Duration) error {
	slices.Sort(took)
	for _, p := range percents {
		v := float64(percentile(took, p).Nanoseconds()) / 1e6
		if err := b.report(Row{Section: "d", Name: fmt.Sprintf("%s, p%d", name, p), Unit: "ms", Ours: v, Rounds: len(took)}); err != nil {
			return err
		}
	}
	return nil
}

// visitor is somebody with a cookie.
type visitor struct {
	client *http.Client
	cookie string
}

func newVisitor() visitor {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: the program ends instead
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: answersWithin,
	}
	return visitor{client, "hm_v=" + base64.RawURLEncoding.EncodeToString(id[:])}
}

// scan scans and returns the status and the event's id.
func (v visitor) scan(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Cookie", v.cookie)
	req.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36")
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, resp.Header.Get("Huoma-Event"), resp.Body.Close()
}

// refusals has one visitor after the other scan five times, and returns how
// long after the fifth answer the first refusal came.
func refusals(ctx context.Context, url string, span time.Duration) ([]time.Duration, error) {
	var took []time.Duration
	for until := time.Now().Add(span); time.Now().Before(until) || len(took) == 0; {
		v := newVisitor()
		for n := range 5 {
			if status, _, err := v.scan(ctx, url); err != nil || status != http.StatusFound {
				return nil, fmt.Errorf("scan %d of a visitor was answered %d: %w", n+1, status, err)
			}
		}
		fifth := time.Now()
		for {
			status, _, err := v.scan(ctx, url)
			if err != nil {
				return nil, err
			}
			if status == http.StatusTooManyRequests {
				break
			}
			if time.Since(fifth) > answersWithin {
				return nil, fmt.Errorf("a visitor is not refused after %s", answersWithin)
			}
		}
		took = append(took, time.Since(fifth))
	}
	return took, nil
}

// sightings scans a hundred times a second and returns how long after each
// answer its row was there to be queried.
func (in *installation) sightings(ctx context.Context, url string, span time.Duration) (took []time.Duration, err error) {
	conn, err := openClickHouse(in.clickhouse.addr)
	if err != nil {
		return nil, err
	}
	defer func() { err = keep(err, conn.Close()) }()
	type answer struct {
		event string
		at    time.Time
	}
	answers := make(chan answer, 1<<16)
	scanned := make(chan error, 1)
	go func() {
		defer close(answers)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var err error
		for until := time.Now().Add(span); err == nil && time.Now().Before(until); <-tick.C {
			status, event, failed := newVisitor().scan(ctx, url)
			if failed != nil || status != http.StatusFound {
				err = fmt.Errorf("a scan was answered %d: %w", status, failed)
			}
			answers <- answer{event, time.Now()}
		}
		scanned <- err
	}()
	waiting := map[string]time.Time{}
	from := time.Now().Add(-time.Minute)
	for deadline, open := time.Now().Add(span+answersWithin), true; open || len(waiting) > 0; {
		for more := open; more; {
			select {
			case a, ok := <-answers:
				if more = ok; ok {
					waiting[a.event] = a.at
				} else {
					open = false
				}
			default:
				more = false
			}
		}
		var ids []string
		if err := conn.QueryRow(ctx, "SELECT groupArray(event_id) FROM huoma.scans WHERE code_id = ? AND ts >= ?", codeID(0).String(), from).Scan(&ids); err != nil {
			return nil, err
		}
		now := time.Now()
		for _, id := range ids {
			if at, ok := waiting[id]; ok {
				took = append(took, max(0, now.Sub(at)))
				delete(waiting, id)
			}
		}
		if now.After(deadline) {
			return nil, fmt.Errorf("%d scans are not in the warehouse after %s", len(waiting), answersWithin)
		}
	}
	return took, <-scanned
}

// warnings fills one group after the other and returns how long after the
// eighth of ten members the capacity alert came.
func (in *installation) warnings(ctx context.Context, groups int) (took []time.Duration, err error) {
	alerts, err := in.bus.nc.SubscribeSync("huoma.alert.capacity.>")
	if err != nil {
		return nil, err
	}
	for range groups {
		body := `{"profile":"wecom-group","targets":[{"url":"` + target + `","capacity":10}]}`
		answer, err := in.post(ctx, "/v1/codes", "application/json", []byte(body), http.StatusCreated)
		if err != nil {
			return nil, err
		}
		code, err := textBetween(answer, `"id":"`, `"`)
		if err != nil {
			return nil, err
		}
		for i := range 8 {
			in.filled++
			id := fmt.Sprintf("01BENCH%019d", in.filled)
			_, err := in.bus.js.PublishMsg(ctx, &nats.Msg{
				Subject: events.InSubject("member", code), Header: nats.Header{events.HeaderMsgID: {id}, events.HeaderContentType: {events.ContentType}},
				Data: fmt.Appendf(nil, `{"specversion":"1.0","id":"%s","source":"/bench","type":"%s","subject":"%s","time":"%s","data":{"target":0}}`,
					id, events.TypeMemberJoined, code, stamp()),
			})
			if err != nil {
				return nil, fmt.Errorf("member %d: %w", i+1, err)
			}
		}
		eighth := time.Now()
		if _, err := alerts.NextMsg(answersWithin); err != nil {
			return nil, fmt.Errorf("no capacity alert: %w", err)
		}
		took = append(took, time.Since(eighth))
	}
	if len(took) == 0 {
		return nil, errors.New("no group was filled")
	}
	return took, alerts.Unsubscribe()
}
