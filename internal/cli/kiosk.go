package cli

import (
	"context"
	"encoding/json"
	"fmt"
)

type codesKiosk struct {
	access
	ID      string `arg:"" help:"The code's id."`
	Device  string `help:"Name of the screen, which tells its scans from those of others, such as lobby." default:"screen"`
	Variant int    `help:"Variant it shows; 0 is the code's first."`
}

// Run makes a kiosk's address.
func (c *codesKiosk) Run(ctx context.Context, a *App) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	raw, err := cl.Kiosk(ctx, c.ID, c.Device, c.Variant)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.Stdout, raw)
	}
	var k struct {
		URL      string `json:"url"`
		Device   string `json:"device"`
		Tracking string `json:"tracking"`
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\nOpen it full-screen on %s. Its scans have the tracking code %s. It ends when the code is revoked or the key that signed it is retired.\n", plain(k.URL), plain(k.Device), plain(k.Tracking))
	return err
}
