package allinone

import "github.com/huoma/huoma/internal/chembed"

// EngineCommand is the hidden first argument with which the program is started
// again as the process of the embedded ClickHouse.
const EngineCommand = chembed.ChildCommand

// RunEngine is that process, from early in main until it is told to stop or
// its parent is gone. It returns the exit status.
func RunEngine() int { return chembed.RunChild() }

// EngineLibrary returns the path of the embedded ClickHouse's library, or an
// error that says how to get it.
func EngineLibrary() (string, error) { return chembed.FindLibrary("") }
