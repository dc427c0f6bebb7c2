//go:build !linux

package procs

import "errors"

// Disk is a file system in memory whose size can be changed while it is used.
type Disk struct{}

const diskNeeds = "a full disk needs Linux and root, which may mount a tmpfs: leave it out with --faults"

// DiskNeeds says why no Disk can be made here, or "".
func DiskNeeds() string { return diskNeeds }

// NewDisk is an error here.
func NewDisk(string) (*Disk, error) { return nil, errors.New(diskNeeds) }

// Fill leaves no room for another page. It returns the bytes in use.
func (d *Disk) Fill() (int64, error) { return 0, errors.New(diskNeeds) }

// Empty makes room again.
func (d *Disk) Empty() error { return errors.New(diskNeeds) }

// Close takes the file system away, with what is on it.
func (d *Disk) Close() error { return nil }
