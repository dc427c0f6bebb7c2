//go:build !unix

package keyfile

import "io/fs"

// owner is not known here.
func owner(fs.FileInfo) int { return -1 }

func keepOwner(string, fs.FileInfo) error { return nil }

// lock does not keep others out here.
func lock(string) (unlock func() error, err error) { return func() error { return nil }, nil }
