package cli

import (
	"encoding/json"
	"fmt"
	"os"
)

// writeReady writes the addresses for whoever waits for the file: it is whole
// from the moment it is there, and its owner's alone, since it has the key.
func writeReady(path string, at any) error {
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := ownerOnly(tmp)
	if err == nil {
		_, err = f.Write(append(b, '\n'))
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("the ready file %s cannot be written: name another with --ready-file", path)
	}
	return nil
}
