package allinone

import "github.com/huoma/huoma/internal/chembed"

// EngineCommand is the hidden first argument with which the embedded
// ClickHouse starts this program again as its child. A main that calls Run
// calls RunEngine when it sees it, before anything else.
const EngineCommand = chembed.ChildCommand

// RunEngine is the embedded ClickHouse's process. It returns the exit status.
func RunEngine() int { return chembed.RunChild() }

// EngineLibrary returns the path of the embedded ClickHouse's library, or an
// error that says how to get it.
func EngineLibrary() (string, error) { return chembed.FindLibrary("") }
