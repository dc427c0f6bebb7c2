package natsjs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/huoma/huoma/internal/events"
)

// The pull protocol, spoken here rather than by the library's consumer,
// because a claim has to see pins, sequences and refusals as they come and
// keep its pin while its caller works.

const headerPin = "Nats-Pin-Id"

// delivery is one message as a consumer delivered it.
type delivery struct {
	events.Message
	reply     string // acknowledge here
	consumer  uint64 // the consumer's own sequence: without gaps
	delivered uint64 // how many times, from 1
	pending   uint64 // messages after it, at that moment
	pin       string // the pinned client's id
}

// size is about what a delivery takes in memory, in bytes.
func (d *delivery) size() int { return len(d.Data) + len(d.Subject) + len(d.reply) + 256 }

// status is an answer to a pull request that is no message.
type status struct {
	pull uint64 // which request
	code int
	text string
}

// What a status says.
const (
	statusRequest  = 400 // the request is wrong
	statusNone     = 404
	statusTimeout  = 408
	statusConflict = 409
	statusPin      = 423 // another client is pinned
	statusNobody   = 503 // no such consumer, or its server is not up
)

// deleted: the consumer is gone.
func (s status) deleted() bool {
	return s.code == statusNobody || s.code == statusConflict && strings.Contains(strings.ToLower(s.text), "consumer deleted")
}

// finished: the request ended as requests do, and the next may go out at once.
func (s status) finished() bool {
	if s.code == statusConflict {
		t := strings.ToLower(s.text)
		return strings.Contains(t, "maxbytes") || strings.Contains(t, "batch completed")
	}
	return s.code == statusTimeout || s.code == statusNone
}

// pullRequest is the body of a request for messages. Times in nanoseconds.
type pullRequest struct {
	Expires  time.Duration `json:"expires"`
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"`
	Group    string        `json:"group,omitempty"`
	Pin      string        `json:"id,omitempty"`
}

// puller asks one consumer for messages and hands on what comes, one call at a
// time, on a goroutine of the connection.
type puller struct {
	nc      *nats.Conn
	subject string
	inbox   string
	sub     *nats.Subscription
	last    atomic.Uint64
}

func (c *Conn) newPuller(stream, consumer string, onMessage func(*delivery), onStatus func(status)) (*puller, error) {
	p := &puller{nc: c.nc, subject: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer, inbox: c.nc.NewInbox()}
	sub, err := c.nc.Subscribe(p.inbox+".*", func(m *nats.Msg) {
		if m.Reply == "" {
			s := status{text: m.Header.Get("Description")}
			s.code, _ = strconv.Atoi(m.Header.Get("Status"))
			s.pull, _ = strconv.ParseUint(strings.TrimPrefix(m.Subject, p.inbox+"."), 10, 64)
			onStatus(s)
			return
		}
		meta, err := m.Metadata()
		if err != nil {
			return // not from a consumer
		}
		onMessage(&delivery{
			Message:  events.Message{Seq: meta.Sequence.Stream, Subject: m.Subject, At: meta.Timestamp.UTC(), Header: m.Header, Data: m.Data},
			reply:    m.Reply,
			consumer: meta.Sequence.Consumer, delivered: meta.NumDelivered, pending: meta.NumPending,
			pin: m.Header.Get(headerPin),
		})
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	// What a request may bring is bounded by the request.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	p.sub = sub
	return p, nil
}

// request asks for messages and returns the number of the request.
func (p *puller) request(r pullRequest) (uint64, error) {
	n := p.last.Add(1)
	b, err := json.Marshal(r)
	if err != nil {
		return n, err
	}
	return n, p.nc.PublishRequest(p.subject, p.inbox+"."+strconv.FormatUint(n, 10), b)
}

func (p *puller) close() {
	_ = p.sub.Unsubscribe() // fails only when the connection is closed
}
