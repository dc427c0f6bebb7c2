//go:build !linux

package chembed

import "syscall"

// childAttr puts the child into a process group of its own, so that a terminal's Ctrl-C reaches the parent only. Where the
// kernel does not tell it of the parent's death, the end of its standard input does.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
