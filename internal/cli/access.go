package cli

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/huoma/huoma/internal/cli/client"
)

// access is how a command reaches a running installation.
type access struct {
	Gateway string `help:"Address of the running gateway." default:"http://127.0.0.1:8080"`
	APIKey  string `name:"api-key" help:"Key of the admin calls. Without it, the one that huoma up keeps in --data."`
	Data    string `help:"Folder of the installation, for its API key." default:"./data" type:"path"`
	JSON    bool   `name:"json" help:"Print one JSON object a line."`
}

// client makes the client. A missing key is the gateway's to complain about.
func (a access) client() (*client.Client, error) {
	key := a.APIKey
	if key == "" {
		var err error
		if key, err = readKey(a.Data); err != nil {
			return nil, err
		}
	}
	c, err := client.New(a.Gateway, key)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return c, nil
}

// keyFile is where huoma up keeps the API key.
func keyFile(data string) string { return filepath.Join(data, "api-key") }

// readKey returns the key kept in an installation's folder, "" when there is none.
func readKey(data string) (string, error) {
	b, err := os.ReadFile(keyFile(data))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, syscall.ENOTDIR):
		return "", fmt.Errorf("the data folder %s is not a folder: choose another with --data", data)
	case err != nil:
		return "", fmt.Errorf("the API key in %s cannot be read: pass --api-key or make the file readable", keyFile(data))
	}
	return strings.TrimSpace(string(b)), nil
}

// writeKey keeps the key, for its owner only. Others see the old key or the new, never half of one, and when it returns, the key and its name
// are on disk.
func writeKey(data, key string) error {
	path := keyFile(data)
	f, err := os.CreateTemp(data, ".api-key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the API key cannot be kept in %s: make the folder writable or pass --api-key to every command", data)
	}
	_, err = f.WriteString(key + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncFolder(data)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("the API key cannot be kept in %s: check the free space there", path)
	}
	return nil
}

// syncFolder makes sure that the names in a folder are on disk.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newKey draws a key of 192 bits.
func newKey() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return "hk_" + base64.RawURLEncoding.EncodeToString(b[:])
}
