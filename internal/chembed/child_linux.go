package chembed

import "syscall"

// childAttr puts the child into a process group of its own, so that a terminal's Ctrl-C reaches the parent only, and has the
// kernel kill it when the parent dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
