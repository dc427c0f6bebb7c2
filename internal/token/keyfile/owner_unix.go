//go:build unix

package keyfile

import (
	"io/fs"
	"syscall"
)

// owner is the user a file belongs to, or -1 where that is not known.
func owner(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
