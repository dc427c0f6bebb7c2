package traffic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const contentBatch = "application/cloudevents-batch+json"

// event is one event of a code, as JSON.
func event(b *bytes.Buffer, rng *rand.Rand, id, kind string, c *Code, now time.Time) {
	typ, data := "huoma.scan.v1", ""
	visitor := "v" + strconv.Itoa(int(40000*rng.Float64()*rng.Float64()))
	switch kind {
	case "member":
		typ = []string{"huoma.member.joined.v1", "huoma.member.joined.v1", "huoma.member.left.v1"}[rng.IntN(3)]
		data = fmt.Sprintf(`{"target":%d,"visitor":%q}`, rng.IntN(c.Targets), visitor)
	case "conversion":
		typ = "huoma.conversion.v1"
		data = fmt.Sprintf(`{"visitor":%q,"name":%q,"value":%d.%02d,"currency":"CNY"}`, visitor, []string{"lead", "sale"}[rng.IntN(2)], rng.IntN(500), rng.IntN(100))
	default:
		data = fmt.Sprintf(`{"visitor":%q,"variant":%d,"network":"198.51.%d.0/24","province":%q,"utm":{"source":"chaos","campaign":%q}}`,
			visitor, rng.IntN(3), rng.IntN(256), []string{"Sichuan", "Yunnan", "Hubei", "Gansu"}[rng.IntN(4)], "k"+strconv.Itoa(rng.IntN(5)))
	}
	fmt.Fprintf(b, `{"specversion":"1.0","id":%q,"source":"chaos","type":%q,"subject":%q,"time":%q,"data":%s}`,
		id, typ, c.ID, now.Format("2006-01-02T15:04:05.000Z"), data)
}

func kindOf(rng *rand.Rand) string {
	switch n := rng.IntN(20); {
	case n < 15:
		return "scan"
	case n < 18:
		return "member"
	}
	return "conversion"
}

// batch writes n events of a lane from first on. code and kind are the same
// for all of them where they are given.
func (t *Traffic) batch(rng *rand.Rand, a *Lane, first, n int, code *Code, kind string) []byte {
	var b bytes.Buffer
	b.Grow(n * 330)
	now := time.Now().UTC()
	for i := range n {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b.WriteByte(sep)
		c, k := code, kind
		if c == nil {
			c, k = t.known(rng), kindOf(rng)
		}
		event(&b, rng, a.ID(first+i), k, c, now)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// natsBatches publishes batches to NATS as a plain producer: each is one
// message, repeated under the same id until it is acknowledged. Now and then
// one is published again later under another id, or none.
func (t *Traffic) natsBatches(ctx, sending context.Context, a *Lane, rng *rand.Rand) {
	whole := float64(t.o.Events) * (1 - browserShare - singleShare) / 4
	n := 0
	var old *nats.Msg
	for t.pace(sending, n, whole) {
		size := 50 + rng.IntN(350)
		code, kind := t.known(rng), kindOf(rng)
		m := &nats.Msg{Subject: "huoma.in." + kind + "." + code.ID, Data: t.batch(rng, a, n, size, code, kind), Header: nats.Header{"Content-Type": {contentBatch}}}
		m.Header.Set("Nats-Msg-Id", a.ID(n)+"-batch")
		if !t.insist(ctx, "batch", func() error { return t.publish(ctx, a, m) }) {
			return
		}
		t.Ledger.ack(a, n, size)
		n += size
		switch rng.IntN(24) {
		case 0:
			old = m
		case 1:
			if old != nil { // minutes later, it may be
				again := &nats.Msg{Subject: old.Subject, Data: old.Data, Header: nats.Header{"Content-Type": {contentBatch}}}
				if !t.insist(ctx, "batch again", func() error { return t.publish(ctx, a, again) }) {
					return
				}
				t.Ledger.count("batches published twice on purpose", 1)
				old = nil
			}
		}
	}
}

// publish publishes a message and waits for it to be stored.
func (t *Traffic) publish(ctx context.Context, a *Lane, m *nats.Msg) error {
	a.attempt()
	once, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	_, err := t.js.PublishMsg(once, m, jetstream.WithRetryAttempts(0))
	return err
}

// httpBatches posts batches to the gateways, one after the other.
func (t *Traffic) httpBatches(ctx, sending context.Context, a *Lane, rng *rand.Rand) {
	whole := float64(t.o.Events) * (1 - browserShare - singleShare) / 4
	n := 0
	for t.pace(sending, n, whole) {
		size := 50 + rng.IntN(450)
		body := t.batch(rng, a, n, size, nil, "")
		turn := rng.IntN(len(t.o.Gateways))
		ok := t.insist(ctx, "POST /v1/events", func() error {
			turn++
			a.attempt()
			return t.post(ctx, t.o.Gateways[turn%len(t.o.Gateways)], body)
		})
		if !ok {
			if ctx.Err() != nil {
				return
			}
			n += size
			continue
		}
		t.Ledger.ack(a, n, size)
		n += size
	}
}

// post posts a batch of events. What is not stored for a reason that passes is
// an error, what never will be errRefused.
func (t *Traffic) post(ctx context.Context, gateway string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t.o.APIKey)
	req.Header.Set("Content-Type", contentBatch)
	resp, err := t.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case resp.StatusCode == http.StatusAccepted:
		return nil
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%d: %s", resp.StatusCode, said)
	}
	return fmt.Errorf("%w with %d: %s", errRefused, resp.StatusCode, said)
}

