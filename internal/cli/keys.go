package cli

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/huoma/huoma/internal/code/span"
	"github.com/huoma/huoma/internal/token"
	"github.com/huoma/huoma/internal/token/keyfile"
)

type keysCmd struct {
	New    keysNewCmd    `cmd:"" help:"Make a new keyring. A keyring that is there stays as it is."`
	List   keysListCmd   `cmd:"" help:"List the keys, and what each of them does. No secret is shown."`
	Rotate keysRotateCmd `cmd:"" help:"Add a key. It opens pictures at once, and seals new ones once every gateway and scan worker has had the time to read it."`
	Retire keysRetireCmd `cmd:"" help:"Let a key open no more pictures: those that it sealed are forged from then on."`
	Forget keysForgetCmd `cmd:"" help:"Take a key out of the file that was retired so long ago that nothing of before is in the log."`
}

// keyringFile says which keyring.
type keyringFile struct {
	Keyring string `help:"File with the keys of the installation. Default: keyring.json in --data." type:"path"`
	Data    string `help:"Data folder of huoma up." default:"./data" type:"path"`
	JSON    bool   `name:"json" help:"Print JSON, one object a line."`
}

func (f *keyringFile) path() string {
	if f.Keyring != "" {
		return f.Keyring
	}
	return filepath.Join(f.Data, "keyring.json")
}

func (f *keyringFile) load() (*token.Keyring, error) {
	k, err := keyfile.Load(f.path())
	return k, f.explain(err)
}

// explain says what to do about an error of the file's.
func (f *keyringFile) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no keyring at %s: name the installation's with --keyring, or its folder with --data", f.path())
	case errors.Is(err, keyfile.ErrReadOnly):
		return fmt.Errorf("%w: of a Kubernetes secret, change the file that it is made from, and apply the secret again", err)
	}
	return err
}

type keysNewCmd struct {
	Keyring string `help:"File to write, mode 0600. Every gateway and scan worker of the installation needs it." required:"" type:"path"`
	JSON    bool   `name:"json" help:"Print the outcome as one JSON object."`
}

// Run makes the file. Printed codes are read with the keys of their minting,
// so it never writes over one.
func (c *keysNewCmd) Run(a *App) error {
	_, err := keyfile.Create(c.Keyring)
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("there is a file at %s already: printed codes may need its keys; use it as it is, or name another with --keyring", c.Keyring)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder of %s is not there: make it, or name another file with --keyring", c.Keyring)
	case errors.As(err, &path):
		return fmt.Errorf("the keyring %s cannot be written (%w): name another file with --keyring", c.Keyring, path.Err)
	case err != nil:
		return err
	}
	if c.JSON {
		return printJSON(a.Stdout, map[string]string{"keyring": c.Keyring})
	}
	_, err = fmt.Fprintf(a.Stdout, "a new keyring is in %s: keep a copy where the backups are, since printed codes are read with it\n", c.Keyring)
	return err
}

// listedKey is a key as `huoma keys list --json` has it.
type listedKey struct {
	ID      int        `json:"id"`
	Does    string     `json:"does"` // prepared, seals, opens or retired
	Created time.Time  `json:"created"`
	Seals   time.Time  `json:"seals"`            // from when on
	Retired *time.Time `json:"retired,omitzero"` // from when on it opens nothing
}

// listed is what the keys of a ring do at a time.
func listed(k *token.Keyring, now time.Time) (out []listedKey) {
	sealing := k.At(now).NewestID()
	for _, key := range k.Keys() {
		l := listedKey{ID: key.ID, Does: "opens", Created: key.Created.UTC(), Seals: key.Seals.UTC()}
		switch {
		case key.ID == sealing:
			l.Does = "seals"
		case key.Seals.After(now):
			l.Does = "prepared"
		}
		if !key.Retired.IsZero() {
			at := key.Retired.UTC()
			l.Retired = &at
			if !at.After(now) {
				l.Does = "retired"
			}
		}
		out = append(out, l)
	}
	return out
}

var doing = map[string]string{
	"prepared": "opens pictures; seals from then on", "seals": "seals new pictures, opens its own", "opens": "opens the pictures it sealed", "retired": "opens nothing any more",
}

type keysListCmd struct{ keyringFile }

