package procs

import "syscall"

// attributes keep a terminal's Ctrl-C from the process, which is ended in
// order instead, and end it should the harness be killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
