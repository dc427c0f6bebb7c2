//go:build !linux

package cli

// syncSoon is for systems that sync many files at once.
func syncSoon(string) {}
