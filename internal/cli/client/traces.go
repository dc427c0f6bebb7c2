package client

import (
	"context"

	"github.com/huoma/huoma/internal/qr/watermark"
)

// Claim is whose a trace number may be.
type Claim struct {
	Issuer string `json:"issuer"`
	Device string `json:"device"`
	First  string `json:"first_seen,omitempty"`
}

// Trace is what a gateway says of an observation.
type Trace struct {
	Found    bool             `json:"found"`
	Reason   watermark.Reason `json:"reason"`
	Trace    string           `json:"trace,omitempty"`
	Evidence float64          `json:"evidence"`
	Chance   float64          `json:"chance"`
	Seen     int              `json:"seen"`
	Claims   []Claim          `json:"claims"`
	Registry string           `json:"registry,omitempty"`
	Code     string           `json:"code,omitempty"`
	Variant  int              `json:"variant,omitempty"`
	Print    *uint32          `json:"print,omitempty"`
	Name     string           `json:"name,omitempty"`
	Owner    string           `json:"owner,omitempty"`
}

// ReadTrace asks whose mark an observation shows.
func (c *Client) ReadTrace(ctx context.Context, o *watermark.Observation) (Trace, error) {
	values := make([]int, len(o.Values))
	for i, v := range o.Values {
		values[i] = int(v)
	}
	in := struct {
		Content string `json:"content"`
		Modules int    `json:"modules"`
		Values  []int  `json:"values"`
	}{o.Content, o.Modules, values}
	var out Trace
	_, err := c.JSON(ctx, "POST", "/v1/traces", nil, in, &out)
	return out, err
}

// TraceNames asks whose a trace number is.
func (c *Client) TraceNames(ctx context.Context, trace string) ([]Claim, error) {
	var out struct {
		Claims []Claim `json:"claims"`
	}
	_, err := c.JSON(ctx, "GET", "/v1/traces/"+trace, nil, nil, &out)
	return out.Claims, err
}
