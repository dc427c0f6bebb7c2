package chembed

import (
	"runtime"
	"syscall"
	"unsafe"
)

// keepGoSignalHandlers runs f and puts back the handlers of the signals on which the Go runtime relies. The library sets
// them to their defaults whenever it opens a connection; a nil dereference in Go would then end the process without a
// trace, and preemption signals would kill it.
func keepGoSignalHandlers(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sigaction := libcSigaction()
	var kept [len(goSignals)][sigactionSize]byte
	for i, sig := range goSignals {
		sigaction(int32(sig), nil, unsafe.Pointer(&kept[i][0]))
	}
	f()
	for i, sig := range goSignals {
		sigaction(int32(sig), unsafe.Pointer(&kept[i][0]), nil)
	}
}

// sigactionSize is not less than sizeof(struct sigaction) on every platform the library exists for (152 on glibc).
const sigactionSize = 256

var goSignals = [...]syscall.Signal{
	syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGILL, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSYS, syscall.SIGTRAP,
	syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
}

// libcSigaction is the C library's sigaction, found among the libraries already loaded.
func libcSigaction() func(sig int32, act, old unsafe.Pointer) int32 {
	var f func(sig int32, act, old unsafe.Pointer) int32
	bindLoaded(&f, "sigaction")
	return f
}
