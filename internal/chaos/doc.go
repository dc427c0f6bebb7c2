// Command chaos pulls the plugs of an installation under load and holds what is left to what was acknowledged.
//
// Start with Run in run.go: it is the whole of it in one line after the other. Package plan draws from a seed what happens, procs runs the
// programs, wire is between them, clock makes their clocks jump, traffic is everybody outside; faults.go does what the plan says, check.go and
// logs.go compare, report.go tells. docs/chaos.md is for who uses it.
//
// It signals only processes that it has started and changes nothing of the machine but mounts below its own folder.
package main
