package client

import (
	"context"
	"net/url"
	"strconv"
)

// pageSize is how many codes one request lists.
const pageSize = 200

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