// Run prints a line a key, oldest first.
func (c *keysListCmd) Run(a *App) error {
	k, err := c.load()
	if err != nil {
		return err
	}
	list := listed(k, time.Now())
	if c.JSON {
		for _, l := range list {
			if err := printJSON(a.Stdout, l); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tDOES\tMADE\tSEALS FROM\tRETIRED FROM\t")
	for _, l := range list {
		retired := "-"
		if l.Retired != nil {
			retired = stamp(*l.Retired)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Does, stamp(l.Created), stamp(l.Seals), retired, doing[l.Does])
	}
	return w.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type keysRotateCmd struct {
	keyringFile
	In span.Span `help:"How long from now the new key seals: until then every gateway and scan worker has to have the file." default:"5m"`
}

// Run adds a key.
func (c *keysRotateCmd) Run(a *App) error {
	if c.In < 0 {
		return usagef("--in %s is negative: write it as 5m, or 0s for at once", c.In)
	}
	now := time.Now()
	seals := now.Add(c.In.Duration()).Truncate(time.Second)
	if c.In > 0 && seals.Before(now.Add(c.In.Duration())) {
		seals = seals.Add(time.Second)
	}
	var id int
	err := keyfile.Update(c.path(), func(k *token.Keyring) (next *token.Keyring, err error) {
		next, id, err = k.Rotate(rand.Reader, now, seals)
		return next, err
	})
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(a.Stdout, map[string]any{"keyring": c.path(), "id": id, "seals": seals.UTC()})
	}
	_, err = fmt.Fprintf(a.Stdout, "key %d is in %s and seals new pictures from %s on: give the file to every gateway and scan worker before, and to the backups\n", id, c.path(), stamp(seals))
	return err
}

type keysRetireCmd struct {
	keyringFile
	ID  int       `arg:"" help:"The key's number: huoma keys list shows them."`
	In  span.Span `help:"How long from now the key opens no more: until then every gateway and scan worker has to have the file." default:"5m"`
	Yes bool      `help:"Do not ask."`
}

// Run retires a key, once somebody has agreed to what that means.
func (c *keysRetireCmd) Run(a *App) error {
	if c.In < 0 {
		return usagef("--in %s is negative: write it as 5m, or 0s for at once", c.In)
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	at := time.Now().Add(c.In.Duration())
	if _, err := k.Retire(c.ID, at); err != nil {
		return err
	}
	if err := c.agree(a, k, at); err != nil {
		return err
	}
	at = time.Now().Add(c.In.Duration())
	if err := keyfile.Update(c.path(), func(k *token.Keyring) (*token.Keyring, error) { return k.Retire(c.ID, at) }); err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(a.Stdout, map[string]any{"keyring": c.path(), "id": c.ID, "retired": at.UTC().Truncate(time.Second)})
	}
	_, err = fmt.Fprintf(a.Stdout, "key %d opens nothing from %s on: give the file to every gateway and scan worker before, and to the backups\n", c.ID, stamp(at))
	return err
}

// agree says what stops, and asks on a terminal.
func (c *keysRetireCmd) agree(a *App, k *token.Keyring, at time.Time) error {
	from, until := time.Time{}, time.Time{}
	for _, key := range k.Keys() {
		switch {
		case key.ID == c.ID:
			from = key.Seals
		case !from.IsZero() && until.IsZero():
			until = key.Seals
		}
	}
	what := fmt.Sprintf("every picture drawn from %s to %s, which key %d sealed, is forged for whoever scans it from %s on, and cannot be made to open again but by restoring the keyring of now",
		stamp(from), stamp(until), c.ID, stamp(at))
	if c.Yes {
		return nil
	}
	if !isTerminal(a.Stdin) {
		return fmt.Errorf("%s: if that is meant, say --yes", what)
	}
	fmt.Fprintf(a.Stderr, "%s.\nRetire key %d? [y/N] ", what, c.ID)
	line, _ := bufio.NewReader(a.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

type keysForgetCmd struct {
	keyringFile
	ID int `arg:"" help:"The key's number: huoma keys list shows them."`
}

// Run takes a retired key out of the file.
func (c *keysForgetCmd) Run(a *App) error {
	err := keyfile.Update(c.path(), func(k *token.Keyring) (*token.Keyring, error) { return k.Forget(c.ID, time.Now()) })
	if err != nil {
		return c.explain(err)
	}
	if c.JSON {
		return printJSON(a.Stdout, map[string]any{"keyring": c.path(), "forgotten": c.ID})
	}
	_, err = fmt.Fprintf(a.Stdout, "key %d is no longer in %s: whoever reads the log of before it was retired again, as huoma verify does, finds producers' tokens of it forged\n", c.ID, c.path())
	return err
}