// singles publishes one event a message, as `nats pub` does, and in between
// what nobody can understand.
func (t *Traffic) singles(ctx, sending context.Context, a *Lane, rng *rand.Rand) {
	whole := float64(t.o.Events) * singleShare / 2
	for n := 0; t.pace(sending, n, whole); n++ {
		code, kind := t.known(rng), kindOf(rng)
		if rng.IntN(50) == 0 && !t.malformed(ctx, a, rng, code, n) {
			return
		}
		var b bytes.Buffer
		event(&b, rng, a.ID(n), kind, code, time.Now().UTC())
		m := &nats.Msg{Subject: "huoma.in." + kind + "." + code.ID, Data: b.Bytes()}
		if rng.IntN(2) == 0 { // a careful producer names the message too
			m.Header = nats.Header{"Nats-Msg-Id": {a.ID(n)}}
		}
		if !t.insist(ctx, "event", func() error { return t.publish(ctx, a, m) }) {
			return
		}
		t.Ledger.ack(a, n, 1)
	}
}

// malformed publishes something with a mark in it that has to become a dead
// letter.
func (t *Traffic) malformed(ctx context.Context, a *Lane, rng *rand.Rand, c *Code, n int) bool {
	mark := fmt.Sprintf("mark-%s-%d.", a.Name, n)
	data, subject := "", "huoma.in.scan."+c.ID
	envelope := `{"specversion":"1.0","id":"` + mark + `","source":"chaos","type":%q,"subject":%q,"time":%q,"data":{}}`
	now := time.Now().UTC().Format(time.RFC3339Nano)
	switch rng.IntN(5) {
	case 0:
		data = `{"specversion":"1.0","id":"` + mark + `"` // cut off
	case 1:
		data = fmt.Sprintf(envelope, "huoma.nothing.v9", c.ID, now)
	case 2:
		subject = "huoma.in.scan.nobodys"
		data = fmt.Sprintf(envelope, "huoma.scan.v1", "nobodys", now)
	case 3:
		data = fmt.Sprintf(envelope, "huoma.scan.v1", c.ID, "2001-02-03T04:05:06Z")
	case 4:
		data = mark + " is no JSON"
	}
	m := &nats.Msg{Subject: subject, Data: []byte(data), Header: nats.Header{"Nats-Msg-Id": {mark}}}
	return t.insist(ctx, "malformed", func() error {
		err := t.publish(ctx, a, m)
		t.Ledger.letter(mark, err == nil)
		return err
	})
}
