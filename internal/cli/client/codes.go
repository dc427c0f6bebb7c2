package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many codes one request lists.
const pageSize = 200

// Kiosk makes the address of a screen that shows a code. Variant 0 is the code's first.
func (c *Client) Kiosk(ctx context.Context, id, device string, variant int) (json.RawMessage, error) {
	var raw json.RawMessage
	in := struct {
		Device  string `json:"device"`
		Variant int    `json:"variant,omitempty"`
	}{device, variant}
	_, err := c.JSON(ctx, http.MethodPost, "/v1/codes/"+url.PathEscape(id)+"/kiosks", nil, in, &raw)
	return raw, err
}

// Codes hands out codes, the newest first, until limit (0 is all) or fn fails.
func (c *Client) Codes(ctx context.Context, limit int, fn func(Code) error) error {
	cursor, n := "", 0
	for {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-n)
		}
		q := url.Values{"limit": {strconv.Itoa(size)}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Codes []Code `json:"codes"`
			Next  string `json:"next"`
		}
		if _, err := c.JSON(ctx, "GET", "/v1/codes?"+q.Encode(), nil, nil, &page); err != nil {
			return err
		}
		for _, code := range page.Codes {
			if err := fn(code); err != nil {
				return err
			}
			if n++; limit > 0 && n == limit {
				return nil
			}
		}
		if page.Next == "" || len(page.Codes) == 0 {
			return nil
		}
		cursor = page.Next
	}
}
