//go:build !linux

package listen

import "time"

// unacknowledged has no counterpart here: the system's own bound on retransmission holds.
func unacknowledged(uintptr, time.Duration) error { return nil }
