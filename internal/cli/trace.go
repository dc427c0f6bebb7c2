package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/huoma/huoma/internal/cli/client"
	"github.com/huoma/huoma/internal/qr/watermark"
	"github.com/huoma/huoma/internal/qr/watermark/observe"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

// Exit statuses of huoma trace, beside those of every command.
const (
	exitNoPicture = 3 // the file is no picture that can be read
	exitNoSymbol  = 4 // no QR symbol in it can be read
	exitNoMark    = 5 // the symbol carries no mark of this installation, or too little of one
)

type traceCmd struct {
	access
	Picture string `arg:"" help:"PNG or JPEG file with the QR code; - reads standard input." type:"path"`
	Keyring string `help:"Keyring of the installation: the mark is then read here, and the gateway is asked for names alone." type:"path"`
	Issuer  string `help:"With --keyring and --device: test whether the mark is this issuer's, without the gateway."`
	Device  string `help:"With --keyring and --issuer: test whether the mark was made for this device."`
}

// Help is shown below the flags.
func (traceCmd) Help() string {
	return "Says which owner's and which device's picture it is, by its invisible watermark. The picture stays on this machine.\n\n" +
		"Exit status 0: named. 3: the file is no picture that can be read. 4: no QR symbol in it can be read. 5: no watermark, or too little of one to name anybody."
}

// Run reads the picture and says whose it is.
func (c *traceCmd) Run(ctx context.Context, a *App) error {
	if c.Keyring == "" && (c.Issuer != "" || c.Device != "") {
		return usagef("--issuer and --device test a mark here, and need --keyring for it")
	}
	o, status, err := c.observe(a)
	if err != nil {
		if status == 0 {
			return err
		}
		fmt.Fprintf(a.Stderr, "huoma: %s: %s\n", plain(c.Picture), oneLine(err.Error()))
		return exited(status)
	}
	var t client.Trace
	if c.Keyring != "" {
		t, err = c.here(ctx, a, o)
	} else {
		var cl *client.Client
		if cl, err = c.client(); err == nil {
			t, err = cl.ReadTrace(ctx, o)
		}
	}
	if err != nil {
		return err
	}
	if err := c.print(a, t, o); err != nil {
		return err
	}
	if !t.Found {
		fmt.Fprintf(a.Stderr, "huoma: %s: %s\n", plain(c.Picture), unmarked(t))
		return exited(exitNoMark)
	}
	return nil
}

// unmarked says why nobody is named.
func unmarked(t client.Trace) string {
	switch t.Reason {
	case watermark.ReasonFew:
		return fmt.Sprintf("only %d modules of the symbol can be seen, too few for a watermark: take a picture of the whole symbol, or a larger one", t.Seen)
	case watermark.ReasonCheck:
		return "there are traces of a watermark, and too many of its bits are damaged to name anybody: take a picture that was copied fewer times"
	}
	return fmt.Sprintf("no watermark of this installation can be seen (evidence %.1f; noise comes to about 8, %.0f are needed): its code may have none, or the picture was printed, photographed or compressed too often", t.Evidence, watermark.MinEvidence)
}

