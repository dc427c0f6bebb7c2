package spool

import (
	"os"
	"syscall"
)

// flock takes an exclusive lock that ends with the process.
func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// noRoom are the errors of a disk that is full.
var noRoom = []error{syscall.ENOSPC, syscall.EDQUOT}
