package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/huoma/huoma/internal/token/keyfile"
)

type keysCmd struct {
	New keysNewCmd `cmd:"" help:"Make a new keyring. A keyring that is there stays as it is."`
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
