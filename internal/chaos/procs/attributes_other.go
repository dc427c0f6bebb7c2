//go:build !linux

package procs

import "syscall"

// attributes keep a terminal's Ctrl-C from the process, which is ended in
// order instead.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