// observe reads the file. With a status of its own the error is about the picture.
func (c *traceCmd) observe(a *App) (*watermark.Observation, int, error) {
	in := a.Stdin
	if c.Picture != "-" {
		f, err := os.Open(c.Picture)
		if err != nil {
			return nil, 0, fmt.Errorf("the picture %s cannot be read: name a PNG or JPEG file", plain(c.Picture))
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, observe.MaxBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("the picture %s cannot be read: name a PNG or JPEG file", plain(c.Picture))
	}
	img, err := observe.Decode(b)
	if err != nil {
		return nil, exitNoPicture, err
	}
	o, err := observe.Read(img)
	if errors.Is(err, observe.ErrNoSymbol) {
		return nil, exitNoSymbol, err
	}
	return o, 0, err
}

// here decides with the keyring, and asks the gateway for the names alone.
func (c *traceCmd) here(ctx context.Context, a *App, o *watermark.Observation) (client.Trace, error) {
	ring, err := keyfile.Load(c.Keyring)
	if err != nil {
		return client.Trace{}, fmt.Errorf("--keyring: %w", err)
	}
	key, err := watermark.NewKey(ring.Purpose("watermark"))
	if err != nil {
		return client.Trace{}, err
	}
	d, err := key.Decide(o)
	if err != nil {
		return client.Trace{}, err
	}
	t := client.Trace{Found: d.Found(), Reason: d.Reason, Evidence: d.Evidence, Chance: d.Chance, Seen: d.Seen, Claims: []client.Claim{}}
	if p, ok := openPicture(ring, o.Content); ok {
		t.Code, t.Variant, t.Print = p.Code.String(), p.Variant, &p.Number
	}
	if !d.Found() {
		return t, nil
	}
	t.Trace = watermark.FormatTrace(d.Trace)
	if c.Issuer != "" || c.Device != "" {
		if key.Trace(c.Issuer, c.Device) == d.Trace {
			t.Claims = append(t.Claims, client.Claim{Issuer: c.Issuer, Device: c.Device})
		} else {
			fmt.Fprintln(a.Stderr, "huoma: the mark is not that issuer's for that device")
		}
		return t, nil
	}
	cl, err := c.client()
	if err != nil {
		return t, err
	}
	t.Registry = "read"
	var problem *client.Problem
	if t.Claims, err = cl.TraceNames(ctx, t.Trace); err != nil {
		t.Claims = []client.Claim{}
		if errors.As(err, &problem) && problem.Status == 404 {
			return t, nil
		}
		t.Registry = "away"
		fmt.Fprintf(a.Stderr, "huoma: the mark is read, and not whose it is: %s\n", oneLine(err.Error()))
	}
	return t, nil
}

// openPicture opens the token at the end of what a symbol says.
func openPicture(ring *token.Keyring, content string) (token.Picture, bool) {
	p, err := ring.Open(strings.ToUpper(content[strings.LastIndexByte(content, '/')+1:]))
	return p, err == nil
}

// print shows what was found; nothing found is an object with --json and nothing without.
func (c *traceCmd) print(a *App, t client.Trace, o *watermark.Observation) error {
	if c.JSON {
		return printJSON(a.Stdout, struct {
			client.Trace
			Confidence float64 `json:"confidence"`
			Content    string  `json:"content"`
		}{t, 1 - t.Chance, o.Content})
	}
	if !t.Found {
		return nil
	}
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "%-11s %s\n", name, plain(text)) }
	line("trace", t.Trace)
	for _, claim := range t.Claims {
		line("issuer", orNone(claim.Issuer, "(the code has no owner)"))
		device := claim.Device
		if at, err := time.Parse(time.RFC3339, claim.First); err == nil {
			device += ", first asked for a picture at " + at.UTC().Format("2006-01-02 15:04 UTC")
		}
		line("device", device)
	}
	switch {
	case len(t.Claims) > 1:
		line("beware", "several pairs share this number; the owner of the symbol's code is named first")
	case len(t.Claims) == 0:
		line("issuer", "(not known: no name was kept for this number)")
	}
	if t.Code != "" {
		text := t.Code
		if t.Name != "" {
			text += " " + t.Name
		}
		text += fmt.Sprintf(", variant %d", t.Variant)
		if t.Print != nil {
			text += fmt.Sprintf(", print %d", *t.Print)
		}
		line("code", text)
	} else {
		line("symbol", o.Content)
	}
	line("confidence", fmt.Sprintf("a picture without this mark gets this far with a chance below %.0e (evidence %.1f, %.0f are needed, %d modules seen)", t.Chance, t.Evidence, watermark.MinEvidence, t.Seen))
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
