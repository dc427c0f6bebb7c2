package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// mostAlerts is how many alerts one request lists, and a gateway keeps.
const mostAlerts = "1000"

// Alerts lists the alerts the gateway keeps from then on, as CloudEvents, the
// oldest first. The zero time is all of them.
func (c *Client) Alerts(ctx context.Context, since time.Time) ([]json.RawMessage, error) {
	q := url.Values{"limit": {mostAlerts}}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var out struct {
		Alerts []json.RawMessage `json:"alerts"`
	}
	_, err := c.JSON(ctx, "GET", "/v1/alerts?"+q.Encode(), nil, nil, &out)
	slices.Reverse(out.Alerts)
	return out.Alerts, err
}

// AlertStream listens to new alerts: it calls open once it is listening, then
// each for every alert, and returns when either fails, the stream ends (as
// *Unreachable) or ctx does.
func (c *Client) AlertStream(ctx context.Context, open func() error, each func(json.RawMessage) error) error {
	resp, err := c.Do(ctx, "GET", "/v1/alerts/stream", http.Header{"Accept": {"text/event-stream"}}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := open(); err != nil {
		return err
	}
	in := bufio.NewReader(resp.Body)
	var data strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Unreachable{Gateway: c.base.String(), Cause: io.ErrUnexpectedEOF}
		}
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(text, " "))
			continue
		}
		if line == "" && data.Len() > 0 { // a blank line ends an event
			raw := json.RawMessage(data.String())
			data.Reset()
			if err := each(raw); err != nil {
				return err
			}
		}
	}
}
