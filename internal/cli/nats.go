package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/huoma/huoma/internal/events"
)

// natsClient is a plain NATS client, as a producer would write it.
type natsClient struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// dialNATS connects. The address in errors has no password.
func dialNATS(ctx context.Context, address string) (*natsClient, error) {
	nc, err := nats.Connect(address, nats.Name("huoma command line"), nats.Timeout(5*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("no NATS answers at %s (%w): start one with `huoma up`, or name another with --nats-url", redactNATS(address), err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &natsClient{nc, js}, ctx.Err()
}

func redactNATS(address string) string {
	var out []string
	for _, one := range strings.Split(address, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			out = append(out, "nats://…")
			continue
		}
		u.User = nil
		out = append(out, u.String())
	}
	return strings.Join(out, ",")
}

func (n *natsClient) close() { n.nc.Close() }

// passing is a publish that may succeed when tried again.
type passing struct{ error }

func (passing) Temporary() bool { return true }
func (p passing) Unwrap() error { return p.error }

// Publish stores one event. It returns once the server has acknowledged it.
func (n *natsClient) Publish(ctx context.Context, subject, id string, event []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	msg := nats.NewMsg(subject)
	msg.Header.Set(events.HeaderMsgID, id)
	msg.Header.Set(events.HeaderContentType, events.ContentType)
	msg.Data = event
	_, err := n.js.PublishMsg(ctx, msg)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code < 500 {
		return err
	}
	if err != nil {
		return passing{fmt.Errorf("NATS does not store events just now: %w", err)}
	}
	return nil
}
