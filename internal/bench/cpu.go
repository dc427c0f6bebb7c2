package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ticks of /proc/<pid>/stat in a second: USER_HZ is 100 on every Linux that Go runs on.
const ticks = 100

// cpuOf is the CPU time that a process has used, user and system, in seconds.
// Its children count with it: the embedded ClickHouse is one.
func cpuOf(pid int) float64 {
	var total float64
	if pid == os.Getpid() {
		total = ownCPU()
	} else {
		total = statCPU(pid)
	}
	for _, child := range childrenOf(pid) {
		total += cpuOf(child)
	}
	return total
}

// ownCPU is this process's own, to the microsecond.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return seconds(u.Utime) + seconds(u.Stime)
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

func statCPU(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything: fields are counted behind it.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / ticks
}

// childrenOf lists a process's children, by the threads that started them.
func childrenOf(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, name := range lists {
		b, _ := os.ReadFile(name) // a thread may be gone
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
