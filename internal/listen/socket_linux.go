package listen

import (
	"syscall"
	"time"
)

// userTimeout is TCP_USER_TIMEOUT, the same on every Linux.
const userTimeout = 18

// unacknowledged bounds how long bytes sent to a peer may stay unacknowledged. Keepalive alone does not: it waits while there are such
// bytes, for a quarter of an hour. Accepted connections inherit it.
func unacknowledged(fd uintptr, d time.Duration) error {
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(d.Milliseconds()))
}
